"""A download: bytes into ``<destination>.part``, hashed once as they arrive, then renamed.

The states of a download, and what a failure in each leaves behind:

1. *taking up*: an earlier process left a part. If its digest will be checked in the end it is read
   (hashed) and continued with ``Range``; if not, nobody could tell whether it belongs to today's
   body, and it is dropped.
2. *receiving*: a break is taken up with ``Range`` and ``If-Range``; a server that answers with the
   whole body instead of the range starts the file anew. The part stays for a later process.
3. *checking*: size and digest. A part that was taken up from an earlier process and fails is
   fetched once more from its start, for the older half may be at fault; else nothing is left.
4. *done*: renamed; the name never stands for half a file.

Two processes may want one file: the part is locked, and who comes second uses a part of its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol

from nbdock import settings
from nbdock.concurrency import in_worker
from nbdock.errors import (
    ConnectionFailedError,
    DigestMismatchError,
    SizeMismatchError,
    StorageFullError,
)
from nbdock.oci import Digest
from nbdock.transport.attempts import Attempts
from nbdock.transport.redacted import redacted
from nbdock.transport.response import Response, status_error

if TYPE_CHECKING:
    from _hashlib import HASH

__all__ = ["Downloaded", "Requests", "TransferProgress", "Witness", "download"]

TransferProgress = Callable[[int, int], None]
"""Told (bytes arrived, bytes in all; 0: unknown) as a body arrives."""

_MUCH_BYTES = 1 << 20
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)\Z")


class Requests(Protocol):
    """What a download asks with: a `Transport`, or something around one that adds to requests."""

    @property
    def limits(self) -> settings.Settings:
        """The settings in force."""
        ...

    def attempts(self, url: str) -> Attempts:
        """The retries of one transfer."""
        ...

    def stream(
        self, method: str, url: str, *, headers: Mapping[str, str], attempts: Attempts
    ) -> AbstractAsyncContextManager[Response]:
        """Send a request; the answer, whatever its status, with its body unread."""
        ...


class Witness(Protocol):
    """Sees the bytes of a body once each and in order, in a worker, when they have been written."""

    def restart(self) -> None:
        """Forget all: the body begins anew."""
        ...

    def update(self, data: memoryview, /) -> None:
        """See the next bytes, which change once this has returned."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Downloaded:
    """A finished download: digest and size of what now stands at its destination."""

    digest: Digest
    """A SHA-256, unless the expected digest was another."""
    size_bytes: int
    resumed_bytes: int
    """How much of it an earlier process had fetched."""


class _Part:
    """The file that fills up; its hash is always that of its content."""

    def __init__(
        self,
        destination: str,
        expected: Digest | None,
        buffer_bytes: int,
        witness: Witness | None,
    ) -> None:
        self.destination = destination
        self._witness = witness
        self._algorithm = expected.algorithm if expected else "sha256"
        self.path, self._fd, self._is_shared = _open_part(destination)
        self._is_done = False
        self.size_bytes = 0
        self.resumed_bytes = 0
        self._begin()
        if expected:
            self._take_up(buffer_bytes)
        else:
            os.ftruncate(self._fd, 0)

    def _begin(self) -> None:
        self._hash: HASH = Digest.of(b"", algorithm=self._algorithm).hasher()
        if self._witness is not None:
            self._witness.restart()

    def _seen(self, data: memoryview) -> None:
        self._hash.update(data)
        self.size_bytes += len(data)
        if self._witness is not None:
            self._witness.update(data)

    def _take_up(self, buffer_bytes: int) -> None:
        """Hash what is there already."""
        if not os.fstat(self._fd).st_size:
            return
        buffer = bytearray(buffer_bytes)
        while count := os.readv(self._fd, [buffer]):
            self._seen(memoryview(buffer)[:count])
        self.resumed_bytes = self.size_bytes

    def restart(self) -> None:
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self.size_bytes = self.resumed_bytes = 0
        self._begin()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        while view:
            with _full_disk_told(self.destination):
                count = os.write(self._fd, view)
            self._seen(view[:count])
            view = view[count:]

    @property
    def digest(self) -> Digest:
        return Digest.of_hasher(self._hash)

    def finish(self) -> None:
        # Not synced: that costs more than the transfer of a small file, and a name whose content a
        # power failure took has another size, which whoever looks for the file compares anyway.
        os.replace(self.path, self.destination)
        self._is_done = True

    def close(self, *, keep: bool) -> None:
        # The name goes before the lock: afterwards it may be another's.
        if not self._is_done and not (keep and self.size_bytes and self._is_shared):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
        os.close(self._fd)


