"""QEMU's command: which program, which machine, and what it may do.

The same command serves for a guest that boots and for one that is restored from a snapshot. It has
no disks: they are plugged in when it is known what the guest is for. What it reads and writes are
descriptors that it is given, so that it may run as a user who cannot open anything by its name.

    spec = MachineSpec(kernel=kernel, initramfs=initramfs, memory_mib=512, accelerator="tcg")
    spec.command(dict.fromkeys((*FILES, *CHANNELS, SCRATCH), 0))  # what a snapshot is kept by
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pwd
import resource
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Mapping
from typing import Final

from nbdock import settings
from nbdock.errors import ArgumentTypeError, GuestBootError, UnavailableError
from nbdock.vm.accelerator import AcceleratorName
from nbdock.vm.initramfs import Initramfs
from nbdock.vm.kernel import Kernel

__all__ = [
    "CHANNELS",
    "FILES",
    "SCRATCH",
    "SLOTS",
    "MachineSpec",
    "confinement",
    "find_qemu",
    "limit_qemu",
    "open_for_anyone",
    "start_qemu",
]

CHANNELS: Final = ("qmp", "console", "control", "log", "data")
"""What connects this side with a machine, each a pair of sockets."""

FILES: Final = ("kernel", "initramfs")
"""What a machine reads at its start."""

SCRATCH: Final = "scratch"
"""The disk that a machine writes to."""

SLOTS: Final = range(1, 3)
"""Places for layers' disks, which a guest finds at its boot, when nobody knows yet what they are.

What is plugged in later, it has to look for: 0.1 s for each job. More slots cost at each boot.
"""

_SLOT_BYTES: Final = 1 << 43
"""As large as a guest believes a slot to be: it does not ask again when there is a disk in it."""

_SCRATCH_FDSET: Final = 100
_FIRST_PLACE: Final = 0x10

_CONSOLES: Final = {"x86_64": "ttyS0", "aarch64": "ttyAMA0"}
_MACHINES: Final = {
    "x86_64": "q35,usb=off,vmport=off,sata=off,smbus=off,hpet=off,smm=off",
    "aarch64": "virt",
}
_OWN_BYTES: Final = 8 << 30
"""Address space beside the guest's memory: 1.6 GiB were seen, 1 GiB of them for translated code.

