"""Images into a real registry, and what other tools pull from there; round trips by digest."""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from support import oracles
from support.engine import Engine
from support.plain_images import busybox_layer, layer, write_docker_archive
from support.registry import OCI_INDEX, Registry, docker_registry

import nbdock
from nbdock.content import BlobStore
from nbdock.errors import ArgumentTypeError, NbdockError, RegistryError
from nbdock.images import Image, MultiPlatformImage
from nbdock.oci import Descriptor, Digest, Manifest, MediaType, Reference
from nbdock.registry import RegistryClient

_numbers = itertools.count()


@pytest.fixture
def repository() -> str:
    """A repository that no other test uses."""
    return f"pushing/r{next(_numbers)}"


async def an_image(name: str = "site", **arguments: Any) -> Image:
    base = await nbdock.build_layered_image(
        "base", contents=[nbdock.text_file("motd", "hello"), nbdock.script("run", "echo run")]
    )
    return await nbdock.build_image(
        name, tag="1", from_image=base, contents=nbdock.text_file("zeros", "0" * 300_000),
        config={"Cmd": ["/bin/run"]}, **arguments,
    )  # fmt: skip


def build(**arguments: Any) -> Image:
    return asyncio.run(an_image(**arguments))


def pull(name: object, **arguments: Any) -> Image:
    return asyncio.run(nbdock.pull_image(str(name), **arguments))


def inspect(name: object, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        oracles.skopeo("inspect", "--tls-verify=false", *options, f"docker://{name}")
    )
    return found


def bare(reference: Reference) -> str:
    """Without the tag, which skopeo does not want beside a digest."""
    return f"{reference.name}@{reference.digest}"


class TestRoundTrips:
    """What is pushed is what is pulled, by whichever tool."""

    def test_a_built_image(
        self, registry: Registry, repository: str, tmp_path: Path, podman_engine: Engine
    ) -> None:
        image = build()
        pushed = asyncio.run(image.push(f"{registry.host}/{repository}:1"))
        assert str(pushed) == f"{registry.host}/{repository}:1@{pushed.digest}"
        theirs = inspect(bare(pushed))
        assert theirs["Digest"] == str(pushed.digest) == inspect(pushed.with_digest(None))["Digest"]
        # skopeo and podman check every digest, and the diff IDs by unpacking.
        oracles.skopeo(
            "copy", "--src-tls-verify=false", f"docker://{bare(pushed)}",
            f"docker-archive:{tmp_path}/theirs.tar:site:1",
        )  # fmt: skip
        ours = asyncio.run(image.save(tmp_path / "ours.tar", flavor="skopeo"))
        assert ours.read_bytes() == (tmp_path / "theirs.tar").read_bytes()
        podman_id = podman_engine("pull", "-q", "--tls-verify=false", bare(pushed)).stdout.strip()
        assert podman_id == image.id.hex
        again = pull(pushed, store=BlobStore(tmp_path / "elsewhere"))
        assert (again.digest, again.id) == (pushed.digest, image.id)
        assert asyncio.run(again.file("zeros")) == b"0" * 300_000

    def test_what_podman_pushed(
        self, registry: Registry, repository: str, tmp_path: Path, podman_engine: Engine
    ) -> None:
        archive = write_docker_archive(
            tmp_path / "a.tar", name="pushing-a:1", layers=[busybox_layer(), layer({"b": b"2"})]
        )
        podman_engine.load(archive)
        name = f"{registry.host}/{repository}:podman"
        digest_file = tmp_path / "digest"
        podman_engine("push", "-q", "--tls-verify=false", "--digestfile", digest_file,
                      "localhost/pushing-a:1", name)  # fmt: skip
        image = pull(name)
        assert str(image.digest) == digest_file.read_text().strip()
        pushed = asyncio.run(image.push(f"{registry.host}/{repository}:nbdock"))
        assert pushed.digest == image.digest
        assert asyncio.run(image.file("b")) == b"2"

    @pytest.mark.parametrize("form", ["v2s2", "oci"])
    def test_what_skopeo_pushed(
        self, registry: Registry, repository: str, tmp_path: Path, form: str
    ) -> None:
        archive = write_docker_archive(
            tmp_path / "a.tar", name="a:1", layers=[layer({"a": b"1"}), layer({"b": b"2"})]
        )
        name = f"{registry.host}/{repository}:skopeo"
        oracles.skopeo("copy", "--dest-tls-verify=false", "-f", form, f"docker-archive:{archive}",
                       f"docker://{name}")  # fmt: skip
        image = pull(name)
        assert image.manifest.is_docker == (form == "v2s2")
        assert str(image.digest) == inspect(name)["Digest"]
        pushed = asyncio.run(image.push(f"{registry.host}/{repository}/other"))
        assert (pushed.tag, pushed.digest) == ("latest", image.digest)
        before = registry.count(f"PUT /v2/{repository}/other/blobs")
        assert before == 0, "the blobs are mounted from where they came"
        assert inspect(pushed.with_digest(None))["Digest"] == str(image.digest)


