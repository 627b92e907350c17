r"""What the characters between a string's quotes stand for.

Follows Nix's own lexer: in `"..."` a backslash takes the next character, in `''...''` the escapes
are `''$`, `'''` and `''\` with a character, and the indentation that all lines share is dropped.

    >>> unescape(r"a\tb\${c}")
    'a\tb${c}'
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Generic, TypeVar

__all__ = ["Interpolated", "unescape", "unindent"]

_T = TypeVar("_T")


class Interpolated(Generic[_T]):
    """A place in a string where a value comes in."""

    def __init__(self, value: _T) -> None:
        self.value = value


_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
_ESCAPE = re.compile(r"\\(.)|\r\n?", re.DOTALL)

# A text in an indented string: plain characters; or one of the escapes; or a sole $ or '.
_INDENTED = re.compile(
    r"(?P<plain>(?:[^$']|\$[^{']|'[^'$])+)"
    r"|(?P<dollar>''\$|\$)|(?P<quotes>''')|''\\(?P<escaped>.)|(?P<quote>')",
    re.DOTALL,
)


def unescape(text: str) -> str:
    """The characters that the inside of a `"..."` string stands for; line ends become newlines."""
    return _ESCAPE.sub(lambda m: "\n" if m[1] is None else _ESCAPES.get(m[1], m[1]), text)


def unindent(parts: Sequence[str | Interpolated[_T]]) -> list[str | _T]:
    """The parts of an indented string, from what stands between its quotes.

    Only spaces count as indentation; a line of nothing but spaces does not count, except where it
    ends in an interpolation or an escape; the first line is dropped if it is blank, and what
    stands before the closing quotes if it is spaces only.
    """
    tokens: list[tuple[str, bool] | Interpolated[_T]] = []
    for index, part in enumerate(parts):
        if isinstance(part, Interpolated):
            tokens.append(part)
            continue
        start = 0
        if index == 0 and (blank := re.match(r" *\n", part)):
            start = blank.end()
        for found in _INDENTED.finditer(part, start):
            if found["plain"] is not None:
                tokens.append((found["plain"], True))
            elif found["dollar"] is not None:
                tokens.append(("$", False))
            elif found["quotes"] is not None:
                tokens.append(("''", False))
            elif found["escaped"] is not None:
                tokens.append((_ESCAPES.get(found["escaped"], found["escaped"]), False))
            else:
                tokens.append(("'", False))
    width = _common_indentation(tokens)
    return _join(_strip(tokens, width))


def _common_indentation(tokens: Sequence[tuple[str, bool] | Interpolated[_T]]) -> int:
    smallest: int | None = None
    at_line_start, indentation = True, 0
    for token in tokens:
        if isinstance(token, Interpolated) or not token[1]:
            if at_line_start:
                at_line_start = False
                smallest = indentation if smallest is None else min(smallest, indentation)
            continue
        for character in token[0]:
            if character == "\n":
                at_line_start, indentation = True, 0
            elif at_line_start and character == " ":
                indentation += 1
            elif at_line_start:
                at_line_start = False
                smallest = indentation if smallest is None else min(smallest, indentation)
    return 1_000_000 if smallest is None else smallest


def _strip(
    tokens: Sequence[tuple[str, bool] | Interpolated[_T]], width: int
) -> list[str | Interpolated[_T]]:
    stripped: list[str | Interpolated[_T]] = []
    at_line_start, dropped = True, 0
    for index, token in enumerate(tokens):
        if isinstance(token, Interpolated):
            at_line_start, dropped = False, 0
            stripped.append(token)
            continue
        kept: list[str] = []
        for character in token[0]:
            if character == "\n":
                at_line_start, dropped = True, 0
            elif at_line_start and character == " ":
                dropped += 1
                if dropped <= width:
                    continue
            elif at_line_start:
                at_line_start, dropped = False, 0
            kept.append(character)
        text = "".join(kept)
        if index == len(tokens) - 1 and not text[text.rfind("\n") + 1 :].strip(" "):
            text = text[: text.rfind("\n") + 1] if "\n" in text else text
        stripped.append(text)
    return stripped


def _join(parts: Sequence[str | Interpolated[_T]]) -> list[str | _T]:
    joined: list[str | _T] = []
    texts: list[str] = []
    for part in parts:
        if isinstance(part, Interpolated):
            if texts:
                joined.append("".join(texts))
                texts = []
            joined.append(part.value)
        elif part:
            texts.append(part)
    if texts:
        joined.append("".join(texts))
    return joined
