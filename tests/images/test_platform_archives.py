"""Archives and layouts with an image for several platforms, as skopeo writes them."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support import oracles
from support.plain_images import layer
from support.registry import OCI_CONFIG, OCI_MANIFEST, Registry

import nbdock
from nbdock.content import BlobStore
from nbdock.errors import ArgumentTypeError
from nbdock.images import Image, MultiPlatformImage
from nbdock.oci import Digest, Platform

NAME = "multi/archive"


@pytest.fixture(scope="module")
def pushed(registry: Registry) -> str:
    """The digest of an index for two platforms, with an attestation, at the registry."""
    images: dict[str, Any] = {
        "linux/amd64": registry.push(NAME, "a", layers=[layer({"a": b"amd64"})]),
        "linux/s390x": registry.push(
            NAME, "b", layers=[layer({"a": b"s390x"})], architecture="s390x"
        ),
    }
    statement = b'{"_type": "https://in-toto.io/Statement/v0.1"}'
    unknown = {"architecture": "unknown", "os": "unknown"}
    rootfs = {"type": "layers", "diff_ids": [str(Digest.of(statement))]}
    config = json.dumps({**unknown, "config": {}, "rootfs": rootfs}).encode()
    attestation = json.dumps({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": registry.put_blob(NAME, config),
                   "size": len(config)},
        "layers": [{"mediaType": "application/vnd.in-toto+json", "size": len(statement),
                    "digest": registry.put_blob(NAME, statement)}],
    }).encode()  # fmt: skip
    digest = registry.put_manifest(NAME, str(Digest.of(attestation)), attestation, OCI_MANIFEST)
    index = {
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            *({**image.descriptor, "platform": {"os": "linux", "architecture": name[6:]}}
              for name, image in images.items()),
            {"mediaType": OCI_MANIFEST, "digest": digest, "size": len(attestation),
             "platform": unknown, "annotations": {
                 "vnd.docker.reference.type": "attestation-manifest",
                 "vnd.docker.reference.digest": images["linux/amd64"].digest}},
        ],
    }  # fmt: skip
    data = json.dumps(index).encode()
    return registry.put_manifest(NAME, "all", data, index["mediaType"])


@pytest.fixture(params=["oci", "oci-archive"])
def archive(request: Any, registry: Registry, pushed: str, tmp_path: Path) -> Path:
    target = tmp_path / request.param
    oracles.skopeo(
        "copy", "--all", "--src-tls-verify=false", f"docker://{registry.host}/{NAME}:all",
        f"{request.param}:{target}:multi:1",
    )  # fmt: skip
    return target


def raw(name: str) -> bytes:
    return oracles.skopeo("inspect", "--tls-verify=false", "--raw", f"docker://{name}").encode()


def test_all_of_it_goes_through_the_store_unchanged(
    archive: Path, registry: Registry, pushed: str, tmp_path: Path
) -> None:
    image = asyncio.run(nbdock.load_image(archive, platform="all"))
    assert isinstance(image, MultiPlatformImage)
    assert str(image.index_descriptor.digest) == pushed
    assert image.reference == "multi:1"
    assert [str(platform) for platform in image.platforms] == ["linux/amd64", "linux/s390x"]
    assert image.config.platform.matches(Platform.host())
    assert [asyncio.run(one.file("a")) for one in image.images] == [b"amd64", b"s390x"]
    store = BlobStore.default()
    assert store.get_image("multi:1") == image.index_descriptor
    assert list(store.verify()) == []
    name = f"{registry.host}/{NAME}-{archive.name}:2"
    assert str(asyncio.run(image.push(name)).digest) == pushed
    assert raw(name) == raw(f"{registry.host}/{NAME}:all")
    # Skopeo finds everything there.
    oracles.skopeo("copy", "--all", "--src-tls-verify=false", f"docker://{name}",
                   f"oci:{tmp_path / 'again'}:x")  # fmt: skip


def test_one_is_the_default(archive: Path) -> None:
    image = asyncio.run(nbdock.load_image(archive))
    assert type(image) is Image
    assert asyncio.run(image.file("a")) == b"amd64"
    with pytest.raises(ArgumentTypeError, match="all platforms"):
        asyncio.run(nbdock.load_image(archive, platform="linux/s390x"))


def test_what_is_not_all_there_is_one_image(
    registry: Registry, pushed: str, tmp_path: Path
) -> None:
    """Docker's archives have the index as it was pulled, and only one platform's image."""
    target = tmp_path / "oci"
    oracles.skopeo("copy", "--all", "--src-tls-verify=false",
                   f"docker://{registry.host}/{NAME}:all", f"oci:{target}:multi:1")  # fmt: skip
    index = json.loads((target / "blobs/sha256" / pushed.removeprefix("sha256:")).read_text())
    other = index["manifests"][1]["digest"].removeprefix("sha256:")
    (target / "blobs/sha256" / other).unlink()
    image = asyncio.run(nbdock.load_image(target, platform="all"))
    assert type(image) is Image
    assert asyncio.run(image.file("a")) == b"amd64"


def test_damage_in_another_platforms_image_is_found(
    registry: Registry, pushed: str, tmp_path: Path
) -> None:
    target = tmp_path / "oci"
    oracles.skopeo("copy", "--all", "--src-tls-verify=false",
                   f"docker://{registry.host}/{NAME}:all", f"oci:{target}:multi:1")  # fmt: skip
    blobs = target / "blobs/sha256"
    index = json.loads((blobs / pushed.removeprefix("sha256:")).read_text())
    for entry in index["manifests"]:
        manifest = json.loads((blobs / entry["digest"].removeprefix("sha256:")).read_text())
        broken = tmp_path / entry["digest"]
        shutil.copytree(target, broken)
        place = broken / "blobs/sha256" / manifest["layers"][0]["digest"].removeprefix("sha256:")
        data = place.read_bytes()
        place.write_bytes(bytes([data[0] ^ 1]) + data[1:])
        with pytest.raises(nbdock.NbdockError):
            asyncio.run(nbdock.load_image(broken, platform="all"))
        assert list(BlobStore.default().verify()) == []
