"""`merge_images`: one archive of several images, as Docker, Podman and skopeo find them in it."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from support import oracles
from support.engine import Engine
from support.plain_images import busybox_layer, layer, write_docker_archive

import nbdock
from nbdock.content import BlobStore
from nbdock.errors import (
    ArgumentTypeError,
    DigestMismatchError,
    EngineError,
    ImageNotFoundError,
    MissingArgumentError,
)
from nbdock.images import Image, MergedImages


async def build(name: str, text: str, **arguments: Any) -> Image:
    arguments = {"tag": "1", "contents": nbdock.text_file(f"etc/{name}", text), **arguments}
    return await nbdock.build_image(name, **arguments)


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        infos = list(archive)
        assert len({info.name for info in infos}) == len(infos), "a name twice"
        return {info.name: archive.extractfile(info).read() for info in infos}  # type: ignore[union-attr]


def manifest(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(members(path)["manifest.json"])
    return found


def tags(documents: Iterable[dict[str, Any]]) -> list[list[str] | None]:
    return [document["RepoTags"] for document in documents]


async def test_what_images_share_is_in_the_archive_once(tmp_path: Path) -> None:
    base = await build("base", "x" * 100_000)
    images = [base, await build("one", "1", from_image=base), await build("two", "2")]
    merged = await nbdock.merge_images(images)
    path = await merged.save(tmp_path / "m.tar")
    found = members(path)
    assert tags(manifest(path)) == [["base:1"], ["one:1"], ["two:1"]]
    layers = [name for name in found if name.endswith("/layer.tar")]
    assert len(layers) == 3
    for name in layers:
        assert hashlib.sha256(found[name]).hexdigest() == name.partition("/")[0]
    assert merged.size_bytes == sum(len(found[name]) for name in layers)
    for image, document in zip(images, manifest(path), strict=True):
        assert document["Config"] == f"{image.id.hex}.json"
        assert document["Layers"] == [f"{one.diff_id.hex}/layer.tar" for one in image.layers]
    assert list(merged) == list(merged.images)
    assert repr(merged) == "<MergedImages base:1, one:1, two:1>"


async def test_a_merge_of_one_is_that_image(tmp_path: Path) -> None:
    image = await build("one", "1")
    merged = await nbdock.merge_images([image])
    assert (await merged.save(tmp_path / "m.tar")).read_bytes() == (
        await image.save(tmp_path / "i.tar")
    ).read_bytes()


async def test_all_images_of_archives_are_taken(tmp_path: Path) -> None:
    """Also of a merged one, whatever it is compressed with."""
    first = await nbdock.merge_images([await build("one", "1"), await build("two", "2")])
    inner = await first.save(tmp_path / "inner.tar.zst")
    plain = write_docker_archive(tmp_path / "p.tar", name="plain:1", layers=[layer({"a": b"1"})])
    merged = await nbdock.merge_images([inner, str(plain), first])
    assert [str(image) for image in merged] == ["one:1", "two:1", "plain:1", "one:1", "two:1"]
    path = await merged.save(tmp_path / "m.tar")
    assert tags(manifest(path)) == [["one:1"], ["two:1"], ["plain:1"]]
    # In another form they are the same, to whoever reads it.
    for form in ("oci-archive", "oci"):
        again = await nbdock.merge_images([await merged.save(tmp_path / form, format=form)])
        assert [i.id for i in again][:3] == [i.id for i in merged][:3]
        assert [str(i) for i in again][:3] == ["one:1", "two:1", "plain:1"]


async def test_names_of_one_image_stand_together(tmp_path: Path) -> None:
    """And images without a name stay without one."""
    image = await build("one", "1")
    unnamed = Image(image.store, (await build("two", "2")).descriptor)
    other = Image(image.store, image.descriptor, "other", "2")
    merged = await nbdock.merge_images([image, unnamed, other])
    path = await merged.save(tmp_path / "m.tar")
    assert tags(manifest(path)) == [["one:1", "other:2"], None]
    again = await nbdock.merge_images([path])
    assert [i.reference for i in again] == ["one:1", "other:2", ""]


async def test_an_image_without_tag_keeps_its_hash(tmp_path: Path) -> None:
    image = await build("one", "1", tag=None)
    path = await (await nbdock.merge_images([image])).save(tmp_path / "m.tar")
    assert len(image.tag) == 32
    assert tags(manifest(path)) == [[f"one:{image.tag}"]]


@pytest.mark.parametrize(
    ("compressors", "name"),
    [
        (["none", "gz"], "docker-images.tar.gz"),
        (["gz", "none"], "docker-images.tar"),
        (["gz", "none", "zstd"], "docker-images.tar.zst"),
        (["zstd", None], "docker-images.tar.gz"),
    ],
)
async def test_the_last_compressor_is_the_archives(
    compressors: list[str | None], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    images = [await build(f"i{n}", str(n), compressor=c) for n, c in enumerate(compressors)]
    by_image = await (await nbdock.merge_images(images)).save()
    assert by_image.name == name
    saved = [await image.save() for image in images]
    by_path = await nbdock.merge_images(saved)
    assert f"docker-images{saved[-1].name.partition('.')[2].join(['.', ''])}" == name
    assert (await by_path.save("again" + name)).read_bytes() == by_image.read_bytes()


async def test_images_of_other_stores_are_copied(tmp_path: Path) -> None:
    elsewhere = BlobStore(tmp_path / "elsewhere")
    images = [await build("one", "1", store=elsewhere), await build("two", "2")]
    merged = await nbdock.merge_images(images)
    assert {image.store.home for image in merged} == {BlobStore.default().home}
    assert tags(manifest(await merged.save(tmp_path / "m.tar"))) == [["one:1"], ["two:1"]]


async def test_arguments_are_checked(tmp_path: Path) -> None:
    image = await build("one", "1")
    with pytest.raises(ArgumentTypeError, match="list of images"):
        await nbdock.merge_images(image)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="list of images"):
        await nbdock.merge_images("one.tar")  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="No image"):
        await nbdock.merge_images([])
    with pytest.raises(ArgumentTypeError, match="not None"):
        await nbdock.merge_images([image, None])  # type: ignore[list-item]
    with pytest.raises(MissingArgumentError, match="images"):
        await nbdock.merge_images()  # type: ignore[call-arg]
    with pytest.raises(ArgumentTypeError, match="Two different images are called one:1"):
        await nbdock.merge_images([image, await build("one", "another")])
    with pytest.raises(ImageNotFoundError):
        await nbdock.merge_images([tmp_path / "nothing.tar"])


async def test_a_damaged_input_leaves_no_archive(tmp_path: Path) -> None:
    path = write_docker_archive(tmp_path / "p.tar", name="p:1", layers=[layer({"a": b"intact"})])
    data = path.read_bytes()
    path.write_bytes(data.replace(b"intact", b"broken"))
    with pytest.raises(DigestMismatchError):
        await nbdock.merge_images([await build("one", "1"), path])


@pytest.mark.engine
async def test_engines_load_all_of_them(
    docker_engine: Engine, podman_engine: Engine, tmp_path: Path
) -> None:
    """With mixed compressors, a missing tag, and files of other owners."""
    shell = write_docker_archive(
        tmp_path / "sh.tar", name="sh:1", layers=[busybox_layer()], config={"Cmd": ["/bin/sh"]}
    )
    owned = await nbdock.build_layered_image(
        "owned", tag="1", from_image=shell, compressor="zstd",
        contents=nbdock.directory(_owned(tmp_path), owner="keep"),
    )  # fmt: skip
    hashed = await build("hashed", "x", tag=None, from_image=shell, compressor="none")
    merged = await nbdock.merge_images(
        [await owned.save(tmp_path / "owned.tar.zst"), hashed, shell]
    )
    path = await merged.save(tmp_path / "m.tar.gz")
    names = {"owned:1", f"hashed:{hashed.tag}", "sh:1"}
    with gzip.open(path) as unpacked:
        (tmp_path / "m.tar").write_bytes(unpacked.read())
    assert names <= set(
        oracles.skopeo("list-tags", f"docker-archive:{tmp_path / 'm.tar'}").split('"')
    )
    for name in names:
        seen = oracles.inspect(f"docker-archive:{tmp_path / 'm.tar'}:{name}")
        assert seen["Layers"][0] == str(hashed.layers[0].diff_id)
    for engine in (docker_engine, podman_engine):
        loaded = {name.removeprefix("localhost/") for name in engine.load(path)}
        assert {n for line in loaded for n in line.replace("localhost/", "").split(",")} == names
        assert engine.run("owned:1", "/bin/stat", "-c", "%u:%g", "/mine").strip() == "12345:6789"
        assert engine.run(f"hashed:{hashed.tag}", "/bin/cat", "/etc/hashed") == "x"
        engine("rmi", "--force", *(f"{n}" for n in sorted(names)))
        assert {n.removeprefix("localhost/") for n in await merged.load(engine.url)} == names
        assert engine.run("sh:1", "/bin/echo", "hi").strip() == "hi"
    with pytest.raises(EngineError, match="socket"):
        await merged.load(str(tmp_path / "no.sock"))


def _owned(tmp_path: Path) -> Path:
    place = tmp_path / "host"
    place.mkdir()
    (place / "mine").write_text("x")
    os.chown(place / "mine", 12345, 6789)
    return place


async def test_repeated_layers_and_images(tmp_path: Path) -> None:
    """One image three times over, with a layer twice in itself, is one image."""
    one = layer({"a": b"1"})
    path = write_docker_archive(tmp_path / "p.tar", name="p:1", layers=[one, layer({}), one])
    merged = await nbdock.merge_images([path, path, await nbdock.load_image(path)])
    found = manifest(await merged.save(tmp_path / "m.tar"))
    assert tags(found) == [["p:1"]]
    assert len(found[0]["Layers"]) == 3
    assert isinstance(merged, MergedImages)
    assert len(merged) == 3
