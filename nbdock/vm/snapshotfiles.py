"""Snapshots of guests on disk: whole, of the right key and undamaged, or not at all.

A file under ``<home>/vm/snapshots`` is a header and the stream that QEMU wrote. QEMU itself notices
a stream that ends too early or is of another machine, but not a page of memory that is another than
it was; so the header has a checksum, which takes a sixth of the time that reading the stream into a
guest takes, and is computed meanwhile.

    with writing(key) as file:
        ...                                  # QEMU writes into file.fd
        seal(file, key)
    snapshot = open_snapshot(key)            # None: there is none
    with snapshot:
        ...                                  # QEMU reads from snapshot.fd
        is_good = snapshot.verify()
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

from nbdock import settings
from nbdock.content import TemporaryFile, remove_unheld
from nbdock.vm.places import arriving, vm_path

__all__ = ["SnapshotFile", "forget_oldest", "open_snapshot", "seal", "snapshot_path", "writing"]

_MAGIC: Final = b"nbdock snapshot\1"
_HEADER: Final = struct.Struct(">16s32sQI")
"""The magic, the key, how many bytes the stream has, and their CRC-32."""

_NAME: Final = re.compile(r"[0-9a-f]{64}\.snapshot")


class SnapshotFile:
    """A snapshot that is open for reading, as whole as can be seen without reading it.

    `fd` stands at the beginning of QEMU's stream. The file may be removed meanwhile: what is open
    can be read to its end.
    """

    def __init__(self, path: str, fd: int, crc: int) -> None:
        self.path = path
        self.fd = fd
        self._crc = crc

    def verify(self) -> bool:
        """Whether the stream is what was written; blocking. `fd` stays where it is."""
        return _crc_of(self.fd) == self._crc

    def discard(self) -> None:
        """Remove the file; nobody will find it any more."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self.fd)


def snapshot_path(key: str) -> str:
    """Where the snapshot of a key is, or would be."""
    return vm_path("snapshots", f"{key}.snapshot")


def open_snapshot(key: str) -> SnapshotFile | None:
    """The snapshot of a key; None if there is none. What is there and is none is removed."""
    path = snapshot_path(key)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        header = os.read(fd, _HEADER.size)
        size_bytes = os.fstat(fd).st_size - len(header)
        magic, its_key, length, crc = _HEADER.unpack(header)
        if (magic, its_key, length) == (_MAGIC, bytes.fromhex(key), size_bytes):
            with contextlib.suppress(OSError):
                os.utime(path)  # the oldest are removed first
            return SnapshotFile(path, fd, crc)
    except (OSError, struct.error):
        pass
    os.close(fd)
    with contextlib.suppress(OSError):
        os.unlink(path)
    return None


@contextlib.contextmanager
def writing(key: str) -> Iterator[TemporaryFile]:
    """Give a file for QEMU to write into; kept if it was sealed and no error ends the block.

    Raises
    ------
    StorageFullError, ContentError
        It cannot be kept; nothing is left.
    """
    with arriving(snapshot_path(key), mode=0o600) as file:
        file.write(bytes(_HEADER.size))
        yield file


def seal(file: TemporaryFile, key: str) -> None:
    """Put the header before what was written; blocking. Without it the file is no snapshot."""
    length = os.fstat(file.fd).st_size - _HEADER.size
    header = _HEADER.pack(_MAGIC, bytes.fromhex(key), length, _crc_of(file.fd))
    os.pwrite(file.fd, header, 0)


def _crc_of(fd: int) -> int:
    from zlib_ng import zlib_ng

    crc, offset = 0, _HEADER.size
    buffer = bytearray(settings.current().io_buffer_bytes)
    while count := os.preadv(fd, [buffer], offset):
        crc = zlib_ng.crc32(memoryview(buffer)[:count], crc)
        offset += count
    return crc


def forget_oldest(*, keep: str) -> None:
    """Remove snapshots that have not been used for longest, until the rest may stay.

    And the locks of processes that were killed.

    Parameters
    ----------
    keep
        The key of one that stays, however large it is.
    """
    folder = os.path.dirname(snapshot_path(keep))
    found = []
    for name in os.listdir(folder):
        if name.endswith(".lock"):
            with contextlib.suppress(OSError):
                remove_unheld(os.path.join(folder, name))
        if _NAME.fullmatch(name) and name != os.path.basename(snapshot_path(keep)):
            path = os.path.join(folder, name)
            with contextlib.suppress(FileNotFoundError):
                status = os.stat(path)
                found.append((status.st_mtime_ns, path, status.st_size))
    room_bytes = settings.current().vm_snapshots_limit_bytes
    with contextlib.suppress(FileNotFoundError):
        room_bytes -= os.path.getsize(snapshot_path(keep))
    for _, path, size_bytes in sorted(found, reverse=True):
        room_bytes -= size_bytes
        if room_bytes < 0:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
