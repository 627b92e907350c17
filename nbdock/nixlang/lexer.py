"""The tokens of a cell, by Nix's rules, for everything that must be said about a wrong cell.

tree-sitter parses; but where it gives up tells little about what the writer meant. The lexer
never gives up: what cannot be a token becomes one of kind `Kind.STRAY`, and a string that is
not closed one of kind `Kind.UNCLOSED`, placed at its opening.

    >>> [token.text for token in tokens('a = "b ${c}";')]
    ['a', '=', '"', 'b ', '${', 'c', '}', '"', ';', '']
"""

from __future__ import annotations

import dataclasses
import enum
import re

__all__ = ["KEYWORDS", "LONGEST_WORD", "Kind", "Token", "tokens"]

KEYWORDS = frozenset(("if", "then", "else", "assert", "with", "let", "in", "rec", "inherit", "or"))


class Kind(enum.Enum):
    """What a token is."""

    NAME = "name"
    KEYWORD = "keyword"
    NUMBER = "number"
    PATH = "path"
    URI = "uri"
    OPEN_STRING = "the opening quotes of a string"
    CLOSE_STRING = "the closing quotes of a string"
    TEXT = "text in a string"
    SYMBOL = "symbol"
    STRAY = "a character that means nothing here"
    UNCLOSED = "an opening without its end"
    TOO_LONG = "a run of characters that would take too long to divide into tokens"
    END = "the end of the cell"


@dataclasses.dataclass(frozen=True)
class Token:
    """A token; `start` and `end` are offsets in characters."""

    kind: Kind
    text: str
    start: int
    end: int


_SPACE = re.compile(r"(?:[ \t\r\n]+|#[^\r\n]*|/\*.*?\*/)+", re.DOTALL)
_WORD = re.compile(r"[a-zA-Z0-9._\-+~/]+")

LONGEST_WORD = 1024
"""The longest run of what may be in a path. Characters.

Where such a run is not a path after all, finding tokens in it, here and in tree-sitter, takes time
that grows with its square: `1+1+1+...` of 40,000 characters takes 13 seconds.
"""

_PATH_CHARACTER = r"[a-zA-Z0-9._\-+]"
_CODE = re.compile(
    rf"(?P<uri>[a-zA-Z][a-zA-Z0-9+\-.]*:[a-zA-Z0-9%/?:@&=+$,\-_.!~*']+)"
    rf"|(?P<path>~?{_PATH_CHARACTER}*(?:/(?:{_PATH_CHARACTER}+|(?=\$\{{)))+/?"
    rf"|<{_PATH_CHARACTER}+(?:/{_PATH_CHARACTER}+)*>)"
    r"|(?P<number>(?:(?:[1-9][0-9]*\.[0-9]*)|(?:0?\.[0-9]+))(?:[Ee][+-]?[0-9]+)?|[0-9]+)"
    r"|(?P<name>[a-zA-Z_][a-zA-Z0-9_'\-]*)"
    r"|(?P<symbol>\.\.\.|\$\{|==|!=|<=|>=|&&|\|\||->|//|\+\+|[{}()\[\];:,.@=?!<>+\-*/])"
)
_STRING_TEXT = re.compile(r'(?:[^$"\\]|\$[^{"\\]|\\.|\$\\.|\$(?="))+', re.DOTALL)
_INDENTED_TEXT = re.compile(r"(?:[^$']|\$[^{']|'[^'$]|''[$']|''\\.|\$(?!\{)|'(?!'))+", re.DOTALL)
_PATH_TEXT = re.compile(rf"(?:{_PATH_CHARACTER}|/)+")


def tokens(text: str) -> list[Token]:
    """All tokens of a text; the last one is of kind `Kind.END`."""
    found: list[Token] = []
    # What is open: "code" and "braces" for code, else the quotes of the string we are in.
    modes: list[tuple[str, Token | None]] = [("code", None)]
    position = 0

    def add(kind: Kind, end: int) -> Token:
        nonlocal position
        token = Token(kind, text[position:end], position, end)
        found.append(token)
        position = end
        return token

    while position < len(text):
        mode = modes[-1][0]
        if mode in ('"', "''"):
            pattern = _STRING_TEXT if mode == '"' else _INDENTED_TEXT
            if match := pattern.match(text, position):
                add(Kind.TEXT, match.end())
            elif text.startswith("${", position):
                modes.append(("code", add(Kind.SYMBOL, position + 2)))
            elif text.startswith(mode, position):
                modes.pop()
                add(Kind.CLOSE_STRING, position + len(mode))
            else:
                add(Kind.TEXT, position + 1)
            continue
        if match := _SPACE.match(text, position):
            position = match.end()
            continue
        if text.startswith("/*", position):
            add(Kind.UNCLOSED, len(text))
            continue
        if text.startswith(('"', "''"), position):
            quotes = '"' if text[position] == '"' else "''"
            modes.append((quotes, add(Kind.OPEN_STRING, position + len(quotes))))
            continue
        word = _WORD.match(text, position)
        if word and word.end() - position > LONGEST_WORD:
            add(Kind.TOO_LONG, word.end())
            continue
        match = _CODE.match(text, position)
        if match is None:
            add(Kind.STRAY, position + 1)
        elif match["name"]:
            add(Kind.KEYWORD if match["name"] in KEYWORDS else Kind.NAME, match.end())
        elif match["symbol"]:
            token = add(Kind.SYMBOL, match.end())
            if token.text in ("{", "${"):
                modes.append(("braces", token))
            elif token.text == "}" and len(modes) > 1:
                modes.pop()
        elif match["path"]:
            add(Kind.PATH, match.end())
            position = _rest_of_path(text, position)
        else:
            add(Kind.URI if match["uri"] else Kind.NUMBER, match.end())
    opened = next((token for mode, token in modes if mode in ('"', "''") and token), None)
    if opened is not None:
        # Everything after the opening quotes was read as text; say so with one token. Quotes that
        # were opened in an interpolation were meant to end the string: that lacks its brace.
        index = next(i for i, (_mode, token) in enumerate(modes) if token is opened)
        if len(modes) > index + 2 and modes[index + 1][1] is not None:
            opened = modes[index + 1][1] or opened
        found = [token for token in found if token.start < opened.start]
        found.append(Token(Kind.UNCLOSED, opened.text, opened.start, len(text)))
    found.append(Token(Kind.END, "", len(text), len(text)))
    return found


def _rest_of_path(text: str, position: int) -> int:
    """Go past the interpolations of a path, which is one token: `./a/${b}/c`."""
    while text.startswith("${", position):
        depth, inside = 0, position
        while inside < len(text):
            if text[inside] == "{":
                depth += 1
            elif text[inside] == "}":
                depth -= 1
                if depth == 0:
                    break
            inside += 1
        rest = _PATH_TEXT.match(text, inside + 1)
        position = rest.end() if rest else min(inside + 1, len(text))
    return position
