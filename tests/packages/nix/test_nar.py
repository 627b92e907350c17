"""NARs are read and written as Nix does, and nothing that Nix would not write is taken."""

from __future__ import annotations

import io
import os
import subprocess
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import trees
from support.trees import File, Link, Tree, nar, node, paths, text

from nbdock.errors import (
    ArchiveError,
    SizeMismatchError,
    TruncatedArchiveError,
    UnsafePathError,
)
from nbdock.filetree import BytesContent, Entry, EntryKind, FileContent, read_tar, tar_bytes
from nbdock.oci import Digest
from nbdock.packages.nix import dump_path, nar_hash, read_nar, write_nar

names = st.binary(min_size=1, max_size=6).filter(
    lambda name: not set(name) & set(b"/\0") and name not in (b".", b"..")
)
leaves: st.SearchStrategy[Tree] = st.one_of(
    st.builds(File, st.binary(max_size=40), st.booleans()),
    st.builds(Link, st.binary(min_size=1, max_size=20).filter(lambda target: b"\0" not in target)),
)
any_tree = st.recursive(
    leaves, lambda inner: st.dictionaries(names, inner, max_size=4), max_leaves=12
)

HELLO: Tree = {
    b"bin": {b"hello": File(b"#!/bin/sh\necho hello\n", executable=True)},
    b"empty": {},
    b"lib": Link(b"lib64"),
    b"note": File(b""),
}


def written(entries: Iterable[Entry]) -> bytes:
    out = io.BytesIO()
    size = write_nar(entries, out.write)
    assert size == len(out.getvalue())
    return out.getvalue()


def as_tree(entries: Iterable[Entry]) -> list[tuple[bytes, Tree]]:
    """What `trees.paths` gives of a tree, from entries."""
    found: list[tuple[bytes, Tree]] = []
    for entry in entries:
        assert (entry.uid, entry.gid, entry.uname, entry.gname, entry.mtime) == (0, 0, "", "", 1)
        if entry.kind is EntryKind.FILE:
            assert entry.mode in (0o444, 0o555)
            data = entry.read()
            assert len(data) == entry.size_bytes
            found.append((entry.path, File(data, entry.mode == 0o555)))
        elif entry.kind is EntryKind.SYMLINK:
            found.append((entry.path, Link(entry.linkname)))
        else:
            assert (entry.kind, entry.mode) == (EntryKind.DIRECTORY, 0o555)
            found.append((entry.path, {}))
    return found


def shallow(tree: Tree) -> list[tuple[bytes, Tree]]:
    return [(path, {} if isinstance(found, dict) else found) for path, found in paths(tree)]


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@given(any_tree, st.integers(1, 200))
def test_every_tree_is_read_and_written(tree: Tree, piece_bytes: int) -> None:
    data = nar(tree)
    assert as_tree(read_nar(pieces(data, piece_bytes))) == shallow(tree)
    assert as_tree(read_nar(io.BytesIO(data))) == shallow(tree)
    assert written(read_nar(io.BytesIO(data))) == data
    # Nobody has to read the contents.
    assert [entry.path for entry in read_nar([data])] == [path for path, _ in paths(tree)]
    assert nar_hash(read_nar([data])) == (Digest.sha256(data), len(data))


@given(any_tree)
def test_a_nar_survives_a_tar(tree: Tree) -> None:
    data = nar(tree)
    if isinstance(tree, dict):
        assert written(read_tar(io.BytesIO(tar_bytes(read_nar([data]))))) == data


def test_from_a_path_contents_can_be_read_later_and_again(tmp_path: Path) -> None:
    place = tmp_path / "hello.nar"
    place.write_bytes(nar(HELLO))
    entries = list(read_nar(place))
    for _ in range(2):
        assert as_tree(entries) == shallow(HELLO)
    late = list(read_nar([nar(HELLO)]))
    with pytest.raises(ArchiveError, match="too late or twice"):
        late[2].read()


def test_the_source_is_read_to_its_end() -> None:
    taken: list[bytes] = []

    def source() -> Iterator[bytes]:
        for piece in (nar(HELLO), b"", b""):
            taken.append(piece)
            yield piece

    for _ in read_nar(source()):
        pass
    assert len(taken) == 3


@pytest.mark.parametrize("whole", [HELLO, File(b"seven b", True), Link(b"x")])
def test_a_nar_that_ends_too_early_is_noticed_at_every_byte(whole: Tree, tmp_path: Path) -> None:
    data = nar(whole)
    place = tmp_path / "cut.nar"
    for end in range(len(data)):
        with pytest.raises(TruncatedArchiveError):
            list(read_nar([data[:end]]))
        with pytest.raises(TruncatedArchiveError):
            list(read_nar(pieces(data[:end], 5)))
        place.write_bytes(data[:end])
        with pytest.raises(TruncatedArchiveError):
            list(read_nar(place))


