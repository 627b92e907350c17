"""How nbdock's errors look under a cell: the fact, the place in the cell, what to do next.

A traceback through nbdock's own code helps nobody who misspelled an argument. IPython asks an
exception for `_render_traceback_`; nbdock's errors get it when the extension is loaded, and lose it
when it is unloaded, so that the errors themselves know nothing of notebooks. Name and value of the
exception stay in the notebook as they are.
"""

from __future__ import annotations

import linecache
import traceback
from typing import Any

from nbdock.errors import ArgumentError, CellError, CellEvaluationError, NbdockError
from nbdock.images.arguments import cell_name
from nbdock.nixlang import CellArguments

__all__ = ["at_its_place", "install", "remove"]

_RED, _BOLD, _DIM, _END = "\x1b[31m", "\x1b[1m", "\x1b[2m", "\x1b[0m"


def _render(error: NbdockError) -> list[str]:
    """The lines under the cell, with the colours that Jupyter understands."""
    lines = [f"{_RED}{_BOLD}{type(error).__name__}{_END}: {error.message}"]
    if isinstance(error, CellError):
        lines[0] += f" {_DIM}(line {error.line}, column {error.column}){_END}"
        shown = error.source_line
        # Tabs stay tabs below the line, so that the caret stands under its character.
        pad = "".join("\t" if c == "\t" else " " for c in shown[: error.column - 1])
        lines += ["", f"  {shown}", f"  {pad}{_RED}{_BOLD}^{_END}"]
    elif place := _callers_line(error):
        lines += ["", f"  {_DIM}{place}{_END}"]
    if error.hint:
        lines += ["", error.hint]
    return lines


def _callers_line(error: NbdockError) -> str:
    """The last line of the notebook's own code on the way to the error."""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        name = frame.f_code.co_filename
        if "ipykernel_" in name or name.startswith("<ipython-input"):
            text = linecache.getline(name, line).strip()
            return "" if "run_cell_magic" in text else text
    return ""


def install() -> None:
    """Let IPython show nbdock's errors in this way."""
    shown: Any = NbdockError
    shown._render_traceback_ = _render


def remove() -> None:
    """Undo `install`."""
    if "_render_traceback_" in vars(NbdockError):
        shown: Any = NbdockError
        del shown._render_traceback_


def at_its_place(error: ArgumentError, cell: CellArguments, source: str) -> NbdockError:
    """An error about an argument as an error at the place where the cell gives it.

    Parameters
    ----------
    error
        Its `argument` may be dotted (``config.Cmd``).
    cell
        What the cell's arguments were read from.
    """
    first, *rest = error.argument.split(".") if error.argument else [""]
    for length in range(len(rest), -1, -1):
        for name in (first, cell_name(first)):
            place = cell.place_of((name, *rest[:length]))
            if place is not None:
                placed = CellEvaluationError(
                    error.message, source=source, line=place.line, column=place.column,
                    hint=error.hint,
                )  # fmt: skip
                placed.__cause__ = error
                return placed
    return error
