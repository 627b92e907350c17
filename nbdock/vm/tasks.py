"""Run commands as root in a guest: the room's front door.

A task says what the root file system is made of, what is run in it, and what is to be sent back:

    task = GuestTask(layers=(disk,), script=b"groupadd -r redis", send="changes")
    async with run_guest(task, on_log=print) as result:
        result.exit_code, result.tar_path    # (0, '<home>/vm/tmp/writing-...')

A script that fails is a result, with its exit code and without a tar. Everything else that goes
wrong raises a `VmError`, and nothing is left of the guest then, nor after the ``async with``.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping
from types import MappingProxyType
from typing import Literal

from nbdock.packages import Progress
from nbdock.vm.accelerator import Accelerator
from nbdock.vm.layerdisk import LayerDisk

__all__ = ["GuestResult", "GuestTask", "run_guest"]

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclasses.dataclass(frozen=True, kw_only=True)
class GuestTask:
    """What a guest is to do.

    Attributes
    ----------
    layers
        What the tree is made of, lowest first. What the commands change of it is written elsewhere.
    script
        Run as a program: by the interpreter of its own ``#!`` line if it has one, else by the
        root's ``/bin/bash``, the guest's own bash, the root's ``/bin/sh`` or the guest's own, the
        first that is there, with ``-e``. It may be empty.
    command
        Or this is run, found in the environment's PATH: name and arguments. At most one of both;
        with neither nothing is run, and the tree can be sent.
    environment
        All variables of the commands. PATH and HOME have defaults: the usual directories, and the
        user's home.
    working_directory
        Where the commands start, in the root; made if it is not there.
    user
        Whom the commands run as: ``user``, ``uid``, ``user:group``, ``uid:gid``, looked up in the
        root's ``/etc/passwd`` and ``/etc/group``. Default: root.
    root
        ``"merged"``: the commands' ``/`` is the tree. ``"changes"``: ``/`` is made of `around`, and
        the tree is the directory that the commands start in (`working_directory` is below it), so
        that relative paths lead there: what ``fakeRootCommands`` wants.
    around
        With ``root="changes"``: what the commands' ``/`` is made of, lowest first: packages at
        their store paths, tools. It can be written to, and nothing of it is sent. The guest's own
        programs come last in the default PATH.
    send
        What comes back if the commands succeed: ``"changes"``, a tar of what they changed in the
        tree, as the kernel's overlay file system keeps it; ``"tree"``, a tar of the tree as it is
        then.
    memory_mib, disk_mib
        The guest's memory, and the disk that holds what is written. MiB.
    timeout_s
        How long it may take from the start of the commands until everything is sent; default: the
        setting `vm_timeout_s`. Seconds.
    """

    layers: tuple[LayerDisk, ...] = ()
    script: bytes = b""
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = dataclasses.field(default_factory=lambda: _NOTHING)
    working_directory: str = "/"
    user: str = ""
    root: Literal["merged", "changes"] = "merged"
    around: tuple[LayerDisk, ...] = ()
    send: Literal["nothing", "changes", "tree"] = "nothing"
    memory_mib: int = 512
    disk_mib: int = 1024
    timeout_s: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class GuestResult:
    """What became of a task.

    Attributes
    ----------
    exit_code
        As a shell has it: 128 and the signal's number for what a signal ended.
    output
        What the commands wrote to standard output and standard error, the last of it (the setting
        `vm_output_bytes`).
    failed_line
        The line of the script where it stopped, counted from 1, when that is known.
    hint
        What to do next, when the guest knows: it ran out of memory, or its disk is full.
    tar_path
        The tar that was sent, whole; removed at the end of the ``async with``. ``None`` if none was
        asked for, or the commands failed.
    accelerator
        What executed the guest, and why that.
    warm
        Whether it began with a snapshot, and did not boot.
    times
        What took how long. Seconds, by name, in the order in which it happened.
    """

    exit_code: int
    output: bytes
    failed_line: int | None
    hint: str | None
    tar_path: str | None
    accelerator: Accelerator
    warm: bool
    times: Mapping[str, float]


@contextlib.asynccontextmanager
async def run_guest(
    task: GuestTask,
    *,
    on_log: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> AsyncIterator[GuestResult]:
    """Run a task in a guest of its own.

    Parameters
    ----------
    on_log
        Called with each line that the commands write, without its end, as it comes.
    progress
        Called with what is being done, and how much of it.

    Raises
    ------
    UnavailableError
        This machine has no QEMU, or no kernel for a guest.
    GuestBootError, GuestPanicError, GuestTimeoutError, GuestMemoryError, GuestStoppedError, VmError
        The guest did not get to the end; `output` is what its kernel said last.
    StorageFullError, ContentError
        This machine's disk cannot hold what the guest writes, or what it sends.
    """
    raise NotImplementedError(task, on_log, progress)  # the guest comes next
    yield  # type: ignore[unreachable]
