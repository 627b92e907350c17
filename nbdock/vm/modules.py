"""Which kernel modules a guest needs, and in which order they are loaded.

A kernel's directory says it: ``modules.builtin`` what needs no file, ``modules.dep`` what a module
needs, ``modules.softdep`` what it wants beside that and asks for only when it runs (ext4 mounts
fail without crc32c, which no dependency names), ``modules.alias`` which modules such a wish means.

    for module in resolve_modules("/lib/modules/6.1.0-amd64", ["overlay", "virtio_blk"]):
        print(module.name, len(module.read()))
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator
from typing import Final

from nbdock import settings
from nbdock.content import open_decompressed
from nbdock.errors import ArchiveError, GuestPartError

__all__ = ["GUEST_MODULES", "LATE_MODULES", "OPTIONAL_MODULES", "Module", "resolve_modules"]

GUEST_MODULES: Final = (
    "virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "virtio_console",
    "ext4", "squashfs", "overlay",
)  # fmt: skip
"""What every guest needs: disks, disks that are plugged in later, channels, file systems."""

OPTIONAL_MODULES: Final = ("pvpanic_pci",)
"""What a guest is better off with: a panic is reported, where it would be a timeout."""

LATE_MODULES: Final = ("virtio_rng",)
"""What is loaded only when a snapshot has been restored: two restores would otherwise have one
random generator between them, and hand out the same numbers."""

_SUFFIXES = (".ko", ".ko.gz", ".ko.xz", ".ko.zst")


@dataclasses.dataclass(frozen=True)
class Module:
    """A module of a kernel: its name as the kernel has it, and where its file is."""

    name: str
    path: str

    def read(self) -> bytes:
        """The module itself, decompressed: the guest need not know how.

        Raises
        ------
        GuestPartError
            The file cannot be read or does not decompress.
        """
        limit = settings.current().vm_module_limit_bytes
        try:
            with open_decompressed(self.path, limit_bytes=limit) as stream:
                return stream.read()
        except (OSError, ArchiveError) as error:
            raise GuestPartError(
                f"The kernel module {self.path} cannot be read: {error}.",
                hint="Reinstall the kernel's package, or set NBDOCK_VM_KERNEL=package.",
            ) from error


def module_name(path: str) -> str:
    """The kernel's name of a module by its file or by any spelling of the name.

    >>> module_name("kernel/arch/x86/crypto/crc32c-intel.ko.xz")
    'crc32c_intel'
    """
    return os.path.basename(path).partition(".ko")[0].replace("-", "_")


def resolve_modules(
    directory: str, names: Iterable[str], *, optional: Iterable[str] = ()
) -> tuple[Module, ...]:
    """The modules to load, in this order, so that all of `names` work; none that is built in.

    Parameters
    ----------
    directory
        The kernel's: ``/lib/modules/<release>``.
    optional
        Names that may be unknown to the kernel.

    Raises
    ------
    GuestPartError
        The kernel lacks one of `names` or something it depends on.
    """
    known = _Modules(directory)
    for name in names:
        known.load(module_name(name), needed_by=None)
    for name in optional:
        known.load(module_name(name), needed_by=None, optional=True)
    return tuple(known.order)


class _Modules:
    """A kernel's modules, and those chosen so far."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._needs: dict[str, list[str]] = {}
        self._paths: dict[str, str] = {}
        for line in self._lines("modules.dep", required=True):
            path, _, needs = line.partition(":")
            if path.endswith(_SUFFIXES):
                self._paths[module_name(path)] = path
                # The file lists what must be loaded first last.
                self._needs[module_name(path)] = [module_name(n) for n in reversed(needs.split())]
        self._builtin = {module_name(line) for line in self._lines("modules.builtin")}
        self._wishes = dict(self._soft_dependencies())
        self._aliases: dict[str, list[str]] = {}
        for line in self._lines("modules.alias"):
            words = line.split()
            if len(words) == 3 and words[0] == "alias" and "*" not in words[1]:
                self._aliases.setdefault(module_name(words[1]), []).append(module_name(words[2]))
        self._seen: set[str] = set()
        self.order: list[Module] = []

    def _lines(self, name: str, *, required: bool = False) -> list[str]:
        path = os.path.join(self._directory, name)
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                lines = (line.strip() for line in file)
                return [line for line in lines if line and not line.startswith("#")]
        except FileNotFoundError as error:
            if not required:
                return []
            raise GuestPartError(
                f"There is no {path}.", hint="Run depmod, or set NBDOCK_VM_KERNEL=package."
            ) from error
        except OSError as error:
            raise GuestPartError(f"{path} cannot be read: {error.strerror}.") from error

    def _soft_dependencies(self) -> Iterator[tuple[str, tuple[list[str], list[str]]]]:
        """For each module what is to be loaded before and after it: names or aliases."""
        found: dict[str, tuple[list[str], list[str]]] = {}
        for line in self._lines("modules.softdep"):
            keyword, *words = line.split()
            if keyword != "softdep" or not words:
                continue
            before, after = found.setdefault(module_name(words[0]), ([], []))
            into: list[str] = []  # words before the first "pre:" or "post:" mean nothing
            for word in words[1:]:
                if word in ("pre:", "post:"):
                    into = before if word == "pre:" else after
                else:
                    into.append(module_name(word))
        yield from found.items()

    def load(self, name: str, *, needed_by: str | None, optional: bool = False) -> None:
        """Choose a module after all it needs. Wishes may lead in circles, needs do not."""
        if name in self._builtin or name in self._seen:
            return
        if name not in self._paths:
            aliased = self._aliases.get(name, ())
            if not aliased and not optional:
                raise self._missing(name, needed_by)
            for other in aliased:
                self.load(other, needed_by=needed_by, optional=True)
            return
        self._seen.add(name)
        before, after = self._wishes.get(name, ((), ()))
        for other in before:
            self.load(other, needed_by=name, optional=True)
        for other in self._needs[name]:
            self.load(other, needed_by=name)
        self.order.append(Module(name, os.path.join(self._directory, self._paths[name])))
        for other in after:
            self.load(other, needed_by=name, optional=True)

    def _missing(self, name: str, needed_by: str | None) -> GuestPartError:
        release = os.path.basename(self._directory)
        because = f", which {needed_by} needs" if needed_by else ""
        return GuestPartError(
            f"The kernel {release} has no module {name}{because}.",
            hint="Set NBDOCK_VM_KERNEL=package, for a kernel that has what guests need.",
        )
