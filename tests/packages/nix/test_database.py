"""The database of a Nix store is read as it is, quickly, and nothing is ever written beside it."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.nix import Nix

from nbdock.errors import NixError
from nbdock.oci import Digest
from nbdock.packages.nix import StorePath, format_hash
from nbdock.packages.nix.base32 import DIGITS
from nbdock.packages.nix.local import database
from nbdock.packages.nix.local.database import StoreDatabase

SCHEMA = """
CREATE TABLE ValidPaths (
    id integer primary key autoincrement not null, path text unique not null, hash text not null,
    registrationTime integer not null, deriver text, narSize integer, ultimate integer, sigs text,
    ca text
);
CREATE TABLE Refs (
    referrer integer not null, reference integer not null, primary key (referrer, reference)
);
CREATE INDEX IndexReferrer on Refs(referrer);
CREATE INDEX IndexReference on Refs(reference);
CREATE TABLE DerivationOutputs (
    drv integer not null, id text not null, path text not null, primary key (drv, id)
);
"""
NOBODY = 65534


def path_of(number: int) -> str:
    digits = "".join(DIGITS[number >> shift & 31] for shift in range(0, 40, 5))
    return f"/nix/store/{digits:0<32}-package-{number}"


def row_of(number: int, nar_hash: str = "") -> tuple[object, ...]:
    nar_hash = nar_hash or f"sha256:{Digest.sha256(b'%d' % number).hex}"
    return number, path_of(number), nar_hash, 1, path_of(number) + ".drv", 100 + number, None, None


def write(
    db: sqlite3.Connection,
    numbers: range,
    references: list[tuple[int, int]] = [],  # noqa: B006
) -> None:
    rows = map(row_of, numbers)
    db.executemany(
        "INSERT INTO ValidPaths (id, path, hash, registrationTime, deriver, narSize, sigs, ca) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows,
    )  # fmt: skip
    db.executemany("INSERT OR IGNORE INTO Refs VALUES (?, ?)", references)
    db.commit()


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that every user may look into, as the store's own is."""
    with tempfile.TemporaryDirectory(prefix="nbdock-test-db-") as place:
        os.chmod(place, 0o755)
        yield Path(place)


def made(directory: Path, journal: str = "wal", count: int = 5) -> Path:
    """A small database in which each path refers to the next one and to itself."""
    path = directory / "db.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA journal_mode = {journal}").fetchone()
        db.executescript(SCHEMA)
        write(db, range(1, count + 1), [(n, n + 1) for n in range(1, count)] + [(1, 1)])
    return path


def store_path(number: int) -> StorePath:
    return StorePath.parse(path_of(number))


def numbers(path: Path, *roots: int) -> list[int]:
    """The closure of some paths, as numbers."""
    infos = StoreDatabase(path).closure(map(store_path, roots or (1,)))
    return sorted(info.nar_size_bytes - 100 for info in infos.values())


def snapshot(directory: Path) -> dict[str, object]:
    return {
        p.name: (p.read_bytes(), p.stat().st_mtime_ns, p.stat().st_ino) for p in directory.iterdir()
    }


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Have this thread's files be asked for by somebody without rights to them."""
    if os.geteuid():
        yield
        return
    libc = ctypes.CDLL(None)
    libc.setfsuid(NOBODY)
    try:
        yield
    finally:
        libc.setfsuid(0)


# Against Nix


