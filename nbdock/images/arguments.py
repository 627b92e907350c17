"""What the build functions are called with: names, types, and what is made of them.

How they are called in cells, and that misspelled ones are refused, is `nbdock.calling`'s.

>>> expect("max_layers", "3", int, what="a number")
Traceback (most recent call last):
nbdock.errors.ArgumentTypeError: max_layers must be a number, not a string: '3'
"""

from __future__ import annotations

import inspect
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from nbdock.calling import argument_name, cell_name, is_called_by_cell, unknown_argument
from nbdock.errors import ArgumentTypeError, InvalidReferenceError
from nbdock.oci import Reference
from nbdock.packages import Package

__all__ = [
    "EPOCH",
    "Contents",
    "Moment",
    "Unreferenced",
    "argument_names",
    "context_packages",
    "expect",
    "expect_id",
    "expect_mib",
    "from_cell",
    "packages_as_text",
    "to_moment",
    "to_name",
    "to_packages",
]

Contents = Package | str | os.PathLike[str] | Sequence[object] | None
"""What ``contents`` may be: packages and paths of directories, one or a list."""


class Unreferenced(str):
    """Text whose store paths are not for the image, such as those that are yet to be built."""

    __slots__ = ()


EPOCH = "1970-01-01T00:00:01Z"
"""When everything was made, unless said otherwise: one second past the epoch, as in dockerTools."""

_NOT_IN_CELLS = {"on_layer", "on_log", "progress", "store"}


def argument_names(function: Callable[..., Any]) -> dict[str, str]:
    """The arguments a cell may give to a function: their names in cells and in Python."""
    parameters = inspect.signature(function).parameters
    return {cell_name(name): name for name in parameters if name not in _NOT_IN_CELLS}


def from_cell(
    function: Callable[..., Any], arguments: Mapping[str, object], *, magic: str
) -> dict[str, object]:
    """A cell's arguments under their Python names.

    Raises
    ------
    UnknownArgumentError
        The function has no such argument; the hint names the nearest.
    """
    names = argument_names(function)
    for name in arguments:
        if name not in names:
            raise unknown_argument(name, names, magic)
    return {names[name]: value for name, value in arguments.items()}


def expect(argument: str, value: object, *types: type, what: str) -> None:
    """Refuse a value of another type; ``bool`` does not pass for a number.

    Raises
    ------
    ArgumentTypeError
        Names the argument, what it takes, and what it was given.
    """
    if isinstance(value, types) and (not isinstance(value, bool) or bool in types):
        return
    shown = repr(value)
    if not is_called_by_cell():
        for word, python in _IN_PYTHON.items():
            what = what.replace(word, python)
    raise ArgumentTypeError(
        f"{argument_name(argument)} must be {what}, not {_type_name(value)}: "
        f"{shown if len(shown) <= 60 else shown[:57] + '...'}",
        argument=argument,
    )


def expect_id(argument: str, value: object) -> None:
    """Refuse what is no number of a user or a group.

    Raises
    ------
    ArgumentTypeError
        It is not from 0 to 4294967295.
    """
    expect(argument, value, int, what="a number")
    if not 0 <= cast("int", value) < 1 << 32:
        raise ArgumentTypeError(
            f"{argument_name(argument)} must be from 0 to 4294967295, not {value}.",
            argument=argument,
        )


def expect_mib(argument: str, value: object) -> None:
    """Refuse what is no size of a machine's memory or disk.

    Raises
    ------
    ArgumentTypeError
        It is no whole number, or below one.
    """
    expect(argument, value, int, what="a number of MiB")
    if cast("int", value) < 1:
        raise ArgumentTypeError(
            f"{argument_name(argument)} must be at least 1 MiB, not {value}.", argument=argument
        )


_IN_PYTHON = {"null": "None", "true or false": "True or False", "an attribute set": "a dict"}


def _type_name(value: object) -> str:
    names = {
        bool: "a boolean", str: "a string", int: "a number", float: "a number", list: "a list",
        tuple: "a list", dict: "an attribute set", type(None): "null",
    }  # fmt: skip
    name = names.get(type(value), f"a {type(value).__name__}")
    return name if is_called_by_cell() else _IN_PYTHON.get(name, name)


class Moment(str):
    """A point in time as RFC 3339 text in UTC, with its `seconds` since the epoch."""

    __slots__ = ("seconds",)
    seconds: int

    @classmethod
    def at(cls, time: datetime) -> Moment:
        """The moment of a datetime, to the second."""
        utc = time.astimezone(UTC).replace(microsecond=0)
        moment = cls(utc.strftime("%Y-%m-%dT%H:%M:%SZ"))
        moment.seconds = int(utc.timestamp())
        return moment


