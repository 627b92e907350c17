"""The functions of the language that work on lists and sets: `map`, `attrNames`, `foldl'`, ..."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbdock.nixlang.application import apply
from nbdock.nixlang.builtin_scalars import is_set
from nbdock.nixlang.builtin_support import (
    builtin,
    integer_of,
    later,
    list_of,
    set_of,
    text_of,
    truth_of,
)
from nbdock.nixlang.coercion import coerce, concatenate, equal
from nbdock.nixlang.interop import attribute_of, is_missing
from nbdock.nixlang.trampoline import Steps
from nbdock.nixlang.values import (
    Attribute,
    AttributeSet,
    Fault,
    Lambda,
    Thunk,
    describe,
)

if TYPE_CHECKING:
    from nbdock.nixlang.evaluation import Evaluator


__all__: list[str] = []

# Lists.


@builtin("map", 2)
def _map(evaluator: Evaluator, function: Any, values: Any) -> Steps:
    found = yield list_of(evaluator, values, "map")
    return [later(evaluator, function, value) for value in found]


@builtin("filter", 2)
def _filter(evaluator: Evaluator, function: Any, values: Any) -> Steps:
    kept = []
    for value in (yield list_of(evaluator, values, "filter")):
        if (yield truth_of(evaluator, function, value)):
            kept.append(value)  # noqa: PERF401
    return kept


@builtin("length", 1)
def _length(evaluator: Evaluator, values: Any) -> Steps:
    return len((yield list_of(evaluator, values, "length")))


@builtin("head", 1)
def _head(evaluator: Evaluator, values: Any) -> Steps:
    found = yield list_of(evaluator, values, "head")
    if not found:
        raise Fault("The list is empty, so it has no first element")
    return (yield evaluator.force(found[0]))


@builtin("tail", 1)
def _tail(evaluator: Evaluator, values: Any) -> Steps:
    found = yield list_of(evaluator, values, "tail")
    if not found:
        raise Fault("The list is empty, so it has no tail")
    return found[1:]


@builtin("elemAt", 2)
def _elem_at(evaluator: Evaluator, values: Any, index: Any) -> Steps:
    found = yield list_of(evaluator, values, "elemAt")
    position = yield integer_of(evaluator, index, "elemAt")
    if not 0 <= position < len(found):
        raise Fault(f"The list has {len(found)} elements, and none at {position}")
    return (yield evaluator.force(found[position]))


@builtin("elem", 2)
def _elem(evaluator: Evaluator, value: Any, values: Any) -> Steps:
    wanted = yield evaluator.force(value)
    for item in (yield list_of(evaluator, values, "elem")):
        if (yield equal(evaluator, wanted, (yield evaluator.force(item)))):
            return True
    return False


@builtin("concatLists", 1)
def _concat_lists(evaluator: Evaluator, lists: Any) -> Steps:
    joined: list[Any] = []
    for item in (yield list_of(evaluator, lists, "concatLists")):
        joined.extend((yield list_of(evaluator, item, "concatLists")))
    return joined


@builtin("concatMap", 2)
def _concat_map(evaluator: Evaluator, function: Any, values: Any) -> Steps:
    mapped = yield _map(evaluator, function, values)
    return (yield _concat_lists(evaluator, mapped))


@builtin("concatStringsSep", 2)
def _concat_strings_sep(evaluator: Evaluator, separator: Any, values: Any) -> Steps:
    between = yield text_of(evaluator, separator, "concatStringsSep")
    parts: list[str] = []
    for index, item in enumerate((yield list_of(evaluator, values, "concatStringsSep"))):
        if index:
            parts.append(between)
        parts.append((yield coerce(evaluator, (yield evaluator.force(item)))))
    return concatenate(evaluator, parts)


@builtin("genList", 2)
def _gen_list(evaluator: Evaluator, function: Any, count: Any) -> Steps:
    size = yield integer_of(evaluator, count, "genList")
    if size < 0:
        raise Fault(f"A list cannot have {size} elements")
    evaluator.spend(size)
    return [later(evaluator, function, index) for index in range(size)]


@builtin("all", 2)
def _all(evaluator: Evaluator, function: Any, values: Any) -> Steps:
    for value in (yield list_of(evaluator, values, "all")):
        if not (yield truth_of(evaluator, function, value)):
            return False
    return True


@builtin("any", 2)
def _any(evaluator: Evaluator, function: Any, values: Any) -> Steps:
    for value in (yield list_of(evaluator, values, "any")):
        if (yield truth_of(evaluator, function, value)):
            return True
    return False


@builtin("foldl'", 3)
def _fold(evaluator: Evaluator, function: Any, start: Any, values: Any) -> Steps:
    step = yield evaluator.force(function)
    result = yield evaluator.force(start)
    for value in (yield list_of(evaluator, values, "foldl'")):
        once = yield apply(evaluator, step, Thunk(None, None, result))
        result = yield apply(evaluator, once, value)
    return result


@builtin("sort", 2)
def _sort(evaluator: Evaluator, before: Any, values: Any) -> Steps:
    """A merge sort, as each comparison is a computation of its own."""
    found = yield list_of(evaluator, values, "sort")
    runs = [[item] for item in found]
    while len(runs) > 1:
        merged = []
        for index in range(0, len(runs), 2):
            left, right = runs[index], (runs[index + 1] if index + 1 < len(runs) else [])
            result, i, j = [], 0, 0
            while i < len(left) and j < len(right):
                if (yield truth_of(evaluator, before, right[j], left[i])):
                    result.append(right[j])
                    j += 1
                else:
                    result.append(left[i])
                    i += 1
            merged.append([*result, *left[i:], *right[j:]])
        runs = merged
    return runs[0] if runs else []


# Sets.


@builtin("attrNames", 1)
def _attr_names(evaluator: Evaluator, value: Any) -> Steps:
    return sorted((yield set_of(evaluator, value, "attrNames")).attributes)


@builtin("attrValues", 1)
def _attr_values(evaluator: Evaluator, value: Any) -> Steps:
    found = yield set_of(evaluator, value, "attrValues")
    return [attribute.value for _name, attribute in sorted(found.attributes.items())]


@builtin("hasAttr", 2)
def _has_attr(evaluator: Evaluator, name: Any, value: Any) -> Steps:
    wanted = yield text_of(evaluator, name, "hasAttr")
    found = yield evaluator.force(value)
    if isinstance(found, AttributeSet):
        return wanted in found.attributes
    if not is_set(found):
        raise Fault(f"hasAttr takes a set, not {describe(found)}")
    try:
        attribute_of(found, wanted)
    except Exception as error:
        if is_missing(error):
            return False
        raise
    return True


@builtin("getAttr", 2)
def _get_attr(evaluator: Evaluator, name: Any, value: Any) -> Steps:
    wanted = yield text_of(evaluator, name, "getAttr")
    found = yield evaluator.force(value)
    if not isinstance(found, AttributeSet) and is_set(found):
        return attribute_of(found, wanted)
    attributes = (yield set_of(evaluator, found, "getAttr")).attributes
    if wanted not in attributes:
        raise Fault(f"The set has no attribute {wanted!r}")
    return (yield evaluator.force(attributes[wanted].value))


@builtin("removeAttrs", 2)
def _remove_attrs(evaluator: Evaluator, value: Any, names: Any) -> Steps:
    attributes = dict((yield set_of(evaluator, value, "removeAttrs")).attributes)
    for item in (yield list_of(evaluator, names, "removeAttrs")):
        attributes.pop((yield text_of(evaluator, item, "removeAttrs")), None)
    return AttributeSet(attributes)


@builtin("intersectAttrs", 2)
def _intersect_attrs(evaluator: Evaluator, left: Any, right: Any) -> Steps:
    names = (yield set_of(evaluator, left, "intersectAttrs")).attributes
    found = yield set_of(evaluator, right, "intersectAttrs")
    return AttributeSet({n: a for n, a in found.attributes.items() if n in names})


@builtin("mapAttrs", 2)
def _map_attrs(evaluator: Evaluator, function: Any, value: Any) -> Steps:
    found = yield set_of(evaluator, value, "mapAttrs")
    return AttributeSet({
        name: Attribute(later(evaluator, function, name, old.value), old.name_start, old.name_end)
        for name, old in found.attributes.items()
    })  # fmt: skip


@builtin("listToAttrs", 1)
def _list_to_attrs(evaluator: Evaluator, values: Any) -> Steps:
    result: dict[str, Attribute] = {}
    for item in (yield list_of(evaluator, values, "listToAttrs")):
        pair = (yield set_of(evaluator, item, "listToAttrs")).attributes
        if "name" not in pair or "value" not in pair:
            raise Fault("listToAttrs takes a list of sets like { name = ...; value = ...; }")
        name = yield text_of(evaluator, pair["name"].value, "listToAttrs")
        result.setdefault(str(name), pair["value"])
    return AttributeSet(result)


@builtin("catAttrs", 2)
def _cat_attrs(evaluator: Evaluator, name: Any, values: Any) -> Steps:
    wanted, found = (yield text_of(evaluator, name, "catAttrs")), []
    for item in (yield list_of(evaluator, values, "catAttrs")):
        attributes = (yield set_of(evaluator, item, "catAttrs")).attributes
        if wanted in attributes:
            found.append(attributes[wanted].value)
    return found


@builtin("functionArgs", 1)
def _function_args(evaluator: Evaluator, value: Any) -> Steps:
    function = yield evaluator.force(value)
    formals = function.function.formals if isinstance(function, Lambda) else None
    return AttributeSet.of({f.name: f.default is not None for f in formals or ()})
