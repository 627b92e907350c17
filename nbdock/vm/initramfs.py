"""The initramfs of a guest: its first process, its programs and its kernel's modules.

Written here, byte by byte the same for the same parts, so that its digest says what a snapshot of a
booted guest was made of.

    kernel, programs = await guest_kernel(), await guest_programs()
    initramfs = await in_worker(build_initramfs, kernel, programs)
    initramfs.path                      # '<home>/vm/initramfs/<sha256>.cpio'

In the guest: ``/init`` (`guest/init.sh`) loads ``/nbdock/modules`` in order and becomes
``/nbdock/agent``; ``/nbdock/late`` has the modules that are not loaded at boot; ``/nbdock/tools``
has the programs, which commands see as ``/dev/.nbdock``, their ``/dev`` being ``/nbdock/dev``;
``/layers/mounts`` and ``/layers/around`` have the places for mounts that a root may lack.
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
    "ash", "awk", "base64", "basename", "bunzip2", "bzip2", "cat", "chgrp", "chmod",
    "chown", "chroot", "clear", "cmp", "cp", "cpio", "cut", "date", "dd", "df",
    "diff", "dirname", "dmesg", "du", "echo", "ed", "egrep", "env", "expand", "expr",
    "fallocate", "false", "fgrep", "find", "fold", "free", "getopt", "grep", "groups", "gunzip",
    "gzip", "head", "hexdump", "hostname", "id", "insmod", "kill", "killall", "less",
    "link", "ln", "ls", "md5sum", "mkdir", "mke2fs", "mkfifo", "mknod", "mktemp", "more", "mount",
    "mv", "nl", "nproc", "od", "paste", "patch", "pidof",
    "poweroff", "printf", "ps", "pwd", "readlink", "realpath", "reboot", "reset", "rev",
    "rm", "rmdir", "sed", "seq", "setsid", "sh", "sha1sum", "sha256sum", "sha512sum", "shred",
    "shuf", "sleep", "sort", "stat", "strings", "stty", "sync", "tac", "tail", "tee",
    "test", "time", "timeout", "touch", "tr", "true", "truncate", "tty", "umount", "uname",
    "unexpand", "uniq", "unlink", "unshare", "unxz", "unzip", "usleep", "wc", "which", "whoami",
    "xargs", "xxd", "xz", "xzcat", "yes", "zcat",
)  # fmt: skip
_GNU: Final = ("bash", "tar")
_FOLDERS: Final = (
    "dev", "layers", "layers/around", "layers/around/bin", "layers/around/build",
    "layers/around/dev", "layers/around/proc", "layers/around/sys", "layers/around/usr",
    "layers/around/usr/bin", "layers/changes", "layers/mounts", "layers/mounts/dev",
    "layers/mounts/proc", "layers/mounts/sys", "layers/none", "nbdock", "nbdock/dev",
    "nbdock/dev/.nbdock", "nbdock/dev/mqueue", "nbdock/dev/pts", "nbdock/dev/shm", "nbdock/late",
    "nbdock/modules", "nbdock/tools", "nbdock/tools/bin", "proc", "root", "root-of-commands", "run",
    "scratch", "sent", "sys", "tmp", "tree", "unpacked",
)  # fmt: skip
_LINKS: Final = {
    "bin": "nbdock/tools/bin", "layers/around/bin/sh": "/dev/.nbdock/bin/sh",
    "layers/around/usr/bin/env": "/dev/.nbdock/bin/env", "nbdock/dev/fd": "/proc/self/fd",
    "nbdock/dev/ptmx": "pts/ptmx", "nbdock/dev/stdin": "/proc/self/fd/0",
    "nbdock/dev/stdout": "/proc/self/fd/1", "nbdock/dev/stderr": "/proc/self/fd/2",
}  # fmt: skip
_DEVICES: Final = {
    # The kernel opens the console before anything is mounted.
    "dev/console": (5, 1), "dev/null": (1, 3), "nbdock/dev/full": (1, 7), "nbdock/dev/null": (1, 3),
    "nbdock/dev/random": (1, 8), "nbdock/dev/tty": (5, 0), "nbdock/dev/urandom": (1, 9),
    "nbdock/dev/zero": (1, 5),
}  # fmt: skip
_SCRIPTS: Final = {
    "init": "init", "nbdock/commands": "commands", "nbdock/tools/enter": "enter",
    "nbdock/tools/hook": "hook",
}  # fmt: skip
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
        `guest_programs`.
    agent
        What the guest does once its devices are there: a script for busybox's shell, or a static
        program. Default: it takes a job (`guest/agent.sh`).

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
    yield Entry(b"layers/around/tmp", EntryKind.DIRECTORY, 0o1777)
    yield Entry(b"run/log", EntryKind.FIFO, 0o666)
    yield _file("nbdock/dev/.nbdock.said", b"", 0o666)
    yield _file("nbdock/tools/script", b"", 0o755)
    for path, target in _LINKS.items():
        yield Entry(path.encode(), EntryKind.SYMLINK, 0o777, linkname=target.encode())
    for path, (major, minor) in _DEVICES.items():
        yield Entry(
            path.encode(), EntryKind.CHARACTER_DEVICE, 0o666, device_major=major, device_minor=minor
        )
    names = set()
    for program in programs:
        names.add(os.fsdecode(program.path.rpartition(b"/")[2]))
        yield program
    for name in (name for name in _GNU if name in names):
        yield _file(f"nbdock/tools/bin/{name}", _script("gnu"), 0o755)
    for applet in _APPLETS:
        path = f"nbdock/tools/bin/{applet}"
        yield Entry(path.encode(), EntryKind.SYMLINK, 0o777, linkname=b"busybox")
    yield from _modules("nbdock/modules", kernel.modules())
    yield from _modules("nbdock/late", kernel.late_modules())
    yield _file("nbdock/agent", _script("agent") if agent is None else agent, 0o755)
    for path, script in _SCRIPTS.items():
        yield _file(path, _script(script), 0o755)


def _modules(folder: str, modules: Iterable[Module]) -> Iterator[Entry]:
    # The shell sorts by name: the number is the order in which they are loaded.
    for number, module in enumerate(modules):
        yield _file(f"{folder}/{number:02}-{module.name}.ko", module.read(), 0o644)


def _script(name: str) -> bytes:
    with open(os.path.join(_GUEST, f"{name}.sh"), "rb") as file:
        return file.read()


def _file(path: str, data: bytes, mode: int) -> Entry:
    content = BytesContent(data)
    return Entry(path.encode(), EntryKind.FILE, mode, size_bytes=len(data), content=content)
