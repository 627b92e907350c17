"""Nothing of a guest is left after a test: no QEMU, no open file or socket, no temporary file."""

from __future__ import annotations

import asyncio
import gc
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.guests import machines

from nbdock import settings
from nbdock.concurrency import run


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
    run(asyncio.sleep(0))  # nbdock's own loop has sockets, and stays
    before, files = open_files(), temporary_files()
    yield
    assert not machines()
    assert temporary_files() == files
    if Counter(open_files()) - Counter(before):
        gc.collect()  # takes a second in a worker that has run much, so only if it may help
    assert not Counter(open_files()) - Counter(before)
