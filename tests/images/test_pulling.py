"""Images from a real registry; what they must be, and what they are refused for."""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import hashlib
import itertools
import json
import time
from pathlib import Path
from typing import Any

import pytest
from support import oracles
from support.plain_images import busybox_layer, layer, write_docker_archive
from support.registry import OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST, Registry

import nbdock
from nbdock import settings
from nbdock.content import BlobStore
from nbdock.errors import (
    ArgumentTypeError,
    DigestMismatchError,
    InvalidManifestError,
    ManifestNotFoundError,
    PlatformNotFoundError,
    RegistryError,
    UnknownArgumentError,
)
from nbdock.images import Image, MultiPlatformImage
from nbdock.images.pullrequest import PullRequest
from nbdock.oci import Digest, Platform

_numbers = itertools.count()


@pytest.fixture
def repository() -> str:
    """A repository that no other test uses."""
    return f"pulling/r{next(_numbers)}"


def pull(name: str, **arguments: Any) -> Image:
    return asyncio.run(nbdock.pull_image(name, **arguments))


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class TestNames:
    """Which image is meant, and what it is called here."""

    def test_by_tag_and_by_digest(self, registry: Registry, repository: str) -> None:
        one = registry.push(repository, "1", layers=[layer({"a": b"1"})])
        latest = registry.push(repository, "latest", layers=[layer({"a": b"2"})])
        place = f"{registry.host}/{repository}"
        assert str(pull(place).digest) == latest.digest
        assert str(pull(place, image_tag="1").digest) == one.digest
        assert str(pull(f"{place}:1").digest) == one.digest
        assert str(pull(place, image_digest=one.digest).digest) == one.digest
        assert str(pull(f"{place}@{one.digest}").digest) == one.digest
        by_both = pull(place, image_tag="latest", image_digest=one.digest)
        assert (str(by_both.digest), by_both.reference) == (one.digest, f"{place}:latest")
        assert asyncio.run(by_both.file("a")) == b"1"

    @pytest.mark.parametrize(
        ("arguments", "reference", "final"),
        [
            ({"image_name": "mysql"}, "docker.io/library/mysql:latest", "mysql:latest"),
            ({"image_name": "mysql:8"}, "docker.io/library/mysql:8", "mysql:8"),
            ({"image_name": "a/b", "image_tag": "8"}, "docker.io/a/b:8", "a/b:8"),
            ({"image_name": "h.example:5/b", "final_image_tag": "x"}, "h.example:5/b:latest",
             "h.example:5/b:x"),
            ({"image_name": "a/b:1", "final_image_name": "eu.gcr.io/p/b"}, "docker.io/a/b:1",
             "eu.gcr.io/p/b:1"),
            ({"image_name": "a/b", "image_digest": "sha256:" + "a" * 64},
             "docker.io/a/b@sha256:" + "a" * 64, "a/b:latest"),
            ({"image_name": "localhost/b@sha256:" + "a" * 64, "final_image_tag": "9"},
             "localhost/b@sha256:" + "a" * 64, "localhost/b:9"),
        ],
    )  # fmt: skip
    def test_what_arguments_mean(
        self, arguments: dict[str, Any], reference: str, final: str
    ) -> None:
        request = PullRequest.of(**arguments)
        assert str(request.reference) == reference
        assert f"{request.name}:{request.tag}" == final

    @pytest.mark.parametrize(
        ("arguments", "platform"),
        [
            ({}, str(Platform.host())),
            ({"arch": "x86_64"}, "linux/amd64"),
            ({"arch": "arm64"}, "linux/arm64/v8"),
            ({"arch": "arm", "variant": "v6"}, "linux/arm/v6"),
            ({"os": "windows", "arch": "amd64"}, "windows/amd64"),
            ({"platform": "linux/riscv64"}, "linux/riscv64"),
            ({"platform": Platform("linux", "s390x")}, "linux/s390x"),
            ({"platform": "all"}, str(Platform.host())),
        ],
    )
    def test_platforms(self, arguments: dict[str, Any], platform: str) -> None:
        assert str(PullRequest.of("a", **arguments).platform) == platform

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ({"image_name": "UP"}, "capitals"),
            ({"image_name": 3}, "image_name must be the name of an image, not a number"),
            ({"image_name": "a", "image_digest": "sha256:12"}, "64 hexadecimal digits"),
            ({"image_name": "a:1", "image_tag": "2"}, "image_name says 1, image_tag says 2"),
            ({"image_name": f"a@sha256:{'a' * 64}", "image_digest": f"sha256:{'b' * 64}"}, "says"),
            ({"image_name": "a", "image_tag": "-"}, "the tag '-' begins"),
            ({"image_name": "a", "final_image_name": "b:1"}, "final_image_name holds a tag"),
            ({"image_name": "a", "final_image_tag": "b c"}, "a blank"),
            ({"image_name": "a", "arch": "amd46"}, "Did you mean amd64"),
            ({"image_name": "a", "platform": "all/none"}, "not a known operating system"),
            ({"image_name": "a", "sha256": "abc"}, "sha256 is no hash"),
            ({"image_name": "a", "hash": "md5:" + "0" * 32}, "hash is no hash"),
            ({"image_name": "a", "sha256": "a" * 64, "hash": "sha256:" + "b" * 64}, "differ"),
            ({"image_name": "a", "tls_verify": "no"}, "tls_verify must be True or False"),
        ],
    )
    def test_arguments_that_mean_nothing(self, arguments: dict[str, Any], said: str) -> None:
        with pytest.raises(ArgumentTypeError) as caught:
            pull(arguments.pop("image_name"), **arguments)
        assert said in str(caught.value)

    def test_a_misspelled_argument(self) -> None:
        with pytest.raises(UnknownArgumentError, match="Did you mean image_digest"):
            pull("a", image_diggest="x")


