"""The popularity contest of dockerTools: what many packages need gets a layer of its own.

The popularity of a package is counted exactly as nixpkgs counts it: with ``paths(a)`` the number of
ways from outside the closure to ``a`` along references, it is the sum of ``paths(a)`` over the
package and everything that needs it, directly or not. For ``foo -> bar, baz; bar -> baz;
baz -> tux`` that gives foo 1, bar 2, baz 4, tux 6. The ways grow exponentially with depth, so they
are exact integers of any length.

nixpkgs assumes that references have no cycles. Debian's have, so here a cycle counts as one
package: packages that need each other are contracted into one node, with one edge to another node
however many references there are, and each of them gets that node's popularity. Without cycles
this is the plain count; with them it depends on nothing but the graph.

    popularity(closure)[0]      # the package that most others need, and how much
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence

from nbdock.layering.graph import components
from nbdock.layering.order import check_room
from nbdock.layering.plan import LayerPlan
from nbdock.layering.sorting import edges_between, hash_last
from nbdock.packages import Closure, Package

__all__ = ["popularity", "popularity_counts", "popularity_plan"]

_SPARSE = 24
"""Differences of fewer bits than one in so many are summed bit by bit. Bits."""


def popularity(closure: Closure) -> tuple[tuple[Package, int], ...]:
    """Packages and their popularity, the most popular first.

    Ties ascend by name, those of store packages with the hash last, as nixpkgs breaks them.

    Raises
    ------
    PackageError
        A package refers to one that is not in the closure.
    """
    packages = sorted(closure.packages, key=hash_last)
    counts = popularity_counts(edges_between(closure, packages))
    # The sort is stable, so what is equally popular stays in the order of names.
    order = sorted(range(len(packages)), key=counts.__getitem__, reverse=True)
    return tuple((packages[i], counts[i]) for i in order)


def popularity_plan(closure: Closure, limit: int) -> LayerPlan:
    """The plan of dockerTools' popularity contest.

    The `limit` - 1 most popular packages get a layer each, and the next layer holds all the rest,
    the most popular first. When there are no more packages than layers, each has its own.

    Parameters
    ----------
    closure
        The packages to be planned.
    limit
        How many layers packages may take, as `check_layer_limit` returns it. Count.

    Raises
    ------
    LayerLimitError
        `limit` is below one.
    """
    check_room(limit)
    ranked = [package for package, _ in popularity(closure)]
    alone = len(ranked) if len(ranked) <= limit else limit - 1
    layers: list[tuple[Package, ...]] = [(package,) for package in ranked[:alone]]
    if ranked[alone:]:
        layers.append(tuple(ranked[alone:]))
    return LayerPlan(tuple(layers), limit, "popularity")


def popularity_counts(edges: Sequence[Iterable[int]]) -> list[int]:
    """The popularity of each node of a graph, given what each refers to."""
    groups = components(edges)
    # Components come with what they refer to first; counting starts from what refers to them.
    groups.reverse()
    group_of = [0] * len(edges)
    for number, group in enumerate(groups):
        for node in group:
            group_of[node] = number
    referrers: list[set[int]] = [set() for _ in groups]
    for node, targets in enumerate(edges):
        for target in targets:
            referrers[group_of[target]].add(group_of[node])
    paths: list[int] = []
    counts: list[int] = []
    above: list[int] = []  # bit a of above[x]: a is x, or needs x
    table: list[dict[str, int]] = []
    for number, by in enumerate(referrers):
        by.discard(number)
        paths.append(sum(paths[b] for b in by) or 1)
        mask = 1 << number
        for b in by:
            mask |= above[b]
        above.append(mask)
        if number % 4 == 3:
            table.append(_sums(paths[-4:]))
        # Most of what needs x needs one of its referrers too: start there, and add what is new.
        nearest = max(by, key=lambda b: (above[b].bit_count(), -b), default=None)
        if nearest is None:
            counts.append(_total(mask, paths, table))
        else:
            counts.append(counts[nearest] + _total(mask & ~above[nearest], paths, table))
    return [counts[group] for group in group_of]


def _sums(values: Sequence[int]) -> dict[str, int]:
    """The sum of each subset of four values, by the subset's bits as a hexadecimal digit."""
    sums = [0]
    for value in values:
        sums += [value + s for s in sums]
    return dict(zip("0123456789abcdef", sums, strict=True))


def _total(mask: int, values: Sequence[int], table: Sequence[dict[str, int]]) -> int:
    """The sum of the values whose bits are set; `table` has `_sums` of each four of them.

    This sum over each node's ancestors is what the whole count costs. A sparse mask is walked bit
    by bit, a dense one four bits at a time in one pass of C code.
    """
    total = 0
    if mask.bit_count() * _SPARSE > mask.bit_length():
        cut = len(table) * 4
        low = mask & ((1 << cut) - 1)
        total = sum(map(operator.getitem, table, f"{low:0{len(table)}x}"[::-1]))
        mask = mask >> cut << cut
    while mask:
        lowest = mask & -mask
        total += values[lowest.bit_length() - 1]
        mask ^= lowest
    return total