def _open_part(destination: str) -> tuple[str, int, bool]:
    """Open and lock ``<destination>.part`` (True), or one of our own while another holds that."""
    folder, name = os.path.split(destination)
    os.makedirs(folder or ".", exist_ok=True)
    path = f"{destination}.part"
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    with _full_disk_told(destination):
        fd = os.open(path, flags, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its last owner may have renamed it between our opening and locking it.
        ours, named = os.fstat(fd), os.stat(path)
        if (ours.st_ino, ours.st_dev) == (named.st_ino, named.st_dev):
            return path, fd, True
    except OSError:
        pass
    os.close(fd)
    with _full_disk_told(destination):
        fd, path = tempfile.mkstemp(prefix=f"{name}.", suffix=".part", dir=folder or ".")
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.fchmod(fd, 0o644)
    return path, fd, False


@contextlib.contextmanager
def _full_disk_told(destination: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise StorageFullError(
            f"The disk is full: {destination} could not be written.",
            path=destination,
            hint="Free some space, or set NBDOCK_HOME to a larger disk.",
        ) from error


async def download(
    transport: Requests,
    url: str,
    destination: str,
    expected: Digest | None,
    size_bytes: int | None,
    progress: TransferProgress | None,
    witness: Witness | None = None,
) -> Downloaded:
    """See `Transport.download`; what requests need besides, `transport` adds to them.

    A `witness` has seen the whole body when this returns.
    """
    buffer_bytes = transport.limits.io_buffer_bytes
    part = await in_worker(_Part, destination, expected, buffer_bytes, witness)
    keep = False
    try:
        if size_bytes is not None and part.size_bytes > size_bytes:
            part.restart()
        while True:
            # Only in this state is what has arrived worth keeping.
            keep = expected is not None
            await _receive(transport, url, part, size_bytes, progress)
            keep = False
            wrong = _mismatch(part, url, expected, size_bytes)
            if wrong is None:
                break
            if not part.resumed_bytes:
                raise wrong
            part.restart()
        part.finish()
        return Downloaded(part.digest, part.size_bytes, part.resumed_bytes)
    except (SizeMismatchError, StorageFullError):
        keep = False
        raise
    finally:
        part.close(keep=keep)


async def _receive(
    transport: Requests,
    url: str,
    part: _Part,
    size_bytes: int | None,
    progress: TransferProgress | None,
) -> None:
    """Fetch until the body's end, taking broken transfers up again."""
    attempts = transport.attempts(url)
    validator = ""
    furthest = part.size_bytes
    while size_bytes is None or part.size_bytes < size_bytes or size_bytes == 0:
        headers = {}
        if part.size_bytes:
            headers["Range"] = f"bytes={part.size_bytes}-"
            if validator:
                headers["If-Range"] = validator
        async with transport.stream("GET", url, headers=headers, attempts=attempts) as response:
            if response.status == 416 and part.size_bytes:
                # The body is not longer than the part: fetch it whole and compare.
                part.restart()
                validator = ""
                continue
            if response.status not in {200, 206}:
                raise await status_error(response)
            try:
                total = _total_bytes(response, part)
                _check_announced(url, total, size_bytes)
                validator = _validator(response)
                await _copy(response, part, size_bytes, total or 0, transport.limits, progress)
            except ConnectionFailedError as error:
                if part.size_bytes - furthest >= _MUCH_BYTES:
                    attempts.progressed()
                furthest = max(furthest, part.size_bytes)
                attempts.broke(error)
                continue
            if total is None or part.size_bytes == total:
                return
            # A range that ends before the body does: ask for the rest, but not for ever.
            attempts.broke(
                ConnectionFailedError(
                    f"{redacted(url)} sends only pieces of its body.", url=redacted(url)
                )
            )


async def _copy(
    response: Response,
    part: _Part,
    size_bytes: int | None,
    total_bytes: int,
    limits: settings.Settings,
    progress: TransferProgress | None,
) -> None:
    """Write and hash the body in big pieces, in a worker; what came before a break is kept."""

    def tell(arrived: int) -> None:
        if size_bytes is not None and arrived > size_bytes:
            raise _size_error(response.url, size_bytes, arrived)
        if progress is not None:
            progress(arrived, total_bytes or size_bytes or 0)

    if response.is_pourable:
        async for _ in response.pour(part.write, timeout_s=limits.silence_timeout_s):
            tell(part.size_bytes)
        return
    piece = bytearray()
    try:
        async for chunk in response.chunks():
            piece += chunk
            tell(part.size_bytes + len(piece))
            if len(piece) >= limits.io_buffer_bytes:
                full, piece = piece, bytearray()
                await in_worker(part.write, full)
    finally:
        if piece:
            await in_worker(part.write, piece)


def _total_bytes(response: Response, part: _Part) -> int | None:
    """The length of the whole body, as announced; starts the part anew if it must be."""
    if response.status == 200:
        part.restart()
        return response.announced_bytes
    match = _CONTENT_RANGE.match(response.headers.get("content-range", "").strip())
    if match is None or int(match[1]) != part.size_bytes or not part.size_bytes:
        part.restart()
        raise ConnectionFailedError(
            f"{redacted(response.url)} sent another range than was asked for.",
            url=redacted(response.url),
        )
    return None if match[3] == "*" else int(match[3])


def _check_announced(url: str, total_bytes: int | None, size_bytes: int | None) -> None:
    if total_bytes is not None and size_bytes is not None and total_bytes != size_bytes:
        raise _size_error(url, size_bytes, total_bytes)


def _validator(response: Response) -> str:
    """What ``If-Range`` may be asked with: a strong ETag, else the date (RFC 9110, 13.1.5)."""
    etag = response.headers.get("etag", "")
    if etag and not etag.startswith("W/"):
        return etag
    return response.headers.get("last-modified", "")


def _mismatch(
    part: _Part, url: str, expected: Digest | None, size_bytes: int | None
) -> DigestMismatchError | SizeMismatchError | None:
    if size_bytes is not None and part.size_bytes != size_bytes:
        return _size_error(url, size_bytes, part.size_bytes)
    if expected is not None and part.digest != expected:
        algorithm = expected.algorithm.upper().replace("SHA", "SHA-")
        return DigestMismatchError(
            f"{redacted(url)} has the {algorithm} {part.digest.hex}, not {expected.hex} as "
            "announced.",
            digest=str(expected),
            actual=str(part.digest),
            path=part.destination,
            hint="The server's copy is damaged or was replaced; it was not used. Try again later "
            "or use another server.",
        )
    return None


def _size_error(url: str, expected_bytes: int, actual_bytes: int) -> SizeMismatchError:
    return SizeMismatchError(
        f"{redacted(url)} has {actual_bytes:,} bytes or more, not {expected_bytes:,} as announced."
        if actual_bytes > expected_bytes
        else f"{redacted(url)} has {actual_bytes:,} bytes, not {expected_bytes:,} as announced.",
        expected_bytes=expected_bytes,
        actual_bytes=actual_bytes,
        hint="The server's copy is damaged or was replaced; it was not used.",
    )
