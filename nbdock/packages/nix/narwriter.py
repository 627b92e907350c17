"""Writes entries as a NAR, and hashes a tree as Nix does, as it passes.

Of an entry a NAR holds its name, its content, whether its owner may execute it, and where a symlink
points. Owners, times and other bits of the mode are left out, as Nix leaves them out; what Nix
cannot hold at all, such as a device, is refused. Small pieces are gathered, so that a sink that
hashes is called rarely and works without the GIL.

>>> from nbdock.filetree import BytesContent, Entry, EntryKind
>>> tree = [Entry(b"", EntryKind.DIRECTORY), Entry(b"link", EntryKind.SYMLINK, linkname=b"/x")]
>>> digest, size_bytes = nar_hash(tree)
>>> digest.short, size_bytes
('8e9f3a2761ef', 288)
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

from nbdock import settings
from nbdock.errors import ArchiveError, SizeMismatchError
from nbdock.filetree import DirectoryListing, Entry, EntryKind, FileContent, Sink
from nbdock.oci import Digest
from nbdock.packages.nix.narreader import nar_text

__all__ = ["dump_path", "nar_hash", "write_nar"]

_PASSED_ON_BYTES = 64 << 10

_BEGINNING = nar_text(b"nix-archive-1")
_OPEN, _CLOSE = nar_text(b"("), nar_text(b")")
_NODE = _OPEN + nar_text(b"type")
_DIRECTORY = _NODE + nar_text(b"directory")
_SYMLINK = _NODE + nar_text(b"symlink") + nar_text(b"target")
_PLAIN = _NODE + nar_text(b"regular") + nar_text(b"contents")
_PROGRAM = (
    _NODE + nar_text(b"regular") + nar_text(b"executable") + nar_text(b"") + nar_text(b"contents")
)
_ENTRY = nar_text(b"entry") + _OPEN + nar_text(b"name")
_ENTRY_NODE = nar_text(b"node")


def write_nar(entries: Iterable[Entry], sink: Sink) -> int:
    """Write a whole NAR and return its length in bytes.

    Parameters
    ----------
    entries
        A tree: the root (``b""``) first, which may be a directory, a file or a symlink; every
        directory before what is in it; the names in a directory sorted as bytes. So do
        `read_nar` and the listing of a directory give them; others may be sorted by
        ``entry.path.split(b"/")``. A hardlink becomes a file with the content of its target.
    sink
        Called with the pieces of the NAR; a piece is valid only during the call.

    Raises
    ------
    ArchiveError
        An entry that no NAR holds, entries in another order, or a file that cannot be read.
    SizeMismatchError
        A file's content is shorter or longer than its `size_bytes`.
    """
    writer = _Writer(sink)
    # The directories that are open, the root first: the path with a slash, and the last name.
    opened: list[tuple[bytes, bytes]] = []
    is_empty = True
    for entry in entries:
        path = entry.path
        if is_empty:
            if path:
                raise ArchiveError(
                    f"The tree begins with {os.fsdecode(path)!r}, not with its root.",
                    hint="A NAR needs an entry for the root, with the path b''.",
                )
            writer.add(_BEGINNING)
            is_empty = False
        else:
            while opened and not path.startswith(opened[-1][0]):
                opened.pop()
                writer.add(_CLOSE + _CLOSE)
            _enter(opened, path)
            writer.add(_ENTRY + nar_text(opened[-1][1]) + _ENTRY_NODE)
        if entry.kind is EntryKind.DIRECTORY:
            opened.append((path + b"/" if path else b"", b""))
            writer.add(_DIRECTORY)
        else:
            writer.add_leaf(entry)
            writer.add(_CLOSE + _CLOSE if path else _CLOSE)
    if is_empty:
        raise ArchiveError("There is no NAR of no entries.", hint="A tree has at least a root.")
    if opened:
        writer.add((_CLOSE + _CLOSE) * (len(opened) - 1) + _CLOSE)
    return writer.finish()


def nar_hash(entries: Iterable[Entry]) -> tuple[Digest, int]:
    """The SHA-256 and the length in bytes of a tree's NAR; see `write_nar` for `entries`."""
    hasher = hashlib.sha256()
    size_bytes = write_nar(entries, hasher.update)
    return Digest.of_hasher(hasher), size_bytes


