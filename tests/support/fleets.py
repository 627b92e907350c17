"""Thousands of small images in a registry, which share layers: written into its storage directly.

    names = fill(registry_directory, images=2000, layers=300)
    f"{registry.host}/{names[0]}"

Each layer brings one Debian package, by a record under ``status.d``; every image has some of the
first few layers and some of the others, so that most layers are in several images. Pushing them
would take minutes; this takes a second.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import os
import random
from pathlib import Path

from support.plain_images import layer
from support.registry import OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST

__all__ = ["FilledRegistry", "dpkg_layer", "fill"]

REPOSITORY = "fleet/app"


@dataclasses.dataclass(frozen=True)
class FilledRegistry:
    """What was put there.

    Attributes
    ----------
    names
        Of the images, without the host.
    packages
        For each image the packages in it, one of each layer, lowest first.
    diff_ids
        For each image its layers.
    """

    names: tuple[str, ...]
    packages: tuple[tuple[str, ...], ...]
    diff_ids: tuple[tuple[str, ...], ...]


def fill(storage: Path, *, images: int, layers: int, seed: int = 1) -> FilledRegistry:
    """Put images into the storage directory of a docker-registry.

    Parameters
    ----------
    storage
        Its ``rootdirectory``.
    """
    random_ = random.Random(seed)
    root = storage / "docker/registry/v2"
    tars = [_layer(number) for number in range(layers)]
    blobs = [gzip.compress(tar, 1, mtime=0) for tar in tars]
    diff_ids = [f"sha256:{hashlib.sha256(tar).hexdigest()}" for tar in tars]
    for blob in blobs:
        _put_blob(root, blob)
    names, packages, of_images = [], [], []
    for number in range(images):
        chosen = sorted({0, *random_.sample(range(layers), 4)})
        config = json.dumps(
            {
                "architecture": "amd64", "os": "linux", "config": {"Env": [f"N={number}"]},
                "created": f"2025-01-01T00:{number // 60 % 60:02}:{number % 60:02}Z",
                "rootfs": {"type": "layers", "diff_ids": [diff_ids[i] for i in chosen]},
            }
        ).encode()  # fmt: skip
        manifest = json.dumps(
            {
                "schemaVersion": 2, "mediaType": OCI_MANIFEST,
                "config": {
                    "mediaType": OCI_CONFIG, "digest": _put_blob(root, config), "size": len(config),
                },
                "layers": [
                    {"mediaType": OCI_LAYER_GZIP, "digest": _digest(blobs[i]),
                     "size": len(blobs[i])}
                    for i in chosen
                ],
            }
        ).encode()  # fmt: skip
        hex_digest = _put_blob(root, manifest).partition(":")[2]
        place = root / "repositories" / REPOSITORY / "_manifests"
        _link(place / "revisions/sha256" / hex_digest / "link", hex_digest)
        _link(place / "tags" / f"v{number}" / "current/link", hex_digest)
        names.append(f"{REPOSITORY}:v{number}")
        packages.append(tuple(f"package{i}" for i in chosen))
        of_images.append(tuple(diff_ids[i] for i in chosen))
    return FilledRegistry(tuple(names), tuple(packages), tuple(of_images))


def _layer(number: int) -> bytes:
    stanza = f"Package: package{number}\nVersion: {number}.0\nInstalled-Size: {number + 1}\n"
    stanza += f"Source: source{number // 2}\n"
    return layer(
        {
            f"usr/bin/program{number}": os.fsencode(f"{number}") * 500,
            f"var/lib/dpkg/status.d/package{number}": stanza.encode(),
        }
    )


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _put_blob(root: Path, data: bytes) -> str:
    digest = _digest(data)
    hex_digest = digest.partition(":")[2]
    place = root / "blobs/sha256" / hex_digest[:2] / hex_digest
    place.mkdir(parents=True, exist_ok=True)
    (place / "data").write_bytes(data)
    _link(root / "repositories" / REPOSITORY / "_layers/sha256" / hex_digest / "link", hex_digest)
    return digest


def _link(path: Path, hex_digest: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"sha256:{hex_digest}")


def dpkg_layer(**versions: str) -> bytes:
    """Make a layer whose dpkg has these packages, each of a source of its own."""
    stanzas = [
        f"Package: {name}\nStatus: install ok installed\nVersion: {version}\n"
        f"Source: {name}-source (1)\nInstalled-Size: 10\n"
        for name, version in versions.items()
    ]
    return layer({"var/lib/dpkg/status": "\n".join(stanzas).encode()})
