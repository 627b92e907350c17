"""The functions of the language that work on strings, numbers and types."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from nbdock.nixlang.builtin_support import (
    FUNCTIONS,
    Function,
    builtin,
    integer_of,
    list_of,
    text_of,
)
from nbdock.nixlang.coercion import coerce, concatenate, less_than, to_string
from nbdock.nixlang.operators import arithmetic, number
from nbdock.nixlang.plain import to_plain
from nbdock.nixlang.trampoline import Steps
from nbdock.nixlang.values import (
    AttributeSet,
    Builtin,
    Fault,
    Lambda,
    Thunk,
    adopt,
    with_context,
)

if TYPE_CHECKING:
    from nbdock.nixlang.evaluation import Evaluator


__all__ = ["is_set"]

# Strings and types.


@builtin("toString", 1)
def _to_string(evaluator: Evaluator, value: Any) -> Steps:
    return (yield to_string(evaluator, (yield evaluator.force(value))))


@builtin("throw", 1)
def _throw(evaluator: Evaluator, message: Any) -> Steps:
    raise Fault(str((yield coerce(evaluator, (yield evaluator.force(message))))))


FUNCTIONS["abort"] = Builtin("abort", 1, _throw)


@builtin("stringLength", 1)
def _string_length(evaluator: Evaluator, value: Any) -> Steps:
    text = yield coerce(evaluator, (yield evaluator.force(value)))
    return len(text.encode())


@builtin("substring", 3)
def _substring(evaluator: Evaluator, start: Any, count: Any, value: Any) -> Steps:
    first = yield integer_of(evaluator, start, "substring")
    size = yield integer_of(evaluator, count, "substring")
    text = yield coerce(evaluator, (yield evaluator.force(value)))
    if first < 0:
        raise Fault("substring cannot start before the string")
    data = text.encode()
    part = data[first:] if size < 0 else data[first : first + size]
    return with_context(part.decode(errors="replace"), getattr(text, "context", ()))


@builtin("replaceStrings", 3)
def _replace_strings(evaluator: Evaluator, old: Any, new: Any, value: Any) -> Steps:
    pairs = []
    sources = yield list_of(evaluator, old, "replaceStrings")
    targets = yield list_of(evaluator, new, "replaceStrings")
    if len(sources) != len(targets):
        raise Fault("replaceStrings takes two lists of the same length")
    for source, target in zip(sources, targets, strict=True):
        text = yield text_of(evaluator, source, "replaceStrings")
        pairs.append((text, (yield text_of(evaluator, target, "replaceStrings"))))
    text = yield text_of(evaluator, value, "replaceStrings")
    parts: list[str] = [with_context("", getattr(text, "context", ()))]
    position = 0
    while position <= len(text):
        evaluator.spend(1)
        for source, target in pairs:
            if text.startswith(source, position):
                parts.append(target)
                position += len(source)
                if not source:
                    parts.append(str(text)[position : position + 1])
                    position += 1
                break
        else:
            parts.append(str(text)[position : position + 1])
            position += 1
    return concatenate(evaluator, parts)


@builtin("baseNameOf", 1)
def _base_name_of(evaluator: Evaluator, value: Any) -> Steps:
    text = yield coerce(evaluator, (yield evaluator.force(value)))
    name = str(text).removesuffix("/").rpartition("/")[2]
    return with_context(name, getattr(text, "context", ()))


@builtin("dirOf", 1)
def _dir_of(evaluator: Evaluator, value: Any) -> Steps:
    found = yield evaluator.force(value)
    if isinstance(found, PurePath):
        return found.parent
    text = yield coerce(evaluator, found)
    head, slash, _tail = str(text).rpartition("/")
    return with_context(head or "/" if slash else ".", getattr(text, "context", ()))


def _is_kind(test: Callable[[Any], bool]) -> Function:
    def function(evaluator: Evaluator, value: Any) -> Steps:
        return test((yield evaluator.force(value)))

    return function


def _is_function(value: Any) -> bool:
    return isinstance(value, Lambda | Builtin) or callable(value)


_TYPES: dict[str, Callable[[Any], bool]] = {
    "bool": lambda v: isinstance(v, bool),
    "int": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "float": lambda v: isinstance(v, float),
    "null": lambda v: v is None,
    "string": lambda v: isinstance(v, str),
    "path": lambda v: isinstance(v, PurePath),
    "list": lambda v: isinstance(v, list),
    "lambda": _is_function,
}


def is_set(value: Any) -> bool:
    """Whether a value has attributes, like the sets and the derivations of Nix."""
    return not any(test(value) for test in _TYPES.values())


for _name, _test in {**_TYPES, "set": is_set}.items():
    _shown = {"lambda": "Function", "set": "Attrs"}.get(_name, _name.capitalize())
    FUNCTIONS[f"is{_shown}"] = Builtin(f"is{_shown}", 1, _is_kind(_test))


@builtin("typeOf", 1)
def _type_of(evaluator: Evaluator, value: Any) -> Steps:
    found = yield evaluator.force(value)
    return next((name for name, test in _TYPES.items() if test(found)), "set")


@builtin("toJSON", 1)
def _to_json(evaluator: Evaluator, value: Any) -> Steps:
    objects: list[object] = []
    prepared = yield _json_value(evaluator, value, objects)
    plain = yield to_plain(evaluator, prepared)
    text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    evaluator.spend_characters(len(text))
    return with_context(text, objects)


def _json_value(evaluator: Evaluator, value: Any, objects: list[object]) -> Steps:
    found = yield evaluator.force(value)
    if isinstance(found, list):
        return [Thunk(functools.partial(_json_value, evaluator, v, objects), None) for v in found]
    if isinstance(found, AttributeSet) and not {"outPath", "__toString"} & set(found.attributes):
        return AttributeSet.of({
            name: Thunk(functools.partial(_json_value, evaluator, a.value, objects), None)
            for name, a in found.attributes.items()
        })  # fmt: skip
    if found is None or isinstance(found, bool | int | float):
        if isinstance(found, float) and not math.isfinite(found):
            return None
        return found
    if _is_function(found):
        raise Fault("JSON has no functions")
    text = yield coerce(evaluator, found)
    objects.extend(getattr(text, "context", ()))
    return str(text)


@builtin("fromJSON", 1)
def _from_json(evaluator: Evaluator, value: Any) -> Steps:
    text = yield text_of(evaluator, value, "fromJSON")
    try:
        return adopt(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise Fault(f"fromJSON takes JSON: {error}") from None


# Numbers and order.


def _calculation(symbol: str) -> Function:
    def function(evaluator: Evaluator, left: Any, right: Any) -> Steps:
        first = yield evaluator.force(left)
        return arithmetic(symbol, first, (yield evaluator.force(right)))

    return function


for _name, _symbol in {"add": "+", "sub": "-", "mul": "*", "div": "/"}.items():
    FUNCTIONS[_name] = Builtin(_name, 2, _calculation(_symbol))


@builtin("lessThan", 2)
def _less_than(evaluator: Evaluator, left: Any, right: Any) -> Steps:
    first = yield evaluator.force(left)
    return (yield less_than(evaluator, first, (yield evaluator.force(right))))


def _rounding(name: str, function: Callable[[float], int]) -> Function:
    def steps(evaluator: Evaluator, value: Any) -> Steps:
        found = number((yield evaluator.force(value)), f"What {name} takes")
        if not math.isfinite(found):
            raise Fault(f"{name} takes a finite number")
        return arithmetic("+", function(found), 0)

    return steps


FUNCTIONS["ceil"] = Builtin("ceil", 1, _rounding("ceil", math.ceil))
FUNCTIONS["floor"] = Builtin("floor", 1, _rounding("floor", math.floor))


# Order of evaluation.


@builtin("seq", 2)
def _seq(evaluator: Evaluator, first: Any, second: Any) -> Steps:
    yield evaluator.force(first)
    return (yield evaluator.force(second))


@builtin("deepSeq", 2)
def _deep_seq(evaluator: Evaluator, first: Any, second: Any) -> Steps:
    yield to_plain(evaluator, (yield evaluator.force(first)))
    return (yield evaluator.force(second))


@builtin("trace", 2)
def _trace(evaluator: Evaluator, _message: Any, value: Any) -> Steps:
    # Says nothing: a cell's value has no side effects.
    return (yield evaluator.force(value))
