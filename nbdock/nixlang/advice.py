"""What to tell people who write Python, JSON, YAML or shell where a cell wants Nix.

Each function looks at a token that cannot stand where it stands and returns a message and a hint,
or None if there is nothing in particular to say.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from nbdock.nixlang.lexer import KEYWORDS, Kind, Token

__all__ = [
    "GENERAL",
    "OPENERS",
    "about_token",
    "colon",
    "in_list",
    "instead_of_equals",
    "instead_of_name",
    "instead_of_value",
    "is_closed",
    "swallowing_string",
    "unclosed",
]

Advice = tuple[str, str | None]

OPENERS = {")": "(", "]": "[", "}": "{"}

GENERAL = "Look for a missing `;`, quote or bracket shortly before this place."

_NOUNS = {"[": "list", "{": "set", "(": "parenthesis", "${": "interpolation", "'": "string"}


def unclosed(opening: Token, expected: str) -> Advice:
    """A bracket that is never closed; placed at the bracket."""
    return (
        f"The {_NOUNS[opening.text]} that this `{opening.text}` opens is never closed",
        f"Add the `{expected}` where it ends.",
    )


def colon(name: str) -> Advice:
    """`name: value` in place of `name = value`."""
    return "An attribute is given with `=`, not with `:`", f"Write `{name} = value;`."


def about_token(token: Token, after: Token) -> Advice | None:
    """What is wrong with a token wherever it stands."""
    if token.kind is Kind.UNCLOSED and token.text == "${":
        return "This `${` is never closed", "Add the `}` after the name."
    if token.kind is Kind.UNCLOSED:
        if token.text.startswith("/*"):
            return "This comment is never closed", "Add `*/` where it ends."
        where = "before the end of the line" if token.text == '"' else "where it ends"
        return "This string is never closed", f"Add the closing {token.text} {where}."
    if token.kind is not Kind.STRAY:
        return None
    if token.text == "'":
        if after.kind is Kind.NAME and after.text.endswith("'"):
            return "A string stands in double quotes", f'Write "{after.text[:-1]}".'
        return "A string stands in double quotes", "Write \"text\", or ''text'' over several lines."
    if token.text == "$":
        if after.kind is Kind.NAME:
            return (
                "A `$` has no meaning outside of strings",
                f"Write {after.text}, or in a string ${{{after.text}}}.",
            )
        return "A `$` has no meaning outside of strings", "Write the name without it."
    if token.text in "&|":
        return f"There is no operator `{token.text}`", f"Write `{token.text * 2}`."
    if token.text in "“”„«»‘’":
        return "These are not the quotes of a string", 'Write straight quotes: "text".'
    if token.text == "\u00a0":
        return "A non-breaking space stands here", "Replace it with an ordinary space."
    if token.text == "\\":
        return "A `\\` has no meaning outside of strings", (
            "A value may go on in the next line without it."
        )
    return f"The character {token.text!r} has no meaning here", (
        "Put text in double quotes."
    )  # fmt: skip


def instead_of_equals(name: str, first: Token, token: Token) -> Advice | None:
    """What stands where the `=` after an attribute's name is expected."""
    if token.text == ":":
        return colon(name)
    if token.text == "==":
        return "An attribute is given with a single `=`", f"Write `{name} = value;`."
    if token.text == "+":
        return "An attribute is given with `=`", "There is no `+=`: a value is given once."
    if first.kind is Kind.OPEN_STRING and (
        token.kind is Kind.OPEN_STRING or token.text in (",", "}")
    ):
        return "A set needs a name and a value for each attribute", (
            'Write { "a" = { }; "b" = { }; }, or a list in brackets: [ "a" "b" ].'
        )
    if token.text in (",", "}") and token.kind is Kind.SYMBOL:
        return f"The attribute {name} has no value", (
            f"Write `{name} = value;`, or `inherit {name};` to take the name's own."
        )
    if token.text == ";":
        return f"The attribute {name} has no value", (
            f"Write `{name} = value;`, or `inherit {name};` to take the name's own."
        )
    return None


def instead_of_name(token: Token, before: Token | None) -> Advice | None:
    """What stands where the name of an attribute is expected."""
    quote = f'Put it in quotes: "{token.text}".'
    if before is not None and before.text == "." and token.kind in (Kind.SYMBOL, Kind.END):
        return "A name is missing after the `.`", None
    if token.kind is Kind.KEYWORD and token.text in KEYWORDS:
        return f"`{token.text}` is a word of the language and cannot be a name", quote
    if token.kind is Kind.NUMBER:
        return f"The name {token.text} begins with a digit", quote
    if token.kind is Kind.PATH:
        return f"The name {token.text} is read as a path", quote
    if token.kind is Kind.OPEN_STRING:
        return "A name stands in double quotes", 'Write "name".'
    if token.text == ";":
        if before is not None and before.text == ";":
            return "There is one `;` too many", "Delete it."
        return "A name is missing before this `;`", "Delete the `;`."
    if token.text == ",":
        return "Bindings are not separated by commas", "End each with `;` and delete the comma."
    if token.text == "...":
        return "`...` stands only among the parameters of a function", "Delete it."
    if token.text == "//":
        return "A comment begins with `#`", "Write `# ...` or `/* ... */`."
    return None


