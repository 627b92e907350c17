"""Packages whose content depends on what else is in the image: ``/bin/sh`` is bash or dash.

dockerTools takes its helpers from nixpkgs, where everything else in its images comes from. In
nbdock an image may be made of Debian's packages alone, on a machine that has never seen Nix, and
``contents = [ apt.curl caCertificates ]`` has to work there. So a helper comes from where the rest
of the image comes from:

- the image has packages of APT and none of Nix: from the same APT sources;
- otherwise: from nixpkgs, as in dockerTools, and from the same nixpkgs as the image's packages.

This is a rule about the arguments of a build, not about the machine: the same cell gives the same
image everywhere. ``caCertificates.override { packages = apt; }`` chooses by hand, for instance for
an image on top of a Debian base.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from nbdock import concurrency
from nbdock.errors import ArgumentTypeError, NbdockError, PackageNotFoundError
from nbdock.filetree import Entry
from nbdock.packages.closure import realise
from nbdock.packages.environment.overriding import overriding
from nbdock.packages.package import Package, PackageSet

if TYPE_CHECKING:
    from typing import Self

__all__ = ["DerivedSet", "Helper", "look_up"]


class Helper(Package):
    """A package that is chosen when an image is made: `settled` gives the one that is used.

    Nothing is read, evaluated or fetched before that. Subclasses say what the helper is in each
    package set.
    """

    version = ""
    root = "/"

    def __init__(self, packages: PackageSet | None = None) -> None:
        self._packages = packages

    @overriding
    def override(self, *, packages: PackageSet) -> Self:
        """The same from a package set of your choice, such as ``apt``.

        Raises
        ------
        ArgumentTypeError
            Not a package set.
        """
        if not isinstance(packages, PackageSet):
            raise ArgumentTypeError(
                f"packages must be a package set, not {packages!r:.60}.",
                argument="packages",
                hint="For example apt, or pkgs.",
            )
        return type(self)(packages)

    async def settled(self, others: Sequence[Package]) -> Package:
        """The package that the helper is in an image with these other packages."""
        packages = self._packages or _set_of(others)
        is_debian = packages is not None and packages.distribution == "debian"
        try:
            if packages is None:
                packages = await concurrency.in_worker(_default_nixpkgs)
            return await (self.in_debian if is_debian else self.in_nixpkgs)(packages)
        except NbdockError as error:
            if not is_debian and self._packages is None:
                error.hint = " ".join(filter(None, [error.hint, self._advice()]))
            raise

    def _advice(self) -> str:
        return (
            f"{self.name} comes from nixpkgs, unless all other packages of the image are Debian's; "
            f"override {{ packages = apt; }} takes it from there."
        )

    @abc.abstractmethod
    async def in_debian(self, packages: PackageSet) -> Package:
        """What it is in an image of Debian's packages, realised."""

    @abc.abstractmethod
    async def in_nixpkgs(self, packages: PackageSet) -> Package:
        """What it is in an image of Nix's packages, realised."""

    @property
    def key(self) -> str:
        """The identity of a helper that is not settled; never that of a layer."""
        return f"helper:{self.name}:{id(self._packages) if self._packages else ''}"

    @property
    def size_bytes(self) -> int:
        """0: not known before it is settled."""
        return 0

    def entries(self) -> Iterator[Entry]:
        """Those of the package it is when it stands alone."""
        return concurrency.run(self.settled(())).entries()


@dataclasses.dataclass(frozen=True)
class DerivedSet(PackageSet):
    """A set whose packages are made of those of another set."""

    packages: PackageSet


def _set_of(others: Sequence[Package]) -> PackageSet | None:
    """The set that helpers of an image come from; None: nixpkgs as this machine has it."""
    sets = [
        one.packages if isinstance(one, DerivedSet) else one
        for one in (other.package_set for other in others)
        if one is not None
    ]
    for distribution in ("nixpkgs", "debian"):
        for one in sets:
            if one.distribution == distribution:
                return one
    return None


def _default_nixpkgs() -> PackageSet:
    from nbdock.packages import default_nixpkgs

    return default_nixpkgs()


async def look_up(packages: PackageSet, *names: str) -> Package:
    """The first of these packages that there is, realised.

    A channel's list of store paths knows packages by their own names, evaluation by attribute:
    where the two differ, both are given.
    """
    problem: PackageNotFoundError | None = None
    for name in names:
        try:
            # Looking up may wait for an index or an evaluation.
            package = await concurrency.in_thread(packages.__getitem__, name)
            return (await realise([package]))[0]
        except PackageNotFoundError as error:
            problem = problem or error
    assert problem is not None
    raise problem