class TestPins:
    """The checksum of dockerTools' pullImage; skopeo and Nix say which it is."""

    def test_what_nix_calls_it(self, registry: Registry, repository: str, tmp_path: Path) -> None:
        pushed = registry.push(repository, "1", layers=[layer({"a": b"1"}), layer({"b": b"2"})])
        place = f"{registry.host}/{repository}"
        file = tmp_path / "image.tar"
        oracles.skopeo(
            "copy", "--src-tls-verify=false", f"docker://{place}@{pushed.digest}",
            f"docker-archive:{file}:nix:1.11",
        )  # fmt: skip
        final = {"final_image_name": "nix", "final_image_tag": "1.11"}
        base32, hexadecimal = (
            oracles.call("nix-hash", "--flat", "--type", "sha256", *form, file).strip()
            for form in (["--base32"], [])
        )
        sri = oracles.call(
            "nix", "--extra-experimental-features", "nix-command", "hash", "file", "--type",
            "sha256", "--sri", file,
        ).strip()  # fmt: skip
        for pin in ({"sha256": base32}, {"sha256": hexadecimal}, {"hash": sri}, {"sha256": sri}):
            image = pull(place, image_digest=pushed.digest, **final, **pin)
            assert (image.reference, str(image.digest)) == ("nix:1.11", pushed.digest)
        found = asyncio.run(nbdock.prefetch_image(place, image_digest=pushed.digest, **final))
        assert (found.sha256, found.hash) == (base32, sri)
        # The name is part of the archive, and so of the checksum.
        with pytest.raises(DigestMismatchError, match="not the image that was pinned") as caught:
            pull(place, image_digest=pushed.digest, sha256=found.sha256)
        assert "this name and tag (final_image_name, final_image_tag)" in str(caught.value)
        pasted = str(caught.value).rpartition('sha256 = "')[2].removesuffix('";')
        assert pull(place, image_digest=pushed.digest, sha256=pasted)

    @pytest.mark.parametrize("argument", ["sha256", "hash"])
    def test_an_empty_pin_says_the_right_one(
        self, registry: Registry, repository: str, argument: str
    ) -> None:
        registry.push(repository, "1")
        with pytest.raises(DigestMismatchError) as caught:
            pull(f"{registry.host}/{repository}:1", **{argument: ""})
        assert caught.value.digest == "sha256:" + "0" * 64
        assert f'sha256 = "' in (caught.value.hint or "")  # noqa: F541
        store = BlobStore.default()
        assert store.get_image(f"{registry.host}/{repository}:1") is None

    def test_sha512(self, registry: Registry, repository: str) -> None:
        registry.push(repository, "1")
        place = f"{registry.host}/{repository}:1"
        with pytest.raises(DigestMismatchError) as caught:
            pull(place, hash="sha512:" + "0" * 128)
        pasted = str(caught.value).rpartition('hash = "')[2].removesuffix('";')
        assert pasted.startswith("sha512-")
        assert pull(place, hash=pasted).tag == "1"


