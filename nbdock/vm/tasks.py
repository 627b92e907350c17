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
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal

from nbdock import settings
from nbdock.calling import argument_name
from nbdock.concurrency import gather_all, in_worker
from nbdock.content import TemporaryFile, storage_error, sweep
from nbdock.errors import (
    ArgumentError,
    ArgumentTypeError,
    GuestBootError,
    GuestPanicError,
    GuestStoppedError,
)
from nbdock.packages import Progress
from nbdock.vm.accelerator import Accelerator, choose_accelerator, remember
from nbdock.vm.control import Exited, Job
from nbdock.vm.initramfs import Initramfs, build_initramfs
from nbdock.vm.kernel import Kernel, guest_kernel
from nbdock.vm.layerdisk import DiskFormat, LayerDisk
from nbdock.vm.machine import Machine
from nbdock.vm.monitor import Disk
from nbdock.vm.places import vm_path
from nbdock.vm.programs import guest_programs
from nbdock.vm.qemu import SLOTS, MachineSpec, find_qemu
from nbdock.vm.scratch import format_disk, new_disk
from nbdock.vm.snapshots import ready_machine
from nbdock.vm.verdict import more_disk, more_memory
from nbdock.vm.vmlinux import uncompressed

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
        When what had happened, from the start of QEMU on, in order: it was ``running``, the guest
        was ``ready``, had the job (``taken``), the commands ``started``, had ``exited``, the tar
        was ``sent``, the machine ``closed``. ``parts`` is how long it took before. Seconds.
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
    _check(task)
    say = progress or (lambda *_: None)
    say("Starting a virtual machine", 0, 0)
    begin = time.monotonic()
    timeout_s = task.timeout_s or settings.current().vm_timeout_s
    async with contextlib.AsyncExitStack() as stack:
        tar = None if task.send == "nothing" else stack.enter_context(_arriving_tar())
        (job, disks), (machine, accelerator, warm) = await gather_all(
            _prepare(task, stack), _machine(task, stack, on_log, progress)
        )
        ready_s = time.monotonic() - begin
        say("Running in the virtual machine", 0, 0)
        exited = await machine.run(
            job, disks, timeout_s=timeout_s, tar=tar, tar_limit_bytes=_tar_limit_bytes(task),
            on_sent=lambda count: say("Receiving what was written", count, 0),
        )  # fmt: skip
        await machine.close()
        output = bytes(machine.output)
        yield GuestResult(
            exit_code=exited.exit_code,
            output=output,
            failed_line=_failed_line(task, exited, output),
            hint=_hint(exited, output),
            tar_path=tar.path if tar is not None and exited.exit_code == 0 else None,
            accelerator=accelerator,
            warm=warm,
            times={"parts": ready_s - machine.times["ready"], **machine.times},
        )


def _check(task: GuestTask) -> None:
    if task.script and task.command:
        raise ArgumentError("Either a script or a command can be run, not both.", argument="script")
    if task.around and task.root != "changes":
        raise ArgumentError('`around` is only there with root="changes".', argument="around")
    for name, value in (("memory_mib", task.memory_mib), ("disk_mib", task.disk_mib)):
        if value < 1:
            raise ArgumentTypeError(
                f"{argument_name(name)} must be above zero, not {value!r}.", argument=name
            )


def _tar_limit_bytes(task: GuestTask) -> int | None:
    """What a tar of the disk's files cannot exceed: an empty file has a header, and no block."""
    return (2 * task.disk_mib + 64) << 20 if task.send == "changes" else None


@contextlib.contextmanager
def _arriving_tar() -> Iterator[TemporaryFile]:
    folder = vm_path("tmp")
    try:
        os.makedirs(folder, exist_ok=True)
        sweep(folder)
        file = TemporaryFile(folder).__enter__()
    except OSError as error:
        raise storage_error(error, "keep what a guest wrote", folder) from error
    try:
        yield file
    finally:
        file.discard()


# The machine


