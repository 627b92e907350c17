"""Two hundred pulls from a registry of which nearly a third of all answers go wrong."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import random
import shutil
import time
from collections import Counter
from email.utils import formatdate
from pathlib import Path

import pytest
from support.fake_registry import FakeImage, image_of
from support.faulty_server import Answer, Behaviour, FaultyServer, Request, answer

import nbdock
from nbdock.content import BlobStore
from nbdock.errors import NbdockError
from nbdock.transport import Transport

PULLS = 200
FAULTS_PER_ANSWER = 0.3
SEED = 4
LAYERS = [random.Random(SEED).randbytes(size) for size in (5 << 19, 300_000, 5_000, 1)]


@dataclasses.dataclass
class Faults:
    """Wraps good answers so that by chance they are something else."""

    chance: random.Random = dataclasses.field(default_factory=lambda: random.Random(SEED))
    done: Counter[str] = dataclasses.field(default_factory=Counter)

    def wrap(self, good: Behaviour) -> Behaviour:
        async def behave(request: Request, out: Answer) -> None:
            if self.chance.random() >= FAULTS_PER_ANSWER:
                await good(request, out)
                return
            name = self.chance.choice(
                ["reset", "reset inside", "cut", "5xx", "429", "429 date", "503", "slow", "flipped"]
            )
            if name == "flipped" and self.chance.random() > 0.2:
                name = "slow"
            self.done[name] += 1
            await self._fail(name, good, request, out)

        return behave

    async def _fail(self, name: str, good: Behaviour, request: Request, out: Answer) -> None:
        chance = self.chance
        if name == "reset":
            out.reset()
        elif name == "5xx":
            await answer(chance.choice([500, 502, 504]), b"<html>oops")(request, out)
        elif name == "429":
            await answer(429, headers={"Retry-After": chance.randrange(60)})(request, out)
        elif name == "429 date":
            # Sometimes over already, seldom longer than anybody would wait.
            later_s = chance.choice([-10, 5, 20, 60, 60, 4000])
            date = formatdate(time.time() + later_s, usegmt=True)
            await answer(429, headers={"Retry-After": date})(request, out)
        elif name == "503":
            await answer(503, headers={"Retry-After": "1"})(request, out)
        elif name == "slow":
            for _ in range(50):
                await asyncio.sleep(0)
            await good(request, out)
        else:
            await good(request, _Damaged(out, name, chance))


class _Damaged(Answer):
    """Lets a good answer begin, and then breaks off, or changes a byte."""

    def __init__(self, out: Answer, how: str, chance: random.Random) -> None:
        super().__init__(out._writer)
        self._out = out
        self._how = how
        self._chance = chance
        self._has_head = False

    async def send(self, data: bytes) -> None:
        if not self._has_head or not data:
            self._has_head = True
            await self._out.send(data)
            return
        at = self._chance.randrange(len(data))
        if self._how == "flipped":
            await self._out.send(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            return
        await self._out.send(data[:at])
        if self._how == "reset inside":
            self._out.reset()
        else:
            self._out.hang_up()


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits that were asked for; none takes time."""
    waits: list[float] = []

    async def at_once(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setitem(Transport.__init__.__kwdefaults__, "_sleep", at_once)
    return waits


def _sockets() -> int:
    found = 0
    for number in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
        except FileNotFoundError:
            continue
    return found


async def _settled(sockets: int) -> None:
    """Until nothing runs and no more sockets are open; the server, in this process, needs turns."""
    deadline = time.monotonic() + 240
    me = {asyncio.current_task()}
    while time.monotonic() < deadline:
        if asyncio.all_tasks() == me and _sockets() <= sockets:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"left: {asyncio.all_tasks() - me}, {_sockets() - sockets} sockets")


def _visible(store: BlobStore) -> set[str]:
    """Every file of a store but blobs and what stands at its top."""
    found = set()
    for folder, _, names in os.walk(store.home):
        place = os.path.relpath(folder, store.home)
        if place != "." and not place.startswith("blobs"):
            found |= {f"{place}/{name}" for name in names}
    return found


def _is_whole(store: BlobStore, image: FakeImage) -> bool:
    pairs = zip(image.manifest.layers, LAYERS, strict=True)
    return all(store.read(descriptor.digest) == data for descriptor, data in pairs)


async def _pulled(name: str, store: BlobStore) -> nbdock.Image | NbdockError:
    try:
        return await nbdock.pull_image(name, store=store)
    except NbdockError as error:
        return error


async def test_two_hundred_pulls(
    fake: FaultyServer, tmp_path: Path, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The power does not fail here, and waiting for a busy disk is not what is tested.
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    faults = Faults()
    image = image_of(fake, *LAYERS, guard=faults.wrap)
    fake.script("/v2/", faults.wrap(answer(200)))
    chance = random.Random(SEED)
    shared = BlobStore(tmp_path / "shared")
    outcomes: Counter[str] = Counter()
    sockets = _sockets()
    for number in range(PULLS):
        if number % 4 == 0:
            # What is there is not fetched: one blob less each time keeps it busy.
            store = shared
            store.delete(chance.choice(image.manifest.layers).digest)
        else:
            store = BlobStore(tmp_path / f"store-{number}")
        name = str(image.reference)
        pulled = await _pulled(name, store)
        if isinstance(pulled, NbdockError):
            outcomes[type(pulled).__name__] += 1
            assert f"127.0.0.1:{fake.port}" in pulled.message, "it says which server"
            assert pulled.message.isprintable()
            assert store.get_image(name) is None or store is shared
        else:
            outcomes["pulled"] += 1
            assert pulled.manifest == image.manifest
            assert _is_whole(store, image)
        assert list(store.verify()) == []
        left = _visible(store)
        assert all(file.startswith("arriving/") and file.endswith(".part") for file in left), left
        await _settled(sockets)
        if store is not shared:
            shutil.rmtree(store.home)
    assert outcomes["pulled"] > PULLS / 2
    assert sum(outcomes.values()) == PULLS
    assert len(outcomes) > 1, "nothing failed: the faults were too kind"
    assert len(faults.done) == 9
    assert 30 < max(slept) <= 60, "Retry-After was obeyed, in seconds and as a date"