def test_what_nix_says(nix: Nix) -> None:
    roots = nix.build_all("hello", "zlib.dev", "oddities.self", "oddities.symlink", "oddities.deep")
    infos = StoreDatabase(nix.path("/nix/var/nix/db/db.sqlite")).closure(
        map(StorePath.parse, roots)
    )
    assert [str(path) for path in infos] == nix.closure(*roots)
    said = {
        one["path"]: one
        for one in json.loads(nix.run("nix", "path-info", "--json", *map(str, infos)))
    }
    for path, info in infos.items():
        one = said[str(path)]
        assert format_hash(info.nar_hash, "sri") == one["narHash"]
        assert info.nar_size_bytes == one["narSize"]
        assert [str(p) for p in info.references] == sorted(one["references"])
        assert str(info.deriver) == one["deriver"]
        assert info.signatures == tuple(one.get("signatures", ()))
        assert info.content_address == one.get("ca", "")
    (own,) = [info for info in infos.values() if info.path.name == "self-1.0"]
    assert own.path in own.references
    # The older command says the same.
    for option, ours in {
        "--size": [str(info.nar_size_bytes) for info in infos.values()],
        "--hash": [format_hash(info.nar_hash) for info in infos.values()],
        "--deriver": [str(info.deriver) for info in infos.values()],
    }.items():
        assert nix.run("nix-store", "--query", option, *map(str, infos)).split() == ours


def test_outputs_of_a_derivation(nix: Nix) -> None:
    nix.build_all("zlib")
    derivation = nix.run("nix-instantiate", "<nixpkgs>", "-A", "zlib").strip()
    outputs = StoreDatabase(nix.path("/nix/var/nix/db/db.sqlite")).outputs(
        StorePath.parse(derivation)
    )
    assert {name: str(path) for name, path in outputs.items()} == {
        name: nix.build(f"zlib.{name}") for name in ("out", "dev", "static")
    }


def test_signatures_and_content_addresses(nix: Nix, tmp_path: Path) -> None:
    (tmp_path / "note").write_text("x")
    added = nix.run("nix-store", "--add", tmp_path / "note").strip()
    nix.run("nix-store", "--generate-binary-cache-key", "us-1", tmp_path / "sec", tmp_path / "pub")
    nix.run("nix", "store", "sign", "-k", tmp_path / "sec", added)
    path = StorePath.parse(added)
    info = StoreDatabase(nix.path("/nix/var/nix/db/db.sqlite")).infos([path])[path]
    assert info.content_address == f"fixed:r:{format_hash(info.nar_hash)}"
    assert [text.partition(":")[0] for text in info.signatures] == ["us-1"]
    assert info.deriver is None


# Content


def test_closures_and_what_is_not_valid(directory: Path) -> None:
    path = made(directory)
    assert numbers(path, 1) == [1, 2, 3, 4, 5]
    assert numbers(path, 4, 3) == [3, 4, 5]
    assert numbers(path, 9) == []
    infos = StoreDatabase(path).infos([store_path(1), store_path(9)])
    (info,) = infos.values()
    assert info.references == (store_path(1), store_path(2))
    assert StoreDatabase(path).outputs(store_path(1)) == {}


@pytest.mark.parametrize("form", ["hex", "base32", "sri"])
def test_every_form_of_a_hash(directory: Path, form: str) -> None:
    path = made(directory)
    digest = Digest.sha256(b"content")
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE ValidPaths SET hash = ?, narSize = NULL", (format_hash(digest, form),))  # type: ignore[arg-type]
    info = StoreDatabase(path).infos([store_path(1)])[store_path(1)]
    assert info.nar_hash == digest
    assert info.nar_size_bytes == 0


def test_a_store_in_another_place(directory: Path) -> None:
    path = made(directory)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE ValidPaths SET path = replace(path, '/nix/store', '/gnu/store')")
        db.execute("UPDATE ValidPaths SET deriver = NULL")
    wanted = StorePath.parse(path_of(4).replace("/nix", "/gnu"), store_dir="/gnu/store")
    assert len(StoreDatabase(path, store_dir="/gnu/store").closure([wanted])) == 2
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE ValidPaths SET path = ? WHERE id = 4", (path_of(4),))
    with pytest.raises(NixError, match="damaged"):
        StoreDatabase(path, store_dir="/gnu/store").infos([store_path(4)])


# Nothing is written


@pytest.mark.parametrize("journal", ["wal", "truncate", "delete"])
@pytest.mark.parametrize("as_whom", [contextlib.nullcontext, as_nobody])
def test_a_quiet_database(directory: Path, journal: str, as_whom: object) -> None:
    path = made(directory, journal)
    before = snapshot(directory)
    directory.chmod(0o555)
    with as_whom():  # type: ignore[operator]
        assert numbers(path) == [1, 2, 3, 4, 5]
    assert snapshot(directory) == before


