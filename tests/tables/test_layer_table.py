"""`layer_table` against what the image's own documents say."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from support import layers, oracles

import nbdock
from nbdock import concurrency
from nbdock.content import BlobStore
from nbdock.errors import ArgumentTypeError
from nbdock.oci import Descriptor, History, ImageConfig, Manifest, MediaType

COLUMNS = {
    "diff_id": "str", "digest": "str", "media_type": "category", "size_bytes": "int64",
    "uncompressed_bytes": "Int64", "contents": "object", "created_by": "str", "comment": "str",
}  # fmt: skip


def kinds(table: pd.DataFrame) -> dict[str, str]:
    return {name: str(dtype) for name, dtype in table.dtypes.items()}


def make_image(layers: list[bytes], history: tuple[History, ...] = ()) -> nbdock.Image:
    store = BlobStore.default()
    made = tuple(Descriptor(MediaType.OCI_LAYER, store.add(d), len(d)) for d in layers)
    diff_ids = tuple(d.digest for d in made)
    config = ImageConfig("amd64", "linux", diff_ids=diff_ids, history=history)
    data = config.to_bytes()
    manifest = Manifest(
        config=Descriptor(MediaType.OCI_CONFIG, store.add(data), len(data)), layers=made
    )
    store.add(manifest.to_bytes())
    return nbdock.Image(store, manifest.descriptor(), "x", "1")


def test_one_row_for_each_layer(nbdock_home) -> None:
    image = concurrency.run(
        nbdock.build_layered_image("x", contents=nbdock.text_file("etc/motd", "hi"))
    )
    table = nbdock.layer_table(image)
    assert kinds(table) == COLUMNS
    assert table.index.name == "position"
    assert list(table.index) == [0, 1]
    assert list(table["digest"]) == [str(d.digest) for d in image.manifest.layers]
    assert list(table["diff_id"]) == [str(d) for d in image.config.diff_ids]
    assert list(table["size_bytes"]) == [d.size_bytes for d in image.manifest.layers]
    assert table["size_bytes"].sum() == image.size_bytes
    assert list(table["contents"]) == [["motd"], ["nothing at the root"]]
    assert set(table["created_by"]) == {"nbdock"}


def test_no_layers_give_the_same_columns(nbdock_home) -> None:
    table = nbdock.layer_table(make_image([]))
    assert kinds(table) == COLUMNS
    assert len(table) == 0


def test_history_that_does_not_match_is_left_out(nbdock_home) -> None:
    image = make_image([b"a", b"b"], (History(comment="only one", created_by="x"),))
    table = nbdock.layer_table(image)
    assert list(table["comment"]) == ["", ""]
    assert kinds(table) == COLUMNS


def test_empty_layers_of_the_history_are_skipped(nbdock_home) -> None:
    steps = (History(comment="env", empty_layer=True), History(comment="store paths: ['/a', '/b']"))
    table = nbdock.layer_table(make_image([b"a"], steps))
    assert list(table["contents"]) == [["/a", "/b"]]


def test_an_image_loaded_from_an_archive(nbdock_home, tmp_path) -> None:
    image = concurrency.run(nbdock.build_image("x", contents=nbdock.text_file("etc/motd", "hi")))
    path = concurrency.run(image.save(tmp_path / "x.tar"))
    loaded = concurrency.run(nbdock.load_image(path))
    table, before = nbdock.layer_table(loaded), nbdock.layer_table(image)
    assert kinds(table) == COLUMNS
    pd.testing.assert_series_equal(table["diff_id"], before["diff_id"])
    assert list(table["contents"]) == [["motd"]]


@pytest.mark.parametrize("value", [None, 3, {"image": 1}, [None]])
def test_something_else_is_refused(value) -> None:
    with pytest.raises(ArgumentTypeError, match=r"takes an image, not .* \(of the type"):
        nbdock.layer_table(value)


DETAILS = {"files": "int64", "packages": "int64", "wasted_bytes": "int64", "images": "int64"}


def test_details_counted_by_hand(nbdock_home) -> None:
    apk = b"P:musl\nV:1\nI:9\n\n"
    base = layers.tar([
        layers.directory("d"), layers.file("d/a", b"123"), layers.file("lib/apk/db/installed", apk)
    ])  # fmt: skip
    top = layers.tar([layers.whiteout("d"), layers.file("b", b"x"), layers.symlink("c", "b")])
    image, other = layers.make_image([base, top]), layers.make_image([base])
    other.store.set_image("other:1", other.descriptor)
    table = nbdock.layer_table(image, details=True)
    assert kinds(table) == COLUMNS | DETAILS
    assert table[list(DETAILS)].to_numpy().tolist() == [[2, 1, 3, 2], [2, 0, 0, 1]]
    several = nbdock.layer_table([image, other], details=True)
    assert several["images"].tolist() == [2, 1, 2]
    assert kinds(nbdock.layer_table([], details=True)) == COLUMNS | DETAILS


def test_layers_against_skopeo(nbdock_home, tmp_path) -> None:
    made = [layers.tar([layers.file(name, name.encode() * 99)]) for name in "abc"]
    image = layers.make_image(made, compressed=True)
    layout = concurrency.run(image.save(tmp_path / "layout"))
    raw = json.loads(oracles.skopeo("inspect", "--raw", f"oci:{layout}"))["layers"]
    table = nbdock.layer_table(layout)
    assert table["digest"].tolist() == oracles.inspect(f"oci:{layout}")["Layers"]
    assert table["size_bytes"].tolist() == [layer["size"] for layer in raw]
    assert table["media_type"].tolist() == [layer["mediaType"] for layer in raw]
