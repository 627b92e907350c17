"""Packages with all they need: the input of every planner, and a networkx graph to look at."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from nbdock.concurrency import in_worker
from nbdock.packages.local import list_together
from nbdock.packages.package import Package, PackageSet

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["Closure", "resolve_closure"]


@dataclasses.dataclass(frozen=True, eq=False)
class Closure:
    """Packages and their references, closed: what a package refers to is in it too.

    Attributes
    ----------
    packages
        Every package once, sorted by name, then key: independent of the order of the request.
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


async def resolve_closure(packages: Iterable[Package]) -> Closure:
    """The closure of packages, which may come from several sets; each set resolves its own."""
    packages = list(packages)
    await in_worker(list_together, packages)
    asked = list({p.key: p for p in packages}.values())
    by_set: dict[int, list[Package]] = {}
    sets: dict[int, PackageSet] = {}
    alone: list[Package] = []
    for package in asked:
        if package.package_set is None:
            alone.append(package)
        else:
            by_set.setdefault(id(package.package_set), []).append(package)
            sets[id(package.package_set)] = package.package_set
    parts = await asyncio.gather(*(sets[i].closure(members) for i, members in by_set.items()))
    found = {p.key: p for part in parts for p in part.packages} | {p.key: p for p in alone}
    references: dict[str, tuple[str, ...]] = {p.key: () for p in alone}
    for part in parts:
        references.update(part.references)
    return Closure(
        packages=tuple(sorted(found.values(), key=lambda p: (p.name, p.key))),
        references=references,
        roots=tuple(p.key for p in asked),
        overrides=tuple(pair for part in parts for pair in part.overrides),
    )
