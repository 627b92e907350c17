"""Waste against images counted by hand, and dive's own numbers (its `Efficiency()` was run)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.layers import directory, file, hardlink, make_image, opaque, symlink, tar, whiteout

import nbdock
from nbdock.errors import ArgumentTypeError

X, Y, Z = b"x" * 100, b"y" * 100, b"z" * 900

DTYPES = {
    "path": "str", "layer": "int16", "size_bytes": "int64", "reason": "category",
    "by_layer": "int16", "by_path": "str",
}  # fmt: skip

# Layers; what is wasted as (path, layer, bytes, reason, by layer, by path); dive's score and waste.
CASES = {
    "overwritten": (
        [[file("f", X)], [file("f", Y)]],
        [("/f", 0, 100, "overwritten", 1, "/f")],
        (0.5, 200),
    ),
    "deleted": (
        [[file("f", Z), file("g", X)], [whiteout("f")]],
        [("/f", 0, 900, "deleted", 1, "/f")],
        (0.1, 900),
    ),
    "directory deleted": (
        [[directory("d"), file("d/f", Z), file("g", X)], [whiteout("d")]],
        [("/d/f", 0, 900, "directory deleted", 1, "/d")],
        (1.0, 0),
    ),
    "opaque": (
        [[directory("d"), file("d/f", Z), file("g", X)], [directory("d"), opaque("d")]],
        [("/d/f", 0, 900, "directory emptied", 1, "/d")],
        (1.0, 0),
    ),
    "same content at two paths": (
        [[file("f", X)], [file("g", X)]],
        [("/g", 1, 100, "duplicate", 0, "/f")],
        (1.0, 0),
    ),
    "same content at two paths of a layer": (
        [[file("b", X), file("a", X)]],
        [("/a", 0, 100, "duplicate", 0, "/b")],
        (1.0, 0),
    ),
    "dangling whiteout and three copies": (
        [[file("f", X)], [whiteout("0"), file("f", Y)], [file("f", b"w" * 100)]],
        [
            ("/f", 0, 100, "overwritten", 1, "/f"),
            ("/f", 1, 100, "overwritten", 2, "/f"),
        ],
        (0.495, 200),
    ),
    "metadata only": (
        [[file("f", X)], [file("f", X, mode=0o755)]],
        [("/f", 0, 100, "metadata only", 1, "/f")],
        (0.5, 200),
    ),
    "deleted and made again": (
        [[file("f", X)], [whiteout("f")], [file("f", X)]],
        [("/f", 0, 100, "deleted", 1, "/f")],
        (0.0, 200),
    ),
    "deleted, but another name is kept": (
        [[file("f", X), hardlink("g", "f")], [whiteout("f")]],
        [],
        (0.0, 100),
    ),
    "all names deleted": (
        [[file("f", X), hardlink("g", "f")], [whiteout("f"), whiteout("g")]],
        [("/f", 0, 100, "deleted", 1, "/f")],
        (0.0, 100),
    ),
    "a file takes the place of a directory": (
        [[directory("d"), file("d/f", X)], [file("d", Y)]],
        [("/d/f", 0, 100, "replaced", 1, "/d")],
        (1.0, 0),
    ),
    "a directory takes the place of a file": (
        [[file("d", X)], [directory("d"), file("d/f", Y)]],
        [("/d", 0, 100, "overwritten", 1, "/d")],
        (1.0, 0),
    ),
    "a symlink takes the place of a file": (
        [[file("f", X)], [symlink("f", "g")]],
        [("/f", 0, 100, "overwritten", 1, "/f")],
        (0.0, 100),
    ),
    "twice in one layer": (
        [[file("f", X), file("f", Y)]],
        [("/f", 0, 100, "overwritten", 0, "/f")],
        (1.0, 0),
    ),
    "empty files": ([[file("f", b""), file("g", b"")], [whiteout("f")]], [], (1.0, 0)),
    "nothing": ([], [], (1.0, 0)),
    "a tree emptied and filled again": (
        [[directory("d"), file("d/f", X), file("d/g", Y)], [opaque("d"), file("d/f", X)]],
        [
            ("/d/f", 0, 100, "directory emptied", 1, "/d"),
            ("/d/g", 0, 100, "directory emptied", 1, "/d"),
        ],
        (200 / 300, 200),
    ),
    "hidden and a duplicate: counted once": (
        [[file("f", X), file("g", X)], [whiteout("g")]],
        [("/g", 0, 100, "deleted", 1, "/g")],
        (0.5, 100),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_counted_by_hand(nbdock_home, name) -> None:
    layers, expected, (score, wasted) = CASES[name]
    image = make_image([tar(layer) for layer in layers])
    table = nbdock.waste_table(image)
    assert {n: str(t) for n, t in table.dtypes.items()} == DTYPES
    assert list(table.itertuples(index=False, name=None)) == expected
    total = sum(info.size for layer in layers for info, _ in layer)
    ours = nbdock.efficiency(image)
    lost = sum(row[2] for row in expected)
    assert (ours.wasted_bytes, ours.total_bytes, ours.method) == (lost, total, "nbdock")
    assert ours.score == pytest.approx((total - lost) / total if total else 1.0)
    dive = nbdock.efficiency(image, method="dive")
    assert (dive.score, dive.wasted_bytes) == (pytest.approx(score), wasted)


def test_what_users_wasted_is_counted_against_the_layers_above_the_lowest(nbdock_home) -> None:
    image = make_image([tar([file("f", X)]), tar([file("f", Y), file("g", Z)])])
    assert nbdock.efficiency(image, method="dive").user_wasted_percent == pytest.approx(20.0)
    assert nbdock.efficiency(image).user_wasted_percent == pytest.approx(10.0)


def test_an_unknown_method(nbdock_home) -> None:
    with pytest.raises(ArgumentTypeError, match="no method 'Dive'") as caught:
        nbdock.efficiency(make_image([]), method="Dive")
    assert "dive" in str(caught.value.hint)


NAMES = st.sampled_from(["a", "b", "d", "d/a", "d/b", "e/a"])
MEMBERS = st.one_of(
    st.builds(file, NAMES, st.sampled_from([b"", b"1", b"22", b"333"])),
    st.builds(whiteout, NAMES),
    st.builds(opaque, st.sampled_from(["d", "e"])),
    st.builds(directory, st.sampled_from(["d", "e"])),
)


@settings(max_examples=60)
@given(st.lists(st.lists(MEMBERS, max_size=5), max_size=4))
def test_what_is_not_wasted_is_what_a_container_needs(layers) -> None:
    image = make_image([tar(layer) for layer in layers])
    table = nbdock.file_table(image)
    seen = table[table.visible & (table.kind == "file")]
    needed = seen.drop_duplicates("digest").size_bytes.sum()
    found = nbdock.efficiency(image)
    assert found.total_bytes - found.wasted_bytes == needed
    # dive's may be below 0: each whiteout of nothing counts as -1 bytes.
    assert nbdock.efficiency(image, method="dive").score <= 1
