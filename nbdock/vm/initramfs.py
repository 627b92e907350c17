"""The initramfs of a guest: its first process, its programs and its kernel's modules.

Written here, byte by byte the same for the same parts, so that its digest says what a snapshot of a
booted guest was made of.

    kernel, programs = await guest_kernel(), await guest_programs()
    initramfs = await in_worker(build_initramfs, kernel, programs)
    initramfs.path                      # '<home>/vm/initramfs/<sha256>.cpio'

In the guest: ``/init`` (`guest/init.sh`) loads ``/nbdock/modules`` in order and becomes
``/nbdock/agent``; ``/bin`` is busybox; ``/nbdock/late`` has the modules that are not loaded at
boot; ``/nbdock/ld.so --library-path /nbdock /nbdock/tar`` is a tar that keeps everything.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Iterator
from typing import Final

from nbdock.filetree import BytesContent, Entry, EntryKind
from nbdock.vm.cpio import cpio_bytes
from nbdock.vm.kernel import Kernel
from nbdock.vm.modules import Module
from nbdock.vm.places import arriving, vm_path

__all__ = ["Initramfs", "build_initramfs", "initramfs_entries"]

_APPLETS: Final = (
    "awk", "basename", "cat", "chmod", "chown", "chroot", "cut", "date", "dd", "dirname", "dmesg",
    "echo", "env", "false", "find", "grep", "head", "insmod", "kill", "killall", "ln",
    "ls", "mkdir", "mke2fs", "mknod", "mount", "mv", "pidof", "poweroff", "ps", "readlink",
    "reboot", "rm", "rmdir", "sed", "setsid", "sh", "sleep", "sort", "stat", "sync", "tail",
    "test", "timeout", "touch", "tr", "true", "umount", "uname", "usleep", "wc", "xargs",
)  # fmt: skip
_FOLDERS: Final = (
    "bin", "dev", "nbdock", "nbdock/late", "nbdock/modules", "proc", "root", "run", "sys", "tmp",
)  # fmt: skip
_GUEST: Final = os.path.join(os.path.dirname(__file__), "guest")


@dataclasses.dataclass(frozen=True)
class Initramfs:
    """An initramfs on disk: its path, for QEMU's ``-initrd``, and the SHA-256 of its bytes."""

    path: str
    sha256: str


def build_initramfs(
    kernel: Kernel, programs: Iterable[Entry], *, agent: bytes | None = None
) -> Initramfs:
    """Write the initramfs of a kernel, unless it is there; blocking.

    Parameters
    ----------
    programs
        Busybox and tar (`guest_programs`).
    agent
        What the guest does once its devices are there: a script for busybox's shell, or a static
        program. Default: it says that it is ready, and powers off.

    Raises
    ------
    GuestPartError
        A module is missing or cannot be read.
    StorageFullError, ContentError
        It cannot be kept.
    """
    archive = cpio_bytes(initramfs_entries(kernel, programs, agent=agent))
    sha256 = hashlib.sha256(archive).hexdigest()
    path = vm_path("initramfs", f"{sha256}.cpio")
    if not os.path.exists(path) or os.path.getsize(path) != len(archive):
        with arriving(path) as file:
            file.write(archive)
    return Initramfs(path, sha256)


def initramfs_entries(
    kernel: Kernel, programs: Iterable[Entry], *, agent: bytes | None = None
) -> Iterator[Entry]:
    """What is in the initramfs, parents before children."""
    for folder in _FOLDERS:
        yield Entry(folder.encode(), EntryKind.DIRECTORY, 0o755)
    # The kernel opens the console before anything is mounted.
    yield Entry(b"dev/console", EntryKind.CHARACTER_DEVICE, 0o600, device_major=5, device_minor=1)
    yield Entry(b"dev/null", EntryKind.CHARACTER_DEVICE, 0o666, device_major=1, device_minor=3)
    yield from programs
    for applet in _APPLETS:
        yield Entry(f"bin/{applet}".encode(), EntryKind.SYMLINK, 0o777, linkname=b"busybox")
    yield from _modules("nbdock/modules", kernel.modules())
    yield from _modules("nbdock/late", kernel.late_modules())
    yield _file("nbdock/agent", _script("agent.sh") if agent is None else agent, 0o755)
    yield _file("init", _script("init.sh"), 0o755)


def _modules(folder: str, modules: Iterable[Module]) -> Iterator[Entry]:
    # The shell sorts by name: the number is the order in which they are loaded.
    for number, module in enumerate(modules):
        yield _file(f"{folder}/{number:02}-{module.name}.ko", module.read(), 0o644)


def _script(name: str) -> bytes:
    with open(os.path.join(_GUEST, name), "rb") as file:
        return file.read()


def _file(path: str, data: bytes, mode: int) -> Entry:
    content = BytesContent(data)
    return Entry(path.encode(), EntryKind.FILE, mode, size_bytes=len(data), content=content)
