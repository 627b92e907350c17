"""The paths of an image as nodes of a tree, numbered so that what is below one is one range.

>>> import pyarrow as pa
>>> nodes = FileNodes(pa.array([b"usr/bin/sh", b"etc"], pa.large_binary()))
>>> [nodes.path(node) for node in range(len(nodes.parents))]
[b'', b'etc', b'usr', b'usr/bin', b'usr/bin/sh']
>>> nodes.parents.tolist(), nodes.ends.tolist(), nodes.node_of.tolist()
([-1, 0, 0, 2, 3], [5, 2, 5, 5, 5], [4, 1])
>>> nodes.found("S?").tolist()
[False, False, False, False, False]

Every path is a node, and every directory above one, whether it is among the paths or not.
"""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nbdock.tables.arrowtext import to_paths, to_text
from nbdock.tables.filefilters import Pattern
from nbdock.tables.overlaying import Rows
from nbdock.tables.pathorder import PathOrder

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FileNodes", "Mask"]

Mask = npt.NDArray[np.bool_]

_DEEPEST, _LONGEST_BYTES = 100, 4096
"""Beyond these, what is left of a path is one name: nobody climbs a tree of ten thousand levels,
and the names of all of them would be as large as the square of the path."""


class FileNodes:
    """The nodes of some paths, and what is searched for among them.

    Attributes
    ----------
    node_of
        The node of each path.
    parents
        Of each node, -1 for the root, which is node 0.
    ends
        Of each node, the number after the last below it.
    """

    def __init__(self, paths: pa.LargeBinaryArray) -> None:
        self._order = PathOrder(_with_parents(paths))
        self.node_of: Rows = self._order.numbers[: len(paths)]
        self.parents, self.ends = _tree(self._order.depths)

    def path(self, node: int) -> bytes:
        """The path of a node, without a slash before it."""
        return self._order.path(node)

    def node(self, path: bytes) -> int | None:
        """The node of a path."""
        return self._order.find(path.strip(b"/"))

    def above(self, node: int) -> list[int]:
        """The nodes above one, the root first."""
        found: list[int] = []
        while (node := int(self.parents[node])) >= 0:
            found.append(node)
        return found[::-1]

    @functools.cached_property
    def _texts(self) -> tuple[pa.Array, pa.Array]:
        """The paths of nodes as text, as they are and in small letters."""
        return _both_cases(to_paths(self._order.paths()))

    @functools.cached_property
    def _names(self) -> tuple[pa.Array, pa.Array]:
        """The last parts of the paths of nodes, the same way."""
        return _both_cases(to_text(self._order.names(self.parents)))

    def found(self, search: str) -> Mask:
        """Which nodes a search finds.

        Names are a third of paths. So they are searched first, for what has no slash in it, and
        what is below a name that has it, has it, too.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        pattern = Pattern(search)
        names = self._names[pattern.ignores_case]
        if pattern.is_of_names:
            return self._glob(names, pattern.literal, pattern.name_regex)
        part = max(pattern.literal.split("/"), key=len)
        may = self._or_above(_has(names, part)) if part else np.ones(len(names), np.bool_)
        if not pattern.is_glob and "/" not in search:
            return may
        places = np.flatnonzero(may)
        paths = self._texts[pattern.ignores_case].take(pa.array(places))
        may[places] = (
            _true(pc.match_substring_regex(paths, f"^(?:{pattern.regex})$"))
            if pattern.is_glob
            else _has(paths, search)
        )
        return may

    def _glob(self, names: pa.Array, literal: str, regex: str) -> Mask:
        """The names that match; only those that have what each must have are looked at."""
        import pyarrow as pa
        import pyarrow.compute as pc

        may = _has(names, literal)
        places = np.flatnonzero(may)
        those = names.take(pa.array(places))
        may[places] = _true(pc.match_substring_regex(those, f"^(?:{regex})$"))
        return may

    def _or_above(self, found: Mask) -> Mask:
        """The nodes that are found, and all that is below them."""
        places = np.flatnonzero(found)
        steps = np.zeros(len(found) + 1, np.int32)
        np.add.at(steps, places, 1)
        np.add.at(steps, self.ends[places], -1)
        result: Mask = np.cumsum(steps[:-1]) > 0
        return result


def _both_cases(texts: pa.Array) -> tuple[pa.Array, pa.Array]:
    import pyarrow.compute as pc

    return texts, pc.utf8_lower(texts)


def _has(texts: pa.Array, part: str) -> Mask:
    import pyarrow.compute as pc

    return _true(pc.match_substring(texts, part))


def _true(found: pa.BooleanArray) -> Mask:
    mask: Mask = found.to_numpy(zero_copy_only=False)
    return mask


def _with_parents(paths: pa.LargeBinaryArray) -> pa.LargeBinaryArray:
    """Paths, and after them every directory above one that is not among them; the root is one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    paths = _shallow(paths)
    parts = [paths, pa.array([b""], pa.large_binary())]
    level = pc.unique(paths)
    while len(level):
        above = pc.unique(pc.replace_substring_regex(level, r"(?:^|/)[^/]*$", ""))
        level = above.filter(pc.greater(pc.binary_length(above), 0))
        parts.append(level)
    return pa.concat_arrays(parts)


def _shallow(paths: pa.LargeBinaryArray) -> pa.LargeBinaryArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    deep = pc.greater_equal(pc.count_substring(paths, "/"), _DEEPEST)
    deep = pc.or_(deep, pc.greater(pc.binary_length(paths), _LONGEST_BYTES))
    if not pc.any(deep).as_py():
        return paths
    found = []
    for path in paths.filter(deep).to_pylist():
        end = path[:_LONGEST_BYTES].rfind(b"/")
        parts = path[: max(end, 0)].split(b"/", _DEEPEST)[:_DEEPEST]
        kept = sum(map(len, parts)) + len(parts)
        found.append(path[:kept] + path[kept:].replace(b"/", b"\x01"))
    return pc.replace_with_mask(paths, deep, pa.array(found, pa.large_binary()))


def _tree(depths: Rows) -> tuple[Rows, Rows]:
    """Of nodes in the order of a tree: the node above each, and the one after all below it."""
    count = len(depths)
    parents = np.full(count, -1, np.int64)
    sizes = np.ones(count, np.int64)
    by_depth = np.argsort(depths, kind="stable")
    bounds = np.searchsorted(depths[by_depth], np.arange(int(depths.max()) + 2))
    levels = [by_depth[a:b] for a, b in itertools.pairwise(bounds)]
    for upper, lower in itertools.pairwise(levels):
        parents[lower] = upper[np.searchsorted(upper, lower) - 1]
    for lower in reversed(levels[1:]):
        np.add.at(sizes, parents[lower], sizes[lower])
    return parents, np.arange(count) + sizes