async def _machine(
    task: GuestTask,
    stack: contextlib.AsyncExitStack,
    on_log: Callable[[str], None] | None,
    progress: Progress | None,
) -> tuple[Machine, Accelerator, bool]:
    """A machine that is ready, under KVM if it boots there, and whether it came from a snapshot."""
    kernel, initramfs = await _parts(progress)
    accelerator = await in_worker(choose_accelerator, machine=kernel.machine)
    while True:
        spec = MachineSpec(
            kernel=kernel, initramfs=initramfs, memory_mib=task.memory_mib,
            disk_mib=task.disk_mib, accelerator=accelerator.name,
        )  # fmt: skip
        kvm = accelerator.name == "kvm"
        limit_s = settings.current().vm_kvm_boot_timeout_s if kvm else None
        starting = ready_machine(spec, on_log=on_log, timeout_s=limit_s)
        try:
            machine, warm = await stack.enter_async_context(starting)
        except (GuestBootError, GuestPanicError, GuestStoppedError) as error:
            if not kvm or settings.current().vm_accelerator == "kvm":
                raise
            accelerator = Accelerator("tcg", f"a guest did not boot under KVM ({error.message})")
            await in_worker(remember, accelerator)
        else:
            return machine, accelerator, warm


_made: dict[tuple[object, ...], tuple[Kernel, Initramfs]] = {}


async def _parts(progress: Progress | None) -> tuple[Kernel, Initramfs]:
    """The kernel and the initramfs; found once in a process, for they hardly change."""
    limits = settings.current()
    key = (limits.home, limits.vm_kernel, limits.vm_kernel_packages)
    known = _made.get(key)
    if known and os.path.exists(known[0].image) and os.path.exists(known[1].path):
        return known
    kernel = await guest_kernel(progress=progress)
    find_qemu(kernel.machine)
    image = await in_worker(uncompressed, kernel.image)
    kernel = dataclasses.replace(kernel, image=image)
    programs = await guest_programs(progress=progress)
    initramfs = await in_worker(build_initramfs, kernel, programs)
    _made[key] = (kernel, initramfs)
    return kernel, initramfs


# The job and its disks

_UNPACKED, _FIRST_LAYER = 1, 2
"""The numbers of disks, which the guest knows as well."""


async def _prepare(task: GuestTask, stack: contextlib.AsyncExitStack) -> tuple[Job, list[Disk]]:
    layers, around = _seen(task.layers), _seen(task.around)
    disks = []
    places: list[int | DiskFormat] = []
    slots = iter(SLOTS)
    for number, layer in enumerate((*layers, *around), start=_FIRST_LAYER):
        try:
            fd = os.open(layer.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise storage_error(error, "read a layer", layer.path) from error
        stack.callback(os.close, fd)
        # A slot is longer than what is in it, and who unpacks an archive reads beyond its end.
        slot = next(slots, None) if layer.format is DiskFormat.SQUASHFS else None
        places.append(layer.format if slot is None else slot)
        disks.append(Disk(fd, number, slot=slot))
    job = Job(
        layers=places[: len(layers)], around=places[len(layers) :],
        script=task.script, command=task.command, environment=task.environment,
        working_directory=task.working_directory, user=task.user, root=task.root, send=task.send,
    )  # fmt: skip
    if job.unpacks:
        # Beside what the commands write, which the disk for that has exactly the room for.
        room = sum(layer.size_bytes for layer in (*layers, *around)) * 3 // 2 + (64 << 20)
        file = stack.enter_context(new_disk(room))
        await in_worker(format_disk, file.fileno())
        disks.append(Disk(file.fileno(), _UNPACKED, read_only=False))
    return job, disks


def _seen(layers: Sequence[LayerDisk]) -> Sequence[LayerDisk]:
    """Those of which anything is to be seen: see `LayerDisk.hides_all`."""
    first = max((n for n, layer in enumerate(layers) if layer.hides_all), default=0)
    return layers[first:]


# The result

_NO_SPACE: Final = b"No space left on device"
_SAID_LINE: Final = re.compile(rb"/dev/\.nbdock/script: (?:line )?(\d{1,9}): [^\n]*\n?\Z")


def _failed_line(task: GuestTask, exited: Exited, output: bytes) -> int | None:
    """The line of the script where it stopped, as its shell noted it or said, or as it must be."""
    if exited.exit_code == 0 or not task.script:
        return None
    if exited.failed_line is not None:
        return exited.failed_line
    # What a shell itself objects to, it says last.
    if said := _SAID_LINE.search(output[-2000:]):
        return int(said[1])
    ends = re.compile(rb"\bexit\s+%d\b" % exited.exit_code)
    lines = [n for n, line in enumerate(task.script.splitlines(), 1) if ends.search(line)]
    return lines[0] if len(lines) == 1 else None


def _hint(exited: Exited, output: bytes) -> str | None:
    if exited.exit_code == 0:
        return None
    if exited.memory_kills:
        return f"The guest ran out of memory. {more_memory()}"
    if _NO_SPACE in output:
        return f"The guest's disk is full. {more_disk()}"
    return None
