"""``WWW-Authenticate`` as servers write it, and as hostile ones do."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdock.registry.challenges import Challenge, parse

WORDS = st.text("abcXYZ019-_.", min_size=1, max_size=8)
TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="a,b"',
            [("bearer", {"realm": "https://auth.docker.io/token", "service": "registry.docker.io",
                         "scope": "a,b"})],
        ),
        ("basic REALM=x", [("basic", {"realm": "x"})]),
        ("Basic", [("basic", {})]),
        ('Negotiate ab==, Basic realm="a, b"', [("negotiate", {}), ("basic", {"realm": "a, b"})]),
        (r'Bearer realm="a\"b"', [("bearer", {"realm": 'a"b'})]),
        ('Bearer realm="1", realm="2"', [("bearer", {"realm": "1"})]),
        ('Bearer realm = "1" ,, ,scope=x', [("bearer", {"realm": "1", "scope": "x"})]),
        ('Bearer realm="open', [("bearer", {})]),
        ("", []), (",,,", []), ("=", []), ('realm="x"', []), ("\x00", []),
    ],
)  # fmt: skip
def test_headers(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert parse(header) == tuple(Challenge(*one) for one in expected)


@given(st.lists(st.tuples(WORDS, st.dictionaries(WORDS.map(str.lower), TEXTS, max_size=4))))
def test_what_is_written_is_read(challenges: list[tuple[str, dict[str, str]]]) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    header = ", ".join(
        f"{scheme} " + ", ".join(f"{k}={quoted(v)}" for k, v in parameters.items())
        for scheme, parameters in challenges
    )
    assert parse(header) == tuple(Challenge(s.lower(), p) for s, p in challenges)


@given(st.text(max_size=200))
def test_anything_is_read(header: str) -> None:
    parse(header)


@pytest.mark.parametrize("piece", ['a="', '\\"', "a ", 'a="\\', "a=", "Bearer a=b,", '"', "\t,"])
def test_long_headers_take_no_time(piece: str) -> None:
    begun = time.process_time()
    parse("Bearer " + piece * 200_000)
    assert time.process_time() - begun < 1
