"""Where a blob arrives that is fetched in several attempts, by whichever process.

    async with landing(store, digest, size_bytes) as path:
        if path is not None:
            ...                   # put the whole blob at `path`, verified
    # the blob is in the store

What arrived so far stands beside `path` as ``<path>.part`` and outlives the process, so that the
next one goes on from there. It lies outside the store's ``tmp/``, which is swept; what nobody came
back for is removed after `settings.partial_blob_max_age_s`. One task of one process at a time is
inside the block for a digest; the others wait, and then find the blob.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import time
from collections.abc import AsyncIterator

from nbdock import settings
from nbdock.content.faults import storage_error
from nbdock.content.store import BlobStore
from nbdock.oci import Digest

__all__ = ["landing"]

_FIRST_LOOK_S, _LAST_LOOK_S = 0.01, 0.2


@contextlib.asynccontextmanager
async def landing(
    store: BlobStore, digest: Digest, size_bytes: int | None = None
) -> AsyncIterator[str | None]:
    """Give the path where the blob is to be put, or None if the store has it.

    When the block ends without an error, what stands at the path becomes the blob. It must have
    been verified by then.

    Raises
    ------
    ContentError
        The store cannot be written.
    """
    if store.has(digest, size_bytes):
        yield None
        return
    folder = os.path.join(store.home, "arriving")
    path = os.path.join(folder, f"{digest.algorithm}-{digest.hex}")
    async with _alone(folder, f"{path}.lock"):
        if store.has(digest, size_bytes):
            yield None
            return
        _tidy(folder)
        # Whole, but its process died before the blob had its name: to be verified once more.
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, f"{path}.part")
        yield path
        target = os.fspath(store.path_of(digest))
        try:
            os.chmod(path, 0o444)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.rename(path, target)
        except OSError as error:
            raise storage_error(error, "add a blob", target) from error


@contextlib.asynccontextmanager
async def _alone(folder: str, path: str) -> AsyncIterator[None]:
    """Hold the lock file `path`; waits while another task or process does."""
    look_again_s = _FIRST_LOOK_S
    while True:
        try:
            os.makedirs(folder, exist_ok=True)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise storage_error(error, "fetch a blob", path) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its last owner may have removed it between our opening and locking it.
            if os.fstat(fd).st_nlink:
                break
        except BlockingIOError:
            pass
        except OSError:
            break  # a file system without locks: then twice is no harm, only work
        os.close(fd)
        # Not waited for in a worker: enough of those that wait, and none would be left to work.
        await asyncio.sleep(look_again_s)
        look_again_s = min(look_again_s * 1.5, _LAST_LOOK_S)
    try:
        yield
    finally:
        # The name goes before the lock: afterwards it may be another's.
        with contextlib.suppress(OSError):
            os.unlink(path)
        os.close(fd)


def _tidy(folder: str) -> None:
    """Remove the parts that nobody came back for, and the locks of processes that were killed."""
    oldest = time.time() - settings.current().partial_blob_max_age_s
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        with contextlib.suppress(OSError):
            if name.endswith(".lock"):
                _remove_if_free(path)
            elif os.stat(path).st_mtime < oldest:
                os.unlink(path)


def _remove_if_free(path: str) -> None:
    """Remove a lock file that nobody holds; OSError if somebody does."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
    finally:
        os.close(fd)
