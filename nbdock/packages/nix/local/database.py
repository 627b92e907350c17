"""Reads the database in which a Nix store says what is in it: sizes, hashes, references, derivers.

Nothing is ever written, not even the files that SQLite lays beside a database in WAL mode: a
notebook's user may have no right to, and the store is Nix's. So a database in WAL mode that nobody
is writing to (it has no log, or an empty one) is read as a file that does not change, and what was
read counts only if it indeed has not. Where there is a log with its index, SQLite's own protocol
for readers takes them as they are.

    database = StoreDatabase("/nix/var/nix/db/db.sqlite")
    infos = database.closure([StorePath.parse("/nix/store/...-hello-2.12")])
"""

from __future__ import annotations

import contextlib
import operator
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

from nbdock.errors import InvalidValueError, NixError
from nbdock.oci import Digest
from nbdock.packages.nix.base32 import parse_hash
from nbdock.packages.nix.storepackage import PathInfo
from nbdock.packages.nix.storepath import STORE_DIR, StorePath

__all__ = ["StoreDatabase"]

T = TypeVar("T")

_SCHEMA = 10
"""The form of the database that every Nix since 2.0 writes; the file ``schema`` beside it says."""

_MAGIC = b"SQLite format 3\0"
_HEX_LENGTH = len("sha256:") + 64
_HEADER_BYTES = 20
_LOG_VERSION = 2
_LOG, _LOG_INDEX = "-wal", "-shm"
_BUSY_S = 10.0
_ATTEMPTS = 8

_FILL = "INSERT OR IGNORE INTO temp.wanted SELECT id FROM ValidPaths WHERE path = ?"
_CLOSE = """
    INSERT OR IGNORE INTO temp.wanted
    WITH RECURSIVE closure(id) AS (
        SELECT id FROM temp.wanted
        UNION SELECT reference FROM Refs JOIN closure ON referrer = closure.id
    ) SELECT id FROM closure
"""
_PATHS = """
    SELECT id, path, hash, narSize, deriver, sigs, ca
    FROM temp.wanted CROSS JOIN ValidPaths USING (id) ORDER BY path
"""
_REFERENCES = "SELECT referrer, reference FROM temp.wanted CROSS JOIN Refs ON referrer = id"
_REFERENCED = """
    SELECT id, path FROM ValidPaths WHERE id IN (
        SELECT reference FROM temp.wanted CROSS JOIN Refs ON referrer = temp.wanted.id
        EXCEPT SELECT id FROM temp.wanted
    )
"""
_OUTPUTS = """
    SELECT o.id, o.path FROM ValidPaths v JOIN DerivationOutputs o ON o.drv = v.id
    WHERE v.path = ?
"""


class _Files(NamedTuple):
    """What the files of a database are at one time.

    Attributes
    ----------
    has_log_mode
        Whether it is in WAL mode.
    main, log
        What tells the file and its log from changed ones; nothing for a log that is not there.
    has_index
        Whether there is an index of the log, which there is as long as somebody uses it.
    """

    has_log_mode: bool
    main: tuple[int, ...]
    log: tuple[int, ...]
    has_index: bool


