"""Writes entries as one deterministic tar archive, fast.

The bytes are those of Python's `tarfile` in the PAX format (see `tarheader`). Headers and small
files are gathered in one buffer, which goes to the sink when it is full (about 1 MiB), so that a
sink that hashes and writes is called rarely and works without the GIL; big pieces of content that
come from a stream are passed on as they are. However large a file is, no more than the buffer is
held.

    >>> from nbdock.filetree import BytesContent, Entry, EntryKind, write_tar
    >>> pieces = []
    >>> motd = Entry(b"etc/motd", EntryKind.FILE, size_bytes=2, content=BytesContent(b"hi"))
    >>> write_tar([motd], lambda piece: pieces.append(bytes(piece)))
    10240
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from nbdock import settings
from nbdock.errors import ArchiveError, SizeMismatchError
from nbdock.filetree.entry import BytesContent, Content, Entry, EntryKind, FileContent
from nbdock.filetree.tarheader import BLOCK_BYTES, HeaderEncoder, TarPolicy

__all__ = ["RECORD_BYTES", "Sink", "TarWriter", "tar_bytes", "write_tar"]

RECORD_BYTES = 10240
"""An archive's length is a multiple of this, as tarfile and GNU tar have it. Bytes."""

Sink = Callable[[bytes | memoryview], object]
"""Takes the next piece of an archive; the piece is valid only during the call."""

_PASSED_ON_BYTES = 64 << 10
_ZEROS = bytes(BLOCK_BYTES)


class TarWriter:
    """Writes one archive, entries from several trees after another.

    Give every tree to `write`, then call `finish`. After an error the archive is worthless.
    Not for several threads at once; several writers in several threads are fine.

    Attributes
    ----------
    entry_count, file_count
        Entries and files written so far.
    """

    def __init__(self, sink: Sink, *, policy: TarPolicy | None = None) -> None:
        self._sink = sink
        self._headers = HeaderEncoder(policy)
        self._capacity = max(settings.current().io_buffer_bytes, 16 << 10)
        # One byte more, to see that a file has grown with the same read that gets its bytes.
        self._buffer = bytearray(self._capacity + 1)
        self._view = memoryview(self._buffer)
        self._fill = 0
        self._flushed = 0
        self.entry_count = 0
        self.file_count = 0

    @property
    def size_bytes(self) -> int:
        """Bytes of the archive so far."""
        return self._flushed + self._fill

    def write(self, entries: Iterable[Entry], *, prefix: bytes = b"") -> None:
        """Write entries, their names and hardlink targets being `prefix` + path.

        The root of a tree (path ``b""``) is written under the prefix itself, ``./`` if there is
        none.

        Raises
        ------
        SizeMismatchError
            A file's content is shorter or longer than its `size_bytes`.
        ArchiveError
            A header cannot hold an entry, or a file on the host cannot be read.
        """
        encode = self._headers.encode
        buffer = self._buffer
        capacity = self._capacity
        file, directory = EntryKind.FILE, EntryKind.DIRECTORY
        hardlink = EntryKind.HARDLINK
        view, zeros = self._view, _ZEROS
        readv, close = os.readv, os.close
        count = files = 0
        for entry in entries:
            kind = entry.kind
            path = entry.path
            name = prefix + path
            if not path:
                name = _root_name(prefix, kind)
            elif kind is directory:
                name += b"/"
            linkname = entry.linkname
            if kind is hardlink:
                linkname = prefix + linkname
            header = encode(name, entry, linkname)
            start = self._fill
            end = start + len(header)
            if end > capacity:
                self._flush()
                start, end = 0, len(header)
            if end > capacity:
                self._pass_on(header)
                end = 0
            else:
                buffer[start:end] = header
            self._fill = end
            count += 1
            if kind is file:
                files += 1
                size = entry.size_bytes
                content = entry.content
                if type(content) is FileContent and content.size_bytes == size < capacity - end:
                    # What most entries of most layers are: one read gets all of it, and would
                    # get a byte more if the file had grown.
                    descriptor = content.open()
                    try:
                        got = readv(descriptor, (view[end : end + size + 1],))
                    except OSError as error:
                        raise content.unreadable(error) from error
                    finally:
                        close(descriptor)
                    if got != size:
                        self._write_file(content)
                    end += size
                    padding = -size & 511
                    if end + padding <= capacity:
                        buffer[end : end + padding] = zeros[:padding]
                        self._fill = end + padding
                    else:
                        self._fill = end
                        self._write_zeros(padding)
                elif size or content is not None:
                    self._write_content(entry)
        self.entry_count += count
        self.file_count += files

    def finish(self, *, trailing: int = RECORD_BYTES) -> int:
        """End the archive and return its length in bytes.

        Two blocks of zeros end it, and more fill it to a multiple of `trailing`; 0 writes
        neither, for archives that are joined.
        """
        if trailing:
            end = self.size_bytes + 2 * BLOCK_BYTES
            self._write_zeros(end + -end % trailing - self.size_bytes)
        self._flush()
        return self._flushed

    def _write_content(self, entry: Entry) -> None:
        content = entry.content
        size = entry.size_bytes
        if type(content) is FileContent and content.size_bytes == size:
            self._write_file(content)
        elif type(content) is BytesContent and len(content.data) == size < self._room():
            self._buffer[self._fill : self._fill + size] = content.data
            self._fill += size
        elif content is None:
            raise ArchiveError(f"{os.fsdecode(entry.path)!r} has {size} bytes, but no content.")
        else:
            self._write_chunks(content, entry)
        padding = -size % BLOCK_BYTES
        if padding:
            start = self._fill
            if start + padding > self._capacity:
                self._write_zeros(padding)
            else:
                self._buffer[start : start + padding] = _ZEROS[:padding]
                self._fill = start + padding

    def _room(self) -> int:
        return self._capacity - self._fill

    def _write_file(self, content: FileContent) -> None:
        """A file of the host, read straight into the buffer."""
        left = content.size_bytes
        if self._room() < left <= self._capacity // 2:
            self._flush()
        descriptor = content.open()
        try:
            while True:
                if self._fill == self._capacity:
                    self._flush()
                start = self._fill
                end = start + left
                # One byte more than is due: a file that has grown shows itself by it.
                end = end + 1 if end <= self._capacity else self._capacity
                count = os.readv(descriptor, (self._view[start:end],))
                if not count or count > left:
                    break
                left -= count
                self._fill = start + count
                if not left:
                    return
        except OSError as error:
            raise content.unreadable(error) from error
        finally:
            os.close(descriptor)
        if left or count:
            raise content.changed(left, longer=count > left)

    def _write_chunks(self, content: Content, entry: Entry) -> None:
        """Any other content: small pieces are gathered, big ones passed on."""
        left = entry.size_bytes
        for chunk in content.chunks():
            count = len(chunk)
            left -= count
            if left < 0:
                break
            big = count >= min(_PASSED_ON_BYTES, self._capacity)
            if big or count > self._room():
                self._flush()
            if big:
                self._pass_on(chunk)
            else:
                self._buffer[self._fill : self._fill + count] = chunk
                self._fill += count
        if left:
            size = entry.size_bytes
            raise SizeMismatchError(
                f"{os.fsdecode(entry.path)!r} was announced with {size} bytes, but has "
                f"{'more' if left < 0 else size - left}.",
                expected_bytes=size,
                actual_bytes=size - left,
                path=os.fsdecode(entry.path),
            )

    def _write_zeros(self, count: int) -> None:
        while count:
            if not self._room():
                self._flush()
            piece = min(count, self._room())
            self._buffer[self._fill : self._fill + piece] = bytes(piece)
            self._fill += piece
            count -= piece

    def _pass_on(self, piece: bytes | memoryview) -> None:
        self._sink(piece)
        self._flushed += len(piece)

    def _flush(self) -> None:
        if self._fill:
            self._pass_on(self._view[: self._fill])
            self._fill = 0


