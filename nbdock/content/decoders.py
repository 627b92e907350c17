"""The decoders: from compressed input to pieces of at most a megabyte, one generator per codec.

    >>> import bz2
    >>> list(DECODERS["bzip2"](Input([bz2.compress(b"one "), bz2.compress(b"two")])))
    [b'one ', b'two']

Each reads its stream to the very end (see `nbdock.content.decompress` for what that means), and
holds only its window, 64 KiB of input and one piece of output. The decoders release the
interpreter's lock while they work.

An input may also be fed as its bytes arrive (`FedInput`). Then a decoder gives an empty piece when
it has used what is there, and goes on from that place when it is asked again.
"""

from __future__ import annotations

import bz2
import logging
import lzma
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from nbdock.content.codecs import MAGIC_BYTES, Codec
from nbdock.content.zstdframes import ZstdFrames
from nbdock.errors import CodecError, TruncatedArchiveError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["DECODERS", "FedInput", "Input"]

_log = logging.getLogger(__name__)

_INPUT_BYTES = 64 << 10
# What arrives together is decoded together: each step of Python costs as much as some 10 kB.
_FED_INPUT_BYTES = 1 << 20
_OUTPUT_BYTES = 1 << 20
_FED_OUTPUT_BYTES = 256 << 10
# zstd's own default (--long=27); xz -9 has 64 MiB.
_ZSTD_WINDOW_LIMIT_BYTES = 128 << 20
_XZ_MEMORY_LIMIT_BYTES = 128 << 20
_XZ_MAGIC = b"\xfd7zXZ\x00"


class Input:
    """The compressed bytes, from a file or an iterable, and how many were taken.

    Attributes
    ----------
    offset
        How many bytes were taken.
    is_open
        Whether more may come after nothing was there to take.
    """

    def __init__(self, source: BinaryIO | Iterable[ReadableBuffer]) -> None:
        self._read: Callable[[int], bytes] | None = getattr(source, "read", None)
        self._pieces: Iterator[ReadableBuffer] = iter(() if self._read else source)
        self._held: memoryview = memoryview(b"")
        self.offset = 0
        self.is_open = False

    def take(self, count: int = _INPUT_BYTES) -> bytes:
        """Up to `count` bytes; none at the end."""
        while not self._held:
            if self._read is not None:
                # A raw file may say None for "nothing yet"; that is not a blocking stream's answer.
                data: ReadableBuffer = self._read(max(count, _INPUT_BYTES)) or b""
                if not data:
                    return b""
            else:
                try:
                    data = next(self._pieces)
                except StopIteration:
                    return b""
            self._held = memoryview(data).cast("B")
        taken = bytes(self._held[:count])
        self._held = self._held[count:]
        self.offset += len(taken)
        return taken

    def more(self) -> Generator[bytes, None, bytes]:
        """What `take` gives, after empty pieces as long as the input is open and has none."""
        count = _FED_INPUT_BYTES if self.is_open else _INPUT_BYTES
        while not (data := self.take(count)) and self.is_open:
            yield b""
        return data

    def head(self) -> bytes:
        """The first bytes, which will be taken again."""
        head = b""
        while len(head) < MAGIC_BYTES and (more := self.take()):
            head += more
        self._held = memoryview(head + bytes(self._held))
        self.offset = 0
        return head[:MAGIC_BYTES]


class FedInput(Input):
    """Compressed bytes that arrive from elsewhere, until `is_open` is set to False."""

    def __init__(self) -> None:
        super().__init__(())
        self.is_open = True

    def feed(self, data: memoryview) -> None:
        """Add bytes, which may change once they were taken; no decoder wants what it left."""
        self._held = data


def _truncated(codec: Codec, offset: int) -> TruncatedArchiveError:
    return TruncatedArchiveError(
        f"The {codec} stream ends after {offset} bytes, before its content does.",
        offset=offset,
        hint="The file is truncated; fetch or make it again.",
    )


def _damaged(codec: Codec, offset: int, error: Exception) -> CodecError:
    return CodecError(
        f"The {codec} stream is damaged, or is no {codec} stream, before byte {offset}: {error}.",
        offset=offset,
        hint="The file is damaged; fetch or make it again.",
    )


def _plain(source: Input) -> Iterator[bytes]:
    while (data := source.take(_OUTPUT_BYTES)) or source.is_open:
        yield data