def to_moment(argument: str, value: object) -> Moment:
    """``"now"``, a date as ISO 8601, or an aware datetime, as a moment."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ArgumentTypeError(
                f"{argument_name(argument)} has no time zone: {value.isoformat()}.",
                argument=argument,
                hint="Give datetime(..., tzinfo=datetime.UTC).",
            )
        return Moment.at(value)
    expect(argument, value, str, what='a date such as "2024-01-31T12:00:00Z", or "now"')
    text = cast("str", value)
    if text == "now":
        return Moment.at(datetime.now(UTC))
    if match := re.fullmatch(r"@(\d{1,11})", text):
        return Moment.at(datetime.fromtimestamp(int(match[1]), UTC))
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(
            f"{argument_name(argument)} is not a date: {text!r}.",
            argument=argument,
            hint='Write it as ISO 8601, "2024-01-31T12:00:00Z", or "now".',
        ) from None
    return Moment.at(time if time.tzinfo else time.replace(tzinfo=UTC))


def to_name(name: object, tag: object) -> tuple[str, str | None]:
    """An image's name (in lower case, as dockerTools makes it) and tag, both checked."""
    expect("name", name, str, what="a string")
    text = cast("str", name).lower()
    if tag is not None:
        expect("tag", tag, str, what="a string or null")
    try:
        reference = Reference.parse(text)
    except InvalidReferenceError as error:
        raise ArgumentTypeError(
            f"name is not a name for an image: {error.message}", argument="name", hint=error.hint
        ) from error
    if reference.tag or reference.digest:
        alone = text.partition("@")[0].removesuffix(f":{reference.tag}")
        raise ArgumentTypeError(
            f"name holds a tag or a digest: {text!r}.",
            argument="name",
            hint=f'Say name = "{alone}" and give the tag as tag = "...".',
        )
    if tag is not None:
        try:
            reference.with_tag(cast("str", tag))
        except InvalidReferenceError as error:
            raise ArgumentTypeError(
                f"tag is not a tag: {error.message}", argument="tag", hint=error.hint
            ) from error
    return text, cast("str | None", tag)


def _flatten(argument: str, value: object, place: str) -> Iterator[Package]:
    if value is None:
        return
    if isinstance(value, Package):
        yield value.current()
    elif isinstance(value, str | os.PathLike):
        path = os.fspath(value)
        if not path:
            raise ArgumentTypeError(f"{place} is an empty path.", argument=argument)
        # "${pkgs.hello}" is the package itself, wherever its files are.
        meant = [package for package in context_packages(value) if str(package) == path]
        yield from meant[:1] or [_directory(argument, cast("str", path), place)]
    elif isinstance(value, Sequence):
        for position, item in enumerate(value):
            yield from _flatten(argument, item, f"{place}[{position}]")
    else:
        shown = "" if callable(value) else f": {value!r:.60}"
        raise ArgumentTypeError(
            f"{place} must be packages and paths of directories, not {_type_name(value)}{shown}",
            argument=argument,
            hint=f"For example [ {_package('redis-server')} ], or the path of a directory.",
        )


def _directory(argument: str, path: str, place: str) -> Package:
    try:
        from nbdock.packages import directory

        return directory(path)
    except ArgumentTypeError as error:
        if isinstance(error.__cause__, FileNotFoundError) and _PACKAGE_NAME.fullmatch(path):
            raise ArgumentTypeError(
                f"{place} is a text, and so the path of a directory, and there is no directory "
                f"{path!r} in {os.getcwd()!r}.",
                argument=argument,
                hint=f"The package is written without quotes: {_package(path)}"
                if is_called_by_cell() else f"The package is {_package(path)}",
            ) from error  # fmt: skip
        raise ArgumentTypeError(
            f"{place}: {error.message}", argument=argument, hint=error.hint
        ) from error


_PACKAGE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*")


def _package(name: str) -> str:
    """How a package of the machine's own sources is written."""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_'-]*", name)
    return f"apt.{name if plain else json.dumps(name)}" if is_called_by_cell() else (
        f'nbdock.apt()["{name}"]'
    )  # fmt: skip


def to_packages(argument: str, value: object) -> tuple[Package, ...]:
    """What ``contents`` may be, as packages: one, a list (nested too), paths of directories."""
    return tuple(_flatten(argument, value, argument_name(argument)))


def context_packages(value: object) -> Iterator[Package]:
    """The packages in a value: those that stand there, and those that strings were made of."""
    if isinstance(value, Package):
        yield value
    elif isinstance(value, str):
        for item in getattr(value, "context", ()):
            if isinstance(item, Package):
                yield item
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from context_packages(name)
            yield from context_packages(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from context_packages(item)


def packages_as_text(value: object) -> Any:
    """A configuration in which store packages are their places, as Nix writes them. May block."""
    if isinstance(value, Package):
        from nbdock.nixlang import ContextString

        # A package at / has no place of its own; it stays what no configuration can hold.
        return ContextString(str(value), (value,)) if str(value) else value
    if isinstance(value, Mapping):
        return {packages_as_text(k): packages_as_text(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [packages_as_text(item) for item in value]
    return value
