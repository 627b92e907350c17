"""Nix's packages without Nix: from binary caches, by the names that a channel gives them.

    packages = CachePackageSet()
    image = await nbdock.build_layered_image("hello", contents=[packages.hello])

A name gives a package that knows its place; what else there is to know (hash, size, references)
comes from the caches' narinfos when the package is realised, and its content when it is fetched.
"""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterable, Sequence
from typing import Any

from nbdock import concurrency, settings
from nbdock.errors import (
    ArgumentTypeError,
    NbdockError,
    PackageNotFoundError,
    TransportError,
)
from nbdock.packages.closure import Closure
from nbdock.packages.loadonce import LoadOnce
from nbdock.packages.nix.cache.binarycache import BinaryCache
from nbdock.packages.nix.cache.channel import Channel
from nbdock.packages.nix.cache.channellist import StorePathList
from nbdock.packages.nix.cache.channelnames import Choice, choices, is_scope, names_in
from nbdock.packages.nix.cache.fetching import fetch_nars
from nbdock.packages.nix.cache.lookup import CacheLookup, Located
from nbdock.packages.nix.cache.package import (
    NOT_ATTRIBUTES,
    CacheAttribute,
    CacheAttributes,
    CachePackage,
)
from nbdock.packages.nix.cache.signatures import TrustedKeys
from nbdock.packages.nix.cache.system import choose
from nbdock.packages.nix.local.source import attribute_path
from nbdock.packages.nix.storepath import STORE_DIR, StorePath
from nbdock.packages.package import (
    Package,
    PackageSet,
    Progress,
    no_such_attribute,
    not_of_this_set,
)

__all__ = ["CachePackageSet", "host_system"]


def host_system() -> str:
    """Nix's name for the Linux that runs on this machine's processor: ``x86_64-linux``."""
    machine = platform.machine().lower()
    names = {"amd64": "x86_64", "arm64": "aarch64", "i386": "i686", "i586": "i686"}
    return f"{names.get(machine, machine)}-linux"


