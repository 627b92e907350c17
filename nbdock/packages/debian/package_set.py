"""APT's packages by name: what a cell calls `apt`.

    >>> from nbdock.packages.debian import apt
    >>> packages = apt(mirror="https://deb.example.org/debian", suite="stable")
    >>> packages
    <AptPackageSet stable from https://deb.example.org/debian>

``packages["redis-server"]`` and ``packages.redis_server`` are the same package; nothing is read or
fetched before one of them is first used.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Protocol, overload

from nbdock import concurrency
from nbdock.content import BlobStore, LayerCache
from nbdock.errors import (
    ArgumentTypeError,
    ContentError,
    NbdockError,
    PackageNotFoundError,
)
from nbdock.filetree import Entry
from nbdock.packages.closure import Closure
from nbdock.packages.debian.catalogue import Catalogue, PackageIndex
from nbdock.packages.debian.deb import deb_entries, deb_key
from nbdock.packages.debian.mergedusr import merged_usr_links
from nbdock.packages.debian.record import PackageRecord
from nbdock.packages.debian.resolver import AlternativesRule, Resolution, request_key, resolve
from nbdock.packages.loadonce import LoadOnce
from nbdock.packages.package import (
    Package,
    PackageSet,
    Progress,
    no_such_attribute,
    not_of_this_set,
)

__all__ = ["AptPackage", "AptPackageSet", "AptSearchResult", "LoadedIndex"]

_RESOLUTIONS = "apt-resolution"
_SEPARATORS = str.maketrans("-.+", "___")


class LoadedIndex(PackageIndex, Protocol):
    """An index that knows which state of the package sources it shows."""

    @property
    def fingerprint(self) -> str:
        """Text that changes when anything in the index does."""
        ...

    @property
    def architecture(self) -> str:
        """The native architecture."""
        ...

    @property
    def codenames(self) -> frozenset[str]:
        """Of the releases that the sources are of."""
        ...

    @property
    def made_s(self) -> float | None:
        """When the newest of the sources was made; seconds since the epoch."""
        ...

    def mentioning(self, words: Sequence[str], /) -> Iterable[str]:
        """Names of the packages whose stanzas have all these words somewhere, in any case."""
        ...


class AptPackage(Package):
    """One version of a Debian package, as the index describes it; made by its package set."""

    root = "/"

    def __init__(self, record: PackageRecord, package_set: AptPackageSet) -> None:
        self.record = record
        self.name = record.name
        self.version = record.version
        self.package_set: AptPackageSet = package_set

    @property
    def key(self) -> str:
        """The digest of the .deb and how it is turned into entries."""
        return deb_key(self.record.sha256, merged_usr=self.package_set.merged_usr)

    @property
    def size_bytes(self) -> int:
        """What the index says that its files take."""
        return self.record.installed_size_kib * 1024

    @property
    def source(self) -> str:
        """The source package."""
        return self.record.source

    def entries(self) -> Iterator[Entry]:
        """The tree of the .deb, and the record under ``/var/lib/dpkg/status.d``."""
        from nbdock.packages.debian.fetching import deb_path

        return deb_entries(deb_path(self.record), merged_usr=self.package_set.merged_usr)


class AptSearchResult(Sequence[AptPackage]):
    """What a search found, sorted by name: a sequence of packages."""

    def __init__(self, pattern: str, packages: Iterable[AptPackage]) -> None:
        self.pattern = pattern
        self._packages = tuple(packages)

    @overload
    def __getitem__(self, index: int) -> AptPackage: ...
    @overload
    def __getitem__(self, index: slice) -> AptSearchResult: ...
    def __getitem__(self, index: int | slice) -> AptPackage | AptSearchResult:
        if isinstance(index, slice):
            return AptSearchResult(self.pattern, self._packages[index])
        return self._packages[index]

    def __len__(self) -> int:
        return len(self._packages)

    def __repr__(self) -> str:
        shown = ", ".join(p.name for p in self._packages[:6])
        more = f" and {len(self) - 6} more" if len(self) > 6 else ""
        noun = "package" if len(self) == 1 else "packages"
        return f"<{len(self)} {noun} for {self.pattern!r}{': ' * bool(self)}{shown}{more}>"

    def to_records(self) -> list[dict[str, str | int]]:
        """Rows for a table: name, version, installed bytes, first line of the description."""
        return [
            {
                "name": p.name,
                "version": p.version,
                "size_bytes": p.size_bytes,
                "description": p.record.description,
            }
            for p in self._packages
        ]


class AptPackageSet(PackageSet):
    """The packages of some APT sources; made by `apt`.

    Guarantees: making one and printing it reads and fetches nothing; the index is loaded once, on
    first use, however many threads and event loops ask for it; names that start with an underscore
    are never looked up.

    Parameters
    ----------
    load
        Loads the index, and says how far it is. Called on nbdock's own event loop.
    described
        What the sources are, for `repr`.
    alternatives, exclude, recommends
        As for `resolver.resolve`.
    merged_usr
        Whether packages are placed for images where ``/bin`` and the like are links into ``/usr``.
    """

    distribution = "debian"

    def __init__(
        self, load: Callable[[Progress], Awaitable[LoadedIndex]], *, described: str = "",
        alternatives: AlternativesRule = "smallest", exclude: Sequence[str] = (),
        recommends: bool = False, merged_usr: bool = True,
    ) -> None:  # fmt: skip
        self.alternatives: AlternativesRule = alternatives
        self.exclude = tuple(exclude)
        self.recommends = recommends
        self.merged_usr = merged_usr
        self._described = described
        self._packages: dict[tuple[str, str], AptPackage] = {}

        async def load_and_note(report: Progress) -> LoadedIndex:
            index = await load(report)
            self.architecture = index.architecture
            return index

        self._index = LoadOnce(load_and_note)

    def __repr__(self) -> str:
        return f"<AptPackageSet {self._described}>" if self._described else "<AptPackageSet>"

    # The index

    async def load(self, *, progress: Progress | None = None) -> None:
        """Bring the index to this machine, if it is not; looking up then needs no network."""
        await self._index.get(progress)

    async def index(self) -> LoadedIndex:
        """The index, loaded when first asked for."""
        return await self._index.get()

    @functools.cached_property
    def _catalogue(self) -> Catalogue:
        index = self._index.get_now()
        return Catalogue(index, architecture=index.architecture)

    @functools.cached_property
    def _by_attribute(self) -> dict[str, tuple[str, ...]]:
        """Package names by what they are as an attribute, for names that need to change for it."""
        found: dict[str, tuple[str, ...]] = {}
        for name in sorted(self._index.get_now().names()):
            attribute = name.translate(_SEPARATORS)
            found[attribute] = (*found.get(attribute, ()), name)
        return found

    # Looking up

    def __getitem__(self, name: str) -> AptPackage:
        """Look a package up: ``"redis-server"``, or ``"redis-server=5:7.0.15-1"`` exactly.

        Raises
        ------
        PackageNotFoundError
            No such package, or no such version; the hint names the nearest.
        """
        if not isinstance(name, str):
            raise ArgumentTypeError(
                f"A package is looked up by its name, not by {type(name).__name__}.",
                argument="name",
                hint='For example apt["redis-server"].',
            )
        name, wants_version, version = (part.strip() for part in name.partition("="))
        catalogue = self._catalogue
        name = name.removesuffix(f":{catalogue.architecture}")
        versions = catalogue.versions(name)
        if not versions:
            raise catalogue.not_found(name)
        if not wants_version:
            return self._package(versions[0].record)
        for node in versions:
            if node.version == version:
                return self._package(node.record)
        shown = ", ".join(n.version for n in versions)
        raise PackageNotFoundError(
            f"There is no version {version!r} of {name} in the package sources.",
            package=name,
            hint=f"Available: {shown}.",
        )

    def __getattr__(self, name: str) -> AptPackage:
        # IPython, copy and pickle probe for names like these; no package has one.
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            if self._catalogue.versions(name):
                return self[name]
            names = self._by_attribute.get(name, ())
            if len(names) == 1:
                return self[names[0]]
            if not names:
                return self[name.replace("_", "-")]
        except PackageNotFoundError as error:
            raise no_such_attribute(error) from None
        raise no_such_attribute(
            PackageNotFoundError(
                f"The attribute {name!r} could be {' or '.join(names)}.",
                package=name,
                hint=f'Say which: apt["{names[0]}"].',
            )
        )

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self._catalogue.versions(name))

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._index.get_now().names()))

    def __dir__(self) -> list[str]:
        own = [name for name in object.__dir__(self) if not name.startswith("_")]
        try:
            names = [a for a, n in self._by_attribute.items() if len(n) == 1 and a.isidentifier()]
        except NbdockError:
            names = []  # completion has no way to show an error; the next use shows it
        return own + names

    def _ipython_key_completions_(self) -> list[str]:
        try:
            return sorted(self._index.get_now().names())
        except NbdockError:
            return []

    def _package(self, record: PackageRecord) -> AptPackage:
        key = (record.name, record.version)
        found = self._packages.get(key)
        if found is None or found.record != record:
            found = self._packages[key] = AptPackage(record, self)
        return found

    def search(self, pattern: str) -> AptSearchResult:
        """Find packages.

        Parameters
        ----------
        pattern
            With ``*``, ``?`` or ``[``: a shell pattern for the whole name. Without: words, all of
            which the name or the first line of the description has, in any case.
        """
        if not isinstance(pattern, str):
            raise ArgumentTypeError(
                f"A pattern is text, not {type(pattern).__name__}.", argument="pattern"
            )
        catalogue, index = self._catalogue, self._index.get_now()
        if re.search(r"[*?\[]", pattern):
            words = []
            names = fnmatch.filter(index.names(), pattern)
        else:
            words = pattern.lower().split()
            names = list(index.mentioning(words))
        found = []
        for name in sorted(set(names)):
            node = catalogue.candidate(name)
            if node is None:
                continue
            text = f"{name}\n{node.record.description}".lower() if words else ""
            if all(word in text for word in words):
                found.append(self._package(node.record))
        return AptSearchResult(pattern, found)

    @property
    def essential(self) -> tuple[AptPackage, ...]:
        """The packages that every Debian system has, and that no dependency names.

        What packages do when they are configured relies on them: an image in which ``dpkg
        --configure -a`` is to run needs them.
        """
        catalogue = self._catalogue
        found = []
        for name in sorted(set(self._index.get_now().mentioning(["\nessential: yes"]))):
            node = catalogue.candidate(name)
            if node is not None and node.record.essential:
                found.append(self._package(node.record))
        return tuple(found)

    # Closures

    async def closure(self, packages: Sequence[Package]) -> Closure:
        """The packages with all they need, resolved together from an empty system.

        A request that was resolved before, from the same state of the sources, is not resolved
        again.

        Raises
        ------
        UnresolvableError
            Dependencies that cannot be met together; `chain` leads to the cause.
        """
        roots = [p.record for p in self._mine(packages)]
        index = await self.index()
        resolution = await concurrency.in_worker(self._resolution, index, roots)
        by_name = {record.name: self._package(record) for record in resolution.records}
        keys = {name: package.key for name, package in by_name.items()}
        return Closure(
            packages=tuple(sorted(by_name.values(), key=lambda p: (p.name, p.key))),
            references={
                keys[name]: tuple(sorted(keys[other] for other in others))
                for name, others in resolution.references.items()
            },
            roots=tuple(dict.fromkeys(p.key for p in packages)),
            overrides=tuple((keys[a], keys[b]) for a, b in resolution.overrides),
        )

    def _resolution(self, index: LoadedIndex, roots: Sequence[PackageRecord]) -> Resolution:
        key = request_key(
            index.fingerprint, roots, architecture=index.architecture,
            alternatives=self.alternatives, exclude=self.exclude, recommends=self.recommends,
        )  # fmt: skip
        try:
            with LayerCache(BlobStore.default()) as cache:
                known = cache.recall(_RESOLUTIONS, key)
                resolution = Resolution.from_bytes(known) if known is not None else None
                if resolution is None:
                    resolution = self._resolved(index, roots)
                    cache.remember(_RESOLUTIONS, key, resolution.to_bytes())
                return resolution
        except ContentError:
            # No place to remember in (a read-only home, say): resolving needs none.
            return self._resolved(index, roots)

    def _resolved(self, index: LoadedIndex, roots: Sequence[PackageRecord]) -> Resolution:
        return resolve(
            index, roots, architecture=index.architecture, alternatives=self.alternatives,
            exclude=self.exclude, recommends=self.recommends,
        )  # fmt: skip

    async def fetch(self, packages: Iterable[Package], *, progress: Progress | None = None) -> None:
        """Download the .debs that are not here yet, several at a time, checked by their digests."""
        from nbdock.packages.debian.fetching import fetch_debs

        await fetch_debs([p.record for p in self._mine(packages)], progress=progress)

    def root_entries(self) -> Sequence[Entry]:
        """``/bin -> usr/bin`` and its like, which no package of a merged-/usr system brings."""
        return merged_usr_links(self.architecture or "amd64") if self.merged_usr else ()

    def _mine(self, packages: Iterable[Package]) -> list[AptPackage]:
        mine = []
        for package in packages:
            if not isinstance(package, AptPackage) or package.package_set is not self:
                raise not_of_this_set(package)
            mine.append(package)
        return mine
