"""The layer cache: it remembers, it is never wrong, and it never gets in the way."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nbdock.content.cache
from nbdock.content import BlobStore, LayerCache, LayerRecord
from nbdock.oci import Descriptor, Digest, MediaType


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "home")


@pytest.fixture
def cache(store: BlobStore):
    with LayerCache(store) as opened:
        yield opened


def layer(store: BlobStore, data: bytes = b"tar", entry_count: int = 3) -> LayerRecord:
    return LayerRecord(store.add(data), len(data), entry_count)


def test_layers_are_remembered(store: BlobStore, cache: LayerCache) -> None:
    record = layer(store)
    assert cache.get("key") is None
    cache.put("key", record)
    assert cache.get("key") == record
    newer = layer(store, b"other tar")
    cache.put("key", newer)
    with LayerCache(store) as another:
        assert another.get("key") == newer
    cache.close()
    assert cache.get("key") == newer


def test_many_at_once(store: BlobStore, cache: LayerCache) -> None:
    records = {f"key {i}": layer(store, b"%d" % (i % 7)) for i in range(1500)}
    cache.put_many(records)
    asked = [*records, "unknown", "key 1", "key 1"]
    assert cache.get_many(asked) == records
    assert cache.get_many([]) == {}
    cache.put_many({})


def test_a_record_counts_only_while_its_blob_is_there(store: BlobStore, cache: LayerCache) -> None:
    gone, short, kept = (layer(store, data) for data in (b"gone", b"short", b"kept"))
    cache.put_many({"gone": gone, "short": short, "kept": kept})
    store.delete(gone.diff_id)
    store.path_of(short.diff_id).unlink()
    store.path_of(short.diff_id).write_bytes(b"shor")
    assert cache.get_many(["gone", "short", "kept"]) == {"kept": kept}
    store.add(b"gone")
    assert cache.get("gone") == gone


def test_compressed_forms(
    store: BlobStore, cache: LayerCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = layer(store)
    blob = Descriptor(
        MediaType.OCI_LAYER_GZIP, store.add(b"gz"), 2, annotations={"note": "with one"}
    )
    assert cache.compressed(record.diff_id, "gzip") is None
    cache.put_compressed(record.diff_id, "gz", blob)
    assert cache.compressed(record.diff_id, "gzip") == blob
    assert cache.compressed(record.diff_id, "gzip", 6) == blob
    assert cache.compressed(record.diff_id, "gzip", 9) is None
    assert cache.compressed(record.diff_id, "zstd") is None
    # Another version of the library would give other bytes: what it made does not count.
    with monkeypatch.context() as patch:
        patch.setattr(nbdock.content.cache, "encoder_version", lambda _: "zlib-ng 99")
        assert cache.compressed(record.diff_id, "gzip") is None
    assert cache.compressed(record.diff_id, "gzip") == blob
    store.delete(blob.digest)
    assert cache.compressed(record.diff_id, "gzip") is None


@settings(max_examples=30)
@given(kind=st.text(), key=st.text(), value=st.binary())
def test_derived_data(
    tmp_path_factory: pytest.TempPathFactory, kind: str, key: str, value: bytes
) -> None:
    with LayerCache(BlobStore(tmp_path_factory.getbasetemp() / "derived")) as cache:
        cache.remember(kind, key, value)
        assert cache.recall(kind, key) == value
        cache.remember(kind, key, b"new")
        assert cache.recall(kind, key) == b"new"
        assert cache.recall(kind + "x", key) is None
        cache.remember_many(kind, {key: b"1", key + "2": b"2"})
        assert cache.recall_many(kind, [key, key + "2", key + "3"]) == {key: b"1", key + "2": b"2"}


def test_a_key_that_is_no_text_is_in_no_database(cache: LayerCache) -> None:
    cache.remember("kind", "\udc80", b"x")
    assert cache.recall("kind", "\udc80") is None


def damage_header(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 100)


def damage_pages(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)


def damage_schema(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("DROP TABLE layers")
    db.execute("DROP TABLE derived")
    db.close()


def truncate(path: Path) -> None:
    os.truncate(path, 5000)


@pytest.mark.parametrize("damage", [damage_header, damage_pages, damage_schema, truncate])
def test_a_damaged_database_is_set_aside(
    store: BlobStore, damage, caplog: pytest.LogCaptureFixture
) -> None:
    record = layer(store)
    with LayerCache(store) as cache:
        cache.put("key", record)
        cache.remember_many("kind", {str(i): bytes(1000) for i in range(100)})
    damage(store.home / "nbdock.sqlite")
    with LayerCache(store) as cache:
        assert cache.get("key") is None
        assert cache.recall("kind", "5") is None
        cache.put("key", record)
        assert cache.get("key") == record
    assert list(store.home.glob("nbdock.sqlite.damaged-*"))
    warnings = [entry for entry in caplog.records if entry.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "damaged" in warnings[0].message


def test_damage_under_an_open_cache(store: BlobStore) -> None:
    record = layer(store)
    with LayerCache(store) as first, LayerCache(store) as second:
        first.put("key", record)
        assert second.get("key") == record
        for cache in (first, second):
            cache.close()
        damage_header(store.home / "nbdock.sqlite")
        assert first.get("key") is None
        first.put("key", record)
        # The second finds the new database, and does not set that aside.
        assert second.get("key") == record
    assert len(list(store.home.glob("nbdock.sqlite.damaged-*"))) == 1


def test_a_newer_database_is_left_alone(store: BlobStore, caplog: pytest.LogCaptureFixture) -> None:
    path = store.home / "nbdock.sqlite"
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 2")
    db.execute("CREATE TABLE layers (something, else_)")
    db.commit()
    db.close()
    before = path.read_bytes()
    record = layer(store)
    with LayerCache(store) as cache:
        cache.put("key", record)
        assert cache.get("key") is None
    assert path.read_bytes() == before
    assert "newer nbdock" in caplog.text


def test_values_of_the_wrong_kind_are_ignored(store: BlobStore, cache: LayerCache) -> None:
    cache.put("key", layer(store))
    db = sqlite3.connect(store.home / "nbdock.sqlite")
    for row in (("a", 5, 1, 1), ("b", "sha256:../..", 1, 1), ("c", "sha256:" + "a" * 64, "x", 1)):
        db.execute("INSERT INTO layers VALUES (?, ?, ?, ?)", row)
    db.execute("INSERT INTO derived VALUES ('kind', 'key', 'text')")
    db.commit()
    db.close()
    assert list(cache.get_many(["key", "a", "b", "c"])) == ["key"]
    assert cache.recall("kind", "key") is None


def test_a_place_that_cannot_hold_a_database(
    store: BlobStore, caplog: pytest.LogCaptureFixture
) -> None:
    (store.home / "nbdock.sqlite").mkdir()
    record = layer(store)
    with LayerCache(store) as cache:
        cache.put("key", record)
        assert cache.get("key") is None
    assert "cannot be used" in caplog.text


def test_threads_share_a_cache(store: BlobStore, cache: LayerCache) -> None:
    record = layer(store)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(40):
                cache.put(f"{number}/{turn}", record)
                assert cache.get(f"{number}/{turn}") == record
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(cache.get_many(f"{n}/{t}" for n in range(6) for t in range(40))) == 240


PROCESS = """
import logging, sys
logging.basicConfig(level="WARNING")
from nbdock.content import BlobStore, LayerCache, LayerRecord
store = BlobStore(sys.argv[1])
record = LayerRecord(store.add(b"tar"), 3, 1)
sys.stdin.read(1)
for turn in range(50):
    with LayerCache(store) as cache:
        cache.put(f"{sys.argv[2]}/{turn}", record)
        assert cache.get(f"{sys.argv[2]}/{turn}") == record
