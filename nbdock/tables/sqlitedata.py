"""Rows of a SQLite database that an image holds: bytes from outside, never opened as a file.

for path, size in rows_of(data, "ValidPaths", ("path", "narSize")): ...
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

__all__ = ["rows_of"]

# A database may define anything, even tables that never end: how much work is done for one.
_STEPS_AT_A_TIME, _STEPS = 10_000, 50_000_000


def rows_of(data: bytes, table: str, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """The rows of one table of a database.

    Raises
    ------
    ValueError
        It is no database, is damaged, or has no such table.
    """
    if len(data) < 100:
        raise ValueError("it is no SQLite database")
    # Bytes 18 and 19 say that a write-ahead log belongs to it; it has none here.
    plain = data[:18] + b"\1\1" + data[20:]
    left = _STEPS // _STEPS_AT_A_TIME

    def stop() -> bool:
        nonlocal left
        left -= 1
        return left < 0

    try:
        with closing(sqlite3.connect(":memory:")) as database:
            database.deserialize(plain)
            database.execute("PRAGMA trusted_schema = OFF")
            database.execute("PRAGMA query_only = ON")
            database.set_progress_handler(stop, _STEPS_AT_A_TIME)
            kinds = database.execute("SELECT type FROM sqlite_master WHERE name = ?", (table,))
            if kinds.fetchone() != ("table",):
                raise ValueError(f"it has no table {table}")
            names = ", ".join(f'"{name}"' for name in columns)
            yield from database.execute(f'SELECT {names} FROM "{table}"').fetchall()  # noqa: S608
    except sqlite3.Error as error:
        raise ValueError(str(error)) from error
