"""What the planners share: two graph algorithms on plain lists of node numbers, and sets as bits.

A set of nodes is an `int` whose bit n stands for node n: sets of ten thousand are united and
compared in a microsecond.

They are here because a warm build must not wait for networkx to be imported: `Closure.graph` is
for people, this is for planners.

    >>> components([[1], [0], [0]])     # 0 and 1 need each other, 2 needs 0
    [[0, 1], [2]]
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from itertools import compress

__all__ = ["components", "members", "stable_order", "total"]

_FLAGS = bytes.maketrans(b"01", b"\0\1")


def components(edges: Sequence[Iterable[int]]) -> list[list[int]]:
    """The strongly connected components of a graph, each sorted, targets before sources.

    Tarjan's algorithm with an explicit stack, since closures can be deeper than Python's own.

    Parameters
    ----------
    edges
        For each node the nodes it refers to.
    """
    unseen, done = -1, len(edges)
    low = [unseen] * len(edges)
    found: list[list[int]] = []
    stack: list[int] = []
    count = 0
    for start in range(len(edges)):
        if low[start] != unseen:
            continue
        low[start] = count
        work = [(start, count, iter(edges[start]))]
        stack.append(start)
        count += 1
        while work:
            node, number, targets = work[-1]
            for target in targets:
                if low[target] == unseen:
                    low[target] = count
                    work.append((target, count, iter(edges[target])))
                    stack.append(target)
                    count += 1
                    break
                if low[target] < low[node]:
                    low[node] = low[target]
            else:
                work.pop()
                if low[node] == number:
                    cut = len(stack) - 1
                    while stack[cut] != node:
                        cut -= 1
                    group = sorted(stack[cut:])
                    del stack[cut:]
                    for member in group:
                        low[member] = done  # above every number: never lowers another's
                    found.append(group)
                elif low[node] < low[work[-1][0]]:
                    low[work[-1][0]] = low[node]
    return found


def stable_order(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """The numbers below `count`, each pair's first before its second, else ascending.

    Numbers on a cycle of pairs are left ascending among themselves: no order satisfies them.
    """
    after: list[set[int]] = [set() for _ in range(count)]
    for first, second in pairs:
        if first != second:
            after[first].add(second)
    groups = components(after)
    group_of = {node: g for g, group in enumerate(groups) for node in group}
    waiting = [0] * len(groups)
    follow: list[set[int]] = [set() for _ in groups]
    for node, later in enumerate(after):
        for other in later:
            a, b = group_of[node], group_of[other]
            if a != b and b not in follow[a]:
                follow[a].add(b)
                waiting[b] += 1
    ready = [(group[0], g) for g, group in enumerate(groups) if not waiting[g]]
    heapq.heapify(ready)
    order: list[int] = []
    while ready:
        _, g = heapq.heappop(ready)
        order += groups[g]
        for other in follow[g]:
            waiting[other] -= 1
            if not waiting[other]:
                heapq.heappush(ready, (groups[other][0], other))
    return order


def members(mask: int) -> list[int]:
    """The nodes whose bits are set, ascending.

    >>> members(0b1011)
    [0, 1, 3]
    """
    flags = _flags(mask)
    return list(compress(range(len(flags)), flags))


def total(mask: int, values: Sequence[int]) -> int:
    """The sum of the values of the nodes whose bits are set.

    >>> total(0b101, [1, 2, 4])
    5
    """
    return sum(compress(values, _flags(mask)))


def _flags(mask: int) -> bytes:
    """A byte for each bit, the lowest first: what `compress` reads without a line of Python."""
    return f"{mask:b}".encode().translate(_FLAGS)[::-1]
