"""Packages fetched from a real archive on loopback."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.faulty_server import FaultyServer, answer, content, reset_after, short

from nbdock import prune, settings
from nbdock.errors import (
    ArchiveError,
    DigestMismatchError,
    HttpStatusError,
    NbdockError,
    PackageError,
    PackageNotFoundError,
    SizeMismatchError,
)
from nbdock.packages.debian.configuration import AptConfiguration
from nbdock.packages.debian.deb import deb_entries
from nbdock.packages.debian.fetching import deb_path, fetch_debs
from nbdock.packages.debian.record import PackageRecord

BODIES = {f"p{n}": os.urandom(1000 * n + 1) for n in range(6)}
NO_CONFIGURATION = AptConfiguration()


@pytest.fixture(autouse=True)
def _home(nbdock_home: Path) -> None:
    pass


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer() as running:
        for name, body in BODIES.items():
            running.script(f"/{name}.deb", content(body))
        yield running


def record(name: str, base: str) -> PackageRecord:
    body = BODIES[name]
    return PackageRecord.of(
        name, "1", url=f"{base}{name}.deb", size_bytes=len(body),
        sha256=hashlib.sha256(body).hexdigest(),
    )  # fmt: skip


async def fetch(records: list[PackageRecord], **more) -> None:
    await fetch_debs(records, configuration=NO_CONFIGURATION, **more)


async def test_all_and_only_once(server: FaultyServer) -> None:
    records = [record(name, server.url("/")) for name in BODIES]
    seen: list[tuple[str, int, int]] = []
    await fetch([*records, records[0]], progress=lambda *line: seen.append(line))
    assert [deb_path(r).read_bytes() for r in records] == list(BODIES.values())
    assert sorted(server.paths()) == sorted(f"/{name}.deb" for name in BODIES)
    total = sum(map(len, BODIES.values()))
    assert seen[-1] == ("Fetching packages", total, total)
    await fetch(records)
    assert len(server.requests) == len(BODIES)
    # A file that the disk lost part of is fetched again.
    deb_path(records[3]).write_bytes(b"short")
    await fetch(records)
    assert server.paths()[len(BODIES) :] == ["/p3.deb"]


async def test_what_is_about_to_be_read_is_not_pruned(server: FaultyServer) -> None:
    asked, other = (record(name, server.url("/")) for name in ("p4", "p5"))
    await fetch([asked, other])
    for one in (asked, other):
        os.utime(deb_path(one), (0, 0))
    await fetch([asked])
    await prune()
    assert deb_path(asked).exists()
    assert not deb_path(other).exists()
    with pytest.raises(ArchiveError, match=r"cannot be read: No such file"):
        next(deb_entries(deb_path(other)))
    await fetch([asked, other])
    assert server.paths()[2:] == ["/p5.deb"]


async def test_a_killed_fetch_goes_on(server: FaultyServer) -> None:
    one = record("p5", server.url("/"))
    part = Path(f"{deb_path(one)}.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(BODIES["p5"][:700])
    await fetch([one])
    assert server.requests[0].headers["range"] == "bytes=700-"
    assert deb_path(one).read_bytes() == BODIES["p5"]
    assert not part.exists()


async def test_faults_on_the_way(server: FaultyServer) -> None:
    body = BODIES["p4"]
    server.script(
        "/p4.deb",
        answer(429, headers={"Retry-After": "0"}),
        reset_after(body, 100),
        short(body, 300),
        content(body),
    )
    one = record("p4", server.url("/"))
    await fetch([one])
    assert deb_path(one).read_bytes() == body


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (content(b"x" * len(BODIES["p2"])), DigestMismatchError),
        (content(BODIES["p2"] + b"x"), SizeMismatchError),
        (answer(404), PackageNotFoundError),
        (answer(403), HttpStatusError),
    ],
)
async def test_not_what_was_signed(server: FaultyServer, behaviour, error) -> None:
    server.script("/p2.deb", behaviour)
    records = [record(name, server.url("/")) for name in BODIES]
    with pytest.raises(error) as caught:
        await fetch(records)
    assert isinstance(caught.value, NbdockError)
    assert not deb_path(records[2]).exists()
    # Nothing half-written stands under a package's name.
    downloads = settings.current().home / "downloads"
    for name in os.listdir(downloads):
        if name.endswith(".deb"):
            data = (downloads / name).read_bytes()
            assert hashlib.sha256(data).hexdigest() == name.removesuffix(".deb")


async def test_files_on_this_disk_are_read_where_they_are(tmp_path: Path) -> None:
    for name, body in BODIES.items():
        (tmp_path / f"{name}.deb").write_bytes(body)
    records = [record(name, f"file:{tmp_path}/") for name in BODIES]
    await fetch(records)
    assert [deb_path(r) for r in records] == [tmp_path / f"{name}.deb" for name in BODIES]
    await fetch(records)
    (tmp_path / "p1.deb").write_bytes(b"x" * len(BODIES["p1"]))
    with pytest.raises(DigestMismatchError, match=r"p1\.deb"):
        await fetch(records)
    (tmp_path / "p1.deb").write_bytes(b"x")
    with pytest.raises(SizeMismatchError, match=r"p1\.deb"):
        await fetch(records)
    (tmp_path / "p1.deb").unlink()
    with pytest.raises(PackageNotFoundError, match="p1 1"):
        await fetch(records)


@pytest.mark.parametrize("sha256", ["", "abc", "../../../etc/passwd", "0" * 63 + "/"])
async def test_without_a_digest(sha256: str) -> None:
    one = dataclasses.replace(record("p1", "http://x.test/"), sha256=sha256)
    with pytest.raises(PackageError, match="SHA-256"):
        deb_path(one)
    with pytest.raises(PackageError, match="SHA-256"):
        await fetch([one])
