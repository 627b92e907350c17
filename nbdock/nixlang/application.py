"""Calling functions: the cell's own, the language's, and those that Python provides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbdock.errors import NbdockError
from nbdock.nixlang import interop
from nbdock.nixlang.plain import to_plain
from nbdock.nixlang.trampoline import Steps
from nbdock.nixlang.values import (
    AttributeSet,
    Builtin,
    Environment,
    Fault,
    Lambda,
    Thunk,
    Withheld,
    adopt,
    capital,
    describe,
)

if TYPE_CHECKING:
    from nbdock.nixlang.evaluation import Evaluator

__all__ = ["apply"]


def apply(evaluator: Evaluator, function: Any, argument: Any) -> Steps:
    """`function argument`; the argument may be a thunk."""
    if isinstance(function, Lambda):
        return (yield _apply_lambda(evaluator, function, argument))
    if isinstance(function, Builtin):
        arguments = (*function.arguments, argument)
        if len(arguments) < function.arity:
            return Builtin(function.name, function.arity, function.function, arguments)
        return (yield function.function(evaluator, *arguments))
    if isinstance(function, AttributeSet) and "__functor" in function.attributes:
        functor = yield evaluator.force(function.attributes["__functor"].value)
        return (yield apply(evaluator, (yield apply(evaluator, functor, function)), argument))
    if isinstance(function, Withheld):
        raise Fault(
            f"{function.name} was reached as an attribute of a Python object, and cells call only "
            "functions that have a name in Python",
            f"Give it one in Python first: `my_function = ....{function.name}`.",
        )
    if callable(function):
        plain = yield to_plain(evaluator, (yield evaluator.force(argument)))
        try:
            return interop.call(function, plain)
        except NbdockError as error:
            raise evaluator.located(error, None) from error
    raise Fault(
        f"{capital(describe(function))} cannot be called",
        "Two values side by side are a call. Is a `;` or an operator missing between them, "
        "or the brackets of a list around them?",
    )


def _apply_lambda(evaluator: Evaluator, function: Lambda, argument: Any) -> Steps:
    node = function.function
    names: dict[str, Any] = {}
    inner = Environment(function.environment, names)
    if node.parameter is not None:
        names[node.parameter] = argument
    if node.formals is not None:
        value = yield evaluator.force(argument)
        if not isinstance(value, AttributeSet):
            raise Fault(f"The function takes a set, not {describe(value)}")
        for formal in node.formals:
            if formal.name in value.attributes:
                names[formal.name] = value.attributes[formal.name].value
            elif formal.default is not None:
                names[formal.name] = evaluator.thunk(formal.default, inner)
            else:
                raise Fault(f"The function is called without its argument {formal.name!r}")
        if not node.open_ended:
            known = [formal.name for formal in node.formals]
            for name in value.attributes:
                if name not in known:
                    raise Fault(f"The function has no argument {name!r}",
                                interop.suggestion(name, known)
                                or f"It takes {', '.join(known) or 'none'}.")  # fmt: skip
    result = yield evaluator.evaluate(node.body, inner)
    return result


def call_from_python(evaluator: Evaluator, function: Any, argument: Any) -> Any:
    """Call a function of the cell from Python, with and for plain values."""

    def steps() -> Steps:
        value = yield apply(evaluator, function, Thunk(None, None, adopt(argument)))
        return (yield to_plain(evaluator, value))

    return evaluator.run(steps())
