"""Values becoming strings, and values being compared: what needs values to be computed first."""

from __future__ import annotations

import os.path
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from nbdock.errors import NbdockError
from nbdock.nixlang.operators import arithmetic, float_text, is_number, less
from nbdock.nixlang.trampoline import Steps
from nbdock.nixlang.values import (
    AttributeSet,
    Builtin,
    ContextString,
    Fault,
    Lambda,
    Withheld,
    capital,
    describe,
    with_context,
)

if TYPE_CHECKING:
    from nbdock.nixlang.evaluation import Evaluator

__all__ = ["add", "coerce", "concatenate", "equal", "less_than", "to_string"]


def concatenate(evaluator: Evaluator, texts: Iterable[str]) -> str:
    """The texts one after the other, with the objects of all of them."""
    texts = list(texts)
    evaluator.spend_characters(sum(map(len, texts)))
    objects = [o for text in texts if isinstance(text, ContextString) for o in text.context]
    return with_context("".join(texts), objects)


def coerce(evaluator: Evaluator, value: Any) -> Steps:
    """The string that a value stands for in an interpolation or beside `+`."""
    yield from ()
    if isinstance(value, str):
        return value
    if isinstance(value, PurePath):
        return with_context(str(value), (value,))
    if isinstance(value, Withheld):
        value = value.value
    if isinstance(value, AttributeSet):
        if "__toString" in value.attributes:
            function = yield evaluator.force(value.attributes["__toString"].value)
            from nbdock.nixlang.application import apply

            return (yield coerce(evaluator, (yield apply(evaluator, function, value))))
        if "outPath" in value.attributes:
            inner = yield evaluator.force(value.attributes["outPath"].value)
            return (yield coerce(evaluator, inner))
    elif not (is_number(value) or value is None or isinstance(value, bool | list)) and (
        _has_own_text(value)
    ):
        try:
            text = str(value)
        except NbdockError:
            raise
        except Exception as error:
            raise Fault(f"Making a string of {describe(value)} failed: {error}") from error
        evaluator.spend_characters(len(text))
        return ContextString(text, (value,))
    hint = None
    if is_number(value):
        hint = "Write `toString` before it."
    elif isinstance(value, bool):
        hint = 'Write `if x then "true" else "false"`.'
    elif isinstance(value, list):
        hint = 'Write `builtins.concatStringsSep " " list`.'
    elif value is None:
        hint = "Is it set? `if x != null then ... else ...`."
    raise Fault(f"{capital(describe(value))} cannot stand in a string", hint)


def _has_own_text(value: object) -> bool:
    """Whether the class of an object says what `str` gives: a list's and a function's do not."""
    own: object = type(value).__str__
    return own is not object.__str__


def to_string(evaluator: Evaluator, value: Any) -> Steps:
    """The string that `toString` makes: of numbers, booleans, null and lists too."""
    if value is None or value is False:
        return ""
    if value is True:
        return "1"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return float_text(value)
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, list):
        texts: list[str] = []
        for index, item in enumerate(value):
            inner = yield evaluator.force(item)
            texts.append((yield to_string(evaluator, inner)))
            # An empty list in a list leaves no second space.
            if index < len(value) - 1 and not (isinstance(inner, list) and not inner):
                texts.append(" ")
        return concatenate(evaluator, texts)
    return (yield coerce(evaluator, value))


def add(evaluator: Evaluator, left: Any, right: Any) -> Steps:
    """`left + right`: numbers, strings, or a path and what follows it."""
    if is_number(left) and is_number(right):
        return arithmetic("+", left, right)
    for side in (left, right):
        if isinstance(side, list):
            raise Fault(
                "`+` adds numbers and joins strings, not lists", "Lists are joined by `++`."
            )
        if isinstance(side, AttributeSet) and not {"outPath", "__toString"} & set(side.attributes):
            raise Fault("`+` adds numbers and joins strings, not sets", "Sets are merged by `//`.")
    if isinstance(left, PurePath):
        text = str(right) if isinstance(right, PurePath) else (yield coerce(evaluator, right))
        return Path(os.path.normpath(f"{left}{text}"))
    first = yield coerce(evaluator, left)
    return concatenate(evaluator, (first, (yield coerce(evaluator, right))))


def equal(evaluator: Evaluator, left: Any, right: Any) -> Steps:
    """`left == right`, deeply; functions are never equal."""
    if isinstance(left, Withheld) and isinstance(right, Withheld):
        left, right = left.value, right.value
    if is_number(left) and is_number(right):
        return left == right
    if isinstance(left, Lambda | Builtin) or isinstance(right, Lambda | Builtin):
        return False
    if isinstance(left, list) and isinstance(right, list):
        if len(left) != len(right):
            return False
        for one, other in zip(left, right, strict=True):
            pair = (yield evaluator.force(one)), (yield evaluator.force(other))
            if not (yield equal(evaluator, *pair)):
                return False
        return True
    if isinstance(left, AttributeSet) and isinstance(right, AttributeSet):
        if left.attributes.keys() != right.attributes.keys():
            return False
        for name, attribute in left.attributes.items():
            other = right.attributes[name].value
            pair = (yield evaluator.force(attribute.value)), (yield evaluator.force(other))
            if not (yield equal(evaluator, *pair)):
                return False
        return True
    if isinstance(left, str) and isinstance(right, str):
        return str.__eq__(left, right)
    if type(left) is not type(right):
        return False
    try:
        return left is right or bool(left == right)
    except Exception:
        # An array or a table compares to more than true or false.
        return False


def less_than(evaluator: Evaluator, left: Any, right: Any) -> Steps:
    """`left < right`; lists by their first elements that differ."""
    if not (isinstance(left, list) and isinstance(right, list)):
        return less(left, right)
    for one, other in zip(left, right, strict=False):
        pair = (yield evaluator.force(one)), (yield evaluator.force(other))
        if not (yield equal(evaluator, *pair)):
            return (yield less_than(evaluator, *pair))
    return len(left) < len(right)