@pytest.mark.parametrize("as_whom", [contextlib.nullcontext, as_nobody])
def test_a_database_in_use(directory: Path, as_whom: object) -> None:
    path = made(directory)
    with contextlib.closing(sqlite3.connect(path)) as writer:
        write(writer, range(10, 12), [(10, 11)])
        writer.execute("DELETE FROM Refs")  # not committed
        before = snapshot(directory)
        assert set(before) == {"db.sqlite", "db.sqlite-wal", "db.sqlite-shm"}
        with as_whom():  # type: ignore[operator]
            assert numbers(path, 10) == [10, 11]
        after = snapshot(directory)
        assert after["db.sqlite"] == before["db.sqlite"]
        assert after["db.sqlite-wal"] == before["db.sqlite-wal"]
        assert set(after) == set(before)


@pytest.mark.parametrize("as_whom", [contextlib.nullcontext, as_nobody])
@pytest.mark.parametrize("index", ["none", "stale"])
def test_a_log_that_was_left_over(
    directory: Path, tmp_path: Path, index: str, as_whom: object
) -> None:
    path = made(tmp_path)
    with contextlib.closing(sqlite3.connect(path)) as writer:
        write(writer, range(10, 12), [(10, 11)])
        for suffix in ["", "-wal"] + ["-shm"] * (index == "stale"):
            shutil.copyfile(f"{path}{suffix}", directory / f"db.sqlite{suffix}")
    directory.chmod(0o555)
    names = set(snapshot(directory))
    main, log = snapshot(directory)["db.sqlite"], snapshot(directory)["db.sqlite-wal"]
    with as_whom():  # type: ignore[operator]
        assert numbers(directory / "db.sqlite", 10) == [10, 11]
    after = snapshot(directory)
    assert set(after) == names
    assert (after["db.sqlite"], after["db.sqlite-wal"]) == (main, log)


def test_an_empty_log_is_none(directory: Path) -> None:
    path = made(directory)
    (directory / "db.sqlite-wal").touch()
    before = snapshot(directory)
    assert numbers(path) == [1, 2, 3, 4, 5]
    assert snapshot(directory) == before


