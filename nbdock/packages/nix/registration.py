"""The database of a Nix store inside an image: what its Nix must know to take the paths for valid.

It is a tree of entries made here, without Nix: the database that ``nix-store --load-db`` would
make, the number of its schema, and a garbage collector's root for each path that was asked for.
What Nix makes itself when it first opens the store is left to it. As in nixpkgs, derivers and
signatures are left out, so that a path registers alike wherever it came from.

>>> from nbdock.oci import Digest
>>> from nbdock.packages.nix import PathInfo, StorePath
>>> path = StorePath.parse("/nix/store/h1zb1padqbbb7jicsvkmrym3r6snphxg-hello-2.10")
>>> info = PathInfo(path, Digest.parse("sha256:" + "0" * 64), 120)
>>> [entry.path for entry in registration_entries([info], [path]) if entry.content]
[b'nix/var/nix/db/db.sqlite', b'nix/var/nix/db/schema']
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nbdock.errors import PackageError
from nbdock.filetree import BytesContent, Entry, EntryKind
from nbdock.packages.nix.storepackage import PathInfo
from nbdock.packages.nix.storepath import StorePath

__all__ = ["registration_entries"]

_SCHEMA_VERSION = b"10"
_STATE = "nix/var/nix"
_TABLES = """
    CREATE TABLE ValidPaths (
        id integer primary key autoincrement not null, path text unique not null,
        hash text not null, registrationTime integer not null, deriver text, narSize integer,
        ultimate integer, sigs text, ca text
    );
    CREATE TABLE Refs (
        referrer integer not null, reference integer not null, primary key (referrer, reference),
        foreign key (referrer) references ValidPaths(id) on delete cascade,
        foreign key (reference) references ValidPaths(id) on delete restrict
    );
    CREATE INDEX IndexReferrer on Refs(referrer);
    CREATE INDEX IndexReference on Refs(reference);
    CREATE TRIGGER DeleteSelfRefs before delete on ValidPaths begin
        delete from Refs where referrer = old.id and reference = old.id;
    end;
    CREATE TABLE DerivationOutputs (
        drv integer not null, id text not null, path text not null, primary key (drv, id),
        foreign key (drv) references ValidPaths(id) on delete cascade
    );
    CREATE INDEX IndexDerivationOutputs on DerivationOutputs(path);
"""
# What a database's header says of its history rather than of its content: it is to be read with a
# write-ahead log, as Nix leaves it, and was last written once, by the SQLite that this names.
_HEADER = {18: b"\2\2", 24: bytes([0, 0, 0, 1]), 92: bytes([0, 0, 0, 1]), 96: b"\0\x2e\x63\1"}


def registration_entries(
    infos: Iterable[PathInfo], roots: Sequence[StorePath] = (), *, registered: int = 1
) -> list[Entry]:
    """The files below ``/nix/var`` with which Nix knows these paths, and nothing else.

    The same paths give the same bytes, in any order. How a database is laid out is SQLite's matter:
    its versions from 3.40 to 3.51 lay this one out alike, a future one might not.

    Parameters
    ----------
    infos
        The paths; what they refer to is among them.
    roots
        What the garbage collector must keep, with all that it refers to.
    registered
        When they were registered. Seconds since the epoch; also the time of the files.

    Raises
    ------
    PackageError
        A path refers to one that is not to be registered.
    """
    data = _database(sorted(infos, key=lambda info: str(info.path)), registered)
    directories = [
        "nix", "nix/var", _STATE, f"{_STATE}/db", f"{_STATE}/gcroots", f"{_STATE}/gcroots/docker"
    ]  # fmt: skip
    kept = sorted({root.base_name: str(root) for root in roots}.items())
    return [
        *(_entry(path, EntryKind.DIRECTORY, 0o755, registered) for path in directories),
        _entry(f"{_STATE}/db/db.sqlite", EntryKind.FILE, 0o644, registered, data),
        _entry(f"{_STATE}/db/schema", EntryKind.FILE, 0o644, registered, _SCHEMA_VERSION),
        *(
            _entry(f"{_STATE}/gcroots/docker/{name}", EntryKind.SYMLINK, 0o777, registered,
                   linkname=path.encode())
            for name, path in kept
        ),
    ]  # fmt: skip


def _entry(
    path: str, kind: EntryKind, mode: int, mtime: int, data: bytes = b"", linkname: bytes = b""
) -> Entry:
    return Entry(
        path.encode(), kind, mode, 0, 0, len(data), mtime, "root", "root", linkname,
        content=BytesContent(data) if kind is EntryKind.FILE else None,
    )  # fmt: skip


def _database(infos: Sequence[PathInfo], registered: int) -> bytes:
    import sqlite3  # only images with a database need it

    numbers = {info.path: number for number, info in enumerate(infos, 1)}
    references = []
    for info in infos:
        for path in info.references:
            if path not in numbers:
                raise PackageError(
                    f"{info.path} refers to {path}, which is not in the image.",
                    package=str(info.path),
                    hint="Its closure is not complete in the store or cache it came from.",
                )
            references.append((numbers[info.path], numbers[path]))
    database = sqlite3.connect(":memory:")
    try:
        database.execute("PRAGMA page_size = 4096")
        # What moves to another page leaves nothing behind, however this SQLite was compiled, and
        # a database that is written anew at the end does not depend on how its pages grew.
        database.execute("PRAGMA secure_delete = ON")
        database.executescript(_TABLES)
        database.executemany(
            "INSERT INTO ValidPaths (id, path, hash, registrationTime, narSize) "
            "VALUES (?, ?, ?, ?, ?)",
            (
                (numbers[i.path], str(i.path), str(i.nar_hash), registered, i.nar_size_bytes)
                for i in infos
            ),
        )
        database.executemany("INSERT INTO Refs VALUES (?, ?)", sorted(set(references)))
        database.commit()
        database.execute("VACUUM")
        data = bytearray(database.serialize())
    finally:
        database.close()
    for offset, value in _HEADER.items():
        data[offset : offset + len(value)] = value
    return bytes(data)
