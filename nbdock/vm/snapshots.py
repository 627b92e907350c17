"""A guest that has booted is kept, and the next one begins with it, many times quicker.

    async with ready_machine(spec) as (machine, is_warm):
        exited = await machine.run(job, disks, timeout_s=60)

What is kept is a machine that is READY, with the disk that it will write to: it has no layers and
knows no job, so it serves for any with a disk of that size. It is stopped, its disk and its state
streamed into a file, and it goes on with the job that it was booted for: the first job pays some
tenth of a second for all that follow. A snapshot belongs to a key, a digest of
all that it depends on; one that is damaged, or whose guest does not answer, is removed, and the
guest boots as if there had been none.

Two guests of one snapshot must not have one random generator between them. So a snapshot is only
taken while the kernel has no generator yet: it believes nobody until the late modules bring it
randomness from the host, which is after the snapshot.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import hashlib
import json
import logging
import os
import platform
import time
from collections.abc import AsyncIterator, Callable
from typing import Final

from nbdock import settings
from nbdock.concurrency import gather_all, in_thread
from nbdock.content import only_one
from nbdock.errors import ContentError, StorageFullError, VmError
from nbdock.vm.machine import Machine
from nbdock.vm.qemu import CHANNELS, FILES, SCRATCH, MachineSpec, find_qemu
from nbdock.vm.scratch import keep_written, put_back
from nbdock.vm.snapshotfiles import forget_oldest, open_snapshot, seal, snapshot_path, writing

__all__ = ["memory_bucket_mib", "ready_machine", "snapshot_key"]

_log = logging.getLogger(__name__)

_VERSION: Final = 1
"""Raised whenever a snapshot of before must not be used, though nothing in its key says so."""

_LEAST_MIB: Final = 256
_GENERATOR_BITS: Final = 256
"""With so many bits of entropy the kernel's random generator begins."""

_LOOK_AGAIN_S: Final = 0.004
_AS_FAST_AS_IT_CAN: Final = 1 << 40

_OnLog = Callable[[str], None]

_unfit: set[str] = set()
"""Keys of machines that cannot be kept, so that not every job of a process tries it."""


@contextlib.asynccontextmanager
async def ready_machine(
    spec: MachineSpec,
    *,
    on_log: _OnLog | None = None,
    timeout_s: float | None = None,
) -> AsyncIterator[tuple[Machine, bool]]:
    """A machine that waits for its job, and whether it began with a snapshot.

    Parameters
    ----------
    spec
        What it is. It may get more memory, as snapshots are kept for few sizes.
    on_log
        Called with each line that the guest's commands write.
    timeout_s
        How long it may take to boot, if it has to; default: the setting `vm_boot_timeout_s`.

    Raises
    ------
    GuestBootError, VmError
        It did not boot.
    UnavailableError
        There is no QEMU.
    """
    machine, is_warm = await _ready(spec, on_log, timeout_s)
    _log.info("A guest %s", "goes on from its snapshot" if is_warm else "has booted")
    async with machine:
        yield machine, is_warm


async def _ready(
    spec: MachineSpec, on_log: _OnLog | None, timeout_s: float | None
) -> tuple[Machine, bool]:
    if not settings.current().vm_snapshots:
        return await _booted(spec, on_log, timeout_s), False
    spec = dataclasses.replace(spec, memory_mib=memory_bucket_mib(spec.memory_mib))
    key = await in_thread(snapshot_key, spec)
    if machine := await _restored(spec, key, on_log):
        return machine, True
    if key in _unfit:
        return await _booted(spec, on_log, timeout_s), False
    # Who comes meanwhile waits: there will be a snapshot before a guest of its own had booted.
    async with only_one(f"{snapshot_path(key)}.lock", "keep a snapshot of a guest"):
        if machine := await _restored(spec, key, on_log):
            return machine, True
        machine = await _booted(spec, on_log, timeout_s)
        goes_on = False
        try:
            goes_on = await _kept(machine, key)
        finally:
            if not goes_on:
                await machine.close()
        return machine if goes_on else await _booted(spec, on_log, timeout_s), False


async def _booted(spec: MachineSpec, on_log: _OnLog | None, timeout_s: float | None) -> Machine:
    async with contextlib.AsyncExitStack() as until_it_is:
        machine = await until_it_is.enter_async_context(Machine(spec, on_log=on_log))
        await machine.boot(timeout_s=timeout_s)
        until_it_is.pop_all()
        return machine


async def _restored(spec: MachineSpec, key: str, on_log: _OnLog | None) -> Machine | None:
    """A machine that goes on from its snapshot; None if there is none that is any good."""
    snapshot = await in_thread(open_snapshot, key)
    if snapshot is None:
        return None
    with snapshot:
        try:
            async with contextlib.AsyncExitStack() as until_it_is:
                machine = await until_it_is.enter_async_context(Machine(spec, on_log=on_log))
                await machine.start(incoming=True, timeout_s=_patience_s())
                await in_thread(put_back, snapshot.fd, machine.scratch.fileno())
                _, is_whole = await gather_all(
                    _stream_in(machine, snapshot.fd), in_thread(snapshot.verify)
                )
                if not is_whole:
                    raise VmError("The snapshot is damaged.")
                await machine.greet(timeout_s=_patience_s())
                until_it_is.pop_all()
                return machine
        except (VmError, OSError) as error:
            _log.info("A snapshot is of no use, and the guest boots: %s", error)
            snapshot.discard()
            return None


