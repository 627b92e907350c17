"""What public functions that give tables have in common: `table_function`.

A table knows which one it is, so that a notebook can show sizes as people read them, while the
numbers stay bytes:

    frame.attrs["nbdock"]    # {"table": "file_table", "rows": 812, "columns": 12, "index": [None]}

pandas keeps that in what is selected or sorted from the table, and drops it where tables of
several kinds are put together.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec

from nbdock.calling import checked
from nbdock.showing import watched_plain

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MARK", "mark", "marked", "table_function"]

MARK = "nbdock"
"""The key in a table's ``attrs``."""

P = ParamSpec("P")


def marked(function: Callable[P, pd.DataFrame]) -> Callable[P, pd.DataFrame]:
    """Mark what a function gives with its name."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> pd.DataFrame:
        return mark(function(*args, **kwargs), function.__name__)

    return call


def mark(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Mark a table as one that a function gave, or would give."""
    rows, columns = table.shape
    index = list(table.index.names)
    table.attrs[MARK] = {"table": name, "rows": rows, "columns": columns, "index": index}
    return table


def table_function(function: Callable[P, pd.DataFrame]) -> Callable[P, pd.DataFrame]:
    """The same for a public function that takes ``progress``, shown in notebooks as it goes."""
    return checked(watched_plain("Read")(marked(function)))
