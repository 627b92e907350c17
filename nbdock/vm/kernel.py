"""The kernel of a guest: one that this machine has, else one from a package.

A host's kernel may be there and not be readable (Ubuntu's is root's alone), or lack a module. Then
a kernel comes from a package set, fetched and read by nbdock itself, without root; what the guest
needs of it is kept under ``<home>/vm/kernels``.

    kernel = await guest_kernel()
    kernel.release                              # '6.1.0-56-cloud-amd64'
    [m.name for m in kernel.modules()]          # ['virtio_ring', 'virtio', ...]
"""

from __future__ import annotations

import dataclasses
import functools
import os
import platform
import re

from nbdock import settings
from nbdock.concurrency import in_worker
from nbdock.errors import (
    ArgumentTypeError,
    GuestPartError,
    PackageNotFoundError,
    UnavailableError,
)
from nbdock.packages import Package, PackageSet, Progress, apt
from nbdock.vm.kernelpackage import keep_kernel
from nbdock.vm.modules import GUEST_MODULES, LATE_MODULES, OPTIONAL_MODULES, Module, resolve_modules

__all__ = ["Kernel", "guest_kernel", "host_kernel", "package_kernel"]

_MODULE_PLACES = ("lib/modules", "usr/lib/modules")


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A kernel that QEMU can boot.

    Attributes
    ----------
    release
        As ``uname -r`` says it in the guest.
    image
        The path of what QEMU's ``-kernel`` takes.
    directory
        Where its modules are, with the files that say what they need.
    machine
        What it is compiled for, as ``uname -m`` says it.
    """

    release: str
    image: str
    directory: str
    machine: str = dataclasses.field(default_factory=platform.machine)

    def modules(self) -> tuple[Module, ...]:
        """What a guest loads at its beginning, in this order.

        Raises
        ------
        GuestPartError
            It lacks a module that guests need.
        """
        return resolve_modules(self.directory, GUEST_MODULES, optional=OPTIONAL_MODULES)

    def late_modules(self) -> tuple[Module, ...]:
        """What a guest loads only when it gets its job (see `LATE_MODULES`), if it is there."""
        late = resolve_modules(self.directory, (), optional=LATE_MODULES)
        return tuple(module for module in late if module not in self.modules())


async def guest_kernel(
    packages: PackageSet | None = None, *, progress: Progress | None = None
) -> Kernel:
    """The kernel for guests: the host's if it can be used, else one from a package.

    The setting `vm_kernel` may force either.

    Parameters
    ----------
    packages
        Where a package comes from; default: this machine's APT sources.

    Raises
    ------
    UnavailableError
        There is none: the message says what is wrong with each.
    """
    choice = settings.current().vm_kernel
    if choice not in ("auto", "host", "package"):
        raise ArgumentTypeError(
            f"The setting vm_kernel must be auto, host or package, not {choice!r}.",
            argument="vm_kernel",
        )
    if choice == "package":
        return await package_kernel(packages, progress=progress)
    try:
        return await in_worker(host_kernel)
    except UnavailableError:
        if choice == "host":
            raise
    return await package_kernel(packages, progress=progress)


def host_kernel(root: str = "/") -> Kernel:
    """The best kernel of this machine: one made for guests, else the newest; blocking.

    Raises
    ------
    UnavailableError
        None can be used; the message says why for each.
    """
    releases = {}
    for place in _MODULE_PLACES:
        folder = os.path.join(root, place)
        if os.path.isdir(folder):
            releases.update({name: os.path.join(folder, name) for name in os.listdir(folder)})
    refused = []
    for release in sorted(releases, key=_preference, reverse=True):
        directory = releases[release]
        images = (
            os.path.join(root, "boot", f"vmlinuz-{release}"),
            os.path.join(directory, "vmlinuz"),
        )
        image = next((path for path in images if os.path.exists(path)), "")
        if not image:
            refused.append(f"{release} has no image in {os.path.join(root, 'boot')}")
        elif not os.access(image, os.R_OK):
            refused.append(f"{image} is not readable for this user")
        else:
            kernel = Kernel(release, image, directory)
            try:
                kernel.modules()
            except GuestPartError as error:
                refused.append(error.message.rstrip("."))
            else:
                return kernel
    raise UnavailableError(
        "This machine has no kernel that a guest can boot"
        f"{': ' if refused else '.'}{'; '.join(refused)}{'.' if refused else ''}",
        hint="Set NBDOCK_VM_KERNEL=package, or as root: apt-get install linux-image-cloud-amd64.",
    )


def _preference(release: str) -> tuple[bool, list[tuple[int, str]]]:
    """Kernels for guests before those for hardware, which take twice as long to boot; then age."""
    parts = re.findall(r"\d+|\D+", release)
    numbered = [(int(p), "") if p.isdecimal() else (-1, p) for p in parts]
    return (bool(re.search("cloud|virt|kvm", release)), numbered)


async def package_kernel(
    packages: PackageSet | None = None, *, progress: Progress | None = None
) -> Kernel:
    """A kernel from a package set, fetched and unpacked if it is not here yet.

    Raises
    ------
    UnavailableError
        The package set has none of the packages that the setting `vm_kernel_packages` names.
    GuestPartError
        The package holds no kernel, or one that lacks a module.
    """
    source = apt() if packages is None else packages
    names = settings.current().vm_kernel_packages
    await source.load(progress=progress)
    chosen = await in_worker(functools.partial(_first_of, source, names))
    closure = await source.closure(await source.realise([chosen]))
    # A kernel's package asks for the tools that install one; nothing is installed here.
    parts = [p for p in closure.packages if p.name.startswith(("linux-image-", "linux-modules-"))]
    await source.fetch(parts, progress=progress)
    release, directory = await in_worker(keep_kernel, parts)
    return Kernel(release, os.path.join(directory, "vmlinuz"), directory)


def _first_of(source: PackageSet, names: tuple[str, ...]) -> Package:
    for name in names:
        try:
            return source[name]
        except PackageNotFoundError:
            continue
    raise UnavailableError(
        f"The package sources have no kernel for a guest: neither {' nor '.join(names)}.",
        hint="Name the package of a kernel in the setting vm_kernel_packages.",
    )
