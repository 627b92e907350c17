"""Whether a layer's blob holds the tar that its image promises, found out as the bytes arrive.

    check = LayerCheck(LayerCache(store), layer.digest, diff_id)
    check.restart()
    check.update(memoryview(compressed))       # as often as bytes come
    check.finish()                             # raises if it is another tar, or none

The bytes are decompressed and hashed, and nothing is held or written. What was found to be right
is remembered in the layer cache: which tar a blob holds follows from its digest, so that no blob
is checked twice.
"""

from __future__ import annotations

import asyncio
import threading

from nbdock import settings
from nbdock.content.cache import LayerCache
from nbdock.content.codecs import MAGIC_BYTES, detect
from nbdock.content.decoders import FedInput
from nbdock.content.decompress import DecompressedStream
from nbdock.content.store import BlobStore
from nbdock.errors import ArchiveError, DigestMismatchError
from nbdock.oci import Digest

__all__ = ["LayerCheck"]

_HINT = "The image is damaged or was tampered with; do not use it."


class LayerCheck:
    """Compares the tar within a blob with a diff ID; in use by one thread at a time.

    Parameters
    ----------
    cache
        Where it is remembered.
    digest
        The blob's digest, which is not checked here.
    diff_id
        The digest that the blob's content must have, decompressed.
    """

    def __init__(self, cache: LayerCache, digest: Digest, diff_id: Digest) -> None:
        self._cache = cache
        self._digest = digest
        self._diff_id = diff_id
        self.restart()

    def restart(self) -> None:
        """Forget the bytes so far: the blob comes once more, from its start."""
        self._hasher = self._diff_id.hasher()
        self._source = FedInput()
        self._head = b""
        self._stream: DecompressedStream | None = None
        self._failure: ArchiveError | None = None

    def update(self, data: memoryview) -> None:
        """Take the next bytes of the blob, which may change once this has returned.

        It raises nothing: whether these are the blob's bytes at all, its digest says in the end.
        """
        if self._failure is not None:
            return
        if self._stream is None:
            self._head += data
            if len(self._head) < MAGIC_BYTES and self._source.is_open:
                return
            data, limits = memoryview(self._head), settings.current()
            self._head = b""
            # By the bytes and not by the media type, as wherever layers are read.
            self._stream = DecompressedStream(
                self._source, detect(bytes(data[:MAGIC_BYTES])), close=None,
                limit_bytes=limits.layer_contents_limit_bytes,
                limit_ratio=limits.decompression_ratio_limit,
            )  # fmt: skip
        self._source.feed(data)
        try:
            for piece in self._stream.pieces():
                self._hasher.update(piece)
        except ArchiveError as error:
            self._failure = error

    def finish(self) -> None:
        """Compare, and remember it if it is right.

        Raises
        ------
        DigestMismatchError
            It is another tar.
        ArchiveError
            It does not decompress, or expands beyond the limits.
        """
        self._source.is_open = False
        self.update(memoryview(b""))
        if self._failure is not None:
            raise type(self._failure)(
                f"The layer {self._digest} should unpack to {self._diff_id}, says the image's "
                f"configuration, but does not unpack. {self._failure.message}",
                offset=self._failure.offset,
                hint=_HINT,
            ) from self._failure
        actual = Digest.of_hasher(self._hasher)
        if actual != self._diff_id:
            raise DigestMismatchError(
                f"The layer {self._digest} unpacks to {actual}, but the image's configuration "
                f"says {self._diff_id}.",
                digest=str(self._diff_id),
                actual=str(actual),
                hint=_HINT,
            )
        self._cache.put_diff_id(self._digest, self._diff_id)

    def read(self, store: BlobStore, stop: threading.Event) -> None:
        """Check a blob that is in the store, unless it was; see `finish`. Blocking."""
        if self._cache.diff_ids([self._digest]).get(self._digest) == self._diff_id:
            return
        self.restart()
        buffer = memoryview(bytearray(settings.current().io_buffer_bytes))
        with store.open(self._digest) as file:
            while count := file.readinto(buffer):  # type: ignore[attr-defined]
                if stop.is_set():
                    raise asyncio.CancelledError
                self.update(buffer[:count])
        self.finish()
