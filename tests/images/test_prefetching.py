"""What `prefetch_image` says, and that it is what nix-prefetch-docker would say."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from support import oracles
from support.plain_images import layer
from support.registry import Registry

import nbdock
from nbdock.errors import ArgumentTypeError, PlatformNotFoundError
from nbdock.images import PrefetchedImage
from nbdock.oci import Digest, Platform

_numbers = itertools.count()


@pytest.fixture
def name(registry: Registry) -> str:
    """An image of a repository that no other test uses, at three tags."""
    repository = f"prefetching/r{next(_numbers)}"
    registry.push(repository, "latest", layers=[layer({"a": b"latest"})])
    images = {
        "linux/amd64": registry.push(repository, "8", layers=[layer({"a": b"amd64"})]),
        "linux/arm64": registry.push(
            repository, "8-arm", layers=[layer({"a": b"arm64"})], architecture="arm64"
        ),
        "linux/arm/v6": registry.push(
            repository, "8-v6", layers=[layer({"a": b"v6"})], architecture="arm", variant="v6"
        ),
    }
    registry.push_index(repository, "all", images)
    return f"{registry.host}/{repository}"


def prefetch(name: str, **arguments: Any) -> PrefetchedImage:
    return asyncio.run(nbdock.prefetch_image(name, **arguments))


def as_nix_prefetch_docker(
    name: str, tag: str, file: Path, *, final: str, arch: str = "amd64"
) -> dict[str, str]:
    """What nix-prefetch-docker prints, made with the commands that it calls."""
    place = ("--override-os", "linux", "--override-arch", arch)
    inspected = oracles.skopeo(*place, "inspect", "--tls-verify=false", f"docker://{name}:{tag}")
    digest = json.loads(inspected)["Digest"]
    oracles.skopeo(
        *place, "copy", "--src-tls-verify=false", f"docker://{name}@{digest}",
        f"docker-archive://{file}:{final}",
    )  # fmt: skip
    sha256 = oracles.call("nix-hash", "--flat", "--type", "sha256", "--base32", file).strip()
    final_name, _, final_tag = final.rpartition(":")
    return {
        "imageName": name,
        "imageDigest": digest,
        "sha256": sha256,
        "finalImageName": final_name,
        "finalImageTag": final_tag,
    }


def test_a_tag(name: str, tmp_path: Path) -> None:
    found = prefetch(name, image_tag="8")
    theirs = as_nix_prefetch_docker(name, "8", tmp_path / "x.tar", final=f"{name}:8")
    assert json.loads(found.to_json()) == theirs
    assert found.nix.startswith(f'{{\n  imageName = "{name}";\n  imageDigest = "sha256:')


def test_no_tag_and_final_names(name: str, tmp_path: Path) -> None:
    found = prefetch(name, final_image_name="eu.gcr.io/my-project/mysql", final_image_tag="prod")
    theirs = as_nix_prefetch_docker(
        name, "latest", tmp_path / "x.tar", final="eu.gcr.io/my-project/mysql:prod"
    )
    assert json.loads(found.to_json()) == theirs


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"arch": "x86_64"}, {"os": "linux", "arch": "amd64"}),
        ({"arch": "arm64"}, {"os": "linux", "arch": "arm64"}),
        ({"arch": "arm", "variant": "v6"}, {"os": "linux", "arch": "arm", "variant": "v6"}),
    ],
)
def test_an_index(name: str, tmp_path: Path, asked: dict[str, str], said: dict[str, str]) -> None:
    found = prefetch(name, image_tag="all", **asked)
    document = json.loads(found.to_json())
    assert {key: document.pop(key) for key in said} == said
    if "variant" not in asked:
        theirs = as_nix_prefetch_docker(
            name, "all", tmp_path / "x.tar", final=f"{name}:all", arch=said["arch"]
        )
        assert document == theirs


def test_what_it_says_can_be_pasted(name: str, registry: Registry) -> None:
    found = prefetch(name, image_tag="all", arch="arm64")
    by_nix = oracles.call("nix-instantiate", "--eval", "--strict", "--json", "-E", found.nix)
    assert json.loads(by_nix) == json.loads(found.to_json())
    before = len(registry.requests)
    image = asyncio.run(nbdock.pull_image(**found.arguments))
    assert registry.requests[before:] == []
    assert found.image is not None
    assert (image.digest, image.reference) == (found.image.digest, f"{name}:all")
    assert image.config.architecture == "arm64"


def test_how_it_is_shown(name: str) -> None:
    found = prefetch(name)
    assert str(found) == found.nix
    assert repr(found) == f"<PrefetchedImage {name}@{found.image_digest}>"
    assert found == prefetch(name)


def test_the_variant_stands_there_if_it_is_not_the_usual_one() -> None:
    zero = Digest("sha256", "0" * 64)

    def arguments(platform: str) -> dict[str, str]:
        return PrefetchedImage("a", zero, zero, "a", "1", Platform.parse(platform)).arguments

    assert "variant" not in arguments("linux/arm64/v8")
    assert "variant" not in arguments("linux/arm/v7")
    assert arguments("linux/arm/v5")["variant"] == "v5"


def test_what_cannot_be(name: str) -> None:
    with pytest.raises(PlatformNotFoundError):
        prefetch(name, image_tag="all", arch="riscv64")
    with pytest.raises(ArgumentTypeError, match="says"):
        prefetch(f"{name}:8", image_tag="9")