class TestForms:
    """How layers are compressed."""

    @pytest.mark.parametrize(
        ("compression", "media_type"),
        [
            (None, MediaType.OCI_LAYER_GZIP),
            ("gz", MediaType.OCI_LAYER_GZIP),
            ("zstd", MediaType.OCI_LAYER_ZSTD),
            ("none", MediaType.OCI_LAYER),
        ],
    )
    def test_of_a_built_image(
        self, registry: Registry, repository: str, tmp_path: Path,
        compression: str | None, media_type: str,
    ) -> None:  # fmt: skip
        image = build()
        reference = f"{registry.host}/{repository}:1"
        pushed = asyncio.run(image.push(reference, compression=compression))
        there = pull(pushed, store=BlobStore(tmp_path / "elsewhere"))
        assert {each.media_type for each in there.manifest.layers} == {media_type}
        assert there.id == image.id
        uploads = registry.count(f"PUT /v2/{repository}/blobs/")
        assert uploads == 5  # four layers and the configuration
        again = asyncio.run(image.push(reference, compression=compression))
        assert again == pushed
        assert registry.count(f"PUT /v2/{repository}/blobs/") == uploads

    def test_of_dockers_family(self, registry: Registry, repository: str, tmp_path: Path) -> None:
        archive = write_docker_archive(
            tmp_path / "a.tar", name="a:1", layers=[layer({"a": b"1"}), layer({"b": b"2"})]
        )
        image = pull(registry.copy_in(f"docker-archive:{archive}", repository, "1"))
        place = f"{registry.host}/{repository}"
        plain = pull(asyncio.run(image.push(f"{place}:plain", compression="none")))
        assert plain.manifest.is_docker
        assert {d.media_type for d in plain.manifest.layers} == {MediaType.DOCKER_LAYER}
        zipped = pull(asyncio.run(plain.push(f"{place}:zipped")))
        assert zipped.manifest.is_docker
        assert {d.media_type for d in zipped.manifest.layers} == {MediaType.DOCKER_LAYER_GZIP}
        zstd = pull(asyncio.run(image.push(f"{place}:zstd", compression="zstd")))
        assert zstd.descriptor.media_type == MediaType.OCI_MANIFEST
        assert zstd.manifest.config.media_type == MediaType.OCI_CONFIG
        assert {d.media_type for d in zstd.manifest.layers} == {MediaType.OCI_LAYER_ZSTD}
        assert {plain.id, zipped.id, zstd.id} == {image.id}

    def test_a_layer_that_is_there_twice(
        self, registry: Registry, repository: str, tmp_path: Path
    ) -> None:
        one, two = layer({"a": b"1"}), layer({"b": b"2"})
        archive = write_docker_archive(tmp_path / "a.tar", name="a:1", layers=[one, two, one, one])
        image = asyncio.run(nbdock.load_image(archive))
        pushed = asyncio.run(image.push(f"{registry.host}/{repository}:1"))
        assert registry.count(f"PUT /v2/{repository}/blobs/") == 3
        layers = pull(pushed, store=BlobStore(tmp_path / "elsewhere")).layers
        assert [each.diff_id for each in layers] == [each.diff_id for each in image.layers]

    def test_foreign_layers_stay_where_they_are(self, tmp_path: Path) -> None:
        urls = {"validation": {"manifests": {"urls": {"allow": ["^https://layers.example/"]}}}}
        with docker_registry(tmp_path / "registry", config=urls) as registry:
            store = BlobStore.default()
            image = build()
            own = image.layers[0].diff_id
            foreign = Descriptor(
                MediaType.DOCKER_FOREIGN_LAYER_GZIP, Digest.of(b"elsewhere"), 9,
                urls=("https://layers.example/one",),
            )  # fmt: skip
            config = json.dumps({
                "architecture": "amd64", "os": "windows", "rootfs": {
                    "type": "layers", "diff_ids": [str(Digest.of(b"tar")), str(own)]},
            }).encode()  # fmt: skip
            store.add(config)
            manifest = Manifest(
                Descriptor.of(config, MediaType.DOCKER_CONFIG),
                (foreign, Descriptor(MediaType.DOCKER_LAYER, own, store.size_of(own))),
                media_type=MediaType.DOCKER_MANIFEST,
            )
            store.add(manifest.to_bytes())
            windows = Image(store, manifest.descriptor(), "windows", "1")
            pushed = asyncio.run(windows.push(f"{registry.host}/windows:1"))
            raw = json.loads(oracles.skopeo("inspect", "--raw", "--tls-verify=false",
                                            f"docker://{bare(pushed)}"))  # fmt: skip
            assert raw["layers"][0]["urls"] == ["https://layers.example/one"]
            assert raw["layers"][1]["mediaType"] == MediaType.DOCKER_LAYER_GZIP
            assert not registry.has_blob("windows", str(foreign.digest))


