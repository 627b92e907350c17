"""Packages of binary caches: as they are named, and as they are once a cache has been asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nbdock.errors import BlobNotFoundError
from nbdock.filetree import Entry
from nbdock.packages.nix.cache.channelnames import Choice
from nbdock.packages.nix.cache.fetching import nar_path
from nbdock.packages.nix.cache.lookup import Located
from nbdock.packages.nix.narreader import read_nar
from nbdock.packages.nix.storepackage import StorePackage
from nbdock.packages.nix.storepath import StorePath
from nbdock.packages.package import Package

if TYPE_CHECKING:
    from nbdock.packages.nix.cache.package_set import CachePackageSet

__all__ = ["CacheAttribute", "CacheAttributes", "CachePackage"]

# What nbdock itself may ask any object for; no attribute of nixpkgs.
NOT_ATTRIBUTES = frozenset(("nix_takes_keywords", "known_names", "context"))


class CachePackage(StorePackage):
    """A store path of a binary cache, verified as far as can be without its content."""

    def __init__(self, located: Located, package_set: CachePackageSet) -> None:
        super().__init__(located.info)
        self.located = located
        self.package_set: CachePackageSet = package_set

    def entries(self) -> Iterator[Entry]:
        """The tree, itself (``b""``) first, from the NAR that `PackageSet.fetch` brought here."""
        path = nar_path(self.info)
        if path is None:
            raise BlobNotFoundError(
                f"The NAR of {self.info.path} is not here.",
                digest=str(self.info.nar_hash),
                hint="The package's set fetches it: await package.package_set.fetch([package]).",
            )
        return read_nar(path)


class CacheAttribute(Package):
    """A package by its name, or by a store path: no cache has been asked for it yet.

    Its place (`root`, `str`) is known at once if the channel's list has one path of that name;
    else the caches are asked which of them is for this system.
    """

    package_set: CachePackageSet

    def __init__(
        self,
        package_set: CachePackageSet,
        attribute: tuple[str, ...],
        choices: tuple[Choice, ...],
        *,
        suffix: str = "",
    ) -> None:
        self.package_set = package_set
        self.attribute = attribute
        self.choices = choices
        self.name = choices[0].name
        self.version = choices[0].version
        self._suffix = suffix

    @property
    def is_explicit(self) -> bool:
        """Whether it was asked for by its store path, which is never a guess."""
        return self.attribute[0].startswith("/")

    @property
    def shown(self) -> str:
        """What it was asked for as."""
        return ".".join(self.attribute)

    @property
    def pname(self) -> str:
        """The name without the version, as nixpkgs calls it."""
        return self.name

    @property
    def store_path(self) -> StorePath:
        """Where it stands; may have to ask the caches."""
        return self.package_set.chosen_now(self)

    @property
    def root(self) -> str:  # type: ignore[override]  # may have to be asked for
        """Where it stands; may have to ask the caches."""
        return str(self.store_path)

    @property
    def key(self) -> str:
        """Tells it from other attributes; not what a layer is known by (`realise` gives that)."""
        return f"nix-cache:{id(self.package_set)}:{self.shown}"

    @property
    def size_bytes(self) -> int:
        """Not known before it is realised: 0."""
        return 0

    @property
    def sort_key(self) -> tuple[str, str, str]:
        """By name, version and what it was asked for as."""
        return (self.name, self.version, self.shown)

    def entries(self) -> Iterator[Entry]:
        """The tree, once it was fetched."""
        path = self.store_path
        raise BlobNotFoundError(
            f"Nothing is known of {path} yet but its place.",
            hint="await nbdock.packages.realise([package]) looks it up.",
        )

    def __getattr__(self, name: str) -> CacheAttribute | CacheAttributes:
        # An attribute of a package that is none of ours is one of its outputs.
        if name.startswith("_") or name in NOT_ATTRIBUTES or "choices" not in self.__dict__:
            raise AttributeError(name)
        return self.package_set.select((*self.attribute, name))

    def __str__(self) -> str:
        return f"{self.root}{self._suffix}"

    def __repr__(self) -> str:
        first = self.choices[0]
        is_known = len(first.paths) == 1
        return f"<CacheAttribute {first.paths[0] if is_known else f'{self.shown} {self.version}'}>"


class CacheAttributes:
    """A set of packages in nixpkgs, such as ``pkgs.python3Packages``."""

    def __init__(self, package_set: CachePackageSet, attribute: tuple[str, ...]) -> None:
        self._package_set = package_set
        self._attribute = attribute

    def __getitem__(self, name: str) -> Any:
        """A package of it; see `CachePackageSet.__getitem__`."""
        return self._package_set.select((*self._attribute, name))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in NOT_ATTRIBUTES:
            raise AttributeError(name)
        return self[name]

    def __dir__(self) -> list[str]:
        return [name for name in self._ipython_key_completions_() if name.isidentifier()]

    def _ipython_key_completions_(self) -> list[str]:
        return self._package_set.names_in(self._attribute)

    def __repr__(self) -> str:
        return f"<CacheAttributes {'.'.join(self._attribute)}>"