class TestWhatIsFetched:
    """Nothing twice."""

    def test_an_image_that_is_here(self, registry: Registry, repository: str) -> None:
        layers = [layer({f"f{n}": bytes([n]) * 1000}) for n in range(30)]
        pushed = registry.push(repository, "1", layers=layers)
        place = f"{registry.host}/{repository}"
        image = pull(place, image_tag="1")
        assert registry.count(f"GET /v2/{repository}/blobs/") == 31
        assert [entry.path for entry in image.layer_entries(7)] == [b"f7"]
        before = len(registry.requests)
        again = pull(place, image_digest=pushed.digest)
        assert again.digest == image.digest
        assert registry.requests[before:] == []
        started = time.perf_counter()
        pull(place, image_tag="1")
        assert time.perf_counter() - started < 5  # loosely: the benchmark measures it
        # Whether the tag moved is asked with HEAD, which Docker Hub does not count as a pull.
        assert registry.count(f"GET /v2/{repository}/manifests/1") == 1
        assert registry.count(f"HEAD /v2/{repository}/manifests/1") == 1
        registry.push(repository, "1", layers=layers[:2])
        assert len(pull(place, image_tag="1").layers) == 2
        assert registry.count(f"GET /v2/{repository}/manifests/1") == 2
        assert registry.count(f"GET /v2/{repository}/blobs/") == 32  # another configuration

    def test_a_layer_that_another_image_has(self, registry: Registry, repository: str) -> None:
        shared = layer({"shared": b"x" * 5000})
        registry.push(repository, "1", layers=[shared])
        registry.push(repository, "2", layers=[shared, layer({"own": b"y"}), shared])
        pull(f"{registry.host}/{repository}:1")
        image = pull(f"{registry.host}/{repository}:2")
        assert len(image.layers) == 3
        digest = sha256(gzip.compress(shared, 1, mtime=0))
        assert registry.count(f"GET /v2/{repository}/blobs/{digest}") == 1

    def test_documents_that_were_damaged_since(self, registry: Registry, repository: str) -> None:
        pushed = registry.push(repository, "1")
        name = f"{registry.host}/{repository}@{pushed.digest}"
        image = pull(name)
        for digest in (image.digest, image.id):
            path = image.store.path_of(digest)
            path.chmod(0o644)
            path.write_bytes(b"{" + path.read_bytes()[1:-1] + b" ")
        assert pull(name).config.architecture == "amd64"
        assert list(image.store.verify()) == []

    def test_progress_is_one_for_all_blobs(self, registry: Registry, repository: str) -> None:
        pushed = registry.push(repository, "1", layers=[layer({"a": b"1"}), layer({"b": b"2"})])
        lines: list[tuple[str, int, int]] = []
        pull(f"{registry.host}/{repository}:1", progress=lambda *line: lines.append(line))
        total = sum(map(len, pushed.layers))
        assert lines[-1] == (f"Pulling {registry.host}/{repository}:1", total, total)
        assert [done for _, done, _ in lines] == sorted(done for _, done, _ in lines)

    def test_the_store_is_the_one_given(
        self, registry: Registry, repository: str, tmp_path: Path
    ) -> None:
        registry.push(repository, "1")
        store = BlobStore(tmp_path / "elsewhere")
        image = pull(f"{registry.host}/{repository}:1", store=store)
        assert image.store is store
        assert store.get_image(image.reference) == image.descriptor
        assert list(store.verify()) == []
        assert list(BlobStore.default().blobs()) == []


