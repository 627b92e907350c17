"""The programs of a guest: a static busybox, and a tar that keeps extended attributes.

busybox has nearly all that a guest needs, but its tar drops extended attributes, and with them
opaque directories and capabilities. So GNU tar comes along, with its libraries and their loader.
Both come from this machine if it has them, else from a package set; neither needs root.

    programs = await guest_programs()
    [p.path for p in programs]     # [b'bin/busybox', b'nbdock/ld.so', b'nbdock/tar', ...]
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
from collections.abc import Callable, Iterator

from nbdock.concurrency import in_worker
from nbdock.errors import GuestPartError
from nbdock.filetree import BytesContent, Entry, EntryKind
from nbdock.packages import PackageSet, Progress, apt
from nbdock.vm.elf import linkage

__all__ = ["guest_programs", "host_programs", "package_programs"]

_TAR_PLACE = "nbdock"
_LIBRARY_FOLDERS = (
    "lib64", "usr/lib64", "lib/{machine}-linux-gnu", "usr/lib/{machine}-linux-gnu", "lib",
    "usr/lib",
)  # fmt: skip
_PROGRAMS = ("busybox", "tar")
_FOLDER = re.compile(r"(usr/)?(s?bin|lib(64)?|lib/[^/]+-linux-gnu[^/]*)")
"""Where programs and libraries are; libc's converters, plugins and the like stand deeper."""
_Find = Callable[[str], bytes | None]


async def guest_programs(
    packages: PackageSet | None = None, *, progress: Progress | None = None
) -> tuple[Entry, ...]:
    """The programs, from this machine or else from packages, as entries for the initramfs.

    Raises
    ------
    GuestPartError, PackageError
        They cannot be had.
    """
    try:
        return await in_worker(host_programs)
    except GuestPartError:
        return await package_programs(packages, progress=progress)


def host_programs() -> tuple[Entry, ...]:
    """Take this machine's own busybox and tar; blocking.

    Raises
    ------
    GuestPartError
        It has none, or none that will do.
    """
    machine = os.uname().machine
    folders = [os.path.join("/", folder.format(machine=machine)) for folder in _LIBRARY_FOLDERS]

    def program(name: str) -> bytes:
        path = shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":/bin:/usr/bin")
        found = _file(path or "")
        if found is None:
            raise GuestPartError(f"This machine has no {name}.", hint=_install_hint())
        return found

    def library(name: str) -> bytes | None:
        places = [name] if name.startswith("/") else [os.path.join(f, name) for f in folders]
        return next((data for data in map(_file, places) if data is not None), None)

    return _entries(program("busybox"), program("tar"), library)


async def package_programs(
    packages: PackageSet | None = None, *, progress: Progress | None = None
) -> tuple[Entry, ...]:
    """The programs out of the packages ``busybox-static`` and ``tar``.

    Raises
    ------
    GuestPartError, PackageError
        The package set lacks them, or they hold something else.
    """
    source = apt() if packages is None else packages
    await source.load(progress=progress)
    wanted = await in_worker(lambda: [source["busybox-static"], source["tar"]])
    closure = await source.closure(await source.realise(wanted))
    parts = [
        p for p in closure.packages if p.name in ("busybox-static", "tar") or p.name[:3] == "lib"
    ]
    await source.fetch(parts, progress=progress)

    def read() -> tuple[Entry, ...]:
        tree = _Files(entry for part in parts for entry in part.entries())
        busybox, tar = tree.find("busybox"), tree.find("tar")
        if busybox is None or tar is None:
            raise GuestPartError("The packages busybox-static and tar hold no such programs.")
        return _entries(busybox, tar, tree.find)

    return await in_worker(read)


class _Files:
    """The programs and libraries of packages by their names, through symlinks."""

    def __init__(self, entries: Iterator[Entry]) -> None:
        self._files: dict[str, bytes] = {}
        self._links: dict[str, str] = {}
        for entry in entries:
            folder, _, name = os.fsdecode(entry.path).rpartition("/")
            if not _FOLDER.fullmatch(folder):
                continue
            if entry.kind is EntryKind.SYMLINK:
                self._links[name] = posixpath.basename(os.fsdecode(entry.linkname))
            elif entry.kind is EntryKind.FILE and (name in _PROGRAMS or ".so" in name):
                self._files[name] = entry.read()

    def find(self, path: str) -> bytes | None:
        """The file of this name, in whichever directory."""
        name = posixpath.basename(path)
        return self._files.get(name) or self._files.get(self._links.get(name, ""))


def _entries(busybox: bytes, tar: bytes, library: _Find) -> tuple[Entry, ...]:
    if linkage(busybox, "busybox").interpreter:
        raise GuestPartError(
            "The busybox here is not static, and a guest has no libraries.", hint=_install_hint()
        )
    if b"xattrs-include" not in tar:
        raise GuestPartError(
            "The tar here does not keep extended attributes.", hint="Install GNU tar."
        )
    found: dict[str, bytes] = {"tar": tar}
    interpreter = linkage(tar, "tar").interpreter
    waiting = [*linkage(tar).needed]
    if interpreter:
        found["ld.so"] = _need(library, interpreter)
    while waiting:
        name = waiting.pop()
        if "/" in name:
            raise GuestPartError(f"tar needs a library by a path, {name!r}.")
        if name not in found and name != posixpath.basename(interpreter):
            found[name] = _need(library, name)
            waiting += linkage(found[name], name).needed
    return (
        _program("bin/busybox", busybox),
        *(_program(f"{_TAR_PLACE}/{name}", data) for name, data in sorted(found.items())),
    )


def _need(library: _Find, name: str) -> bytes:
    data = library(name)
    if data is None:
        raise GuestPartError(f"The library {name} that tar needs is not there.")
    return data


def _program(path: str, data: bytes) -> Entry:
    content = BytesContent(data)
    return Entry(path.encode(), EntryKind.FILE, 0o755, size_bytes=len(data), content=content)


def _file(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None


def _install_hint() -> str:
    return "As root: apt-get install busybox-static."
