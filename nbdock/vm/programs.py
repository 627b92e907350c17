"""The programs of a guest: a static busybox, and what busybox has no equal of.

busybox has nearly all that a guest needs, but its tar drops extended attributes, and with them
opaque directories and capabilities; its chroot cannot become another user; and scripts are written
for bash. So GNU's come along, with their libraries and their loader. All come from this machine if
it has them, else from a package set; neither needs root.

    programs = await guest_programs()
    [p.path for p in programs]     # [b'nbdock/tools/bin/busybox', b'nbdock/tools/bash', ...]
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

_PLACE = "nbdock/tools"
_LIBRARY_FOLDERS = (
    "lib64", "usr/lib64", "lib/{machine}-linux-gnu", "usr/lib/{machine}-linux-gnu", "lib",
    "usr/lib",
)  # fmt: skip
_PACKAGES = {"busybox": "busybox-static", "tar": "tar", "chroot": "coreutils", "bash": "bash"}
_PROOFS = {"tar": b"xattrs-include", "chroot": b"userspec"}
"""What stands in a program that does what is needed: others have the same names."""
_OPTIONAL = ("bash",)
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

    def program(name: str) -> bytes | None:
        path = os.environ.get("PATH", os.defpath) + ":/bin:/usr/bin:/sbin:/usr/sbin"
        return _file(shutil.which(name, path=path) or "")

    def library(name: str) -> bytes | None:
        places = [name] if name.startswith("/") else [os.path.join(f, name) for f in folders]
        return next((data for data in map(_file, places) if data is not None), None)

    return _entries(program, library, "This machine")


async def package_programs(
    packages: PackageSet | None = None, *, progress: Progress | None = None
) -> tuple[Entry, ...]:
    """The programs out of packages.

    Raises
    ------
    GuestPartError, PackageError
        The package set lacks them, or they hold something else.
    """
    source = apt() if packages is None else packages
    await source.load(progress=progress)
    wanted = await in_worker(lambda: [source[name] for name in _PACKAGES.values()])
    closure = await source.closure(await source.realise(wanted))
    parts = [p for p in closure.packages if p.name in _PACKAGES.values() or p.name[:3] == "lib"]
    await source.fetch(parts, progress=progress)

    def read() -> tuple[Entry, ...]:
        tree = _Files(entry for part in parts for entry in part.entries())
        return _entries(tree.find, tree.find, "The package set")

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
            elif entry.kind is EntryKind.FILE and (name in _PACKAGES or ".so" in name):
                self._files[name] = entry.read()

    def find(self, path: str) -> bytes | None:
        """The file of this name, in whichever directory."""
        name = posixpath.basename(path)
        return self._files.get(name) or self._files.get(self._links.get(name, ""))


def _entries(program: _Find, library: _Find, source: str) -> tuple[Entry, ...]:
    found: dict[str, bytes] = {}
    for name in _PACKAGES:
        data = program(name)
        if data is None and name in _OPTIONAL:
            continue
        if data is None:
            raise GuestPartError(f"{source} has no {name}.", hint=_install_hint())
        if _PROOFS.get(name, b"") not in data:
            raise GuestPartError(
                f"{source} has a {name} that cannot do what guests need.",
                hint=f"Install GNU {_PACKAGES[name]}.",
            )
        found[name] = data
    busybox = found.pop("busybox")
    if linkage(busybox, "busybox").interpreter:
        raise GuestPartError(
            "The busybox here is not static, and a guest has no libraries.", hint=_install_hint()
        )
    for name, data in list(found.items()):
        _link(name, data, library, found)
    return (
        _program(f"{_PLACE}/bin/busybox", busybox),
        *(_program(f"{_PLACE}/{name}", data) for name, data in sorted(found.items())),
    )


def _link(name: str, data: bytes, library: _Find, found: dict[str, bytes]) -> None:
    """Find what a program is linked to."""
    linked = linkage(data, name)
    if linked.interpreter and "ld.so" not in found:
        found["ld.so"] = _need(library, linked.interpreter, name)
    waiting = [*linked.needed]
    while waiting:
        needed = waiting.pop()
        if "/" in needed:
            raise GuestPartError(f"{name} needs a library by a path, {needed!r}.")
        if needed not in found and needed != posixpath.basename(linked.interpreter):
            found[needed] = _need(library, needed, name)
            waiting += linkage(found[needed], needed).needed


def _need(library: _Find, name: str, program: str) -> bytes:
    data = library(name)
    if data is None:
        raise GuestPartError(f"The library {name} that {program} needs is not there.")
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
