"""From the text of a cell to its tree: tree-sitter-nix reads, this gives its tree meaning.

A cell is one of three things: bindings (what stands inside the braces of a set; the `;` after the
last one may be missing), or any expression (a set, a call, `let ... in ...`), or nothing.

    >>> parse('name = "redis"').form
    'bindings'
    >>> parse('buildImage { name = "redis"; }').form
    'expression'
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

from nbdock import settings
from nbdock.errors import CellSyntaxError
from nbdock.nixlang.conversion import Converter
from nbdock.nixlang.diagnosis import diagnose
from nbdock.nixlang.lexer import LONGEST_WORD, Kind, Token, tokens
from nbdock.nixlang.places import Source
from nbdock.nixlang.syntax import Node
from nbdock.nixlang.trampoline import run

if TYPE_CHECKING:
    import tree_sitter

__all__ = ["Expression", "parse"]


@dataclasses.dataclass(frozen=True, eq=False)
class Expression:
    """A parsed cell: its text, its tree, and its form: ``"bindings"`` or ``"expression"``."""

    text: str
    form: str
    root: Node = dataclasses.field(repr=False)


def parse(text: str) -> Expression:
    """Parse a cell.

    Parameters
    ----------
    text
        The body of the cell.

    Returns
    -------
    Expression
        What `nbdock.nixlang.evaluate` takes. Nothing has been looked up yet.

    Raises
    ------
    CellSyntaxError
        The cell is not in the language, or larger than the setting `cell_text_limit_bytes`.
    """
    source = Source(text)
    _check_size(source)
    found = tokens(text)
    _check_words(source, found)
    bindings = _is_bindings(found)
    prepared, offsets = _prepared(text, found, bindings=bindings)
    tree = _parser().parse(prepared)
    if tree.root_node.has_error:
        suspect = offsets[_first_error(tree.root_node)]
        raise diagnose(source, found, bindings=bindings, suspect=suspect)
    root: Node = run(Converter(source, offsets).root(tree.root_node))
    return Expression(text, "bindings" if bindings else "expression", root)


def _prepared(text: str, found: list[Token], *, bindings: bool) -> tuple[bytes, list[int]]:
    """The cell as the grammar's scanner reads it rightly, and each byte's offset in the cell.

    The scanner reads some texts in strings (`'''${a}''`) and `a//b` differently from Nix. So every
    text in a string becomes `x` (what stands in it is read by `strings` anyway), and `//` gets
    spaces around it. Bindings get braces, and the last one its `;`.
    """
    pieces: list[str] = []
    offsets: list[int] = []

    def add(piece: str, at: int, *, fixed: bool = False) -> None:
        pieces.append(piece)
        if fixed or piece.isascii():
            offsets.extend([at] * len(piece) if fixed else range(at, at + len(piece)))
        else:
            for index, character in enumerate(piece):
                offsets.extend([at + index] * len(character.encode()))

    if bindings:
        add("{", 0, fixed=True)
    position = 0
    for token in found:
        if token.kind is Kind.TEXT:
            add(text[position : token.start], position)
            add("x" * len(token.text), token.start)
            position = token.end
        elif token.text == "//" and token.kind is Kind.SYMBOL:
            add(text[position : token.start], position)
            add(" ", token.start, fixed=True)
            add("//", token.start)
            add(" ", token.end, fixed=True)
            position = token.end
    add(text[position:], position)
    if bindings:
        complete = len(found) == 1 or found[-2].text == ";"
        add("\n}" if complete else "\n;}", len(text), fixed=True)
    offsets.append(len(text))
    return "".join(pieces).encode(), offsets


@functools.cache
def _parser() -> Any:
    # Imported here: only who evaluates a cell pays for it.
    import tree_sitter
    import tree_sitter_nix

    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_nix.language()))


def _check_size(source: Source) -> None:
    limit_bytes = settings.current().cell_text_limit_bytes
    try:
        size_bytes = len(source.text.encode())
    except UnicodeEncodeError as error:
        line, column = source.line_and_column(error.start)
        raise CellSyntaxError(
            "The cell holds half of a surrogate pair, which is not a character",
            source=source.text, line=line, column=column,
            hint="Delete the character there and type it anew.",
        ) from None  # fmt: skip
    if size_bytes > limit_bytes:
        raise CellSyntaxError(
            f"The cell has {size_bytes:,} bytes; the limit is {limit_bytes:,}",
            source=source.text, line=1, column=1,
            hint="Bind large data to a name in Python and use the name in the cell, or raise it: "
            "nbdock.settings.configure(cell_text_limit_bytes=...).",
        )  # fmt: skip


def _check_words(source: Source, found: list[Token]) -> None:
    for token in found:
        if token.kind is Kind.TOO_LONG:
            line, column = source.line_and_column(token.start)
            raise CellSyntaxError(
                f"A word of {len(token.text):,} characters; "
                f"outside of strings the limit is {LONGEST_WORD:,}",
                source=source.text, line=line, column=column,
                hint="Put spaces around operators, or quotes around text.",
            )  # fmt: skip


def _is_bindings(found: list[Token]) -> bool:
    """Whether a cell is bindings: nothing, `inherit`, or an attribute path and `=`."""
    if found[0].kind is Kind.END or found[0].text == "inherit":
        return True
    if found[0].kind is Kind.KEYWORD and found[1].text == "=":
        return True
    index = 0
    while True:
        end = _after_attribute_name(found, index)
        if end is None:
            return False
        if found[end].text == "=":
            return True
        if found[end].text != ".":
            return False
        index = end + 1


def _after_attribute_name(found: list[Token], index: int) -> int | None:
    token = found[index]
    if token.kind is Kind.NAME or token.text == "or":
        return index + 1
    if token.text not in ('"', "${"):
        return None
    depth = 0
    for position in range(index, len(found)):
        kind, text = found[position].kind, found[position].text
        if kind is Kind.OPEN_STRING or text in ("{", "${"):
            depth += 1
        elif kind is Kind.CLOSE_STRING or (text == "}" and kind is Kind.SYMBOL):
            depth -= 1
            if depth == 0:
                return position + 1
    return None


def _first_error(root: tree_sitter.Node) -> int:
    """The offset in bytes at which tree-sitter first stumbled."""
    pending = [root]
    first = root.end_byte
    while pending:
        node = pending.pop()
        if node.is_error or node.is_missing:
            first = min(first, node.start_byte)
        if node.has_error:
            pending.extend(node.children)
    return first
