"""Writing one blob: bytes are hashed on their way to the disk, and take their name from the hash.

    with store.writer() as blob:
        blob.write(b"...")
        digest, size_bytes = blob.commit()

The hot path of every build: a piece of a megabyte is hashed and handed to the kernel from where it
lies, without a copy. Both steps release the interpreter's lock, so blobs written by several
worker threads advance together. Small pieces are gathered first, since a system call per 512-byte
tar header would cost more than the bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple

from nbdock.content.faults import storage_error
from nbdock.content.temporary import TemporaryFile
from nbdock.errors import ContentError, DigestMismatchError, SizeMismatchError
from nbdock.oci import Digest

__all__ = ["BlobWriter", "Written"]

_GATHER_BELOW_BYTES = 64 << 10
_GATHERED_BYTES = 1 << 20


class Written(NamedTuple):
    """A blob that is in the store: its digest, and its size in bytes."""

    digest: Digest
    size_bytes: int


class BlobWriter:
    """One blob in the making; made by `BlobStore.writer`, used as a context manager.

    Guarantees: the blob appears in the store whole and with the right name at `commit`, or never.
    Leaving the block without `commit`, an error, or the death of the process removes what was
    written. One thread at a time may use a writer; different writers are independent.
    """

    def __init__(
        self, directory: str, place: Callable[[Digest], str], algorithm: str, *, durable: bool
    ) -> None:
        self._file = TemporaryFile(directory)
        self._directory = directory
        self._place = place
        self._hasher = Digest.of(b"", algorithm=algorithm).hasher()
        self._durable = durable
        self._gathered = bytearray()
        self._size_bytes = 0
        self._open = False

    def __enter__(self) -> BlobWriter:
        try:
            self._file.__enter__()
        except OSError as error:
            raise storage_error(error, "write a blob", self._directory) from error
        self._open = True
        return self

    @property
    def size_bytes(self) -> int:
        """How much was written so far."""
        return self._size_bytes

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append `data`, which may change once this has returned; its length in bytes.

        Raises
        ------
        StorageFullError
            The disk is full; what was written is removed at once.
        """
        if not self._open:
            raise ContentError("This blob is not being written: it was committed, or it failed.")
        length = data.nbytes if isinstance(data, memoryview) else len(data)
        if length < _GATHER_BELOW_BYTES:
            self._gathered += data
            if len(self._gathered) >= _GATHERED_BYTES:
                self._flush()
        else:
            self._flush()
            self._put(data if not isinstance(data, memoryview) else data.cast("B"))
        self._size_bytes += length
        return length

    def _flush(self) -> None:
        if self._gathered:
            gathered, self._gathered = self._gathered, bytearray()
            self._put(gathered)

    def _put(self, data: bytes | bytearray | memoryview) -> None:
        self._hasher.update(data)
        try:
            self._file.write(data)
        except OSError as error:
            self.abort()
            raise storage_error(error, "write a blob", self._directory) from error

    def commit(
        self, expected: Digest | None = None, *, expected_size_bytes: int | None = None
    ) -> Written:
        """Check the blob, and put it into the store under its digest.

        Parameters
        ----------
        expected
            The digest that was announced, of the writer's algorithm.
        expected_size_bytes
            The size that was announced.

        Raises
        ------
        SizeMismatchError, DigestMismatchError
            The bytes are not those announced; nothing is left of them.
        StorageFullError
            The disk is full; nothing is left.
        """
        if not self._open:
            raise ContentError("This blob is not being written: it was committed, or it failed.")
        self._flush()
        digest = Digest.of_hasher(self._hasher)
        if expected_size_bytes is not None and self._size_bytes != expected_size_bytes:
            self.abort()
            raise SizeMismatchError(
                f"A blob of {expected_size_bytes} bytes was announced, {self._size_bytes} came.",
                expected_bytes=expected_size_bytes,
                actual_bytes=self._size_bytes,
                digest=str(expected or digest),
                hint="The source is truncated or lies about its size; fetch it again.",
            )
        if expected is not None and digest != expected:
            self.abort()
            raise DigestMismatchError(
                f"The bytes announced as {expected} are {digest}.",
                digest=str(expected),
                actual=str(digest),
                hint="The source is damaged or has been tampered with; fetch it again.",
            )
        target = self._place(digest)
        try:
            self._file.publish(target, mode=0o444, durable=self._durable)
        except OSError as error:
            self.abort()
            raise storage_error(error, "add a blob", target) from error
        self._open = False
        return Written(digest, self._size_bytes)

    def abort(self) -> None:
        """Remove what was written; harmless after `commit` and when repeated."""
        self._open = False
        self._gathered = bytearray()
        self._file.discard()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.abort()
