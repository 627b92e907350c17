"""What the lessons share: exercises that check themselves, and results recorded elsewhere.

An exercise is a question, a code cell tagged ``exercise`` in which the answer is ``...``, and a
cell tagged ``check`` that ends in

    check(largest, table.size_bytes.idxmax(), hint="idxmax gives the position of the largest")

It shows one line and never raises: "Not answered yet", "✓ Right" or "✗ Not yet". The solution is in
the exercise cell's metadata: ``{"nbdock": {"solution": "largest = ..."}}``, its whole source.

A lesson with cells that need what not every machine has says so before the first of them:

    needs("QEMU", "guest kernel")

These cells are tagged ``recorded``. Where something is missing, they are not run: each shows the
result that it has in the notebook's file, marked with the date on which it was recorded.
"""

from __future__ import annotations

import html
import inspect
import json
import shutil
import sys
from dataclasses import dataclass
from numbers import Number
from pathlib import Path
from typing import Any

from IPython import get_ipython
from IPython.display import publish_display_data

import nbdock
from nbdock.requirements import install_command

__all__ = ["Line", "check", "needs"]

LESSONS = Path(__file__).resolve().parent
MARK = {"nbdock": {"is_mark": True}}  # an output that says that the next ones were recorded


@dataclass(frozen=True)
class Line:
    """One line, as the result of a cell."""

    text: str
    colour: str = "inherit"

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return f'<div style="color: {self.colour}">{html.escape(self.text)}</div>'


_OPEN = "inherit"
_RIGHT = "var(--jp-success-color0, #2e7d32)"
_WRONG = "var(--jp-error-color0, #c62828)"


def check(answer: object, expected: object, *, hint: str = "", wrong: str = "") -> Line:
    """Say whether an answer is right.

    Parameters
    ----------
    answer
        The reader's. ``...`` is none yet.
    expected
        What it must equal, or a function that says whether an answer is right.
    hint
        How to begin, shown until there is an answer.
    wrong
        What to think of, shown where the answer is wrong.
    """
    if answer is ...:
        return Line(f"Not answered yet. {hint}".strip(), _OPEN)
    if inspect.iscoroutine(answer):
        answer.close()
        return Line("✗ Not yet. This has not begun: write await before it.", _WRONG)
    why = wrong
    if not callable(expected) and (given := _kind(answer)) != (asked := _kind(expected)):
        why = f"This is {given}, and {asked} is asked for. {wrong}"
    try:
        is_right = expected(answer) if callable(expected) else answer == expected
        while getattr(is_right, "ndim", 0):  # of a table or a column: every value
            is_right = is_right.all()
    except Exception as error:  # a wrong answer may be anything
        is_right, why = False, wrong or f"{type(error).__name__}: {error}"
    return Line("✓ Right.", _RIGHT) if is_right else Line(f"✗ Not yet. {why}".strip(), _WRONG)


def _kind(value: object) -> str:
    """What a value is, in words; what has none is called by its type."""
    kinds = {str: "a text", bytes: "bytes", Number: "a number", tuple: "a tuple", list: "a list"}
    named = (name for kind, name in kinds.items() if isinstance(value, kind))
    return next(named, f"of type {type(value).__name__}")


def needs(*parts: str, package: str = "") -> Line:
    """Say whether what the cells tagged ``recorded`` need is here.

    Where it is not, they show what they have in the notebook's file.

    Parameters
    ----------
    parts
        Parts that `nbdock.doctor` lists, or else programs.
    package
        Debian's package that brings the programs, if it is called otherwise.
    """
    missing = {part: fix for part in parts if (fix := _fix(part, package)) is not None}
    if not missing:
        return Line(f"{', '.join(parts)}: here, so every cell of this lesson runs.")
    what = ", ".join(missing)
    fixes = " && ".join(dict.fromkeys(filter(None, missing.values())))
    _replay_cells(what)
    return Line(
        f"{what}: missing here, so the cells that need it show results recorded elsewhere. "
        f"To run them: {fixes or 'see nbdock.doctor()'}, then restart the kernel."
    )


def _fix(part: str, package: str) -> str | None:
    """Give the command that brings a missing part, or None if it is here."""
    found = nbdock.doctor()
    if part in found.index:
        row = found.loc[part]
        return None if row["status"] in ("ok", "slower") else str(row["fix"])
    return None if shutil.which(part) else install_command(package or part)


def _replay_cells(missing: str) -> None:
    """Have cells tagged ``recorded`` show their recorded outputs instead of running."""
    recorded: dict[str, tuple[str, list[Any]]] = {}
    for path in LESSONS.glob("*.ipynb"):
        notebook = json.loads(path.read_text("utf-8"))
        date = notebook["metadata"].get("nbdock", {}).get("recorded", "")
        for cell in notebook["cells"]:
            if "recorded" in cell["metadata"].get("tags", ()):
                recorded["".join(cell["source"]).strip()] = date, cell.get("outputs", [])

    def show(source: str) -> None:
        date, outputs = recorded[source]
        what = f"Recorded on {date};" if outputs else "Not run:"
        mark = f"{what} {missing} is missing here."
        publish_display_data(
            {"text/plain": mark, "text/html": f"<em>{html.escape(mark)}</em>"}, MARK
        )
        for output in outputs:
            if output.get("metadata") == MARK:
                continue  # of a notebook saved where something was missing
            if output["output_type"] == "stream":
                print("".join(output["text"]), end="", file=getattr(sys, output["name"]))
            elif "data" in output:
                data = {
                    k: v if isinstance(v, dict) else "".join(v) for k, v in output["data"].items()
                }
                publish_display_data(data, output.get("metadata", {}))
            else:  # an error that the lesson is about
                print("\n".join(output["traceback"]), file=sys.stderr)

    def instead(lines: list[str]) -> list[str]:
        source = "".join(lines).strip()
        return [f"_show_recorded({source!r})\n"] if source in recorded else lines

    shell = get_ipython()
    shell.user_ns["_show_recorded"] = show
    # The first of all: before the cell's magic is looked at.
    shell.input_transformers_cleanup.insert(0, instead)
