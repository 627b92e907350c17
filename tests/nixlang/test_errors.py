"""Cells that are wrong: the place and the words that a person gets to see.

Each case was read as somebody would who has never seen the language: does the message say
what is wrong, is the caret where it is wrong, does the hint say what to write?
"""

from __future__ import annotations

from pathlib import Path

import pytest

from nbdock.errors import (
    CellError,
    CellEvaluationError,
    CellSyntaxError,
    PackageNotFoundError,
    UndefinedNameError,
)
from nbdock.nixlang import read_arguments


class Thing:
    """What a package is to a cell: an object that says how it stands in a string."""

    def __init__(self, root: str) -> None:
        self.root = root

    def __str__(self) -> str:
        return self.root


class Things:
    """What a package set is to a cell."""

    def __getitem__(self, name: str) -> Thing:
        if name.startswith("no"):
            raise PackageNotFoundError(f"No package {name}", hint="try x")
        return Thing(f"/nix/{name}")


NAMES = {"apt": Things(), "pkgs": Things(), "redis": Thing("/r")}

KINDS = {kind.__name__: kind for kind in (CellSyntaxError, CellEvaluationError, UndefinedNameError)}


def _cases() -> list[tuple[str, ...]]:
    """Of each case: the cell, the error and its place, the beginnings of its message and hint."""
    text = (Path(__file__).parent / "wrong_cells.txt").read_text("utf-8").removesuffix("\n")
    return [tuple(case.split("\n=> ")) for case in text.split("\n%%\n")]


@pytest.mark.parametrize(
    ("cell", "kind_and_place", "message", "hint"), _cases(), ids=[case[0] for case in _cases()]
)
def test_a_wrong_cell_is_explained_at_its_place(
    cell: str, kind_and_place: str, message: str, hint: str
) -> None:
    with pytest.raises(CellError) as caught:
        read_arguments(
            cell,
            NAMES,
            function_names=["buildImage"],
            other_functions={"buildLayeredImage": "Begin the cell with %%buildLayeredImage."},
        )
    error = caught.value
    kind, place = kind_and_place.split(" ")
    assert type(error) is KINDS[kind]
    assert f"{error.line}:{error.column}" == place
    assert error.message.startswith(message)
    assert (error.hint or "").startswith(hint)
    assert not error.message.endswith(".")
    # The caret stands under the place, whatever widths stand before it.
    assert str(error).split("\n")[2].index("^") == error.column + 1


def test_there_are_many_of_them() -> None:
    assert len(_cases()) >= 30
