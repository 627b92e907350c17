"""What people meant by a name that is not defined, or by calling what cannot be called."""

from __future__ import annotations

from nbdock.nixlang.syntax import Apply, StringNode, Variable

__all__ = ["advice", "call_advice"]

_PYTHON = {
    "True": "Write `true`.",
    "False": "Write `false`.",
    "None": "Write `null`.",
    "nil": "Write `null`.",
    "undefined": "Write `null`.",
    "and": "Write `&&`.",
    "or": "Write `||`.",
    "not": "Write `!` before the condition.",
    "is": "Write `==`.",
    "lambda": "A function is written `x: ...`.",
    "def": "A function is written `x: ...`.",
    "elif": "Write `else if`.",
    "for": "Write `map (x: ...) list`.",
    "str": "Write `toString x`.",
    "len": "Write `builtins.length list`.",
}
_PREFIXES = frozenset(("f", "F", "r", "R", "b", "B", "rb", "fr", "u"))


def advice(text: str, node: Variable, siblings: frozenset[str]) -> str | None:
    """The hint for a name that nothing defines, if it is another binding's or Python's."""
    if node.name in siblings:
        return (
            f"The bindings of a set do not see each other: write `rec {{ {node.name} = ...; }}`, "
            f"or `let {node.name} = ...; in {{ ... }}`."
        )
    if node.name in _PREFIXES and text[node.end : node.end + 1] in ('"', "'"):
        return (
            f'Strings need no prefix: leave the {node.name} out, and write "${{name}}" for values.'
        )
    return _PYTHON.get(node.name)


def call_advice(node: Apply, hint: str | None) -> str | None:
    """The hint for a call that failed, from how it is written."""
    function, argument = node.function, node.argument
    adjacent = function.end == argument.start
    if adjacent and isinstance(function, StringNode) and isinstance(argument, StringNode):
        return "A string over several lines stands between '' and ''."
    return hint
