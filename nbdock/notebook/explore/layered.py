"""A directed graph drawn in layers, from left to right: where its boxes stand and its lines run.

What needs each other is one box; what is needed stands to the right of what needs it; a line that
others imply is left out (`a` needs `b`, `b` needs `c`: that `a` needs `c` too is not drawn). Lines
over several columns to one box run together into one trunk. Crossings are reduced by barycentre
sweeps (Sugiyama, Tagawa and Toda, 1981), and boxes are moved towards their neighbours as far as
order and distance allow, by isotonic regression.

    drawing = layered(graph, width_of=lambda node: 7 * len(node))
    drawing.boxes[0].members, drawing.lines[0].points
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["Box", "Drawing", "Line", "isotonic", "layered"]

Node = TypeVar("Node", bound=Hashable)

ROW = 20.0
"""Height of a node. Pixels."""

_GAP, _LINE_GAP, _CYCLE_PAD = 6.0, 7.0, 4.0
_COLUMN_GAP = 40.0
_SWEEPS = 16
_STILL = 4
"""Sweeps without fewer crossings after which there will be none."""


@dataclasses.dataclass(frozen=True)
class Box(Generic[Node]):
    """Where a node stands, or all that need each other. In pixels, from the top left.

    Attributes
    ----------
    members
        The nodes in it, from top to bottom; each is `ROW` high.
    column
        From 0, the left.
    """

    members: tuple[Node, ...]
    column: int
    x: float
    y: float
    width: float
    height: float


@dataclasses.dataclass(frozen=True)
class Line:
    """A line from one box to another, by their places in `Drawing.boxes`, through points."""

    source: int
    target: int
    points: tuple[tuple[float, float], ...]


@dataclasses.dataclass(frozen=True)
class Drawing(Generic[Node]):
    """A graph as boxes and lines, with the room they take. In pixels.

    Attributes
    ----------
    implied
        How many lines are not drawn, since others say the same. Count.
    crossings
        How many pairs of lines cross between two columns. Count.
    """

    boxes: tuple[Box[Node], ...]
    lines: tuple[Line, ...]
    width: float
    height: float
    implied: int
    crossings: int


def layered(
    graph: nx.DiGraph[Node], *, width_of: Callable[[Node], float], row: float = ROW
) -> Drawing[Node]:
    """Where the nodes of a graph stand so that all lines run from left to right.

    Deterministic: the same graph, in the same order of nodes, gives the same drawing.

    Parameters
    ----------
    graph
        Nodes, and an edge from each to what it needs. Cycles are condensed.
    width_of
        The width that a node takes. Pixels.
    row
        The height that a node takes. Pixels.
    """
    import networkx as nx

    place = {node: i for i, node in enumerate(graph)}
    condensed: Any = nx.condensation(graph)
    members = [
        tuple(sorted(condensed.nodes[i]["members"], key=place.__getitem__)) for i in condensed
    ]
    reduced = nx.transitive_reduction(condensed)
    targets = [sorted(reduced.successors(i)) for i in range(len(members))]
    ranks = _ranks(targets, nx.topological_sort(reduced))
    columns, before, after = _with_trunks(targets, ranks)
    crossings = _order(columns, before, after)
    heights = [row * len(group) + (2 * _CYCLE_PAD if len(group) > 1 else 0) for group in members]
    centres = _heights(columns, before, after, heights)

    # From what stands where to pixels.
    widths = [max(map(width_of, group)) + (2 * _CYCLE_PAD) * (len(group) > 1) for group in members]
    lefts: list[float] = []
    rights: list[float] = []
    x = 0.0
    for column in columns:
        width = max((widths[i] for i in column if i < len(members)), default=0.0)
        lefts.append(x)
        rights.append(x + width)
        x += width + _COLUMN_GAP
    top = min((centres[i] - _tall(heights, i) / 2 for i in range(len(centres))), default=0.0)
    boxes = tuple(
        Box(
            group, ranks[i], lefts[ranks[i]], centres[i] - heights[i] / 2 - top,
            widths[i], heights[i],
        )
        for i, group in enumerate(members)
    )  # fmt: skip
    lines = []
    trunk_of = {(target, rank): i for i, (target, rank) in _trunks(columns, after, ranks).items()}
    for source, box in enumerate(boxes):
        for target in targets[source]:
            points = [(box.x + box.width, box.y + box.height / 2)]
            if box.x + box.width < rights[box.column]:
                points.append((rights[box.column], points[0][1]))
            for rank in range(ranks[source] + 1, ranks[target]):
                y = centres[trunk_of[target, rank]] - top
                points += [(lefts[rank], y), (rights[rank], y)]
            end = boxes[target]
            points.append((end.x, end.y + end.height / 2))
            lines.append(Line(source, target, tuple(points)))
    return Drawing(
        boxes, tuple(lines),
        width=max((box.x + box.width for box in boxes), default=0.0),
        height=max((centres[i] + _tall(heights, i) / 2 - top for i in range(len(centres))),
                   default=0.0),
        implied=condensed.number_of_edges() - reduced.number_of_edges(),
        crossings=crossings,
    )  # fmt: skip


def _ranks(targets: Sequence[Sequence[int]], order: Iterable[int]) -> list[int]:
    """The column of each node: the longest way to it."""
    ranks = [0] * len(targets)
    for node in order:
        for target in targets[node]:
            ranks[target] = max(ranks[target], ranks[node] + 1)
    return ranks


def _with_trunks(
    targets: Sequence[Sequence[int]], ranks: Sequence[int]
) -> tuple[list[list[int]], list[list[int]], list[list[int]]]:
    """The nodes of each column, with points for lines that pass it, and what is beside each.

    All lines to one target share their points: the numbers from ``len(targets)`` on.
    """
    columns: list[list[int]] = [[] for _ in range(max(ranks, default=-1) + 1)]
    before: list[list[int]] = [[] for _ in targets]
    after: list[list[int]] = [[] for _ in targets]
    points: dict[tuple[int, int], int] = {}

    def join(left: int, right: int) -> None:
        if left not in before[right]:
            before[right].append(left)
            after[left].append(right)

    for node in range(len(targets)):
        columns[ranks[node]].append(node)
    for node, those in enumerate(targets):
        for target in those:
            last = node
            for rank in range(ranks[node] + 1, ranks[target]):
                point = points.get((target, rank))
                if point is None:
                    point = points[target, rank] = len(before)
                    before.append([])
                    after.append([])
                    columns[rank].append(point)
                join(last, point)
                last = point
            join(last, target)
    return columns, before, after


def _trunks(
    columns: Sequence[Sequence[int]], after: Sequence[Sequence[int]], ranks: Sequence[int]
) -> dict[int, tuple[int, int]]:
    """For each point of a trunk, the node that it leads to and its column."""
    found: dict[int, tuple[int, int]] = {}
    for rank in range(len(columns) - 1, -1, -1):
        for i in columns[rank]:
            if i >= len(ranks):
                [right] = after[i]
                found[i] = (found[right][0] if right in found else right, rank)
    return found


def _order(
    columns: list[list[int]], before: Sequence[Sequence[int]], after: Sequence[Sequence[int]]
) -> int:
    """Put each column into an order with few crossings; how many are left."""
    best = [list(column) for column in columns]
    fewest = _crossings(columns, after)
    still = 0
    for sweep in range(_SWEEPS):
        if not fewest or still == _STILL:
            break
        forward = sweep % 2 == 0
        across = range(1, len(columns)) if forward else range(len(columns) - 2, -1, -1)
        for c in across:
            beside = columns[c - 1 if forward else c + 1]
            at = {node: i for i, node in enumerate(beside)}
            near = before if forward else after
            here = {node: i for i, node in enumerate(columns[c])}
            scale = len(beside) / max(len(here), 1)
            key = {
                node: sum(at[n] for n in near[node]) / len(near[node]) if near[node] else i * scale
                for node, i in here.items()
            }
            columns[c].sort(key=lambda node: (key[node], here[node]))
        count = _crossings(columns, after)
        still += 1
        if count < fewest:
            fewest, still = count, 0
            best = [list(column) for column in columns]
    columns[:] = best
    return fewest


def _crossings(columns: Sequence[Sequence[int]], after: Sequence[Sequence[int]]) -> int:
    """How many pairs of lines cross between neighbouring columns."""
    count = 0
    for left, right in itertools.pairwise(columns):
        at = {node: i for i, node in enumerate(right)}
        seen: list[int] = []
        for node in left:
            ends = sorted(at[n] for n in after[node])
            count += sum(len(seen) - bisect.bisect_right(seen, end) for end in ends)
            for end in ends:
                bisect.insort(seen, end)
    return count


def _tall(heights: Sequence[float], i: int) -> float:
    return heights[i] if i < len(heights) else 0.0


def _heights(
    columns: Sequence[Sequence[int]], before: Sequence[Sequence[int]],
    after: Sequence[Sequence[int]], heights: Sequence[float],
) -> list[float]:  # fmt: skip
    """The middle of each node and point: near its neighbours, in order, without overlap."""
    centres = [0.0] * len(before)
    steps: list[list[float]] = []
    for column in columns:
        step = [0.0]
        for upper, lower in itertools.pairwise(column):
            both = upper < len(heights) and lower < len(heights)
            gap = _GAP if both else _LINE_GAP
            step.append(step[-1] + (_tall(heights, upper) + _tall(heights, lower)) / 2 + gap)
        steps.append(step)
        for node, y in zip(column, step, strict=True):
            centres[node] = y - step[-1] / 2
    for sweep in range(8):
        forward = sweep % 2 == 0
        for c in range(len(columns)) if forward else range(len(columns) - 1, -1, -1):
            wanted = []
            for node, down in zip(columns[c], steps[c], strict=True):
                near = [*before[node], *after[node]]
                mean = sum(centres[n] for n in near) / len(near) if near else centres[node]
                wanted.append(mean - down)
            for node, y, down in zip(columns[c], isotonic(wanted), steps[c], strict=True):
                centres[node] = y + down
    return centres


def isotonic(values: Sequence[float]) -> list[float]:
    """The ascending numbers nearest to these by least squares (pool adjacent violators).

    >>> isotonic([1, 3, 2, 4])
    [1.0, 2.5, 2.5, 4.0]
    """
    pools: list[tuple[float, int]] = []
    for value in values:
        total, count = float(value), 1
        while pools and pools[-1][0] / pools[-1][1] >= total / count:
            total, count = total + pools[-1][0], count + pools[-1][1]
            pools.pop()
        pools.append((total, count))
    return [total / count for total, count in pools for _ in range(count)]
