"""What public functions that give tables have in common: `table_function`.

A table knows which one it is, so that a notebook can show sizes as people read them, while the
numbers stay bytes:

    frame.attrs["nbdock"]     # {"table": "file_table", "rows": 812, "columns": 12}

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

__all__ = ["MARK", "marked", "table_function"]

MARK = "nbdock"
"""The key in a table's ``attrs``."""

P = ParamSpec("P")


def marked(function: Callable[P, pd.DataFrame]) -> Callable[P, pd.DataFrame]:
    """Mark what a function gives with its name."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> pd.DataFrame:
        table = function(*args, **kwargs)
        rows, columns = table.shape
        table.attrs[MARK] = {"table": function.__name__, "rows": rows, "columns": columns}
        return table

    return call


def table_function(function: Callable[P, pd.DataFrame]) -> Callable[P, pd.DataFrame]:
    """The same for a public function that takes ``progress``, shown in notebooks as it goes."""
    return checked(watched_plain("Read")(marked(function)))
