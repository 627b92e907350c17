"""The functions of the language itself: `toString`, `map`, `builtins.attrNames`, ...

Those that read files, fetch, or depend on the machine are refused, each with its reason. As in Nix,
few have plain names and the rest stand in `builtins`; unlike in Nix, a name that nothing else
defines is sought there too.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from nbdock.nixlang.application import apply
from nbdock.nixlang.coercion import coerce, concatenate, equal, less_than, to_string
from nbdock.nixlang.interop import attribute_of, is_missing
from nbdock.nixlang.operators import arithmetic, number
from nbdock.nixlang.plain import to_plain
from nbdock.nixlang.trampoline import Steps
from nbdock.nixlang.values import (
    Attribute,
    AttributeSet,
    Builtin,
    Fault,
    Lambda,
    Thunk,
    adopt,
    capital,
    describe,
    with_context,
)

if TYPE_CHECKING:
    from nbdock.nixlang.evaluation import Evaluator

__all__ = ["builtin_names"]

_FUNCTIONS: dict[str, Builtin] = {}
_GLOBAL = frozenset(
    ("abort", "baseNameOf", "dirOf", "isNull", "map", "removeAttrs", "throw", "toString", "import")
)
_Function = Callable[..., Steps]


def _builtin(name: str, arity: int) -> Callable[[_Function], _Function]:
    def register(function: _Function) -> _Function:
        _FUNCTIONS[name] = Builtin(name, arity, function)
        return function

    return register


@functools.cache
def builtin_names() -> tuple[dict[str, Any], dict[str, Any]]:
    """The names that are always there, and those that are there if nothing else has them."""
    everything: dict[str, Any] = {"true": True, "false": False, "null": None, "nixVersion": "2.8"}
    everything.update(_FUNCTIONS)
    for names, reason in _REFUSED.items():
        for name in names.split():
            everything[name] = Builtin(name, 1, functools.partial(_refuse, name, reason))
    builtins = AttributeSet.of(everything)
    always = {name: everything[name] for name in (*_GLOBAL, "true", "false", "null")}
    return {**always, "builtins": builtins}, everything


_REFUSED = {
    "import scopedImport": "cells read no files; write the expression in the cell, or bind the "
    "value to a name in Python",
    "readFile readDir pathExists findFile path filterSource hashFile": "cells read no files; "
    "read them in Python and use the name here",
    "fetchurl fetchTarball fetchGit fetchMercurial fetchTree getFlake": "cells fetch nothing; "
    "use a package set, or fetch in Python",
    "getEnv currentTime currentSystem storePath storeDir nixPath": "a cell's value does not "
    "depend on the machine it runs on; use os.environ and the like in Python",
    "derivation derivationStrict toFile exec importNative": "cells build nothing by themselves",
    "match split": "regular expressions are Python's part: bind the result to a name there",
}  # fmt: skip


def _refuse(name: str, reason: str, evaluator: Evaluator, argument: Any) -> Steps:
    value = yield evaluator.force(argument)
    # `import <nixpkgs>`, where the search path leads to something that Python provides.
    if name == "import" and not isinstance(value, str | PurePath):
        return value
    raise Fault(f"`{name}` does not work in a cell", f"{capital(reason)}.")


# What the functions need of their arguments.


def _list(evaluator: Evaluator, value: Any, name: str) -> Steps:
    found = yield evaluator.force(value)
    if not isinstance(found, list):
        raise Fault(f"{name} takes a list, not {describe(found)}")
    evaluator.spend(len(found))
    return found


def _set(evaluator: Evaluator, value: Any, name: str) -> Steps:
    found = yield evaluator.force(value)
    if not isinstance(found, AttributeSet):
        raise Fault(f"{name} takes a set, not {describe(found)}")
    evaluator.spend(len(found.attributes))
    return found


def _text(evaluator: Evaluator, value: Any, name: str) -> Steps:
    found = yield evaluator.force(value)
    if not isinstance(found, str):
        raise Fault(f"{name} takes a string, not {describe(found)}")
    return found


def _integer(evaluator: Evaluator, value: Any, name: str) -> Steps:
    found = yield evaluator.force(value)
    if not isinstance(found, int) or isinstance(found, bool):
        raise Fault(f"{name} takes an integer, not {describe(found)}")
    return found


def _truth(evaluator: Evaluator, function: Any, *arguments: Any) -> Steps:
    found = yield evaluator.force(function)
    for argument in arguments:
        found = yield apply(evaluator, found, argument)
    if not isinstance(found, bool):
        raise Fault(f"The function must give true or false, not {describe(found)}")
    return found


def _later(evaluator: Evaluator, function: Any, *arguments: Any) -> Thunk:
    """A call that is made when its value is asked for."""

    def steps() -> Steps:
        result = yield evaluator.force(function)
        for argument in arguments:
            result = yield apply(evaluator, result, argument)
        return result

    node = arguments[-1].node if arguments and isinstance(arguments[-1], Thunk) else None
    return Thunk(steps, node)


# Strings and types.


@_builtin("toString", 1)
def _to_string(evaluator: Evaluator, value: Any) -> Steps:
    return (yield to_string(evaluator, (yield evaluator.force(value))))


@_builtin("throw", 1)
def _throw(evaluator: Evaluator, message: Any) -> Steps:
    raise Fault(str((yield coerce(evaluator, (yield evaluator.force(message))))))


_FUNCTIONS["abort"] = Builtin("abort", 1, _throw)


@_builtin("stringLength", 1)
def _string_length(evaluator: Evaluator, value: Any) -> Steps:
    text = yield coerce(evaluator, (yield evaluator.force(value)))
    return len(text.encode())


@_builtin("substring", 3)
def _substring(evaluator: Evaluator, start: Any, count: Any, value: Any) -> Steps:
    first = yield _integer(evaluator, start, "substring")
    size = yield _integer(evaluator, count, "substring")
    text = yield coerce(evaluator, (yield evaluator.force(value)))
    if first < 0:
        raise Fault("substring cannot start before the string")
    data = text.encode()
    part = data[first:] if size < 0 else data[first : first + size]
    return with_context(part.decode(errors="replace"), getattr(text, "context", ()))


@_builtin("replaceStrings", 3)
def _replace_strings(evaluator: Evaluator, old: Any, new: Any, value: Any) -> Steps:
    pairs = []
    sources = yield _list(evaluator, old, "replaceStrings")
    targets = yield _list(evaluator, new, "replaceStrings")
    if len(sources) != len(targets):
        raise Fault("replaceStrings takes two lists of the same length")
    for source, target in zip(sources, targets, strict=True):
        text = yield _text(evaluator, source, "replaceStrings")
        pairs.append((text, (yield _text(evaluator, target, "replaceStrings"))))
    text = yield _text(evaluator, value, "replaceStrings")
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


@_builtin("baseNameOf", 1)
def _base_name_of(evaluator: Evaluator, value: Any) -> Steps:
    text = yield coerce(evaluator, (yield evaluator.force(value)))
    name = str(text).removesuffix("/").rpartition("/")[2]
    return with_context(name, getattr(text, "context", ()))


@_builtin("dirOf", 1)
def _dir_of(evaluator: Evaluator, value: Any) -> Steps:
    found = yield evaluator.force(value)
    if isinstance(found, PurePath):
        return found.parent
    text = yield coerce(evaluator, found)
    head, slash, _tail = str(text).rpartition("/")
    return with_context(head or "/" if slash else ".", getattr(text, "context", ()))


def _is_kind(test: Callable[[Any], bool]) -> _Function:
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


def _is_set(value: Any) -> bool:
    # An object that only Python knows has attributes, like the derivations of Nix.
    return not any(test(value) for test in _TYPES.values())


for _name, _test in {**_TYPES, "set": _is_set}.items():
    _shown = {"lambda": "Function", "set": "Attrs"}.get(_name, _name.capitalize())
    _FUNCTIONS[f"is{_shown}"] = Builtin(f"is{_shown}", 1, _is_kind(_test))


@_builtin("typeOf", 1)
def _type_of(evaluator: Evaluator, value: Any) -> Steps:
    found = yield evaluator.force(value)
    return next((name for name, test in _TYPES.items() if test(found)), "set")


@_builtin("toJSON", 1)
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


@_builtin("fromJSON", 1)
def _from_json(evaluator: Evaluator, value: Any) -> Steps:
    text = yield _text(evaluator, value, "fromJSON")
    try:
        return adopt(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise Fault(f"fromJSON takes JSON: {error}") from None


# Lists.


@_builtin("map", 2)
def _map(evaluator: Evaluator, function: Any, values: Any) -> Steps:
    found = yield _list(evaluator, values, "map")
    return [_later(evaluator, function, value) for value in found]


@_builtin("filter", 2)
def _filter(evaluator: Evaluator, function: Any, values: Any) -> Steps:
    kept = []
    for value in (yield _list(evaluator, values, "filter")):
        if (yield _truth(evaluator, function, value)):
            kept.append(value)  # noqa: PERF401
    return kept


@_builtin("length", 1)
def _length(evaluator: Evaluator, values: Any) -> Steps:
    return len((yield _list(evaluator, values, "length")))


@_builtin("head", 1)
def _head(evaluator: Evaluator, values: Any) -> Steps:
    found = yield _list(evaluator, values, "head")
    if not found:
        raise Fault("The list is empty, so it has no first element")
    return (yield evaluator.force(found[0]))


@_builtin("tail", 1)
def _tail(evaluator: Evaluator, values: Any) -> Steps:
    found = yield _list(evaluator, values, "tail")
    if not found:
        raise Fault("The list is empty, so it has no tail")
    return found[1:]


@_builtin("elemAt", 2)
def _elem_at(evaluator: Evaluator, values: Any, index: Any) -> Steps:
    found = yield _list(evaluator, values, "elemAt")
    position = yield _integer(evaluator, index, "elemAt")
    if not 0 <= position < len(found):
        raise Fault(f"The list has {len(found)} elements, and none at {position}")
    return (yield evaluator.force(found[position]))


@_builtin("elem", 2)
def _elem(evaluator: Evaluator, value: Any, values: Any) -> Steps:
    wanted = yield evaluator.force(value)
    for item in (yield _list(evaluator, values, "elem")):
        if (yield equal(evaluator, wanted, (yield evaluator.force(item)))):
            return True
    return False


@_builtin("concatLists", 1)
def _concat_lists(evaluator: Evaluator, lists: Any) -> Steps:
    joined: list[Any] = []
    for item in (yield _list(evaluator, lists, "concatLists")):
        joined.extend((yield _list(evaluator, item, "concatLists")))
    return joined


@_builtin("concatMap", 2)
def _concat_map(evaluator: Evaluator, function: Any, values: Any) -> Steps:
    mapped = yield _map(evaluator, function, values)
    return (yield _concat_lists(evaluator, mapped))


@_builtin("concatStringsSep", 2)
def _concat_strings_sep(evaluator: Evaluator, separator: Any, values: Any) -> Steps:
    between = yield _text(evaluator, separator, "concatStringsSep")
    parts: list[str] = []
    for index, item in enumerate((yield _list(evaluator, values, "concatStringsSep"))):
        if index:
            parts.append(between)
        parts.append((yield coerce(evaluator, (yield evaluator.force(item)))))
    return concatenate(evaluator, parts)


@_builtin("genList", 2)
def _gen_list(evaluator: Evaluator, function: Any, count: Any) -> Steps:
    size = yield _integer(evaluator, count, "genList")
    if size < 0:
        raise Fault(f"A list cannot have {size} elements")
    evaluator.spend(size)
    return [_later(evaluator, function, index) for index in range(size)]


@_builtin("all", 2)
def _all(evaluator: Evaluator, function: Any, values: Any) -> Steps:
    for value in (yield _list(evaluator, values, "all")):
        if not (yield _truth(evaluator, function, value)):
            return False
    return True


@_builtin("any", 2)
def _any(evaluator: Evaluator, function: Any, values: Any) -> Steps:
    for value in (yield _list(evaluator, values, "any")):
        if (yield _truth(evaluator, function, value)):
            return True
    return False


@_builtin("foldl'", 3)
def _fold(evaluator: Evaluator, function: Any, start: Any, values: Any) -> Steps:
    step = yield evaluator.force(function)
    result = yield evaluator.force(start)
    for value in (yield _list(evaluator, values, "foldl'")):
        once = yield apply(evaluator, step, Thunk(None, None, result))
        result = yield apply(evaluator, once, value)
    return result


@_builtin("sort", 2)
def _sort(evaluator: Evaluator, before: Any, values: Any) -> Steps:
    """A merge sort, as each comparison is a computation of its own."""
    found = yield _list(evaluator, values, "sort")
    runs = [[item] for item in found]
    while len(runs) > 1:
        merged = []
        for index in range(0, len(runs), 2):
            left, right = runs[index], (runs[index + 1] if index + 1 < len(runs) else [])
            result, i, j = [], 0, 0
            while i < len(left) and j < len(right):
                if (yield _truth(evaluator, before, right[j], left[i])):
                    result.append(right[j])
                    j += 1
                else:
                    result.append(left[i])
                    i += 1
            merged.append([*result, *left[i:], *right[j:]])
        runs = merged
    return runs[0] if runs else []


# Sets.


@_builtin("attrNames", 1)
def _attr_names(evaluator: Evaluator, value: Any) -> Steps:
    return sorted((yield _set(evaluator, value, "attrNames")).attributes)


@_builtin("attrValues", 1)
def _attr_values(evaluator: Evaluator, value: Any) -> Steps:
    found = yield _set(evaluator, value, "attrValues")
    return [attribute.value for _name, attribute in sorted(found.attributes.items())]


@_builtin("hasAttr", 2)
def _has_attr(evaluator: Evaluator, name: Any, value: Any) -> Steps:
    wanted = yield _text(evaluator, name, "hasAttr")
    found = yield evaluator.force(value)
    if isinstance(found, AttributeSet):
        return wanted in found.attributes
    if not _is_set(found):
        raise Fault(f"hasAttr takes a set, not {describe(found)}")
    try:
        attribute_of(found, wanted)
    except Exception as error:
        if is_missing(error):
            return False
        raise
    return True


@_builtin("getAttr", 2)
def _get_attr(evaluator: Evaluator, name: Any, value: Any) -> Steps:
    wanted = yield _text(evaluator, name, "getAttr")
    found = yield evaluator.force(value)
    if not isinstance(found, AttributeSet) and _is_set(found):
        return attribute_of(found, wanted)
    attributes = (yield _set(evaluator, found, "getAttr")).attributes
    if wanted not in attributes:
        raise Fault(f"The set has no attribute {wanted!r}")
    return (yield evaluator.force(attributes[wanted].value))


@_builtin("removeAttrs", 2)
def _remove_attrs(evaluator: Evaluator, value: Any, names: Any) -> Steps:
    attributes = dict((yield _set(evaluator, value, "removeAttrs")).attributes)
    for item in (yield _list(evaluator, names, "removeAttrs")):
        attributes.pop((yield _text(evaluator, item, "removeAttrs")), None)
    return AttributeSet(attributes)


@_builtin("intersectAttrs", 2)
def _intersect_attrs(evaluator: Evaluator, left: Any, right: Any) -> Steps:
    names = (yield _set(evaluator, left, "intersectAttrs")).attributes
    found = yield _set(evaluator, right, "intersectAttrs")
    return AttributeSet({n: a for n, a in found.attributes.items() if n in names})


@_builtin("mapAttrs", 2)
def _map_attrs(evaluator: Evaluator, function: Any, value: Any) -> Steps:
    found = yield _set(evaluator, value, "mapAttrs")
    return AttributeSet({
        name: Attribute(_later(evaluator, function, name, old.value), old.name_start, old.name_end)
        for name, old in found.attributes.items()
    })  # fmt: skip


@_builtin("listToAttrs", 1)
def _list_to_attrs(evaluator: Evaluator, values: Any) -> Steps:
    result: dict[str, Attribute] = {}
    for item in (yield _list(evaluator, values, "listToAttrs")):
        pair = (yield _set(evaluator, item, "listToAttrs")).attributes
        if "name" not in pair or "value" not in pair:
            raise Fault("listToAttrs takes a list of sets like { name = ...; value = ...; }")
        name = yield _text(evaluator, pair["name"].value, "listToAttrs")
        result.setdefault(str(name), pair["value"])
    return AttributeSet(result)


@_builtin("catAttrs", 2)
def _cat_attrs(evaluator: Evaluator, name: Any, values: Any) -> Steps:
    wanted, found = (yield _text(evaluator, name, "catAttrs")), []
    for item in (yield _list(evaluator, values, "catAttrs")):
        attributes = (yield _set(evaluator, item, "catAttrs")).attributes
        if wanted in attributes:
            found.append(attributes[wanted].value)
    return found


@_builtin("functionArgs", 1)
def _function_args(evaluator: Evaluator, value: Any) -> Steps:
    function = yield evaluator.force(value)
    formals = function.function.formals if isinstance(function, Lambda) else None
    return AttributeSet.of({f.name: f.default is not None for f in formals or ()})


# Numbers and order.


def _calculation(symbol: str) -> _Function:
    def function(evaluator: Evaluator, left: Any, right: Any) -> Steps:
        first = yield evaluator.force(left)
        return arithmetic(symbol, first, (yield evaluator.force(right)))

    return function


for _name, _symbol in {"add": "+", "sub": "-", "mul": "*", "div": "/"}.items():
    _FUNCTIONS[_name] = Builtin(_name, 2, _calculation(_symbol))


@_builtin("lessThan", 2)
def _less_than(evaluator: Evaluator, left: Any, right: Any) -> Steps:
    first = yield evaluator.force(left)
    return (yield less_than(evaluator, first, (yield evaluator.force(right))))


def _rounding(name: str, function: Callable[[float], int]) -> _Function:
    def steps(evaluator: Evaluator, value: Any) -> Steps:
        found = number((yield evaluator.force(value)), f"What {name} takes")
        if not math.isfinite(found):
            raise Fault(f"{name} takes a finite number")
        return arithmetic("+", function(found), 0)

    return steps


_FUNCTIONS["ceil"] = Builtin("ceil", 1, _rounding("ceil", math.ceil))
_FUNCTIONS["floor"] = Builtin("floor", 1, _rounding("floor", math.floor))


# Order of evaluation.


@_builtin("seq", 2)
def _seq(evaluator: Evaluator, first: Any, second: Any) -> Steps:
    yield evaluator.force(first)
    return (yield evaluator.force(second))


@_builtin("deepSeq", 2)
def _deep_seq(evaluator: Evaluator, first: Any, second: Any) -> Steps:
    yield to_plain(evaluator, (yield evaluator.force(first)))
    return (yield evaluator.force(second))


@_builtin("trace", 2)
def _trace(evaluator: Evaluator, _message: Any, value: Any) -> Steps:
    # Says nothing: a cell's value has no side effects.
    return (yield evaluator.force(value))
