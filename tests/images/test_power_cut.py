"""What a power cut leaves of the store, names without bytes: reading notices, pulling repairs.

A file system may have recorded a file's new name before its bytes: then the file is empty or short
(ext4, XFS and btrfs record a size only once the bytes below it are written). Some would leave
zeros, of the right size: what is read as a document is hashed each time, and a layer when it is
first uncompressed.
"""

from __future__ import annotations

import asyncio
import gzip
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from support.plain_images import layer
from support.registry import PushedImage, Registry

import nbdock
from nbdock.content import BlobStore
from nbdock.errors import NbdockError
from nbdock.images import Image

CHANCE = random.Random(7)
LAYERS = [layer({f"f{n}": CHANCE.randbytes(20_000)}) for n in range(3)]
NAME = "power/cut"


@pytest.fixture(scope="module")
def pushed(registry: Registry) -> PushedImage:
    return registry.push(NAME, "1", layers=LAYERS)


def pull(registry: Registry, **arguments: str) -> Image:
    return asyncio.run(nbdock.pull_image(f"{registry.host}/{NAME}", **arguments))


def empty(data: bytes) -> bytes:
    return b""


def short(data: bytes) -> bytes:
    return data[: len(data) // 2]


def last_block_is_lost(data: bytes) -> bytes:
    return data[: (len(data) - 1) // 4096 * 4096]


def cut(path: Path, how: Callable[[bytes], bytes]) -> None:
    data = how(path.read_bytes())
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(0o444)


@pytest.mark.parametrize("how", [empty, short, last_block_is_lost])
@pytest.mark.parametrize("by_digest", [True, False])
def test_the_next_pull_repairs_every_blob(
    registry: Registry, pushed: PushedImage, how: Callable[[bytes], bytes], by_digest: bool
) -> None:
    asked = {"image_digest": pushed.digest} if by_digest else {"image_tag": "1"}
    image = pull(registry, **asked)
    store = image.store
    blobs = [blob.digest for blob in store.blobs()]
    assert len(blobs) == 5  # three layers, the configuration, the manifest
    for lost in [[digest] for digest in blobs] + [blobs]:
        for digest in lost:
            cut(store.path_of(digest), how)
        assert {bad.digest for bad in store.verify()} == set(lost)
        again = pull(registry, **asked)
        assert list(store.verify()) == []
        assert [asyncio.run(again.file(f"f{n}")) for n in range(3)]
        for blob in [b.digest for b in store.blobs() if b.digest not in blobs]:
            store.delete(blob)  # the layers as they were uncompressed to read them


@pytest.mark.parametrize("how", [empty, short, bytes.swapcase])
def test_nothing_lost_is_read_as_if_it_were_whole(
    registry: Registry, pushed: PushedImage, how: Callable[[bytes], bytes]
) -> None:
    image = pull(registry, image_tag="1")
    store = image.store
    documents = (image.digest, image.id)
    for digest in documents:
        whole = store.path_of(digest).read_bytes()
        cut(store.path_of(digest), how)
        fresh = Image(store, image.descriptor, image.name, image.tag)
        with pytest.raises(NbdockError) as caught:
            _ = fresh.config
        assert str(digest) in str(caught.value)
        cut(store.path_of(digest), lambda _, data=whole: data)
    for number, descriptor in enumerate(image.manifest.layers):
        cut(store.path_of(descriptor.digest), how)
        with pytest.raises(NbdockError):
            asyncio.run(Image(store, image.descriptor, "x", "1").file(f"f{number}"))
    for descriptor in image.manifest.layers:
        store.delete(descriptor.digest)


def test_a_layer_that_was_lost_after_it_was_uncompressed(
    registry: Registry, pushed: PushedImage
) -> None:
    """The uncompressed form is looked at by its size, too."""
    image = pull(registry, image_tag="1")
    assert asyncio.run(image.file("f0"))
    for diff_id in image.config.diff_ids:
        cut(image.store.path_of(diff_id), short)
    assert [len(asyncio.run(image.file(f"f{n}"))) for n in range(3)] == [20_000] * 3
    assert list(image.store.verify()) == []


def test_images_names_that_were_lost(registry: Registry, pushed: PushedImage) -> None:
    """The index is synced before it is renamed; but a disk may lie, and the blobs are there."""
    image = pull(registry, image_tag="1")
    index = image.store.home / "index.json"
    index.write_bytes(b"")
    again = pull(registry, image_tag="1")
    assert again.digest == image.digest
    assert BlobStore(image.store.home).get_image(again.reference) == again.descriptor


def test_what_is_pushed_is_of_its_size(registry: Registry, pushed: PushedImage) -> None:
    image = pull(registry, image_tag="1")
    layer_digest = image.manifest.layers[0].digest
    assert gzip.decompress(image.store.path_of(layer_digest).read_bytes()) == LAYERS[0]
    cut(image.store.path_of(layer_digest), short)
    with pytest.raises(NbdockError, match="should have"):
        asyncio.run(image.push(f"{registry.host}/{NAME}/copy:1"))
    pull(registry, image_tag="1")