def _root_name(prefix: bytes, kind: EntryKind) -> bytes:
    base = prefix.rstrip(b"/")
    if kind is EntryKind.DIRECTORY:
        return base + b"/" if prefix else b"./"
    if not base:
        raise ArchiveError(f"The root of an archive must be a directory, not a {kind.value}.")
    return base


def write_tar(
    entries: Iterable[Entry], sink: Sink, *, prefix: bytes = b"", trailing: int = RECORD_BYTES,
    policy: TarPolicy | None = None,
) -> int:  # fmt: skip
    """Write a whole archive and return its length in bytes.

    Parameters
    ----------
    entries
        What it holds, in this order.
    sink
        Called with the pieces of the archive, mostly about 1 MiB each; a piece is valid only
        during the call.
    prefix
        Put before every name and every hardlink's target, as it is (``nix/store/x-hello/``).
    trailing
        The length becomes a multiple of this, after two blocks of zeros; 0 writes no end at all.
    policy
        What to say of all entries alike.

    Raises
    ------
    SizeMismatchError
        A file's content is shorter or longer than its `size_bytes`.
    ArchiveError
        A header cannot hold an entry, or a file on the host cannot be read.
    """
    writer = TarWriter(sink, policy=policy)
    writer.write(entries, prefix=prefix)
    return writer.finish(trailing=trailing)


def tar_bytes(
    entries: Iterable[Entry], *, prefix: bytes = b"", policy: TarPolicy | None = None
) -> bytes:
    """A whole archive in memory, for a few small files.

    >>> from nbdock.filetree import Entry, EntryKind
    >>> len(tar_bytes([Entry(b"tmp", EntryKind.DIRECTORY, mode=0o1777)]))
    10240
    """
    pieces: list[bytes] = []
    write_tar(entries, lambda piece: pieces.append(bytes(piece)), prefix=prefix, policy=policy)
    return b"".join(pieces)
