"""The values that cells compute with.

Numbers, booleans, None, `str`, `pathlib` paths and Python lists stand for themselves; a set is an
`AttributeSet`; everything else that Python's names are bound to is opaque: it can be passed on,
selected from, and, if its class says how, put into strings.
"""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Callable, Iterable
from pathlib import Path, PurePath
from typing import Any, TypeVar

from nbdock.nixlang.syntax import Function, Node
from nbdock.nixlang.trampoline import Steps

__all__ = [
    "Attribute",
    "AttributeSet",
    "Builtin",
    "ContextString",
    "Environment",
    "Fault",
    "Lambda",
    "Thunk",
    "Withheld",
    "adopt",
    "capital",
    "describe",
    "takes_keywords",
    "with_context",
]

_F = TypeVar("_F", bound=Callable[..., Any])


class ContextString(str):
    """A string that objects were put into; `context` holds them, in order, each once.

    It stays one through concatenation, so that whoever gets it knows what it stands for: the
    closure of an image's configuration includes the packages named in its strings. A path counts as
    an object too.

    Examples
    --------
    >>> text = ContextString("/nix/store/x", (object,)) + "/bin"
    >>> text, text.context
    ('/nix/store/x/bin', (<class 'object'>,))
    """

    context: tuple[object, ...]

    def __new__(cls, text: str, context: Iterable[object] = ()) -> ContextString:
        """Make one; `context` holds the objects."""
        self = super().__new__(cls, text)
        self.context = tuple({id(item): item for item in context}.values())
        return self

    def __add__(self, other: str) -> ContextString:
        added = other.context if isinstance(other, ContextString) else ()
        return ContextString(str.__add__(self, other), (*self.context, *added))

    def __radd__(self, other: str) -> ContextString:
        return ContextString(str.__add__(other, self), self.context)

    def __reduce__(self) -> tuple[type[ContextString], tuple[str, tuple[object, ...]]]:
        return ContextString, (str(self), self.context)


def with_context(text: str, context: Iterable[object]) -> str:
    """A plain string, or a `ContextString` if there are objects."""
    objects = tuple(context)
    return ContextString(text, objects) if objects else text


def takes_keywords(function: _F) -> _F:
    """Mark a callable: a cell's `f { a = 1; }` calls ``f(a=1)``, not ``f({"a": 1})``.

    A marked callable may be called wherever a cell finds it; others only where a name, a dict or
    a call gives them: a method or a function of a module could do anything. If people look for
    attributes in it that something else has, its attribute ``nix_attributes_of`` names that.

    Examples
    --------
    >>> @takes_keywords
    ... def greet(*, name):
    ...     return f"hello {name}"
    """
    function.__dict__["nix_takes_keywords"] = True
    return function


class Fault(Exception):  # noqa: N818
    """Something has no value; becomes a `CellEvaluationError` where the place is known."""

    def __init__(self, message: str, hint: str | None = None, node: Node | None = None) -> None:
        super().__init__(message)
        self.message, self.hint, self.node = message, hint, node


class Thunk:
    """A value that is computed when it is first asked for; `node` is the text it stands for."""

    __slots__ = ("node", "running", "start", "value")

    def __init__(self, start: Callable[[], Steps] | None, node: Node | None, value: Any = None):
        self.start = start
        self.node = node
        self.value = value
        self.running = False


@dataclasses.dataclass(slots=True, eq=False)
class Attribute:
    """A value in a set; the offsets say where its name stands, if it stands in the cell."""

    value: Any
    name_start: int = -1
    name_end: int = -1


class AttributeSet:
    """A set: names and values, some still to be computed."""

    __slots__ = ("attributes",)

    def __init__(self, attributes: dict[str, Attribute]) -> None:
        self.attributes = attributes

    @classmethod
    def of(cls, values: dict[str, Any]) -> AttributeSet:
        """A set of values that do not stand in the cell."""
        return cls({name: Attribute(value) for name, value in values.items()})


class Environment:
    """The names around an expression: a `let`, a `rec`, parameters, or a `with`."""

    __slots__ = ("names", "outer", "scope")

    def __init__(
        self, outer: Environment | None, names: dict[str, Any], scope: Thunk | None = None
    ) -> None:
        self.outer = outer
        self.names = names
        self.scope = scope


@dataclasses.dataclass(slots=True, eq=False)
class Lambda:
    """A function of the cell and the names around it."""

    function: Function
    environment: Environment


@dataclasses.dataclass(slots=True, eq=False)
class Builtin:
    """A function of the language itself; called when it has all its arguments."""

    name: str
    arity: int
    function: Callable[..., Steps]
    arguments: tuple[Any, ...] = ()


@dataclasses.dataclass(slots=True, eq=False)
class Withheld:
    """A callable reached through an attribute: a value like others, but not to be called."""

    value: Any
    name: str


_KEPT = (int, float, bool, type(None), AttributeSet, Lambda, Builtin, Withheld)


def adopt(value: Any) -> Any:
    """A value from Python as the cell sees it: dicts are sets, tuples are lists."""
    if type(value) in _KEPT or isinstance(value, str):
        return value
    if isinstance(value, dict):
        return AttributeSet.of({str(key): item for key, item in value.items()})
    if type(value) is tuple:
        return list(value)
    if isinstance(value, PurePath):
        return Path(value)
    # numpy's numbers, for one.
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) else value


def describe(value: Any) -> str:
    """What kind of value it is, for messages: `a list`, `an integer`, `a DataFrame (Python)`.

    A class says what its objects are called with an attribute ``nix_called``.
    """
    if isinstance(value, Withheld):
        value = value.value
    if isinstance(
        called := getattr(type(value), "nix_called", None), str
    ):  # a package set would load itself
        return called
    for kinds, name in _NAMES:
        if isinstance(value, kinds):
            return name
    name = type(value).__name__
    if callable(value) and name in ("function", "builtin_function_or_method", "method", "type"):
        return f"the Python function {getattr(value, '__name__', name)}"
    if name == "module":
        return f"the Python module {getattr(value, '__name__', name)}"
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def capital(text: str) -> str:
    """The text with a capital at its beginning."""
    return text[:1].upper() + text[1:]


_NAMES: tuple[tuple[Any, str], ...] = (
    (bool, "a boolean"),
    (int, "an integer"),
    (float, "a float"),
    (type(None), "null"),
    (str, "a string"),
    (PurePath, "a path"),
    (list, "a list"),
    (AttributeSet, "a set"),
    ((Lambda, Builtin), "a function"),
)
