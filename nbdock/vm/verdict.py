"""What became of a guest that ended before it was done: judged from all that is known of it.

>>> death = Death(returncode=1, events=["GUEST_PANICKED"], console="Kernel panic - not syncing")
>>> type(judge(death, where="While it ran")).__name__
'GuestPanicError'
"""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Sequence

from nbdock.calling import argument_name
from nbdock.errors import (
    GuestBootError,
    GuestDiskFullError,
    GuestMemoryError,
    GuestPanicError,
    GuestProtocolError,
    GuestStoppedError,
    VmError,
)
from nbdock.vm.control import Failed

__all__ = ["Death", "judge", "more_disk", "more_memory", "refusal"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Death:
    """What is known of a QEMU that has ended.

    Attributes
    ----------
    returncode
        As Python has it: below zero for a signal.
    events
        The names of QMP's events, in order; ``SHUTDOWN`` with its reason behind a blank.
    console, stderr
        What the guest's kernel and QEMU said last.
    booted
        Whether the guest had said that it was ready.
    """

    returncode: int
    events: Sequence[str] = ()
    console: str = ""
    stderr: str = ""
    booted: bool = True


def judge(death: Death, *, where: str) -> VmError:
    """The error to raise; `where` begins its sentence: ``While the commands ran``."""
    console = death.console
    if "GUEST_PANICKED" in death.events or "Kernel panic" in console:
        if "Out of memory" in console or "deadlocked on memory" in console:
            return GuestMemoryError(
                f"{where}, the guest's kernel ran out of memory.",
                output=console,
                hint=more_memory(),
            )
        return GuestPanicError(
            f"{where}, the guest's kernel panicked.", output=console, hint=_last(console)
        )
    if "SHUTDOWN guest-shutdown" in death.events:
        return GuestStoppedError(f"{where}, the guest was switched off.", output=console)
    if "SHUTDOWN guest-reset" in death.events:
        return GuestStoppedError(f"{where}, the guest was restarted.", output=console)
    said = death.stderr.strip()
    kind = GuestStoppedError if death.booted else GuestBootError
    if death.returncode < 0:
        name = _signal_name(-death.returncode)
        hint = None
        if name == "SIGXCPU":
            hint = "It took more time of the processor than its time limit can mean."
        elif name == "SIGKILL":
            hint = "This machine may have run out of memory, or somebody killed it."
        return kind(f"{where}, QEMU was ended by {name}.", output=said or console, hint=hint)
    return kind(
        f"{where}, QEMU ended with exit code {death.returncode}.",
        output=said or console,
        hint=f"It said: {said[-500:]}" if said else _last(console),
    )


def refusal(failed: Failed, *, console: str) -> VmError:
    """The error for what a guest says it cannot do."""
    if failed.reason == "DISK":
        full = "No space left" in console
        kind = GuestDiskFullError if full else VmError
        hint = more_disk() if full else _last(console)
        return kind(f"The guest's disks: {failed.words}", output=console, hint=hint)
    if failed.reason == "ENDED":
        return GuestStoppedError(failed.words, output=console)
    if failed.reason in ("USER", "DIRECTORY", "ROOT"):
        return VmError(failed.words)
    if failed.reason == "TAR":
        return VmError(f"What was written could not be sent: {failed.words}", output=console)
    return GuestProtocolError(f"The guest failed: {failed.words}", output=console)


def more_memory() -> str:
    """What to do for a guest that ran out of memory, in the words of whoever called."""
    return f"Give it more memory: {argument_name('memory_mib')}, in MiB."


def more_disk() -> str:
    """What to do for a guest whose disk was full, in the words of whoever called."""
    return f"Give it a larger disk: {argument_name('disk_mib')}, in MiB."


def _last(console: str) -> str | None:
    lines = [line for line in console.splitlines() if line.strip()]
    return "The guest's console ends with:\n" + "\n".join(lines[-8:]) if lines else None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