class TestIndexes:
    """Several platforms under one name."""

    def test_push_index(self, registry: Registry, repository: str) -> None:
        async def scenario() -> Reference:
            images = [
                await nbdock.build_image(
                    "a", contents=nbdock.text_file("a", arch), architecture=arch
                )
                for arch in ("amd64", "arm64")
            ]
            return await nbdock.push_index(images, f"{registry.host}/{repository}:1")

        pushed = asyncio.run(scenario())
        raw = inspect(bare(pushed), "--raw")
        assert raw["mediaType"] == OCI_INDEX
        assert [each["platform"] for each in raw["manifests"]] == [
            {"architecture": "amd64", "os": "linux"},
            {"architecture": "arm64", "os": "linux", "variant": "v8"},
        ]
        for arch in ("amd64", "arm64"):
            found = json.loads(oracles.skopeo(
                "--override-arch", arch, "--override-os", "linux", "inspect", "--tls-verify=false",
                f"docker://{bare(pushed)}",
            ))  # fmt: skip
            assert found["Architecture"] == arch
            image = pull(pushed, arch=arch)
            assert asyncio.run(image.file("a")) == arch.encode()
        images = pull(pushed, platform="all")
        assert isinstance(images, MultiPlatformImage)
        copied = asyncio.run(images.push(f"{registry.host}/{repository}/copy:2"))
        assert copied.digest == pushed.digest
        assert registry.count(f"PUT /v2/{repository}/copy/blobs") == 0
        with pytest.raises(ArgumentTypeError, match="as it is"):
            asyncio.run(images.push(f"{registry.host}/{repository}/copy:2", compression="gz"))

    def test_of_dockers_family(self, registry: Registry, repository: str, tmp_path: Path) -> None:
        archive = write_docker_archive(tmp_path / "a.tar", name="a:1", layers=[layer({"a": b"1"})])
        image = pull(registry.copy_in(f"docker-archive:{archive}", repository, "1"))
        pushed = asyncio.run(nbdock.push_index([image], f"{registry.host}/{repository}:2"))
        raw = inspect(bare(pushed), "--raw")
        assert raw["mediaType"] == MediaType.DOCKER_MANIFEST_LIST
        assert raw["manifests"][0]["digest"] == str(image.digest)

    def test_what_makes_no_index(self) -> None:
        image = build()
        with pytest.raises(ArgumentTypeError, match="both for linux/"):
            asyncio.run(nbdock.push_index([image, image], "localhost:1/a:1"))
        with pytest.raises(ArgumentTypeError, match="no images"):
            asyncio.run(nbdock.push_index([], "localhost:1/a:1"))
        with pytest.raises(ArgumentTypeError, match="a list of images"):
            asyncio.run(nbdock.push_index([image, "a.tar"], "localhost:1/a:1"))  # type: ignore[list-item]


