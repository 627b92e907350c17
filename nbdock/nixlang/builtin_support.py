"""What the functions of the language share: their register, and checks of their arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nbdock.nixlang.application import apply
from nbdock.nixlang.trampoline import Steps
from nbdock.nixlang.values import AttributeSet, Builtin, Fault, Thunk, describe

if TYPE_CHECKING:
    from nbdock.nixlang.evaluation import Evaluator

__all__ = [
    "FUNCTIONS",
    "Function",
    "builtin",
    "integer_of",
    "later",
    "list_of",
    "set_of",
    "text_of",
    "truth_of",
]

FUNCTIONS: dict[str, Builtin] = {}
"""The functions of the language, by name."""

Function = Callable[..., Steps]


def builtin(name: str, arity: int) -> Callable[[Function], Function]:
    """Register the computation that a function of the language is, under its name."""

    def register(function: Function) -> Function:
        FUNCTIONS[name] = Builtin(name, arity, function)
        return function

    return register


def list_of(evaluator: Evaluator, value: Any, name: str) -> Steps:
    """An argument of the function `name` that must be a list."""
    found = yield evaluator.force(value)
    if not isinstance(found, list):
        raise Fault(f"{name} takes a list, not {describe(found)}")
    evaluator.spend(len(found))
    return found


def set_of(evaluator: Evaluator, value: Any, name: str) -> Steps:
    """An argument of the function `name` that must be a set."""
    found = yield evaluator.force(value)
    if not isinstance(found, AttributeSet):
        raise Fault(f"{name} takes a set, not {describe(found)}")
    evaluator.spend(len(found.attributes))
    return found


def text_of(evaluator: Evaluator, value: Any, name: str) -> Steps:
    """An argument of the function `name` that must be a string."""
    found = yield evaluator.force(value)
    if not isinstance(found, str):
        raise Fault(f"{name} takes a string, not {describe(found)}")
    return found


def integer_of(evaluator: Evaluator, value: Any, name: str) -> Steps:
    """An argument of the function `name` that must be an integer."""
    found = yield evaluator.force(value)
    if not isinstance(found, int) or isinstance(found, bool):
        raise Fault(f"{name} takes an integer, not {describe(found)}")
    return found


def truth_of(evaluator: Evaluator, function: Any, *arguments: Any) -> Steps:
    """What a function says of its arguments, which must be true or false."""
    found = yield evaluator.force(function)
    for argument in arguments:
        found = yield apply(evaluator, found, argument)
    if not isinstance(found, bool):
        raise Fault(f"The function must give true or false, not {describe(found)}")
    return found


def later(evaluator: Evaluator, function: Any, *arguments: Any) -> Thunk:
    """A call that is made when its value is asked for."""

    def steps() -> Steps:
        result = yield evaluator.force(function)
        for argument in arguments:
            result = yield apply(evaluator, result, argument)
        return result

    node = arguments[-1].node if arguments and isinstance(arguments[-1], Thunk) else None
    return Thunk(steps, node)
