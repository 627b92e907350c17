"""`prune`: what nobody used goes, what has a name or is in use stays; and what takes the room."""

from __future__ import annotations

import datetime as dt
import fcntl
import os
import time
from pathlib import Path

import pytest

import nbdock
from nbdock.content import BlobStore, LayerCache
from nbdock.errors import ArgumentTypeError, ContentError
from nbdock.images import PruneReport

DAY_S = 24 * 3600.0


def make(home: Path, name: str, days: float, size_bytes: int = 5000) -> Path:
    path = home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size_bytes)
    then = time.time() - days * DAY_S
    os.utime(path, (then, then))
    return path


def age_blobs(store: BlobStore, days: float) -> None:
    then = time.time() - days * DAY_S
    for blob in store.blobs():
        os.utime(store.path_of(blob.digest), (then, then))


async def test_what_goes_and_what_stays(nbdock_home: Path) -> None:
    store = BlobStore(nbdock_home)
    text = nbdock.text_file("etc/motd", "hello\n")
    image = await nbdock.build_layered_image("kept", tag="1", contents=[text], store=store)
    other = nbdock.text_file("etc/motd", "bye\n")
    await nbdock.build_layered_image("gone", tag="1", contents=[other], store=store)
    store.remove_image("gone:1")
    age_blobs(store, days=40)
    old = {
        make(nbdock_home, "vm/layers/sha256-1.squashfs", 40),
        make(nbdock_home, "vm/snapshots/1.snapshot", 40),
        make(nbdock_home, "tables/layers-1/sha256-1.parquet", 40),
        make(nbdock_home, "downloads/1.deb", 40),
        make(nbdock_home, "arriving/sha256-1.part", 40),
    }
    young = {
        make(nbdock_home, "vm/layers/sha256-2.squashfs", 0.1),
        make(nbdock_home, "vm/kernels/6.1/vmlinuz", 40),
        make(nbdock_home, "apt/1.release", 40),
    }
    held = make(nbdock_home, "arriving/sha256-2.part", 40)
    before = set(store.blobs())
    with held.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        planned = await nbdock.prune(dry_run=True)
        assert set(store.blobs()) == before
        assert all(path.exists() for path in {*old, *young, held})
        table = nbdock.usage_table()
        assert table["prunable_bytes"].sum() == planned.size_bytes
        report = await nbdock.prune()
    removed = [file for file in planned.files if file.name != held.name]
    assert list(report.files) == removed
    assert report.size_bytes == sum(file.size_bytes for file in removed)
    assert all(path.exists() for path in {*young, held})
    assert not any(path.exists() for path in old)
    assert {file.kind for file in report.files} == {
        "blobs", "layer disks", "snapshots", "tables", "downloads", "broken pulls",
    }  # fmt: skip
    # The image with a name is whole, and what it is made from again finds its layer.
    assert list(store.verify()) == []
    again = await nbdock.build_layered_image("kept", tag="2", contents=[text], store=store)
    assert again.manifest == image.manifest
    with LayerCache(store) as cache:
        assert cache.forget_missing() == 0
    gone = await nbdock.build_layered_image("gone", tag="1", contents=[other], store=store)
    assert all(store.has(layer.descriptor.digest) for layer in gone.layers)


async def test_for_how_long(nbdock_home: Path) -> None:
    for days in (2, 20):
        make(nbdock_home, f"downloads/{days}.deb", days)

    async def names(older_than: float | dt.timedelta | None) -> list[str]:
        report = await nbdock.prune(older_than=older_than, dry_run=True)
        return [file.name for file in report.files]

    assert set(await names(None)) == set(await names(0)) == {"2.deb", "20.deb"}
    assert await names(dt.timedelta(days=10)) == ["20.deb"]
    assert await names(10 * DAY_S) == ["20.deb"]
    assert await names(30 * DAY_S) == []
    for wrong in ("10d", True, [3]):
        with pytest.raises(ArgumentTypeError, match="timedelta"):
            await nbdock.prune(older_than=wrong)  # type: ignore[arg-type]


async def test_nothing_is_removed_when_it_is_not_known_what_is_used(nbdock_home: Path) -> None:
    store = BlobStore(nbdock_home)
    store.add(b"a blob")
    age_blobs(store, days=40)
    kept = make(nbdock_home, "downloads/1.deb", 40)
    (nbdock_home / "index.json").write_bytes(b"{")
    with pytest.raises(ContentError, match="damaged"):
        await nbdock.prune()
    assert kept.exists()
    assert len(list(store.blobs())) == 1


async def test_reports(nbdock_home: Path) -> None:
    nothing = await nbdock.prune()
    assert repr(nothing) == "<PruneReport: 0 files, 0 B removed>"
    assert list(nothing.table().columns) == ["kind", "name", "size_bytes", "used_at"]
    make(nbdock_home, "downloads/1.deb", 40, size_bytes=1000)
    planned = await nbdock.prune(dry_run=True)
    assert isinstance(planned, PruneReport)
    assert "1 files, 1.0 kB can be removed" in repr(planned)
    (row,) = planned.table().to_dict("records")
    assert (row["kind"], row["name"], row["size_bytes"]) == ("downloads", "1.deb", 1000)
    age = dt.datetime.now(dt.UTC) - row["used_at"]
    assert 39 < age.days < 41


def test_what_takes_the_room(nbdock_home: Path) -> None:
    make(nbdock_home, "vm/snapshots/1.snapshot", 0, size_bytes=1 << 20)
    make(nbdock_home, "vm/kernels/6.1/vmlinuz", 0, size_bytes=1 << 16)
    make(nbdock_home, "nbdock.sqlite", 0, size_bytes=1 << 15)
    table = nbdock.usage_table()
    assert table.index.is_unique
    assert int(table["file_count"]["snapshots"]) == 1
    assert int(table["prunable_bytes"]["snapshots"]) == 0
    assert int(table["file_count"]["virtual machine"]) == 1
    assert int(table["size_bytes"]["snapshots"]) >= 1 << 20
    assert int(table["file_count"]["index and cache"]) >= 2
