"""What a guest's instructions are executed by: KVM where it is really there, else TCG.

``/dev/kvm`` may exist, open, create a virtual processor and still execute a thousand times too
slowly, where the machine is itself a guest and KVM is emulated below it. So what decides is the
measured rate of a few instructions, run in a child that is killed if it does not come back
(`kvmprobe`). What was measured is remembered until the machine is booted again.

    >>> tcg = Accelerator("tcg", "the setting vm_accelerator says so")
    >>> print(tcg)
    tcg: the setting vm_accelerator says so

A guest that then fails to boot in time is the caller's to see, and to `remember`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from typing import Final, Literal, cast, get_args

from nbdock import settings
from nbdock.errors import ArgumentTypeError, ContentError
from nbdock.vm.places import arriving, vm_path

__all__ = ["Accelerator", "choose_accelerator", "measure_kvm", "remember"]

AcceleratorName = Literal["kvm", "tcg"]

_DEVICE: Final = "/dev/kvm"
_BOOT_ID: Final = "/proc/sys/kernel/random/boot_id"
_PROBE: Final = os.path.join(os.path.dirname(__file__), "kvmprobe.py")


@dataclasses.dataclass(frozen=True)
class Accelerator:
    """What executes a guest, and why it was chosen: half a sentence to show to people."""

    name: AcceleratorName
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def choose_accelerator(*, machine: str | None = None) -> Accelerator:
    """Choose what executes guests here; blocking, 0.3 s the first time after a boot.

    Parameters
    ----------
    machine
        What the guest is compiled for, as ``uname -m`` says it; default: as this machine.

    Raises
    ------
    ArgumentTypeError
        The setting `vm_accelerator` is none of ``auto``, ``kvm`` and ``tcg``.
    """
    forced = settings.current().vm_accelerator
    if forced in get_args(AcceleratorName):
        return Accelerator(cast("AcceleratorName", forced), "the setting vm_accelerator says so")
    if forced != "auto":
        raise ArgumentTypeError(
            f"The setting vm_accelerator must be auto, kvm or tcg, not {forced!r}.",
            argument="vm_accelerator",
        )
    host = platform.machine()
    if machine not in (None, host):
        return Accelerator("tcg", f"KVM here executes {host}, and the guest is {machine}")
    try:
        os.close(os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return Accelerator("tcg", f"this machine has no {_DEVICE}")
    except OSError as error:
        advice = "; join its group" if isinstance(error, PermissionError) else ""
        return Accelerator("tcg", f"{_DEVICE} cannot be opened ({error.strerror}{advice})")
    if host != "x86_64":
        # The probe's instructions are x86's. Elsewhere the first boot's deadline is the proof.
        return Accelerator("kvm", f"{_DEVICE} opens; its rate is not measured on {host}")
    known = _recall()
    if known is None:
        known = measure_kvm()
        remember(known)
    return known


def measure_kvm(command: Sequence[str] | None = None) -> Accelerator:
    """Measure how fast KVM is, in a child that is killed when it takes too long.

    Parameters
    ----------
    command
        What prints the instructions per second; default: nbdock's own probe.
    """
    limits = settings.current()
    timeout_s = limits.vm_probe_timeout_s
    argv = list(command or (sys.executable or "python3", "-I", "-S", _PROBE))
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Accelerator(
            "tcg", f"KVM did not come back from a few instructions within {timeout_s:g} s"
        )
    except OSError as error:
        return Accelerator("tcg", f"KVM could not be measured ({error.strerror})")
    try:
        mips = float(done.stdout) / 1e6
    except ValueError:
        said = done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}"
        return Accelerator("tcg", f"KVM cannot run a guest ({said})")
    if not mips >= limits.vm_kvm_least_mips:  # a rate that is not a number is none
        return Accelerator(
            "tcg",
            f"KVM is there, but executes {mips:.1f} million instructions/s (it is emulated), "
            f"fewer than TCG; scripts run more slowly than on real KVM",
        )
    return Accelerator("kvm", f"KVM executes at least {mips:,.0f} million instructions/s")


def remember(accelerator: Accelerator) -> None:
    """Take this for the truth about KVM until the next boot, as after a guest that did not boot."""
    boot_id = _boot_id()
    if not boot_id:
        return
    note = {"boot_id": boot_id, "least_mips": settings.current().vm_kvm_least_mips,
            **dataclasses.asdict(accelerator)}  # fmt: skip
    # In a home that cannot be written it is measured again each time, which is no harm.
    with contextlib.suppress(ContentError), arriving(_note_path(), mode=0o644) as file:
        file.write(json.dumps(note).encode())


def _recall() -> Accelerator | None:
    try:
        with open(_note_path(), "rb") as file:
            note = json.loads(file.read(4096))
        if note["boot_id"] != _boot_id() or note["name"] not in get_args(AcceleratorName):
            return None
        if note["least_mips"] != settings.current().vm_kvm_least_mips:
            return None
        return Accelerator(note["name"], str(note["reason"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _note_path() -> str:
    return vm_path("accelerator.json")


def _boot_id() -> str:
    """What the kernel calls this boot; empty where it does not say."""
    try:
        with open(_BOOT_ID, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
