"""The cells' language as a tree of values: what `parsing` makes and `evaluation` walks.

Every node knows where it stands: `start` and `end` are offsets, in characters, into the cell's
text. Strings are unescaped and unindented already; attribute paths that meet (`a.b = 1; a.c = 2;`)
are merged already.
"""

from __future__ import annotations

import dataclasses

__all__ = [
    "Apply",
    "Assert",
    "AttributeName",
    "Binary",
    "Entry",
    "Formal",
    "Function",
    "HasAttribute",
    "If",
    "Let",
    "ListNode",
    "Literal",
    "Node",
    "PathNode",
    "SearchPath",
    "Select",
    "SetNode",
    "StringNode",
    "Unary",
    "Variable",
    "With",
]


@dataclasses.dataclass(eq=False, repr=False, match_args=False)
class Node:
    """A part of a cell: the characters from `start` up to `end`."""

    start: int
    end: int


@dataclasses.dataclass(eq=False, repr=False, match_args=False)
class Literal(Node):
    """A number."""

    value: int | float


@dataclasses.dataclass(eq=False, repr=False, match_args=False)
class StringNode(Node):
    """A string: texts and interpolated expressions in turn."""

    parts: tuple[str | Node, ...]


@dataclasses.dataclass(eq=False, repr=False, match_args=False)
class PathNode(Node):
    """A path as it was written (`./x`, `/x`, `~/x`), possibly with interpolations."""

    parts: tuple[str | Node, ...]


@dataclasses.dataclass(eq=False, repr=False, match_args=False)
class SearchPath(Node):
    """`<nixpkgs>`; `name` is what stands between the angle brackets."""

    name: str


@dataclasses.dataclass(eq=False, repr=False, match_args=False)
class Variable(Node):
    """A name to be looked up."""

    name: str


@dataclasses.dataclass(eq=False, repr=False, match_args=False)
class AttributeName(Node):
    """One step of an attribute path: `text`, or `node` if it has to be evaluated first."""

    text: str | None
    node: Node | None = None


@dataclasses.dataclass(eq=False, repr=False, match_args=False)
class Select(Node):
    """`subject.path` or `subject.path or default`."""

    subject: Node
    path: tuple[AttributeName, ...]
    default: Node | None


@dataclasses.dataclass(eq=False, repr=False, match_args=False)
class HasAttribute(Node):
    """`subject ? path`."""

    subject: Node
    path: tuple[AttributeName, ...]


@dataclasses.dataclass(eq=False, repr=False, match_args=False)
class Entry:
    """The value of a name in a set or a `let`; `inherited` ones are looked up outside of it."""

    name_start: int
    name_end: int
    value: Node
    inherited: bool = False


@dataclasses.dataclass(eq=False, repr=False, match_args=False)
class SetNode(Node):
    """`{ ... }`: entries by name, and those whose names have to be evaluated first."""

    recursive: bool
    entries: dict[str, Entry]
    computed: list[tuple[AttributeName, Node]]


@dataclasses.dataclass(eq=False, repr=False, match_args=False)
class ListNode(Node):
    """`[ ... ]`."""

    items: tuple[Node, ...]


@dataclasses.dataclass(eq=False, repr=False, match_args=False)
class Let(Node):
    """`let ... in body`."""

    bindings: SetNode
    body: Node


@dataclasses.dataclass(eq=False, repr=False, match_args=False)
class With(Node):
    """`with scope; body`."""

    scope: Node
    body: Node


@dataclasses.dataclass(eq=False, repr=False, match_args=False)
class Assert(Node):
    """`assert condition; body`."""

    condition: Node
    body: Node


@dataclasses.dataclass(eq=False, repr=False, match_args=False)
class If(Node):
    """`if condition then consequence else alternative`."""

    condition: Node
    consequence: Node
    alternative: Node


@dataclasses.dataclass(eq=False, repr=False, match_args=False)
class Formal:
    """One of the names in `{ a, b ? 1 }: ...`."""

    name: str
    start: int
    default: Node | None


@dataclasses.dataclass(eq=False, repr=False, match_args=False)
class Function(Node):
    """`parameter: body` or `{ formals }@parameter: body`."""

    parameter: str | None
    formals: tuple[Formal, ...] | None
    open_ended: bool
    body: Node


@dataclasses.dataclass(eq=False, repr=False, match_args=False)
class Apply(Node):
    """`function argument`."""

    function: Node
    argument: Node


@dataclasses.dataclass(eq=False, repr=False, match_args=False)
class Unary(Node):
    """`-x` or `!x`."""

    operator: str
    operand: Node


@dataclasses.dataclass(eq=False, repr=False, match_args=False)
class Binary(Node):
    """`left operator right`."""

    operator: str
    left: Node
    right: Node
    operator_start: int
