"""Whatever becomes of a guest, one error says what it was, and nothing of the guest is left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.components import require
from support.guests import busybox_layer
from support.machines import small_disk

from nbdock import settings
from nbdock.errors import (
    GuestPanicError,
    GuestProtocolError,
    GuestStoppedError,
    GuestTimeoutError,
    StorageFullError,
    UnavailableError,
    VmError,
)
from nbdock.vm import Accelerator, GuestResult, GuestTask, qemu, run_guest, tasks
from nbdock.vm.machine import Machine
from nbdock.vm.state import State

DEADLINE_S = 240.0


async def result_of(
    script: bytes, *, on_log: Callable[[str], None] | None = None, **fields: Any
) -> GuestResult:
    fields = {"timeout_s": DEADLINE_S, **fields}
    async with run_guest(GuestTask(script=script, **fields), on_log=on_log) as result:
        return result


# What is the commands' own affair is a result


@pytest.mark.parametrize(
    ("script", "exit_code", "line", "says"),
    [
        (b"set -u\n\nexit 3", 3, 3, b""),
        (b"f() {\n  true\n  ls /none\n}\ntrue\nf\ntouch /never", 1, 3, b"No such file"),
        (b"#!/bin/bash\nfalse\ntrue\nnonesuch\n", 127, 4, b"nonesuch: command not found"),
        (b"true\nif then", 2, 2, b"syntax error"),
        (b"#!/bin/nosuch -x\ntrue", 127, None, b"/bin/nosuch: not found in the image"),
        (b"#!/usr/bin/env nosuch\ntrue", 127, None, b"env: can't execute 'nosuch'"),
    ],
)
async def test_a_script_that_fails(
    script: bytes, exit_code: int, line: int | None, says: bytes
) -> None:
    result = await result_of(script, send="changes")
    assert (result.exit_code, result.failed_line) == (exit_code, line)
    assert says in result.output
    assert result.tar_path is None
    assert result.hint is None


async def test_a_command_that_needs_too_much_memory() -> None:
    greedy = b"true\nawk 'BEGIN { x = \"x\"; while (1) x = x x }'"
    result = await result_of(greedy, memory_mib=256)
    assert (result.exit_code, result.failed_line) == (137, 2)
    assert "out of memory" in str(result.hint)
    assert "memory_mib" in str(result.hint)


async def test_a_disk_that_is_too_small() -> None:
    result = await result_of(b"dd if=/dev/zero of=/large bs=1M", disk_mib=16)
    assert (result.exit_code, result.failed_line) == (1, 1)
    assert "disk is full" in str(result.hint)


# What is not


@pytest.mark.parametrize(
    ("script", "error", "says"),
    [
        (b"echo c >/proc/sysrq-trigger", GuestPanicError, "the guest's kernel panicked"),
        (b"poweroff -f", GuestStoppedError, "switched the machine off"),
        (b"echo o >/proc/sysrq-trigger; sleep 1000", GuestStoppedError, "was switched off"),
        (b"echo b >/proc/sysrq-trigger; sleep 1000", GuestStoppedError, "was restarted"),
        (b"echo FAILED LIE a lie >/dev/.nbdock.said", GuestProtocolError, "a lie"),
    ],
)
async def test_a_guest_that_ends_too_early(script: bytes, error: type[VmError], says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        await result_of(script, send="changes")
    if error is GuestPanicError:
        assert "sysrq" in caught.value.output


async def test_a_guest_that_takes_too_long() -> None:
    """It also makes processes without end."""
    with pytest.raises(GuestTimeoutError, match=r"time limit of 2\.5 s") as caught:
        await result_of(b"while :; do sleep 100 & done", timeout_s=2.5)
    assert caught.value.timeout_s == 2.5
    assert "vm_timeout_s" in str(caught.value)  # for builds, which have no such argument


async def test_a_log_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBDOCK_VM_LOG_LIMIT_BYTES", "2000")
    monkeypatch.setenv("NBDOCK_VM_OUTPUT_BYTES", "1000")
    lines: list[str] = []
    script = b"echo begin; dd if=/dev/zero bs=1M count=64 2>/dev/null; printf '\\n\\xff\\nlast'"
    result = await result_of(script, on_log=lines.append)
    assert lines[0] == "begin"
    assert sum(map(len, lines)) < 2100
    assert lines[-1].startswith("(The log is longer than 2")
    assert result.output == bytes(1000 - 7) + b"\n\xff\nlast"


async def test_a_script_that_would_speak_for_the_guest(tmp_path: Path) -> None:
    script = b"""
    for device in $(cat /sys/class/virtio-ports/*/dev); do
      mknod /port c ${device%:*} ${device#*:}
      (echo "EXIT 0 0" >/port) && echo "it is open"
      rm /port
    done
    echo "EXIT 0 0"
    echo "7 99 x" >/dev/.nbdock.said
    kill -9 $PPID 1
    exit 7
    """
    result = await result_of(script, layers=(await busybox_layer(tmp_path),))
    assert (result.exit_code, result.failed_line) == (7, 10)
    assert b"it is open" not in result.output


async def test_more_than_may_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBDOCK_VM_CHANGES_LIMIT_BYTES", "1000000")
    with pytest.raises(GuestProtocolError, match="sends more than 1"):
        await result_of(b"head -c 2000000 /dev/zero >/large", send="changes")


async def test_this_machine_has_no_room_for_what_is_sent() -> None:
    """A limit on files is a full disk to who writes one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def progress(what: str, done: int, _total: int) -> None:
        if what.startswith("Receiving"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (done, before[1]))

    task = GuestTask(script=b"head -c 9000000 /dev/zero >/large", send="tree", timeout_s=DEADLINE_S)
    try:
        with pytest.raises(StorageFullError):
            async with run_guest(task, progress=progress):
                pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_this_machine_has_no_room_for_what_is_written() -> None:
    await result_of(b"true")  # what machines are made of is kept before the disk is full
    folder = Path(settings.current().home, "vm/tmp")
    with small_disk(folder, "8m"):
        with pytest.raises(StorageFullError, match="This machine's disk is full"):
            await result_of(b"head -c 40000000 /dev/urandom >/large; sync; sleep 1000")
        assert not list(folder.iterdir())


# Cancelled, and killed


@pytest.mark.parametrize("state", [state for state in State if state is not State.ENDED])
async def test_cancelling_in_each_state(
    state: State, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    reached = asyncio.Event()
    reach, spawn = Machine._reach, Machine._spawn

    def reaching(machine: Machine, to: State) -> None:
        reach(machine, to)
        if to is state:
            reached.set()

    def spawning(machine: Machine, **options: Any) -> Any:
        process = spawn(machine, **options)
        if state is State.STARTING:
            reached.set()
        return process

    monkeypatch.setattr(Machine, "_reach", reaching)
    monkeypatch.setattr(Machine, "_spawn", spawning)
    children = set(psutil.Process().children())
    script = b"head -c 8000000 /dev/zero >/large"
    job = asyncio.create_task(result_of(script, send="changes"))
    await asyncio.wait((job, asyncio.create_task(reached.wait())), return_when="FIRST_COMPLETED")
    if job.done():
        await job
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert set(psutil.Process().children()) <= children
    assert len(asyncio.all_tasks()) == 1


async def test_a_callback_that_fails_ends_the_guest() -> None:
    def on_log(line: str) -> None:
        raise ZeroDivisionError(line)

    with pytest.raises(ZeroDivisionError, match="hello"):
        await result_of(b"echo hello; sleep 1000", on_log=on_log)


PARENT = """
import asyncio, sys
from nbdock.vm import GuestTask, run_guest
async def main():
    task = GuestTask(script=b"echo up; sleep 100000")
    async with run_guest(task, on_log=lambda line: print(line, flush=True)):
        pass
asyncio.run(main())
"""


def test_the_guest_dies_with_its_parent() -> None:
    require("qemu-system-x86_64")
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE)
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        children = psutil.Process(parent.pid).children(recursive=True)
        machines = [child for child in children if child.name().startswith("qemu")]
        assert len(machines) == 1
        if os.geteuid() == 0:
            assert machines[0].username() == "nobody"
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        with contextlib.suppress(psutil.TimeoutExpired):
            machines[0].wait(timeout=DEADLINE_S)
        assert not machines[0].is_running() or machines[0].status() == psutil.STATUS_ZOMBIE
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()  # type: ignore[union-attr]


# What a machine lacks


async def test_a_machine_without_qemu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu.shutil, "which", lambda *_args, **_options: None)
    monkeypatch.setattr(tasks, "_made", {})
    with pytest.raises(UnavailableError, match="has no QEMU") as caught:
        await result_of(b"true")
    assert "apt-get install qemu-system-x86" in str(caught.value)


async def test_a_machine_without_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBDOCK_VM_KERNEL", "host")
    monkeypatch.setattr("nbdock.vm.kernel._MODULE_PLACES", ())
    monkeypatch.setattr(tasks, "_made", {})
    with pytest.raises(UnavailableError, match="has no kernel that a guest can boot"):
        await result_of(b"true")


async def test_a_machine_without_qemu_qmp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "qemu.qmp", None)
    with pytest.raises(UnavailableError, match=r"qemu\.qmp") as caught:
        await result_of(b"true")
    assert "pip install 'nbdock[vm]'" in str(caught.value)


async def test_a_kvm_that_does_not_boot(monkeypatch: pytest.MonkeyPatch, nbdock_home: Path) -> None:
    """TCG is used instead, that is said, and remembered."""
    monkeypatch.setattr(tasks, "choose_accelerator", lambda **_: Accelerator("kvm", "it was said"))
    monkeypatch.setenv("NBDOCK_VM_KVM_BOOT_TIMEOUT_S", "0.2")
    result = await result_of(b"echo hello")
    assert result.output == b"hello\n"
    assert result.accelerator.name == "tcg"
    assert "did not boot under KVM" in result.accelerator.reason
    assert "did not boot under KVM" in (nbdock_home / "vm/accelerator.json").read_text()
