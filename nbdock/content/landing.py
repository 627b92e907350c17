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

import contextlib
import os
import time
from collections.abc import AsyncIterator

from nbdock import settings
from nbdock.content.faults import storage_error
from nbdock.content.lockfile import only_one, remove_unheld
from nbdock.content.store import BlobStore
from nbdock.oci import Digest

__all__ = ["landing"]

_tidied: set[str] = set()
"""Where this process has looked for what was left behind; once, for it looks at all files there."""


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
    async with only_one(f"{path}.lock", "fetch a blob"):
        if store.has(digest, size_bytes):
            yield None
            return
        if folder not in _tidied:
            _tidied.add(folder)
            _tidy(folder)
        # Whole, but its process died before the blob had its name: to be verified once more.
        with contextlib.suppress(FileNotFoundError):
            os.chmod(path, 0o644)  # it may have died after making it read-only
            os.rename(path, f"{path}.part")
        yield path
        target = os.fspath(store.path_of(digest))
        try:
            os.chmod(path, 0o444)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.rename(path, target)
        except OSError as error:
            raise storage_error(error, "add a blob", target) from error


def _tidy(folder: str) -> None:
    """Remove the parts that nobody came back for, and the locks of processes that were killed."""
    oldest = time.time() - settings.current().partial_blob_max_age_s
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        with contextlib.suppress(OSError):
            if name.endswith(".lock"):
                remove_unheld(path)
            elif os.stat(path).st_mtime < oldest:
                os.unlink(path)
