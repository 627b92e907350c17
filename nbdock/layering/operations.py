"""What the operations of a layering pipeline do to graphs of packages.

A pipeline begins with one `Graph`, the whole closure. An operation makes of a graph a list of
graphs, or named parts (``main``, ``common``, ``rest``); others work on lists and parts. In the end
every graph is a layer, and the order of its nodes is that in which its packages are written.

The nodes are numbers: the places of packages in `Nodes`, which ascend by size. Without an
operation that says otherwise (`popularity_contest`), that is the order of nodes in a graph.

    graph = nodes.whole
    split_paths(graph, [3])["main"]
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from nbdock.layering.graph import components
from nbdock.layering.popularity import popularity_counts
from nbdock.layering.sorting import by_path, edges_between, hash_last
from nbdock.packages import Closure, Package

__all__ = [
    "PARTS",
    "Graph",
    "Nodes",
    "Value",
    "flatten",
    "limit_layers",
    "merged",
    "popularity_contest",
    "remove_paths",
    "reorder",
    "split_every",
    "split_paths",
    "subcomponent",
]

PARTS = ("main", "common", "rest")
"""What parts can be called, in the order in which `split_paths` makes them."""


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in order, each with the nodes of this graph that it refers to."""

    edges: Mapping[int, tuple[int, ...]]

    def __len__(self) -> int:
        return len(self.edges)

    def part(self, nodes: Collection[int]) -> Graph:
        """The graph of some of the nodes, in the order that they have here."""
        return Graph({
            n: tuple(t for t in targets if t in nodes)
            for n, targets in self.edges.items() if n in nodes
        })  # fmt: skip

    def reached(self, starts: Iterable[int]) -> set[int]:
        """The nodes that `starts` refer to at any distance, themselves included."""
        found = set(starts)
        waiting = list(found)
        while waiting:
            for target in self.edges[waiting.pop()]:
                if target not in found:
                    found.add(target)
                    waiting.append(target)
        return found

    def turned(self) -> Graph:
        """The graph with its edges the other way round."""
        edges: dict[int, list[int]] = {n: [] for n in self.edges}
        for n, targets in self.edges.items():
            for target in targets:
                edges[target].append(n)
        return Graph({n: tuple(sources) for n, sources in edges.items()})

    def roots(self) -> list[int]:
        """The nodes that nothing else refers to; of a cycle that nothing else refers to, all."""
        called = {target for targets in self.edges.values() for target in targets}
        roots = [n for n in self.edges if n not in called]
        found = self.reached(roots)
        if len(found) < len(self.edges):
            order = list(self.edges)
            place = {n: i for i, n in enumerate(order)}
            groups = components([[place[t] for t in self.edges[n]] for n in order])
            for group in reversed(groups):  # what refers before what is referred to
                cycle = [order[i] for i in group]
                if cycle[0] not in found:
                    roots += cycle
                    found |= self.reached(cycle)
        return roots


Value: TypeAlias = "Graph | list[Value] | dict[str, Value]"
"""What operations take and give: a graph, a list, or parts by name."""


class Nodes:
    """The packages of a closure as nodes: by size, the smallest first, then by path."""

    def __init__(self, closure: Closure) -> None:
        self.packages: Sequence[Package] = sorted(
            closure.packages, key=lambda p: (p.size_bytes, by_path(p))
        )
        edges = edges_between(closure, self.packages)
        self.whole = Graph({
            n: tuple(t for t in targets if t != n) for n, targets in enumerate(edges)
        })  # fmt: skip

    @functools.cached_property
    def rank(self) -> list[int]:
        """For each node its place among equally popular ones."""
        order = sorted(range(len(self.packages)), key=lambda n: hash_last(self.packages[n]))
        rank = [0] * len(order)
        for place, node in enumerate(order):
            rank[node] = place
        return rank

    @functools.cached_property
    def _at(self) -> dict[str, list[int]]:
        """Nodes by the path of their package, or by its name if it stands at ``/``."""
        found: dict[str, list[int]] = {}
        for n, package in enumerate(self.packages):
            found.setdefault(package.name if package.root == "/" else package.root, []).append(n)
        return found

    def find(self, item: str | Package) -> list[int]:
        """The nodes that a package or a text stands for; none if it is not in the closure."""
        if isinstance(item, Package):
            nodes = self._at.get(str(item) or item.name, [])
            return [n for n in nodes if self.packages[n] == item] or nodes
        context = () if item else getattr(item, "context", ())  # "${apt.hello}" stands nowhere
        if packages := [p for p in context if isinstance(p, Package)]:
            return [n for p in packages for n in self.find(p)]
        return self._at.get(str(item), [])


