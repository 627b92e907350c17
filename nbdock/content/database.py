"""A small SQLite database that never gets in the way: the file under the layer cache.

What it holds may be lost at any time. So a database that is damaged is moved aside and begun anew,
one that a newer nbdock wrote is left alone and not used, a disk that is full or read-only stops the
remembering, each with one logged warning; nothing raises because of the file.

It is in WAL mode: readers and one writer do not wait for each other, and a power cut may lose the
last transactions, but does not damage what was there.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

__all__ = ["Database"]

_log = logging.getLogger(__name__)

T = TypeVar("T")

_VERSION = 1
_BUSY_S = 10.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS layers (
    key TEXT PRIMARY KEY, diff_id TEXT NOT NULL, size_bytes INTEGER NOT NULL,
    entry_count INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS compressed (
    diff_id TEXT NOT NULL, algorithm TEXT NOT NULL, level INTEGER NOT NULL,
    encoder TEXT NOT NULL, descriptor TEXT NOT NULL,
    PRIMARY KEY (diff_id, algorithm, level, encoder)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS derived (
    kind TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (kind, key)
);
"""

_COLUMNS = {
    "layers": "key, diff_id, size_bytes, entry_count",
    "compressed": "diff_id, algorithm, level, encoder, descriptor",
    "derived": "kind, key, value",
}


class Database:
    """The tables of the layer cache, in a file that threads and processes share.

    Guarantees: `rows` and `write` do not raise for anything about the file; after a fork, the child
    uses a connection of its own. Opened at the first use.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._pid = os.getpid()
        self._unusable = False
        self._warned: set[str] = set()

    def close(self) -> None:
        """Close the database; the next use opens it again."""
        with self._lock:
            connection, self._connection = self._connection, None
            # A connection made before a fork belongs to the parent; closing it here would release
            # the parent's locks.
            if connection is not None and self._pid == os.getpid():
                connection.close()

    def __del__(self) -> None:
        if getattr(self, "_connection", None) is not None:
            self.close()

    def rows(self, statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        """What a SELECT gives; nothing if there is no usable database."""
        return self._use(lambda db: db.execute(statement, values).fetchall(), [])

    def write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Do `statement` for every row, in one transaction, if the database can be written."""

        def insert(db: sqlite3.Connection) -> None:
            # IMMEDIATE: a transaction that first reads and then writes could not wait for another.
            db.execute("BEGIN IMMEDIATE")
            try:
                db.executemany(statement, rows)
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

        if rows:
            self._use(insert, None)

    def _use(self, action: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """Do something with the database; `otherwise` if there is none to be had."""
        if self._pid != os.getpid():
            self._after_fork()
        with self._lock:
            for _attempt in (1, 2):
                try:
                    db = self._opened()
                    return otherwise if db is None else action(db)
                except sqlite3.Error as error:
                    self.close()
                    if not _means_damage(error):
                        # Locked, full, read-only, no such directory: the file may be sound.
                        self._warn(f"The layer cache {self._path} cannot be used now: {error}.")
                        return otherwise
                    self._set_aside(error)
                except UnicodeEncodeError:
                    # A key with a lone surrogate is not text, and in no database.
                    return otherwise
            self._unusable = True
            return otherwise

    def _after_fork(self) -> None:
        # SQLite's connections must be neither used nor closed in a child.
        _leaked.append(self._connection)
        self._connection, self._pid, self._lock = None, os.getpid(), threading.RLock()

    def _opened(self) -> sqlite3.Connection | None:
        if self._connection is None and not self._unusable:
            db = sqlite3.connect(
                self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
            try:
                self._unusable = not self._prepare(db)
            except BaseException:
                db.close()
                raise
            if self._unusable:
                db.close()
            else:
                self._connection = db
        return self._connection

    def _prepare(self, db: sqlite3.Connection) -> bool:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > _VERSION:
            self._warn(
                f"The layer cache {self._path} was written by a newer nbdock (format {version}); "
                "it is not used."
            )
            return False
        # A power cut may lose the last transactions, but cannot damage the file.
        db.execute("PRAGMA synchronous = NORMAL")
        if version < _VERSION:
            # One process at a time: SQLite does not wait for others when it changes to WAL.
            with self._file_lock():
                db.execute("PRAGMA journal_mode = WAL").fetchone()
                db.execute("BEGIN IMMEDIATE")
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {_VERSION}")
                db.execute("COMMIT")
        return True

    def _set_aside(self, error: Exception) -> None:
        try:
            with self._file_lock():
                # Another process may have done it, and begun a new one.
                if _is_sound(self._path):
                    return
                aside = f"{self._path}.damaged-{secrets.token_hex(4)}"
                self._warn(
                    f"The layer cache {self._path} is damaged ({error}); it is kept as {aside}."
                )
                for suffix in ("", "-wal", "-shm"):
                    with contextlib.suppress(FileNotFoundError):
                        os.rename(self._path + suffix, aside + suffix)
        except OSError as trouble:
            self._warn(f"The layer cache {self._path} is damaged, and stays ({trouble}).")
            self._unusable = True

    @contextlib.contextmanager
    def _file_lock(self) -> Iterator[None]:
        fd = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            _log.warning("%s", message)


def _means_damage(error: sqlite3.Error) -> bool:
    if isinstance(error, sqlite3.OperationalError | sqlite3.InterfaceError):
        # A missing table or column is as bad as damage; being locked or full is not.
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        return code in {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
    return isinstance(error, sqlite3.DatabaseError)


def _is_sound(path: str) -> bool:
    """Whether a database has the tables it should, and passes SQLite's own check."""
    with contextlib.closing(sqlite3.connect(path, timeout=_BUSY_S)) as db:
        try:
            for table, columns in _COLUMNS.items():
                db.execute(f"SELECT {columns} FROM {table} LIMIT 1").fetchone()  # noqa: S608
            return bool(db.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",))
        except sqlite3.Error:
            return False


# Connections of a parent process, kept from being collected (and so closed) in a forked child.
_leaked: list[sqlite3.Connection | None] = []
