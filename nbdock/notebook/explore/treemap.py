"""Areas that stand for sizes: a squarified treemap (Bruls, Huizing, van Wijk, 2000).

>>> [round(box.width * box.height) for box in squarified([6, 3, 1], Box(0, 0, 20, 10))]
[120, 60, 20]
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

__all__ = ["Box", "squarified"]


@dataclasses.dataclass(frozen=True)
class Box:
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float

    def inner(self, *, top: float, side: float) -> Box:
        """What is left of it inside a border."""
        return Box(
            self.x + side,
            self.y + top,
            max(0.0, self.width - 2 * side),
            max(0.0, self.height - top - side),
        )


def squarified(sizes: Sequence[float], box: Box) -> list[Box]:
    """Boxes that fill a box, their areas as sizes are; as near to squares as that goes.

    Parameters
    ----------
    sizes
        Positive, the largest first.
    box
        What is filled.

    Returns
    -------
    list of Box
        One for each size, in their order.
    """
    total = sum(sizes)
    if not sizes or total <= 0 or box.width <= 0 or box.height <= 0:
        return [Box(box.x, box.y, 0.0, 0.0) for _ in sizes]
    scale = box.width * box.height / total
    areas = [size * scale for size in sizes]
    found: list[Box] = []
    x, y, width, height = box.x, box.y, box.width, box.height
    begin = 0
    while begin < len(areas):
        side = min(width, height)
        end, row = begin + 1, areas[begin]
        worst = _worst(row, areas[begin], areas[begin], side)
        while end < len(areas):
            longer = row + areas[end]
            ratio = _worst(longer, areas[begin], areas[end], side)
            if ratio > worst:
                break
            end, row, worst = end + 1, longer, ratio
        # The row lies along the shorter side; the last takes what rounding has left.
        is_column = width >= height
        is_last = end == len(areas)
        thick = (width if is_column else height) if is_last else row / side if side else 0.0
        at = y if is_column else x
        for area in areas[begin:end]:
            long = side * area / row if row else 0.0
            found.append(Box(x, at, thick, long) if is_column else Box(at, y, long, thick))
            at += long
        if is_column:
            x, width = x + thick, max(0.0, width - thick)
        else:
            y, height = y + thick, max(0.0, height - thick)
        begin = end
    return found


def _worst(row: float, largest: float, smallest: float, side: float) -> float:
    """How far the worst box of a row is from a square, if the row lies along a side."""
    if row <= 0 or smallest <= 0 or side <= 0:
        return float("inf")
    return max(side * side * largest / (row * row), row * row / (side * side * smallest))
