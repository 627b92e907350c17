"""Where a machine is on its way: it goes through these in one direction."""

from __future__ import annotations

import enum
from typing import Final

__all__ = ["State"]


class State(enum.Enum):
    """Where a machine is on its way."""

    STARTING = "starting"
    """QEMU is started, and does not answer yet."""
    BOOTING = "booting"
    """The guest's kernel and its programs come up, or its snapshot is read."""
    READY = "ready"
    """The guest waits for its job. It has no disks."""
    RUNNING = "running"
    """The guest has its disks and its job, and does it."""
    SENDING = "sending"
    """The commands have succeeded, and what they wrote is coming."""
    ENDED = "ended"
    """There is no guest any more."""

    @property
    def where(self) -> str:
        """How a sentence begins that says what happened here."""
        return _WHERE[self]

    @property
    def has_booted(self) -> bool:
        """Whether there is, or was, a guest that works."""
        return self not in (State.STARTING, State.BOOTING)


_WHERE: Final = {
    State.STARTING: "Before it answered",
    State.BOOTING: "While the guest booted",
    State.READY: "Before the guest had its job",
    State.RUNNING: "While the commands ran",
    State.SENDING: "While the guest sent what was written",
    State.ENDED: "At its end",
}
