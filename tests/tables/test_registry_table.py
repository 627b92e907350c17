"""`registry_table`, `index_table` and `layer_table` of what a real registry has."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support import oracles
from support.plain_images import layer
from support.registry import OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST, PushedImage, Registry

import nbdock
from nbdock import concurrency
from nbdock.content import BlobStore
from nbdock.errors import (
    ArgumentTypeError,
    ImageNotFoundError,
    InvalidManifestError,
    InvalidReferenceError,
    ManifestNotFoundError,
    PlatformNotFoundError,
)
from nbdock.oci import Reference

REGISTRY = {
    "platforms": "object", "platform": "str", "created": "datetime64[us, UTC]", "layers": "Int64",
    "size_bytes": "Int64", "digest": "str", "media_type": "category",
}  # fmt: skip
INDEX = {name: kind for name, kind in REGISTRY.items() if name != "platforms"}
LAYERS = {
    "diff_id": "str", "digest": "str", "media_type": "category", "size_bytes": "int64",
    "uncompressed_bytes": "Int64", "contents": "object", "created_by": "str", "comment": "str",
}  # fmt: skip

_numbers = itertools.count()
pytestmark = pytest.mark.usefixtures("nbdock_home")


@pytest.fixture
def repository() -> str:
    """A repository that no other test uses."""
    return f"tables/r{next(_numbers)}"


def kinds(table: pd.DataFrame) -> dict[str, str]:
    return {name: str(dtype) for name, dtype in table.dtypes.items()}


def put_image(
    registry: Registry, repository: str, tag: str, config: dict[str, Any], layers: list[bytes]
) -> str:
    """An image whose configuration is as given; layers that are there are not sent again."""
    diff_ids = [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in layers]
    for data, digest in zip(layers, diff_ids, strict=True):
        if not registry.has_blob(repository, digest):
            registry.put_blob(repository, data)
    rootfs = {"type": "layers", "diff_ids": diff_ids}
    data = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs, **config}).encode()
    described = {"mediaType": OCI_CONFIG, "digest": registry.put_blob(repository, data)}
    manifest = {
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": {**described, "size": len(data)},
        "layers": [
            {"mediaType": OCI_LAYER_GZIP.removesuffix("+gzip"), "digest": digest, "size": len(data)}
            for data, digest in zip(layers, diff_ids, strict=True)
        ],
    }  # fmt: skip
    return registry.put_manifest(repository, tag, json.dumps(manifest).encode(), OCI_MANIFEST)


def put_artifact(registry: Registry, repository: str, tag: str) -> str:
    config = registry.put_blob(repository, b"{}")
    manifest = {
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": config,
                   "size": 2},
        "layers": [],
    }  # fmt: skip
    return registry.put_manifest(repository, tag, json.dumps(manifest).encode(), OCI_MANIFEST)


def two_platforms(registry: Registry, repository: str, tag: str) -> dict[str, PushedImage]:
    images = {
        "linux/amd64": registry.push(repository, f"{tag}-a", layers=[layer({"a": b"1"})]),
        "linux/arm64": registry.push(
            repository, f"{tag}-b", layers=[layer({"b": b"2"})] * 2, architecture="arm64"
        ),
    }
    registry.push_index(repository, tag, images)
    return images


class TestRegistryTable:
    def test_tags_and_what_they_stand_for(self, registry: Registry, repository: str) -> None:
        place = f"{registry.host}/{repository}"
        images = two_platforms(registry, repository, "1.10")
        old = put_image(registry, repository, "1.9", {"created": "0001-01-01T00:00:00Z"}, [])
        new = put_image(
            registry, repository, "edge", {"created": "2024-02-03T05:06:07.123456789+01:00"},
            [layer({"x": b"x" * 9000})],
        )  # fmt: skip
        before = len(registry.requests)
        table = nbdock.registry_table(place)
        assert kinds(table) == REGISTRY
        assert table.index.name == "tag"
        assert list(table.index) == ["1.9", "1.10", "1.10-a", "1.10-b", "edge"]
        assert table.loc["1.10", "media_type"].endswith("index.v1+json")
        assert table.loc["1.10", "platforms"] == ["linux/amd64", "linux/arm64/v8"]
        assert table.loc["1.10", "platform"] in table.loc["1.10", "platforms"]
        assert list(table.loc[["1.10-a", "1.10-b"], "layers"]) == [1, 2]
        sizes = [sum(map(len, image.layers)) for image in images.values()]
        assert list(table.loc[["1.10-a", "1.10-b"], "size_bytes"]) == sizes
        assert list(table.loc[["1.9", "edge"], "digest"]) == [old, new]
        assert table.loc["1.9", "created"].year == 1
        assert table.loc["edge", "created"].isoformat() == "2024-02-03T04:06:07.123456+00:00"
        assert pd.isna(table.loc["1.10-a", "created"])
        for tag in ("1.9", "1.10-a", "edge"):
            theirs = oracles.skopeo("inspect", "--tls-verify=false", f"docker://{place}:{tag}")
            assert table.loc[tag, "digest"] == json.loads(theirs)["Digest"]
            assert table.loc[tag, "layers"] == len(json.loads(theirs)["Layers"])
        # No layer was asked for.
        digests = {f"sha256:{hashlib.sha256(each).hexdigest()}"
                   for image in images.values() for each in image.layers}  # fmt: skip
        asked = registry.requests[before:]
        assert not [line for line in asked for digest in digests if digest in line]

    def test_which_tags(self, registry: Registry, repository: str) -> None:
        place = f"{registry.host}/{repository}"
        for tag in ("7", "7.2", "8", "8-alpine"):
            put_image(registry, repository, tag, {}, [])
        assert list(nbdock.registry_table(place, tags="7*").index) == ["7", "7.2"]
        assert list(nbdock.registry_table(place, tags=["*-alpine", "8"]).index) == ["8", "8-alpine"]
        assert list(nbdock.registry_table(f"docker://{place}:7.2").index) == ["7.2"]
        assert list(nbdock.registry_table(Reference.parse(f"{place}:7")).index) == ["7"]
        none = nbdock.registry_table(place, tags="nothing*")
        assert kinds(none) == REGISTRY
        assert none.index.name == "tag"
        assert none.empty

    def test_a_platform(self, registry: Registry, repository: str) -> None:
        place = f"{registry.host}/{repository}"
        images = two_platforms(registry, repository, "1")
        table = nbdock.registry_table(place, platform="arm64")
        sizes = [sum(map(len, image.layers)) for image in images.values()]
        assert table.loc["1", "platform"] == "linux/arm64/v8"
        assert table.loc["1", "size_bytes"] == sizes[1]
        other = nbdock.registry_table(f"{place}:1", platform="linux/s390x")
        assert other.loc["1", "platforms"] == ["linux/amd64", "linux/arm64/v8"]
        assert other.loc["1", "platform"] == ""
        assert pd.isna(other.loc["1", "size_bytes"])

    def test_without_this_machines_platform_the_first(
        self, registry: Registry, repository: str
    ) -> None:
        image = registry.push(repository, "b", architecture="s390x")
        registry.push_index(repository, "1", {"linux/s390x": image})
        table = nbdock.registry_table(f"{registry.host}/{repository}:1")
        assert table.loc["1", "platform"] == "linux/s390x"
        assert table.loc["1", "layers"] == 1

    def test_what_is_no_image_or_damaged_has_its_row(
        self, registry: Registry, repository: str
    ) -> None:
        chart = put_artifact(registry, repository, "chart")
        broken = registry.push(repository, "broken", layers=[layer({"a": b"1"})])
        config = json.loads(broken.manifest)["config"]["digest"]
        place = f"{registry.host}/{repository}"
        put_image(registry, repository, "good", {}, [])
        path = f"docker/registry/v2/repositories/{repository}/_layers/sha256/{config[7:]}/link"
        (registry.storage / path).unlink()
        table = nbdock.registry_table(place)
        assert table.loc["chart", ["digest", "platform", "layers"]].tolist() == [chart, "", 0]
        assert table.loc["chart", "platforms"] == []
        assert table.loc["broken", "digest"] == broken.digest
        assert pd.isna(table.loc["broken", "size_bytes"])
        assert table.loc["good", "platform"] == "linux/amd64"
        with pytest.raises(nbdock.errors.RegistryError, match="404"):
            nbdock.layer_table(f"{place}:broken")

    def test_a_table_again_asks_what_tags_stand_for_only(
        self, registry: Registry, repository: str
    ) -> None:
        place = f"{registry.host}/{repository}"
        two_platforms(registry, repository, "1")
        first = nbdock.registry_table(place)
        before = len(registry.requests)
        pd.testing.assert_frame_equal(nbdock.registry_table(place), first)
        asked = [
            line for line in registry.requests[before:] if "/blobs/" in line or "sha256" in line
        ]
        assert asked == []
        # What was damaged here is fetched again.
        store = BlobStore.default()
        for blob in list(store.blobs()):
            path = store.path_of(blob.digest)
            path.chmod(0o644)
            path.write_bytes(b" " * blob.size_bytes)
        pd.testing.assert_frame_equal(nbdock.registry_table(place), first)
        assert list(store.verify()) == []

    def test_progress(self, registry: Registry, repository: str) -> None:
        two_platforms(registry, repository, "1")
        lines: list[tuple[str, int, int]] = []
        nbdock.registry_table(
            f"{registry.host}/{repository}", progress=lambda *line: lines.append(line)
        )
        assert lines[0] == ("Looking tags up", 1, 3)
        assert lines[-1] == ("Reading manifests", 3, 3)

    def test_what_is_refused(self, registry: Registry) -> None:
        with pytest.raises(ManifestNotFoundError):
            nbdock.registry_table(f"{registry.host}/tables/none")
        with pytest.raises(
            ArgumentTypeError, match=r"a name in a registry, not 3 \(of the type int\)"
        ):
            nbdock.registry_table(3)  # type: ignore[arg-type]
        with pytest.raises(InvalidReferenceError):
            nbdock.registry_table("a//b")
        with pytest.raises(ArgumentTypeError, match="Did you mean amd64"):
            nbdock.registry_table("a", platform="amd46")
        with pytest.raises(ArgumentTypeError, match="platform must be"):
            nbdock.registry_table("a", platform=3)  # type: ignore[arg-type]


class TestIndexTable:
    def test_one_row_for_each_platform(self, registry: Registry, repository: str) -> None:
        images = two_platforms(registry, repository, "1")
        table = nbdock.index_table(f"{registry.host}/{repository}:1")
        assert kinds(table) == INDEX
        assert table.index.name == "position"
        assert list(table["platform"]) == ["linux/amd64", "linux/arm64/v8"]
        assert list(table["digest"]) == [image.digest for image in images.values()]
        assert list(table["layers"]) == [1, 2]

    def test_attestations_are_left_out_and_indexes_opened(
        self, registry: Registry, repository: str
    ) -> None:
        image = registry.push(repository, "a")
        statement = put_artifact(registry, repository, "s")
        inner_digest = registry.push_index(repository, "inner", {"linux/amd64": image})
        inner = registry.request(
            "GET", f"/v2/{repository}/manifests/{inner_digest}",
            headers={"Accept": "application/vnd.oci.image.index.v1+json"},
        )[2]  # fmt: skip
        size = len(registry.request("GET", f"/v2/{repository}/manifests/{statement}",
                                    headers={"Accept": OCI_MANIFEST})[2])  # fmt: skip
        kind = "application/vnd.oci.image.index.v1+json"
        index = {
            "schemaVersion": 2, "mediaType": kind,
            "manifests": [
                {"mediaType": kind, "digest": inner_digest, "size": len(inner)},
                {"mediaType": OCI_MANIFEST, "digest": statement, "size": size,
                 "platform": {"os": "unknown", "architecture": "unknown"},
                 "annotations": {"vnd.docker.reference.type": "attestation-manifest"}},
            ],
        }  # fmt: skip
        registry.put_manifest(repository, "outer", json.dumps(index).encode(), kind)
        table = nbdock.index_table(f"{registry.host}/{repository}:outer")
        assert list(table["digest"]) == [image.digest]
        assert list(table["platform"]) == ["linux/amd64"]

    def test_one_image(self, registry: Registry, repository: str) -> None:
        image = registry.push(repository, "latest", architecture="arm", variant="v6")
        table = nbdock.index_table(f"{registry.host}/{repository}")
        assert kinds(table) == INDEX
        assert table.loc[0, ["digest", "platform"]].tolist() == [image.digest, "linux/arm/v6"]

    def test_an_empty_index(self, registry: Registry, repository: str) -> None:
        registry.push_index(repository, "1", {})
        table = nbdock.index_table(f"{registry.host}/{repository}:1")
        assert kinds(table) == INDEX
        assert table.empty

    def test_no_such_image(self, registry: Registry, repository: str) -> None:
        registry.push(repository, "1.11")
        with pytest.raises(ManifestNotFoundError, match=r"Did you mean 1\.11"):
            nbdock.index_table(f"{registry.host}/{repository}:1.12")


class TestLayerTable:
    def test_a_reference_is_what_its_pull_is(
        self, registry: Registry, repository: str, tmp_path: Path
    ) -> None:
        built = concurrency.run(
            nbdock.build_layered_image("x", tag="1", contents=nbdock.text_file("etc/motd", "hi"))
        )
        archive = concurrency.run(built.save(tmp_path / "x.tar"))
        name = registry.copy_in(f"docker-archive:{archive}", repository, "1")
        before = len(registry.requests)
        table = nbdock.layer_table(name)
        assert not [line for line in registry.requests[before:] if line.startswith("GET") and
                    any(digest in line for digest in table["digest"])]  # fmt: skip
        assert kinds(table) == LAYERS
        assert table.index.name == "position"
        assert list(table["diff_id"]) == [str(each.diff_id) for each in built.layers]
        assert list(table["contents"]) == [["motd"], ["nothing at the root"]]
        assert set(table["created_by"]) == {"nbdock"}
        assert table["media_type"].str.endswith("gzip").all()
        pulled = concurrency.run(nbdock.pull_image(name))
        same = nbdock.layer_table(pulled)
        # Here the build left the tars, so their sizes are known.
        assert list(same["uncompressed_bytes"]) == [10240, 10240]
        assert table["uncompressed_bytes"].isna().all()
        pd.testing.assert_frame_equal(
            table.drop(columns="uncompressed_bytes"), same.drop(columns="uncompressed_bytes")
        )
        by_path = nbdock.layer_table(archive)
        assert list(by_path["diff_id"]) == list(table["diff_id"])
        assert list(by_path["uncompressed_bytes"]) == list(by_path["size_bytes"])

    def test_several_at_once(self, registry: Registry, repository: str, tmp_path: Path) -> None:
        base = layer({"base": b"x"})
        one = registry.push(repository, "1", layers=[base]).name
        two = registry.push(repository, "2", layers=[base, layer({"y": b"y"})]).name
        image = concurrency.run(nbdock.build_image("own", tag="1"))
        table = nbdock.layer_table([one, Reference.parse(two), image, one])
        assert kinds(table) == LAYERS
        assert list(table.index.names) == ["image", "position"]
        assert list(table.index) == [(one, 0), (two, 0), (two, 1), ("own:1", 0), (one, 0)]
        shared = table.groupby("digest").size()
        assert shared[table.loc[(two, 0), "digest"]] == 3
        none = nbdock.layer_table([])
        assert kinds(none) == LAYERS
        assert list(none.index.names) == ["image", "position"]

    def test_a_layer_that_is_not_compressed(self, registry: Registry, repository: str) -> None:
        tar = layer({"a": b"1"})
        put_image(registry, repository, "1", {}, [tar])
        table = nbdock.layer_table(f"{registry.host}/{repository}:1")
        assert list(table["uncompressed_bytes"]) == [len(tar)]

    def test_platforms(self, registry: Registry, repository: str) -> None:
        two_platforms(registry, repository, "1")
        name = f"{registry.host}/{repository}:1"
        assert len(nbdock.layer_table(name, platform="linux/arm64")) == 2
        with pytest.raises(PlatformNotFoundError, match="linux/arm64/v8"):
            nbdock.layer_table(name, platform="s390x")

    def test_the_platform_of_an_only_image(self, registry: Registry, repository: str) -> None:
        config = {"architecture": "arm64", "os": "linux"}
        digest = put_image(registry, repository, "1", config, [layer({"a": b"1"})])
        name = f"{registry.host}/{repository}:1"
        assert len(nbdock.layer_table(name)) == 1
        assert len(nbdock.layer_table(name, platform="linux/arm64")) == 1
        with pytest.raises(PlatformNotFoundError, match="not there for linux/s390x") as caught:
            nbdock.layer_table(name, platform="s390x")
        assert caught.value.hint == "It is there for linux/arm64."
        # A digest means that image and no other.
        assert len(nbdock.layer_table(f"{name}@{digest}", platform="s390x")) == 1

    def test_what_is_no_image(self, registry: Registry, repository: str, tmp_path: Path) -> None:
        put_artifact(registry, repository, "chart")
        with pytest.raises(InvalidManifestError, match=r"not an image.*helm"):
            nbdock.layer_table(f"{registry.host}/{repository}:chart")
        with pytest.raises(ManifestNotFoundError, match="Did you mean chart"):
            nbdock.layer_table(f"{registry.host}/{repository}:char")
        with pytest.raises(ImageNotFoundError, match="There is no file"):
            nbdock.layer_table(tmp_path / "none.tar")
        with pytest.raises(ImageNotFoundError, match="There is no file"):
            nbdock.layer_table("none.tar")

    def test_a_directory_of_the_name_is_no_archive(
        self, registry: Registry, repository: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        name = registry.push(repository, "1").name
        Path(name).mkdir(parents=True)
        assert len(nbdock.layer_table(name)) == 1


def test_a_hundred_images_in_seconds(registry: Registry, repository: str) -> None:
    base, top = layer({"base": b"b" * 1000}), layer({"top": b"t"})
    for number in range(100):
        created = f"2024-01-01T00:{number // 60:02}:{number % 60:02}Z"
        put_image(registry, repository, f"v{number}", {"created": created}, [base, top])
    place = f"{registry.host}/{repository}"
    before = len(registry.requests)
    started = time.perf_counter()
    table = nbdock.registry_table(place)
    layers = nbdock.layer_table([f"{place}:v{number}" for number in range(100)])
    # Loosely, for the machine is busy; alone it is one second.
    assert time.perf_counter() - started < 20
    assert list(table.index) == [f"v{number}" for number in range(100)]
    assert table["created"].is_monotonic_increasing
    assert len(layers) == 200
    assert layers["digest"].nunique() == 2
    # The documents once, what tags stand for twice, and nothing else.
    asked = registry.requests[before:]
    assert sum(line.startswith("HEAD") for line in asked) == 200
    assert len(asked) <= 200 + 200 + 4


def test_an_interrupted_table_leaves_nothing(registry: Registry, repository: str) -> None:
    for number in range(3):
        put_image(registry, repository, f"v{number}", {}, [])

    def stop(what: str, done: int, total: int) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        nbdock.registry_table(f"{registry.host}/{repository}", progress=stop)
    assert list(BlobStore.default().verify()) == []
    assert len(nbdock.registry_table(f"{registry.host}/{repository}")) == 3
