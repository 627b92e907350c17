"""The disk that a guest writes to: a file without a name, with a file system from the beginning.

A guest that is kept in a snapshot has it mounted, so what the guest has written to it is kept as
well. That is little, as a new file system is nearly empty: a megabyte of a disk of any size.

    with new_disk(1 << 30) as disk:
        format_disk(disk.fileno())
        keep_written(disk.fileno(), snapshot_fd)
        ...
        put_back(snapshot_fd, another.fileno())
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from typing import IO, Final

from nbdock.content import storage_error
from nbdock.errors import VmError
from nbdock.vm.places import vm_path

__all__ = ["format_disk", "keep_written", "new_disk", "put_back"]

_COUNT: Final = struct.Struct(">I")
_PIECE: Final = struct.Struct(">QI")
"""Where a piece of the disk is, and how many bytes it has."""


def new_disk(size_bytes: int) -> IO[bytes]:
    """An empty disk: it has no name, so nothing can leave it behind.

    Raises
    ------
    StorageFullError, ContentError
        There is no room for it.
    """
    folder = vm_path("tmp")
    try:
        os.makedirs(folder, exist_ok=True)
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115, the caller's
        os.ftruncate(file.fileno(), size_bytes)
    except OSError as error:
        raise storage_error(error, "keep what a guest writes", folder) from error
    return file


def format_disk(fd: int) -> None:
    """Make an ext4 file system if this machine can; else the guest makes one. Blocking."""
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    program = shutil.which("mke2fs", path=path)
    if program is None:
        return
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        subprocess.run(
        [program, "-q", "-F", "-t", "ext4", "-m", "0", "-O", "^has_journal,^resize_inode", "-E",
         "lazy_itable_init=1,nodiscard", f"/dev/fd/{fd}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        pass_fds=(fd,), check=False, timeout=60,
    )  # fmt: skip


def keep_written(disk: int, file: int) -> None:
    """Write what is on a disk into a file, from where that stands; blocking."""
    pieces = list(_pieces(disk))
    kept = [_COUNT.pack(len(pieces))]
    for offset, length in pieces:
        kept += _PIECE.pack(offset, length), os.pread(disk, length, offset)
    with open(file, "wb", closefd=False) as target:
        target.writelines(kept)


def put_back(file: int, disk: int) -> None:
    """Write what was kept onto a new disk of that size; `file` stands behind it then. Blocking.

    Raises
    ------
    VmError
        That is not what was kept.
    StorageFullError, ContentError
        There is no room for it.
    """
    size_bytes = os.fstat(disk).st_size
    try:
        for _ in range(*_COUNT.unpack(os.read(file, _COUNT.size))):
            offset, length = _PIECE.unpack(os.read(file, _PIECE.size))
            if offset + length > size_bytes:
                raise VmError("What was kept of a disk is longer than the disk.")
            os.pwrite(disk, os.read(file, length), offset)
    except struct.error as error:
        raise VmError("What was kept of a disk is cut off.") from error
    except OSError as error:
        raise storage_error(error, "keep what a guest writes", vm_path("tmp")) from error


def _pieces(disk: int) -> Iterator[tuple[int, int]]:
    """Where anything is written on a disk: offset and length of each piece. Bytes."""
    end = 0
    while True:
        try:
            offset = os.lseek(disk, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return
        end = os.lseek(disk, offset, os.SEEK_HOLE)
        yield offset, end - offset
