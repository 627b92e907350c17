"""What takes the room in a directory of an image, as a treemap: boxes in boxes.

    tiles = tiles_of(tree, FileFilter(), tree.node(b"usr"), Box(0, 0, 720, 320), shade)

A box of a directory holds boxes of what is in it while there is room to see them. What is too small
to be seen is put together. The areas in a box are as the sizes are; only the names of directories
take room of their own.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Callable
from typing import Any

import numpy as np

from nbdock.notebook.explore.treemap import Box, squarified
from nbdock.tables import FileFilter, FileTree

__all__ = ["OTHERS", "Shade", "Tile", "tiles_of"]

OTHERS = -1
"""The node of what is put together."""

_HEAD, _EDGE = 15.0, 2.0
_SMALLEST = 60.0
"""In square pixels: smaller boxes can be neither seen nor hit."""
_ROOM = (56.0, 40.0)
"""How wide and high a directory must be to show what is in it."""
_AT_ONCE = 200


@dataclasses.dataclass(frozen=True)
class Tile:
    """A box of a treemap.

    Attributes
    ----------
    node, row
        What it stands for, as in `Items`; `OTHERS` for several of them put together.
    name
        Its path, from the box that it is in: of directories that hold nothing but one another
        only the innermost has a box.
    box, size_bytes, count
        Where it is; bytes and entries that it stands for.
    depth
        How many boxes it is in.
    is_directory, is_parent
        Whether it can be entered, and whether boxes of what is in it follow.
    shade
        The number of its colour (see `Shade`).
    """

    node: int
    row: int
    name: bytes
    box: Box
    size_bytes: int
    count: int
    depth: int
    is_directory: bool
    is_parent: bool
    shade: int


Shade = Callable[[Any], int]
"""The number of the colour of some rows (an array), by what takes the most room among them."""


def tiles_of(
    tree: FileTree,
    filter: FileFilter,  # noqa: A002 - the best name there is
    node: int,
    box: Box,
    shade: Shade,
    *,
    limit: int = 400,
    deepest: int = 8,
) -> list[Tile]:
    """The boxes of a directory, larger ones before those in them.

    Parameters
    ----------
    tree, filter, node
        What is shown. What a filter searches for is shown in its directories.
    box
        Where, in pixels.
    shade
        Gives each box its colour.
    limit, deepest
        The most boxes, and how many in each other.
    """
    found: list[Tile] = []
    # The largest are divided first, so that the limit cuts off what is small. What is in the
    # queue: minus the area, the tile that is divided, its node, what it is divided in, how deep.
    queue: list[tuple[float, int, int, Box, int]] = [(0.0, -1, node, box, 0)]
    while queue and len(found) < limit:
        _, divided, at, inside, depth = heapq.heappop(queue)
        if divided >= 0:
            found[divided] = dataclasses.replace(found[divided], is_parent=True)
        for tile in _divided(tree, filter, at, inside, depth, shade):
            width, height = tile.box.width, tile.box.height
            if tile.is_directory and width >= _ROOM[0] and height >= _ROOM[1] and depth < deepest:
                inner = tile.box.inner(top=_HEAD, side=_EDGE)
                heapq.heappush(queue, (-width * height, len(found), tile.node, inner, depth + 1))
            found.append(tile)
    return found


def _divided(
    tree: FileTree,
    filter: FileFilter,  # noqa: A002
    node: int,
    box: Box,
    depth: int,
    shade: Shade,
) -> list[Tile]:
    items = tree.contents(filter, node)
    # Boxes that would be too small are put together.
    total, area = int(items.sizes.sum()), box.width * box.height
    large = np.flatnonzero(items.sizes * area >= _SMALLEST * max(total, 1))
    shown = items.take(large[np.argsort(-items.sizes[large], kind="stable")][:_AT_ONCE])
    sizes = shown.sizes.tolist()
    left = total - sum(sizes)
    if left > 0:
        sizes.append(left)
    places = sorted(range(len(sizes)), key=lambda place: -sizes[place])
    boxes = squarified([sizes[place] for place in places], box)
    box_of = dict(zip(places, boxes, strict=True))
    tiles = []
    for place in range(len(shown)):
        at, row = int(shown.nodes[place]), int(shown.rows[place])
        is_directory = bool(shown.is_directory[place])
        if is_directory:
            at = _innermost(tree, filter, at)
        rows = tree.below(filter, at) if is_directory else np.array([row])
        name = tree.path(at)[len(tree.path(node)) :].lstrip(b"/")
        tiles.append(
            Tile(
                at, row, name, box_of[place], sizes[place], int(shown.counts[place]), depth,
                is_directory, is_parent=False, shade=shade(rows),
            )
        )  # fmt: skip
    if left > 0:
        count = int(items.counts[items.sizes > 0].sum() - shown.counts.sum())
        tiles.append(
            Tile(
                OTHERS, -1, b"", box_of[len(shown)], left, count, depth,
                is_directory=False, is_parent=False, shade=-1,
            )
        )  # fmt: skip
    return tiles


def _innermost(tree: FileTree, filter: FileFilter, node: int) -> int:  # noqa: A002
    """The directory that a directory comes down to, if it holds nothing but that."""
    while True:
        items = tree.contents(filter, node)
        some = np.flatnonzero(items.sizes)
        if len(some) != 1 or not items.is_directory[some[0]]:
            return node
        node = int(items.nodes[some[0]])