def test_one_changed_byte_is_an_error_or_another_tree() -> None:
    data = nar(HELLO)
    for at in range(len(data)):
        for change in (1, 0x80):
            changed = bytearray(data)
            changed[at] ^= change
            try:
                again = written(read_nar([bytes(changed)]))
            except ArchiveError:
                continue
            assert again == changed, at


TOKENS = [
    *map(text, (b"(", b")", b"type", b"regular", b"executable", b"", b"contents", b"symlink")),
    *map(text, (b"target", b"directory", b"entry", b"name", b"node", b"a", b"b", b"..", b"x" * 9)),
    text(b"entry") + text(b"(") + text(b"name") + text(b"a") + text(b"node"),
    text(b"(") + text(b"type") + text(b"directory"),
    node({}), node(File(b"x")), node(Link(b"x")), b"\0", b"\xff" * 8,
]  # fmt: skip


@given(st.lists(st.sampled_from(TOKENS), max_size=12))
def test_any_words_are_an_error_or_the_only_nar_of_a_tree(words: list[bytes]) -> None:
    data = text(b"nix-archive-1") + b"".join(words)
    try:
        again = written(read_nar([data]))
    except ArchiveError:
        return
    assert again == data


def directory(*entries: tuple[bytes, bytes]) -> bytes:
    """The NAR of a directory with these names and nodes, in this order."""
    inside = b"".join(
        text(b"entry")
        + text(b"(")
        + text(b"name")
        + text(name)
        + text(b"node")
        + inner
        + text(b")")
        for name, inner in entries
    )
    return (
        text(b"nix-archive-1")
        + text(b"(")
        + text(b"type")
        + text(b"directory")
        + inside
        + text(b")")
    )


PLAIN = node(File(b"data"))
FILE = text(b"nix-archive-1") + text(b"(") + text(b"type") + text(b"regular")
HOSTILE = {
    "empty name": (directory((b"", PLAIN)), UnsafePathError),
    "dot": (directory((b".", PLAIN)), UnsafePathError),
    "dot dot": (directory((b"..", node({b"x": File(b"")}))), UnsafePathError),
    "slash": (directory((b"../etc/passwd", PLAIN)), UnsafePathError),
    "absolute": (directory((b"/etc/passwd", PLAIN)), UnsafePathError),
    "nul": (directory((b"a\0b", PLAIN)), UnsafePathError),
    "empty target": (nar(Link(b"")), UnsafePathError),
    "nul in a target": (nar(Link(b"a\0b")), UnsafePathError),
    "twice": (directory((b"a", PLAIN), (b"a", PLAIN)), ArchiveError),
    "file, then below it": (directory((b"a", node(Link(b"/etc"))), (b"a", node({}))), ArchiveError),
    "unsorted": (directory((b"b", PLAIN), (b"a", PLAIN)), ArchiveError),
    "unsorted as bytes": (directory((b"\xff", PLAIN), (b"a", PLAIN)), ArchiveError),
    "bytes after the end": (nar(HELLO) + b"\0", ArchiveError),
    "another nar after it": (nar(HELLO) * 2, ArchiveError),
    "padding": (nar(File(b"x")).replace(b"x" + bytes(7), b"x" + bytes(6) + b"\1"), ArchiveError),
    "padding of a name": (
        directory((b"a", PLAIN)).replace(b"a" + bytes(7), b"a" + bytes(6) + b"\1"), ArchiveError,
    ),
    "no contents": (FILE + text(b")"), ArchiveError),
    "contents twice": (FILE + (text(b"contents") + text(b"x")) * 2 + text(b")"), ArchiveError),
    "executable with a text": (
        FILE + text(b"executable") + text(b"yes") + text(b"contents") + text(b"x") + text(b")"),
        ArchiveError,
    ),
    "executable after contents": (
        FILE + text(b"contents") + text(b"") + text(b"executable") + text(b"") + text(b")"),
        ArchiveError,
    ),
    "executable directory": (
        text(b"nix-archive-1") + text(b"(") + text(b"type") + text(b"directory")
        + text(b"executable") + text(b"") + text(b")"),
        ArchiveError,
    ),
    "a device": (FILE.replace(b"regular", b"chardev"), ArchiveError),
    "no node": (directory((b"a", b"")), ArchiveError),
    "another magic": (nar(HELLO).replace(b"nix-archive-1", b"nix-archive-2"), ArchiveError),
    "compressed": (b"\xfd7zXZ\0" + bytes(100), ArchiveError),
    "nothing": (b"", TruncatedArchiveError),
    "a file longer than there is": (FILE + text(b"contents") + b"\xff" * 8, TruncatedArchiveError),
    "a name longer than there is": (
        directory().replace(text(b")"), text(b"entry") + text(b"(") + text(b"name") + b"\xff" * 8),
        ArchiveError,
    ),
    "a long target": (nar(Link(b"x" * 4096)), ArchiveError),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_nix_would_not_write_is_refused(name: str, tmp_path: Path) -> None:
    data, error = HOSTILE[name]
    place = tmp_path / "hostile.nar"
    place.write_bytes(data)
    sources: list[Path | Iterable[bytes]] = [place, [data], pieces(data, 3)]
    for source in sources:
        with pytest.raises(ArchiveError) as caught:
            list(read_nar(source))
        assert type(caught.value) is error
        assert str(caught.value)


def nested(depth: int) -> Iterator[bytes]:
    """A NAR of directories in each other, each called ``d``."""
    yield text(b"nix-archive-1")
    opening = text(b"(") + text(b"type") + text(b"directory")
    between = text(b"entry") + text(b"(") + text(b"name") + text(b"d") + text(b"node")
    yield opening
    for _ in range(depth):
        yield between + opening
    yield text(b")") * (2 * depth + 1)


def test_depth_is_no_matter_up_to_the_longest_path() -> None:
    assert len(list(read_nar(nested(2048)))) == 2049
    assert written(read_nar(nested(2048))) == b"".join(nested(2048))
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveError, match="longer than 4095 bytes"):
            for _ in read_nar(nested(3_000_000)):
                pass
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_memory_is_bounded_however_large_a_file_is() -> None:
    size = 200 << 20

    def source() -> Iterator[bytes]:
        yield FILE + text(b"contents") + size.to_bytes(8, "little")
        for _ in range(size >> 20):
            yield bytes(1 << 20)
        yield text(b")")

    tracemalloc.start()
    try:
        digest, size_bytes = nar_hash(read_nar(source()))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert size_bytes == size + len(nar(File(b"")))
    assert digest.algorithm == "sha256"


