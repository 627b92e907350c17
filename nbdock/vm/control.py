"""What this side and a guest say to each other, and how little of it is believed.

A job is a header: a script for the guest's shell with every value quoted, the script that people
wrote among them. What comes back are lines (`guest/agent.sh` lists them). Commands run as root
there, so any of it may be a lie, endless, or no text: it is bounded, and judged line by line.

    >>> parse_line(b"EXIT 1 0 1 7")
    Exited(exit_code=1, memory_kills=0, failed_line=7)
"""

from __future__ import annotations

import dataclasses
import os
import re
import time
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from nbdock.errors import ArgumentTypeError, GuestProtocolError
from nbdock.vm.layerdisk import DiskFormat

__all__ = [
    "Exited",
    "Failed",
    "Job",
    "Message",
    "Ready",
    "Sent",
    "Started",
    "Taken",
    "parse_line",
]

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OWN_PROGRAMS: Final = "/dev/.nbdock/bin"
"""Where commands find the guest's own programs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What a guest is told: see `nbdock.vm.tasks.GuestTask`, which it is made from.

    `layers` and `around` are where their disks are, lowest first: each the number of a slot, or the
    format of a disk that is plugged in.
    """

    layers: Sequence[int | DiskFormat]
    around: Sequence[int | DiskFormat]
    script: bytes
    command: Sequence[str]
    environment: Mapping[str, str]
    working_directory: str
    user: str
    root: Literal["merged", "changes"]
    send: Literal["nothing", "changes", "tree"]
    nonce: str = dataclasses.field(default_factory=lambda: os.urandom(16).hex())

    @property
    def unpacks(self) -> bool:
        """Whether a disk is needed for layers that are archives."""
        return DiskFormat.TAR in (*self.layers, *self.around)

    @property
    def _plugs(self) -> bool:
        """Whether any disk was not there when the guest booted."""
        return any(isinstance(disk, DiskFormat) for disk in (*self.layers, *self.around))

    def encode(self) -> bytes:
        """The bytes for the control port: a line, and the header.

        Raises
        ------
        ArgumentTypeError
            A text has a NUL, which no program can be given.
        """
        program = "script" if self.script else "command" if self.command else ""
        path = f"{DEFAULT_PATH}:{OWN_PROGRAMS}" if self.script else DEFAULT_PATH
        environment = {"PATH": path, **self.environment}
        lines = [
            b"script=" + _quoted(self.script),
            *(
                name.encode() + b"=" + _quoted(os.fsencode(value))
                for name, value in {
                    "epoch": str(int(time.time())),
                    "seed": os.urandom(64).hex(),
                    "layers": _words(self.layers),
                    "around": _words(self.around),
                    "places": " ".join(map(str, range(2, 2 + len(self.layers) + len(self.around)))),
                    "plugged": "yes" if self._plugs else "",
                    "unpack": "yes" if self.unpacks else "",
                    "root": self.root,
                    "send": self.send,
                    "user": self.user,
                    "directory": self.working_directory,
                    "program": program,
                    "command": self.command[0] if self.command else "",
                    "path": environment["PATH"],
                }.items()
            ),
            b" ".join(
                (
                    b'go() { exec "$@" /dev/.nbdock/bin/busybox env -i "HOME=$home"',
                    *(
                        _quoted(os.fsencode(f"{name}={value}"))
                        for name, value in environment.items()
                    ),
                    b'"$found"' if self.command else b"$program",
                    *(_quoted(os.fsencode(word)) for word in self.command[1:]),
                    b"; }",
                )
            ),
        ]
        header = b"\n".join(lines) + b"\n"
        return b"JOB %s %d\n%s" % (self.nonce.encode(), len(header), header)


def _words(disks: Sequence[int | DiskFormat]) -> str:
    return " ".join(disk.value if isinstance(disk, DiskFormat) else str(disk) for disk in disks)


def _quoted(data: bytes) -> bytes:
    if b"\0" in data:
        raise ArgumentTypeError(
            f"{data[:80]!r} has a NUL, which no program or script can be given."
        )
    return b"'" + data.replace(b"'", b"'\\''") + b"'"


@dataclasses.dataclass(frozen=True)
class Ready:
    """The guest waits for a job: its kernel's release, and how much entropy it has."""

    release: str
    entropy_bits: int


@dataclasses.dataclass(frozen=True)
class Taken:
    """The guest has the job, and begins with it."""


@dataclasses.dataclass(frozen=True)
class Started:
    """The root is mounted, and the commands are started."""


@dataclasses.dataclass(frozen=True)
class Exited:
    """The commands have ended; `memory_kills` processes were killed for want of memory."""

    exit_code: int
    memory_kills: int
    failed_line: int | None


@dataclasses.dataclass(frozen=True)
class Sent:
    """The tar has been written to the data port: so many bytes."""

    size_bytes: int


@dataclasses.dataclass(frozen=True)
class Failed:
    """The guest cannot do it: a word that says what is wrong, and a sentence."""

    reason: str
    words: str


Message = Ready | Taken | Started | Exited | Sent | Failed

HELLO: Final = b"HELLO\n"
_READY: Final = re.compile(r"READY (\S{1,200}) (\d{1,5})")
_EXIT: Final = re.compile(r"EXIT (\d{1,3}) (\d{1,9})(?: (.*))?")


def parse_line(line: bytes) -> Message:
    """What a line of the control port says.

    Raises
    ------
    GuestProtocolError
        Nothing that a guest says.
    """
    text = line.decode("utf-8", "replace").rstrip()
    word, _, rest = text.partition(" ")
    if found := _READY.fullmatch(text):
        return Ready(found[1], int(found[2]))
    if text == "TAKEN":
        return Taken()
    if text == "START":
        return Started()
    if found := _EXIT.fullmatch(text):
        exit_code, kills, note = found.groups()
        # The note is written by the commands' shell; one of another failure than the last says
        # nothing about the last.
        noted = re.fullmatch(rf"{exit_code} ([1-9]\d{{0,8}})", note or "")
        return Exited(int(exit_code), int(kills), int(noted[1]) if noted else None)
    if word == "SENT" and re.fullmatch(r"\d{1,18}", rest):
        return Sent(int(rest))
    if word == "FAILED" and rest:
        reason, _, words = rest.partition(" ")
        return Failed(reason, words)
    raise GuestProtocolError(f"The guest said {text[:80]!r} on its control port.")
