"""Archives in skopeo's flavor: skopeo itself is the oracle, byte for byte."""

from __future__ import annotations

import asyncio
import dataclasses
import filecmp
import gzip
import hashlib
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support import oracles
from support.plain_images import layer

import nbdock
from nbdock.content import BlobStore
from nbdock.errors import ArgumentTypeError
from nbdock.images import skopeoarchive
from nbdock.images.image import Image
from nbdock.images.saving import skopeo_archive_members
from nbdock.oci import Descriptor, Digest, MediaType

A, B = layer({"a": b"one"}), layer({"b": b"two", "bin/sh": "busybox"})
ZIPPED = {"oci": MediaType.OCI_LAYER_GZIP, "docker": MediaType.DOCKER_LAYER_GZIP}


def config(layers: Sequence[bytes], **more: Any) -> dict[str, Any]:
    diff_ids = [f"sha256:{hashlib.sha256(one).hexdigest()}" for one in layers]
    rootfs = {"type": "layers", "diff_ids": diff_ids}
    return {"architecture": "amd64", "os": "linux", **more, "rootfs": rootfs}


def image_directory(
    directory: Path, document: bytes, layers: Sequence[bytes], *, family: str = "oci",
    zipped: bool = True,
) -> Image:  # fmt: skip
    """An image as skopeo's ``dir:`` has it, and the same image in the store."""
    directory.mkdir(exist_ok=True)
    store = BlobStore.default()
    plain = {"oci": MediaType.OCI_LAYER, "docker": MediaType.DOCKER_LAYER}
    kind = {
        "oci": (MediaType.OCI_MANIFEST, MediaType.OCI_CONFIG),
        "docker": (MediaType.DOCKER_MANIFEST, MediaType.DOCKER_CONFIG),
    }

    def put(data: bytes, media_type: str) -> dict[str, Any]:
        descriptor = Descriptor.of(data, media_type)
        (directory / descriptor.digest.hex).write_bytes(data)
        store.add(data)
        return descriptor.to_json()

    manifest = {
        "schemaVersion": 2,
        "mediaType": kind[family][0],
        "config": put(document, kind[family][1]),
        "layers": [
            put(gzip.compress(one, mtime=0), ZIPPED[family]) if zipped else put(one, plain[family])
            for one in layers
        ],
    }  # fmt: skip
    data = json.dumps(manifest).encode()
    (directory / "manifest.json").write_bytes(data)
    (directory / "version").write_text("Directory Transport Version: 1.1\n")
    store.add(data)
    return Image(store, Descriptor.of(data, kind[family][0]), "team/app", "1")


def skopeo_archive(directory: Path, path: Path, name: str = "team/app:1") -> Path:
    target = f"docker-archive:{path}" + (f":{name}" if name else "")
    oracles.skopeo("copy", f"dir:{directory}", target)
    return path


def assert_same(image: Image, directory: Path, tmp_path: Path) -> None:
    theirs = skopeo_archive(directory, tmp_path / "theirs.tar", image.reference)
    ours = asyncio.run(image.save(tmp_path / "ours.tar", flavor="skopeo"))
    assert filecmp.cmp(ours, theirs, shallow=False)

    async def hashed() -> Digest:
        members = await skopeo_archive_members(image, image.reference)
        return skopeoarchive.skopeo_hash(image.store, members)

    assert asyncio.run(hashed()).hex == hashlib.sha256(theirs.read_bytes()).hexdigest()


DOCUMENTS = {
    "plain": json.dumps(config([A, B])),
    "with blanks": json.dumps(
        config([A, B], config={"Env": ["A= b  c", 'q"\\"'], "Cmd": None}), indent=4
    ),
    "letters that Go escapes": json.dumps(
        config([A, B], config={"Cmd": ["<b>&amp;\u2028\u2029é\x7f"]}), ensure_ascii=False
    ),
    "escapes": json.dumps(
        config([A, B], config={"Cmd": ["<>&\u2028é\ud83d\ude00 \\u003c / \t\""], "/": "\\/"})
    ).replace('"architecture"', '"\\u0061rchitecture"'),
    "all that is repeated": json.dumps(
        {
            "docker_version": "20.10.7",
            "container": "ab" * 32,
            "container_config": {"Hostname": "", "Cmd": ["/bin/sh", "-c", "#(nop) <x>"]},
            "created": "2021-01-01T00:00:00.123456789Z",
            "os.version": "1", "variant": "v8", "id": "x", "parent": "y", "layer_id": "z",
            "history": [{"created_by": "a"}, {"empty_layer": True}, {"created_by": "b"}],
            **config([A, B], config={"Labels": {"b": "1", "a": "2"}, "Numbers": [1.50, 1e3]}),
        },
        separators=(" ,\r\n", "\t: "),
    ),
    "null": json.dumps(config([A, B], config=None, created=None, container_config=None)),
}  # fmt: skip


