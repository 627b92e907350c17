"""How nbdock's tables look under a cell: sizes as people read them, digests short, rows counted.

The table itself stays a plain DataFrame of bytes and whole digests. It is told from others by the
mark in its ``attrs``, which stays in what is selected from it; so columns are shown by what they
are, and any other DataFrame as pandas shows it.

    table = nbdock.file_table(redis)
    table.nlargest(10, "size_bytes")      # shown in the same way
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from nbdock.notebook.views import ROWS_SHOWN, Cell, Column, View, plural, share
from nbdock.tables import MARK
from nbdock.units import bytes_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["describe", "table_view"]

_HEADINGS = {
    "layer_table": "Layers",
    "file_table": "Files",
    "package_table": "Packages",
    "waste_table": "Waste",
    "sharing_table": "Sharing",
    "sharing_matrix": "Sharing",
    "compare_table": "Differences",
    "reproducibility_table": "Differences of builds",
    "registry_table": "Tags",
    "index_table": "Platforms",
    "usage_table": "On the disk",
    "history_table": "Versions",
}
_WITH_SHARES = ("layer_table", "package_table", "waste_table")
_NUMBERS_AS_THEY_STAND = ("uid", "gid", "layer", "by_layer", "position")
_PATHS = ("path", "by_path", "link_target")
_DIGEST = re.compile(r"sha(?:256|512):[0-9a-f]{64,128}")
_LONGEST, _LONGEST_TITLE = 80, 300


def describe(table: pd.DataFrame, *, code: str, facts: Sequence[str] = ()) -> pd.DataFrame:
    """Have a table say what it is shown with: the Python that gives it, and facts about it."""
    table.attrs[MARK] = {**table.attrs[MARK], "code": code, "facts": list(facts)}
    return table


def table_view(table: pd.DataFrame, *, rows: int = ROWS_SHOWN) -> View | None:
    """The view of a table of nbdock's, or of what is left of one; None for any other.

    Parameters
    ----------
    rows
        The most that are shown, the first. Count.
    """
    mark = table.attrs.get(MARK)
    if not isinstance(mark, dict) or not _is_still_a_table(table):
        return None
    kind, count, of_all = mark.get("table", ""), len(table), mark.get("rows", 0)
    columns, shown = [], []
    for name, series in _columns(table):
        is_size = _is_size(kind, name, series)
        column, texts = _shown(name, series.head(rows), is_size=is_size)
        columns.append(dataclasses.replace(column, head=_head(table, name)))
        shown.append(texts)
        # Of a selection it would not be clear what the shares are of.
        if is_size and name == "size_bytes" and kind in _WITH_SHARES and count == of_all:
            total = int(series.sum())
            columns.append(Column("share"))
            shown.append([share(int(size), total) for size in series.head(rows)])
    is_whole = (count, len(table.columns)) == (of_all, mark.get("columns"))
    more = count - rows
    notes = [f"\u2026 {plural(more, 'more row')}"] if more > 0 else []
    if is_whole and mark.get("code"):
        notes.append(mark["code"])
    # Rows of groups are none of the table's, though pandas keeps the mark.
    names = list(table.index.names)
    are_its_rows = count < of_all and names == mark.get("index", names)
    counted = f"{count:,} of {plural(of_all, 'row')}" if are_its_rows else plural(count, "row")
    return View(
        _HEADINGS.get(kind, "Table"),
        facts=[counted, *(mark.get("facts", ()) if is_whole else ())],
        columns=columns,
        rows=list(zip(*shown, strict=True)),
        note="; ".join(notes),
    )


def _is_still_a_table(table: pd.DataFrame) -> bool:
    """Whether rows are still rows: not turned about, and not ``describe()``'s."""
    import pandas as pd

    labels = table.index
    is_labelled = None not in labels.names or pd.api.types.is_integer_dtype(labels.dtype)
    return is_labelled and all(isinstance(name, str) for name in table.columns)


def _columns(table: pd.DataFrame) -> list[tuple[str, pd.Series[Any]]]:
    """The columns by name, those of the index first, but for mere numbers of rows."""
    import pandas as pd

    index = table.index
    found = [
        (str(name), pd.Series(index.get_level_values(level)))
        for level, name in enumerate(index.names)
        if name is not None
    ]
    # By place: a name may stand there twice.
    return found + [(str(n), table.iloc[:, i]) for i, n in enumerate(table.columns)]


def _is_size(kind: str, name: str, series: pd.Series[Any]) -> bool:
    import pandas as pd

    in_bytes = name.endswith("_bytes") or kind == "sharing_matrix"
    return in_bytes and pd.api.types.is_integer_dtype(series.dtype)


def _shown(name: str, series: pd.Series[Any], *, is_size: bool) -> tuple[Column, list[str | Cell]]:
    """A column, and its cells."""
    import pandas as pd

    dtype = series.dtype
    is_bool = pd.api.types.is_bool_dtype(dtype)
    is_number = pd.api.types.is_numeric_dtype(dtype) and not is_bool
    text: Callable[[Any], str | Cell] = _text
    if is_size:
        text = _size
    elif name == "mode" and is_number:
        text = "{:04o}".format if pd.api.types.is_integer_dtype(dtype) else _text
    elif name in _NUMBERS_AS_THEY_STAND:
        text = str
    values = series.tolist()
    cells = ["" if pd.api.types.is_scalar(v) and pd.isna(v) else text(v) for v in values]
    digests = any(isinstance(v, str) and _DIGEST.fullmatch(v) for v in values)
    return Column(name, number=is_number, code=digests or name in _PATHS or name == "mode"), cells


def _head(table: pd.DataFrame, name: str) -> str:
    if table.columns.name is not None:
        # A matrix: its heads are names of images.
        is_side = name in table.index.names
        return f"{name} \u2193 {table.columns.name} \u2192" if is_side else name
    short = name.removesuffix("_bytes")
    is_taken = short != name and short in table.columns
    return (f"{short} size" if is_taken else short).replace("_", " ")


def _size(count: int) -> Cell:
    return Cell(bytes_text(count), title=f"{count:,} bytes", muted=count == 0)


def _text(value: object) -> str | Cell:
    if isinstance(value, bool):
        return Cell("yes" if value else "no", muted=not value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.4g}"
    if isinstance(value, dt.datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, list | tuple):
        return _clipped(", ".join(map(str, value[:100])) + (", \u2026" if len(value) > 100 else ""))
    text = str(value)
    if _DIGEST.fullmatch(text):
        return Cell(text.partition(":")[2][:12], title=text)
    return _clipped(text.removeprefix("application/vnd."))


def _clipped(text: str) -> str | Cell:
    if len(text) <= _LONGEST:
        return text
    title = text if len(text) <= _LONGEST_TITLE else text[: _LONGEST_TITLE - 1] + "\u2026"
    return Cell(text[: _LONGEST - 1] + "\u2026", title=title)