class TestPlatforms:
    """Indexes, and images for another machine."""

    @pytest.fixture
    def index(self, registry: Registry, repository: str) -> tuple[str, dict[str, Any]]:
        images = {
            "linux/amd64": registry.push(repository, "a", layers=[layer({"a": b"amd64"})]),
            "linux/arm64/v8": registry.push(
                repository, "b", layers=[layer({"a": b"arm64"})], architecture="arm64"
            ),
            "linux/arm/v6": registry.push(
                repository, "c", layers=[layer({"a": b"v6"})], architecture="arm", variant="v6"
            ),
        }
        registry.push_index(repository, "all", images)
        return f"{registry.host}/{repository}:all", images

    @pytest.mark.parametrize(
        ("arguments", "which"),
        [
            ({"arch": "x86_64"}, "linux/amd64"),
            ({"arch": "aarch64"}, "linux/arm64/v8"),
            ({"arch": "arm64", "variant": "v8", "os": "linux"}, "linux/arm64/v8"),
            ({"platform": "linux/arm/v7"}, "linux/arm/v6"),
        ],
    )
    def test_the_one_asked_for(
        self, index: tuple[str, dict[str, Any]], arguments: dict[str, Any], which: str
    ) -> None:
        name, images = index
        image = pull(name, **arguments)
        assert str(image.digest) == images[which].digest
        assert type(image) is Image

    def test_what_there_is_not(self, index: tuple[str, dict[str, Any]]) -> None:
        with pytest.raises(PlatformNotFoundError) as caught:
            pull(index[0], arch="s390x")
        assert caught.value.available == ("linux/amd64", "linux/arm64/v8", "linux/arm/v6")

    def test_all(
        self, index: tuple[str, dict[str, Any]], registry: Registry, repository: str
    ) -> None:
        name, images = index
        image = pull(name, platform="all")
        assert isinstance(image, MultiPlatformImage)
        assert [str(one.digest) for one in image.images] == [i.digest for i in images.values()]
        assert [str(p) for p in image.platforms] == ["linux/amd64", "linux/arm64", "linux/arm/v6"]
        mine = next(i for i in image.images if i.config.platform.matches(Platform.host()))
        assert image.digest == mine.digest
        assert [asyncio.run(one.file("a")) for one in image.images] == [b"amd64", b"arm64", b"v6"]
        assert BlobStore.default().get_image(image.reference) == image.index_descriptor
        # It is an image wherever one is wanted.
        built = asyncio.run(nbdock.build_image("on", from_image=image))
        assert built.layers[0].diff_id == image.layers[0].diff_id
        assert oracles.inspect(f"oci:{BlobStore.default().home}:{name}")["Architecture"]
        before = len(registry.requests)
        pull(f"{registry.host}/{repository}@{image.index_descriptor.digest}", platform="all")
        assert registry.requests[before:] == []

    def test_all_of_one(self, registry: Registry, repository: str) -> None:
        pushed = registry.push(repository, "1")
        image = pull(f"{registry.host}/{repository}:1", platform="all")
        assert (type(image), str(image.digest)) == (Image, pushed.digest)

    def test_attestations_and_indexes_in_indexes(self, registry: Registry, repository: str) -> None:
        image = registry.push(repository, "1")
        statement = b'{"_type": "https://in-toto.io/Statement/v0.1"}'
        rootfs = {"type": "layers", "diff_ids": [sha256(statement)]}
        unknown = {"architecture": "unknown", "os": "unknown"}
        config = json.dumps({**unknown, "config": {}, "rootfs": rootfs}).encode()
        attestation = json.dumps({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": registry.put_blob(repository, config),
                       "size": len(config)},
            "layers": [{"mediaType": "application/vnd.in-toto+json", "size": len(statement),
                        "digest": registry.put_blob(repository, statement)}],
        }).encode()  # fmt: skip
        digest = registry.put_manifest(repository, sha256(attestation), attestation, OCI_MANIFEST)
        inner = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
            {**image.descriptor, "platform": {"os": "linux", "architecture": "amd64"}},
            {"mediaType": OCI_MANIFEST, "digest": digest, "size": len(attestation),
             "platform": {"os": "unknown", "architecture": "unknown"},
             "annotations": {"vnd.docker.reference.type": "attestation-manifest",
                             "vnd.docker.reference.digest": image.digest}},
        ]}).encode()  # fmt: skip
        inner_digest = registry.put_manifest(repository, "inner", inner, OCI_INDEX)
        outer = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
            {"mediaType": OCI_INDEX, "digest": inner_digest, "size": len(inner)},
        ]}).encode()  # fmt: skip
        registry.put_manifest(repository, "outer", outer, OCI_INDEX)
        pulled = pull(f"{registry.host}/{repository}:outer", platform="all")
        assert isinstance(pulled, MultiPlatformImage)
        assert [str(one.digest) for one in pulled.images] == [image.digest]
        assert BlobStore.default().has(Digest.parse(sha256(statement)))
        found = [str(descriptor.digest) for descriptor, _ in pulled.everything()]
        assert found == [image.digest, digest, inner_digest]

    def test_a_single_image_for_another_machine(self, registry: Registry, repository: str) -> None:
        pushed = registry.push(repository, "1", architecture="s390x")
        name = f"{registry.host}/{repository}"
        with pytest.raises(PlatformNotFoundError, match="linux/s390x"):
            pull(f"{name}:1", arch="x86_64")
        # Nobody asked for a platform; and a digest leaves no choice, as pins rely on.
        assert str(pull(f"{name}:1").digest) == pushed.digest
        assert str(pull(f"{name}@{pushed.digest}", arch="x86_64").digest) == pushed.digest


