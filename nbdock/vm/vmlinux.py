"""A kernel as it is in memory, out of the image that would decompress itself at each boot.

An emulated processor takes a quarter of a second for that, and leaves memory written that every
snapshot of the guest then has. QEMU starts such a kernel where its note says (PVH); so it is
decompressed here, once, and kept. An image of which that cannot be done boots as it is.

    uncompressed("/boot/vmlinuz-6.1.0-56-cloud-amd64")   # '<home>/vm/kernels/vmlinux-<digest>'

The format is that of the kernel's ``Documentation/x86/boot.rst``.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
from typing import Final

from nbdock.content import open_decompressed
from nbdock.errors import ArchiveError
from nbdock.vm.places import arriving, vm_path

__all__ = ["uncompressed"]

_SETUP: Final = slice(0x1F1, 0x1F2)
_MAGIC: Final = slice(0x202, 0x206)
_PAYLOAD: Final = struct.Struct("<II")
_PAYLOAD_AT: Final = 0x248
_SECTOR_BYTES: Final = 512

_PVH_NOTE: Final = struct.pack("<I", 18) + b"Xen\0"
"""The kind of the note that says where such a kernel begins, and its owner."""

_LZ4: Final = b"\x02\x21\x4c\x18"
_LZ4_BLOCK_BYTES: Final = 8 << 20
_MOST_BYTES: Final = 1 << 28


def uncompressed(image: str) -> str:
    """The path of what QEMU's ``-kernel`` takes for a kernel's image, the shortest way; blocking.

    Raises
    ------
    StorageFullError, ContentError
        It cannot be kept.
    """
    try:
        status = os.stat(image)
        facts = (os.path.realpath(image), status.st_size, status.st_mtime_ns, status.st_ino)
        digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:32]
        path = vm_path("kernels", f"vmlinux-{digest}")
        if os.path.exists(path):
            return path
        with open(image, "rb") as file:
            kernel = _payload(file.read())
    except (OSError, ArchiveError, ImportError, ValueError, RuntimeError, struct.error):
        return image
    if not kernel.startswith(b"\x7fELF") or _PVH_NOTE not in kernel:
        return image
    # Snapshots belong to the very file: that of a process which was a moment quicker stays.
    with arriving(path, replaces=False) as target:
        target.write(kernel)
    return path


def _payload(image: bytes) -> bytes:
    if image[_MAGIC] != b"HdrS":
        raise ValueError("This is no image of a kernel for x86.")
    offset, length = _PAYLOAD.unpack_from(image, _PAYLOAD_AT)
    offset += (image[_SETUP][0] + 1) * _SECTOR_BYTES
    # Behind it stands how long it becomes, which gzip says itself.
    data = image[offset : offset + length]
    if data.startswith(_LZ4):
        return _lz4(data[len(_LZ4) : -4])
    if not data.startswith(b"\x1f\x8b"):
        data = data[:-4]
    with open_decompressed(io.BytesIO(data), limit_bytes=_MOST_BYTES) as stream:
        return stream.read()


def _lz4(data: bytes) -> bytes:
    """What the kernel's build makes of it: blocks, each with its length before it."""
    from lz4.block import decompress

    whole, at = bytearray(), 0
    while at + 4 <= len(data):
        length = int.from_bytes(data[at : at + 4], "little")
        block = data[at + 4 : at + 4 + length]
        whole += decompress(block, uncompressed_size=_LZ4_BLOCK_BYTES)
        at += 4 + length
    return bytes(whole)
