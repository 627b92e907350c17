"""What a package is to the rest of nbdock: a named tree of entries that stands somewhere.

A package comes from a package set (APT, a Nix store, ...) or stands alone (`directory()`,
`text_file()`, `script()`). Layers are made of packages; a layer whose packages' keys were seen
before is never read again.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from nbdock.errors import ArgumentError, PackageNotFoundError

if TYPE_CHECKING:
    from nbdock.filetree import Entry
    from nbdock.packages.closure import Closure

__all__ = ["Package", "PackageSet", "Progress", "no_such_attribute", "not_of_this_set"]

Progress = Callable[[str, int, int], None]
"""Told as work goes on: what is done (a verb and a noun), bytes done, bytes in all (0: unknown)."""


class Package(abc.ABC):
    """A tree of entries with a name.

    Attributes
    ----------
    name, version
        As its package set says; `version` may be empty.
    key
        The identity of the content: two packages with one key have the same entries. Used by
        the layer cache, so it is cheap to get and needs no content to be read or fetched.
    root
        Where the tree stands in an image: ``/`` or a path such as ``/nix/store/<hash>-<name>``.
    size_bytes
        Bytes of its files when installed, as far as is known without reading them.
    package_set
        The set it belongs to, which knows its dependencies; None if it has none.
    needs
        What a package without a set needs directly, such as the packages whose places were put
        into the text of a script.
    """

    name: str
    version: str
    root: str
    package_set: PackageSet | None = None
    needs: tuple[Package, ...] = ()

    @property
    @abc.abstractmethod
    def key(self) -> str:
        """The identity of the content (see the class)."""

    @property
    @abc.abstractmethod
    def size_bytes(self) -> int:
        """Bytes of its files when installed."""

    @abc.abstractmethod
    def entries(self) -> Iterator[Entry]:
        """The tree, paths relative to `root`, parents before children. Called in worker threads.

        A package of a set is fetched by its set first (`PackageSet.fetch`).
        """

    @property
    def source(self) -> str:
        """The source it is built from, whose packages change together; its own name if unknown."""
        return self.name

    @property
    def sort_key(self) -> tuple[str, str, str]:
        """What packages are sorted by wherever an order must not depend on anything else."""
        return (self.name, self.version, self.key)

    def current(self) -> Package:
        """The package as it is now: what a build works with from its beginning to its end.

        Itself, unless its content can change under it, as a directory's can.
        """
        return self

    async def settled(self, others: Sequence[Package]) -> Package:  # noqa: ARG002
        """The package that this one is in an image with these other packages.

        Itself, unless it is one of dockerTools' helpers, which come from where the others do.
        """
        return self

    def __str__(self) -> str:
        return "" if self.root == "/" else self.root

    def __repr__(self) -> str:
        version = f" {self.version}" if self.version else ""
        return f"<{type(self).__name__} {self.name}{version}>"

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Package) and other.key == self.key


class PackageSet(abc.ABC):
    """Packages by name, with their dependencies.

    ``set["name"]`` and ``set.name`` give a package (an underscore in an attribute stands for
    whatever separates words in the set's own names). Looking up does not need the network to be
    async: the set loads its index on first use, through `nbdock.concurrency.run`.
    """

    architecture: str | None = None
    """What the packages are compiled for, in the set's own words (``amd64``); None: anything."""

    distribution: str | None = None
    """Whose names the packages have, ``debian`` or ``nixpkgs``; None: it has none to look up."""

    async def load(self, *, progress: Progress | None = None) -> None:  # noqa: B027
        """Bring the set's index to this machine, if it is not; looking up then needs no network."""

    @abc.abstractmethod
    def __getitem__(self, name: str) -> Package: ...

    @abc.abstractmethod
    def __dir__(self) -> list[str]: ...

    async def realise(
        self,
        packages: Sequence[Package],
        *,
        progress: Progress | None = None,  # noqa: ARG002 - for sets that have something to do
    ) -> Sequence[Package]:
        """The packages, one for one, with keys and sizes that hold: built or looked up if need be.

        A set may name packages whose content it does not know yet, such as an attribute of nixpkgs
        that Nix has yet to build. Everything after this works with what this returns.
        """
        return packages

    @abc.abstractmethod
    async def closure(self, packages: Sequence[Package]) -> Closure:
        """The packages with all they need, resolved together. They are realised (`realise`)."""

    @abc.abstractmethod
    async def fetch(self, packages: Iterable[Package], *, progress: Progress | None = None) -> None:
        """Bring what `Package.entries` of these packages reads to this machine, verified."""

    def root_entries(self) -> Sequence[Entry]:
        """Entries that every image with packages of this set needs besides the packages' own."""
        return ()


# What the package sets raise in the same words


class _NoSuchAttributeError(PackageNotFoundError, AttributeError):
    """An attribute that names no package: `hasattr` and `getattr` with a default understand it."""


def no_such_attribute(error: PackageNotFoundError) -> PackageNotFoundError:
    """The error for an attribute, where looking its name up raised `error`."""
    return _NoSuchAttributeError(error.message, package=error.package, hint=error.hint)


def not_of_this_set(package: Package) -> ArgumentError:
    """The error for a package that another set was asked about."""
    return ArgumentError(
        f"{package!r} is not of this package set.",
        argument="packages",
        hint="nbdock.packages.resolve_closure() takes packages of several sets.",
    )
