"""The evaluator against real Nix (`nix-instantiate`), on written and generated expressions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import nix_refuses, nix_values

from nbdock.errors import CellError
from nbdock.nixlang import evaluate

HERE = Path(__file__).parent


def _written() -> list[str]:
    """The expressions in the two files: one a line, and divided by `%%` where they have several."""
    lines = (HERE / "expressions.txt").read_text("utf-8").splitlines()
    return [*lines, *(HERE / "strings.txt").read_text("utf-8").removesuffix("\n").split("\n%%\n")]


def ours(expression: str) -> Any:
    value = evaluate(f"builtins.toJSON (\n{expression}\n)").value
    return json.loads(value)


def _same(left: Any, right: Any) -> bool:
    """Equal, and booleans only to booleans; Nix 2.8 writes the float 6.0 to JSON as 6."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[k], right[k]) for k in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def test_written_expressions_have_the_values_that_nix_gives_them() -> None:
    expressions = _written()
    assert len(expressions) > 280
    theirs = nix_values(expressions)
    wrong = [
        (text, ours(text), value)
        for text, value in zip(expressions, theirs, strict=True)
        if not _same(ours(text), value)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "text", (HERE / "refused.txt").read_text("utf-8").removesuffix("\n").split("\n")
)
def test_what_nix_refuses_has_no_value_here(text: str) -> None:
    assert nix_refuses(text)
    with pytest.raises(CellError):
        evaluate(text if text in ("}", "{ a = 1;") else f"[ ({text}\n) ]")


# Generated expressions, asked of Nix many at a time, as starting it is most of the time.

_PIECES = [*" \n'$\\\"ab{}\t;", "  ", "''", "\n  ", "\n    ", "é", "'''", "''$", "''\\n", '${"x"}']


@st.composite
def indented_strings(draw: st.DrawFn) -> str:
    """Whatever may stand between two quotes twice, and some that ends them early."""
    return "''" + "".join(draw(st.lists(st.sampled_from(_PIECES), max_size=12))) + "''"


@st.composite
def plain_strings(draw: st.DrawFn) -> str:
    """Strings in double quotes."""
    pieces = st.sampled_from(
        ["a", "$", "$$", "\\n", "\\t", "\\\\", '\\"', "\\${", "\\x", "\n", " ", "{", "}", "'", "''",
         '${"y"}', "é", "\r", "\r\n"]
    )  # fmt: skip
    return '"' + "".join(draw(st.lists(pieces, max_size=8))) + '"'


_OPERATORS = ["+", "-", "*", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "->", "++", "//", "?"]


@st.composite
def operations(draw: st.DrawFn) -> str:
    """Operators and operands side by side without parentheses: many have no value."""
    operands = st.sampled_from(
        ["1", "2", "3.5", "true", "false", "null", '"a"', "[ 1 ]", "{ a = 1; }", "(-1)", "!true",
         "-2", "{ a = { b = 2; }; }.a.b", "(x: x) 1", "[ ]", "s.a or 7"]
    )  # fmt: skip
    text = draw(operands)
    for _ in range(draw(st.integers(1, 5))):
        operator = draw(st.sampled_from(_OPERATORS))
        text += f" {operator} {'a' if operator == '?' else draw(operands)}"
    return f"let s = {{ b = 1; }}; in {text}"


def _agree(expressions: list[str]) -> None:
    accepted: list[tuple[str, Any]] = []
    refused: list[str] = []
    for text in expressions:
        try:
            accepted.append((text, ours(text)))
        except CellError:
            refused.append(text)
    theirs = nix_values([text for text, _ in accepted])
    for (text, value), expected in zip(accepted, theirs, strict=True):
        assert _same(value, expected), (text, value, expected)
    for text in refused:
        # What has no value here must have none for Nix either.
        assert nix_refuses(text), text


@settings(max_examples=8)
@given(st.lists(indented_strings(), min_size=1, max_size=10))
def test_indented_strings_lose_the_indentation_that_nix_takes(texts: list[str]) -> None:
    _agree(texts)


@settings(max_examples=8)
@given(st.lists(plain_strings(), min_size=1, max_size=20))
def test_escapes_mean_what_they_mean_in_nix(texts: list[str]) -> None:
    _agree(texts)


@settings(max_examples=8)
@given(st.lists(operations(), min_size=1, max_size=4))
def test_operators_bind_as_in_nix(texts: list[str]) -> None:
    _agree(texts)
