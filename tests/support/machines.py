"""This machine as if it were another: with little room, with another user."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from support.components import require

__all__ = ["as_other_user", "small_disk"]


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """A directory on a disk of its own, of a `size` such as ``"200k"``; only root may mount it."""
    require("umount", root=True)
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "small", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def as_other_user() -> list[str]:
    """What to put before a command for it to run as another user; empty where nothing works.

    A user namespace needs no rights over the interpreter's files. Some containers and every chroot
    refuse it.
    """
    command = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
    try:
        works = subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        works = False
    return command if works else []
