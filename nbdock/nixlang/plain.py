"""From the cell's values to plain Python: everything computed, sets as dicts.

The places of all attributes and elements are written down on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nbdock.nixlang.syntax import Node
from nbdock.nixlang.trampoline import Steps
from nbdock.nixlang.values import AttributeSet, Builtin, Fault, Lambda, Thunk, Withheld

if TYPE_CHECKING:
    from nbdock.nixlang.evaluation import Evaluator

__all__ = ["CellFunction", "Step", "Tracks", "to_plain"]

Step = str | int
Tracks = dict[tuple[Step, ...], tuple[tuple[int, int] | None, tuple[int, int] | None]]
"""For each path into a value: the offsets of its name and of its value, where they are known."""


class CellFunction:
    """A function that was written in a cell, for Python to call with plain values."""

    def __init__(self, function: Callable[[Any], Any], description: str) -> None:
        self._function = function
        self._description = description

    def __call__(self, argument: Any) -> Any:
        """The plain value that the function gives for one."""
        return self._function(argument)

    def __repr__(self) -> str:
        return f"<{self._description}>"


def to_plain(
    evaluator: Evaluator,
    value: Any,
    tracks: Tracks | None = None,
    path: tuple[Step, ...] = (),
    inside: tuple[int, ...] = (),
) -> Steps:
    """The plain Python value of a value, computed to its depths."""
    if isinstance(value, Withheld):
        return value.value
    if isinstance(value, Lambda | Builtin):
        return _function(evaluator, value)
    if not isinstance(value, AttributeSet | list):
        return value
    if id(value) in inside:
        raise Fault("The value contains itself, so it has no end")
    if len(inside) >= evaluator.value_depth_limit:
        raise Fault(
            f"Sets and lists stand in each other more than {evaluator.value_depth_limit} deep",
            "Does the value contain itself? (setting cell_value_depth_limit)",
        )
    inside = (*inside, id(value))
    if isinstance(value, list):
        elements: list[Any] = []
        for index, item in enumerate(value):
            elements.append((yield _inner(evaluator, item, None, tracks, (*path, index), inside)))
        return elements
    attributes: dict[str, Any] = {}
    for name, attribute in value.attributes.items():
        span = (attribute.name_start, attribute.name_end) if attribute.name_start >= 0 else None
        attributes[name] = yield _inner(
            evaluator, attribute.value, span, tracks, (*path, name), inside
        )
    return attributes


def _inner(
    evaluator: Evaluator,
    item: Any,
    name: tuple[int, int] | None,
    tracks: Tracks | None,
    path: tuple[Step, ...],
    inside: tuple[int, ...],
) -> Steps:
    node: Node | None = item.node if isinstance(item, Thunk) else None
    if tracks is not None:
        tracks[path] = name, (node.start, node.end) if node else None
    try:
        value = yield evaluator.force(item)
        return (yield to_plain(evaluator, value, tracks, path, inside))
    except Fault as fault:
        fault.node = fault.node or node
        raise


def _function(evaluator: Evaluator, function: Lambda | Builtin) -> CellFunction:
    from nbdock.nixlang.application import call_from_python

    if isinstance(function, Builtin):
        description = f"function {function.name} of the cells' language"
    else:
        line, column = evaluator.source.line_and_column(function.function.start)
        description = f"function of a cell, line {line}, column {column}"
    return CellFunction(
        lambda argument: call_from_python(evaluator, function, argument), description
    )