@pytest.mark.parametrize("family", ["oci", "docker"])
@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
def test_configurations(document: str, family: str, tmp_path: Path) -> None:
    image = image_directory(tmp_path / "dir", document.encode(), [A, B], family=family)
    assert_same(image, tmp_path / "dir", tmp_path)


LAYERS = {
    "none": [],
    "one": [A],
    "the same again": [A, B, A, A],
    "an empty tar": [A, bytes(1024), B],
    "not whole blocks": [b"x" * 700],
    "large": [A, random.Random(1).randbytes(3_000_000)],
    "fifty": [layer({f"f{n}": str(n).encode()}) for n in range(50)],
}


@pytest.mark.parametrize("zipped", [True, False], ids=["gzip", "plain"])
@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_layers(layers: list[bytes], zipped: bool, tmp_path: Path) -> None:
    document = json.dumps(config(layers)).encode()
    image = image_directory(tmp_path / "dir", document, layers, zipped=zipped)
    assert_same(image, tmp_path / "dir", tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "app",
        "library/app:x",
        "localhost/app:1",
        "registry.example:5000/team/app:v1.0_x",
        "quay.io/" + "/".join(["long-name"] * 20) + ":" + "t" * 128,
        "",
    ],
)
def test_names(name: str, tmp_path: Path) -> None:
    document = json.dumps(config([A])).encode()
    image = image_directory(tmp_path / "dir", document, [A])
    place, _, tag = name.rpartition(":")
    named = (place, tag) if place and "/" not in tag else (name, "")
    assert_same(dataclasses.replace(image, name=named[0], tag=named[1]), tmp_path / "dir", tmp_path)


def test_an_image_of_packages(tmp_path: Path) -> None:
    async def scenario() -> Image:
        base = await nbdock.build_layered_image(
            "base", contents=[nbdock.text_file("etc/motd", "hi"), nbdock.script("run", "echo x")]
        )
        return await nbdock.build_image(
            "site", tag="1", from_image=base, contents=nbdock.text_file("zeros", "0" * 300_000),
            config={"Cmd": ["/bin/run", "<&>"], "Env": ["A=1"], "ExposedPorts": {"80/tcp": {}}},
        )  # fmt: skip

    image = asyncio.run(scenario())
    oci = asyncio.run(image.save(tmp_path / "site.oci.tar", compression="gz"))
    oracles.skopeo("copy", f"oci-archive:{oci}", f"docker-archive:{tmp_path}/theirs.tar:site:1")
    ours = asyncio.run(image.save(tmp_path / "ours.tar", flavor="skopeo"))
    assert filecmp.cmp(ours, tmp_path / "theirs.tar", shallow=False)
    assert asyncio.run(nbdock.load_image(ours)).id == image.id
    zipped = asyncio.run(image.save(tmp_path / "ours.tar.gz", flavor="skopeo"))
    assert gzip.decompress(zipped.read_bytes()) == ours.read_bytes()


def test_a_layer_of_eight_gibibytes_has_the_header_that_go_writes() -> None:
    digest = Digest("sha256", "ab" * 32)
    huge = Descriptor(MediaType.OCI_LAYER, digest, 8**11 + 512)
    document = json.dumps({"architecture": "amd64", "os": "linux",
                           "rootfs": {"type": "layers", "diff_ids": [str(digest)]}})  # fmt: skip
    parsed = nbdock.images.image.ImageConfig.parse(document.encode())
    member = skopeoarchive.skopeo_members([huge], parsed, "a:b")[0]
    # Seen at the start of what skopeo 1.9.3 made of such an image.
    first, payload, last = (member.header[n : n + 512] for n in (0, 512, 1024))
    assert first.startswith(b"PaxHeaders.0/" + b"ab" * 32 + b".tar\0")
    assert first[100:165] == (
        b"0000000\x000000000\x000000000\x0000000000023\x0000000000000\x00025143\x00 x" + bytes(8)
    )
    assert first[257:] == b"ustar\x0000" + bytes(247)
    assert payload == b"19 size=8589935104\n".ljust(512, b"\0")
    assert last[100:157] == (
        b"0000444\x000000000\x000000000\x0000000000000\x0000000000000\x00024120\x00 0"
    )
    assert last[257:] == b"ustar\x0000" + bytes(64) + b"0000000\0" * 2 + bytes(167)


def test_what_cannot_be(tmp_path: Path) -> None:
    image = image_directory(tmp_path / "dir", json.dumps(config([A])).encode(), [A])
    with pytest.raises(ArgumentTypeError, match="no flavor 'docker'"):
        asyncio.run(image.save(tmp_path / "a.tar", flavor="docker"))
    for path, form in ((tmp_path / "a.oci.tar", None), (tmp_path / "a", "oci")):
        with pytest.raises(ArgumentTypeError, match="docker-archives"):
            asyncio.run(image.save(path, format=form, flavor="skopeo"))
    with pytest.raises(ArgumentTypeError, match="capitals"):
        asyncio.run(
            dataclasses.replace(image, name="x/App").save(tmp_path / "a.tar", flavor="skopeo")
        )
    assert not (tmp_path / "a.tar").exists()
