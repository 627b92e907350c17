"""Layers laid over each other, by arrays: what each entry changes, what is seen, what hides it.

    laid = lay_over(paths, kinds, starts)
    laid.visible, laid.previous, laid.hidden_by

The rules are those of `nbdock.filetree.overlay`, which is the oracle of the tests: everything by
name, whiteouts mean lower layers only, later entries win, what is no directory has nothing below
it. That one makes a tree of objects; this one numbers the paths and works on a layer at a time, so
that a million entries take seconds and no objects.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from nbdock.tables.layerentries import Kind
from nbdock.tables.pathorder import PathOrder

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["REASONS", "Overlaid", "Reason", "lay_over"]

Rows = npt.NDArray[np.int64]

REASONS: Final = ("overwritten", "deleted", "directory deleted", "directory emptied", "replaced")
"""Why an entry is not seen: another of its path; a whiteout of it, of a directory above it, an
opaque one; or something took the place of a directory above it (or below it)."""


class Reason:
    """The numbers that code speaks of by name."""

    OVERWRITTEN: Final = 0
    DELETED: Final = 1
    DIRECTORY_DELETED: Final = 2
    EMPTIED: Final = 3
    REPLACED: Final = 4


@dataclasses.dataclass(frozen=True)
class Overlaid:
    """What becomes of the entries of all layers; rows are numbered through, the lowest layer first.

    Attributes
    ----------
    visible
        Whether a container sees the entry.
    previous
        The row that is seen at the same path before the entry's layer comes; -1 for none.
    hidden_by
        The row that hides the entry; -1 for what is visible, and for whiteouts.
    reason
        Why it is hidden: a place in `REASONS`; -1 as above.
    order
        The paths in the order of a tree.
    """

    visible: npt.NDArray[np.bool_]
    previous: Rows
    hidden_by: Rows
    reason: npt.NDArray[np.int8]
    order: PathOrder


def lay_over(paths: pa.LargeBinaryArray, kinds: npt.NDArray[np.int8], starts: Rows) -> Overlaid:
    """Lay layers over each other.

    Parameters
    ----------
    paths, kinds
        Of all entries (see `nbdock.tables.layerentries`), the lowest layer first.
    starts
        Where each layer begins, and the number of all entries.
    """
    state = _State(PathOrder(paths), kinds)
    for first, last in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        state.add(first, last)
    visible = np.zeros(len(kinds), np.bool_)
    visible[state.seen[state.seen >= 0]] = True
    return Overlaid(visible, state.previous, state.hidden_by, state.reason, state.order)


class _State:
    """The tree while layers are added: for each path the row that is seen there."""

    def __init__(self, order: PathOrder, kinds: npt.NDArray[np.int8]) -> None:
        rows, paths = len(kinds), order.count
        self.order = order
        self.kinds = kinds
        self.seen = np.full(paths, -1, np.int64)
        self.previous = np.full(rows, -1, np.int64)
        self.hidden_by = np.full(rows, -1, np.int64)
        self.reason = np.full(rows, -1, np.int8)
        self._latest = np.full(paths, -1, np.int64)
        hiding = (kinds == Kind.WHITEOUT) | (kinds == Kind.OPAQUE)
        leaves = np.zeros(paths, np.bool_)
        leaves[order.numbers[(kinds < Kind.WHITEOUT) & (kinds != Kind.DIRECTORY)]] = True
        # Paths that are a file or link in one layer, and have something below them in another.
        both = order.with_others_below(leaves)
        hidden = np.unique(order.numbers[hiding]).tolist()
        ends, nearest = order.walk(hidden, both)
        self._end = np.arange(1, paths + 1)
        self._end[list(ends)] = list(ends.values())
        self._has_both = np.zeros(paths, np.bool_)
        self._has_both[both] = True
        self._above = np.full(paths, -1, np.int64)
        self._above[list(nearest)] = list(nearest.values())
        self._any_both = bool(both)

    def add(self, first: int, last: int) -> None:
        rows = np.arange(first, last)
        kinds, paths = self.kinds[first:last], self.order.numbers[first:last]
        self.previous[first:last] = self.seen[paths]
        self._hide_below(rows, kinds, paths)
        put = kinds < Kind.WHITEOUT
        rows, kinds, paths = rows[put], kinds[put], paths[put]
        alive = np.ones(len(rows), np.bool_)
        if self._any_both:
            self._replace(rows, kinds, paths, alive)
        self._latest[paths] = rows  # of several, numpy keeps the last
        newest = self._latest[paths]
        is_newest = newest == rows
        self._hide(rows[~is_newest], newest[~is_newest], Reason.OVERWRITTEN)
        self._hide(self.seen[paths[is_newest]], rows[is_newest], Reason.OVERWRITTEN)
        self.seen[paths[is_newest]] = np.where(alive[is_newest], rows[is_newest], -1)

    def _hide(self, rows: Rows, by: Rows, reason: int) -> None:
        there = rows >= 0
        self.hidden_by[rows[there]] = by[there]
        self.reason[rows[there]] = reason

    def _clear(self, starts: Rows, ends: Rows, by: Rows, reason: int) -> None:
        """Hide all that is seen in ranges of paths, which may lie in each other."""
        order = np.lexsort((-ends, starts))
        starts, ends, by = starts[order], ends[order], by[order]
        inside = np.zeros(len(starts), np.bool_)
        inside[1:] = np.maximum.accumulate(ends)[:-1] >= ends[1:]
        wanted = ~inside & (ends > starts)
        starts, lengths, by = starts[wanted], (ends - starts)[wanted], by[wanted]
        offsets = np.cumsum(lengths) - lengths
        paths = np.repeat(starts - offsets, lengths) + np.arange(lengths.sum())
        self._hide(self.seen[paths], np.repeat(by, lengths), reason)
        self.seen[paths] = -1

    def _hide_below(self, rows: Rows, kinds: npt.NDArray[np.int8], paths: Rows) -> None:
        """What the whiteouts of a layer hide."""
        named, opaque = kinds == Kind.WHITEOUT, kinds == Kind.OPAQUE
        if named.any():
            hidden, by = paths[named], rows[named]
            self._hide(self.seen[hidden], by, Reason.DELETED)
            self.seen[hidden] = -1
            self._clear(hidden + 1, self._end[hidden], by, Reason.DIRECTORY_DELETED)
        if opaque.any():
            hidden = paths[opaque]
            self._clear(hidden + 1, self._end[hidden], rows[opaque], Reason.EMPTIED)

    def _replace(
        self,
        rows: Rows,
        kinds: npt.NDArray[np.int8],
        paths: Rows,
        alive: npt.NDArray[np.bool_],
    ) -> None:
        """Where files take the place of directories and directories that of files.

        Sets `alive` to false for entries that a later one of their own layer did that to.
        """
        leaf = kinds != Kind.DIRECTORY
        over = leaf & self._has_both[paths]
        # Of lower layers, all below such a file goes, and every file above an entry.
        self._clear(paths[over] + 1, self._end[paths[over]], rows[over], Reason.REPLACED)
        marks, cause = self._marks_above(paths, rows)
        there = self.seen[marks]
        gone = (there >= 0) & (self.kinds[there] != Kind.DIRECTORY) & ~np.isin(marks, paths)
        self._hide(there[gone], cause[gone], Reason.REPLACED)
        self.seen[marks[gone]] = -1
        # Of the layer itself, what comes later wins.
        places = np.unique(np.concatenate([marks, paths[over]]))
        index = {int(path): i for i, path in enumerate(places)}
        parent = [index.get(int(above), -1) for above in self._above[places]]
        none = len(places)  # the last place is for what has nothing above it
        last_file = np.full(none + 1, -1, np.int64)
        np.maximum.at(last_file, np.searchsorted(places, paths[over]), rows[over])
        mine = np.searchsorted(places, self._above[paths])
        mine[self._above[paths] < 0] = none
        last_below = np.full(none + 1, -1, np.int64)
        np.maximum.at(last_below, mine, rows)
        last_below[none] = -1
        for i in range(none):
            if parent[i] >= 0:
                last_file[i] = max(last_file[i], last_file[parent[i]])
        for i in reversed(range(none)):
            if parent[i] >= 0:
                last_below[parent[i]] = max(last_below[parent[i]], last_below[i])
        covered = last_file[mine] > rows
        self._hide(rows[covered], last_file[mine][covered], Reason.REPLACED)
        below = np.full(len(rows), -1, np.int64)
        below[over] = last_below[np.searchsorted(places, paths[over])]
        implied = below > rows
        self._hide(rows[implied], below[implied], Reason.REPLACED)
        alive[covered | implied] = False

    def _marks_above(self, paths: Rows, rows: Rows) -> tuple[Rows, Rows]:
        """The paths that are files somewhere, above some paths; and a row below each."""
        marks: list[Rows] = []
        causes: list[Rows] = []
        found, cause = self._above[paths], rows
        while (there := found >= 0).any():
            found, at = np.unique(found[there], return_index=True)
            cause = cause[there][at]
            marks.append(found)
            causes.append(cause)
            found = self._above[found]
        if not marks:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        every, at = np.unique(np.concatenate(marks), return_index=True)
        return every, np.concatenate(causes)[at]
