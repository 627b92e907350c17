"""Entries: values that cannot be changed, cheap to make, and good to copy and pickle."""

import copy
import dataclasses
import inspect
import pickle
from pathlib import Path

import pytest

from nbdock.errors import ArchiveError
from nbdock.filetree import NO_XATTRS, BytesContent, Entry, EntryKind, FileContent


def test_the_constructor_takes_the_fields_in_order() -> None:
    names = [field.name for field in dataclasses.fields(Entry)]
    assert list(inspect.signature(Entry).parameters) == names
    values = [
        b"p", EntryKind.HARDLINK, 1, 2, 3, 4, 5.5, "u", "g", b"l", 6, 7, {"a": b"b"},
        BytesContent(b"x"), Entry(b"t", EntryKind.FILE),
    ]  # fmt: skip
    entry = Entry(*values)  # type: ignore[arg-type]
    assert [getattr(entry, name) for name in names] == values


def test_an_entry_is_a_value() -> None:
    entry = Entry(b"a", EntryKind.FILE, xattrs={"user.a": b"1"}, content=BytesContent(b"x"))
    assert type(entry) is Entry
    with pytest.raises(dataclasses.FrozenInstanceError):
        entry.path = b"b"  # type: ignore[misc]
    moved = dataclasses.replace(entry, path=b"b")
    assert (moved.path, moved.xattrs) == (b"b", {"user.a": b"1"})
    assert moved != entry
    for twin in (copy.copy(entry), copy.deepcopy(entry), pickle.loads(pickle.dumps(entry))):
        assert twin == entry
        assert hash(twin) == hash(entry)
    plain = pickle.loads(pickle.dumps(Entry(b"a", EntryKind.FIFO)))
    assert plain.xattrs is NO_XATTRS
    assert repr(plain).startswith("Entry(path=b'a'")


def test_contents_larger_than_a_buffer(tmp_path: Path) -> None:
    file = tmp_path / "f"
    data = bytes(range(256)) * (12 << 10)
    file.write_bytes(data)
    entry = Entry(
        b"f", EntryKind.FILE, size_bytes=len(data), content=FileContent(bytes(file), len(data))
    )
    assert entry.read() == data


def test_what_has_no_content() -> None:
    with pytest.raises(ArchiveError, match="directory"):
        Entry(b"d", EntryKind.DIRECTORY).read()