def test_a_change_while_it_is_read(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(directory)
    asked = database._asked
    times = 0

    def changing(*arguments: object) -> object:
        nonlocal times
        times += 1
        result = asked(*arguments)  # type: ignore[arg-type]
        if times == 1:
            with contextlib.closing(sqlite3.connect(path)) as writer:
                write(writer, range(6, 7), [(5, 6)])
        if times == 2:
            raise sqlite3.DatabaseError("database disk image is malformed")
        if times == 3:
            path.touch()
        return result

    monkeypatch.setattr(database, "_asked", changing)
    with pytest.raises(NixError, match="malformed"):
        numbers(path)
    assert times == 2
    times = 2
    assert numbers(path) == [1, 2, 3, 4, 5, 6]
    assert times == 4


def test_a_database_that_never_rests(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(directory)
    asked = database._asked
    moment = 0

    def changing(*arguments: object) -> object:
        nonlocal moment
        moment += 1
        os.utime(path, ns=(moment, moment))
        return asked(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(database, "_asked", changing)
    with pytest.raises(NixError, match="changes all the time"):
        numbers(path)


def test_a_locked_database(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_BUSY_S", 0.01)
    path = made(directory, "delete")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(NixError, match="locked"):
            numbers(path)
    assert numbers(path) == [1, 2, 3, 4, 5]


def test_a_change_that_was_cut_off(directory: Path, tmp_path: Path) -> None:
    path = made(tmp_path, "delete", count=3000)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA cache_size = 1")
        writer.execute("BEGIN")
        writer.execute("UPDATE ValidPaths SET hash = hash || 'x'")
        for suffix in ("", "-journal"):
            shutil.copyfile(f"{path}{suffix}", directory / f"db.sqlite{suffix}")
    before = snapshot(directory)
    with pytest.raises(NixError, match="middle of a change") as caught:
        numbers(directory / "db.sqlite")
    assert "as the store's owner" in str(caught.value)
    assert snapshot(directory) == before


# What is no database


def test_no_database(tmp_path: Path) -> None:
    with pytest.raises(NixError, match="does not exist") as caught:
        numbers(tmp_path / "db.sqlite")
    assert "binary cache" in str(caught.value)


def test_a_database_for_others_only(directory: Path) -> None:
    path = made(directory)
    path.chmod(0o600 if os.geteuid() == 0 else 0)
    with as_nobody(), pytest.raises(NixError, match="Permission denied"):
        numbers(path)


@pytest.mark.parametrize("schema", ["11", "9", "", "what"])
def test_another_schema(directory: Path, schema: str) -> None:
    path = made(directory)
    (directory / "schema").write_text("10")
    assert numbers(path)
    (directory / "schema").write_text(schema)
    with pytest.raises(NixError, match="schema") as caught:
        numbers(path)
    assert ("update nbdock" in str(caught.value)) == (schema == "11")


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_truncated_and_overwritten_databases(directory: Path, journal: str) -> None:
    path = made(directory, journal, count=200)
    whole = path.read_bytes()
    expected = numbers(path)
    chance = random.Random(1)
    damaged = [whole[:length] for length in (0, 5, 16, 19, 100, 4096, 5000, len(whole) - 4096)]
    damaged.append(b"not a database" * 1000)
    for _ in range(40):
        at = chance.randrange(100, len(whole) - 200)
        damaged.append(whole[:at] + chance.randbytes(200) + whole[at + 200 :])
    refused = 0
    for data in damaged:
        path.write_bytes(data)
        with contextlib.suppress(NixError):
            # What is damaged where nobody looks does no harm; no other error comes out.
            assert len(numbers(path)) <= len(expected)
            continue
        refused += 1
    assert refused > 10


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE Refs",
        "ALTER TABLE ValidPaths RENAME COLUMN sigs TO signatures",
        "UPDATE ValidPaths SET hash = 'sha256:12'",
        "UPDATE ValidPaths SET hash = 'md5:d41d8cd98f00b204e9800998ecf8427e'",
        "UPDATE ValidPaths SET hash = x'00ff'",
        "UPDATE ValidPaths SET deriver = '/nix/store/../../etc/passwd'",
        "UPDATE ValidPaths SET narSize = 'many'",
        "UPDATE ValidPaths SET narSize = 1.5",
        "UPDATE ValidPaths SET narSize = -5",
        "UPDATE ValidPaths SET sigs = x'00ff'",
        "UPDATE ValidPaths SET ca = x'00ff'",
        "UPDATE ValidPaths SET path = path || '/../../etc' WHERE id = 2",
        "INSERT INTO Refs VALUES (1, 99)",
    ],
)
def test_rows_that_nix_does_not_write(directory: Path, change: str) -> None:
    path = made(directory)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(change)
    with pytest.raises(NixError, match="damaged"):
        numbers(path)


# Speed


def test_five_thousand_paths_are_read_quickly(directory: Path) -> None:
    count = 5000
    chance = random.Random(7)
    references = [
        (n, chance.randrange(max(1, n - 400), n)) for n in range(2, count + 1) for _ in range(12)
    ]
    references += [(n, 1) for n in range(1, count + 1)]
    path = made(directory, count=0)
    with contextlib.closing(sqlite3.connect(path)) as db:
        write(db, range(1, count + 1000), [])
        references += [(count + 1, n) for n in range(1, count + 1)]
        db.executemany("INSERT OR IGNORE INTO Refs VALUES (?, ?)", references)
        db.commit()
    store = StoreDatabase(path)
    times = []
    for _ in range(3):
        started = time.process_time()
        infos = store.closure([store_path(count + 1)])
        times.append(time.process_time() - started)
    assert len(infos) == count + 1
    assert sum(len(info.references) for info in infos.values()) > 50_000
    # A quarter of a second on one idle core; this only sees what has become slow by far.
    assert min(times) < 1.5
