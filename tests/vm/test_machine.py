"""What a machine believes: a QEMU in name only says everything that a real one never would."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest
from support import fake_qemu

from nbdock.content import TemporaryFile
from nbdock.errors import (
    ArgumentTypeError,
    GuestBootError,
    GuestDiskFullError,
    GuestMemoryError,
    GuestPanicError,
    GuestProtocolError,
    GuestStoppedError,
    StorageFullError,
    UnavailableError,
    VmError,
)
from nbdock.vm import Initramfs, Kernel, qemu
from nbdock.vm.control import Exited, Job
from nbdock.vm.machine import Machine
from nbdock.vm.qemu import (
    CHANNELS,
    FILES,
    SCRATCH,
    SLOTS,
    MachineSpec,
    confinement,
    find_qemu,
    open_for_anyone,
)

DEADLINE_S = 240.0
AGENT = Path(qemu.__file__).with_name("guest") / "agent.sh"

READY = "guest.say('control', b'READY 6.1 10\\n')\n"
STARTED = READY + "nonce = guest.job()\nguest.say('control', b'TAKEN\\nSTART\\n')\n"
EXITED = STARTED + "guest.say('log', b'hello' + nonce)\nguest.say('control', b'EXIT 0 0\\n')\n"


@pytest.fixture
def spec(tmp_path: Path) -> MachineSpec:
    (tmp_path / "part").write_bytes(b"")
    part = str(tmp_path / "part")
    return MachineSpec(
        kernel=Kernel("6.1", part, "", "x86_64"), initramfs=Initramfs(part, ""), memory_mib=64,
        accelerator="tcg",
    )  # fmt: skip


def play(scenario: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let machines of this test be played."""
    command = MachineSpec.command

    def played(spec: MachineSpec, descriptors: Mapping[str, int], **more: bool) -> list[str]:
        real = command(spec, descriptors, **more)
        return [sys.executable, "-I", "-S", fake_qemu.__file__, scenario, *real]

    monkeypatch.setenv("NBDOCK_VM_USER", "root")
    monkeypatch.setenv("NBDOCK_VM_STOP_TIMEOUT_S", "5")
    monkeypatch.setattr(MachineSpec, "command", played)


async def run(spec: MachineSpec, tmp_path: Path, **options: float) -> tuple[Exited, bytes, bytes]:
    """What came of a job: how it ended, its output, and what was sent."""
    job = Job(
        layers=(), around=(), script=b"true", command=(), environment={}, working_directory="/",
        user="", root="merged", send="changes",
    )  # fmt: skip
    (tmp_path / "vm").mkdir(exist_ok=True)
    with TemporaryFile(str(tmp_path / "vm")) as tar:
        async with Machine(spec) as machine:
            await machine.boot(timeout_s=options.get("boot_s", DEADLINE_S))
            exited = await machine.run(
                job, (), timeout_s=options.get("timeout_s", DEADLINE_S), tar=tar
            )
        os.lseek(tar.fd, 0, os.SEEK_SET)
        return exited, bytes(machine.output), os.read(tar.fd, 1000)


