"""Sharing, counted by hand and by plain sets."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.layers import file, make_image, tar

import nbdock
from nbdock import concurrency
from nbdock.errors import ArgumentTypeError

BASE = tar([file("base", b"x" * 1000)])
LEFT = tar([file("left", b"y" * 10), file("again", b"x" * 1000)])
RIGHT = tar([file("right", b"z" * 200)])
COLUMNS = {
    "name": "str", "size_bytes": "int64", "images": "int64", "saved_bytes": "int64",
    "in_images": "object",
}  # fmt: skip


def named(layers, name: str):
    image = make_image(layers)
    return nbdock.Image(image.store, image.descriptor, name)


@pytest.fixture
def pair(nbdock_home):
    return [named([BASE, LEFT], "left"), named([BASE, RIGHT], "right")]


def test_layers(pair) -> None:
    table = nbdock.sharing_table(pair)
    assert {n: str(t) for n, t in table.dtypes.items()} == COLUMNS
    assert table.index[0] == str(pair[0].layers[0].diff_id)
    assert table.images.tolist() == [2, 1, 1]
    assert table.in_images.iloc[0] == ["left", "right"]
    assert table.saved_bytes.tolist() == [len(BASE), 0, 0]
    shared = nbdock.sharing_matrix(pair)
    assert shared.loc["left", "right"] == len(BASE)
    assert shared.loc["right", "right"] == len(BASE) + len(RIGHT)
    missing = nbdock.sharing_matrix(pair, measure="missing")
    assert missing.to_numpy().tolist() == [[0, len(RIGHT)], [len(LEFT), 0]]
    assert (missing.index.name, missing.columns.name) == ("has", "wants")


def test_contents(pair) -> None:
    table = nbdock.sharing_table(pair, by="file")
    assert table.name.tolist() == ["/base", "/right", "/left"]
    assert table.saved_bytes.tolist() == [1000, 0, 0]
    matrix = nbdock.sharing_matrix(pair, by="file")
    assert matrix.to_numpy().tolist() == [[1010, 1000], [1000, 1200]]


def test_packages(nbdock_home) -> None:
    def apk(*names: str) -> bytes:
        text = "".join(f"P:{name}\nV:1\nI:{len(name) * 100}\n\n" for name in names)
        return tar([file("lib/apk/db/installed", text.encode())])

    images = [named([apk("a", "bb")], "one"), named([apk("bb", "ccc")], "two")]
    table = nbdock.sharing_table(images, by="package")
    assert table.index.tolist() == ["apk bb 1", "apk ccc 1", "apk a 1"]
    missing = nbdock.sharing_matrix(images, by="package", measure="missing")
    assert missing.to_numpy().tolist() == [[0, 300], [100, 0]]


@pytest.mark.parametrize("by", ["layer", "package", "file"])
def test_nothing(nbdock_home, by) -> None:
    for images in ([], [named([], "empty")], [named([tar([])], "empty")] * 2):
        table = nbdock.sharing_table(images, by=by)
        assert {n: str(t) for n, t in table.dtypes.items()} == COLUMNS
        assert nbdock.sharing_matrix(images, by=by).shape == (len(images),) * 2


def test_a_layer_of_packages_is_called_by_them() -> None:
    texts = [nbdock.text_file(f"etc/{name}", name) for name in ("one", "two", "three")]
    image = concurrency.run(nbdock.build_layered_image("both", contents=texts, max_layers=3))
    assert set(nbdock.sharing_table([image]).name) >= {"one", "three, two"}


def test_names_in_a_registry_are_not_pulled(pair, registry, monkeypatch, tmp_path) -> None:
    references = [f"{registry.host}/sharing/{image.name}:1" for image in pair]
    for image, reference in zip(pair, references, strict=True):
        concurrency.run(image.push(reference))
    monkeypatch.setenv("NBDOCK_HOME", str(tmp_path / "other"))
    table = nbdock.sharing_table(references)
    assert table.images.tolist() == [2, 1, 1]
    assert nbdock.sharing_matrix(references).index.tolist() == references
    blobs = (tmp_path / "other/blobs/sha256").iterdir()
    pushed = {layer.diff_id.hex for image in pair for layer in image.layers}
    assert not pushed & {blob.name for blob in blobs}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nbdock.sharing_table("redis"), "give a list, not 'redis'"),
        (lambda: nbdock.sharing_table([], by="layers"), "no by='layers'"),
        (lambda: nbdock.sharing_matrix([], measure="share"), "no measure='share'"),
    ],
)
def test_what_is_refused(nbdock_home, call, message) -> None:
    with pytest.raises(ArgumentTypeError, match=message):
        call()


CONTENTS = st.lists(st.sampled_from([b"", b"1", b"22", b"333", b"4444"]), max_size=4)


@settings(max_examples=40)
@given(st.lists(CONTENTS, min_size=1, max_size=4))
def test_the_matrix_against_sets(images) -> None:
    made = [
        named([tar([file(f"f{i}", data) for i, data in enumerate(contents)])], f"i{n}")
        for n, contents in enumerate(images)
    ]
    sets = [set(contents) for contents in images]
    matrix = nbdock.sharing_matrix(made, by="file").to_numpy()
    for i, mine in enumerate(sets):
        for j, theirs in enumerate(sets):
            assert matrix[i, j] == sum(map(len, mine & theirs))
