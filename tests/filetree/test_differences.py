"""What differs between trees."""

import dataclasses
from pathlib import Path

from support.entries import file

from nbdock.filetree import (
    BytesContent,
    Difference,
    DifferenceKind,
    Entry,
    EntryKind,
    differences,
    overlay,
    read_tar,
    tar_bytes,
)

ADDED, REMOVED, CHANGED = DifferenceKind.ADDED, DifferenceKind.REMOVED, DifferenceKind.CHANGED


def told(old: list[Entry], new: list[Entry], **options: object) -> list[tuple[object, ...]]:
    found = differences(overlay([old]), overlay([new]), **options)  # type: ignore[arg-type]
    return [(d.kind, d.path, *d.fields) for d in found]


def test_names_that_come_and_go() -> None:
    old, new = [file(b"a"), file(b"d/x"), file(b"z")], [file(b"a"), file(b"a-"), file(b"d/y")]
    assert told(old, new) == [
        (ADDED, b"a-"), (REMOVED, b"d/x"), (ADDED, b"d/y"), (REMOVED, b"z"),
    ]  # fmt: skip
    assert told(old, old) == []
    found = list(differences(overlay([old]), overlay([new])))
    assert found[0] == Difference(ADDED, b"a-", new=file(b"a-"))
    assert found[3].old == file(b"z")


def test_each_attribute_is_named() -> None:
    base = Entry(
        b"f", EntryKind.FILE, 0o644, 1, 2, 3, 4, "u", "g", content=BytesContent(b"abc"),
        xattrs={"user.a": b"1"},
    )  # fmt: skip
    changes = {
        "mode": 0o600, "uid": 9, "gid": 9, "mtime": 9, "uname": "x", "gname": "x", "xattrs": {},
    }  # fmt: skip
    for name, value in changes.items():
        other = dataclasses.replace(base, **{name: value})
        assert told([base], [other]) == [(CHANGED, b"f", name)]
        assert told([base], [other], ignore=[name]) == []
    device = Entry(b"f", EntryKind.CHARACTER_DEVICE, device_major=1, device_minor=3)
    other = dataclasses.replace(device, device_minor=5)
    assert told([device], [other]) == [(CHANGED, b"f", "device_minor")]
    one, two = (Entry(b"f", EntryKind.SYMLINK, linkname=to) for to in (b"a", b"b"))
    assert told([one], [two]) == [(CHANGED, b"f", "linkname")]
    assert told([device], [base])[0][:3] == (CHANGED, b"f", "kind")


def test_content() -> None:
    assert told([file(b"f", b"abc")], [file(b"f", b"abd")]) == [(CHANGED, b"f", "content")]
    assert told([file(b"f", b"abc")], [file(b"f", b"abd")], read_content=False) == []
    assert told([file(b"f", b"abc")], [file(b"f", b"abd")], ignore=["content"]) == []
    grown = told([file(b"f", b"abc")], [file(b"f", b"abcd")], read_content=False)
    assert grown == [(CHANGED, b"f", "size_bytes", "content")]


def test_content_in_other_pieces(tmp_path: Path) -> None:
    data = bytes(range(256)) * 4000
    whole = file(b"f", data)
    stored = tmp_path / "a.tar"
    stored.write_bytes(tar_bytes([whole]))
    assert told([whole], list(read_tar(stored))) == []
    stored.write_bytes(tar_bytes([file(b"f", data[:-1] + b"?")]))
    assert told([whole], list(read_tar(stored))) == [(CHANGED, b"f", "content")]


def test_a_hardlink_is_what_it_is_bound_to() -> None:
    linked = [file(b"a", b"1"), Entry(b"b", EntryKind.HARDLINK, linkname=b"a")]
    assert told(linked, [file(b"a", b"1"), file(b"b", b"1")]) == []
    assert told(linked, [file(b"a", b"1"), file(b"b", b"2")]) == [(CHANGED, b"b", "content")]


def test_an_empty_file_without_content() -> None:
    bare = Entry(b"f", EntryKind.FILE)
    assert told([bare], [file(b"f")]) == told([file(b"f")], [bare]) == []
