"""Writing gzip and zstd: the same bytes on every machine, on all its cores.

    >>> out = bytearray()
    >>> with compressor("gzip", out.extend) as stream:
    ...     _ = stream.write(b"hello")
    ...     size_bytes = stream.finish()
    >>> import gzip
    >>> gzip.decompress(out), size_bytes == len(out)
    (b'hello', True)

The bytes depend on the input, the algorithm, the level and the version of the library; not on the
processor, the number of cores, the timing of threads, or how the input was cut. (Why these
libraries: see `nbdock.content.codecs`.)

- **gzip** is cut into blocks of a megabyte, each compressed by a worker thread with the last 32 KiB
  before it as dictionary, and joined into one ordinary member, as ``pigz`` does. The header has no
  name, no time (zero) and no operating system (255). Level 6 is the default. On 300 MB it took
  1/1.9 to 1/2.3 of the time of ``pigz -p2 -6`` (and 1/2.3 of its processor time), for 1.7 % more
  bytes.
- **zstd** uses the library's own threads, also when there is only one, since it cuts its jobs
  differently without. A checksum of the content is in every frame (as ``zstd`` does by default): it
  costs little, and finds damage where a stream is read without its digest. Level 3 is the default.
  It takes the processor time of ``zstd -T2 -3`` (measured: 1.02 to 1.05).
- **none** passes everything on, so that callers need no second path.
"""

from __future__ import annotations

import collections
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Protocol, TypeAlias

from nbdock import settings
from nbdock.content.codecs import Codec, codec_named
from nbdock.errors import ArgumentTypeError, CodecError

__all__ = ["Compressor", "compressor", "default_level", "encoder_version"]

Sink: TypeAlias = Callable[[bytes], object]

_BLOCK_BYTES = 1 << 20
_DICTIONARY_BYTES = 32 << 10
_GZIP_HEADER = bytes.fromhex("1f8b08000000000000ff")
_LEVELS = {"none": (0, 0, 0), "gzip": (1, 6, 9), "zstd": (1, 3, 19)}


class _Encoder(Protocol):
    def write(self, data: memoryview) -> None: ...
    def finish(self) -> None: ...
    def abort(self) -> None: ...