"""


def test_processes_share_a_database_from_its_creation_on(store: BlobStore) -> None:
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, store.home, str(number)],
            stdin=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for number in range(4)
    ]  # fmt: skip
    for process in running:
        assert process.stdin is not None
        process.stdin.write(b"x")
        process.stdin.flush()
    for process in running:
        _, said = process.communicate(timeout=240)
        assert process.returncode == 0, said
        assert said == b""
    with LayerCache(store) as cache:
        found = cache.get_many(f"{n}/{t}" for n in range(4) for t in range(50))
    assert len(found) == 200


FORKED = """
import os, sys
from nbdock.content import BlobStore, LayerCache, LayerRecord
store = BlobStore(sys.argv[1])
record = LayerRecord(store.add(b"tar"), 3, 1)
with LayerCache(store) as cache:
    cache.put("parent", record)
    child = os.fork()
    if not child:
        cache.put("child", record)
        ok = cache.get("parent") == record
        cache.close()
        os._exit(not ok)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    cache.put("parent again", record)
    found = cache.get_many(["parent", "child", "parent again"])
sys.exit(code or len(found) != 3)
"""


def test_a_forked_child_uses_a_connection_of_its_own(store: BlobStore) -> None:
    subprocess.run([sys.executable, "-c", FORKED, store.home], check=True, timeout=240)


def test_digest_of_a_record_is_a_value() -> None:
    assert LayerRecord(Digest.of(b""), 0, 0) == LayerRecord(Digest.of(b""), 0, 0)