def _gzip(source: Input) -> Iterator[bytes]:
    # A tenth faster than zlib-ng. What it decompresses is the same everywhere; what it compresses
    # is not, so that stays with zlib-ng.
    from isal import isal_zlib

    isal_error = cast("type[Exception]", isal_zlib.error)  # the stubs call it a value
    data = yield from source.more()
    first = True
    while first or data:
        if not first and not data.startswith(b"\x1f\x8b"):
            _warn_of_garbage("gzip", source.offset)
            return
        member = isal_zlib.decompressobj(wbits=31)
        full = False
        while not member.eof:
            # A full piece may leave output inside the decoder, which no more input has to push.
            if not data and not full and not (data := (yield from source.more())):
                raise _truncated("gzip", source.offset)
            try:
                piece = member.decompress(data, _OUTPUT_BYTES)
            except isal_error as error:
                raise _damaged("gzip", source.offset, error) from error
            data = member.unconsumed_tail
            full = len(piece) == _OUTPUT_BYTES
            if piece:
                yield piece
        data = member.unused_data
        first = False
        data = yield from _after_padding(source, data)
        if len(data) == 1:
            data += yield from source.more()


def _after_padding(source: Input, data: bytes) -> Generator[bytes, None, bytes]:
    """What follows zero bytes, if anything does."""
    while not (rest := data.lstrip(b"\0")):
        if not (data := (yield from source.more())):
            return b""
    return rest


def _warn_of_garbage(codec: Codec, offset: int) -> None:
    _log.warning("Ignored bytes after the end of a %s stream, before byte %d.", codec, offset)


def _xz(source: Input) -> Iterator[bytes]:
    data = yield from source.more()
    first = True
    while first or data:
        if not first and not (_XZ_MAGIC.startswith(data) or data.startswith(_XZ_MAGIC)):
            raise _damaged("xz", source.offset, ValueError("there is something after its end"))
        decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_LIMIT_BYTES)
        while not decoder.eof:
            if decoder.needs_input and not data and not (data := (yield from source.more())):
                raise _truncated("xz", source.offset)
            try:
                piece = decoder.decompress(data, _OUTPUT_BYTES)
            except lzma.LZMAError as error:
                raise _damaged("xz", source.offset, error) from error
            data = b""
            if piece:
                yield piece
        data = decoder.unused_data
        first = False
        # Padding between streams is a multiple of four zero bytes; tools write nothing else.
        data = yield from _after_padding(source, data)


def _bzip2(source: Input) -> Iterator[bytes]:
    data = yield from source.more()
    first = True
    while first or data:
        while len(data) < 3 and (more := (yield from source.more())):
            data += more
        if not first and not data.startswith(b"BZh"):
            _warn_of_garbage("bzip2", source.offset)
            return
        decoder = bz2.BZ2Decompressor()
        while not decoder.eof:
            if decoder.needs_input and not data and not (data := (yield from source.more())):
                raise _truncated("bzip2", source.offset)
            try:
                piece = decoder.decompress(data, _OUTPUT_BYTES)
            except OSError as error:
                raise _damaged("bzip2", source.offset, error) from error
            data = b""
            if piece:
                yield piece
        data = decoder.unused_data or (yield from source.more())
        first = False


class _NothingThereError(Exception):
    """An open input has nothing to take now."""


class _FollowedInput:
    """What the zstd reader reads from, with an eye on the frames."""

    def __init__(self, source: Input) -> None:
        self._source = source
        self.frames = ZstdFrames()

    def read(self, count: int) -> bytes:
        data = self._source.take(count)
        if not data and self._source.is_open:
            # To the reader, no bytes would be the end for ever.
            raise _NothingThereError
        self.frames.feed(data)
        return data


def _zstd(source: Input) -> Iterator[bytes]:
    import zstandard

    followed = _FollowedInput(source)
    decoder = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_LIMIT_BYTES)
    reader = decoder.stream_reader(
        cast("BinaryIO", followed), read_size=_INPUT_BYTES, read_across_frames=True, closefd=False
    )
    buffer = memoryview(bytearray(_FED_OUTPUT_BYTES if source.is_open else 0))
    while True:
        try:
            if buffer:
                # Asks for input only as long as it has no output, which would be lost then.
                piece = bytes(buffer[: reader.readinto1(buffer)])
            else:
                piece = reader.read(_OUTPUT_BYTES)
        except zstandard.ZstdError as error:
            raise _damaged("zstd", source.offset, error) from error
        except _NothingThereError:
            yield b""
            continue
        if not piece:
            break
        yield piece
    if not followed.frames.between_frames or not source.offset:
        raise _truncated("zstd", source.offset)


DECODERS: Final[dict[Codec, Callable[[Input], Iterator[bytes]]]] = {
    "none": _plain,
    "gzip": _gzip,
    "zstd": _zstd,
    "xz": _xz,
    "bzip2": _bzip2,
}
"""The generator of each codec."""