def flatten(value: Value) -> Iterator[Graph]:
    """All graphs in a value, in order."""
    if isinstance(value, Graph):
        yield value
    else:
        for item in value.values() if isinstance(value, dict) else value:
            yield from flatten(item)


def merged(values: Iterable[Value]) -> Graph:
    """One graph of all; between nodes of different graphs there are no edges."""
    return Graph({n: targets for v in values for g in flatten(v) for n, targets in g.edges.items()})


def limit_layers(values: list[Value], count: int) -> list[Value]:
    """The first `count` - 1, and the rest merged; of nothing that is left, an empty graph."""
    return [*values[: count - 1], merged(values[count - 1 :])]


def popularity_contest(graph: Graph, nodes: Nodes) -> list[Value]:
    """A graph for each node, the most popular first."""
    order = sorted(graph.edges, key=nodes.rank.__getitem__)
    place = {n: i for i, n in enumerate(order)}
    counts = popularity_counts([[place[t] for t in graph.edges[n]] for n in order])
    ranked = sorted(range(len(order)), key=counts.__getitem__, reverse=True)
    return [Graph({order[i]: ()}) for i in ranked]


def split_every(graph: Graph, count: int) -> list[Value]:
    """Graphs of `count` nodes each, the last one of what remains."""
    order = list(graph.edges)
    chunks = (order[i : i + count] for i in range(0, len(order), count))
    found: list[Value] = []
    for chunk in chunks:
        inside = frozenset(chunk)
        found.append(Graph({n: tuple(t for t in graph.edges[n] if t in inside) for n in chunk}))
    return found


def remove_paths(graph: Graph, nodes: Collection[int]) -> Graph:
    """The graph without some nodes."""
    return graph.part(graph.edges.keys() - nodes) if nodes else graph


def subcomponent(graph: Graph, starts: Iterable[int], *, dependents: bool) -> dict[str, Value]:
    """``main``: nodes with all that they need, or with all that need them. ``rest``: the others."""
    main = (graph.turned() if dependents else graph).reached(n for n in starts if n in graph.edges)
    return {"main": graph.part(main), "rest": graph.part(graph.edges.keys() - main)}


def split_paths(graph: Graph, starts: Sequence[int]) -> dict[str, Value]:
    """Nodes with what only they need, and what the other nodes need too.

    ``main``: the nodes, and what is needed through them alone. ``common``: what they need and
    other nodes need as well. ``rest``: all else. Empty parts are left out. Within a part nothing
    refers to the nodes any more, as in nixpkgs, unless the only root is among them.
    """
    if not starts:
        return {"rest": graph}
    chosen, roots = frozenset(starts), graph.roots()
    if len(roots) == 1 and roots[0] in chosen:
        return {"main": graph}
    cut = Graph({
        n: tuple(t for t in targets if t not in chosen) for n, targets in graph.edges.items()
    })  # fmt: skip
    off = graph.reached(starts)
    kept = cut.reached(n for n in roots if n not in chosen)
    parts = (off - kept, off & kept, kept - off)
    return {name: cut.part(part) for name, part in zip(PARTS, parts, strict=True) if part}


def reorder(parts: dict[str, Value], names: Sequence[str]) -> dict[str, Value]:
    """The parts in another order: those that are named, then the others."""
    first = {name: parts[name] for name in names if name in parts}
    return first | {name: part for name, part in parts.items() if name not in first}
