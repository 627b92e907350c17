"""One task of one process at a time: a lock file, waited for without a thread.

    async with only_one("/srv/nbdock/arriving/sha256-1f0a.lock", "fetch a blob"):
        ...                       # the others wait, and then find what was made here

The kernel drops the lock with its process, however that ends. What the lock is about is worth
looking for only inside the block: whoever had it before may have made it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator

from nbdock.content.faults import storage_error

__all__ = ["only_one", "remove_unheld"]

_FIRST_LOOK_S, _LAST_LOOK_S = 0.01, 0.2


@contextlib.asynccontextmanager
async def only_one(path: str, doing: str) -> AsyncIterator[None]:
    """Hold the lock file at `path`, which is there only as long; waits while another does.

    Parameters
    ----------
    doing
        What the lock is for, as in "cannot ``fetch a blob``".

    Raises
    ------
    StorageFullError, ContentError
        The file cannot be made.
    """
    look_again_s = _FIRST_LOOK_S
    while True:
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise storage_error(error, doing, path) from error
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


def remove_unheld(path: str) -> None:
    """Remove the lock file of a process that was killed; OSError if somebody holds it."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
    finally:
        os.close(fd)