The rest is for the threads that read and write disks, 64 at most, each with a stack and a heap: a
QEMU that gets no memory ends without a word, so that none may come near.
"""
_PACKAGES: Final = {"x86_64": "qemu-system-x86", "aarch64": "qemu-system-arm"}
_SANDBOX: Final = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"


@dataclasses.dataclass(frozen=True, kw_only=True)
class MachineSpec:
    """A machine, before it is started: all that a snapshot of it depends on.

    Attributes
    ----------
    kernel, initramfs
        What it boots.
    memory_mib
        Its memory. MiB.
    disk_mib
        The disk that it writes to, `SCRATCH`. MiB.
    accelerator
        What executes it.
    """

    kernel: Kernel
    initramfs: Initramfs
    memory_mib: int
    accelerator: AcceleratorName
    disk_mib: int = 1024

    def command(self, descriptors: Mapping[str, int], *, incoming: bool = False) -> list[str]:
        """QEMU's command line.

        Parameters
        ----------
        descriptors
            The open file for each name of `FILES` and `CHANNELS`, and for `SCRATCH`.
        incoming
            Whether the machine waits for a snapshot, and does not boot.

        Raises
        ------
        UnavailableError
            There is no QEMU for this machine.
        """
        machine = self.kernel.machine
        command = [
            find_qemu(machine), "-nodefaults", "-no-user-config", "-display", "none", "-nic",
            "none", "-machine", _MACHINES[machine], "-accel", self.accelerator,
            "-cpu", self._processor(), "-smp", "1", "-m", str(self.memory_mib),
            "-sandbox", _SANDBOX, "-action", "panic=exit-failure,reboot=shutdown,shutdown=poweroff",
            "-kernel", f"/dev/fd/{descriptors['kernel']}",
            "-initrd", f"/dev/fd/{descriptors['initramfs']}",
            "-append", self._kernel_arguments(),
        ]  # fmt: skip
        for name in CHANNELS:
            command += ["-chardev", f"socket,id={name},fd={descriptors[name]}"]
        command += ["-mon", "chardev=qmp,mode=control", "-serial", "chardev:console"]
        command += ["-device", "virtio-serial-pci,id=ports"]
        for number, name in enumerate(CHANNELS[2:], start=1):
            command += ["-device", f"virtserialport,bus=ports.0,nr={number},chardev={name}"]
        command += ["-add-fd", f"fd={descriptors[SCRATCH]},set={_SCRATCH_FDSET}"]
        command += _disk(0, read_only=False, driver="file", filename=f"/dev/fdset/{_SCRATCH_FDSET}",
                         locking="off")  # fmt: skip
        for slot in SLOTS:
            size = {"size": _SLOT_BYTES, "read-zeroes": True}
            command += _disk(slot, read_only=True, driver="null-co", **size)
        # The others come when the guest asks for them: it does not listen for what is plugged in.
        command += ["-device", "virtio-scsi-pci,id=scsi,hotplug=off"]
        command += ["-device", "pvpanic-pci", "-device", "virtio-rng-pci"]
        return [*command, "-incoming", "defer"] if incoming else command

    def _processor(self) -> str:
        """All that there is; but where it is emulated, nothing that only costs time.

        That is what protects a kernel from its users, a fifth level of page tables, and the promise
        that strings of bytes are quick: a kernel that believes it clears and copies all memory byte
        by byte, which takes a quarter of the time of everything.
        """
        if self.accelerator == "tcg" and self.kernel.machine == "x86_64":
            return "max,erms=off,smep=off,smap=off,umip=off,pku=off,la57=off"
        return "max"

    def _kernel_arguments(self) -> str:
        # Two guests of one snapshot must not take their random numbers from what both remember:
        # so nothing is believed to be random until the generator is plugged in.
        return (
            f"console={_CONSOLES[self.kernel.machine]} quiet panic=-1 oops=panic "
            # Its commands are root, from whom it has no secrets, and nothing outlives them.
            "mitigations=off nokaslr rodata=off init_on_alloc=0 hardened_usercopy=off "
            "randomize_kstack_offset=off cryptomgr.notests scsi_mod.scan=manual "
            # Programs stand where they stood before, and what was translated of them is used again;
            # nobody waits for the grace periods of a kernel that has one processor.
            "norandmaps rcupdate.rcu_expedited=1 "
            # With one processor there is one counter; to ask a device for the time takes longer.
            "tsc=reliable "
            "random.trust_cpu=off random.trust_bootloader=off"
        )


def _disk(slot: int, *, read_only: bool, **file: object) -> list[str]:
    """A disk that is there from the beginning, at a place on the bus that the guest knows."""
    node = {
        "driver": "raw", "node-name": f"slot{slot}", "read-only": read_only,
        "cache": {"no-flush": True}, "file": {**file, "read-only": read_only},
    }  # fmt: skip
    place = f"virtio-blk-pci,drive=slot{slot},addr={_FIRST_PLACE + slot:#x}"
    return ["-blockdev", json.dumps(node), "-device", place]


def find_qemu(machine: str) -> str:
    """The path of the QEMU that emulates a machine, as ``uname -m`` says it.

    Raises
    ------
    UnavailableError
        There is none; the hint is the command that installs it.
    """
    if machine not in _MACHINES:
        raise UnavailableError(f"Virtual machines of the kind {machine} are not supported.")
    path = os.environ.get("PATH", os.defpath) + ":/usr/bin:/usr/local/bin:/usr/libexec"
    found = shutil.which(f"qemu-system-{machine}", path=path)
    if found is None:
        raise UnavailableError(
            f"This machine has no QEMU: there is no program qemu-system-{machine}.",
            hint=f"As root: apt-get install {_PACKAGES[machine]}.",
        )
    return found


_STILL_THERE: Final = '[ "$PPID" = "$1" ] || exit 1; shift; exec "$@"'
"""A parent that ended before the kernel was asked to say so would never be missed."""

_WRAPPER: Final = """
import ctypes, os, sys
uid, gid, groups, parent = sys.argv[1:5]
if uid:
    os.setgroups([int(g) for g in groups.split(",") if g])
    os.setresgid(int(gid), int(gid), int(gid))
    os.setresuid(int(uid), int(uid), int(uid))
