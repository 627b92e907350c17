"""The best ways to cut a row of things into layers: a dynamic program.

The things stand in the order of their chance per byte, and a layer is a stretch of the row. For
every number of layers the best cut is found at once.

    >>> cuts = Cuts([0, 1, 2], [100, 10, 10], [0.1, 0.3, 0.5], limit=2, extra=0)
    >>> cuts.layers(), [round(total, 1) for total in cuts.totals]
    ([[1, 2], [0]], [71.2, 20.5])
"""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["Cuts"]

_BLOCKS_PER_LAYER = 4
_BLOCKS_AT_LEAST = 200
"""Of more things than these, neighbours are one block. Count."""


class Cuts:
    """The best cuts of a row into at most 1, 2, ... `limit` layers.

    The cost of a stretch grows nearly as the quadrangle inequality says, so that the best last cut
    moves on with the end of the row: each layer takes n log n steps and not n squared. Of very
    many things, neighbours with little to tell them apart are cut as one.

    Parameters
    ----------
    row
        Numbers of the things, sorted by chance per byte.
    sizes, weights
        Of each of them the bytes, and -log(1 - p) with p its chance to change.
    limit
        How many layers there may be. Count.
    extra
        What one more layer costs when it is pulled. Bytes.

    Attributes
    ----------
    totals
        What the best cuts into at most 1, 2, ... layers cost per rebuild. Bytes.
    """

    def __init__(
        self,
        row: Sequence[int],
        sizes: Sequence[int],
        weights: Sequence[float],
        *,
        limit: int,
        extra: float,
    ) -> None:
        self.limit = limit
        self.extra = extra
        self.size, self.weight = [0.0], [0.0]
        """What all blocks before one take and weigh."""
        self.blocks: list[list[int]] = []
        self._make_blocks(row, sizes, weights)
        count, exp = len(self.blocks), math.exp
        ends = range(1, count + 1)
        best = [(self.size[j] + self.extra) * (1.0 - exp(-self.weight[j])) for j in ends]
        best.insert(0, 0.0)
        self.cuts: list[list[int]] = [[0] * (count + 1)]
        """For each number of layers and each end the beginning of the last layer, -1 if the layer
        is not used."""
        self.totals = [best[-1]]
        for layer in range(1, min(self.limit, count)):
            best = self._with_one_more(best, layer)
            self.totals.append(best[-1])

    def _make_blocks(
        self, row: Sequence[int], sizes: Sequence[int], weights: Sequence[float]
    ) -> None:
        roots = [math.sqrt(size * weight) for size, weight in zip(sizes, weights, strict=True)]
        wanted = max(_BLOCKS_AT_LEAST, _BLOCKS_PER_LAYER * self.limit)
        step = math.fsum(roots) / wanted if len(roots) > wanted else 0.0
        filled = math.inf
        for n, size, weight, root in zip(row, sizes, weights, roots, strict=True):
            if filled + root > step:
                self.blocks.append([])
                self.size.append(self.size[-1])
                self.weight.append(self.weight[-1])
                filled = 0.0
            filled += root
            self.blocks[-1].append(n)
            self.size[-1] += size
            self.weight[-1] += weight

    def _with_one_more(self, best: list[float], layer: int) -> list[float]:
        count, exp, size, weight = len(self.blocks), math.exp, self.size, self.weight
        now = best[:]  # a layer more need not be used
        cut = [-1] * (count + 1)
        waiting = [(layer + 1, count, layer, count - 1)]
        while waiting:
            low, high, first, last = waiting.pop()
            if low > high:
                continue
            middle = (low + high) // 2
            here, at = math.inf, first
            size_here, weight_here = size[middle] + self.extra, weight[middle]
            for i in range(first, min(last, middle - 1) + 1):
                cost = best[i] + (size_here - size[i]) * (1.0 - exp(weight[i] - weight_here))
                if cost < here:
                    here, at = cost, i
            if here < now[middle]:
                now[middle], cut[middle] = here, at
            waiting.append((low, middle - 1, first, at))
            waiting.append((middle + 1, high, at, last))
        self.cuts.append(cut)
        return now

    def layers(self) -> list[list[int]]:
        """The best cut of all."""
        found: list[list[int]] = []
        end = len(self.blocks)
        for cut in reversed(self.cuts):
            if end and cut[end] >= 0:
                found.append([n for block in self.blocks[cut[end] : end] for n in block])
                end = cut[end]
        return found
