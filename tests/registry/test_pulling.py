"""Manifests, blobs and tags from a real registry, and from one that fails."""

from __future__ import annotations

import gzip
import json
import os
import random
from pathlib import Path

import pytest
from support.plain_images import layer, write_docker_archive
from support.registry import Registry

from nbdock.content import BlobStore
from nbdock.oci import Digest, Manifest, Reference
from nbdock.registry import RegistryClient

DATA = random.Random(1).randbytes(3 << 20)


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "store")


def nothing_left(store: BlobStore) -> bool:
    folder = store.home / "arriving"
    return not folder.exists() or not os.listdir(folder)


async def test_an_image_of_skopeo(registry: Registry, store: BlobStore, tmp_path: Path) -> None:
    tars = [layer({"a": DATA}), layer({"b": b"b"})]
    archive = write_docker_archive(tmp_path / "x.tar", name="x:1", layers=tars)
    name = registry.copy_in(f"docker-archive:{archive}", "pulling/skopeo", "1")
    reference = Reference.parse(name)
    async with RegistryClient() as client:
        fetched = await client.manifest(reference)
        assert isinstance(fetched.manifest, Manifest)
        assert fetched.reference == reference.with_digest(Digest.of(fetched.data))
        for descriptor in fetched.manifest.layers:
            seen: list[tuple[int, int]] = []
            await client.pull_blob(
                reference, descriptor, store, progress=lambda *now, seen=seen: seen.append(now)
            )
            assert seen[-1] == (descriptor.size_bytes, descriptor.size_bytes)
        config = await client.blob_bytes(reference, fetched.manifest.config)
    found = [gzip.decompress(store.read(d.digest)) for d in fetched.manifest.layers]
    assert found == tars
    assert json.loads(config)["rootfs"]["diff_ids"][1] == str(Digest.of(tars[1]))
    assert list(store.verify()) == []
    assert nothing_left(store)
