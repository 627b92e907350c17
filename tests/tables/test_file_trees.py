"""The tree of an image's files against its table, row by row, and at a million entries."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nbdock.filetree import Entry, EntryKind, opaque_entry, whiteout_entry
from nbdock.filetree.entry import BytesContent
from nbdock.tables.filefacts import facts_of
from nbdock.tables.filefilters import CHANGES_SHOWN, FileFilter, Pattern
from nbdock.tables.filenodes import FileNodes
from nbdock.tables.files import table_of
from nbdock.tables.filetrees import FileTree, Items
from nbdock.tables.imagefiles import ImageFiles
from nbdock.tables.layerentries import COLUMNS, collect, schema
from nbdock.tables.waste import waste_of

FILE, DIRECTORY = EntryKind.FILE, EntryKind.DIRECTORY
NAMES = (b"a", b"b", b"a-", b"Ab", b"\xff", b"a.so", b"x y")
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map(b"/".join)
CONTENTS = st.sampled_from([b"", b"1", b"22", b"333"])


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    what = draw(st.sampled_from(["file"] * 5 + ["directory"] * 2 + ["link", "whiteout", "opaque"]))
    path = draw(PATHS)
    if what == "whiteout":
        return whiteout_entry(path)
    if what == "opaque":
        return opaque_entry(path)
    if what == "directory":
        return Entry(draw(st.sampled_from([path, path, b""])), DIRECTORY)
    if what == "link":
        return Entry(path, EntryKind.SYMLINK, linkname=b"x")
    return file(path, draw(CONTENTS))


def file(path: bytes, data: bytes = b"") -> Entry:
    return Entry(path, FILE, size_bytes=len(data), content=BytesContent(data))


LAYERS = st.lists(st.lists(entries(), max_size=8), max_size=4)


def files_of(layers: list[list[Entry]]) -> ImageFiles:
    names = list(COLUMNS[:-1])
    tables = [collect(iter(layer), hashes=True).select(names) for layer in layers]
    empty = pa.schema([schema().field(name) for name in names]).empty_table()
    starts = np.cumsum([0, *map(len, layers)], dtype=np.int64)
    return ImageFiles(pa.concat_tables([empty, *tables]).unify_dictionaries(), starts, True)


FILTERS = st.builds(
    FileFilter,
    layer=st.none() | st.integers(0, 3),
    only=st.booleans(),
    change=st.sampled_from(["", "", *CHANGES_SHOWN]),
    search=st.sampled_from(["", "", "a", "A", "a/", "*.so", "?", "/a/*", "a/**", "[ab]", "x y"]),
)


def rows_by_python(files: ImageFiles, wanted: FileFilter, also: list[str] = []) -> list[int]:  # noqa: B006
    """What the Python that a filter shows gives."""

    class Nbdock:
        @staticmethod
        def file_table(image: object, layers: int | None = None) -> pd.DataFrame:
            return table_of(files if layers is None else files.lowest(layers))

        @staticmethod
        def waste_table(image: object) -> pd.DataFrame:
            return pd.DataFrame(index=waste_of(files).rows)

    first, second = wanted.python("image", also).split("\n")
    names = {"nbdock": Nbdock, "image": None}
    exec(first, names)
    return sorted(eval(second, names).index.tolist())


@settings(max_examples=60, deadline=None)
@given(LAYERS, FILTERS)
@example([[file(b"a/b", b"1")], [whiteout_entry(b"a")]], FileFilter(change="deleted"))
def test_the_python_that_is_shown_gives_the_rows_that_are_shown(layers, wanted) -> None:
    if wanted.layer is not None and wanted.layer >= len(layers):
        return
    files = files_of(layers)
    tree = FileTree(files)
    assert rows_by_python(files, wanted) == np.flatnonzero(tree.mask(wanted)).tolist()


@settings(max_examples=60, deadline=None)
@given(LAYERS, FILTERS)
def test_lists_hold_every_row_once_and_sizes_add_up(layers, wanted) -> None:
    if wanted.layer is not None and wanted.layer >= len(layers):
        return
    files = files_of(layers)
    tree = FileTree(files)
    mask = tree.mask(wanted)
    everything = range(len(tree.parents))
    page = tree.page(wanted, opened=everything, first=0, last=10**6)
    shown = page.items.rows[page.items.rows >= 0]
    paths = [files.column("path")[row].as_py() for row in range(len(mask))]
    kinds = files.kinds == 1
    # Of a directory that several layers have one row is shown; the root is not listed.
    leaves = {row for row in np.flatnonzero(mask).tolist() if not kinds[row] and paths[row]}
    assert sorted(row for row in shown.tolist() if not kinds[row]) == sorted(leaves)
    directories = [paths[row] for row in shown.tolist() if kinds[row]]
    assert len(directories) == len(set(directories))
    assert set(directories) == {
        paths[row] for row in np.flatnonzero(mask).tolist() if kinds[row] and paths[row]
    }
    assert page.total == len(page.items)
    if wanted.search:
        return
    root = page.items.take(page.items.depths == 0)
    assert int(root.sizes.sum()) == tree.size(wanted) == int(files.sizes[mask].sum())
    for node, row, is_directory, size in lines(page.items):
        if is_directory:
            assert size == int(files.sizes[tree.below(wanted, node, itself=False)].sum())
        else:
            assert size == files.sizes[row]


def lines(items: Items) -> list[tuple[int, int, bool, int]]:
    return list(zip(items.nodes.tolist(), items.rows.tolist(), items.is_directory.tolist(),
                    items.sizes.tolist(), strict=True))  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(LAYERS, FILTERS, st.sampled_from(["name", "size", "count"]), st.booleans(), st.data())
def test_pages_are_pieces_of_one_list(layers, wanted, sort, descending, data) -> None:
    if wanted.layer is not None and wanted.layer >= len(layers):
        return
    tree = FileTree(files_of(layers))
    some = data.draw(st.sets(st.integers(0, len(tree.parents) - 1)))
    arguments = {"opened": some, "sort": sort, "descending": descending}
    whole = tree.page(wanted, first=0, last=10**6, **arguments)
    size = data.draw(st.integers(1, 5))
    pieces = [
        tree.page(wanted, first=at, last=at + size, **arguments)
        for at in range(0, whole.total, size)
    ]
    found = [line for piece in pieces for line in lines(piece.items)]
    assert found == lines(whole.items)
    for place, (node, _, is_directory, _) in enumerate(lines(whole.items)):
        if is_directory:
            assert tree.place(wanted, node, **arguments) == place
    if sort == "size" and (wanted.search or not some):
        sizes = whole.items.sizes.tolist()
        assert sizes == sorted(sizes, reverse=descending)


@settings(max_examples=50, deadline=None)
@given(LAYERS)
def test_what_a_container_of_some_layers_sees(layers) -> None:
    files = files_of(layers)
    tree = FileTree(files)
    for layer in range(len(layers)):
        lowest = files_of(layers[: layer + 1])
        seen = tree.visible(layer)
        assert np.array_equal(seen[: len(lowest.kinds)], lowest.laid.visible)
        assert not seen[len(lowest.kinds) :].any()


def test_facts_are_those_of_the_table() -> None:
    files = files_of([[file(b"a", b"1"), file(b"\xff", b"22")], [file(b"b", b"1")]])
    tree, table = FileTree(files), table_of(files)
    for row in range(3):
        facts = facts_of(tree, row)
        of_table = table.loc[row]
        assert (facts.path, facts.kind, facts.size_bytes, facts.digest, facts.layer) == (
            of_table.path, of_table.kind, of_table.size_bytes, of_table.digest, of_table.layer,
        )  # fmt: skip
    wasted = facts_of(tree, 2)
    assert (wasted.waste, wasted.by_path, wasted.by_layer) == ("duplicate", "/a", 0)


def test_some_rows_are_rows_of_the_table() -> None:
    files = files_of([[file(b"a", b"1"), Entry(b"l", EntryKind.SYMLINK, linkname=b"a")],
                      [file(b"b", b"2")]])  # fmt: skip
    rows = np.array([1, 2])
    pd.testing.assert_frame_equal(table_of(files, rows), table_of(files).loc[rows])


def test_a_path_of_ten_thousand_levels_is_shown() -> None:
    deep = b"/".join([b"d"] * 10_000)
    long = b"x" * 5000 + b"/y"
    nodes = FileNodes(pa.array([deep, long, b"a/b"], pa.large_binary()))
    assert len(nodes.parents) < 200
    assert nodes.path(int(nodes.node_of[2])) == b"a/b"
    tree = FileTree(files_of([[file(deep, b"1"), file(long, b"22"), file(b"a/b", b"333")]]))
    assert tree.size(FileFilter()) == 6
    everything = range(len(tree.parents))
    page = tree.page(FileFilter(), opened=everything, first=0, last=10**6)
    assert sorted(page.items.rows[page.items.rows >= 0].tolist()) == [0, 1, 2]


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("*.so", {"/usr/lib/a.so", "/a.so"}),
        ("lib/?.*", {"/usr/lib/a.so", "/usr/lib/B.py"}),
        ("/usr/**/*.py", {"/usr/lib/B.py", "/usr/lib/sub/c.py"}),
        ("[ab].*", {"/usr/lib/a.so", "/usr/lib/B.py", "/a.so"}),
        ("[!ab].*", {"/usr/lib/sub/c.py"}),
        ("?.py", {"/usr/lib/B.py", "/usr/lib/sub/c.py"}),
        ("B", {"/usr/lib/B.py"}),
        ("lib/b", {"/usr/lib/B.py"}),
        ("(", {"/usr/lib/(x) [1]$"}),
        ("(x) [1]$", set()),
        ("(x)*", {"/usr/lib/(x) [1]$"}),
        ("[", {"/usr/lib/(x) [1]$"}),
    ],
)
def test_what_searches_find(pattern: str, paths: set[str]) -> None:
    given = [b"usr/lib/a.so", b"usr/lib/B.py", b"usr/lib/sub/c.py", b"a.so", b"usr/lib/(x) [1]$"]
    nodes = FileNodes(pa.array(given, pa.large_binary()))
    found = np.flatnonzero(nodes.found(pattern))
    assert {"/" + nodes.path(node).decode() for node in found.tolist()} == paths
    assert Pattern(pattern).python().startswith("files.path")


MILLION, LIMIT_S = 1_000_000, 3.0
"""What takes a tenth of a second here takes longer while all the machine's other work is done."""


