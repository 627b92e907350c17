"""Pulls that are killed are taken up; pulls at the same time share their work."""

from __future__ import annotations

import asyncio
import gzip
import os
import random
import re
import shutil
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.fake_registry import FakeImage, image_of
from support.faulty_server import Answer, Behaviour, FaultyServer, Request
from support.killed_pulls import Pulls

import nbdock
from nbdock.content import BlobStore

KILLS = 50
CHANCE = random.Random(4)
TARS = [CHANCE.randbytes(size) for size in (9 << 19, 5 << 19, 300_000, 5_000)]
LAYERS = [gzip.compress(tar, 1, mtime=0) for tar in TARS]
WHOLE = sum(map(len, LAYERS))


@pytest.fixture
async def pulls() -> AsyncIterator[Pulls]:
    async with Pulls() as running:
        yield running


def _asked_bytes(server: FaultyServer, image: FakeImage) -> int:
    """How many bytes of layers the server was asked for since its requests were forgotten."""
    asked = 0
    for request in server.requests:
        if request.path in image.blob_paths:
            start = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", "bytes=0-"))
            assert start
            asked += len(image.blobs[request.path]) - int(start[1])
    return asked


def _kept_bytes(store: BlobStore, image: FakeImage) -> int:
    """How many bytes of layers are there, in blobs and in parts of them."""
    kept = 0
    for layer in image.manifest.layers:
        path = store.home / "arriving" / f"sha256-{layer.digest.hex}"
        places = [store.path_of(layer.digest), path, path.with_name(f"{path.name}.part")]
        kept += sum(place.stat().st_size for place in places if place.exists())
    return kept


async def test_fifty_kills(
    fake: FaultyServer, tmp_path: Path, pulls: Pulls, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Processes are killed here, the power does not fail: the disk need not be waited for.
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    image = image_of(fake, *LAYERS, tars=TARS)
    name = str(image.reference)
    parts = blobs = 0
    for number in range(KILLS):
        store = BlobStore(tmp_path / f"store-{number}")
        if number % 2:
            status = await pulls.run(name, store.home, die_at_event=2 + number * 4 // 3)
        else:
            status = await pulls.run(name, store.home, die_at_bytes=WHOLE * number // KILLS)
        assert status == -9, "it was to die"
        assert list(store.verify()) == []
        kept = _kept_bytes(store, image)
        parts += 0 < kept < WHOLE
        blobs += any(store.has(layer.digest) for layer in image.manifest.layers)
        fake.requests.clear()
        # As the next process opens it: what a dead one was writing is swept.
        store = BlobStore(store.home)
        await nbdock.pull_image(name, store=store)
        assert _asked_bytes(fake, image) == WHOLE - kept
        assert list(store.verify()) == []
        for layer, data in zip(image.manifest.layers, LAYERS, strict=True):
            assert store.read(layer.digest) == data
        left = [*os.listdir(store.home / "arriving"), *os.listdir(store.home / "tmp")]
        # Who died with the last blob in its place left a lock for the next to remove.
        assert left == [] or (kept == WHOLE and all(name.endswith(".lock") for name in left))
        shutil.rmtree(store.home)
    # They did die at different times.
    assert parts > KILLS / 3
    assert KILLS / 5 < blobs < KILLS, blobs


async def test_at_the_same_time_each_blob_is_fetched_once(
    fake: FaultyServer, tmp_path: Path, pulls: Pulls
) -> None:
    everybody = asyncio.Event()
    together = 3

    def wait_for_everybody(good: Behaviour) -> Behaviour:
        async def behave(request: Request, out: Answer) -> None:
            if "/blobs/" in request.path:
                await asyncio.wait_for(everybody.wait(), 240)
            elif sum("/manifests/" in path for path in fake.paths()) == together:
                everybody.set()
            await good(request, out)

        return behave

    image = image_of(fake, *LAYERS, tars=TARS, guard=wait_for_everybody)
    home = tmp_path / "store"
    name = str(image.reference)
    statuses = await asyncio.gather(*(pulls.run(name, home) for _ in range(together)))
    assert statuses == [0] * together
    asked = Counter(path for path in fake.paths() if path in image.blob_paths)
    assert asked == dict.fromkeys(image.blob_paths, 1)
    assert list(BlobStore(home).verify()) == []
    assert os.listdir(home / "arriving") == []


async def test_who_waits_goes_on_when_the_other_is_killed(
    fake: FaultyServer, tmp_path: Path, pulls: Pulls
) -> None:
    image = image_of(fake, *LAYERS, tars=TARS)
    name = str(image.reference)
    store = BlobStore(tmp_path / "store")
    statuses = await asyncio.gather(
        pulls.run(name, store.home, die_at_bytes=WHOLE // 2), pulls.run(name, store.home)
    )
    assert statuses[1] == 0
    assert list(store.verify()) == []
    assert all(store.has(layer.digest) for layer in image.manifest.layers)