class StoreDatabase:
    """The database of a Nix store on this machine.

    Guarantees: reads only; what one call returns was true at one moment, whatever Nix does
    meanwhile. Nothing is kept open between calls, and threads may share it.

    Parameters
    ----------
    path
        The file: ``<state directory>/db/db.sqlite``.
    store_dir
        The directory that the store paths in it begin with.
    """

    def __init__(self, path: str | os.PathLike[str], *, store_dir: str = STORE_DIR) -> None:
        self.path = os.path.abspath(path)
        self.store_dir = store_dir

    def __repr__(self) -> str:
        return f"<StoreDatabase {self.path}>"

    def infos(self, paths: Iterable[StorePath]) -> dict[StorePath, PathInfo]:
        """What is known of those of the paths that are valid, sorted by path.

        Raises
        ------
        NixError
            There is no database, or it cannot be read.
        """
        return self._infos(paths, closed=False)

    def closure(self, paths: Iterable[StorePath]) -> dict[StorePath, PathInfo]:
        """What is known of the paths and of everything that they refer to, over however many steps.

        Paths that are not valid are left out. Raises what `infos` does.
        """
        return self._infos(paths, closed=True)

    def outputs(self, derivation: StorePath) -> dict[str, StorePath]:
        """The paths of a derivation's outputs by their names, as far as they are known."""

        def query(db: sqlite3.Connection) -> list[tuple[Any, ...]]:
            return db.execute(_OUTPUTS, (str(derivation),)).fetchall()

        with self._sound():
            return {name: self._path(path) for name, path in self._read(query)}

    def _infos(self, paths: Iterable[StorePath], *, closed: bool) -> dict[StorePath, PathInfo]:
        wanted = [(str(path),) for path in paths]

        def query(db: sqlite3.Connection) -> list[list[tuple[Any, ...]]]:
            db.execute("CREATE TEMP TABLE wanted (id INTEGER PRIMARY KEY)")
            db.executemany(_FILL, wanted)
            if closed:
                db.execute(_CLOSE)
            return [db.execute(s).fetchall() for s in (_PATHS, _REFERENCES, _REFERENCED)]

        rows, references, others = self._read(query)
        with self._sound():
            return self._built(rows, references, others)

    def _built(
        self,
        rows: list[tuple[Any, ...]],
        references: list[tuple[Any, ...]],
        others: list[tuple[Any, ...]],
    ) -> dict[StorePath, PathInfo]:
        # Closures have many references: in the order of what they lead to, none has to be sorted.
        every = sorted((*rows, *others), key=operator.itemgetter(1))
        paths = {row[0]: self._path(row[1]) for row in every}
        referrers: dict[int, list[int]] = {number: [] for number in paths}
        for referrer, reference in references:
            referrers[reference].append(referrer)
        referred: dict[int, list[StorePath]] = {row[0]: [] for row in rows}
        for number, path in paths.items():
            for referrer in referrers[number]:
                referred[referrer].append(path)
        found: dict[StorePath, PathInfo] = {}
        for number, _, nar_hash, nar_size, deriver, signatures, address in rows:
            texts_only = isinstance(signatures or "", str) and isinstance(address or "", str)
            if not texts_only or not isinstance(nar_size or 0, int) or (nar_size or 0) < 0:
                raise ValueError(f"it says of {paths[number]} what Nix cannot have written there")
            found[paths[number]] = PathInfo(
                path=paths[number],
                nar_hash=_digest(nar_hash),
                nar_size_bytes=nar_size or 0,
                references=tuple(referred[number]),
                deriver=self._path(deriver) if deriver else None,
                signatures=tuple(signatures.split()) if signatures else (),
                content_address=address or "",
            )
        return found

    def _path(self, text: str) -> StorePath:
        return StorePath.parse(text, store_dir=self.store_dir)

    @contextlib.contextmanager
    def _sound(self) -> Iterator[None]:
        """Whatever in the rows is not what Nix writes there is damage."""
        try:
            yield
        except (InvalidValueError, TypeError, ValueError, AttributeError, KeyError) as error:
            raise self._damaged(str(getattr(error, "message", error))) from error

    # Opening

    def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """What a query gives, on a database that is as it was at one moment."""
        for _ in range(_ATTEMPTS):
            self._check_schema()
            before = self._files()
            problem: sqlite3.Error | None = None
            try:
                if self._is_shared(before):
                    return _asked(self.path, "mode=ro", query)
                result = self._asked_alone(before, query)
            except sqlite3.Error as error:
                if _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    raise self._explained(error) from error
                problem = error
            if self._files() != before:
                continue  # Nix wrote to it meanwhile: neither the result nor the error counts.
            if problem is not None:
                raise self._explained(problem) from problem
            return result
        raise NixError(
            f"The database of the Nix store, {self.path}, changes all the time.",
            hint="Run the cell again when Nix has less to do.",
        )

    def _asked_alone(self, files: _Files, query: Callable[[sqlite3.Connection], T]) -> T:
        """Ask a database that nobody has open, without leaving anything beside it."""
        if not files.log:
            return _asked(self.path, "mode=ro&immutable=1", query)
        # Whoever wrote last was cut off. What is committed is in the log, of which SQLite would
        # make an index beside the database; so it gets to see a copy.
        with tempfile.TemporaryDirectory(prefix="nbdock-nix-") as directory:
            copy = os.path.join(directory, "db.sqlite")
            try:
                for suffix in ("", _LOG):
                    shutil.copyfile(self.path + suffix, copy + suffix)
            except OSError as error:
                raise self._unreadable(error) from error
            return _asked(copy, "mode=rw", query)

    def _files(self) -> _Files:
        """The files of the database, as `lstat` tells them from changed ones."""
        try:
            with open(self.path, "rb") as file:
                header = file.read(_HEADER_BYTES)
                main = _identity(os.fstat(file.fileno()))
            if not header.startswith(_MAGIC) or len(header) < _HEADER_BYTES:
                raise self._damaged("it is not a SQLite database")
            log = self._identity_of(_LOG)
            # An empty log is as good as none.
            return _Files(
                header[18] == _LOG_VERSION, main, log if log and log[2] else (),
                bool(self._identity_of(_LOG_INDEX)),
            )  # fmt: skip
        except OSError as error:
            raise self._unreadable(error) from error

    def _identity_of(self, suffix: str) -> tuple[int, ...]:
        try:
            return _identity(os.stat(self.path + suffix))
        except FileNotFoundError:
            return ()

    @staticmethod
    def _is_shared(files: _Files) -> bool:
        """Whether somebody may be writing: then SQLite's locks are needed, and change no file.

        Without a log, a database in WAL mode is nothing but its file; a log without its index was
        left over. In the other modes a reader's locks are all there is.
        """
        return not files.has_log_mode or bool(files.log and files.has_index)

    def _check_schema(self) -> None:
        try:
            with open(os.path.join(os.path.dirname(self.path), "schema"), "rb") as file:
                text = file.read(32).strip()
        except OSError:
            return
        if text == b"%d" % _SCHEMA:
            return
        shown = text.decode("ascii", "replace")
        is_newer = text.isdigit() and int(text) > _SCHEMA
        raise NixError(
            f"The database of the Nix store, {self.path}, has the schema {shown!r}; "
            f"nbdock reads {_SCHEMA}.",
            hint="A newer Nix wrote it: update nbdock."
            if is_newer else "Run `nix-store --verify` once: Nix brings it up to date.",
        )  # fmt: skip

    # Errors

    def _explained(self, error: sqlite3.Error) -> NixError:
        code = _code(error)
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return NixError(
                f"The database of the Nix store, {self.path}, is locked.",
                hint="Run the cell again when Nix has finished what it is doing.",
            )
        if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
            return NixError(
                f"The database of the Nix store, {self.path}, was left in the middle of a change, "
                f"and only who may write there can put it in order ({error}).",
                hint="Run `nix-store --verify` as the store's owner, then run the cell again.",
            )
        if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_FULL):
            return NixError(f"The database of the Nix store, {self.path}, cannot be read: {error}.")
        return self._damaged(str(error))

    def _damaged(self, reason: str) -> NixError:
        return NixError(
            f"The database of the Nix store, {self.path}, is damaged: {reason.rstrip('.')}.",
            hint="`nix-store --verify` checks it.",
        )

    def _unreadable(self, error: OSError) -> NixError:
        if isinstance(error, FileNotFoundError):
            return NixError(
                f"There is no Nix store here: {self.path} does not exist.",
                hint="Without a store, nixpkgs(channel=...) takes packages from a binary cache.",
            )
        return NixError(
            f"The database of the Nix store, {self.path}, cannot be read: {error.strerror}."
        )


def _asked(path: str, options: str, query: Callable[[sqlite3.Connection], T]) -> T:
    uri = f"file:{quote(os.fsencode(path))}?{options}"
    with contextlib.closing(
        sqlite3.connect(uri, uri=True, timeout=_BUSY_S, isolation_level=None)
    ) as db:
        db.execute("PRAGMA temp_store = MEMORY")
        db.execute("BEGIN")
        return query(db)


def _identity(facts: os.stat_result) -> tuple[int, ...]:
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def _digest(text: str) -> Digest:
    """A hash in any of Nix's forms; today's Nix writes hexadecimal, which is quickest to read."""
    if len(text) == _HEX_LENGTH and text.startswith("sha256:"):
        return Digest("sha256", text[7:])
    return parse_hash(text, algorithm="sha256")


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
