"""Reading compressed streams: whole, in bounded memory, with errors that say what is wrong.

    >>> import gzip, io
    >>> two_members = gzip.compress(b"one ") + gzip.compress(b"two")
    >>> with open_decompressed(io.BytesIO(two_members)) as stream:
    ...     stream.read()
    b'one two'

A stream is read to its end: all members of a gzip file (layers in the eStargz format have
thousands), all frames of a zstd file except those that say they are to be skipped. After the last
gzip member, zero padding is ignored, and so is anything else, with a logged warning, as ``gzip``
and ``bzip2`` do; ``xz`` and ``zstd`` refuse it, and so do we.

Nothing here holds more than about a megabyte of output, however little input made it: a bomb costs
time, not memory, and `limit_bytes` or `limit_ratio` stop it. The memory that a stream asks for (the
window of zstd, the dictionary of xz) is limited to what the tools' ordinary levels use.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, BinaryIO

from nbdock.content.codecs import Codec, codec_named, detect
from nbdock.content.decoders import DECODERS, Input
from nbdock.errors import ArchiveError, CodecError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["DecompressedStream", "open_decompressed"]

# A ratio means nothing for a small output: a megabyte of zeros is no bomb.
_RATIO_COUNTS_FROM_BYTES = 64 << 20


class DecompressedStream(io.RawIOBase):
    """The content of a compressed stream, as a file to read from start to end.

    Of a stream that is still being fed, `pieces` gives what is there, and more when called again.

    `read(n)` and `readinto` give as much as was asked for, except at the end. Errors come when the
    place is reached. Closing it closes the source only if `open_decompressed` opened it.

    Attributes
    ----------
    codec
        What the stream is compressed with.
    """

    def __init__(
        self, source: Input, codec: Codec, *, close: Callable[[], None] | None,
        limit_bytes: int | None, limit_ratio: float | None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.codec = codec
        self._source = source
        self._pieces = DECODERS[codec](source)
        self._piece = memoryview(b"")
        self._close_source = close
        self._limit_bytes = limit_bytes
        self._limit_ratio = limit_ratio
        self._failure: ArchiveError | None = None
        self._produced = 0
        self._position = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """How many bytes were read."""
        return self._position

    @property
    def compressed_bytes(self) -> int:
        """How much of the source was used so far (up to 64 KiB more than was needed)."""
        return self._source.offset

    def _more(self) -> bool:
        """Get the next piece; False at the end."""
        if self.closed:
            raise ValueError("read of a closed stream")
        if self._failure is not None:
            # Said again: to a generator that has raised, the next call would look like the end.
            raise self._failure
        try:
            piece = next(self._pieces, b"")
            self._produced += len(piece)
            self._check_limits()
        except ArchiveError as error:
            self._failure = error
            raise
        self._piece = memoryview(piece)
        return bool(piece)

    def _check_limits(self) -> None:
        produced, used = self._produced, max(self._source.offset, 1)
        if self._limit_bytes is not None and produced > self._limit_bytes:
            raise CodecError(
                f"The {self.codec} stream holds more than the {self._limit_bytes} bytes expected "
                f"(after {used} compressed bytes).",
                offset=used,
                hint="It lies about its size, or is made to fill the disk.",
            )
        if (
            self._limit_ratio is not None
            and produced > _RATIO_COUNTS_FROM_BYTES
            and produced / used > self._limit_ratio
        ):
            raise CodecError(
                f"The {self.codec} stream expands {produced // used} times, more than "
                f"{self._limit_ratio:g}.",
                offset=used,
                hint="It is made to fill the disk.",
            )

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill `buffer`; how many bytes that took, fewer than its length only at the end."""
        target = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(target) and (self._piece or self._more()):
            part = self._piece[: len(target) - filled]
            target[filled : filled + len(part)] = part
            self._piece = self._piece[len(part) :]
            filled += len(part)
        self._position += filled
        return filled

    def read(self, size: int | None = -1, /) -> bytes:
        """The next `size` bytes, or all that are left; fewer only at the end."""
        if size is None or size < 0:
            return self.readall()
        if size <= len(self._piece):
            data = bytes(self._piece[:size])
            self._piece = self._piece[size:]
            self._position += size
            return data
        parts, wanted = [], size
        while wanted and (self._piece or self._more()):
            part = self._piece[:wanted]
            self._piece = self._piece[len(part) :]
            wanted -= len(part)
            parts.append(part)
        self._position += size - wanted
        return b"".join(parts)

    def readall(self) -> bytes:
        """Everything that is left, in memory."""
        parts = []
        while self._piece or self._more():
            parts.append(self._piece)
            self._position += len(self._piece)
            self._piece = memoryview(b"")
        return b"".join(parts)

    def pieces(self) -> Iterator[bytes]:
        """What is left as pieces of up to a megabyte: the fastest way through a stream."""
        while self._piece or self._more():
            piece, self._piece = self._piece, memoryview(b"")
            self._position += len(piece)
            whole = piece.obj
            yield whole if isinstance(whole, bytes) and len(whole) == len(piece) else bytes(piece)

    def close(self) -> None:
        """Close the stream, and the source if it was opened for it."""
        if not self.closed:
            super().close()
            self._piece = memoryview(b"")
            self._pieces = iter(())
            if self._close_source is not None:
                self._close_source()


def open_decompressed(
    source: BinaryIO | Iterable[ReadableBuffer] | str | os.PathLike[str],
    *,
    codec: str | None = None,
    limit_bytes: int | None = None,
    limit_ratio: float | None = None,
) -> DecompressedStream:
    """Open a stream to read what it holds, whichever way it is compressed.

    Parameters
    ----------
    source
        A binary file (read from where it stands), pieces of bytes, or a path.
    codec
        ``none``, ``gzip``, ``zstd``, ``xz`` or ``bzip2``. Default: what the first bytes say;
        ``none`` if they are not those of a compressed stream.
    limit_bytes
        The most that the stream may hold, decompressed.
    limit_ratio
        How many bytes one compressed byte may become, on average (counted from 64 MiB of output).

    Raises
    ------
    TruncatedArchiveError
        While reading: the stream ends before its content does.
    CodecError
        While reading: not of this format, damaged, needing too much memory, or over a limit.
    ArgumentTypeError
        No such codec.
    """
    chosen = None if codec is None else codec_named(codec)
    close: Callable[[], None] | None = None
    if isinstance(source, str | os.PathLike):
        # Closed with the stream.
        source = open(source, "rb", buffering=0)  # noqa: SIM115
        close = source.close
    try:
        taken = Input(source)
        if chosen is None:
            chosen = detect(taken.head())
        return DecompressedStream(
            taken, chosen, close=close, limit_bytes=limit_bytes, limit_ratio=limit_ratio
        )
    except BaseException:
        if close is not None:
            close()
        raise
