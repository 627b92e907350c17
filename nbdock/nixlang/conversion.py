"""From tree-sitter's nodes to `syntax`'s: attribute paths merged, strings unescaped.

What Nix refuses when it parses, though the grammar allows it, is refused here: an attribute
that is defined twice, a parameter named twice, `let` names that have to be evaluated first,
numbers that do not fit.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nbdock.errors import CellSyntaxError
from nbdock.nixlang.places import Source
from nbdock.nixlang.strings import Interpolated, unescape, unindent
from nbdock.nixlang.syntax import (
    Apply,
    Assert,
    AttributeName,
    Binary,
    Entry,
    Formal,
    Function,
    HasAttribute,
    If,
    Let,
    ListNode,
    Literal,
    Node,
    PathNode,
    SearchPath,
    Select,
    SetNode,
    StringNode,
    Unary,
    Variable,
    With,
)
from nbdock.nixlang.trampoline import Steps

if TYPE_CHECKING:
    import tree_sitter

__all__ = ["Converter"]

_COMPARISONS = frozenset(("<", "<=", ">", ">="))
_EQUALITIES = frozenset(("==", "!="))


class Converter:
    """Makes the tree of one cell.

    Parameters
    ----------
    source
        The cell.
    offsets
        For each byte of the text that was parsed, the offset in the cell.
    """

    def __init__(self, source: Source, offsets: list[int]) -> None:
        self._source = source
        self._offsets = offsets

    def _offset(self, byte: int) -> int:
        return self._offsets[byte]

    def _span(self, node: tree_sitter.Node) -> tuple[int, int]:
        return self._offsets[node.start_byte], self._offsets[node.end_byte]

    def _text(self, node: tree_sitter.Node) -> str:
        start, end = self._span(node)
        return self._source.text[start:end]

    def _error(self, offset: int, message: str, hint: str | None = None) -> CellSyntaxError:
        line, column = self._source.line_and_column(offset)
        return CellSyntaxError(
            message, source=self._source.text, line=line, column=column, hint=hint
        )

    def root(self, node: tree_sitter.Node) -> Steps:
        """The tree of a whole cell."""
        expression = node.child_by_field_name("expression")
        if expression is None:
            raise self._error(0, "The cell holds no expression")
        return (yield self.node(expression))

    def node(self, node: tree_sitter.Node) -> Steps:
        """The tree of an expression."""
        kind = node.type
        method = getattr(self, f"_{kind.removesuffix('_expression')}", None)
        if method is None:
            raise self._error(self._offset(node.start_byte), f"{kind} is not understood here")
        steps: Steps = method(node)
        return steps

    def _field(self, node: tree_sitter.Node, name: str) -> Steps:
        child = node.child_by_field_name(name)
        if child is None:
            raise self._error(self._offset(node.end_byte), "Something is missing here")
        return self.node(child)

    def _parenthesized(self, node: tree_sitter.Node) -> Steps:
        return (yield self._field(node, "expression"))

    def _integer(self, node: tree_sitter.Node) -> Steps:
        yield from ()
        value = int(self._text(node)) if len(self._text(node)) < 20 else 1 << 63
        if value >= 1 << 63:
            raise self._error(
                self._offset(node.start_byte),
                f"The number {self._text(node)[:40]} does not fit in 64 bits",
                "Write it as a string if it is an identifier, or with a `.0` as a float.",
            )
        return Literal(*self._span(node), value)

    def _float(self, node: tree_sitter.Node) -> Steps:
        yield from ()
        return Literal(*self._span(node), float(self._text(node)))

    def _variable(self, node: tree_sitter.Node) -> Steps:
        yield from ()
        return Variable(*self._span(node), self._text(node))

    def _uri(self, node: tree_sitter.Node) -> Steps:
        yield from ()
        return StringNode(*self._span(node), (self._text(node),))

    def _spath(self, node: tree_sitter.Node) -> Steps:
        yield from ()
        return SearchPath(*self._span(node), self._text(node)[1:-1])

    def _path(self, node: tree_sitter.Node) -> Steps:
        parts: list[str | Node] = []
        for child in node.children:
            if child.type == "interpolation":
                parts.append((yield self._field(child, "expression")))
            else:
                parts.append(self._text(child))
        if isinstance(parts[-1], str) and parts[-1].endswith("/"):
            raise self._error(self._offset(node.end_byte) - 1, "A path does not end in a slash",
                              "Leave the last `/` out.")  # fmt: skip
        return PathNode(*self._span(node), tuple(parts))

    _hpath = _path

    def _string(self, node: tree_sitter.Node) -> Steps:
        parts = yield self._string_parts(node, 1)
        texts = (unescape(part) if isinstance(part, str) else part.value for part in parts)
        return StringNode(*self._span(node), tuple(part for part in texts if part != ""))

    def _indented_string(self, node: tree_sitter.Node) -> Steps:
        parts = yield self._string_parts(node, 2)
        return StringNode(*self._span(node), tuple(unindent(parts)))

    def _string_parts(self, node: tree_sitter.Node, quotes: int) -> Steps:
        """What stands between the quotes, as it was written, and the interpolations."""
        parts: list[str | Interpolated[Node]] = []
        begin = node.start_byte + quotes
        for child in [*(c for c in node.children if c.type == "interpolation"), None]:
            end = child.start_byte if child else node.end_byte - quotes
            parts.append(self._source.text[self._offset(begin) : self._offset(end)])
            if child:
                parts.append(Interpolated((yield self._field(child, "expression"))))
                begin = child.end_byte
        return parts

    def _list(self, node: tree_sitter.Node) -> Steps:
        items = []
        for child in node.children_by_field_name("element"):
            items.append((yield self.node(child)))
            if len(items) > 1:
                self._refuse_dotted(items[-2], items[-1])
        return ListNode(*self._span(node), tuple(items))

    def _apply(self, node: tree_sitter.Node) -> Steps:
        function = yield self._field(node, "function")
        argument = yield self._field(node, "argument")
        self._refuse_dotted(function, argument)
        return Apply(*self._span(node), function, argument)

    def _refuse_dotted(self, before: Node, number: Node) -> None:
        """`apt.python3.11` means `apt.python3` and the number `.11`; nobody means that."""
        if not isinstance(number, Literal) or number.start != before.end:
            return
        if isinstance(before, Apply):
            before = before.argument
        if not isinstance(before, Variable | Select):
            return
        text = self._source.text
        start = before.path[-1].start if isinstance(before, Select) else number.start + 1
        found = re.compile(r"[\w.+\-]*").match(text, start)
        name = found.group() if found else text[start : number.end]
        raise self._error(
            start,
            f"The name {name} is read as a name and a number",
            f'Quote the name: "{name}", as in apt."{name}".',
        )

    def _select(self, node: tree_sitter.Node) -> Steps:
        subject = yield self._field(node, "expression")
        path = yield self._attribute_path(node)
        default = node.child_by_field_name("default")
        alternative = (yield self.node(default)) if default is not None else None
        return Select(*self._span(node), subject, path, alternative)

    def _has_attr(self, node: tree_sitter.Node) -> Steps:
        subject = yield self._field(node, "expression")
        return HasAttribute(*self._span(node), subject, (yield self._attribute_path(node)))

    def _attribute_path(self, node: tree_sitter.Node) -> Steps:
        path = node.child_by_field_name("attrpath")
        names = []
        for child in path.children_by_field_name("attr") if path is not None else ():
            names.append((yield self._attribute_name(child)))  # noqa: PERF401
        return tuple(names)

    def _attribute_name(self, node: tree_sitter.Node) -> Steps:
        span = self._span(node)
        if node.type == "identifier":
            return AttributeName(*span, self._text(node))
        if node.type == "interpolation":
            computed = yield self._field(node, "expression")
        else:
            computed = yield self.node(node)
        if isinstance(computed, StringNode) and all(isinstance(p, str) for p in computed.parts):
            return AttributeName(*span, "".join(p for p in computed.parts if isinstance(p, str)))
        return AttributeName(*span, None, computed)

    def _unary(self, node: tree_sitter.Node) -> Steps:
        operand = yield self._field(node, "argument")
        return Unary(*self._span(node), node.children[0].type, operand)

    def _binary(self, node: tree_sitter.Node) -> Steps:
        operator = node.child_by_field_name("operator")
        self._refuse_chain(node)
        left = yield self._field(node, "left")
        right = yield self._field(node, "right")
        symbol = operator.type if operator is not None else "?"
        start = self._offset(operator.start_byte if operator is not None else node.start_byte)
        return Binary(*self._span(node), symbol, left, right, start)

    def _refuse_chain(self, node: tree_sitter.Node) -> None:
        """`a == b == c` has no meaning in Nix; the grammar lets it pass."""
        operators = [n.child_by_field_name("operator") for n in (node, *node.children)
                     if n.type == "binary_expression"]  # fmt: skip
        own, *inner = (operator.type if operator else "" for operator in operators)
        for group in (_EQUALITIES, _COMPARISONS):
            if own in group and group.intersection(inner) and operators[0] is not None:
                raise self._error(self._offset(operators[0].start_byte),
                                  "Comparisons cannot be chained",
                                  f"Write `a {own} b && b {own} c`.")  # fmt: skip

    def _if(self, node: tree_sitter.Node) -> Steps:
        condition = yield self._field(node, "condition")
        consequence = yield self._field(node, "consequence")
        alternative = yield self._field(node, "alternative")
        return If(*self._span(node), condition, consequence, alternative)

    def _with(self, node: tree_sitter.Node) -> Steps:
        scope = yield self._field(node, "environment")
        return With(*self._span(node), scope, (yield self._field(node, "body")))

    def _assert(self, node: tree_sitter.Node) -> Steps:
        condition = yield self._field(node, "condition")
        return Assert(*self._span(node), condition, (yield self._field(node, "body")))

    def _let(self, node: tree_sitter.Node) -> Steps:
        bindings = yield self._bindings(node, recursive=True)
        self._refuse_computed(bindings)
        return Let(*self._span(node), bindings, (yield self._field(node, "body")))

    def _let_attrset(self, node: tree_sitter.Node) -> Steps:
        bindings = yield self._bindings(node, recursive=True)
        span = self._span(node)
        return Select(*span, bindings, (AttributeName(*span, "body"),), None)

    def _refuse_computed(self, bindings: SetNode) -> None:
        for name, _value in bindings.computed:
            raise self._error(
                name.start, "The names that `let` binds must be plain",
                "Bind a set: `let set = { ${name} = ...; }; in ...`.",
            )  # fmt: skip

    def _function(self, node: tree_sitter.Node) -> Steps:
        universal = node.child_by_field_name("universal")
        parameter = self._text(universal) if universal is not None else None
        body = yield self._field(node, "body")
        listed = node.child_by_field_name("formals")
        if listed is None:
            return Function(*self._span(node), parameter, None, False, body)
        formals: dict[str, Formal] = {}
        for child in listed.children_by_field_name("formal"):
            name_node = child.child_by_field_name("name")
            name = self._text(name_node) if name_node is not None else ""
            default = child.child_by_field_name("default")
            value = (yield self.node(default)) if default is not None else None
            if name in formals or name == parameter:
                raise self._error(
                    self._offset(child.start_byte), f"The parameter {name!r} is named twice"
                )
            formals[name] = Formal(name, self._offset(child.start_byte), value)
        open_ended = listed.child_by_field_name("ellipses") is not None
        return Function(*self._span(node), parameter, tuple(formals.values()), open_ended, body)

    def _attrset(self, node: tree_sitter.Node) -> Steps:
        return (yield self._bindings(node, recursive=False))

    def _rec_attrset(self, node: tree_sitter.Node) -> Steps:
        return (yield self._bindings(node, recursive=True))

    def _bindings(self, node: tree_sitter.Node, *, recursive: bool) -> Steps:
        result = SetNode(*self._span(node), recursive, {}, [])
        for group in node.children:
            if group.type != "binding_set":
                continue
            for child in group.children_by_field_name("binding"):
                if child.type == "binding":
                    path = yield self._attribute_path(child)
                    value = yield self._field(child, "expression")
                    self._add(result, path, value)
                else:
                    yield self._add_inherited(result, child)
        return result

    def _add_inherited(self, result: SetNode, node: tree_sitter.Node) -> Steps:
        subject = None
        if node.type == "inherit_from":
            subject = yield self._field(node, "expression")
        listed = node.child_by_field_name("attrs")
        for child in listed.children_by_field_name("attr") if listed is not None else ():
            name = yield self._attribute_name(child)
            if name.text is None:
                raise self._error(name.start, "`inherit` takes plain names only",
                                  "Write `${name} = value;`.")  # fmt: skip
            value: Node = (
                Variable(name.start, name.end, name.text)
                if subject is None
                else Select(name.start, name.end, subject, (name,), None)
            )
            self._define(
                result, name, Entry(name.start, name.end, value, subject is None), (name.text,)
            )

    def _add(self, result: SetNode, path: tuple[AttributeName, ...], value: Node) -> None:
        """Define `path` in a set; the sets on the way are made, or are there already."""
        target = result
        for index, name in enumerate(path[:-1]):
            inner = SetNode(name.start, value.end, False, {}, [])
            if name.text is None:
                target.computed.append((name, inner))
                target = inner
                continue
            entry = target.entries.get(name.text)
            if entry is None:
                target.entries[name.text] = Entry(name.start, name.end, inner)
                target = inner
            elif isinstance(entry.value, SetNode) and not entry.inherited:
                target = entry.value
            else:
                raise self._twice(name, entry, path[: index + 1])
        name = path[-1]
        if name.text is None:
            target.computed.append((name, value))
            return
        entry = target.entries.get(name.text)
        both_sets = (
            entry is not None
            and isinstance(entry.value, SetNode)
            and not entry.inherited
            and isinstance(value, SetNode)
        )
        if both_sets:
            assert entry is not None
            assert isinstance(entry.value, SetNode)
            assert isinstance(value, SetNode)
            for key, added in value.entries.items():
                inner_name = AttributeName(added.name_start, added.name_end, key)
                keys = (*(n.text or "${...}" for n in path), key)
                self._define(entry.value, inner_name, added, keys)
            entry.value.computed.extend(value.computed)
        else:
            keys = tuple(n.text or "${...}" for n in path)
            self._define(target, name, Entry(name.start, name.end, value), keys)

    def _define(
        self, target: SetNode, name: AttributeName, entry: Entry, keys: tuple[str, ...]
    ) -> None:
        assert name.text is not None
        if name.text in target.entries:
            there = target.entries[name.text]
            raise self._twice(name, there, tuple(AttributeName(0, 0, key) for key in keys))
        target.entries[name.text] = entry

    def _twice(
        self, name: AttributeName, there: Entry, path: tuple[AttributeName, ...]
    ) -> CellSyntaxError:
        line, column = self._source.line_and_column(there.name_start)
        shown = ".".join(step.text or "${...}" for step in path)
        return self._error(
            name.start,
            f"The attribute {shown!r} is defined twice",
            f"It is defined first in line {line}, column {column}; keep one of the two.",
        )
