"""Packages with all they need: the input of every planner, and a networkx graph to look at."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from nbdock.concurrency import gather_limited, in_worker
from nbdock.errors import PackageError
from nbdock.packages.local import list_together
from nbdock.packages.package import Package, PackageSet, Progress

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["Closure", "realise", "resolve_closure"]


@dataclasses.dataclass(frozen=True, eq=False)
class Closure:
    """Packages and their references, closed: what a package refers to is in it too.

    Attributes
    ----------
    packages
        Every package once, by `Package.sort_key`: independent of the order of the request.
    references
        For each package's key the keys of what it needs directly (never itself), sorted.
    roots
        Keys of the packages that were asked for, in that order.
    overrides
        Pairs of keys ``(winner, loser)``: both have files at the same place, and the winner's
        must be the one that is seen.
    """

    packages: tuple[Package, ...]
    references: Mapping[str, tuple[str, ...]]
    roots: tuple[str, ...]
    overrides: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.packages)

    def __getitem__(self, key: str) -> Package:
        return self.by_key[key]

    def __repr__(self) -> str:
        return f"<Closure of {len(self.packages)} packages>"

    @functools.cached_property
    def by_key(self) -> dict[str, Package]:
        """The packages by their keys."""
        return {p.key: p for p in self.packages}

    @property
    def asked_first(self) -> tuple[Package, ...]:
        """The packages, those that were asked for at the beginning, as people look for them."""
        asked = (self.by_key[key] for key in self.roots if key in self.by_key)
        return tuple({p.key: p for p in (*asked, *self.packages)}.values())

    @functools.cached_property
    def graph(self) -> nx.DiGraph[Package]:
        """The closure as a networkx graph: packages, and an edge to each direct dependency."""
        import networkx as nx

        graph: nx.DiGraph[Package] = nx.DiGraph()
        graph.add_nodes_from(self.packages)
        for package in self.packages:
            for key in self.references.get(package.key, ()):
                graph.add_edge(package, self.by_key[key])
        return graph

    @property
    def size_bytes(self) -> int:
        """Bytes of all packages when installed."""
        return sum(p.size_bytes for p in self.packages)


async def realise(
    packages: Iterable[Package],
    *,
    among: Iterable[Package] = (),
    progress: Progress | None = None,
) -> tuple[Package, ...]:
    """The packages, one for one, as their sets know them once they are built or looked up.

    Parameters
    ----------
    among
        What else is in the image, for packages that go by it (`Package.settled`).
    """
    asked = list(packages)
    others = [*asked, *among]
    packages = [await package.settled(others) for package in asked]
    sets = {id(p.package_set): p.package_set for p in packages if p.package_set is not None}
    found = list(packages)
    for package_set in sets.values():
        places = [i for i, p in enumerate(packages) if p.package_set is package_set]
        realised = await package_set.realise([packages[i] for i in places], progress=progress)
        for place, package in zip(places, realised, strict=True):
            found[place] = package
    return tuple(found)


async def resolve_closure(
    packages: Iterable[Package], *, progress: Progress | None = None
) -> Closure:
    """The closure of packages, which may come from several sets; each set resolves its own."""
    packages = list(packages)
    await in_worker(list_together, packages)
    asked = list({p.key: p for p in await realise(packages, progress=progress)}.values())
    every = {p.key: p for p in asked}
    references: dict[str, tuple[str, ...]] = {}
    waiting = asked
    while waiting:
        found: dict[str, Package] = {}
        for package in waiting:
            needed = await realise(package.needs, progress=progress)
            if package.package_set is None:
                references[package.key] = tuple(sorted({p.key for p in needed} - {package.key}))
            found.update({p.key: p for p in needed})
        waiting = [p for key, p in found.items() if key not in every]
        every.update(found)
    by_set: dict[int, list[Package]] = {}
    sets: dict[int, PackageSet] = {}
    for package in every.values():
        if package.package_set is not None:
            by_set.setdefault(id(package.package_set), []).append(package)
            sets[id(package.package_set)] = package.package_set
    parts = await gather_limited(
        [functools.partial(sets[i].closure, members) for i, members in by_set.items()],
        max(1, len(by_set)),
    )
    for part in parts:
        every.update({p.key: p for p in part.packages})
        references.update(part.references)
    if len(by_set) > 1:
        _refuse_two_contents(every.values())
    return Closure(
        packages=tuple(sorted(every.values(), key=lambda p: p.sort_key)),
        references=references,
        roots=tuple(p.key for p in asked),
        overrides=tuple(pair for part in parts for pair in part.overrides),
    )


def _refuse_two_contents(packages: Iterable[Package]) -> None:
    """Two builds of one store path would be laid over each other, and neither would be whole."""
    from nbdock.packages.nix.storepackage import StorePackage

    by_root: dict[str, Package] = {}
    for package in packages:
        if not isinstance(package, StorePackage):
            continue
        other = by_root.setdefault(package.root, package)
        if other.key != package.key:
            raise PackageError(
                f"{package.root} would be in the image with two contents: "
                f"from {other.package_set!r} and from {package.package_set!r}.",
                package=package.root,
                hint="It was built twice, with different results. Take all that needs it from one "
                "of them.",
            )