class TestWhatIsRefused:
    """Manifests that do not fit what they name."""

    def manifest(
        self, registry: Registry, repository: str, *, config: bytes, layers: list[bytes],
        layer_type: str = OCI_LAYER_GZIP, config_type: str = OCI_CONFIG,
    ) -> str:  # fmt: skip
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": config_type, "size": len(config),
                       "digest": registry.put_blob(repository, config)},
            "layers": [{"mediaType": layer_type, "size": len(one),
                        "digest": registry.put_blob(repository, one)} for one in layers],
        }  # fmt: skip
        registry.put_manifest(repository, "1", json.dumps(document).encode(), OCI_MANIFEST)
        return f"{registry.host}/{repository}:1"

    def config(self, *diff_ids: str) -> bytes:
        rootfs = {"type": "layers", "diff_ids": diff_ids}
        return json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode()

    def test_more_layers_than_diff_ids(self, registry: Registry, repository: str) -> None:
        tar = layer({"a": b"1"})
        name = self.manifest(
            registry, repository, config=self.config(sha256(tar)),
            layers=[gzip.compress(tar), gzip.compress(b"more")],
        )  # fmt: skip
        with pytest.raises(InvalidManifestError, match="2 layers, the configuration 1"):
            pull(name)
        assert BlobStore.default().get_image(name) is None

    def test_an_uncompressed_layer_that_is_not_its_diff_id(
        self, registry: Registry, repository: str
    ) -> None:
        name = self.manifest(
            registry, repository, config=self.config(sha256(b"other")), layers=[layer({"a": b"1"})],
            layer_type="application/vnd.oci.image.layer.v1.tar",
        )  # fmt: skip
        with pytest.raises(DigestMismatchError, match="is not compressed"):
            pull(name)

    def test_a_compressed_layer_that_is_not_its_diff_id(
        self, registry: Registry, repository: str
    ) -> None:
        tar = gzip.compress(layer({"a": b"1"}))
        name = self.manifest(
            registry, repository, config=self.config(sha256(b"other")), layers=[tar]
        )
        with pytest.raises(DigestMismatchError, match="the image's configuration says"):
            pull(name)
        settings.configure(pull_verifies_diff_ids=False)
        try:
            image = pull(name)
        finally:
            settings.configure(pull_verifies_diff_ids=None)
        with pytest.raises(DigestMismatchError, match="the image's configuration says"):
            list(image.layer_entries(0))
        # There now, but never found to be right.
        with pytest.raises(DigestMismatchError, match="the image's configuration says"):
            pull(name)

    @pytest.mark.parametrize("same", [False, True])
    def test_a_layer_with_two_diff_ids(
        self, registry: Registry, repository: str, same: bool
    ) -> None:
        tar = layer({"a": b"1"})
        config = self.config(sha256(tar), sha256(tar if same else b"other"))
        name = self.manifest(registry, repository, config=config, layers=[gzip.compress(tar)] * 2)
        if same:
            assert len(pull(name).layers) == 2
        else:
            with pytest.raises(DigestMismatchError, match="there twice"):
                pull(name)

    def test_an_artifact(self, registry: Registry, repository: str) -> None:
        name = self.manifest(
            registry, repository, config=b"{}", layers=[b"chart"], layer_type="application/x-tar",
            config_type="application/vnd.cncf.helm.config.v1+json",
        )  # fmt: skip
        before = len(registry.requests)
        with pytest.raises(InvalidManifestError, match=r"not an image.*helm"):
            pull(name)
        assert not any("/blobs/" in line for line in registry.requests[before:])

    def test_no_such_tag(self, registry: Registry, repository: str) -> None:
        registry.push(repository, "1.11")
        with pytest.raises(ManifestNotFoundError, match=r"Did you mean 1\.11"):
            pull(f"{registry.host}/{repository}:1.12")
        with pytest.raises(RegistryError):
            pull(f"{registry.host}/{repository}-x:1")


