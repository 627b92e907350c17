"""Guests that begin with a snapshot: as good as booted ones, different from each other, and quick.

And whatever is wrong with a snapshot, nobody notices but by the time it takes.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.components import require
from support.machines import small_disk

from nbdock.errors import VmError
from nbdock.vm import GuestTask, Initramfs, Kernel, run_guest, snapshots
from nbdock.vm.machine import Machine
from nbdock.vm.qemu import SCRATCH, MachineSpec
from nbdock.vm.snapshotfiles import open_snapshot, seal, writing
from nbdock.vm.snapshots import memory_bucket_mib, snapshot_key

DEADLINE_S = 240  # the machine may have much else to do

SCRIPT = b"""#!/bin/sh
echo random $(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \\n')
echo clock $(date +%s)
echo generator $(cat /proc/sys/kernel/random/entropy_avail)
echo memory $(awk '/MemTotal/ { print $2 }' /proc/meminfo)
"""


@pytest.fixture(autouse=True)
def much_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest that a busy machine restores slowly would be booted instead."""
    monkeypatch.setenv("NBDOCK_VM_RESTORE_TIMEOUT_S", str(DEADLINE_S))


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("snapshots-home")


@pytest.fixture
def home(shared_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that the tests of this module share, so that not each has to boot."""
    monkeypatch.setenv("NBDOCK_HOME", str(shared_home))
    return shared_home


def kept(home: Path) -> list[Path]:
    return sorted((home / "vm" / "snapshots").glob("*"))


def left(home: Path) -> list[Path]:
    return list((home / "vm" / "tmp").iterdir())


@dataclasses.dataclass
class Said:
    warm: bool
    random: str
    clock: int
    generator: int
    memory_kib: int
    began: float
    ended: float


async def run(**more: Any) -> Said:
    began = time.time()
    async with asyncio.timeout(DEADLINE_S):
        async with run_guest(GuestTask(script=SCRIPT, **more)) as result:
            pass
    assert result.exit_code == 0, result.output
    said = dict(line.split() for line in result.output.decode().splitlines())
    return Said(
        result.warm, said["random"], int(said["clock"]), int(said["generator"]),
        int(said["memory"]), began, time.time(),
    )  # fmt: skip


async def test_restored_guests_differ_where_they_must_and_only_there(home: Path) -> None:
    first = await run()
    [snapshot] = kept(home)
    restored = await asyncio.gather(*(run() for _ in range(4)))
    assert [said.warm for said in restored] == [True] * 4
    everything = [first, *restored]
    assert len({said.random for said in everything}) == 5
    for said in everything:
        assert int(said.began) <= said.clock <= said.ended + 1
        assert said.generator == 256, "nothing random is given before the generator has begun"
    assert len({said.memory_kib for said in everything}) == 1
    assert kept(home) == [snapshot]
    assert left(home) == []


class TestBadSnapshots:
    @pytest.fixture(autouse=True)
    async def one_is_kept(self, home: Path) -> None:
        """The last test's cold boot leaves one for the next."""
        if not kept(home):
            await run()

    async def check(self, home: Path) -> None:
        [path] = kept(home)
        before = path.stat().st_ino
        assert not (await run()).warm
        [again] = kept(home)
        assert again == path
        assert again.stat().st_ino != before, "it was removed, and made anew"
        assert left(home) == []

    async def test_one_with_another_byte(self, home: Path) -> None:
        [path] = kept(home)
        with path.open("r+b") as file:
            file.seek(path.stat().st_size // 2)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 0xFF]))
        await self.check(home)

    async def test_one_that_qemu_does_not_take(self, home: Path) -> None:
        """Whole as a file, and cut off as what QEMU wrote."""
        [path] = kept(home)
        key = path.name.partition(".")[0]
        with open_snapshot(key) as snapshot:
            stream = os.read(snapshot.fd, 30 << 20)
        with writing(key) as file:
            file.write(stream)
            seal(file, key)
        await self.check(home)

    async def test_one_of_another_machine(self, home: Path) -> None:
        assert not (await run(memory_mib=300)).warm
        assert len(kept(home)) == 2
        smaller, larger = sorted(kept(home), key=lambda path: path.stat().st_size)
        key = larger.name.partition(".")[0]
        with open_snapshot(smaller.name.partition(".")[0]) as snapshot:
            stream = snapshot_bytes(snapshot.fd)
        smaller.unlink()
        with writing(key) as file:
            file.write(stream)
            seal(file, key)
        await self.check(home)

    async def test_one_whose_guest_does_not_answer(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("NBDOCK_VM_RESTORE_TIMEOUT_S", "10")

        async def mute(machine: Machine, *, timeout_s: float) -> None:
            assert timeout_s == 10
            raise VmError("Nobody there.")

        monkeypatch.setattr(Machine, "greet", mute)
        await self.check(home)


def snapshot_bytes(fd: int) -> bytes:
    pieces = []
    while piece := os.read(fd, 1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


class TestCreating:
    """Each in a home of its own."""

    async def test_two_processes_make_one(self, nbdock_home: Path) -> None:
        require("qemu-system-x86_64")
        code = """
import asyncio, logging
from nbdock.vm import GuestTask, run_guest

async def main():
    async with run_guest(GuestTask(script=b"echo done")) as result:
        print(result.exit_code, result.warm, result.output)

logging.basicConfig(level=logging.INFO)  # why one was not kept, or was of no use
asyncio.run(main())
"""
        processes = [
            subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        said = sorted(process.communicate(timeout=DEADLINE_S)[0].strip() for process in processes)
        assert said == ["0 False b'done\\n'", "0 True b'done\\n'"]
        assert len(kept(nbdock_home)) == 1

    async def test_whoever_is_killed_meanwhile_leaves_nothing(self, nbdock_home: Path) -> None:
        require("qemu-system-x86_64")
        code = """
import asyncio, os, signal
from nbdock.vm import GuestTask, run_guest, snapshots

async def killed(machine, timeout_s):
    os.kill(os.getpid(), signal.SIGKILL)

snapshots._migrated = killed

async def main():
    async with run_guest(GuestTask(script=b"echo done")):
        pass

asyncio.run(main())
"""
        done = subprocess.run([sys.executable, "-c", code], timeout=DEADLINE_S, check=False)
        assert done.returncode == -signal.SIGKILL
        assert [path for path in kept(nbdock_home) if path.suffix != ".lock"] == []
        # The next finds no snapshot, the lock free, and tidies up.
        assert not (await run()).warm
        assert len(kept(nbdock_home)) == 1
        assert left(nbdock_home) == []

    @pytest.fixture
    def small_home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        with small_disk(tmp_path / "small", "60m") as home:
            monkeypatch.setenv("NBDOCK_HOME", str(home))
            yield home

    async def test_a_full_disk_costs_nothing_but_the_snapshot(self, small_home: Path) -> None:
        assert not (await run()).warm
        assert kept(small_home) == []
        assert left(small_home) == []

    async def test_what_cannot_be_kept(
        self, nbdock_home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A guest whose random generator has begun; and one that does not go on afterwards."""
        monkeypatch.setattr(snapshots, "_unfit", set())
        with monkeypatch.context() as patch:
            patch.setattr(snapshots, "_GENERATOR_BITS", 0)
            assert not (await run()).warm
        assert kept(nbdock_home) == []
        assert len(snapshots._unfit) == 1
        snapshots._unfit.clear()
        ask, asked = Machine.ask, []

        async def refuse(machine: Machine, command: str, **more: Any) -> Any:
            asked.append(command)
            if command == "cont":
                raise VmError("It stays where it is.")
            return await ask(machine, command, **more)

        monkeypatch.setattr(Machine, "ask", refuse)
        assert not (await run()).warm
        assert asked.count("cont") == 1

    async def test_none_if_none_are_wanted(
        self, nbdock_home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("NBDOCK_VM_SNAPSHOTS", "false")
        assert not (await run()).warm
        assert kept(nbdock_home) == []


class TestKey:
    @pytest.fixture
    def spec(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MachineSpec:
        for name in ("qemu-system-x86_64", "vmlinuz", "initramfs"):
            (tmp_path / name).write_bytes(b"one")
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        return MachineSpec(
            kernel=Kernel("6.1.0", str(tmp_path / "vmlinuz"), "/lib/modules/6.1.0", "x86_64"),
            initramfs=Initramfs(str(tmp_path / "initramfs"), "ab" * 32),
            memory_mib=512,
            accelerator="tcg",
        )

    def test_the_same_machine_has_the_same(self, spec: MachineSpec) -> None:
        assert snapshot_key(spec) == snapshot_key(dataclasses.replace(spec))
        assert len(snapshot_key(spec)) == 64

    def test_another_part_of_the_machine(self, spec: MachineSpec) -> None:
        kernel = dataclasses.replace(spec.kernel, release="6.1.1")
        others = [
            dataclasses.replace(spec, disk_mib=99),
            dataclasses.replace(spec, memory_mib=513),
            dataclasses.replace(spec, accelerator="kvm"),
            dataclasses.replace(spec, kernel=kernel),
            dataclasses.replace(spec, initramfs=Initramfs(spec.initramfs.path, "ac" * 32)),
        ]
        assert len({snapshot_key(each) for each in (spec, *others)}) == 6

    @pytest.mark.parametrize("name", ["qemu-system-x86_64", "vmlinuz"])
    def test_another_program_or_kernel_in_its_place(
        self, spec: MachineSpec, tmp_path: Path, name: str
    ) -> None:
        """Of the same size and time, as builds that are reproducible have them."""
        before = snapshot_key(spec)
        path = tmp_path / name
        status = path.stat()
        path.write_bytes(b"two")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert path.stat().st_mtime_ns == status.st_mtime_ns
        after = snapshot_key(spec)
        assert after != before
        (tmp_path / "new").write_bytes(b"two")
        (tmp_path / "new").chmod(0o755)
        (tmp_path / "new").rename(path)
        assert snapshot_key(spec) not in (before, after)

    def test_another_command(self, spec: MachineSpec, monkeypatch: pytest.MonkeyPatch) -> None:
        """The machine, its processor, its devices, the kernel's arguments."""
        command = spec.command(dict.fromkeys((*snapshots.FILES, *snapshots.CHANNELS, SCRATCH), 0))
        found = {snapshot_key(spec)}
        for number, argument in enumerate(command):
            other = [*command[:number], f"{argument},more", *command[number + 1 :]]
            monkeypatch.setattr(MachineSpec, "command", lambda *_, other=other, **__: other)
            found.add(snapshot_key(spec))
        assert len(found) == len(command) + 1

    def test_another_host(self, spec: MachineSpec, monkeypatch: pytest.MonkeyPatch) -> None:
        found = {snapshot_key(spec)}
        assert any(fact.startswith(("flags:", "Features:")) for fact in snapshots._processor())
        with monkeypatch.context() as patch:
            patch.setattr(snapshots, "_processor", lambda: ["model name: another"])
            found.add(snapshot_key(spec))
        with monkeypatch.context() as patch:
            patch.setattr(snapshots.platform, "release", lambda: "9.9")
            found.add(snapshot_key(spec))
        monkeypatch.setattr(snapshots, "_VERSION", 1000)
        found.add(snapshot_key(spec))
        assert len(found) == 4


def test_memory_comes_in_few_sizes() -> None:
    assert [memory_bucket_mib(mib) for mib in (1, 256, 257, 512, 513, 1025, 9000)] == [
        256, 256, 384, 512, 768, 1536, 12288
    ]  # fmt: skip
    sizes = {memory_bucket_mib(mib) for mib in range(1, 8193)}
    assert len(sizes) == 11
    assert all(memory_bucket_mib(size) == size for size in sizes)


class TestCancelling:
    """In the middle of a step, which has begun: no machine, no lock and no file is left."""

    @pytest.mark.parametrize("step", ["start", "_stream_in", "greet"])
    async def test_while_restoring(
        self, home: Path, step: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if not kept(home):
            await run()
        before = kept(home)
        await cancel_in(step, monkeypatch)
        assert kept(home) == before
        assert left(home) == []

    async def test_while_keeping(self, nbdock_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        await cancel_in("_stream_out", monkeypatch)
        assert kept(nbdock_home) == []
        assert left(nbdock_home) == []


async def cancel_in(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where = Machine if hasattr(Machine, step) else snapshots
    real, reached = getattr(where, step), asyncio.Event()

    async def stuck(*arguments: Any, **more: Any) -> None:
        await real(*arguments, **more)
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(where, step, stuck)
    task = asyncio.create_task(run())
    arrives = asyncio.create_task(reached.wait())
    await asyncio.wait((task, arrives), timeout=DEADLINE_S, return_when="FIRST_COMPLETED")
    if not arrives.done():
        arrives.cancel()
        await task
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [c for c in psutil.Process().children(recursive=True) if "qemu" in c.name()] == []
