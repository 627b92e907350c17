"""Ways to run a program as if on another machine."""

from __future__ import annotations

import subprocess

__all__ = ["as_other_user"]


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
