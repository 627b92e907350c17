"""Where the bytes of an archive come from: a stream that passes once, or a file read in any order.

A `StreamSource` takes a file object or pieces of bytes as they come (from a decompressor, say) and
hands out parts of them without copying. A `FileSource` reads a file by offset, skips what nobody
asks for, and gives contents that can be read later and again.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Protocol

from nbdock.errors import ArchiveError, TruncatedArchiveError
from nbdock.filetree.entry import Content

__all__ = ["ByteSource", "FileSource", "RangeContent", "StreamSource"]

_PIECE_BYTES = 256 << 10
_WINDOW_BYTES = 32 << 10


class SourceContent(Content, Protocol):
    """A content that belongs to a source, which must know when the next entry begins."""

    def close(self) -> None:
        """Pass over what was not read."""
        ...


class ByteSource(Protocol):
    """What the tar reader reads from.

    Attributes
    ----------
    offset
        Bytes before the place where the next `read` begins.
    """

    offset: int

    def read(self, count: int) -> bytes:
        """The next bytes; fewer only at the end."""
        ...

    def content(self, size_bytes: int) -> SourceContent:
        """The next bytes as a content, which is closed before the source is used again."""
        ...

    def skip(self, count: int) -> None:
        """Pass over bytes that must be there."""
        ...

    def drain(self) -> None:
        """Read to the end, so that what checks the stream (a checksum at its end) is done."""
        ...


def _truncated(offset: int) -> TruncatedArchiveError:
    return TruncatedArchiveError(
        f"The archive ends at byte {offset}, before its content does.",
        offset=offset,
        hint="Fetch or write it again.",
    )


class StreamSource:
    """A source that passes once."""

    __slots__ = ("_at", "_piece", "_pieces", "offset")

    def __init__(self, source: BinaryIO | Iterable[bytes]) -> None:
        read = getattr(source, "read", None)
        pieces: Iterable[bytes]
        pieces = iter(lambda: read(_PIECE_BYTES), b"") if read is not None else source
        self._pieces = iter(pieces)
        self._piece: bytes = b""
        self._at = 0
        self.offset = 0

    def read(self, count: int) -> bytes:
        """See `ByteSource`."""
        end = self._at + count
        if end <= len(self._piece):
            data = self._piece[self._at : end]
            self._at = end
            self.offset += count
            return data
        parts = []
        while count:
            part = self.some(count)
            if not part:
                break
            parts.append(bytes(part))
            count -= len(part)
        return b"".join(parts)

    def some(self, most: int) -> memoryview:
        """Some of the next bytes, without copying; none only at the end."""
        while self._at == len(self._piece):
            piece = next(self._pieces, None)
            if piece is None:
                return memoryview(b"")
            self._piece = piece if type(piece) is bytes else bytes(piece)
            self._at = 0
        part = memoryview(self._piece)[self._at : self._at + most]
        self._at += len(part)
        self.offset += len(part)
        return part

    def content(self, size_bytes: int) -> StreamContent:
        """See `ByteSource`: readable once, until the next entry is asked for."""
        return StreamContent(self, size_bytes)

    def skip(self, count: int) -> None:
        """See `ByteSource`."""
        end = self._at + count
        if end <= len(self._piece):
            self._at = end
            self.offset += count
            return
        while count:
            part = self.some(count)
            if not part:
                raise _truncated(self.offset)
            count -= len(part)

    def drain(self) -> None:
        """See `ByteSource`."""
        self._at = len(self._piece)
        for piece in self._pieces:
            self.offset += len(piece)


class StreamContent:
    """The content of an entry that passes by."""

    __slots__ = ("_left", "_source", "_spent")

    def __init__(self, source: StreamSource, size_bytes: int) -> None:
        self._source = source
        self._left = size_bytes
        self._spent = False

    def chunks(self) -> Iterator[memoryview]:
        """The bytes as they come, once.

        Raises
        ------
        TruncatedArchiveError
            The archive ends before the content does.
        ArchiveError
            The content has been read, or the next entry was asked for.
        """
        while True:
            if self._spent:
                raise ArchiveError(
                    "The content of an entry of a stream was asked for too late or twice.",
                    hint="Read it once, before the next entry; or open the archive by its path.",
                )
            if not self._left:
                self._spent = True
                return
            part = self._source.some(self._left)
            if not part:
                raise _truncated(self._source.offset)
            self._left -= len(part)
            yield part

    def close(self) -> None:
        """Pass over what was not read."""
        self._spent = True
        if self._left:
            self._source.skip(self._left)
            self._left = 0


@dataclasses.dataclass(frozen=True, slots=True)
class RangeContent:
    """A part of a file on the host, readable at any time and again.

    Attributes
    ----------
    file
        A path, or a file that stays open.
    """

    file: bytes | BinaryIO
    offset: int
    size_bytes: int

    def chunks(self) -> Iterator[memoryview]:
        """The bytes, in pieces of a bounded size.

        Raises
        ------
        TruncatedArchiveError
            The file has become shorter.
        """
        at, left = self.offset, self.size_bytes
        buffer = memoryview(bytearray(min(left, _PIECE_BYTES)))
        descriptor = _open(self.file) if isinstance(self.file, bytes) else self.file.fileno()
        try:
            while left:
                count = os.preadv(descriptor, (buffer[:left],), at)
                if not count:
                    raise _truncated(at)
                at += count
                left -= count
                yield buffer[:count]
        finally:
            if isinstance(self.file, bytes):
                os.close(descriptor)

    def close(self) -> None:
        """Nothing: the source is not where the content is."""


class FileSource:
    """A source of a file on the host, read by offset."""

    __slots__ = ("_base", "_descriptor", "_file", "_size", "_window", "_window_at", "offset")

    def __init__(self, file: bytes | BinaryIO) -> None:
        self._file = file
        if isinstance(file, bytes):
            self._descriptor = _open(file)
            self._base = 0
        else:
            self._descriptor = file.fileno()
            self._base = file.tell()
        self._size = os.fstat(self._descriptor).st_size - self._base
        self._window = b""
        self._window_at = 0
        self.offset = 0

    def read(self, count: int) -> bytes:
        """See `ByteSource`."""
        start = self.offset - self._window_at
        if start < 0 or start + count > len(self._window):
            length = max(count, _WINDOW_BYTES)
            self._window = os.pread(self._descriptor, length, self._base + self.offset)
            self._window_at = self.offset
            start = 0
        data = self._window[start : start + count]
        self.offset += len(data)
        return data

    def content(self, size_bytes: int) -> RangeContent:
        """See `ByteSource`: readable at any time, for a file object as long as it is open."""
        content = RangeContent(self._file, self._base + self.offset, size_bytes)
        self.skip(size_bytes)
        return content

    def skip(self, count: int) -> None:
        """See `ByteSource`."""
        if self.offset + count > self._size:
            raise _truncated(max(self._size, 0))
        self.offset += count

    def drain(self) -> None:
        """Nothing: a file has no check at its end."""

    def close(self) -> None:
        """Close the file, if it was given by its path."""
        if isinstance(self._file, bytes):
            os.close(self._descriptor)


def _open(path: bytes) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ArchiveError(f"{os.fsdecode(path)!r} cannot be read: {error.strerror}.") from error