def instead_of_value(token: Token, before: Token | None, text: str) -> Advice | None:
    """What stands where a value is expected."""
    if token.text == "${" and token.kind is Kind.SYMBOL:
        return "`${...}` stands in strings and in names of attributes", (
            'Write the name alone, or put quotes around: "${...}".'
        )
    if token.kind is Kind.KEYWORD:
        return f"`{token.text}` cannot begin a value", None
    if token.text == "=" and before is not None and before.text == "=":
        return "An attribute is given with a single `=`", "Delete the second one."
    if token.text == ">" and before is not None and before.text == "=":
        return "An attribute is given with `=`, not with `=>`", "Delete the `>`."
    if token.text == "//":
        return "A value is missing before `//`", "A comment begins with `#`."
    if token.text == "++" or (before is not None and before.text == "++"):
        return quoted_name(before or token, text) if before is not None else None
    if token.text == "." and before is not None:
        return "A name is missing before the `.`", None
    return None


def quoted_name(operator: Token, text: str) -> Advice | None:
    """`apt.g++`: the name of a package that is read as an operator."""
    found = re.search(r"[a-zA-Z_][a-zA-Z0-9_'-]*$", text[: operator.start])
    if operator.text not in ("+", "++") or not found:
        return None
    rest = re.match(r"[+\w.-]*", text[operator.start :])
    name = found.group() + (rest.group() if rest else "")
    return f"The `{operator.text}` after {found.group()} is read as an operator", (
        f'If it belongs to a name, quote the name: "{name}", as in apt."{name}".'
    )


def in_list(
    token: Token, before: Token | None, after: Token, text: str, *, closed: bool
) -> Advice | None:
    """What cannot stand between the elements of a list; `closed`: its `]` comes before an `=`."""
    if token.text == "," and token.kind is Kind.SYMBOL:
        return "The elements of a list are separated by spaces, not commas", "Delete the comma."
    if token.text == ";" and closed:
        return "The elements of a list are separated by spaces, not `;`", "Delete the `;`."
    if token.text == "=" and closed:
        return "A list holds values without names", "Write a set: { name = value; }."
    if token.kind is Kind.KEYWORD and token.text not in ("in", "then", "else", "inherit"):
        return f"In a list, `{token.text} ...` needs parentheses", (
            f"Write `[ ({token.text} ...) ]`."
        )
    if token.kind is Kind.NAME and after.text in (":", "@"):
        return "In a list, a function needs parentheses", "Write `[ (x: ...) ]`."
    adjacent = before is not None and before.end == token.start
    if adjacent and (problem := quoted_name(token, text)):
        return problem
    if token.text in ("++", "+", "-", "*", "//", "==", "&&", "||", "!", "<", ">", "?"):
        if token.text in ("-", "!"):
            return f"In a list, `{token.text}` needs parentheses", f"Write `[ ({token.text}x) ]`."
        return f"In a list, `a {token.text} b` needs parentheses", (
            f"Write `[ (a {token.text} b) ]`, or close the list before it."
        )
    if token.text == ":":
        return "A list holds values without names", "Write a set: { name = value; }."
    if token.text == "${":
        return "`${...}` stands in strings and in names of attributes", "Write the name alone."
    return None


def is_closed(found: Sequence[Token], index: int) -> bool:
    """Whether, from a token in a list, the list's `]` comes before another binding."""
    depth = 0
    for position in range(index, len(found)):
        token = found[position]
        if token.kind is not Kind.SYMBOL:
            continue
        if token.text in ("(", "[", "{", "${"):
            depth += 1
        elif token.text in (")", "]", "}"):
            if depth == 0:
                return token.text == "]"
            depth -= 1
        elif token.text == "=" and depth == 0 and position > index:
            return found[index].text == "="
    return False


_BINDING_INSIDE = re.compile(
    r"\n[ \t]*[a-zA-Z_][\w.\-]*[ \t]*=[ \t]*$|;[ \t]*\n.*=[ \t]*$", re.DOTALL
)


def swallowing_string(
    text: str, token: Token, found: Sequence[Token], problem: int
) -> Advice | None:
    """A string over several lines that ends in what looks like a binding: its end was forgotten."""
    if token.kind is Kind.UNCLOSED and token.text == '"':
        return None
    if token.kind is not Kind.OPEN_STRING or token.text != '"' or token.start >= problem:
        return None
    end = next((t.start for t in found if t.kind is Kind.CLOSE_STRING and t.start > token.start), 0)
    inside = text[token.end : end]
    if "\n" not in inside or not _BINDING_INSIDE.search(inside):
        return None
    return "This string is not closed in its line", 'Add the closing " before the end of the line.'
