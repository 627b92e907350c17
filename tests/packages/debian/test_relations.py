"""Dependency fields, against python-debian where it can judge."""

from __future__ import annotations

import contextlib

import pytest
from debian.deb822 import PkgRelation
from hypothesis import given
from hypothesis import strategies as st

from nbdock.errors import InvalidValueError
from nbdock.packages.debian.relations import Alternatives, Relation, parse_relations

_name = st.from_regex(r"[a-z0-9][a-z0-9+.-]{1,8}", fullmatch=True)
_relation = st.builds(
    lambda name, bound, qualifier: Relation(name, *(bound or ("", "")), qualifier),
    _name,
    st.none()
    | st.tuples(
        st.sampled_from(["<<", "<=", "=", ">=", ">>"]),
        st.from_regex(r"[0-9][0-9a-z.+~:-]{0,6}", fullmatch=True),
    ),
    st.sampled_from(["", "any", "native", "arm64"]),
)
_field = st.lists(st.lists(_relation, min_size=1, max_size=3).map(lambda r: Alternatives(tuple(r))))


@given(_field)
def test_parsing_undoes_writing(groups: list[Alternatives]) -> None:
    """What is written is what is read, and python-debian reads the same."""
    text = ", ".join(map(str, groups))
    assert parse_relations(text) == tuple(groups)
    theirs = PkgRelation.parse_relations(text) if text else []
    assert [
        [(r["name"], r["version"] or ("", ""), r["archqual"] or "") for r in group]
        for group in theirs
    ] == [[(r.name, (r.operator, r.version), r.qualifier) for r in g.relations] for g in groups]


def test_folded_fields_and_old_operators() -> None:
    """Line breaks, missing spaces, trailing commas and the one-letter operators are read."""
    (first, second) = parse_relations("a(<1.0),\n b (>= 2)|c ( > 3 ) ,\n ")
    assert str(first) == "a (<= 1.0)"
    assert str(second) == "b (>= 2) | c (>= 3)"


@pytest.mark.parametrize(
    ("field", "architecture", "left"),
    [
        ("a [amd64], b [arm64]", "amd64", ["a"]),
        ("a [!amd64], b [!arm64]", "amd64", ["b"]),
        ("a [linux-any] | b [any-amd64] | c [hurd-any]", "amd64", ["a | b"]),
        ("a [any-arm], b [kfreebsd-any]", "armhf", ["a"]),
        ("a <stage1>, b <!nocheck>, c <!nocheck> <stage1>, d <!x y>", "amd64", ["b", "c"]),
        ("a (>= 1) [amd64 arm64] <!nocheck>", "arm64", ["a (>= 1)"]),
    ],
)
def test_restrictions(field: str, architecture: str, left: list[str]) -> None:
    """What another architecture or a build profile needs is left out."""
    assert [str(group) for group in parse_relations(field, architecture)] == left


@pytest.mark.parametrize(
    "bad", ["a b", "a (1.0)", "a (>= )", "(>= 1)", "a |", "a (>= 1", "-a", "é"]
)
def test_what_is_no_relation_is_refused(bad: str) -> None:
    """Broken text is named, never guessed at."""
    with pytest.raises(InvalidValueError) as caught:
        parse_relations(f"fine, {bad}")
    assert caught.value.value == f"fine, {bad}"


@given(st.text())
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """Hostile fields end in a value or in our error."""
    with contextlib.suppress(InvalidValueError):
        parse_relations(text)
