"""Reads a directory of the host as entries, and tells cheaply whether it has changed.

One walk serves both: it takes what `lstat` says of every name, makes a fingerprint of it, and keeps
it, so that a build whose fingerprint is not in the cache does not walk again. Nothing is followed
and no content is read until an entry's content is asked for.

    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     os.makedirs(place + "/etc/apt")
    ...     [entry.path for entry in scan_directory(place)]
    [b'', b'etc', b'etc/apt']
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Collection, Iterator, Mapping

from nbdock.errors import ArchiveError
from nbdock.filetree.entry import NO_XATTRS, Entry, EntryKind, FileContent
from nbdock.filetree.hostwalks import Walk

__all__ = [
    "DirectoryListing",
    "fingerprint_directory",
    "list_directory",
    "scan_directory",
]

_KINDS = {
    stat.S_IFREG: EntryKind.FILE,
    stat.S_IFDIR: EntryKind.DIRECTORY,
    stat.S_IFLNK: EntryKind.SYMLINK,
    stat.S_IFCHR: EntryKind.CHARACTER_DEVICE,
    stat.S_IFBLK: EntryKind.BLOCK_DEVICE,
    stat.S_IFIFO: EntryKind.FIFO,
}
_CAPABILITY = "security.capability"
_FORMAT = b"nbdock listing 3\n"

# The kernel stamps a file with the time of its last clock tick (up to 10 ms old); some
# filesystems keep whole seconds only, FAT every second one.
_TICK_NS = 20_000_000
_COARSE_TICK_NS = 2_000_000_000


class DirectoryListing:
    """What `lstat` said of every name below a directory, at one time.

    Attributes
    ----------
    path
        The directory.
    fingerprint
        64 hexadecimal digits that differ when anything below the directory has changed: names,
        kinds, modes, owners, sizes, times of modification and of change, inodes. Content is not
        read: as make and git do, it trusts the time of change, which cannot be set by hand.
    racy
        Something changed so shortly before the walk that a further change could keep the same
        times: the fingerprint must not be trusted later (git's "racy" entries).
    size_bytes, entry_count, file_count
        Sum of the sizes of all files; entries; files.
    skipped
        Names that are left out, relative to the directory: sockets, which no archive can hold.
    """

    __slots__ = (
        "_walk", "_xattrs", "entry_count", "file_count", "fingerprint", "path", "racy",
        "size_bytes", "skipped",
    )  # fmt: skip

    def __init__(
        self,
        path: bytes | str,
        *,
        xattrs: Collection[str] = (_CAPABILITY,),
        found: Walk | OSError | None = None,
    ) -> None:
        self.path = os.fsencode(path)
        self._xattrs = frozenset(xattrs)
        try:
            found = found if found is not None else Walk.of(self.path)
            if isinstance(found, OSError):
                raise found
        except OSError as error:
            raise _unreadable(os.fsencode(error.filename or self.path), error) from error
        if not found.entry_count:
            raise ArchiveError(f"{os.fsdecode(path)!r} is a socket: no archive can hold it.")
        self._walk = found
        digest = hashlib.sha256(_FORMAT + "\0".join(sorted(self._xattrs)).encode())
        digest.update(found.record)
        self.fingerprint = digest.hexdigest()
        tick_ns = _TICK_NS if found.newest_ns % 1_000_000_000 else _COARSE_TICK_NS
        self.racy = found.newest_ns + tick_ns > found.started_ns
        self.skipped = found.skipped
        self.size_bytes = found.size_bytes
        self.entry_count = found.entry_count
        self.file_count = found.file_count

    def __repr__(self) -> str:
        return (
            f"<DirectoryListing {os.fsdecode(self.path)!r}: {self.entry_count} entries, "
            f"{self.size_bytes} bytes>"
        )

    def entries(self) -> Iterator[Entry]:
        """The entries, parents before children, the names in a directory sorted as bytes.

        The first is the directory itself, path ``b""``. A file with several names is several
        files. Times are whole seconds.

        Raises
        ------
        ArchiveError
            A symlink or an extended attribute cannot be read any more.
        """
        base = self.path.rstrip(b"/") + b"/"
        file, kinds = EntryKind.FILE, _KINDS
        on_all = self._xattrs - {_CAPABILITY}
        on_programs = bool(self._xattrs)
        xattrs: Mapping[str, bytes]
        for path, fact in self._walk.facts():
            mode, uid, gid, size = fact[:4]
            host_path = base + path if path else self.path
            kind = kinds[mode & 0o170000]
            permissions = mode & 0o7777
            mtime = fact[4] // 1_000_000_000
            if kind is file:
                # Only a program has capabilities, so no other file is asked for them.
                if on_all or (on_programs and mode & 0o111):
                    xattrs = _read_xattrs(host_path, self._xattrs)
                else:
                    xattrs = NO_XATTRS
                yield Entry(
                    path, kind, permissions, uid, gid, size, mtime,
                    xattrs=xattrs, content=FileContent(host_path, size),
                )  # fmt: skip
                continue
            xattrs = _read_xattrs(host_path, on_all) if on_all else NO_XATTRS
            if kind is EntryKind.SYMLINK:
                try:
                    target = os.readlink(host_path)
                except OSError as error:
                    raise _unreadable(host_path, error) from error
                yield Entry(
                    path, kind, permissions, uid, gid, 0, mtime, linkname=target, xattrs=xattrs
                )
            else:
                yield Entry(
                    path, kind, permissions, uid, gid, 0, mtime, xattrs=xattrs,
                    device_major=os.major(fact[8]), device_minor=os.minor(fact[8]),
                )  # fmt: skip


def list_directory(
    path: bytes | str, *, xattrs: Collection[str] = (_CAPABILITY,)
) -> DirectoryListing:
    """Walk a directory once; see `DirectoryListing` and, for the arguments, `scan_directory`."""
    return DirectoryListing(path, xattrs=xattrs)


def scan_directory(
    path: bytes | str, *, xattrs: Collection[str] = (_CAPABILITY,)
) -> Iterator[Entry]:
    """The entries of a directory of the host, the directory itself (``b""``) first.

    Parameters
    ----------
    path
        A directory; a file or a symlink gives one entry. A symlink is followed only if a ``/``
        ends the path.
    xattrs
        The extended attributes to read, by full name. Programs are asked for their capabilities
        by default, which is cheap, since few files are programs; anything else costs a call for
        every name. Others are never read, so that what a host adds by itself does not change an
        image.

    Raises
    ------
    ArchiveError
        A name cannot be read, or is of a kind that no archive holds.
    """
    return DirectoryListing(path, xattrs=xattrs).entries()


def fingerprint_directory(path: bytes | str) -> tuple[str, int]:
    """The fingerprint of a directory and the bytes of its files; see `DirectoryListing`."""
    listing = DirectoryListing(path)
    return listing.fingerprint, listing.size_bytes


def _read_xattrs(path: bytes, wanted: Collection[str]) -> Mapping[str, bytes]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
        found = {
            name: os.getxattr(path, name, follow_symlinks=False)
            for name in sorted(names)
            if name in wanted
        }
    except OSError as error:
        raise _unreadable(path, error) from error
    return found or NO_XATTRS


def _unreadable(path: bytes, error: OSError) -> ArchiveError:
    if isinstance(error, FileNotFoundError):
        hint = "Check the path, and that nothing deletes files while they are read."
    elif isinstance(error, PermissionError):
        hint = "Make it readable for this user, or leave it out."
    else:
        hint = None
    return ArchiveError(f"{os.fsdecode(path)!r} cannot be read: {error.strerror}.", hint=hint)
