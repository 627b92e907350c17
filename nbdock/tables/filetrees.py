"""The files of an image as a tree in arrays, which gives pages of a million files at once.

    tree = FileTree(read_files(image))
    page = tree.page(FileFilter(search="*.so"), sort="size", first=0, last=50)
    page.total, tree.path(page.items.nodes[0])

What is below a directory is one range of nodes (see `FileNodes`). A filter is a mask of rows (see
`FileFilter`), and with the sums of its sizes along the nodes the size of any directory is one
subtraction. So only what is asked for is ever made into objects: the items of the directories that
are open.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from typing import Literal

import numpy as np
import numpy.typing as npt

from nbdock.tables.filefilters import FileFilter
from nbdock.tables.filenodes import FileNodes, Mask
from nbdock.tables.imagefiles import CHANGES, ImageFiles
from nbdock.tables.layerentries import Kind
from nbdock.tables.overlaying import Rows
from nbdock.tables.waste import Waste, waste_of

__all__ = ["FileTree", "Items", "Page"]

_FILTERS_KEPT, _DIRECTORIES_KEPT = 8, 512
_STABLY_SORTED = 100_000


@dataclasses.dataclass(frozen=True, eq=False)
class Items:
    """What is listed: directories, and entries that are none.

    Attributes
    ----------
    nodes
        The path of each.
    rows
        The row of each in the table; -1 for a directory that has no row there.
    is_directory
        Whether an item can be opened.
    sizes
        Bytes: of a directory, of all that is below it.
    counts
        How many entries that are no directories it stands for.
    depths
        How deep below what is listed.
    """

    nodes: Rows
    rows: Rows
    is_directory: Mask
    sizes: Rows
    counts: Rows
    depths: Rows

    def __len__(self) -> int:
        return len(self.nodes)

    def take(self, places: Rows | Mask | slice) -> Items:
        """Some of them."""
        return Items(*(getattr(self, field.name)[places] for field in dataclasses.fields(self)))


@dataclasses.dataclass(frozen=True, eq=False)
class Page:
    """Some items of a list, and how many that has."""

    total: int
    items: Items


@dataclasses.dataclass(frozen=True, eq=False)
class _Sums:
    """Along the nodes: of all entries of a filter before a node."""

    sizes: Rows
    counts: Rows
    rows: Rows


_Segment = tuple[Items, Rows, int, int, int]
"""Items, their order, from and to before which place in it, and how deep."""


class FileTree(FileNodes):
    """All entries of an image, by path: the nodes of their paths, and the rows at those.

    Attributes
    ----------
    files
        The entries.
    """

    def __init__(self, files: ImageFiles) -> None:
        super().__init__(files.column("path"))
        self.files = files
        nodes = len(self.parents)
        # Rows by node, and by the node above; nodes by the node above.
        self._by_node = np.argsort(self.node_of, kind="stable")
        self._first_row = np.searchsorted(self.node_of[self._by_node], np.arange(nodes + 1))
        above = self.parents[self.node_of]
        self._by_parent = self._by_node[np.argsort(above[self._by_node], kind="stable")]
        self._first_below = np.searchsorted(above[self._by_parent], np.arange(nodes + 1))
        self._children = np.argsort(self.parents, kind="stable")
        self._first_child = np.searchsorted(self.parents[self._children], np.arange(nodes + 1))
        few, many = functools.lru_cache(_FILTERS_KEPT), functools.lru_cache(_DIRECTORIES_KEPT)
        self._mask, self._sums = few(self._mask_of), few(self._sums_of)
        self._matches, self._flat = few(self.found), few(self._flattened)
        self._list, self._order_in = many(self._list_of), many(self._order_of)
        self.contents = many(self._in)
        """What of a filter is in a directory, by name: ``contents(filter, node)``."""

    # Rows

    @functools.cached_property
    def waste(self) -> Waste:
        """What is of no use, and why."""
        return waste_of(self.files)

    @functools.cached_property
    def waste_reason(self) -> npt.NDArray[np.int8]:
        """Why each row is of no use, a place in `WASTE_REASONS`; -1 for what is of use."""
        found = np.full(len(self.node_of), -1, np.int8)
        found[self.waste.rows] = self.waste.reasons
        return found

    @functools.cached_property
    def wasted_by(self) -> Rows:
        """The row that made each row waste; -1 for what is of use."""
        found = np.full(len(self.node_of), -1, np.int64)
        found[self.waste.rows] = self.waste.by
        return found

    def visible(self, layer: int | None = None) -> Mask:
        """The rows that a container of the layers up to one sees; by default of all."""
        laid = self.files.laid
        if layer is None:
            return laid.visible
        by = laid.hidden_by
        hidden = (by >= 0) & (self.files.layer[by] <= layer)
        return (self.files.layer <= layer) & (self.files.kinds < Kind.WHITEOUT) & ~hidden

    def mask(self, filter: FileFilter) -> Mask:  # noqa: A002 - the best name there is
        """The rows that a filter lets through."""
        return self._mask(filter)

    def _mask_of(self, filter: FileFilter) -> Mask:  # noqa: A002
        files, layer = self.files, filter.layer
        if filter.is_seen:
            found = self.visible(layer)
        elif layer is None:
            found = np.ones(len(self.node_of), np.bool_)
        else:
            found = files.layer == layer if filter.only else files.layer <= layer
        if filter.change == "wasted":
            found = found & (self.waste_reason >= 0)
        elif filter.change:
            found = found & (files.changes == CHANGES.index(filter.change))
        if filter.search:
            found = found & self._matches(filter.search)[self.node_of]
        return found

    def _sums_of(self, filter: FileFilter) -> _Sums:  # noqa: A002
        rows = np.flatnonzero(self.mask(filter))
        nodes = self.node_of[rows]
        entries = nodes[self.files.kinds[rows] != Kind.DIRECTORY]
        # Sums of weights are floats, exact below 2 ** 53.
        sizes = np.bincount(nodes, self.files.sizes[rows], len(self.parents)).astype(np.int64)
        return _Sums(
            np.concatenate([[0], np.cumsum(sizes)]),
            _before(entries, len(self.parents)),
            _before(nodes, len(self.parents)),
        )

    def below(self, filter: FileFilter, node: int, *, itself: bool = True) -> Rows:  # noqa: A002
        """The rows of a filter at a node and below it, in the order of the tree."""
        start = node if itself else node + 1
        rows = self._by_node[self._first_row[start] : self._first_row[self.ends[node]]]
        found: Rows = rows[self.mask(filter)[rows]]
        return found

    def rows_at(self, node: int) -> Rows:
        """All rows of a path, the lowest layer first."""
        return self._by_node[self._first_row[node] : self._first_row[node + 1]]

    def size(self, filter: FileFilter, node: int = 0) -> int:  # noqa: A002
        """Bytes of all entries of a filter at a node and below it."""
        sums = self._sums(filter).sizes
        return int(sums[self.ends[node]] - sums[node])

    def count(self, filter: FileFilter, node: int = 0) -> int:  # noqa: A002
        """How many entries that are no directories are there."""
        sums = self._sums(filter).counts
        return int(sums[self.ends[node]] - sums[node])

    @functools.cached_property
    def is_entry(self) -> Mask:
        """The rows that count as files: no directories, whiteouts or reserved names."""
        kinds = self.files.kinds
        found: Mask = (kinds != Kind.DIRECTORY) & (kinds < Kind.WHITEOUT)
        return found

    # Lists

    def _list_of(self, filter: FileFilter, node: int) -> Items:  # noqa: A002
        return self._all_below(filter, node) if filter.search else self.contents(filter, node)

    def _order_of(
        self,
        filter: FileFilter,  # noqa: A002
        node: int,
        sort: str,
        descending: bool,
    ) -> Rows:
        """In which order the items of a list are shown."""
        found = self._list(filter, node)
        if sort in ("size", "count"):
            values = found.sizes if sort == "size" else found.counts
            # What is equal stays in the order of names, unless that takes too long.
            kind: Literal["stable", "quicksort"]
            kind = "stable" if len(found) <= _STABLY_SORTED else "quicksort"
            return np.argsort(-values if descending else values, kind=kind)
        order = np.arange(len(found))[:: -1 if descending else 1]
        if filter.search:
            return order
        first = found.is_directory[order]
        return np.concatenate([order[first], order[~first]])

    def items(
        self,
        filter: FileFilter,  # noqa: A002
        node: int = 0,
        *,
        sort: str = "name",
        descending: bool = False,
    ) -> Items:
        """What is in a directory; of a filter that searches, what is found below it."""
        return self._list(filter, node).take(self._order_in(filter, node, sort, descending))

    def _in(self, filter: FileFilter, node: int) -> Items:  # noqa: A002
        """What is in a directory, by name."""
        mask, sums = self.mask(filter), self._sums(filter)
        rows = self._by_parent[self._first_below[node] : self._first_below[node + 1]]
        rows = rows[mask[rows]]
        is_directory = self.files.kinds[rows] == Kind.DIRECTORY
        entries, own = rows[~is_directory], rows[is_directory]
        children = self._children[self._first_child[node] : self._first_child[node + 1]]
        filled = children[sums.rows[self.ends[children]] > sums.rows[children + 1]]
        directories = np.union1d(filled, self.node_of[own])
        row_of = np.full(len(directories), -1, np.int64)
        row_of[np.searchsorted(directories, self.node_of[own])] = own  # of several, the last
        nodes = np.concatenate([directories, self.node_of[entries]])
        order = np.argsort(nodes, kind="stable")
        return self._items(
            nodes[order],
            np.concatenate([row_of, entries])[order],
            (np.arange(len(nodes)) < len(directories))[order],
            sums,
        )

    def _all_below(self, filter: FileFilter, node: int) -> Items:  # noqa: A002
        """What a search finds below a directory, by path."""
        rows = self.below(filter, node, itself=False)
        nodes, is_directory = self.node_of[rows], self.files.kinds[rows] == Kind.DIRECTORY
        again = np.zeros(len(rows), np.bool_)
        again[:-1] = is_directory[:-1] & is_directory[1:] & (nodes[:-1] == nodes[1:])
        if again.any():
            nodes, rows, is_directory = nodes[~again], rows[~again], is_directory[~again]
        plain = FileFilter(filter.layer, filter.only, filter.change)
        return self._items(nodes, rows, is_directory, self._sums(plain))

    def _items(self, nodes: Rows, rows: Rows, is_directory: Mask, sums: _Sums) -> Items:
        sizes, counts = self.files.sizes[rows], np.ones(len(rows), np.int64)
        directories = nodes[is_directory]
        after = self.ends[directories]
        sizes[is_directory] = sums.sizes[after] - sums.sizes[directories + 1]
        counts[is_directory] = sums.counts[after] - sums.counts[directories + 1]
        return Items(nodes, rows, is_directory, sizes, counts, np.zeros(len(nodes), np.int64))

    def page(
        self,
        filter: FileFilter,  # noqa: A002
        *,
        opened: Iterable[int] = (),
        sort: str = "name",
        descending: bool = False,
        first: int = 0,
        last: int = 100,
    ) -> Page:
        """Some lines of the list in which some directories are open, their items below them.

        Parameters
        ----------
        opened
            Nodes; those that are not seen, as one above them is closed, do nothing.
        sort, descending
            By ``name`` (directories first), ``size`` or ``count``. What a search finds is listed
            by its whole path.
        first, last
            From which line to before which.
        """
        starts, segments = self._flat(filter, frozenset(opened), sort, descending)
        total = int(starts[-1])
        first, last = max(0, first), min(last, total)
        parts: list[Items] = []
        place = int(np.searchsorted(starts, first, "right")) - 1
        while place < len(segments) and starts[place] < last:
            items, order, begin, end, depth = segments[place]
            skip = max(0, first - int(starts[place]))
            until = min(end, begin + last - int(starts[place]))
            part = items.take(order[begin + skip : until])
            parts.append(dataclasses.replace(part, depths=np.full(len(part), depth)))
            place += 1
        return Page(total, _joined(parts))

    def place(
        self,
        filter: FileFilter,  # noqa: A002
        node: int,
        *,
        opened: Iterable[int] = (),
        sort: str = "name",
        descending: bool = False,
    ) -> int | None:
        """On which line of that list a path stands; None if on none."""
        starts, segments = self._flat(filter, frozenset(opened), sort, descending)
        for start, (items, order, begin, end, _) in zip(starts, segments, strict=False):
            found = np.flatnonzero(items.nodes[order[begin:end]] == node)
            if len(found):
                return int(start + found[0])
        return None

    def _flattened(
        self,
        filter: FileFilter,  # noqa: A002
        opened: frozenset[int],
        sort: str,
        descending: bool,
    ) -> tuple[Rows, list[_Segment]]:
        """The list as pieces of directories, and the line where each begins."""
        wanted = np.array(sorted(opened), np.int64)
        segments: list[_Segment] = []

        def begun(node: int) -> tuple[Items, Rows, int, list[int]]:
            items = self._list(filter, node)
            order = self._order_in(filter, node, sort, descending)
            is_open = items.is_directory & np.isin(items.nodes, wanted)
            places = np.flatnonzero(is_open[order]) if is_open.any() else wanted[:0]
            return items, order, 0, places.tolist()[::-1]

        # What is still to be done: items, their order, the next of them, the open ones among them.
        stack = [begun(0)]
        while stack:
            items, order, at, places = stack[-1]
            depth = len(stack) - 1
            if not places or filter.search:
                segments.append((items, order, at, len(items), depth))
                stack.pop()
                continue
            place = places.pop()
            segments.append((items, order, at, place + 1, depth))
            stack[-1] = (items, order, place + 1, places)
            stack.append(begun(int(items.nodes[order[place]])))
        lengths = [end - begin for _, _, begin, end, _ in segments]
        return np.cumsum([0, *lengths]), segments


def _joined(parts: list[Items]) -> Items:
    if not parts:
        none = np.empty(0, np.int64)
        return Items(none, none, np.empty(0, np.bool_), none, none, none)
    names = [field.name for field in dataclasses.fields(Items)]
    return Items(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _before(nodes: Rows, count: int) -> Rows:
    """How many of some nodes are before each."""
    found: Rows = np.concatenate([[0], np.cumsum(np.bincount(nodes, minlength=count))])
    return found
