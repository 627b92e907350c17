"""Pushing blobs: not at all if the registry has them, else mounted, else sent.

    await push_blob(repository, descriptor, store, mount_from=["team/base"])

An upload is a session at the registry, whose place (``Location``) may be relative, at another host,
and full of state; it is used as it comes, with the digest appended. A blob up to
`settings.registry_chunk_bytes` is sent by one PUT, a larger one in chunks (PATCH), each of which
moves the place on. What may go wrong, and what is done:

- the connection breaks, or the registry is overloaded: it is asked how far it got, and the rest is
  sent; with a pause that all transfers to the host share;
- it got elsewhere than we think (416): the same;
- it does not know the session any more: a new one, from the blob's start.

Each costs one of `settings.retries`; a chunk that arrived gives them back.
"""

from __future__ import annotations

import enum
import os
import re
from collections.abc import AsyncIterator, Sequence
from urllib.parse import quote

from nbdock.concurrency import in_worker
from nbdock.content import BlobStore
from nbdock.errors import (
    AuthenticationError,
    BlobNotFoundError,
    ConnectionFailedError,
    RegistryError,
    SizeMismatchError,
    TransportError,
    UnsafeDestinationError,
    UploadError,
)
from nbdock.oci import Descriptor, Digest
from nbdock.registry.answers import refusal
from nbdock.registry.repository import Repository
from nbdock.registry.scopes import Access
from nbdock.transport import Response, TransferProgress, redacted

__all__ = ["Delivery", "has_blob", "push_blob"]

_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,19})\Z")
_PIECE_BYTES = 1 << 20
_MIN_LENGTH = re.compile(r"\d{1,12}\Z")


class Delivery(enum.Enum):
    """How a blob came to be in a repository; the value says it to people."""

    SENT = "done"
    MOUNTED = "mounted"
    EXISTED = "exists already"


async def has_blob(repository: Repository, digest: Digest, access: Access) -> bool:
    """Whether the registry has a blob."""
    async with repository.host.stream(
        "HEAD",
        await repository.url(f"blobs/{digest}"),
        what=f"the blob {digest} of {repository.name}",
        access=access,
        # Where it redirects to may only answer to GET; that it does is answer enough.
        follow=False,
        statuses={200, 404, *_REDIRECTS},
    ) as response:
        return response.status != 404


async def push_blob(
    repository: Repository,
    descriptor: Descriptor,
    store: BlobStore,
    mount_from: Sequence[str] = (),
    progress: TransferProgress | None = None,
) -> Delivery:
    """Put a blob of the store into the registry; see `RegistryClient.push_blob`."""
    digest, size_bytes = descriptor.digest, descriptor.size_bytes
    access = repository.access("pull,push")
    how = Delivery.EXISTED
    if not await has_blob(repository, digest, access):
        with store.open(digest) as file:
            actual = os.fstat(file.fileno()).st_size
            if actual != size_bytes:
                raise SizeMismatchError(
                    f"The blob {digest} should have {size_bytes:,} bytes; it has {actual:,}.",
                    expected_bytes=size_bytes,
                    actual_bytes=actual,
                    digest=str(digest),
                    hint="The store was damaged; build or pull the image again.",
                )
            upload = _Upload(repository, descriptor, file.fileno(), access, progress)
            how = await upload.run([other for other in mount_from if other != repository.path])
    if progress is not None:
        progress(size_bytes, size_bytes)
    return how


class _Gone(Exception):  # noqa: N818 - never leaves this module
    """The registry does not know the session any more, by what it said."""

    def __init__(self, error: RegistryError) -> None:
        super().__init__(error)
        self.error = error


