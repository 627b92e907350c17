"""Layers made into one: the same tree on any base, whatever they do to each other and to it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.entries import file

from nbdock.errors import ArchiveError
from nbdock.filetree import (
    Entry,
    EntryKind,
    Tree,
    opaque_entry,
    overlay,
    parse_whiteout,
    read_tar,
    squash,
    tar_bytes,
    whiteout_entry,
)


def folder(path: bytes, mode: int = 0o755) -> Entry:
    return Entry(path, EntryKind.DIRECTORY, mode, uid=mode & 7)


def shown(tree: Tree) -> dict[bytes, tuple[object, ...]]:
    """All that a path shows, and with which other paths it is one file."""
    names: dict[int, set[bytes]] = {}
    for path in tree:
        names.setdefault(id(tree.resolved(path)), set()).add(path)
    return {
        path: (
            held.kind, held.mode, held.uid, held.linkname, held.content and held.read(),
            sorted(names[id(held)]),
        )
        for path in tree
        for held in [tree.resolved(path)]
    }  # fmt: skip


names = st.sampled_from([b"a", b"b", b"c"])
paths = st.lists(names, min_size=1, max_size=3).map(b"/".join)


@st.composite
def layers(draw: st.DrawFn, hides: bool = True) -> list[Entry]:
    """A layer as one reads it: hardlinks are bound to what stands before them."""
    result: list[Entry] = []
    kinds = ["file", "folder", "link", "symlink", *(["gone", "opaque"] if hides else [])]
    for number in range(draw(st.integers(0, 8))):
        path = draw(paths)
        kind = draw(st.sampled_from(kinds))
        if kind == "file":
            result.append(file(path, b"%d" % number, draw(st.sampled_from([0o644, 0o4711]))))
        elif kind == "folder":
            # The root now and then; nothing else can be there.
            place = path if draw(st.integers(0, 5)) else b""
            result.append(folder(place, draw(st.sampled_from([0o755, 0o701, 0o1777]))))
        elif kind == "symlink":
            result.append(Entry(path, EntryKind.SYMLINK, 0o777, linkname=b"b"))
        elif kind == "gone":
            result.append(whiteout_entry(path))
        elif kind == "opaque":
            result.append(opaque_entry(path if draw(st.integers(0, 5)) else b""))
        elif files := [e for e in result if e.kind is EntryKind.FILE and not e.path.endswith(b".")]:
            target = draw(st.sampled_from(files))
            if target.path != path and parse_whiteout(target.path) is None:
                result.append(Entry(path, EntryKind.HARDLINK, linkname=target.path, target=target))
    return result


@settings(max_examples=600, deadline=None)
@given(layers(hides=False), st.lists(layers(), max_size=3))
def test_one_layer_has_the_effect_of_all(base: list[Entry], upper: list[list[Entry]]) -> None:
    below = overlay([base])
    result = list(squash(upper, base=below))
    assert shown(overlay([base, result])) == shown(overlay([base, *upper]))
    paths = [e.path for e in result]
    assert paths == sorted(set(paths), key=lambda path: path.split(b"/"))
    # Only what is there is hidden, and nothing twice.
    hidden = [w for e in result if (w := parse_whiteout(e.path))]
    for whiteout in hidden:
        assert whiteout.path in below
        assert not any(whiteout.path.startswith(other.path + b"/") for other in hidden)
    # A path's directories are named before it, except the root.
    for path in paths:
        above = path.rpartition(b"/")[0]
        assert not above or paths.index(above) < paths.index(path)
    # Made again of itself, it stays as it is.
    assert [e.path for e in squash([result], base=below)] == paths


@settings(max_examples=100, deadline=None)
@given(layers(hides=False), layers(), layers())
def test_squashed_in_steps(base: list[Entry], lower: list[Entry], upper: list[Entry]) -> None:
    below = overlay([base])
    once = list(squash([lower, upper], base=below))
    steps = list(squash([list(squash([lower], base=below)), upper], base=below))
    assert shown(overlay([base, once])) == shown(overlay([base, steps]))


def test_what_a_script_did_to_contents() -> None:
    base = overlay([[folder(b"etc", 0o750), file(b"etc/old", b"1"), file(b"etc/kept")]])
    contents = [folder(b"etc", 0o750), file(b"etc/new", b"2"), file(b"etc/other")]
    changes = [
        folder(b"etc", 0o755), whiteout_entry(b"etc/new"), whiteout_entry(b"etc/old"),
        folder(b"srv"), opaque_entry(b"srv"),
    ]  # fmt: skip
    result = list(squash([contents, changes], base=base, mtime=7))
    assert [(e.path, e.mode) for e in result] == [
        (b"etc", 0o755), (b"etc/.wh.old", 0o600), (b"etc/other", 0o644), (b"srv", 0o755),
    ]  # fmt: skip
    assert result[1].mtime == 7


def test_directories_come_along_as_the_base_has_them() -> None:
    base = overlay([[folder(b"etc", 0o750), folder(b"etc/ssl", 0o700), file(b"etc/ssl/x")]])
    result = list(squash([[file(b"etc/ssl/y"), whiteout_entry(b"etc/ssl/x")]], base=base))
    assert [(e.path, e.mode) for e in result] == [
        (b"etc", 0o750), (b"etc/ssl", 0o700), (b"etc/ssl/.wh.x", 0o600), (b"etc/ssl/y", 0o644),
    ]  # fmt: skip


def test_a_hardlink_to_the_base_is_refused() -> None:
    base = overlay([[file(b"a")]])
    with pytest.raises(ArchiveError, match="neither it nor a lower layer has"):
        list(squash([[Entry(b"b", EntryKind.HARDLINK, linkname=b"a")]], base=base))


def test_contents_are_read_late(tmp_path: Path) -> None:
    """From the tars in which they lie, a file and its other names too."""
    lower, upper = tmp_path / "lower.tar", tmp_path / "upper.tar"
    lower.write_bytes(tar_bytes([file(b"z", b"lower"), file(b"y", b"gone")]))
    upper.write_bytes(
        tar_bytes([
            file(b"m", b"upper"), Entry(b"a", EntryKind.HARDLINK, linkname=b"m"),
            whiteout_entry(b"y"),
        ])
    )  # fmt: skip
    result = squash([read_tar(lower), read_tar(upper)], base=overlay([]))
    tree = overlay([list(read_tar([tar_bytes(result)]))])
    assert list(tree) == [b"", b"a", b"m", b"z"]
    (tmp_path / "one.tar").write_bytes(
        tar_bytes(squash([read_tar(lower), read_tar(upper)], base=overlay([])))
    )
    shown_by_tar = subprocess.run(
        ["tar", "-xOf", tmp_path / "one.tar", "a", "z"], check=True, capture_output=True
    )
    assert shown_by_tar.stdout == b"upperlower"
