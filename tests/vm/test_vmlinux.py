"""Kernels out of their images, compressed as the kernel's build compresses them."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

import pytest

from nbdock.vm import host_kernel
from nbdock.vm.vmlinux import uncompressed

pytestmark = pytest.mark.usefixtures("nbdock_home")

KERNEL = b"\x7fELF" + bytes(9 << 20) + struct.pack("<III", 4, 8, 18) + b"Xen\0" + b"entry" * 9
COMPRESSORS = {
    "gzip": ["gzip", "-n", "-c"],
    "xz": ["xz", "--check=crc32", "--x86", "--lzma2=,dict=32MiB", "-c"],
    "zstd": ["zstd", "-q", "-c"],
    "bzip2": ["bzip2", "-c"],
}


def image(folder: Path, payload: bytes) -> str:
    """As a boot loader finds it: two sectors, of which the second begins with a header."""
    header = bytearray(1536)
    header[0x1F1] = 2
    header[0x202:0x206] = b"HdrS"
    struct.pack_into("<II", header, 0x248, 100, len(payload))
    path = folder / "vmlinuz"
    path.write_bytes(bytes(header) + bytes(100) + payload + b"what follows")
    return str(path)


def lz4_legacy(data: bytes) -> bytes:
    from lz4.block import compress

    pieces = [data[at : at + (8 << 20)] for at in range(0, len(data), 8 << 20)]
    blocks = [compress(piece, store_size=False) for piece in pieces]
    return b"\x02\x21\x4c\x18" + b"".join(struct.pack("<I", len(b)) + b for b in blocks)


@pytest.mark.parametrize("how", [*COMPRESSORS, "lz4"])
def test_it_is_what_was_compressed(how: str, tmp_path: Path) -> None:
    if how == "lz4":
        packed = lz4_legacy(KERNEL)
    else:
        done = subprocess.run(COMPRESSORS[how], input=KERNEL, check=True, stdout=subprocess.PIPE)
        packed = done.stdout
    length = b"" if how == "gzip" else struct.pack("<I", len(KERNEL))
    path = image(tmp_path, packed + length)
    found = uncompressed(path)
    assert Path(found).read_bytes() == KERNEL
    assert uncompressed(path) == found


@pytest.mark.parametrize("payload", [b"", b"\x1f\x8b damaged", b"\x02\x21\x4c\x18\xff\0\0\0 no"])
def test_one_that_cannot_be_decompressed_boots_as_it_is(payload: bytes, tmp_path: Path) -> None:
    path = image(tmp_path, payload)
    assert uncompressed(path) == path


def test_one_that_qemu_could_not_start_boots_as_it_is(tmp_path: Path) -> None:
    packed = subprocess.run(
        ["gzip", "-c"], input=b"\x7fELF without a note", check=True, stdout=subprocess.PIPE
    )
    path = image(tmp_path, packed.stdout)
    assert uncompressed(path) == path
    other = tmp_path / "Image"
    other.write_bytes(b"of another machine")
    assert uncompressed(str(other)) == str(other)


def test_this_machines_kernel() -> None:
    path = host_kernel().image
    assert uncompressed(path) != path


def test_processes_that_come_together_have_one_file(
    nbdock_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else their snapshots would be of different kernels."""
    kernel = host_kernel().image
    first = uncompressed(kernel)
    before = os.stat(first)
    answers = iter([False])  # to who came first, and was a moment slower
    exists = os.path.exists
    monkeypatch.setattr(os.path, "exists", lambda path: next(answers, exists(path)))
    assert uncompressed(kernel) == first
    assert next(answers, None) is None
    assert os.stat(first) == before
    assert before.st_mode & 0o777 == 0o444
    assert os.listdir(nbdock_home / "vm" / "tmp") == []
