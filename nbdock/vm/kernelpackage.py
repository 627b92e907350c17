"""A kernel out of its packages: the image, the modules that a guest needs, and what they need.

Nothing is unpacked as a whole (a kernel for hardware has hundreds of megabytes of modules): one
pass over the packages puts modules into a file without a name, and those that are needed are then
taken from it.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

from nbdock import settings
from nbdock.content import open_decompressed, storage_error
from nbdock.errors import ArchiveError, GuestPartError
from nbdock.filetree import Entry, EntryKind
from nbdock.packages import Package
from nbdock.vm.depmod import Dependencies, ModuleFacts, module_facts
from nbdock.vm.modules import (
    GUEST_MODULES,
    LATE_MODULES,
    OPTIONAL_MODULES,
    module_name,
    resolve_modules,
)
from nbdock.vm.places import arriving, vm_path

__all__ = ["keep_kernel"]

_VERSION = 1
"""Raised whenever the same packages would give other files than before."""

_IMAGE = re.compile(rb"boot/vmlinuz-([^/]+)|(?:usr/)?lib/modules/([^/]+)/vmlinuz")
_MODULE = re.compile(rb"(?:usr/)?lib/modules/([^/]+)/(.+\.ko(?:\.gz|\.xz|\.zst)?)")
_BUILTIN = re.compile(rb"(?:usr/)?lib/modules/([^/]+)/modules\.builtin")
_RELEASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+~_-]*")


def keep_kernel(packages: Sequence[Package]) -> tuple[str, str]:
    """The kernel's release and the directory where it is kept; made if it is not there. Blocking.

    Raises
    ------
    GuestPartError
        The packages hold no kernel, or one that lacks a module.
    StorageFullError, ContentError
        It cannot be kept.
    """
    wanted = " ".join((*GUEST_MODULES, *OPTIONAL_MODULES, *LATE_MODULES))
    keys = "\n".join(sorted(package.key for package in packages))
    name = hashlib.sha256(f"{_VERSION}\n{wanted}\n{keys}".encode()).hexdigest()[:32]
    directory = vm_path("kernels", name)
    try:
        # Written last: where it is, everything is.
        with open(os.path.join(directory, "release"), encoding="utf-8") as file:
            return file.read(), directory
    except FileNotFoundError:
        pass
    except OSError as error:
        raise storage_error(error, "read a kernel", directory) from error
    try:
        os.makedirs(vm_path("tmp"), exist_ok=True)
        with tempfile.TemporaryFile(dir=vm_path("tmp")) as bag:
            return _Unpacking(packages, directory, bag).release, directory
    except OSError as error:
        raise storage_error(error, "unpack a kernel", directory) from error


class _Unpacking:
    """One pass over packages into a directory."""

    def __init__(self, packages: Iterable[Package], directory: str, bag: BinaryIO) -> None:
        self._directory = directory
        self._bag = bag
        self._spans: dict[str, tuple[int, int]] = {}
        self._facts: dict[str, ModuleFacts] = {}
        self.release = ""
        builtin = b""
        for entry in _files(packages):
            if match := _IMAGE.fullmatch(entry.path):
                self._belongs(match[1] or match[2])
                with arriving(os.path.join(directory, "vmlinuz")) as image:
                    for chunk in _chunks(entry):
                        image.write(chunk)
            elif match := _MODULE.fullmatch(entry.path):
                self._belongs(match[1])
                self._take(match[2].decode("utf-8", "replace"), entry)
            elif match := _BUILTIN.fullmatch(entry.path):
                self._belongs(match[1])
                builtin = b"".join(map(bytes, _chunks(entry)))
        if not self.release or not os.path.exists(os.path.join(directory, "vmlinuz")):
            raise GuestPartError(
                f"There is no kernel in {', '.join(p.name for p in packages) or 'no package'}.",
                hint="Name the package of a kernel in the setting vm_kernel_packages.",
            )
        self._finish(builtin)

    def _belongs(self, release: bytes) -> None:
        text = release.decode("utf-8", "replace")
        if not _RELEASE.fullmatch(text) or self.release not in ("", text):
            raise GuestPartError(f"A package has kernels {self.release!r} and {text!r} in it.")
        self.release = text

    def _take(self, path: str, entry: Entry) -> None:
        """Put a module into the bag as it is, and note what it says of itself."""
        start = self._bag.tell()
        raw = b"".join(map(bytes, _chunks(entry)))
        self._bag.write(raw)
        self._spans[path] = (start, len(raw))
        limit = settings.current().vm_module_limit_bytes
        try:
            with open_decompressed(io.BytesIO(raw), limit_bytes=limit) as stream:
                self._facts[path] = module_facts(stream.read(), path)
        except ArchiveError as error:
            raise GuestPartError(f"The kernel module {path} is damaged: {error}.") from error

    def _finish(self, builtin: bytes) -> None:
        dependencies = Dependencies(self._facts)
        self._write("modules.builtin", builtin)
        self._write("modules.dep", dependencies.modules_dep().encode())
        self._write("modules.softdep", dependencies.modules_softdep().encode())
        self._write("modules.alias", dependencies.modules_alias().encode())
        needed = resolve_modules(
            self._directory, GUEST_MODULES, optional=(*OPTIONAL_MODULES, *LATE_MODULES)
        )
        paths = {module_name(path): path for path in self._spans}
        for module in needed:
            start, length = self._spans[paths[module.name]]
            self._bag.seek(start)
            self._write(paths[module.name], self._bag.read(length))
        self._write("release", self.release.encode())

    def _write(self, name: str, data: bytes) -> None:
        with arriving(os.path.join(self._directory, name)) as file:
            file.write(data)


def _files(packages: Iterable[Package]) -> Iterator[Entry]:
    for package in packages:
        for entry in package.entries():
            if entry.kind is EntryKind.FILE:
                yield entry


def _chunks(entry: Entry) -> Iterator[bytes | memoryview]:
    if entry.size_bytes > settings.current().vm_module_limit_bytes:
        raise GuestPartError(
            f"{os.fsdecode(entry.path)} has {entry.size_bytes:,} bytes, too many for a guest."
        )
    return entry.content.chunks() if entry.content is not None else iter(())
