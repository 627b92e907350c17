"""Layers and programs for tests that run commands in guests."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import psutil

from nbdock.filetree import BytesContent, Entry, EntryKind, tar_bytes
from nbdock.oci import Digest
from nbdock.vm import LayerDisk, layer_disk

APPLETS = ("sh", "cat", "date", "env", "id", "ls", "sleep")


def file(path: str, data: bytes = b"", mode: int = 0o644) -> Entry:
    """A regular file of root's."""
    content = BytesContent(data)
    return Entry(path.encode(), EntryKind.FILE, mode, size_bytes=len(data), content=content)


def directory(path: str, mode: int = 0o755) -> Entry:
    """A directory of root's."""
    return Entry(path.encode(), EntryKind.DIRECTORY, mode)


def symlink(path: str, target: str) -> Entry:
    """A symlink."""
    return Entry(path.encode(), EntryKind.SYMLINK, 0o777, linkname=target.encode())


async def layer_of(folder: Path, entries: list[Entry]) -> LayerDisk:
    """The disk of a layer with these entries."""
    data = tar_bytes(entries)
    path = folder / f"{hashlib.sha256(data).hexdigest()}.tar"
    path.write_bytes(data)
    return await layer_disk(Digest.of(data), path)


async def busybox_layer(folder: Path) -> LayerDisk:
    """A layer with a shell and a few programs: this machine's own busybox."""
    program = Path(shutil.which("busybox") or "/bin/busybox").read_bytes()
    links = [symlink(f"bin/{name}", "busybox") for name in APPLETS]
    return await layer_of(folder, [directory("bin"), file("bin/busybox", program, 0o755), *links])


def machines() -> set[int]:
    """The QEMUs that this worker's tests started and that still run.

    They have its environment, also those whose parent was killed.
    """
    mine = {name: os.environ.get(name) for name in ("NBDOCK_TEST_SHARED", "PYTEST_XDIST_WORKER")}
    found = set()
    for process in psutil.process_iter(["name"]):
        if not (process.info["name"] or "").startswith("qemu-system"):
            continue
        try:
            theirs = process.environ()
            if process.status() != psutil.STATUS_ZOMBIE and all(
                theirs.get(name) == value for name, value in mine.items()
            ):
                found.add(process.pid)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found
