"""How fast nbdock plans layers: each planner on 10,000 packages with 100,000 references.

Seconds are of the large graph. Ratios are of a graph a tenth as large, against the planner written
plainly with networkx (below) in the same run: on the large one that takes minutes to hours. Both
make the same layers, which is checked.

The graphs look like a store: a few packages that nearly all others need, long chains, and families
that share a part; sizes spread over five orders of magnitude. Nothing is read or built.

    python benchmarks/plan.py --runs 3
"""

from __future__ import annotations

import argparse
import gc
import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import networkx as nx
from targets import Targets

from nbdock.filetree import Entry
from nbdock.layering import LayerPlan, Pipeline, planners
from nbdock.packages import Closure, Package

LIMIT = 99
TARGET_S = 2.0
DIGITS = "0123456789abcdfghijklmnpqrsvwxyz"


class StorePath(Package):
    """A package of which only the path and the size are known."""

    def __init__(self, hash_part: str, name: str, size_bytes: int) -> None:
        self.name, self.version = name, ""
        self.root = f"/nix/store/{hash_part}-{name}"
        self._size_bytes = size_bytes

    @property
    def key(self) -> str:
        return self.root

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def entries(self) -> Iterator[Entry]:
        return iter(())


def store(packages: int, references: int, seed: int = 1) -> Closure:
    """A closure of so many packages; later ones refer to earlier ones."""
    chance = random.Random(seed)
    every = [
        StorePath(
            "".join(chance.choices(DIGITS, k=32)),
            f"package-{i % (packages * 4 // 5)}-{chance.randrange(9)}.{chance.randrange(20)}",
            int(math.exp(chance.gauss(11, 2.3))),
        )
        for i in range(packages)
    ]
    hubs = max(5, packages // 500)
    edges: set[tuple[int, int]] = set()
    for i in range(1, packages):
        # Every fifth continues a chain, the others belong to a family of a hundred.
        edges.add((i, i - 5 if i % 5 == 0 else i // 100 * 100 - 1 if i >= 100 else 0))
    while len(edges) < references:
        i = chance.randrange(1, packages)
        draw = chance.random()
        if draw < 0.35:
            j = int(chance.random() ** 2 * hubs)
        elif draw < 0.75:
            j = max(0, i - 1 - int(chance.expovariate(1 / 60)))
        else:
            j = chance.randrange(i)
        if j < i:
            edges.add((i, j))
    needs: dict[str, list[str]] = {}
    for i, j in edges:
        if 0 <= j != i:
            needs.setdefault(every[i].key, []).append(every[j].key)
    called = {key for keys in needs.values() for key in keys}
    by_order = sorted(every, key=lambda p: p.sort_key)
    return Closure(
        packages=tuple(by_order),
        references={key: tuple(sorted(keys)) for key, keys in needs.items()},
        roots=tuple(p.key for p in by_order if p.key not in called),
    )


def operations(closure: Closure) -> list[Any]:
    """A pipeline with most operations, about packages in the middle of the graph."""
    inner = sorted(closure.references)
    first, second = inner[len(inner) // 3], inner[len(inner) // 2]
    return [
        ["split_paths", [first, {"children_of": [second]}]],
        ["over", "rest", ["pipe", [
            ["subcomponent_in", [second]],
            ["over", "main", ["popularity_contest"]],
            ["over", "rest", ["split_every", 40]],
        ]]],
        ["over", "common", ["popularity_contest"]],
        ["flatten"],
        ["reverse"],
        ["limit_layers", LIMIT],
    ]  # fmt: skip


# ---- the peers: the same planners, written plainly with networkx ---------------------------------


def _by_size(closure: Closure) -> nx.DiGraph[Package]:
    graph: nx.DiGraph[Package] = nx.DiGraph()
    graph.add_nodes_from(sorted(closure.packages, key=lambda p: (p.size_bytes, p.root)))
    for key, targets in closure.references.items():
        graph.add_edges_from((closure[key], closure[target]) for target in targets)
    return graph


def _ranked(graph: nx.DiGraph[Package]) -> list[Package]:
    paths: dict[Package, int] = {}
    for package in nx.topological_sort(graph):
        paths[package] = sum(paths[p] for p in graph.predecessors(package)) or 1
    counts = {
        p: paths[p] + sum(paths[ancestor] for ancestor in nx.ancestors(graph, p)) for p in graph
    }
    return sorted(graph, key=lambda p: (-counts[p], _hash_last(p)))


def _hash_last(package: Package) -> str:
    first, _, rest = package.root.partition("-")
    return f"{rest}-{first}"


def plain_popularity(closure: Closure) -> list[list[Package]]:
    ranked = _ranked(_by_size(closure))
    return [[p] for p in ranked[: LIMIT - 1]] + [ranked[LIMIT - 1 :]]


def plain_auto(closure: Closure) -> list[list[Package]]:
    graph: nx.DiGraph[Any] = _by_size(closure)
    sizes: dict[Any, int] = {p: p.size_bytes for p in graph}
    graph.add_edges_from(("top layer", closure[key]) for key in closure.roots)
    graph.add_node("configuration")
    sizes |= {"top layer": 10_784, "configuration": 0}
    labels: dict[Any, frozenset[Any]] = dict.fromkeys(graph, frozenset())
    for head in sorted(graph, key=lambda p: (sizes[p], str(p)), reverse=True):
        needs, needed_by = nx.descendants(graph, head), nx.ancestors(graph, head)
        after = labels | {head: frozenset({head})}
        for package in needs:
            after[package] -= needed_by
            if not after[package] & needs:
                after[package] |= {head}
        if len(set(after.values())) > LIMIT:
            break
        labels = after
    layers: dict[frozenset[Any], list[Any]] = {}
    for package, label in labels.items():
        layers.setdefault(label, []).append(package)

    def closure_size(layer: list[Any]) -> int:
        below = set(layer).union(*(nx.descendants(graph, package) for package in layer))
        return sum(sizes[package] for package in below)

    ordered = sorted(layers.values(), key=closure_size)
    packages = ([p for p in layer if isinstance(p, Package)] for layer in ordered)
    return [sorted(layer, key=lambda p: p.sort_key) for layer in packages if layer]


def plain_pipeline(closure: Closure) -> list[list[Package]]:
    """The pipeline of `operations`, by hand."""
    whole = _by_size(closure)
    inner = sorted(closure.references)
    first, second = closure[inner[len(inner) // 3]], closure[inner[len(inner) // 2]]
    starts = {first, *whole.successors(second)}
    off = starts.union(*(nx.descendants(whole, start) for start in starts))
    roots = [p for p in whole if not whole.in_degree(p)]
    cut = whole.copy()
    cut.remove_edges_from([(a, b) for a, b in whole.edges if b in starts])
    kept = {r for r in roots if r not in starts}
    kept |= set().union(*(nx.descendants(cut, root) for root in list(kept)))

    def part(packages: set[Package]) -> nx.DiGraph[Package]:
        graph: nx.DiGraph[Package] = nx.DiGraph()
        graph.add_nodes_from(p for p in cut if p in packages)
        graph.add_edges_from((a, b) for a, b in cut.edges if a in packages and b in packages)
        return graph

    rest = part(kept - off)
    users = {second} | nx.ancestors(rest, second) if second in rest else set()
    others = [p for p in rest if p not in users]
    layers = [list(part(off - kept))]
    layers += [[p] for p in _ranked(part(off & kept))]
    layers += [[p] for p in _ranked(part(users))]
    layers += [others[i : i + 40] for i in range(0, len(others), 40)]
    layers = [layer for layer in layers if layer][::-1]
    return [*layers[: LIMIT - 1], [p for layer in layers[LIMIT - 1 :] for p in layer]]


# ---- measuring -----------------------------------------------------------------------------------


def _seconds(function: Callable[[], object], runs: int) -> tuple[float, object]:
    spent = []
    result: object = None
    for _ in range(runs):
        gc.collect()
        start = time.process_time()
        result = function()
        spent.append(time.process_time() - start)
    return statistics.median(spent), result


def main() -> int:
    """Print a line for each planner; fail if one is slower than it should be or plans otherwise."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3, help="measurements; the median stands")
    runs = parser.parse_args().runs
    large, small = store(10_000, 100_000), store(1_000, 10_000)
    known = planners()
    peers = {
        "popularity": (lambda c: known["popularity"](c, LIMIT), plain_popularity),
        "auto": (lambda c: known["auto"](c, LIMIT), plain_auto),
        "pipeline": (lambda c: Pipeline(operations(c))(c, LIMIT), plain_pipeline),
    }
    print("planner     10,000 packages, 100,000 references    1,000 packages: plain / nbdock")
    targets = Targets("plan", peer="the published algorithms, written plainly")
    for name, (planner, plain) in peers.items():
        seconds, _ = _seconds(lambda planner=planner: planner(large), runs)  # type: ignore[misc]
        fast, plan = _seconds(lambda planner=planner: planner(small), runs)  # type: ignore[misc]
        slow, layers = _seconds(lambda plain=plain: plain(small), 1)  # type: ignore[misc]
        assert isinstance(plan, LayerPlan)
        print(f"{name:<12}{seconds:>8.2f} s{slow / fast:>38.0f} x")
        targets.at_most(f"{name}, 10,000 packages", seconds, TARGET_S, "s")
        same = [list(layer) for layer in plan.layers] == layers
        targets.that(f"{name}, 1,000 packages: the layers of the plain algorithm", same)
    return int(not targets.hold)


if __name__ == "__main__":
    sys.exit(main())