async def test_a_guest_that_does_what_it_should(
    spec: MachineSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sends = "guest.say('data', b'a tar')\nguest.say('control', b'SENT 5\\n')\n"
    play(EXITED + sends, monkeypatch)
    assert await run(spec, tmp_path) == (Exited(0, 0, None), b"hello", b"a tar")


async def test_the_memory_of_qemu_is_limited(
    spec: MachineSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tells = (
        "import resource\ntold = b'%d %d' % resource.getrlimit(resource.RLIMIT_AS)\n"
        "guest.say('data', told)\nguest.say('control', b'SENT %d\\n' % len(told))\n"
    )
    play(EXITED + tells, monkeypatch)
    limit = (64 << 20) + (8 << 30)
    assert (await run(spec, tmp_path))[2] == f"{limit} {limit}".encode()


ENDLESS = "while True: guest.say('{}', {})\n"


@pytest.mark.parametrize(
    ("scenario", "error", "says"),
    [
        ("guest.say('control', b'\\xff\\x00 nonsense\\n')", GuestProtocolError, "nonsense"),
        (ENDLESS.format("control", "b'x' * 999"), GuestProtocolError, "on its control port"),
        (ENDLESS.format("control", "b'START\\n'"), GuestProtocolError, "control port|Started"),
        ("guest.say('control', b'EXIT 0 0\\n')", GuestProtocolError, "where Ready was expected"),
        (READY + "guest.job()\nguest.say('control', b'SENT 1\\n')", GuestProtocolError, "Taken"),
        (STARTED + "guest.say('control', b'EXIT -1 0\\n')", GuestProtocolError, "'EXIT -1 0'"),
        (STARTED + "guest.say('control', b'START\\n')", GuestProtocolError, "Exited was expected"),
        (EXITED + "guest.say('control', b'SENT many\\n')", GuestProtocolError, "'SENT many'"),
        (EXITED + "guest.say('data', b'abc')\nguest.say('control', b'SENT 1\\n')",
         GuestProtocolError, "sent 3 bytes and says that it sent 1"),
        (EXITED + ENDLESS.format("data", "bytes(9999)"), GuestProtocolError, "sends more than"),
        (READY + "guest.say('control', b'FAILED DISK It is gone.\\n')", VmError, "It is gone"),
        (READY + "guest.say('console', b'No space left on device\\r\\n')\n"
         "guest.say('control', b'FAILED DISK There is no room.\\n')",
         GuestDiskFullError, "no room"),
        ("guest.end(3)", GuestBootError, "QEMU ended with exit code 3"),
        ("import os; os.kill(os.getpid(), 6)", GuestBootError, "QEMU was ended by SIGABRT"),
        (STARTED + "guest.end(3)", GuestStoppedError, "QEMU ended with exit code 3"),
        (STARTED + "import os; os.kill(os.getpid(), 9)", GuestStoppedError, "ended by SIGKILL"),
        (STARTED + "import os; os.kill(os.getpid(), 24)", GuestStoppedError, "ended by SIGXCPU"),
        (STARTED + "guest.event('GUEST_PANICKED')\nguest.end(1)", GuestPanicError, "panicked"),
        (STARTED + "guest.say('console', b'Kernel panic - not syncing: System is deadlocked on "
         "memory')\nguest.end(1)", GuestMemoryError, "ran out of memory"),
        (EXITED + "guest.event('SHUTDOWN', reason='guest-shutdown')\nguest.end(0)",
         GuestStoppedError, "(?:ran|sent what was written), the guest was switched off"),
        (EXITED + "guest.event('BLOCK_IO_ERROR', nospace=True)", StorageFullError, "disk is full"),
        (STARTED + "guest.event('BLOCK_IO_ERROR', nospace=False, reason='Bad sector')", VmError,
         "a disk of the guest failed: Bad sector"),
    ],
)  # fmt: skip
async def test_a_guest_that_does_not(
    scenario: str, error: type[Exception], says: str, spec: MachineSpec, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("NBDOCK_VM_CHANGES_LIMIT_BYTES", "100000")
    play(scenario, monkeypatch)
    with pytest.raises(error, match=says) as caught:
        await run(spec, tmp_path)
    assert caught.type is error
    assert not list((tmp_path / "vm").iterdir())


@pytest.mark.parametrize(
    ("scenario", "error", "options"),
    [
        ("", GuestBootError, {"boot_s": 0.5}),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)", GuestBootError, {"boot_s": 1}),
        (READY, VmError, {"timeout_s": 0.3}),
        (STARTED, VmError, {"timeout_s": 0.3}),
        (STARTED + "guest.say('control', b'EXIT 0 0\\n')", VmError, {"timeout_s": 0.3}),
        (EXITED, VmError, {"timeout_s": 0.3}),
        (EXITED + "guest.say('control', b'SENT 5\\n')", VmError, {"timeout_s": 0.3}),
    ],
)
async def test_a_guest_that_says_nothing_more(
    scenario: str, error: type[Exception], options: dict[str, float], spec: MachineSpec,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    play(scenario, monkeypatch)
    with pytest.raises(error, match=r"the time limit of .* was reached"):
        await run(spec, tmp_path, **options)


async def test_a_kernel_that_is_none(spec: MachineSpec) -> None:
    """A real QEMU says so, and that is shown."""
    async with Machine(spec) as machine:
        with pytest.raises(GuestBootError, match="QEMU ended with exit code 1") as caught:
            await machine.boot(timeout_s=DEADLINE_S)
    assert "It said: qemu" in str(caught.value)


# QEMU's command


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_command(machine: str, spec: MachineSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu.shutil, "which", lambda name, **_: f"/usr/bin/{name}")
    kernel = Kernel("6.1", "image", "", machine)
    other = MachineSpec(
        kernel=kernel, initramfs=spec.initramfs, memory_mib=77, accelerator="kvm"
    )  # fmt: skip
    descriptors = dict.fromkeys((*FILES, *CHANNELS, SCRATCH), 9)
    command = other.command(descriptors)
    assert command[0] == f"/usr/bin/qemu-system-{machine}"
    console = {"x86_64": "ttyS0", "aarch64": "ttyAMA0"}[machine]
    assert f"console={console} " in command[command.index("-append") + 1]
    assert command[command.index("-m") + 1] == "77"
    assert command[command.index("-accel") + 1] == "kvm"
    # The guest looks for its disks at their places, and takes the first for the one to write to.
    disks = [argument for argument in command if argument.startswith("virtio-blk-pci")]
    places = [f"0000:00:{int(disk.partition('addr=')[2], 16):02x}.0" for disk in disks]
    glob = re.search(r"/sys/bus/pci/devices/(\S+?)/", AGENT.read_text())[1]
    assert fnmatch.filter(sorted(places), glob) == places
    assert [disk.partition("drive=slot")[2][0] for disk in disks] == ["0", *map(str, SLOTS)]
    incoming = other.command(descriptors, incoming=True)
    assert incoming == [*command, "-incoming", "defer"]


def test_a_machine_of_another_kind() -> None:
    with pytest.raises(UnavailableError, match="of the kind riscv64 are not supported"):
        find_qemu("riscv64")


@pytest.mark.parametrize("setpriv", [True, False])
def test_qemu_may_do_little(setpriv: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not setpriv:
        monkeypatch.setattr(qemu.shutil, "which", lambda *_: None)
    command = [*confinement("tcg"), "/bin/sh", "-c", "cat /proc/self/status"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    facts = dict(line.split(":", 1) for line in done.stdout.splitlines())
    assert facts["NoNewPrivs"].strip() == "1"
    if os.geteuid() == 0:
        assert len(set(facts["Uid"].split()) - {"65534"}) == 0
        assert "0" not in facts["Gid"].split()
        assert facts["Groups"].strip() == ""
        monkeypatch.setenv("NBDOCK_VM_USER", "nobody-at-all")
        with pytest.raises(ArgumentTypeError, match="there is no such user"):
            confinement("tcg")


STARTER = """
import subprocess, sys, time
from nbdock.vm.qemu import confinement, shutil
if sys.argv[1] == "without":
    shutil.which = lambda *_: None
child = subprocess.Popen([*confinement("tcg"), "/bin/sleep", "1000"])
print(child.pid, flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("setpriv", ["with", "without"])
def test_qemu_dies_with_who_started_it(setpriv: str) -> None:
    parent = subprocess.Popen([sys.executable, "-c", STARTER, setpriv], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    while child.name() != "sleep":
        pass
    parent.kill()
    parent.wait()
    parent.stdout.close()
    with contextlib.suppress(psutil.TimeoutExpired):
        child.wait(timeout=DEADLINE_S)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("mode", [0o644, 0o600])
def test_files_that_only_root_may_read(mode: int, tmp_path: Path) -> None:
    (tmp_path / "vmlinuz").write_bytes(b"kernel")
    (tmp_path / "vmlinuz").chmod(mode)
    fd = open_for_anyone(str(tmp_path / "vmlinuz"))
    try:
        assert Path(f"/dev/fd/{fd}").read_bytes() == b"kernel"
        if os.geteuid() == 0:
            assert os.fstat(fd).st_mode & stat.S_IROTH
    finally:
        os.close(fd)