class _Upload:
    """One blob on its way to the registry.

    `_place` is the session's URL ("" if there is none), `_offset` how much of the blob it has;
    `_is_sure` says whether that is so by the registry's own word.
    """

    def __init__(
        self, repository: Repository, descriptor: Descriptor, fd: int, access: Access,
        progress: TransferProgress | None,
    ) -> None:  # fmt: skip
        self._repository = repository
        self._host = repository.host
        self._digest = descriptor.digest
        self._size_bytes = descriptor.size_bytes
        self._fd = fd
        self._access = access
        self._progress = progress
        self._what = f"an upload of {descriptor.digest} to {repository.name}"
        self._place = ""
        self._offset = 0
        self._is_sure = True
        self._was_broken = False
        self._chunk_bytes = self._host.limits.registry_chunk_bytes

    async def run(self, mount_from: Sequence[str]) -> Delivery:
        """Mount the blob from one of these repositories, or send it."""
        uploads = await self._repository.url("blobs/uploads/")
        for other in mount_from:
            if await self._mount(uploads, other):
                return Delivery.MOUNTED
            if self._place:
                break
        attempts = self._host.transport.attempts(uploads)
        while True:
            try:
                if not self._place:
                    await self._begin(uploads)
                elif not self._is_sure:
                    await self._ask_offset()
                before = self._offset
                is_done, busy = await self._send()
                if is_done:
                    return Delivery.SENT
                if busy is not None:
                    self._is_sure = False
                    attempts.refused(busy)
                elif self._offset > before:
                    attempts.progressed()
                elif not attempts.again():
                    raise UploadError(
                        f"{redacted(self._place)} takes no more of the blob {self._digest}.",
                        url=redacted(self._place),
                    )
            except ConnectionFailedError as error:
                self._is_sure = False
                attempts.broke(error)
            except _Gone as gone:
                self._place = ""
                # If it was asked about because something broke, that was counted.
                if self._is_sure and not attempts.again():
                    raise _given_up(gone.error) from gone.error
            self._was_broken = self._was_broken or not (self._is_sure and self._place)

    async def _mount(self, uploads: str, other: str) -> bool:
        """Ask for the blob from another repository; False if it must be sent all the same."""
        query = f"?mount={quote(str(self._digest), safe=':')}&from={quote(other, safe='/')}"
        try:
            async with self._host.stream(
                "POST",
                uploads + query,
                what=f"a mount of {self._digest} into {self._repository.name}",
                access=self._repository.access("pull,push", mount_from=other),
                statuses={201, 202},
            ) as response:
                if response.status == 202:
                    self._place = self._location(response)
                return response.status == 201
        except UnsafeDestinationError:
            raise
        except (RegistryError, TransportError):
            # Not allowed to read there, or it does not know mounting: nothing is lost.
            return False

    async def _begin(self, uploads: str) -> None:
        async with self._host.stream(
            "POST", uploads, what=self._what, access=self._access, statuses={202}
        ) as response:
            self._place, self._offset, self._is_sure = self._location(response), 0, True
            # The least that the registry wants in a chunk.
            least = response.headers.get("oci-chunk-min-length", "")
            if _MIN_LENGTH.fullmatch(least):
                self._chunk_bytes = max(self._chunk_bytes, int(least))

    async def _ask_offset(self) -> None:
        """Ask how far the upload got."""
        try:
            async with self._host.stream(
                "GET", self._place, what=self._what, access=self._access, statuses={204}
            ) as response:
                self._move_on(response, otherwise=0)
                self._is_sure = True
        except (UnsafeDestinationError, AuthenticationError):
            raise
        except RegistryError as error:
            raise _Gone(error) from error

    async def _send(self) -> tuple[bool, Response | None]:
        """Send what comes next; whether that was all, or an answer that says to wait."""
        start = self._offset
        is_whole = start == 0 and self._size_bytes <= self._chunk_bytes
        if is_whole or start == self._size_bytes:
            method, count, url = "PUT", self._size_bytes - start, self._with_digest()
            headers, good = {}, {201, 204}
        else:
            method, count = "PATCH", min(self._chunk_bytes, self._size_bytes - start)
            url, good = self._place, {201, 202, 204}
            headers = {"Content-Range": f"{start}-{start + count - 1}"}
        headers |= {"Content-Type": "application/octet-stream", "Content-Length": str(count)}
        async with self._host.stream(
            method, url, what=self._what, access=self._access, headers=headers,
            content=lambda: self._pieces(start, count),
            statuses={*good, *_TRY_AGAIN, 400, 404, 416},
        ) as response:  # fmt: skip
            if response.status in _TRY_AGAIN:
                return False, response
            if response.status not in good:
                await self._refused(response)
            elif method == "PUT":
                return True, None
            else:
                self._move_on(response, otherwise=start + count)
        return False, None

    async def _refused(self, response: Response) -> None:
        """What to do when the registry does not want what was sent."""
        if response.status == 416:
            self._is_sure = False
            # Counted as a failure, or two who disagree would go on for ever.
            raise ConnectionFailedError(
                f"{redacted(response.url)} got another part of the blob than was sent.",
                url=redacted(response.url),
            )
        error = await refusal(response, self._what, kind=UploadError)
        is_about_session = any(code.startswith("BLOB_UPLOAD_") for code in error.codes)
        if response.status == 400 and not self._was_broken and not is_about_session:
            raise error
        raise _Gone(error)

    def _move_on(self, response: Response, *, otherwise: int) -> None:
        """Note where the upload goes on, by the registry's answer."""
        if response.headers.get("location"):
            self._place = self._location(response)
        end = _RANGE.fullmatch(response.headers.get("range", "").strip())
        # "0-0" is both one byte and, in Docker's registry, none.
        offset = (int(end[1]) + 1 if int(end[1]) else 0) if end else otherwise
        if offset > self._size_bytes:
            raise UploadError(
                f"{redacted(response.url)} says that it got {offset:,} bytes of "
                f"{self._size_bytes:,}.",
                url=redacted(response.url),
            )
        self._offset = offset

    def _location(self, response: Response) -> str:
        """Where the upload goes on, judged."""
        location = response.headers.get("location", "")
        if not location:
            raise UploadError(
                f"{redacted(response.url)} does not say where to put the blob.",
                status=response.status,
                url=redacted(response.url),
            )
        return self._host.led_to(location, response.url)

    def _with_digest(self) -> str:
        digest = quote(str(self._digest), safe=":")
        return f"{self._place}{'&' if '?' in self._place else '?'}digest={digest}"

    async def _pieces(self, start: int, count: int) -> AsyncIterator[bytes]:
        """A part of the blob."""
        at, end = start, start + count
        while at < end:
            piece = await in_worker(os.pread, self._fd, min(_PIECE_BYTES, end - at), at)
            if not piece:
                raise BlobNotFoundError(
                    f"The blob {self._digest} became shorter while it was pushed.",
                    digest=str(self._digest),
                )
            yield piece
            at += len(piece)
            if self._progress is not None:
                self._progress(at, self._size_bytes)


def _given_up(error: RegistryError) -> UploadError:
    return UploadError(
        f"{error.message} The upload was begun anew several times.",
        status=error.status,
        codes=error.codes,
        url=error.url,
    )
