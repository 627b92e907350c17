"""Temporary files that no crash can leave behind for good.

A file that is being written lives in ``<home>/tmp`` under a name nobody else uses, and its writer
holds a ``flock`` on it. The kernel drops the lock when the process dies, however it dies, in
whatever container or PID namespace it lived; so a file there that can be locked is an orphan, and
`sweep` removes it. (Process IDs in names cannot tell this: they are reused, and mean nothing in
another namespace that shares the directory.)

    with TemporaryFile(directory) as file:
        file.write(b"...")
        file.publish(target, mode=0o444)    # renamed: there whole, or not at all
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
from types import TracebackType

__all__ = ["TemporaryFile", "sweep"]

_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
_PREFIX = "writing-"


def _lock(fd: int) -> bool:
    """Take the lock on an open file; False if somebody else has it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class TemporaryFile:
    """A file that exists under a temporary name until it is published, or for nothing.

    Guarantees: leaving the ``with`` block without `publish` removes it; a process that dies leaves
    it unlocked for the next `sweep`; `publish` puts it at its place in one step.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self.path = ""
        self.fd = -1

    def __enter__(self) -> TemporaryFile:
        while True:
            path = os.path.join(self._directory, f"{_PREFIX}{secrets.token_hex(12)}")
            try:
                fd = os.open(path, _CREATE, 0o600)
            except FileNotFoundError:
                # The directory was removed under a living store (a user tidying up): begin anew.
                os.makedirs(self._directory, exist_ok=True)
                continue
            if self._is_ours(fd):
                self.path, self.fd = path, fd
                return self
            os.close(fd)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    @staticmethod
    def _is_ours(fd: int) -> bool:
        # Between creation and lock a sweeper may have taken the file for an orphan; then it holds
        # the lock, or has had it and the file has no name any more.
        try:
            return _lock(fd) and os.fstat(fd).st_nlink > 0
        except OSError as error:
            # A file system without flock: nothing is locked, so nothing is ever swept either.
            return error.errno in {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data`; the kernel may take it in parts."""
        count = os.write(self.fd, data)
        if count != len(data):
            rest = memoryview(data)[count:]
            while rest:
                rest = rest[os.write(self.fd, rest) :]

    def publish(self, target: str, *, mode: int, durable: bool = False) -> None:
        """Give the file its permanent name, replacing what had it, and close it.

        `durable` waits until the bytes are on the disk first.
        """
        os.fchmod(self.fd, mode)
        if durable:
            os.fsync(self.fd)
        try:
            os.rename(self.path, target)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.rename(self.path, target)
        self.path = ""
        self._close()

    def discard(self) -> None:
        """Remove the file; harmless after `publish` and when repeated."""
        path, self.path = self.path, ""
        if path:
            with contextlib.suppress(OSError):
                os.unlink(path)
        self._close()

    def _close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.discard()


def sweep(directory: str) -> int:
    """Remove the temporary files of processes that are gone; how many there were.

    Raises
    ------
    FileNotFoundError
        There is no such directory.
    """
    removed = 0
    for name in os.listdir(directory):
        if not name.startswith(_PREFIX):
            continue
        path = os.path.join(directory, name)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0))
        except OSError:
            continue
        try:
            if _lock(fd):
                # Names are never used twice, so this cannot be a younger file than the locked one.
                os.unlink(path)
                removed += 1
        except OSError:
            pass
        finally:
            os.close(fd)
    return removed
