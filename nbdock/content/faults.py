"""What a failed system call means for the store: one place that turns ``OSError`` into our tree.

>>> import errno
>>> full = OSError(errno.ENOSPC, "No space left on device")
>>> type(storage_error(full, "write a blob", "/srv/nbdock")).__name__
'StorageFullError'
"""

from __future__ import annotations

import errno
import os

from nbdock.errors import ContentError, StorageFullError

__all__ = ["is_read_only", "storage_error"]

# EFBIG is the limit on one file (RLIMIT_FSIZE, or a file system such as FAT): to the writer the
# same thing as a full disk.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_NOT_A_DIRECTORY = frozenset({errno.ENOTDIR, errno.EEXIST})

_ELSEWHERE = "Set NBDOCK_HOME (or nbdock.configure(home=...)) to a directory you can write to."


def is_read_only(error: OSError) -> bool:
    """Whether `error` says that writing is not allowed there."""
    return error.errno in _READ_ONLY


def storage_error(
    error: OSError, doing: str, path: str | os.PathLike[str], *, elsewhere: str = _ELSEWHERE
) -> ContentError:
    """The error to raise for `error`, which happened while `doing` something at `path`.

    Raise it ``from error``, so that the system's own words are kept. `elsewhere` is the advice on
    where to go instead; by default to another store.
    """
    place = os.fspath(path)
    if error.errno in _FULL:
        return StorageFullError(
            f"No room to {doing}: the disk (or quota) that holds {place} is full.",
            path=place,
            hint=f"Nothing half-written was left. Free some space there. Or: {elsewhere}",
        )
    if error.errno in _READ_ONLY:
        return ContentError(
            f"Cannot {doing}: {place} is not writable ({error.strerror}).",
            path=place,
            hint=elsewhere,
        )
    if error.errno in _NOT_A_DIRECTORY:
        return ContentError(
            f"Cannot {doing}: {place}, or a parent of it, is a file where a directory should be.",
            path=place,
            hint=elsewhere,
        )
    return ContentError(f"Cannot {doing} at {place}: {error.strerror or error}.", path=place)
