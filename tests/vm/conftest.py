"""Nothing of a guest is left: no QEMU, no open file or socket, no temporary file.

After each test of this room, and after all of them: the processes that a worker's tests started
have its environment, also those whose parent was killed.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from nbdock import settings


def machines() -> set[int]:
    """The QEMUs that this worker's tests started and that still run."""
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


def open_files() -> list[str]:
    """What this process has open, but for the descriptors of event loops, which come and go."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue
        found.append("socket" if target.startswith("socket:") else target)
    return sorted(t for t in found if t == "socket" or "memfd" in t or "/vm/" in t)


def temporary_files() -> list[Path]:
    """What is left under the home in force."""
    folder = Path(settings.current().home) / "vm" / "tmp"
    return sorted(folder.iterdir()) if folder.is_dir() else []


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before, files = open_files(), temporary_files()
    yield
    assert not machines()
    assert temporary_files() == files
    gc.collect()
    assert open_files() <= before


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_at_the_end() -> Iterator[None]:
    yield
    assert not machines()
    assert not temporary_files()
