"""Where cells meet Python: looking names up, selecting from objects, calling functions.

Nothing runs that the caller did not hand over. Attributes whose names begin with `_` do not exist
for a cell; a callable that is only reachable as an attribute (`os.system`) can be passed on, not
called. Items come before attributes: a package set's packages before its methods.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from nbdock.errors import (
    CellError,
    ImageNotFoundError,
    NbdockError,
    PackageNotFoundError,
    nearest,
)
from nbdock.nixlang.values import Fault, Withheld, adopt, capital, describe

__all__ = [
    "Missing",
    "Names",
    "attribute_of",
    "call",
    "find_name",
    "is_missing",
    "known_names",
    "suggestion",
]

Names = Mapping[str, object] | Callable[[str], object]
"""The free names of a cell: a mapping, or a function that raises KeyError for unknown names."""

_CAPITAL = re.compile(r"(?<=[a-z0-9])([A-Z])")
_MISSING = (PackageNotFoundError, ImageNotFoundError)
_SUGGESTION_LIMIT = 5000


class Missing(Fault):
    """An attribute that an object does not have."""


def is_missing(error: Exception) -> bool:
    """Whether an error says no more than that there is no such attribute."""
    return isinstance(error, Missing)


def find_name(names: Names, name: str) -> tuple[bool, Any]:
    """Whether Python defines a name, and its value."""
    if name.startswith("__"):
        return False, None
    try:
        return True, adopt(names[name] if isinstance(names, Mapping) else names(name))
    except KeyError:
        return False, None


def known_names(names: Names) -> list[str]:
    """The names there are, as far as that can be told."""
    if isinstance(names, Mapping):
        return [name for name in names if isinstance(name, str) and not name.startswith("_")]
    listed = getattr(names, "known_names", None)
    return [str(name) for name in listed()] if callable(listed) else []


def attribute_of(subject: Any, name: str) -> Any:
    """`subject.name` in a cell: an item, else an attribute, by Python's spelling if need be.

    That is `_` for `-`, and `image_name` for `imageName`.

    Raises
    ------
    Fault
        There is no such thing; the error of the object itself, if it gave one, is the cause.
    """
    if isinstance(subject, Withheld):
        subject = subject.value
    problem: Exception | None = None
    if isinstance(subject, Mapping):
        try:
            return adopt(subject[name])
        except KeyError as error:
            problem = error
    if name.startswith("_"):
        raise Fault(
            f"{name!r} cannot be selected from {describe(subject)}",
            "Names that begin with `_` are private in Python; bind the value to a name in Python.",
        )
    if hasattr(type(subject), "__getitem__") and not isinstance(subject, Mapping):
        try:
            return adopt(subject[name])
        except Exception as error:
            if isinstance(error, NbdockError) and not isinstance(error, _MISSING):
                raise
            problem = error
    snake = _CAPITAL.sub(r"_\1", name).lower()
    for spelling in dict.fromkeys((name, name.replace("-", "_"), snake)):
        if not spelling.isidentifier() or spelling.startswith("_"):
            continue
        try:
            value = getattr(subject, spelling)
        except AttributeError:
            continue
        except _MISSING as error:
            problem = problem if isinstance(problem, _MISSING) else error
            continue
        except NbdockError:
            raise
        except Exception as error:
            raise Fault(
                f"Reading .{name} of {describe(subject)} failed: {_shown(error)}"
            ) from error
        value = adopt(value)
        marked = getattr(value, "nix_takes_keywords", False) is True
        return Withheld(value, name) if callable(value) and not marked else value
    if isinstance(problem, _MISSING):
        missing = Missing(problem.message, problem.hint)
        raise missing from problem
    raise Missing(
        f"{capital(describe(subject))} has no attribute {name!r}",
        _instead(subject, name) or suggestion(name, _public_names(subject)),
    )


def _instead(subject: Any, attribute: str) -> str | None:
    """What to write in place of an attribute of a function that is yet to be called."""
    name = getattr(subject, "__name__", "")
    if not inspect.isroutine(subject) or not name.isidentifier():
        return None
    if other := getattr(subject, "nix_attributes_of", ""):
        return f"Write {other}.{attribute}: {name} is a function, which is called with arguments."
    if getattr(subject, "nix_takes_keywords", False) is True:
        return f"It is a function: call it, as in ({name} {{ }}).{attribute}."
    return f"It is a function: call it in Python first, as in {name} = {name}()."


def suggestion(name: str, known: Iterable[str]) -> str | None:
    """`Did you mean x or y?`, if some name is near."""
    close = nearest(name, known)
    return f"Did you mean {' or '.join(close)}?" if close else None


def _public_names(subject: Any) -> list[str]:
    try:
        keys = list(subject) if isinstance(subject, Mapping) else dir(subject)
    except Exception:
        return []
    return [k for k in keys if isinstance(k, str) and not k.startswith("_")][:_SUGGESTION_LIMIT]


def _shown(error: Exception) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def call(function: Any, argument: Any) -> Any:
    """Call what Python provides with one plain value.

    Raises
    ------
    Fault
        It failed; the cause is its own error.
    """
    name = getattr(function, "__name__", None) or describe(function)
    try:
        if getattr(function, "nix_takes_keywords", False) is True:
            if not isinstance(argument, dict):
                raise Fault(f"{name} takes a set of arguments, not {describe(argument)}",
                            f"Write `{name} {{ name = value; }}`.")  # fmt: skip
            result = function(**argument)
        else:
            result = function(argument)
    except (Fault, CellError):
        raise
    except NbdockError as error:
        raise Fault(error.message, error.hint) from error
    except Exception as error:
        raise Fault(f"Calling {name} failed: {_shown(error)}") from error
    if inspect.iscoroutine(result):
        result.close()
        raise Fault(
            f"{name} is asynchronous and gives no value here",
            f"Await it in Python first: `value = await {name}(...)`, and use the name `value`.",
        )
    return adopt(result)