class Compressor:
    """A stream that compresses what is written to it into a sink; made by `compressor`.

    Guarantees: the sink is called by the thread that calls `write` and `finish`, in order; memory
    stays bounded (a few megabytes per worker). Leaving the ``with`` block without `finish` drops
    what is unfinished and waits for the threads that work on it.

    Attributes
    ----------
    algorithm, level
        What is being done.
    """

    def __init__(self, algorithm: Codec, level: int, encoder: _Encoder, counted: _Counted) -> None:
        self.algorithm = algorithm
        self.level = level
        self._encoder = encoder
        self._counted = counted
        self._open = True

    def __enter__(self) -> Compressor:
        return self

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Compress `data`, which may change once this has returned; its length in bytes."""
        if not self._open:
            raise CodecError("This compressed stream is finished; nothing can be added to it.")
        view = memoryview(data).cast("B")
        if view:
            self._encoder.write(view)
        return len(view)

    def finish(self) -> int:
        """End the stream; how many compressed bytes there were."""
        if self._open:
            self._open = False
            self._encoder.finish()
        return self._counted.size_bytes

    def abort(self) -> None:
        """Drop what is unfinished; harmless after `finish`."""
        if self._open:
            self._open = False
            self._encoder.abort()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.abort()


def compressor(
    algorithm: str, sink: Sink, *, level: int | None = None, workers: int | None = None
) -> Compressor:
    """A compressed stream that goes piece by piece to `sink`.

    Parameters
    ----------
    algorithm
        ``none``, ``gzip`` (``gz``) or ``zstd`` (``zst``).
    sink
        Called with each piece of the result.
    level
        1 to 9 for gzip (default 6), 1 to 19 for zstd (default 3).
    workers
        Threads that compress; the bytes do not depend on it. Default: `settings.workers`.

    Raises
    ------
    ArgumentTypeError
        An algorithm that nbdock does not write, or a level it does not have.
    """
    codec = codec_named(algorithm)
    chosen = _checked_level(codec, level)
    threads = settings.current().workers if workers is None else max(1, workers)
    counted = _Counted(sink)
    encoder: _Encoder
    if codec == "gzip":
        encoder = _GzipEncoder(counted, chosen, threads)
    elif codec == "zstd":
        encoder = _ZstdEncoder(counted, chosen, threads)
    else:
        encoder = _PlainEncoder(counted)
    return Compressor(codec, chosen, encoder, counted)


def default_level(algorithm: str) -> int:
    """The level used when none is given."""
    return _checked_level(codec_named(algorithm), None)


def encoder_version(algorithm: str) -> str:
    """Which library, of which version and cut how, makes the bytes.

    Compressed bytes may be kept and used again only while this is the same.
    """
    codec = codec_named(algorithm)
    if codec == "gzip":
        from zlib_ng import zlib_ng

        return f"zlib-ng {zlib_ng.ZLIBNG_VERSION}, blocks of {_BLOCK_BYTES}"
    if codec == "zstd":
        import zstandard

        return "zstd " + ".".join(str(part) for part in zstandard.ZSTD_VERSION)
    return "none"


def _checked_level(codec: Codec, level: int | None) -> int:
    if codec not in _LEVELS:
        raise ArgumentTypeError(
            f"nbdock reads {codec}, but does not write it.",
            argument="algorithm",
            hint="Use gzip, zstd or none.",
        )
    lowest, default, highest = _LEVELS[codec]
    if level is None or codec == "none":
        return default
    if not lowest <= level <= highest:
        raise ArgumentTypeError(
            f"{codec} has the levels {lowest} to {highest}, not {level}.", argument="level"
        )
    return level


class _Counted:
    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.size_bytes = 0

    def __call__(self, data: bytes) -> None:
        if data:
            self.size_bytes += len(data)
            self._sink(data)


class _PlainEncoder:
    def __init__(self, sink: _Counted) -> None:
        self._sink = sink

    def write(self, data: memoryview) -> None:
        self._sink(bytes(data))

    def finish(self) -> None:
        pass

    abort = finish


class _ZstdEncoder:
    def __init__(self, sink: _Counted, level: int, workers: int) -> None:
        import zstandard

        parameters = zstandard.ZstdCompressionParameters.from_level(
            level, threads=workers, write_checksum=True, write_content_size=False
        )
        self._sink = sink
        self._stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()

    def write(self, data: memoryview) -> None:
        self._sink(self._stream.compress(data))

    def finish(self) -> None:
        self._sink(self._stream.flush())

    def abort(self) -> None:
        # Freeing the context waits for the library's threads.
        del self._stream


class _GzipEncoder:
    def __init__(self, sink: _Counted, level: int, workers: int) -> None:
        from zlib_ng import zlib_ng

        self._crc32 = zlib_ng.crc32
        self._sink = sink
        self._level = level
        self._in_flight = 2 * workers if workers > 1 else 0
        self._pending: collections.deque[Future[bytes]] = collections.deque()
        self._block = bytearray(_BLOCK_BYTES)
        self._filled = 0
        self._dictionary: memoryview | None = None
        self._crc = 0
        self._length = 0
        sink(_GZIP_HEADER)

    def write(self, data: memoryview) -> None:
        self._crc = self._crc32(data, self._crc)
        self._length += len(data)
        while data:
            # A full block waits for more to come: the last one is ended differently.
            if self._filled == _BLOCK_BYTES:
                self._next_block()
            part = data[: _BLOCK_BYTES - self._filled]
            self._block[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            data = data[len(part) :]

    def _next_block(self) -> None:
        if self._in_flight:
            while len(self._pending) >= self._in_flight or (
                self._pending and self._pending[0].done()
            ):
                self._sink(self._pending.popleft().result())
            call = (self._block, self._dictionary, self._level)
            self._pending.append(_pool().submit(_deflate, *call, last=False))
        else:
            self._sink(_deflate(self._block, self._dictionary, self._level, last=False))
        self._dictionary = memoryview(self._block)[-_DICTIONARY_BYTES:]
        self._block = bytearray(_BLOCK_BYTES)
        self._filled = 0

    def finish(self) -> None:
        block = memoryview(self._block)[: self._filled]
        last = _deflate(block, self._dictionary, self._level, last=True)
        while self._pending:
            self._sink(self._pending.popleft().result())
        self._sink(last)
        size = self._length & 0xFFFFFFFF
        self._sink(self._crc.to_bytes(4, "little") + size.to_bytes(4, "little"))

    def abort(self) -> None:
        for future in self._pending:
            future.cancel()
        for future in self._pending:
            if not future.cancelled():
                future.exception()
        self._pending.clear()


def _deflate(
    block: bytearray | memoryview, dictionary: memoryview | None, level: int, *, last: bool
) -> bytes:
    """One block as raw deflate, which joins to what came before at a byte's boundary."""
    from zlib_ng import zlib_ng

    if dictionary is None:
        stream = zlib_ng.compressobj(level, zlib_ng.DEFLATED, -15, 8, 0)
    else:
        stream = zlib_ng.compressobj(level, zlib_ng.DEFLATED, -15, 8, 0, dictionary)
    head: bytes = stream.compress(block)
    tail: bytes = stream.flush(zlib_ng.Z_FINISH if last else zlib_ng.Z_SYNC_FLUSH)
    return head + tail


# A pool of its own: the callers are worker threads themselves, which wait for blocks; were the
# blocks queued behind other callers in one pool, all of them could wait for ever. A block waits
# for nothing.
_pool_lock = threading.Lock()
_threads: ThreadPoolExecutor | None = None


def _pool() -> ThreadPoolExecutor:
    global _threads
    with _pool_lock:
        if _threads is None:
            workers = settings.current().workers
            _threads = ThreadPoolExecutor(workers, thread_name_prefix="nbdock-compress")
        return _threads


def _forget_pool() -> None:
    """A forked child has the pool, but not its threads."""
    global _threads, _pool_lock
    _threads, _pool_lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget_pool)
