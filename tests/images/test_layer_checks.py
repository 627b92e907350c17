"""Pulls whose layers are not the tars that the configuration promises, and those that are."""

from __future__ import annotations

import asyncio
import gzip
import os
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import zstandard
from support.fake_registry import image_of
from support.faulty_server import FaultyServer, content, reset_after, silent

import nbdock
from nbdock.content import BlobStore, LayerCache, LayerCheck
from nbdock.errors import ArchiveError, CodecError, DigestMismatchError, TruncatedArchiveError
from nbdock.oci import Digest, MediaType

TAR = random.Random(1).randbytes(3 << 20)


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


CODECS = {
    MediaType.OCI_LAYER_GZIP: gzip.compress,
    MediaType.DOCKER_LAYER_GZIP: gzip.compress,
    MediaType.OCI_LAYER_ZSTD: zstd,
}


@pytest.fixture
async def fake(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FaultyServer]:
    monkeypatch.setattr("nbdock.transport.pauses._FIRST_S", 0.001)
    async with FaultyServer() as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "store")


@pytest.fixture
def seen_bytes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How long the pieces were that checks have seen."""
    seen: list[int] = []
    update = LayerCheck.update

    def counting(check: LayerCheck, data: memoryview) -> None:
        seen.append(len(data))
        update(check, data)

    monkeypatch.setattr(LayerCheck, "update", counting)
    return seen


def nothing_there(store: BlobStore, layer: Digest) -> bool:
    arriving = store.home / "arriving"
    return not (store.has(layer) or store.images() or os.listdir(arriving))


@pytest.mark.parametrize("media_type", CODECS)
async def test_another_tar(fake: FaultyServer, store: BlobStore, media_type: str) -> None:
    blob = CODECS[media_type](TAR)
    image = image_of(fake, blob, tars=[b"another"], media_type=media_type)
    with pytest.raises(DigestMismatchError, match="the image's configuration says") as caught:
        await nbdock.pull_image(str(image.reference), store=store)
    for digest in (image.layer.digest, Digest.of(TAR), Digest.of(b"another")):
        assert str(digest) in caught.value.message
    assert nothing_there(store, image.layer.digest)


@pytest.mark.parametrize("media_type", CODECS)
async def test_damaged_where_it_was_made(
    fake: FaultyServer, store: BlobStore, media_type: str
) -> None:
    whole = CODECS[media_type](TAR)
    damaged = whole[: 1 << 20] + bytes(1 << 20) + whole[2 << 20 :]
    for blob, error in ((whole[:-9], TruncatedArchiveError), (damaged, ArchiveError)):
        image = image_of(fake, blob, tars=[TAR], media_type=media_type)
        with pytest.raises(error, match=f"{image.layer.digest}.*{Digest.of(TAR)}"):
            await nbdock.pull_image(str(image.reference), store=store)
        assert nothing_there(store, image.layer.digest)


@pytest.mark.parametrize("media_type", CODECS)
async def test_a_bomb(
    fake: FaultyServer, store: BlobStore, media_type: str, configured: Callable[..., None]
) -> None:
    configured(decompression_ratio_limit=100)
    zeros = bytes(80 << 20)
    image = image_of(fake, CODECS[media_type](zeros), tars=[zeros], media_type=media_type)
    with pytest.raises(CodecError, match="expands"):
        await nbdock.pull_image(str(image.reference), store=store)
    assert nothing_there(store, image.layer.digest)


async def test_the_configuration_comes_first(fake: FaultyServer, store: BlobStore) -> None:
    image = image_of(fake, gzip.compress(TAR), tars=[TAR, b"one too many"])
    with pytest.raises(nbdock.errors.InvalidManifestError):
        await nbdock.pull_image(str(image.reference), store=store)
    assert image.blob_paths[0] not in fake.paths()


@pytest.mark.parametrize("media_type", CODECS)
async def test_resumed_in_the_middle(
    fake: FaultyServer, store: BlobStore, media_type: str, seen_bytes: list[int]
) -> None:
    blob = CODECS[media_type](TAR)
    image = image_of(fake, blob, tars=[TAR], media_type=media_type)
    fake.script(
        image.blob_paths[0],
        reset_after(blob, 1 << 20, etag='"x"'),
        reset_after(blob, 1000, etag='"x"'),
        content(blob, etag='"x"'),
    )
    await nbdock.pull_image(str(image.reference), store=store)
    assert len(fake.requests) > 4
    assert sum(seen_bytes) == len(blob)


async def test_taken_up_from_the_disk(
    fake: FaultyServer, store: BlobStore, seen_bytes: list[int]
) -> None:
    blob = gzip.compress(TAR)
    image = image_of(fake, blob, tars=[TAR])
    fake.script(
        image.blob_paths[0], silent(blob[: 1 << 20], announced=len(blob)), content(blob, etag='"x"')
    )
    arrived = asyncio.Event()

    def progress(what: str, done: int, total: int) -> None:
        if done >= 1 << 20:
            arrived.set()

    name = str(image.reference)
    task = asyncio.ensure_future(nbdock.pull_image(name, store=store, progress=progress))
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    seen_bytes.clear()
    await nbdock.pull_image(name, store=store)
    assert fake.requests[-1].headers["range"] == f"bytes={1 << 20}-"
    assert sum(seen_bytes) == len(blob)


async def test_the_body_begins_anew(fake: FaultyServer, store: BlobStore) -> None:
    blob = gzip.compress(TAR)
    image = image_of(fake, blob, tars=[TAR])
    fake.script(image.blob_paths[0], reset_after(blob, 1 << 20), content(blob, ranges=False))
    await nbdock.pull_image(str(image.reference), store=store)
    assert store.has(image.layer.digest)


async def test_nothing_is_read_twice(
    fake: FaultyServer, store: BlobStore, seen_bytes: list[int]
) -> None:
    image = image_of(fake, gzip.compress(TAR), tars=[TAR])
    name = str(image.reference)
    await nbdock.pull_image(name, store=store)
    seen_bytes.clear()
    await nbdock.pull_image(name, store=store)
    # Which tar a blob holds follows from its digest, wherever it is.
    store.delete(image.layer.digest)
    await nbdock.pull_image(name, store=store)
    assert store.has(image.layer.digest)
    assert seen_bytes == []


async def test_there_but_never_checked(
    fake: FaultyServer, store: BlobStore, seen_bytes: list[int]
) -> None:
    blob = gzip.compress(TAR)
    image = image_of(fake, blob, tars=[TAR])
    name = str(image.reference)
    await asyncio.to_thread(store.add, blob)
    await nbdock.pull_image(name, store=store)
    assert image.blob_paths[0] not in fake.paths()
    assert sum(seen_bytes) == len(blob)


async def test_deferred(
    fake: FaultyServer, store: BlobStore, seen_bytes: list[int], configured: Callable[..., None]
) -> None:
    configured(pull_verifies_diff_ids=False)
    image = image_of(fake, gzip.compress(TAR), tars=[TAR])
    pulled = await nbdock.pull_image(str(image.reference), store=store)
    assert seen_bytes == []
    with LayerCache(store) as cache:
        assert not cache.diff_ids([image.layer.digest])
        with pytest.raises(ArchiveError):
            list(pulled.layer_entries(0))  # noise is no tar
        # Uncompressed, and so checked.
        assert cache.diff_ids([image.layer.digest]) == {image.layer.digest: Digest.of(TAR)}
