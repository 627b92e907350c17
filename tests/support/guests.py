"""Layers and programs for tests that run commands in guests."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from pathlib import Path

import psutil
from support.entries import file, folder, symlink

from nbdock.filetree import Entry, tar_bytes
from nbdock.oci import Digest
from nbdock.vm import LayerDisk, layer_disk

APPLETS = ("sh", "cat", "date", "env", "id", "ls", "sleep")


async def layer_of(place: Path, entries: list[Entry]) -> LayerDisk:
    """The disk of a layer with these entries."""
    data = tar_bytes(entries)
    path = place / f"{hashlib.sha256(data).hexdigest()}.tar"
    path.write_bytes(data)
    return await layer_disk(Digest.of(data), path)


async def busybox_layer(place: Path) -> LayerDisk:
    """A layer with a shell and a few programs: this machine's own busybox."""
    program = Path(shutil.which("busybox") or "/bin/busybox").read_bytes()
    links = [symlink(f"bin/{name}", "busybox") for name in APPLETS]
    return await layer_of(place, [folder("bin"), file("bin/busybox", program, 0o755), *links])


def machines() -> set[int]:
    """The QEMUs that this worker's tests started and that still run.

    They have its environment, also those whose parent was killed.
    """
    mine = {name: os.environ.get(name) for name in ("NBDOCK_TEST_SHARED", "PYTEST_XDIST_WORKER")}
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        # Not psutil's list of processes: it reads much of each, and this is asked after each test.
        with contextlib.suppress(OSError, psutil.Error):
            if not Path("/proc", pid, "comm").read_bytes().startswith(b"qemu-system"):
                continue
            process = psutil.Process(int(pid))
            theirs = process.environ()
            if process.status() != psutil.STATUS_ZOMBIE and all(
                theirs.get(name) == value for name, value in mine.items()
            ):
                found.add(process.pid)
    return found
