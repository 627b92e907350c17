"""URLs as people see them, and origins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdock.errors import TransportError
from nbdock.transport import redacted
from nbdock.transport.redacted import origin_of, split_credentials

WORDS = st.text("abcdefgh0123456789", min_size=1, max_size=8)


@given(WORDS, WORDS.map(lambda w: f"SECRET{w}"), WORDS, WORDS)
def test_nothing_secret_is_shown(user: str, secret: str, host: str, path: str) -> None:
    shown = redacted(f"https://{user}:{secret}@{host}.example/{path}?token={secret}#{secret}")
    assert "SECRET" not in shown
    assert f"{host}.example/{path}" in shown


@given(st.text())
def test_any_text_can_be_shown(text: str) -> None:
    assert isinstance(redacted(text), str)


def test_credentials_are_unquoted() -> None:
    bare, login = split_credentials("http://a%40b:p%3Aq@h:8/x?y=1")
    assert bare == "http://h:8/x?y=1"
    assert login == ("a@b", "p:q")


def test_origins() -> None:
    assert origin_of("HTTP://Host/x") == ("http", "host", 80)
    assert origin_of("https://host:443/x") == origin_of("https://host/")


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "host/x", "http:///x", "http://h:99999/", ""]
)
def test_what_cannot_be_fetched(url: str) -> None:
    with pytest.raises(TransportError):
        origin_of(url)