def test_a_million_entries_answer_at_once() -> None:
    big = [b"srv/big/entry-%06d.dat" % i for i in range(100_000)]
    paths = big + [
        b"usr/share/part%02d/group%03d/module-%d/file-%d.so" % (i % 17, i % 311, i % 571, i)
        for i in range(MILLION - len(big))
    ]
    form = pa.schema([schema().field(name) for name in COLUMNS[:-1]])
    known = {
        "path": pa.array(paths, pa.large_binary()),
        "size_bytes": np.arange(MILLION) * 7919 % 100_003,
        **{name: np.zeros(MILLION, np.int64) for name in ("kind", "mode", "uid", "gid", "mtime",
                                                          "device_major", "device_minor")},
    }  # fmt: skip
    table = pa.table(
        [
            pa.array(known[field.name]).cast(field.type)
            if field.name in known
            else pa.nulls(MILLION, field.type)
            for field in form
        ],
        schema=form,
    )
    tree = FileTree(ImageFiles(table, np.linspace(0, MILLION, 11).astype(np.int64), True))
    filters = [FileFilter(), FileFilter(search="zzz"), FileFilter(search="warm")]
    for each in filters:
        tree.page(each)
    opened = [tree.node(b"srv"), tree.node(b"srv/big")]
    assert None not in opened

    def timed(what: FileFilter, **arguments: object) -> int:
        started = time.thread_time()
        page = tree.page(what, **arguments)
        assert time.thread_time() - started < LIMIT_S, (what, arguments)
        assert len(page.items) == min(100, page.total - arguments.get("first", 0))
        return page.total

    arguments = {"opened": opened, "first": 50_000, "last": 50_100}
    assert timed(FileFilter(), **arguments) == 100_003
    assert timed(FileFilter(), **arguments, sort="size", descending=True) == 100_003
    assert timed(FileFilter(search="file-89999")) == 11
    assert timed(FileFilter(search="*.so"), sort="size", descending=True) == 900_000
    assert timed(FileFilter(search="/srv/**")) == 100_000
    assert timed(FileFilter(layer=4)) == 2
