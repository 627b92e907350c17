"""Overlaying by arrays, against the tree of objects that `filetree.overlay` makes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nbdock.filetree import Entry, EntryKind, opaque_entry, overlay, whiteout_entry
from nbdock.tables.layerentries import collect
from nbdock.tables.overlaying import REASONS, Overlaid, lay_over
from nbdock.tables.pathorder import PathOrder

FILE, DIRECTORY = EntryKind.FILE, EntryKind.DIRECTORY
NAMES = (b"a", b"b", b"a-", b"a\x01", b"\xff", b"ab")
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map(b"/".join)
KINDS = st.sampled_from([FILE, DIRECTORY, DIRECTORY, EntryKind.SYMLINK, EntryKind.FIFO])


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    what = draw(st.sampled_from(["put"] * 6 + ["whiteout", "opaque", "root", "opaque root"]))
    if what == "whiteout":
        return whiteout_entry(draw(PATHS))
    if what == "opaque":
        return opaque_entry(draw(PATHS))
    if what == "opaque root":
        return opaque_entry(b"")
    if what == "root":
        return Entry(b"", DIRECTORY)
    kind = draw(KINDS)
    return Entry(draw(PATHS), kind, linkname=b"x" if kind is EntryKind.SYMLINK else b"")


def laid(layers: list[list[Entry]]) -> Overlaid:
    table = pa.concat_tables([collect(iter(layer), hashes=False) for layer in layers])
    starts = np.cumsum([0, *map(len, layers)])
    return lay_over(table["path"].combine_chunks(), table["kind"].to_numpy(), starts)


def numbered(layers: list[list[Entry]]) -> list[list[Entry]]:
    """The same entries, each with its row as its time."""
    rows = iter(range(10_000))
    return [
        [Entry(e.path, e.kind, linkname=e.linkname, mtime=next(rows) + 1) for e in layer]
        for layer in layers
    ]


def file(path: bytes) -> Entry:
    return Entry(path, FILE)


def directory(path: bytes) -> Entry:
    return Entry(path, DIRECTORY)


@settings(max_examples=600)
@given(st.lists(st.lists(entries(), max_size=7), max_size=5))
@example([[file(b"a/b"), file(b"a")]])
@example([[file(b"a"), file(b"a/b")], [file(b"a")]])
@example([[file(b"a/b")], [file(b"a"), directory(b"a"), file(b"a/c")]])
@example([[file(b"a"), file(b"a/b"), file(b"a/b/a"), file(b"a/b")]])
def test_what_is_seen_is_what_the_tree_has(layers: list[list[Entry]]) -> None:
    layers = numbered(layers)
    if not layers:
        return
    found = laid(layers)
    for count in range(len(layers) + 1):
        # Times count from 1: what the tree makes up itself, parents that nobody names, has 0.
        tree = overlay(layers[:count])
        seen = {path: entry.mtime - 1 for path, entry in tree.items() if entry.mtime}
        if count == len(layers):
            assert np.flatnonzero(found.visible).tolist() == sorted(seen.values())
        else:
            first = sum(map(len, layers[:count]))
            for row, entry in enumerate(layers[count], first):
                path = entry.path
                if b".wh." not in path:
                    assert found.previous[row] == seen.get(path, -1)
    hidden = found.hidden_by >= 0
    puts = np.array([b".wh." not in e.path for layer in layers for e in layer], np.bool_)
    assert (hidden == (puts & ~found.visible)).all()
    assert (found.reason[hidden] >= 0).all()


def reasons(layers: list[list[Entry]]) -> dict[bytes, tuple[str, int]]:
    """Why each hidden entry is hidden, and the row that hides it; by path."""
    found = laid(layers)
    every = [entry for layer in layers for entry in layer]
    return {
        entry.path: (REASONS[found.reason[row]], int(found.hidden_by[row]))
        for row, entry in enumerate(every)
        if found.hidden_by[row] >= 0
    }


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([[file(b"a")], [file(b"a")]], {b"a": ("overwritten", 1)}),
        ([[file(b"a")], [whiteout_entry(b"a")]], {b"a": ("deleted", 1)}),
        (
            [[directory(b"d"), file(b"d/a")], [whiteout_entry(b"d")]],
            {b"d": ("deleted", 2), b"d/a": ("directory deleted", 2)},
        ),
        (
            [[directory(b"d"), file(b"d/a")], [opaque_entry(b"d")]],
            {b"d/a": ("directory emptied", 2)},
        ),
        ([[file(b"d/a")], [file(b"d")]], {b"d/a": ("replaced", 1)}),
        ([[file(b"d")], [file(b"d/a")]], {b"d": ("replaced", 1)}),
        ([[file(b"a"), file(b"a")]], {b"a": ("overwritten", 1)}),
    ],
)  # fmt: skip
def test_why_something_is_hidden(layers, expected) -> None:
    assert reasons(layers) == expected


def test_nothing() -> None:
    found = lay_over(pa.array([], pa.large_binary()), np.empty(0, np.int8), np.zeros(1, np.int64))
    assert len(found.visible) == 0


def test_the_order_is_that_of_a_tree() -> None:
    paths = [b"a/b", b"a", b"a.b", b"", b"a/b/c", b"a/c", b"b", b"a"]
    order = PathOrder(pa.array(paths, pa.large_binary()))
    assert order.numbers.tolist() == [2, 1, 5, 0, 3, 4, 6, 1]
    assert order.ends(range(order.count)) == {0: 7, 1: 5, 2: 4, 3: 4, 4: 5, 5: 6, 6: 7}


@pytest.mark.timeout(60)
def test_hostile_nesting_takes_no_longer() -> None:
    # Files that are each other's directories, 2000 deep, and the deepest whiteouts of all.
    deep = [b"/".join([b"a"] * depth) for depth in range(1, 2000)]
    layers = [[file(path) for path in deep], [whiteout_entry(path) for path in deep]]
    found = laid([*layers, [file(path) for path in reversed(deep)]])
    assert found.visible.sum() == 1
