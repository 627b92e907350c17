"""What the rest of nbdock calls: the value of a text, and the arguments in a cell."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from typing import Any

from nbdock.errors import CellEvaluationError
from nbdock.nixlang.builtin_functions import builtin_names
from nbdock.nixlang.evaluation import Evaluator
from nbdock.nixlang.heads import Call, cell_value
from nbdock.nixlang.interop import Names
from nbdock.nixlang.parsing import Expression, parse
from nbdock.nixlang.places import Place, Source
from nbdock.nixlang.plain import Step, Tracks, to_plain
from nbdock.nixlang.syntax import Apply, SetNode
from nbdock.nixlang.trampoline import Steps
from nbdock.nixlang.values import AttributeSet, ContextString, Fault, describe

__all__ = ["CellArguments", "Evaluation", "evaluate", "read_arguments"]


class _Placed:
    """A value whose parts are known by place."""

    _tracks: Tracks
    _source: Source

    def place_of(self, path: Iterable[Step] | str, *, name: bool = False) -> Place | None:
        """Where a part of the value stands in the cell.

        Parameters
        ----------
        path
            The names (and, in lists, indices from 0) that lead to it: ``("config", "Cmd", 0)``;
            or one name.
        name
            The place of the attribute's name, rather than that of its value.

        Returns
        -------
        Place or None
            Of the part, or else of the nearest part around it that the cell has written out; None
            if there is none.
        """
        steps = (path,) if isinstance(path, str) else tuple(path)
        while steps:
            name_span, value_span = self._tracks.get(steps, (None, None))
            span = (name_span or value_span) if name else (value_span or name_span)
            if span:
                return self._source.place(*span)
            steps = steps[:-1]
        return None

    def error(
        self, message: str, path: Iterable[Step] | str = (), *, hint: str | None = None,
        name: bool = False,
    ) -> CellEvaluationError:  # fmt: skip
        """An error with the place of a part of the value, for the caller to raise."""
        place = self.place_of(path, name=name)
        line, column = (place.line, place.column) if place else (1, 1)
        return CellEvaluationError(
            message, source=self._source.text, line=line, column=column, hint=hint
        )


@dataclasses.dataclass(frozen=True)
class Evaluation(_Placed):
    """The value of a text, as plain Python.

    Attributes
    ----------
    value
        dict, list, str, int, float, bool, None, `pathlib.Path`, or what names are bound to.
    context
        Every object that was put into a string of the value, each once, in order of appearance.
    """

    value: Any
    context: tuple[object, ...]
    _tracks: Tracks = dataclasses.field(repr=False)
    _source: Source = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class CellArguments(_Placed):
    """The arguments that a cell gives to a function.

    Attributes
    ----------
    arguments
        By name, as plain Python.
    function_name
        The function the cell calls by name, or None if it is only its arguments.
    context
        As for `Evaluation`.
    """

    arguments: dict[str, Any]
    function_name: str | None
    context: tuple[object, ...]
    _tracks: Tracks = dataclasses.field(repr=False)
    _source: Source = dataclasses.field(repr=False)


def evaluate(
    text: str | Expression,
    names: Names | None = None,
    *,
    base_dir: str | os.PathLike[str] | None = None,
) -> Evaluation:
    """The value of a text in the cells' language.

    Parameters
    ----------
    text
        Bindings, or an expression.
    names
        What free names are bound to: a mapping, or a function that raises KeyError for unknown
        ones. They win over `with`, as outer names do in Nix.
    base_dir
        The directory that relative paths start from; default: the working directory.

    Raises
    ------
    CellSyntaxError, CellEvaluationError, UndefinedNameError
        With the line and the column.

    Examples
    --------
    >>> evaluate('rec { a = 1 + 1; b = "${who} is ${toString a}"; }', {"who": "it"}).value
    {'a': 2, 'b': 'it is 2'}
    """
    expression, evaluator = _prepare(text, names, base_dir)
    tracks: Tracks = {}

    def steps() -> Steps:
        value = yield evaluator.evaluate(expression.root, None)
        return (yield to_plain(evaluator, value, tracks))

    value = evaluator.run(steps())
    return Evaluation(value, _context(value), tracks, evaluator.source)


def read_arguments(
    text: str | Expression,
    names: Names | None = None,
    *,
    function_names: Iterable[str] = (),
    other_functions: Mapping[str, str] | None = None,
    list_name: str | None = None,
    base_dir: str | os.PathLike[str] | None = None,
) -> CellArguments:
    """The arguments in a cell: bindings, a set, or a call of a function by its name.

    The function itself need not exist: `buildImage { ... }`, `pkgs.dockerTools.buildImage { ... }`
    and the same after `let`, `with` or `{ pkgs, ... }:` are known by the function's name.

    Parameters
    ----------
    text, names, base_dir
        As for `evaluate`.
    function_names
        The names that the cell may call.
    other_functions
        Functions that this cell must not call, each with what to do instead (the hint of the
        error), such as ``{"pullImage": "Begin the cell with %%pullImage."}``.
    list_name
        For a function that takes a list, `mergeImages [ a b ]`: the name to give it under.

    Raises
    ------
    CellSyntaxError, CellEvaluationError, UndefinedNameError
        With the line and the column; also if the cell holds no arguments, or calls one of the
        other functions.

    Examples
    --------
    >>> read_arguments('pkgs.f { a = [ 1 2 ]; }', function_names=["f"]).arguments
    {'a': [1, 2]}
    """
    expression, evaluator = _prepare(text, names, base_dir)
    own, others = tuple(function_names), dict(other_functions or {})
    tracks: Tracks = {}
    name: str | None = None

    def steps() -> Steps:
        nonlocal name
        value = yield cell_value(evaluator, expression.root, None, frozenset((*own, *others)))
        node = expression.root
        if isinstance(value, Call):
            name, node = value.name, value.argument_node
            if name in others:
                raise Fault(f"This cell cannot call {name}", others[name], value.head)
            value = yield evaluator.evaluate(value.argument_node, value.environment)
        if list_name and isinstance(value, list):
            return {list_name: (yield to_plain(evaluator, value, tracks, (list_name,)))}
        if not isinstance(value, AttributeSet):
            if list_name:
                raise Fault(f"The cell should hold a list, not {describe(value)}",
                            f"Write `{own[0]} [ a b ]`, or the list alone.", node)  # fmt: skip
            what = f"{name} takes" if name else "The cell should hold arguments in"
            hint = f"Write `{own[0]} {{ name = value; }}`, or the bindings alone." if own else None
            raise Fault(f"{what} a set, not {describe(value)}", hint, node)
        return (yield to_plain(evaluator, value, tracks))

    arguments = evaluator.run(steps())
    return CellArguments(arguments, name, _context(arguments), tracks, evaluator.source)


def _prepare(
    text: str | Expression, names: Names | None, base_dir: str | os.PathLike[str] | None
) -> tuple[Expression, Evaluator]:
    expression = parse(text) if isinstance(text, str) else text
    source = Source(expression.text)
    known: Names = {} if names is None else names
    evaluator = Evaluator(source, known, base_dir, builtin_names())
    root = expression.root.argument if isinstance(expression.root, Apply) else expression.root
    if isinstance(root, SetNode):
        evaluator.siblings = frozenset(root.entries)
    return expression, evaluator


def _context(value: Any) -> tuple[object, ...]:
    """The objects in all strings of a plain value."""
    objects: dict[int, object] = {}
    pending: list[Any] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, ContextString):
            objects.update((id(o), o) for o in item.context)
        elif type(item) is dict:
            pending.extend(reversed(list(item.values())))
        elif type(item) is list:
            pending.extend(reversed(item))
    return tuple(objects.values())