class TestUse:
    """What a pulled image is good for."""

    @pytest.fixture
    def docker_image(self, registry: Registry, repository: str, tmp_path: Path) -> str:
        """An image of Docker's family, pushed by skopeo."""
        archive = write_docker_archive(
            tmp_path / "base.tar", name="base:1", layers=[busybox_layer(), layer({"b": b"2"})],
            config={"Env": ["PATH=/bin"], "Cmd": ["sh"]},
        )  # fmt: skip
        return registry.copy_in(f"docker-archive:{archive}", repository, "1")

    def test_as_a_base(self, docker_image: str) -> None:
        base = pull(docker_image)
        assert base.manifest.is_docker

        async def scenario() -> list[Image]:
            text = nbdock.text_file("c", "3")
            return [
                await nbdock.build_image("on", from_image=base, contents=text),
                await nbdock.build_layered_image("on", from_image=base, contents=text),
                await nbdock.build_image("on", from_image=f"docker://{docker_image}"),
                await nbdock.load_image(f"docker://{docker_image}", name="x", tag="y"),
            ]

        images = asyncio.run(scenario())
        for image in images:
            assert [each.diff_id for each in image.layers][:2] == list(base.config.diff_ids)
            assert "PATH=/bin" in image.config.config.env
            assert asyncio.run(image.file("b")) == b"2"
        assert images[3].reference == "x:y"

    def test_saved_and_flattened(self, docker_image: str, tmp_path: Path) -> None:
        image = dataclasses.replace(pull(docker_image), name="x", tag="1")
        saved = asyncio.run(image.save(tmp_path / "x.tar"))
        theirs = oracles.inspect(f"docker-archive:{saved}")
        assert theirs["Layers"] == [str(diff_id) for diff_id in image.config.diff_ids]
        root = oracles.unpack(asyncio.run(image.save(tmp_path / "x.oci.tar")), tmp_path,
                              kind="oci-archive")  # fmt: skip
        assert (root / "b").read_bytes() == b"2"