class CachePackageSet(PackageSet):
    """The packages of some binary caches.

    Guarantees: making one and printing it reads and fetches nothing; the channel's list is loaded
    once, on first use of a name; nothing that no trusted key vouches for is ever returned.

    Parameters
    ----------
    caches
        URLs or directories; default: the setting `nix_caches`.
    channel
        See `Channel`; default: the setting `nix_channel`.
    system
        Nix's name of the system (``aarch64-linux``); default: Linux on this machine's processor.
    trusted_keys
        ``name:base64`` each; default: the setting `nix_trusted_keys`.
    refresh
        Ask the channel even if its last answer is young.
    note
        Why Nix itself is not asked, as a clause; said when a name or the list is not found.

    Examples
    --------
    >>> CachePackageSet(["https://cache.example.org"], system="aarch64-linux")
    <CachePackageSet https://cache.example.org for aarch64-linux>
    """

    distribution = "nixpkgs"

    def __init__(
        self,
        caches: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None = None,
        *,
        channel: str | os.PathLike[str] | None = None,
        system: str | None = None,
        trusted_keys: str | Iterable[str] | None = None,
        refresh: bool = False,
        note: str = "",
        store_dir: str = STORE_DIR,
    ) -> None:
        now = settings.current()
        chosen = now.nix_caches if caches is None else caches
        if isinstance(chosen, str | os.PathLike):
            chosen = [chosen]
        keys = now.nix_trusted_keys if trusted_keys is None else trusted_keys
        self.caches = tuple(dict.fromkeys(BinaryCache.parse(cache) for cache in chosen))
        if not self.caches:
            raise ArgumentTypeError("There is no binary cache to take packages from.",
                                    argument="cache")  # fmt: skip
        self.channel = Channel(channel or now.nix_channel, store_dir=store_dir)
        self.system = system or host_system()
        self.architecture = self.system.partition("-")[0]
        self.keys = TrustedKeys(keys.split() if isinstance(keys, str) else keys)
        self.store_dir = store_dir
        self._note = note
        self._lookup = CacheLookup(self.caches, self.keys, store_dir=store_dir)
        self._packages: dict[StorePath, CachePackage] = {}
        self._chosen: dict[tuple[Choice, ...], StorePath] = {}

        async def load(report: Progress) -> StorePathList:
            try:
                return await self.channel.load(refresh=refresh, progress=report)
            except TransportError as error:
                if note:
                    error.hint = (
                        f"{error.hint or ''} (A binary cache was asked because {note}.)".strip()
                    )
                raise

        self._list = LoadOnce(load)

    def __repr__(self) -> str:
        names = ", ".join(cache.shown for cache in self.caches)
        why = f"; {self._note}" if self._note else ""
        return f"<CachePackageSet {names} for {self.system}{why}>"

    # The list

    async def load(self, *, progress: Progress | None = None) -> None:
        """Bring the channel's list to this machine, if it is not."""
        await self._list.get(progress)

    # Looking up

    def __getitem__(self, name: str | StorePath) -> CacheAttribute:
        """A package: ``"hello"``, ``"python3Packages.requests"``, ``"hello.dev"``, a store path.

        Raises
        ------
        PackageNotFoundError
            The channel's list has none of that name; the hint names the nearest.
        InvalidStorePathError
            It begins with a slash, but is no store path.
        """
        if isinstance(name, StorePath) or (isinstance(name, str) and name.startswith("/")):
            return self._at(
                name
                if isinstance(name, StorePath)
                else StorePath.parse(name.rstrip("/"), store_dir=self.store_dir)
            )
        if not isinstance(name, str):
            raise ArgumentTypeError(
                f"A package is looked up by its name or store path, not by {type(name).__name__}.",
                argument="name",
                hint='For example pkgs["hello"].',
            )
        return self.package(attribute_path(name))

    def package(self, attribute: tuple[str, ...]) -> CacheAttribute:
        """The package that an attribute's names lead to."""
        suffix = ""
        if attribute == ("runtimeShell",):
            attribute, suffix = ("bash",), "/bin/bash"
        try:
            found = choices(self._list.get_now(), attribute)
        except PackageNotFoundError as error:
            if self._note:
                error.hint = (
                    f"{error.hint} (The channel's list is all there is because {self._note}.)"
                )
            raise
        return CacheAttribute(self, attribute, tuple(found), suffix=suffix)

    def _at(self, path: StorePath) -> CacheAttribute:
        choice = Choice(path.package_name, path.version, "", (path,))
        return CacheAttribute(self, (str(path),), (choice,))

    def __getattr__(self, name: str) -> Any:
        # IPython, copy and pickle probe for names like these; no package has one.
        if name.startswith("_") or name in NOT_ATTRIBUTES:
            raise AttributeError(name)
        return self.select((name,))

    def select(self, attribute: tuple[str, ...]) -> CacheAttribute | CacheAttributes:
        """The package or the set of packages that an attribute's names lead to."""
        if is_scope(attribute[-1]):
            return CacheAttributes(self, attribute)
        try:
            return self.package(attribute)
        except PackageNotFoundError as error:
            raise no_such_attribute(error) from None

    def __dir__(self) -> list[str]:
        own = [name for name in object.__dir__(self) if not name.startswith("_")]
        return own + [name for name in self._names() if name.isidentifier()]

    def _ipython_key_completions_(self) -> list[str]:
        return self._names()

    def _names(self) -> list[str]:
        try:
            return self._list.get_now().package_names
        except NbdockError:
            return []  # completion has no way to show an error; the next use shows it

    def names_in(self, attribute: tuple[str, ...]) -> list[str]:
        """The names in a set of packages, as far as the list tells."""
        try:
            return names_in(self._list.get_now(), attribute)
        except NbdockError:
            return []

    def chosen_now(self, attribute: CacheAttribute) -> StorePath:
        """The store path that an attribute stands for, for plain code.

        If there is only one of the name it needs no network: for which system it is, shows later.
        """
        first = attribute.choices[0]
        path = first.paths[0] if len(first.paths) == 1 else self._chosen.get(attribute.choices)
        return path or concurrency.run(self._choose(attribute))

    async def _choose(self, attribute: CacheAttribute) -> StorePath:
        if attribute.is_explicit:
            return attribute.choices[0].paths[0]
        path = self._chosen.get(attribute.choices)
        if path is None:
            path = await choose(
                attribute.shown, attribute.choices, self._lookup, system=self.system
            )
            self._chosen[attribute.choices] = path
        return path

    # A build

    async def realise(
        self, packages: Sequence[Package], *, progress: Progress | None = None
    ) -> Sequence[CachePackage]:
        """The packages with what the caches say of them, verified.

        Raises
        ------
        PackageNotFoundError, SignatureError, BinaryCacheError, TransportError
            See `CacheLookup.find`.
        """
        mine = self._mine(packages)
        if progress is not None and mine:
            progress("Looking up packages", 0, 0)
        named = [one for one in mine if isinstance(one, CacheAttribute) and not one.is_explicit]
        # All at once; what is missing is said below, of the package that needs it.
        with contextlib.suppress(PackageNotFoundError):
            await self._lookup.closure(
                [one.choices[0].paths[0] for one in named if len(one.choices[0].paths) == 1],
                progress=progress,
            )
        paths = [
            await self._choose(one) if isinstance(one, CacheAttribute) else one.info.path
            for one in mine
        ]
        found = await self._lookup.find(paths)
        return [self._package(found[path]) for path in paths]

    async def closure(self, packages: Sequence[Package]) -> Closure:
        """The packages with all that they refer to, as the caches say."""
        paths = [one.info.path for one in await self.realise(packages)]
        located = await self._lookup.closure(paths)
        made = {path: self._package(one) for path, one in located.items()}
        keys = {path: package.key for path, package in made.items()}
        return Closure(
            packages=tuple(sorted(made.values(), key=lambda p: p.sort_key)),
            references={
                keys[path]: tuple(sorted(keys[r] for r in package.info.references if r != path))
                for path, package in made.items()
            },
            roots=tuple(dict.fromkeys(keys[path] for path in paths)),
        )

    async def fetch(self, packages: Iterable[Package], *, progress: Progress | None = None) -> None:
        """Bring the NARs that are not here yet, several at a time, each verified.

        Raises
        ------
        NbdockError
            See `fetch_nars`.
        """
        realised = await self.realise(list(packages))
        await fetch_nars([one.located for one in realised], progress=progress)

    def _package(self, located: Located) -> CachePackage:
        path = located.info.path
        found = self._packages.get(path)
        if found is None or found.located is not located:
            found = self._packages[path] = CachePackage(located, self)
        return found

    def _mine(self, packages: Iterable[Package]) -> list[CachePackage | CacheAttribute]:
        mine = []
        for package in packages:
            if (
                not isinstance(package, CachePackage | CacheAttribute)
                or package.package_set is not self
            ):
                raise not_of_this_set(package)
            mine.append(package)
        return mine
