"""The type of `doctor`'s table: a DataFrame that notebooks know to show whole.

pandas would cut off the commands that are to be copied, also in a selection of rows or columns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from nbdock.tables.checkup import CheckedPart

__all__ = ["DoctorTable", "table_of"]

_STATUSES = ["missing", "optional", "slower", "ok"]


class DoctorTable(pd.DataFrame):
    """What `nbdock.doctor` found."""

    @property
    def _constructor(self) -> type[DoctorTable]:
        return DoctorTable


def table_of(parts: Iterable[CheckedPart]) -> DoctorTable:
    """The parts as rows, in their order; the statuses in the order of how bad they are."""
    rows = [dataclasses.astuple(part) for part in parts]
    columns = ["part", "status", "found", "needed_for", "fix"]
    table = pd.DataFrame(rows, columns=columns, dtype="str").set_index("part")
    kind = pd.CategoricalDtype(_STATUSES, ordered=True)
    return DoctorTable(table.astype({"status": kind}))