class TestFailures:
    """Nothing is visible at a tag before all of it is there."""

    def test_a_push_that_breaks_off(
        self, registry: Registry, repository: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        image = build()
        name = f"{registry.host}/{repository}:1"
        real = RegistryClient.push_blob
        count = itertools.count()

        async def fails(*arguments: Any, **more: Any) -> Any:
            if next(count) == 2:
                raise RegistryError("no more", status=500)
            return await real(*arguments, **more)

        monkeypatch.setattr(RegistryClient, "push_blob", fails)
        with pytest.raises(RegistryError, match="no more"):
            asyncio.run(image.push(name))
        assert registry.request("GET", f"/v2/{repository}/manifests/1")[0] == 404
        monkeypatch.undo()
        assert pull(asyncio.run(image.push(name))).id == image.id

    def test_a_push_that_is_cancelled(self, registry: Registry, repository: str) -> None:
        image = build()
        name = f"{registry.host}/{repository}:1"

        async def scenario() -> None:
            started = asyncio.Event()
            push = asyncio.create_task(image.push(name, progress=lambda *_: started.set()))
            await started.wait()
            push.cancel()
            with pytest.raises(asyncio.CancelledError):
                await push

        asyncio.run(scenario())
        assert registry.request("GET", f"/v2/{repository}/manifests/1")[0] == 404

    @pytest.mark.parametrize(
        ("reference", "arguments", "said"),
        [
            ("a b", {}, "a blank"),
            (7, {}, "must be a reference"),
            (f"localhost:1/a@sha256:{'a' * 64}", {}, "Push to localhost:1/a:latest"),
            ("localhost:1/a", {"compression": "xz"}, "not compressed with xz"),
            ("localhost:1/a", {"compression": "gzp"}, "Did you mean gzip"),
            ("localhost:1/a", {"tls_verify": None}, "True or False"),
        ],
    )
    def test_arguments_that_mean_nothing(
        self, reference: Any, arguments: dict[str, Any], said: str
    ) -> None:
        with pytest.raises(ArgumentTypeError) as caught:
            asyncio.run(build().push(reference, **arguments))
        assert said in str(caught.value)

    def test_a_registry_that_is_not_there(self) -> None:
        with pytest.raises(NbdockError):
            asyncio.run(build().push("localhost:1/a:1"))


def test_progress_adds_up(registry: Registry, repository: str) -> None:
    lines: list[tuple[str, int, int]] = []
    name = f"{registry.host}/{repository}:1"
    image = build()
    asyncio.run(image.push(name, progress=lambda *line: lines.append(line)))
    assert lines[-1][0] == f"Pushing {name}"
    assert lines[-1][1] == lines[-1][2] > 0
    assert all(done <= total for _, done, total in lines)


def test_blobs_are_mounted_from_where_they_are_known_to_be(
    registry: Registry, repository: str
) -> None:
    tars = [layer({"a": b"1"}), layer({"b": b"2"})]
    registry.push(repository, "1", layers=tars)
    base = pull(f"{registry.host}/{repository}:1")
    built = asyncio.run(
        nbdock.build_image("on", from_image=base, contents=nbdock.text_file("c", "3"))
    )
    pushed = asyncio.run(built.push(f"{registry.host}/{repository}/on:1"))
    assert pull(pushed).manifest.layers[:2] == base.manifest.layers
    assert registry.count(f"PUT /v2/{repository}/on/blobs") == 2  # one layer, one configuration
    # A repository that has lost them: they are uploaded.
    for tar in tars:
        digest = Digest.of(gzip.compress(tar, 1, mtime=0))
        assert registry.request("DELETE", f"/v2/{repository}/blobs/{digest}")[0] == 202
    renamed = dataclasses.replace(base, name="x")
    assert asyncio.run(renamed.push(f"{registry.host}/{repository}/y:1")).digest == base.digest
