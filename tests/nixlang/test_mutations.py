"""Whatever is done to a cell, it has a value or an error with a place in it: nothing else."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nbdock.errors import CellError
from nbdock.nixlang import evaluate

CELLS = [
    *(path.read_text("utf-8") for path in sorted((Path(__file__).parent / "manual").glob("*.nix"))),
    *(Path(__file__).parent / "expressions.txt").read_text("utf-8").splitlines(),
]
NAMES: dict[str, Any] = {
    name: {"hello": Path("/x")}
    for name in ("pkgs", "someBaseImage", "someLayeredImage", "shadowSetup")
}
PIECES = [
    *"{}[]()\"';:=,.$\\@?!+-*/<>&|#\n\t aé0",
    "''",
    "${",
    "/*",
    "*/",
    "//",
    "...",
    " or ",
    "==",
]
PIECES += [" in ", " let ", " if ", " rec ", " with ", " inherit ", "./a", "<a>", "a:b", "\0", "\r"]


@st.composite
def mutated(draw: st.DrawFn) -> str:
    text = draw(st.sampled_from(CELLS))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.sampled_from([0, 0, 1, 1, 2, 5, 30])))
        text = text[:start] + draw(st.sampled_from(["", *PIECES])) + text[end:]
    return text


class ExplainedError(Exception):
    """A cell that has no value, said properly."""


def evaluate_or_say_where(text: str) -> None:
    try:
        evaluate(text, NAMES)
    except CellError as error:
        lines = text.splitlines() or [""]
        inside = 1 <= error.line <= len(lines) + 1 and (
            1 <= error.column <= len(error.source_line) + 1
        )
        if inside and error.message and str(error):
            raise ExplainedError from error
        raise AssertionError(f"{error!r} has no place in the cell") from error


def check(text: str) -> None:
    with contextlib.suppress(ExplainedError):
        evaluate_or_say_where(text)


@settings(max_examples=400)
@given(mutated())
def test_a_mutated_cell(text: str) -> None:
    check(text)


@settings(max_examples=200)
@given(st.lists(st.sampled_from([*PIECES, "a", "b = 1;", "x"]), max_size=15).map("".join))
def test_a_heap_of_pieces(text: str) -> None:
    check(text)


def test_every_truncation_of_the_manual() -> None:
    for cell in CELLS[:3]:
        for end in range(len(cell)):
            check(cell[:end])
