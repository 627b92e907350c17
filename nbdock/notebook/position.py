"""Where the end of an unfinished cell is: at a name or at a value, and inside which sets.

A parser wants whole text; completion has its beginning. So brackets, texts and comments are
followed as they come, and everything else is passed over.

>>> position_in_cell('name = "x"; config = { Cmd = [ ]; Wor')
Position(is_name=True, inside=('config',), given=frozenset({'Cmd'}))
>>> position_in_cell("contents = [ apt.re").is_name
False
>>> position_in_cell('name = "re') is None
True
"""

from __future__ import annotations

import dataclasses
import re

__all__ = ["Position", "position_in_cell"]

_TOKEN = re.compile(
    r"""
      \#[^\n]*(?P<open_line>\Z)?                      # a comment to the end of the line
    | /\*(?:(?!\*/).)*(?:\*/|(?P<open_comment>\Z))
    | "(?:\\.|[^"\\])*(?:"|(?P<open_text>\Z))
    | ''(?:''[$'\\]|'(?!')|[^'])*(?:''|(?P<open_lines>\Z))
    | [][{}();=]
    | [A-Za-z_][\w'.-]*
    | .
    """,
    re.VERBOSE | re.DOTALL,
)
_CLOSING = {"}": "{", "]": "[", ")": "("}


@dataclasses.dataclass(frozen=True)
class Position:
    """The end of a text.

    Attributes
    ----------
    is_name
        The name of an attribute is to come, rather than a value.
    inside
        Names of the sets around it, outermost first; the arguments themselves are no set.
    given
        Names that the innermost set has already.
    """

    is_name: bool
    inside: tuple[str, ...]
    given: frozenset[str]


@dataclasses.dataclass
class _Level:
    """An open bracket: which, the name that it is the value of, and what it holds so far."""

    bracket: str
    name: str
    words: list[str] = dataclasses.field(default_factory=list)
    is_value: bool = False
    given: set[str] = dataclasses.field(default_factory=set)


def position_in_cell(text: str) -> Position | None:
    """The position at the end of a text; None inside a string or a comment."""
    levels = [_Level("{", "")]
    for token in _TOKEN.finditer(text):
        # The group that matched at the very end, if one did, is what was never closed.
        if token.lastgroup is not None:
            return None
        _take(token[0], levels)
    here = levels[-1]
    named = [level.name for level in levels[1:] if level.bracket == "{" and level.name]
    # Being a name needs a set around, no `=` yet, and at most the begun word itself.
    begun = len(here.words) if text[-1:].isspace() else len(here.words) - 1
    return Position(
        here.bracket == "{" and not here.is_value and begun <= 0,
        tuple(named),
        frozenset(here.given),
    )


def _take(part: str, levels: list[_Level]) -> None:
    here = levels[-1]
    if part in _CLOSING:
        while len(levels) > 1:
            if levels.pop().bracket == _CLOSING[part]:
                break
    elif part in "{[(":
        name = here.words[0] if here.is_value and here.words else ""
        levels.append(_Level(part, name))
    elif part == "=":
        if here.words:
            here.given.add(here.words[0])
        here.is_value = True
    elif part == ";":
        here.words, here.is_value = [], False
    elif (part[0].isalpha() or part[0] == "_") and not here.is_value:
        here.words.append(part)
