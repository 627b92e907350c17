"""Whiteout names by the OCI image specification."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdock.errors import UnsafePathError
from nbdock.filetree import (
    Whiteout,
    WhiteoutKind,
    opaque_entry,
    parse_whiteout,
    whiteout_entry,
)

NAME, OPAQUE, RESERVED = WhiteoutKind.NAME, WhiteoutKind.OPAQUE, WhiteoutKind.RESERVED


@pytest.mark.parametrize(
    ("path", "kind", "subject"),
    [
        (b".wh.a", NAME, b"a"), (b"d/.wh.a", NAME, b"d/a"), (b"d/.wh..a", NAME, b"d/.a"),
        (b"d/.wh....", NAME, b"d/..."), (b"d/.wh. ", NAME, b"d/ "), (b".wh.\xff", NAME, b"\xff"),
        (b"d/.wh..wh", NAME, b"d/.wh"),
        (b".wh..wh..opq", OPAQUE, b""), (b"a/b/.wh..wh..opq", OPAQUE, b"a/b"),
        (b".wh..wh.plnk", RESERVED, b".wh..wh.plnk"), (b".wh..wh.aufs", RESERVED, b".wh..wh.aufs"),
        (b".wh..wh.plnk/1.2", RESERVED, b".wh..wh.plnk/1.2"),
        (b".wh..wh.orph/.wh.x", RESERVED, b".wh..wh.orph/.wh.x"),
        (b"a/.wh..wh.", RESERVED, b"a/.wh..wh."),
    ],
)  # fmt: skip
def test_whiteouts(path: bytes, kind: WhiteoutKind, subject: bytes) -> None:
    assert parse_whiteout(path) == Whiteout(kind, subject)


@pytest.mark.parametrize("path", [b"", b"a", b"a.wh.b", b"a/b.wh.", b".wh", b"x.wh./.whx", b".wha"])
def test_ordinary_paths(path: bytes) -> None:
    assert parse_whiteout(path) is None


@pytest.mark.parametrize(
    "path",
    [b".wh.", b"a/.wh.", b"a/.wh..", b"a/.wh...", b".wh...", b".wh.a/b", b"x/.wh.a/b", b".wh./b"],
)
def test_whiteouts_that_hide_no_name(path: bytes) -> None:
    with pytest.raises(UnsafePathError):
        parse_whiteout(path)


part = st.binary(min_size=1, max_size=8).filter(
    lambda b: b"/" not in b and b not in (b".", b"..") and not b.startswith(b".wh.")
)


@given(st.lists(part, min_size=1, max_size=4).map(b"/".join))
def test_made_whiteouts_parse(path: bytes) -> None:
    if path.rpartition(b"/")[2].startswith(b".wh."):
        return
    assert parse_whiteout(opaque_entry(path).path) == Whiteout(OPAQUE, path)
    assert parse_whiteout(whiteout_entry(path).path) == Whiteout(NAME, path)
    assert parse_whiteout(opaque_entry(b"").path) == Whiteout(OPAQUE, b"")