def dump_path(path: bytes | str | os.PathLike[str], sink: Sink) -> int:
    """Write the NAR of a file, directory or symlink of this machine: ``nix-store --dump``.

    Raises
    ------
    ArchiveError
        Something there cannot be read, or is of a kind that no NAR holds.
    """
    return write_nar(listed_tree(DirectoryListing(os.fspath(path), xattrs=())), sink)


def listed_tree(listing: DirectoryListing) -> Iterable[Entry]:
    """The entries of a listing, which must not have left out any."""
    if listing.skipped:
        socket = os.path.join(listing.path, listing.skipped[0])
        raise ArchiveError(
            f"{os.fsdecode(socket)!r} is a socket: a NAR cannot hold it.", hint="Leave it out."
        )
    return listing.entries()


def _enter(opened: list[tuple[bytes, bytes]], path: bytes) -> None:
    """Check the place of an entry below the open directories, and note its name."""
    prefix, last_name = opened[-1] if opened else (b"", b"")
    name = path[len(prefix) :]
    if opened and name and b"/" not in name and name > last_name:
        opened[-1] = (prefix, name)
        return
    shown = os.fsdecode(path)
    if not opened or not name or b"/" in name:
        raise ArchiveError(f"{shown!r} is not in a directory that stands before it in the tree.")
    raise ArchiveError(
        f"{shown!r} stands {'twice' if name == last_name else 'too late'} in the tree.",
        hint='A NAR needs every name once, sorted as bytes: sort by entry.path.split(b"/").',
    )


class _Writer:
    """Gathers the pieces of a NAR for its sink."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._capacity = settings.current().io_buffer_bytes
        self._gathered = bytearray()
        self._flushed = 0

    def add(self, piece: bytes | memoryview) -> None:
        """Add a small piece."""
        self._gathered += piece
        if len(self._gathered) >= self._capacity:
            self._flush()

    def add_leaf(self, entry: Entry) -> None:
        """Add what a NAR says of a file or a symlink, without the end."""
        if entry.kind is EntryKind.SYMLINK:
            self.add(_SYMLINK + nar_text(entry.linkname))
            return
        file = entry.target if entry.kind is EntryKind.HARDLINK else entry
        if file is None or file.kind is not EntryKind.FILE:
            raise ArchiveError(
                f"{os.fsdecode(entry.path)!r} is a {entry.kind.value}: a NAR cannot hold it.",
                hint="A store has only directories, files and symlinks.",
            )
        size = file.size_bytes
        self.add((_PROGRAM if file.mode & 0o100 else _PLAIN) + size.to_bytes(8, "little"))
        self._add_content(file)
        if size % 8:
            self.add(bytes(-size % 8))

    def _add_content(self, entry: Entry) -> None:
        content, left = entry.content, entry.size_bytes
        if type(content) is FileContent and content.size_bytes == left < _PASSED_ON_BYTES:
            # What most files are: one read gets all of it, and would get a byte more if it had
            # grown. Anything unusual is read again the long way, which has the errors.
            descriptor = content.open()
            try:
                data = os.read(descriptor, left + 1)
            except OSError as error:
                raise content.unreadable(error) from error
            finally:
                os.close(descriptor)
            if len(data) == left:
                self.add(data)
                return
        for chunk in content.chunks() if content is not None else ():
            left -= len(chunk)
            if left < 0:
                break
            if len(chunk) < _PASSED_ON_BYTES:
                self.add(chunk)
            else:
                self._flush()
                self._sink(chunk)
                self._flushed += len(chunk)
        if left:
            size = entry.size_bytes
            raise SizeMismatchError(
                f"{os.fsdecode(entry.path)!r} was announced with {size} bytes, but has "
                f"{'more' if left < 0 else size - left}.",
                expected_bytes=size,
                actual_bytes=size - left,
                path=os.fsdecode(entry.path),
            )

    def finish(self) -> int:
        """Give the sink what is left, and return the length of the whole in bytes."""
        self._flush()
        return self._flushed

    def _flush(self) -> None:
        if self._gathered:
            with memoryview(self._gathered) as piece:
                self._sink(piece)
            self._flushed += len(self._gathered)
            self._gathered.clear()
