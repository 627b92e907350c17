"""Calls of public functions: refused with the nearest name, and told of in the caller's words.

One mapping serves cells and Python: a cell says ``fromImage`` where Python says ``from_image``.
Errors name an argument as whoever called does, so they ask here what it is called.

    @checked                                    # build_image(nmae=...) names the nearest
    def build_image(name, *, max_layers): ...
        raise ArgumentError(f"{argument_name('max_layers')} must be above 1.")

>>> argument_name("max_layers")
'max_layers'
>>> with called_by_cell(), renamed(memory_mib="build_vm_memory_size"):
...     argument_name("max_layers"), argument_name("memory_mib")
('maxLayers', 'buildVMMemorySize')
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import ParamSpec, TypeVar

from nbdock.errors import MissingArgumentError, UnknownArgumentError, nearest

__all__ = [
    "argument_name",
    "called_by_cell",
    "cell_name",
    "checked",
    "is_called_by_cell",
    "renamed",
    "unknown_argument",
]

P = ParamSpec("P")
R = TypeVar("R")

_CELL_NAMES = {"include_nix_db": "includeNixDB", "build_vm_memory_size": "buildVMMemorySize"}
_by_cell: contextvars.ContextVar[bool] = contextvars.ContextVar("nbdock_by_cell", default=False)
_renamed: contextvars.ContextVar[tuple[Mapping[str, str], ...]] = contextvars.ContextVar(
    "nbdock_renamed", default=()
)


def cell_name(parameter: str) -> str:
    """The name of a Python parameter in a cell: dockerTools' own."""
    if parameter in _CELL_NAMES:
        return _CELL_NAMES[parameter]
    first, *rest = parameter.split("_")
    return first + "".join(word.capitalize() for word in rest)


def argument_name(parameter: str) -> str:
    """What whoever called calls a parameter: by default as it stands in Python."""
    for names in reversed(_renamed.get()):
        parameter = names.get(parameter, parameter)
    return cell_name(parameter) if _by_cell.get() and parameter.isidentifier() else parameter


def is_called_by_cell() -> bool:
    """Whether the call is one that a cell of dockerTools' text makes."""
    return _by_cell.get()


@contextlib.contextmanager
def called_by_cell() -> Iterator[None]:
    """What is called in this block is called by a cell, in dockerTools' names."""
    before = _by_cell.set(True)
    try:
        yield
    finally:
        _by_cell.reset(before)


@contextlib.contextmanager
def renamed(**names: str) -> Iterator[None]:
    """Parameters of what is called in this block are known to the caller by other names."""
    before = _renamed.set((*_renamed.get(), names))
    try:
        yield
    finally:
        _renamed.reset(before)


def unknown_argument(name: str, known: Iterable[str], where: str) -> UnknownArgumentError:
    """The error for an argument that `where` does not take, with the nearest that it does."""
    names = sorted(known)
    close = nearest(name, names, count=1)
    takes = f"It takes: {', '.join(names)}." if names else "It takes no arguments."
    return UnknownArgumentError(
        f"{where} has no argument {name!r}.",
        argument=name,
        hint=f"Did you mean {close[0]}?" if close else takes,
    )


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Refuse unknown, missing and superfluous arguments with nbdock's own errors.

    For functions, and for methods in the body of their class.

    Raises
    ------
    UnknownArgumentError
        A name that is none of its arguments, with the nearest; or too many without a name.
    MissingArgumentError
        One that has to be given.
    """
    signature = inspect.signature(function)
    where = f"{function.__qualname__.lstrip('_')}()"
    parameters = {n: p for n, p in signature.parameters.items() if n not in ("self", "cls")}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise _refusal(str(error), kwargs) from None
        return function(*args, **kwargs)

    def _refusal(said: str, given: Iterable[str]) -> UnknownArgumentError | MissingArgumentError:
        for name in given:
            if name not in parameters and not takes_any:
                return unknown_argument(name, parameters, where)
        if said.startswith("missing"):
            name = said.rpartition("argument: ")[2].strip("'")
            return MissingArgumentError(
                f"{where} needs the argument {name!r}.",
                argument=name,
                hint=f'Add it, for example: {name} = "hello"' if name == "name" else None,
            )
        if said.startswith("multiple"):
            name = said.rpartition("argument ")[2].strip("'")
            return UnknownArgumentError(
                f"{where} is given {name!r} twice: in its place, and by name.", argument=name
            )
        named = [n for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY]
        return UnknownArgumentError(
            f"{where} is given too many arguments without a name.",
            hint=f"These are given by name: {', '.join(named)}." if named else None,
        )

    return call