async def _kept(machine: Machine, key: str) -> bool:
    """Keep a machine that has booted, if that can be; whether it can go on."""
    if machine.entropy_bits >= _GENERATOR_BITS:
        _log.info("No snapshot is kept: its guests would share a random generator.")
        _unfit.add(key)
        return True
    try:
        with writing(key) as file:
            await machine.ask("stop", timeout_s=_patience_s())
            await in_thread(keep_written, machine.scratch.fileno(), file.fd)
            await _stream_out(machine, file.fd)
            await in_thread(seal, file, key)
        await in_thread(forget_oldest, keep=key)
    except (ContentError, VmError) as error:
        # With room for it, it may be kept the next time.
        if not isinstance(error, ContentError):
            _unfit.add(key)
        _log.info("No snapshot is kept: %s", error)
    try:
        await machine.ask("cont", timeout_s=_patience_s())
    except VmError as error:
        _log.info("After its snapshot the guest did not go on, and another boots: %s", error)
        return False
    return True


async def _stream_out(machine: Machine, fd: int) -> None:
    """Have QEMU write the state of a machine that is stopped into a file."""
    timeout_s = _patience_s()
    await machine.monitor.give(fd, "snapshot")
    bandwidth = {"max_bandwidth": _AS_FAST_AS_IT_CAN}
    await machine.ask("migrate-set-parameters", timeout_s=timeout_s, **bandwidth)
    await machine.ask("migrate", timeout_s=timeout_s, uri="fd:snapshot")
    await _migrated(machine, timeout_s)


async def _stream_in(machine: Machine, fd: int) -> None:
    """Have QEMU read a machine's state from a file; it is stopped then."""
    timeout_s = _patience_s()
    await machine.monitor.give(fd, "snapshot")
    await machine.ask("migrate-incoming", timeout_s=timeout_s, uri="fd:snapshot")
    await _migrated(machine, timeout_s)


async def _migrated(machine: Machine, timeout_s: float) -> None:
    """Wait until the state of a machine is written or read."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = await machine.ask("query-migrate", timeout_s=timeout_s)
        status = answer.get("status")
        if status == "completed":
            return
        if status in ("failed", "cancelled"):
            reason = str(answer.get("error-desc", "it does not say why"))
            if os.strerror(errno.ENOSPC) in reason:
                raise StorageFullError(f"No room to keep a guest: {reason}.")
            raise VmError(f"QEMU could not stream the guest's state: {reason}.")
        if time.monotonic() > deadline:
            raise VmError(f"The guest's state was not streamed within {timeout_s:g} s.")
        await asyncio.sleep(_LOOK_AGAIN_S)


def _patience_s() -> float:
    return settings.current().vm_restore_timeout_s


def memory_bucket_mib(memory_mib: int) -> int:
    """The memory of a machine that serves for this much: snapshots are kept for few sizes.

    >>> [memory_bucket_mib(mib) for mib in (1, 512, 513, 1500, 3000)]
    [256, 512, 768, 1536, 3072]
    """
    size_mib = _LEAST_MIB
    while True:
        for bucket_mib in (size_mib, size_mib * 3 // 2):
            if bucket_mib >= memory_mib:
                return bucket_mib
        size_mib *= 2


def snapshot_key(spec: MachineSpec) -> str:
    """A digest of all that a snapshot of this machine depends on; blocking.

    What is on this side counts as well: QEMU itself, which has no version for each build of it, and
    the processor, whose features the guest has found at its boot.

    Raises
    ------
    UnavailableError
        There is no QEMU for this machine.
    """
    what = {
        "version": _VERSION,
        "command": spec.command(dict.fromkeys((*FILES, *CHANNELS, SCRATCH), 0)),
        "disk": spec.disk_mib,
        "qemu": _identity(find_qemu(spec.kernel.machine)),
        "kernel": [spec.kernel.release, _identity(spec.kernel.image)],
        "initramfs": spec.initramfs.sha256,
        "host": [platform.release(), _processor()],
    }
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def _identity(path: str) -> list[int | str]:
    """What changes whenever a file does, without its being read: its times are the file system's.

    To read a QEMU and a kernel would take longer than to restore a snapshot of theirs.
    """
    real = os.path.realpath(path)
    status = os.stat(real)
    return [real, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _processor() -> list[str]:
    """What this machine's (first) processor is and can do, as far as the kernel says it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            first = file.read(1 << 16).partition("\n\n")[0]
    except OSError:
        return []
    wanted = ("vendor_id", "model name", "cpu family", "model", "stepping", "flags", "Features")
    lines = (line.partition(":") for line in first.splitlines())
    return [f"{name.strip()}:{value}" for name, _, value in lines if name.strip() in wanted]
