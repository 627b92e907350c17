"""A file, directory or symlink of this machine as it would be in a store, and the hash of its NAR.

What is read is what was listed: every content is checked, as it is read, against what ``lstat``
said of the file, down to the time of change that nobody can set by hand. So the listing stands for
the content, and a listing whose hash is known is never read again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import stat
import threading
import time
from collections.abc import Iterator

from nbdock.errors import ArchiveError
from nbdock.filetree import DirectoryListing, Entry, EntryKind, Fact, FileContent, Walk
from nbdock.packages.ignoring import Ignored

__all__ = ["HostTree"]

_PIECE_BYTES = 1 << 20
_LOOK_AGAIN_S = 0.025
_PATIENCE_S = 2.1
"""How long to wait until a change would show: a file's time of change may be 2 s coarse."""

_OTHER_KINDS = {
    stat.S_IFCHR: EntryKind.CHARACTER_DEVICE,
    stat.S_IFBLK: EntryKind.BLOCK_DEVICE,
    stat.S_IFIFO: EntryKind.FIFO,
}


class HostTree:
    """A tree as it was when this was made.

    Parameters
    ----------
    place
        Its path; a symlink is followed only if a ``/`` ends it.
    found
        What a walk found there just now, if there was one.
    stop
        Set by another thread when nobody waits for the tree any more.

    Attributes
    ----------
    identity
        A text that differs when anything that is not ignored has changed.
    is_settled
        Whether `identity` may be trusted later: everything was changed so long before that any
        change from now on shows. A tree that was written just now is waited for, 25 ms as a rule.

    Raises
    ------
    ArchiveError
        Something there cannot be read, or is a socket.
    """

    def __init__(
        self,
        place: bytes,
        ignored: Ignored,
        *,
        found: Walk | OSError | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self.place = place
        self._ignored = ignored
        deadline_s = time.monotonic() + _PATIENCE_S
        while True:
            walk = found if found is not None else _walk(place)
            listing = DirectoryListing(place, xattrs=(), found=walk)
            if not listing.racy or time.monotonic() > deadline_s or (stop and stop.is_set()):
                break
            time.sleep(_LOOK_AGAIN_S)
            found = None
        assert isinstance(walk, Walk)
        self._walk = walk
        self.is_settled = not listing.racy
        self.size_bytes = listing.size_bytes
        self.identity = self._identity(listing)
        for name in listing.skipped:
            if name not in ignored:
                shown = os.fsdecode(os.path.join(place, name))
                raise ArchiveError(
                    f"{shown!r} is a socket, which no store can hold.",
                    hint=f"Leave it out: ignore=[{os.path.basename(shown)!r}].",
                )

    def _facts(self) -> Iterator[tuple[bytes, Fact]]:
        return self._ignored.kept(self._walk.facts(), lambda item: item[0])

    def _identity(self, listing: DirectoryListing) -> str:
        if not self._ignored.patterns:
            return listing.fingerprint
        digest = hashlib.sha256(b"kept\n")
        for path, fact in self._facts():
            # What is ignored changes the times of the directory that it is in.
            told = fact[:3] if stat.S_ISDIR(fact.mode) else fact
            digest.update(repr((path, told)).encode())
        return digest.hexdigest()

    def entries(self) -> Iterator[Entry]:
        """The tree as in a store: modes 0555 and 0444, the time 1, root as the owner.

        Raises
        ------
        ArchiveError
            Something has changed since the tree was listed.
        """
        base = self.place.rstrip(b"/") + b"/"
        for path, fact in self._facts():
            host_path = base + path if path else self.place
            kind = stat.S_IFMT(fact.mode)
            if kind == stat.S_IFREG:
                mode = 0o555 if fact.mode & stat.S_IXUSR else 0o444
                content = _SteadyContent(host_path, fact)
                yield Entry(
                    path, EntryKind.FILE, mode,
                    size_bytes=fact.size_bytes, mtime=1, content=content,
                )  # fmt: skip
            elif kind == stat.S_IFDIR:
                yield Entry(path, EntryKind.DIRECTORY, mode=0o555, mtime=1)
            elif kind == stat.S_IFLNK:
                target = _link_target(host_path, fact)
                yield Entry(path, EntryKind.SYMLINK, mode=0o777, mtime=1, linkname=target)
            else:
                raise ArchiveError(
                    f"{os.fsdecode(host_path)!r} is a {_OTHER_KINDS[kind].value}, which no store "
                    f"can hold.",
                    hint="Leave it out; a store has only directories, files and symlinks.",
                )


@dataclasses.dataclass(frozen=True, slots=True)
class _SteadyContent:
    """The content of a file that must not have changed since it was listed."""

    path: bytes
    fact: Fact

    def chunks(self) -> Iterator[memoryview]:
        """The bytes, in pieces of a bounded size; the check comes after the last."""
        file = FileContent(self.path, self.fact.size_bytes)
        left = self.fact.size_bytes
        buffer = memoryview(bytearray(min(left, _PIECE_BYTES)))
        descriptor = file.open()
        try:
            while left:
                try:
                    count = os.readv(descriptor, (buffer[:left],))
                except OSError as error:
                    raise file.unreadable(error) from error
                if not count:
                    break
                left -= count
                yield buffer[:count]
            status = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if left or not _is_same(status, self.fact):
            raise _changed(self.path)


def _walk(place: bytes) -> Walk | OSError:
    try:
        return Walk.of(place)
    except OSError as error:
        return error


def _link_target(path: bytes, fact: Fact) -> bytes:
    try:
        target = os.readlink(path)
        status = os.lstat(path)
    except OSError as error:
        raise _changed(path) from error
    if not _is_same(status, fact):
        raise _changed(path)
    return target


def _is_same(status: os.stat_result, fact: Fact) -> bool:
    """Whether a file is as it was listed; Linux changes the time of change whenever it is not."""
    return (status.st_ctime_ns, status.st_size, status.st_ino) == (
        fact.ctime_ns,
        fact.size_bytes,
        fact.inode,
    )


def _changed(path: bytes) -> ArchiveError:
    return ArchiveError(
        f"{os.fsdecode(path)!r} changed while it was read.",
        hint="Run the cell again when nothing writes to it.",
    )