def entry(path: bytes, kind: EntryKind = EntryKind.DIRECTORY, **fields: object) -> Entry:
    return Entry(path, kind, **fields)  # type: ignore[arg-type]


def test_hardlinks_become_files() -> None:
    file = entry(b"a", EntryKind.FILE, mode=0o755, size_bytes=2, content=BytesContent(b"hi"))
    link = entry(b"b", EntryKind.HARDLINK, linkname=b"a", target=file)
    expected = nar({b"a": File(b"hi", True), b"b": File(b"hi", True)})
    assert written([entry(b""), file, link]) == expected


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([], "no entries"),
        ([entry(b"a")], "begins with 'a'"),
        ([entry(b""), entry(b"")], "'' is not in a directory"),
        ([entry(b"", EntryKind.SYMLINK, linkname=b"x"), entry(b"a")], "not in a directory"),
        ([entry(b""), entry(b"a/b")], "not in a directory"),
        ([entry(b""), entry(b"a", EntryKind.SYMLINK, linkname=b"x"), entry(b"a/b")], "not in a"),
        ([entry(b""), entry(b"b"), entry(b"a")], "too late"),
        ([entry(b""), entry(b"a"), entry(b"a")], "twice"),
        ([entry(b""), entry(b"a"), entry(b"b"), entry(b"a/c")], "not in a directory"),
        ([entry(b""), entry(b"f", EntryKind.FIFO)], "fifo"),
        ([entry(b"", EntryKind.CHARACTER_DEVICE)], "character device"),
        ([entry(b""), entry(b"h", EntryKind.HARDLINK, linkname=b"x")], "hardlink"),
    ],
)
def test_what_a_nar_cannot_hold_is_refused(entries: list[Entry], said: str) -> None:
    with pytest.raises(ArchiveError, match=said):
        write_nar(entries, lambda piece: None)


@pytest.mark.parametrize("size", [0, 1, 3, 1 << 20, 3 << 20])
def test_content_that_lies_about_its_length_is_refused(size: int, tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_bytes(bytes(2 if size < 4 else size - 1))
    for content in (BytesContent(place.read_bytes()), FileContent(os.fsencode(place), size)):
        file = entry(b"", EntryKind.FILE, size_bytes=size, content=content)
        with pytest.raises(SizeMismatchError):
            write_nar([file], lambda piece: None)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe/fifo")
    with pytest.raises(ArchiveError, match="fifo"):
        dump_path(tmp_path / "pipe", lambda piece: None)
    with pytest.raises(ArchiveError, match="nowhere"):
        dump_path(tmp_path / "nowhere", lambda piece: None)


def dumped(path: Path) -> bytes:
    out = io.BytesIO()
    dump_path(path, out.write)
    return out.getvalue()


def test_trees_on_disk_are_dumped_as_nix_dumps_them(tmp_path: Path) -> None:
    for seed in range(60):
        trees.write_random(tmp_path / str(seed), seed)
    big = tmp_path / "60"
    big.mkdir()
    (big / "large").write_bytes(os.urandom(5_000_001))
    for number in range(3000):
        (big / f"file {number}").write_text(str(number))
    # One process for all: the dump of a directory holds those of what is in it.
    told = subprocess.run(["nix-store", "--dump", tmp_path], capture_output=True, check=True).stdout
    assert dumped(tmp_path) == told
    assert written(read_nar([told])) == told
    one = tmp_path / "60/large"
    assert dumped(one) == subprocess.run(
        ["nix-store", "--dump", one], capture_output=True, check=True
    ).stdout  # fmt: skip
