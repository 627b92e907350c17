"""What a name in a cell means: the cell's own, then Python's, then the language's, then `with`'s.

As in Nix, a `with` never hides a name that is known without it, so that adding a package to a set
cannot change what a cell means; only an imported Python module gives way to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbdock.errors import UndefinedNameError
from nbdock.nixlang import interop, undefined
from nbdock.nixlang.syntax import Node, Variable
from nbdock.nixlang.trampoline import Steps
from nbdock.nixlang.values import AttributeSet, Environment, describe

if TYPE_CHECKING:
    from nbdock.nixlang.evaluation import Evaluator

__all__ = ["find", "value_of_name"]


def value_of_name(evaluator: Evaluator, node: Variable, environment: Environment | None) -> Steps:
    """The value of a name."""
    name, scopes = node.name, []
    around = environment
    while around is not None:
        if around.scope is not None:
            scopes.append(around.scope)
        elif name in around.names:
            return (yield evaluator.force(around.names[name]))
        around = around.outer
    if name in ("true", "false", "null"):
        return evaluator.global_names[name]
    found, value = find(evaluator, name, node)
    # An imported module says nothing about what a package set's name means.
    if found and not (scopes and describe(value).startswith("the Python module")):
        return value
    if name in evaluator.global_names:
        return (yield evaluator.force(evaluator.global_names[name]))
    hint: str | None = None
    for scope in scopes:
        subject = yield evaluator.force(scope)
        try:
            return (yield evaluator.attribute(subject, name, node))
        except Exception as error:
            if not interop.is_missing(error):
                raise
            hint = hint or getattr(error, "hint", None)
    if found:
        return value
    if name in evaluator.fallback_names:
        return (yield evaluator.force(evaluator.fallback_names[name]))
    raise _undefined(evaluator, node, environment, hint)


def find(evaluator: Evaluator, name: str, node: Node) -> tuple[bool, Any]:
    """Whether Python defines a name, and its value; errors have a place."""
    try:
        return interop.find_name(evaluator.names, name)
    except Exception as error:
        raise evaluator.located(error, node) from error


def _undefined(
    evaluator: Evaluator, node: Variable, environment: Environment | None, hint: str | None
) -> UndefinedNameError:
    known: list[str] = []
    around = environment
    while around is not None:
        known.extend(around.names)
        if around.scope is not None and isinstance(around.scope.value, AttributeSet):
            known.extend(around.scope.value.attributes)
        around = around.outer
    known += [*interop.known_names(evaluator.names), *evaluator.global_names]
    line, column = evaluator.source.line_and_column(node.start)
    meant = undefined.advice(evaluator.source.text, node, evaluator.siblings)
    advice = meant or interop.suggestion(node.name, known)
    return UndefinedNameError(
        f"The name {node.name!r} is not defined", name=node.name,
        source=evaluator.source.text, line=line, column=column,
        hint=advice or hint or "Define it in Python in a cell before, or in this one: "
        f"`let {node.name} = ...; in ...`.",
    )  # fmt: skip
