"""What bytes at rest need of the machine: a directory that can be written, with room in it."""

from __future__ import annotations

import os
import shutil
from typing import Final

from nbdock import settings
from nbdock.requirements import Finding, Requirement, State
from nbdock.units import bytes_text

__all__ = ["REQUIREMENTS"]

_FIX: Final = "export NBDOCK_HOME=/path/to/a/directory"


def _look_at_home() -> Finding:
    current = settings.current()
    home = os.fspath(current.home)
    place = home
    while not os.path.lexists(place) and place != os.path.dirname(place):
        place = os.path.dirname(place)
    if not os.path.isdir(place):
        return Finding(State.ABSENT, f"{place} is no directory", _FIX)
    if not os.access(place, os.W_OK | os.X_OK):
        return Finding(State.ABSENT, f"{place} is not writable", _FIX)
    free = shutil.disk_usage(place).free
    found = f"{home}, {bytes_text(free)} free"
    if free < current.home_least_free_bytes:
        return Finding(State.ABSENT, f"too little room: {found}", _FIX)
    return Finding(State.OK, found)


REQUIREMENTS: Final[tuple[Requirement, ...]] = (
    Requirement("home directory", "everything", _look_at_home, is_needed=True),
)
