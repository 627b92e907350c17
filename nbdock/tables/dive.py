"""The efficiency that dive prints, to the last digit.

dive (``dive/filetree/efficiency.go``) looks at the leaves of each layer's own tree, by path: the
score is the sum of each path's smallest size over the sum of all its sizes, and wasted is what all
paths together hold that stand in two layers or more, the copy that is kept among them. What follows
from that: a directory that was deleted counts as no waste, nor does an opaque whiteout, nor the
same content at two paths. A whiteout of a directory counts the size of what it removes, any other
nothing. And a whiteout of what is not there ends the count of its layer (it is a bug, and its path
counts as -1 bytes); so it does here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from nbdock.tables.imagefiles import ImageFiles
from nbdock.tables.layerentries import Kind

__all__ = ["DiveCount", "count_like_dive"]

_WHITEOUT = b".wh."


@dataclasses.dataclass(frozen=True)
class DiveCount:
    """What dive counts of an image: its score (1 is best), and bytes."""

    score: float
    wasted_bytes: int


class _Node:
    """A file or directory of dive's trees."""

    __slots__ = ("children", "is_directory", "size_bytes")

    def __init__(self) -> None:
        self.children: dict[bytes, _Node] = {}
        self.size_bytes = 0
        self.is_directory = False

    def put(self, path: bytes, size_bytes: int, *, is_directory: bool) -> None:
        """Set the node at a path; parents are made."""
        node = self
        for name in path.split(b"/") if path else ():
            node = node.children.setdefault(name, _Node())
        if path:
            node.size_bytes, node.is_directory = size_bytes, is_directory

    def find(self, path: bytes) -> _Node | None:
        """The node at a path."""
        node: _Node | None = self
        for name in path.split(b"/"):
            node = node.children.get(name) if node is not None else None
        return node

    def remove(self, path: bytes) -> None:
        """Take the node at a path away, with all below it."""
        parent, _, name = path.rpartition(b"/")
        above = self.find(parent) if parent else self
        if above is not None:
            above.children.pop(name, None)

    @property
    def total_bytes(self) -> int:
        """Bytes of the node and all below it."""
        total, nodes = 0, [self]
        while nodes:
            node = nodes.pop()
            total += node.size_bytes
            nodes.extend(node.children.values())
        return total

    def leaves(self) -> Iterator[tuple[bytes, _Node]]:
        """Paths and nodes without children, in dive's order: names sorted as bytes."""
        stack = [(name, node) for name, node in sorted(self.children.items(), reverse=True)]
        while stack:
            path, node = stack.pop()
            if not node.children:
                yield path, node
            below = sorted(node.children.items(), reverse=True)
            stack.extend((path + b"/" + name, child) for name, child in below)


def count_like_dive(files: ImageFiles) -> DiveCount:
    """Count an image as dive does."""
    paths = files.column("path").to_pylist()
    kinds, sizes = files.kinds.tolist(), files.sizes.tolist()
    counts: dict[bytes, _PathCount] = {}
    stacked = _Node()
    # The tree below is needed for whiteouts only.
    last_whiteout = max((r for r, kind in enumerate(kinds) if kind == Kind.WHITEOUT), default=-1)
    for first, last in zip(files.starts[:-1].tolist(), files.starts[1:].tolist(), strict=True):
        tree = _Node()
        for row in range(first, last):
            _put(tree, paths[row], kinds[row], sizes[row])
        _count_layer(tree, stacked, counts)
        if last <= last_whiteout:
            _stack(stacked, tree)
    smallest = sum(count.smallest for count in counts.values())
    every = sum(count.size_bytes for count in counts.values())
    wasted = sum(count.size_bytes for count in counts.values() if count.layers >= 2)
    return DiveCount(smallest / every if every else 1.0, wasted)


class _PathCount:
    """What is counted of one path."""

    __slots__ = ("layers", "size_bytes", "smallest")

    def __init__(self) -> None:
        self.smallest = -1
        self.size_bytes = self.layers = 0


def _put(tree: _Node, path: bytes, kind: int, size_bytes: int) -> None:
    directory, slash, name = path.rpartition(b"/")
    if kind == Kind.WHITEOUT:
        tree.put(directory + slash + _WHITEOUT + name, 0, is_directory=False)
    elif kind == Kind.OPAQUE:
        # dive makes the directory on the way, and leaves its mark out.
        node = tree
        for part in path.split(b"/") if path else ():
            node = node.children.setdefault(part, _Node())
    else:
        tree.put(path, size_bytes, is_directory=kind == Kind.DIRECTORY)


def _count_layer(tree: _Node, below: _Node, counts: dict[bytes, _PathCount]) -> None:
    for path, node in tree.leaves():
        directory, slash, name = path.rpartition(b"/")
        is_whiteout = name.startswith(_WHITEOUT)
        if is_whiteout:
            path = directory + slash + name.removeprefix(_WHITEOUT)
        count = counts.setdefault(path, _PathCount())
        size_bytes = node.size_bytes
        if is_whiteout:
            removed = below.find(path)
            if removed is None:
                return
            size_bytes = removed.total_bytes if removed.is_directory else 0
        count.size_bytes += size_bytes
        count.layers += 1
        count.smallest = size_bytes if count.smallest < 0 else min(count.smallest, size_bytes)


def _stack(stacked: _Node, upper: _Node) -> None:
    """Put a layer's tree over those below it, children before their parents, as dive does."""
    stack = [(name, node, False) for name, node in sorted(upper.children.items(), reverse=True)]
    while stack:
        path, node, is_done = stack.pop()
        if not is_done:
            stack.append((path, node, True))
            below = sorted(node.children.items(), reverse=True)
            stack.extend((path + b"/" + name, child, False) for name, child in below)
            continue
        directory, slash, name = path.rpartition(b"/")
        if name.startswith(_WHITEOUT):
            stacked.remove(directory + slash + name.removeprefix(_WHITEOUT))
        else:
            stacked.put(path, node.size_bytes, is_directory=node.is_directory)