libc = ctypes.CDLL(None)
libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
libc.prctl(1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG
if os.getppid() == int(parent):
    os.execv(sys.argv[5], sys.argv[5:])
"""


def confinement(accelerator: AcceleratorName) -> list[str]:
    """What is put before QEMU's command: it becomes nobody if it is root, and dies with its parent.

    The parent is the thread that starts it.

    Raises
    ------
    ArgumentTypeError
        The setting `vm_user` names nobody.
    """
    uid = gid = ""
    parent = str(os.getpid())
    groups: list[str] = []
    if os.geteuid() == 0:
        name = settings.current().vm_user
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            raise ArgumentTypeError(
                f"The setting vm_user is {name!r}, and there is no such user.", argument="vm_user"
            ) from None
        uid, gid = str(user.pw_uid), str(user.pw_gid)
        if accelerator == "kvm":
            groups = [str(os.stat("/dev/kvm").st_gid)]
    setpriv = shutil.which("setpriv")
    # That of busybox has the name, and not what is needed.
    if setpriv is None or "busybox" in os.path.realpath(setpriv):
        return [sys.executable, "-I", "-S", "-c", _WRAPPER, uid, gid, ",".join(groups), parent]
    identity = []
    if uid:
        identity = [f"--reuid={uid}", f"--regid={gid}"]
        identity.append(f"--groups={','.join(groups)}" if groups else "--clear-groups")
    return [setpriv, *identity, "--no-new-privs", "--pdeathsig", "KILL", "--",
            "/bin/sh", "-c", _STILL_THERE, "sh", parent]  # fmt: skip


def open_for_anyone(path: str) -> int:
    """Open a file to be read by whoever gets the descriptor, by its name in ``/dev/fd`` too.

    A file that only its owner may read (Ubuntu's kernels, root's) is copied into memory for that.

    Raises
    ------
    OSError
        It cannot be opened.
    """
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    if os.fstat(source).st_mode & stat.S_IROTH or os.geteuid() != 0:
        return source
    try:
        copy = os.memfd_create("nbdock")
        with open(copy, "wb", closefd=False) as target, open(source, "rb", closefd=False) as file:
            shutil.copyfileobj(file, target)
        return copy
    finally:
        os.close(source)


def start_qemu(
    spec: MachineSpec, sockets: dict[str, socket.socket], scratch: int, *, incoming: bool
) -> subprocess.Popen[bytes]:
    """Start QEMU, confined; it ends with the thread that calls this.

    Parameters
    ----------
    sockets
        Filled with this side of each of `CHANNELS`: whatever happens, they are the caller's.
    scratch
        The open file of the disk that the machine writes to.

    Raises
    ------
    GuestBootError
        It does not start, or what it is to boot cannot be read.
    """
    with contextlib.ExitStack() as theirs:
        descriptors = {SCRATCH: scratch}
        for name in CHANNELS:
            sockets[name], its = socket.socketpair()
            sockets[name].setblocking(False)
            descriptors[name] = theirs.enter_context(its).fileno()
        paths = (spec.kernel.image, spec.initramfs.path)
        for name, path in zip(FILES, paths, strict=True):
            try:
                descriptors[name] = open_for_anyone(path)
            except OSError as error:
                raise GuestBootError(
                    f"The guest's {name} {path} cannot be read: {error.strerror}."
                ) from error
            theirs.callback(os.close, descriptors[name])
        command = [
            *confinement(spec.accelerator),
            *spec.command(descriptors, incoming=incoming),
        ]
        try:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE, pass_fds=tuple(descriptors.values()),
                start_new_session=True, bufsize=0,
            )  # fmt: skip
        except OSError as error:
            raise GuestBootError(f"QEMU could not be started: {error}.") from error


def limit_qemu(pid: int, *, memory_mib: int, cpu_s: float, file_bytes: int) -> None:
    """What stops a QEMU that nobody watches any more, or that its guest has taken over."""
    limits = {
        resource.RLIMIT_AS: (memory_mib << 20) + _OWN_BYTES,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: int(min(cpu_s, 1e9)),
        resource.RLIMIT_FSIZE: file_bytes,
    }
    for limit, value in limits.items():
        with contextlib.suppress(OSError, ValueError):
            resource.prlimit(pid, limit, (value, value))
