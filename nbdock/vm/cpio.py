"""Writes entries as a cpio archive in the format ``newc``, which a kernel unpacks as its initramfs.

The bytes depend on the entries alone: inode numbers count up, and times are the entries' own.

    >>> from nbdock.filetree import BytesContent, Entry, EntryKind
    >>> init = Entry(b"init", EntryKind.FILE, 0o755, size_bytes=2, content=BytesContent(b"hi"))
    >>> archive = cpio_bytes([init])
    >>> archive[:6], len(archive)
    (b'070701', 512)

The format is that of the kernel's ``Documentation/driver-api/early-userspace/buffer-format.rst``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from typing import Final

from nbdock.errors import ArchiveError
from nbdock.filetree import Entry, EntryKind

__all__ = ["cpio_bytes"]

_KINDS: Final = {
    EntryKind.FILE: stat.S_IFREG,
    EntryKind.DIRECTORY: stat.S_IFDIR,
    EntryKind.SYMLINK: stat.S_IFLNK,
    EntryKind.CHARACTER_DEVICE: stat.S_IFCHR,
    EntryKind.BLOCK_DEVICE: stat.S_IFBLK,
    EntryKind.FIFO: stat.S_IFIFO,
}
_MAGIC = b"070701"
_MOST = 0xFFFFFFFF
_BLOCK_BYTES = 512


def cpio_bytes(entries: Iterable[Entry]) -> bytes:
    """A whole archive: it is held in memory, as the guest will hold it too.

    Archives may follow one another, in one file or as QEMU joins them: each is a whole number of
    blocks of 512 bytes.

    Raises
    ------
    ArchiveError
        An entry that the format cannot hold: a hardlink, a number above 32 bits.
    """
    archive = bytearray()
    for number, entry in enumerate(entries, start=1):
        if entry.kind not in _KINDS:
            raise ArchiveError(
                f"{os.fsdecode(entry.path)!r} is a {entry.kind.value}, which the archive of an "
                "initramfs does not hold."
            )
        data = entry.linkname if entry.kind is EntryKind.SYMLINK else b""
        if entry.kind is EntryKind.FILE and entry.content is not None:
            data = entry.read()
        if entry.kind is EntryKind.FILE and len(data) != entry.size_bytes:
            raise ArchiveError(f"{os.fsdecode(entry.path)!r} is not as long as it says.")
        _append(
            archive, entry.path or b".", data, inode=number, mode=_KINDS[entry.kind] | entry.mode,
            uid=entry.uid, gid=entry.gid, mtime=int(entry.mtime),
            major=entry.device_major, minor=entry.device_minor,
        )  # fmt: skip
    _append(archive, b"TRAILER!!!", b"")
    archive += bytes(-len(archive) % _BLOCK_BYTES)
    return bytes(archive)


def _append(
    archive: bytearray, name: bytes, data: bytes, *, inode: int = 0, mode: int = 0, uid: int = 0,
    gid: int = 0, mtime: int = 0, major: int = 0, minor: int = 0,
) -> None:  # fmt: skip
    numbers = (inode, mode, uid, gid, 1, mtime, len(data), 0, 0, major, minor, len(name) + 1, 0)
    if not all(0 <= number <= _MOST for number in numbers):
        raise ArchiveError(f"{os.fsdecode(name)!r} has a number that is not of 32 bits.")
    archive += _MAGIC + b"".join(b"%08X" % number for number in numbers) + name + b"\0"
    archive += bytes(-len(archive) % 4)
    archive += data
    archive += bytes(-len(archive) % 4)
