"""What a container's configuration may hold, and what is said to someone who wrote otherwise.

The table `FIELDS` has every field of the OCI's image configuration and of Docker's, in the order
in which they are written. `complaint` looks at one value that a person wrote.

    >>> complaint(FIELDS["Cmd"], "/bin/sh")
    ('is a list of strings, not a string.', 'Write Cmd = [ "/bin/sh" ];')
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

__all__ = ["FIELDS", "MISTAKEN_NAMES", "Field", "Kind", "complaint", "unfit"]


class Kind(enum.Enum):
    """What stands in a field."""

    STRING = "a string"
    STRINGS = "a list of strings"
    SET = "a set whose values are empty sets"
    MAP = "a set of strings"
    BOOLEAN = "true or false"
    INTEGER = "an integer"
    HEALTHCHECK = "a set with Test, Interval, Timeout, ..."


class Field(NamedTuple):
    """One field: its name, the attribute of `ContainerConfig` (empty: kept in `extra`), its kind.

    `is_written_empty`: whether an empty value says something that an absent one does not.
    """

    name: str
    attribute: str
    kind: Kind
    is_written_empty: bool = False


FIELDS: dict[str, Field] = {
    field.name: field
    for field in (
        Field("User", "user", Kind.STRING),
        Field("ExposedPorts", "exposed_ports", Kind.SET),
        Field("Env", "env", Kind.STRINGS),
        Field("Entrypoint", "entrypoint", Kind.STRINGS, is_written_empty=True),
        Field("Cmd", "cmd", Kind.STRINGS, is_written_empty=True),
        Field("Volumes", "volumes", Kind.SET),
        Field("WorkingDir", "working_dir", Kind.STRING),
        Field("Labels", "labels", Kind.MAP),
        Field("StopSignal", "stop_signal", Kind.STRING),
        Field("StopTimeout", "stop_timeout_s", Kind.INTEGER, is_written_empty=True),
        Field("ArgsEscaped", "args_escaped", Kind.BOOLEAN),
        Field("Memory", "memory_bytes", Kind.INTEGER),
        Field("MemorySwap", "memory_swap_bytes", Kind.INTEGER),
        Field("CpuShares", "cpu_shares", Kind.INTEGER),
        Field("Healthcheck", "healthcheck", Kind.HEALTHCHECK),
        Field("OnBuild", "on_build", Kind.STRINGS),
        Field("Shell", "shell", Kind.STRINGS, is_written_empty=True),
        # Docker writes these into every configuration, and ignores them when it runs one.
        Field("Hostname", "", Kind.STRING),
        Field("Domainname", "", Kind.STRING),
        Field("AttachStdin", "", Kind.BOOLEAN),
        Field("AttachStdout", "", Kind.BOOLEAN),
        Field("AttachStderr", "", Kind.BOOLEAN),
        Field("Tty", "", Kind.BOOLEAN),
        Field("OpenStdin", "", Kind.BOOLEAN),
        Field("StdinOnce", "", Kind.BOOLEAN),
        Field("NetworkDisabled", "", Kind.BOOLEAN),
        Field("MacAddress", "", Kind.STRING),
        Field("Image", "", Kind.STRING),
        Field("Cpuset", "", Kind.STRING),
    )
}

MISTAKEN_NAMES: dict[str, str] = {
    # What other tools call the same thing, in lower case without underscores.
    "command": "Cmd",
    "args": "Cmd",
    "environment": "Env",
    "envs": "Env",
    "expose": "ExposedPorts",
    "ports": "ExposedPorts",
    "workdir": "WorkingDir",
    "cwd": "WorkingDir",
    "volume": "Volumes",
    "label": "Labels",
}

_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(?:tcp|udp|sctp))?", re.ASCII)
_SIGNAL = re.compile(r"(?:SIG)?[A-Z][A-Z0-9+-]*|\d{1,2}", re.ASCII)
_ENV_ENTRY = re.compile(r"[^=\0]+=[^\0]*", re.DOTALL)
_HEALTH_FIELDS = ("Test", "Interval", "Timeout", "StartPeriod", "StartInterval", "Retries")
_MILLISECOND_NS = 1_000_000

Complaint = tuple[str, str | None]
"""What is wrong (goes on after the field's name), and how it is written."""


def _quoted(text: Any) -> str:
    return json.dumps(str(text), ensure_ascii=False)


def _called(value: Any) -> str:
    """What a person calls this value, in the cells' language."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    for kind, name in ((str, "a string"), (int, "a number"), (float, "a number"),
                       (Mapping, "a set"), (list | tuple, "a list")):  # fmt: skip
        if isinstance(value, kind):
            return name
    return f"a {type(value).__name__}"


def unfit(text: str) -> str | None:
    """What in a string no configuration can hold: a NUL, or a byte that was no UTF-8."""
    if "\0" in text:
        return "a NUL character"
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        return "half a character (bytes that are not UTF-8)"
    return None


def complaint(field: Field, value: Any) -> Complaint | None:
    """What is wrong with the value that a person gave a field; None if nothing is."""
    return _CHECKS[field.kind](field, value)


def _wrong(field: Field, value: Any, hint: str | None = None) -> Complaint:
    return f"is {field.kind.value}, not {_called(value)}.", hint


def _string(field: Field, value: Any) -> Complaint | None:
    if not isinstance(value, str):
        number = isinstance(value, int) and not isinstance(value, bool)
        return _wrong(field, value, f'Write {field.name} = "{value}";' if number else None)
    if bad := unfit(value):
        return f"has in it {bad}.", None
    if field.name == "WorkingDir" and value and not value.startswith("/"):
        return f"is an absolute path, not {_quoted(value)}.", f"Write {_quoted('/' + value)}."
    if field.name == "StopSignal" and value and not _SIGNAL.fullmatch(value):
        return f"is no signal: {_quoted(value)}.", 'Write StopSignal = "SIGTERM";'
    return None


def _strings(field: Field, value: Any) -> Complaint | None:
    if isinstance(value, str):
        return _wrong(field, value, f"Write {field.name} = [ {_quoted(value)} ];")
    if isinstance(value, Mapping):
        hint = None
        if field.name == "Env":
            shown = " ".join(_quoted(f"{k}={v}") for k, v in list(value.items())[:3])
            hint = f"Write Env = [ {shown} ];"
        return _wrong(field, value, hint)
    if not isinstance(value, list | tuple):
        return _wrong(field, value)
    for index, item in enumerate(value):
        if not isinstance(item, str):
            number = isinstance(item, int | float) and not isinstance(item, bool)
            hint = f"Write {_quoted(item)}, in quotes." if number else None
            return f"is a list of strings, but [{index}] is {_called(item)}.", hint
        if bad := unfit(item):
            return f"has in [{index}]: {bad}.", None
        if field.name == "Env" and not _ENV_ENTRY.fullmatch(item):
            name = item.lstrip("=") or "NAME"
            return f"has no NAME=value at [{index}]: {_quoted(item)}.", f'Write "{name}=value".'
    return None


def _set(field: Field, value: Any) -> Complaint | None:
    example = "6379/tcp" if field.name == "ExposedPorts" else "/data"
    if not isinstance(value, Mapping):
        keys = value if isinstance(value, list | tuple) else [value]
        if not keys or not all(isinstance(key, str | int) for key in keys):
            keys = [example]
        shown = " ".join(f"{_quoted(key)} = {{}};" for key in keys[:3])
        return _wrong(field, value, f"Write {field.name} = {{ {shown} }};")
    for key, item in value.items():
        if bad := unfit(key):
            return f"has in it {bad}.", None
        if item is not None and not (isinstance(item, Mapping) and not item):
            return (
                f"is a set whose values are empty sets; {_quoted(key)} has {_called(item)}.",
                f"Write {field.name} = {{ {_quoted(key)} = {{}}; }};",
            )
        found = _port(key) if field.name == "ExposedPorts" else _volume(key)
        if found:
            return found
    return None


def _port(key: str) -> Complaint | None:
    match = _PORT.fullmatch(key)
    if not match:
        return f"has no port at {_quoted(key)}.", "Write port, port/tcp, port/udp or port/sctp."
    first, last = int(match[1]), int(match[2] or match[1])
    if not 0 < first <= last < 65536:
        return f"has no port at {_quoted(key)}.", "Ports go from 1 to 65535."
    return None


def _volume(key: str) -> Complaint | None:
    if not key.startswith("/"):
        return f"has no absolute path at {_quoted(key)}.", f"Write {_quoted('/' + key)} = {{}};"
    return None


def _map(field: Field, value: Any) -> Complaint | None:
    if not isinstance(value, Mapping):
        return _wrong(field, value, f'Write {field.name} = {{ "key" = "value"; }};')
    for key, item in value.items():
        if not isinstance(item, str):
            number = isinstance(item, int | float) and not isinstance(item, bool)
            hint = f"Write {_quoted(key)} = {_quoted(item)};" if number else None
            return f"is a set of strings, but {_quoted(key)} is {_called(item)}.", hint
        if bad := unfit(key) or unfit(item):
            return f"has in it {bad}.", None
    return None


def _boolean(field: Field, value: Any) -> Complaint | None:
    return None if isinstance(value, bool) else _wrong(field, value)


def _integer(field: Field, value: Any) -> Complaint | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return _wrong(field, value)
    minimum = -1 if field.name in ("MemorySwap", "StopTimeout") else 0
    if not minimum <= value < 1 << 63:
        return f"is a number from {minimum} to 9223372036854775807, not {value}.", None
    return None


def _healthcheck(field: Field, value: Any) -> Complaint | None:
    if not isinstance(value, Mapping):
        return _wrong(field, value, 'Write Healthcheck = { Test = [ "CMD" "/bin/check" ]; };')
    for name, item in value.items():
        if name not in _HEALTH_FIELDS:
            known = ", ".join(_HEALTH_FIELDS)
            return f"has no field {_quoted(name)}.", f"Its fields are {known}."
        if item is None:
            continue
        if name == "Test":
            found = _strings(Field("Test", "", Kind.STRINGS), item)
            if found:
                return f"has a field Test, which {found[0]}", found[1]
            if item and item[0] not in ("NONE", "CMD", "CMD-SHELL", ""):
                return (
                    f"has a Test that begins with {_quoted(item[0])}.",
                    f'Write Test = [ "CMD" {" ".join(map(_quoted, item[:3]))} ];',
                )
            continue
        found = _integer(Field(name, "", Kind.INTEGER), item)
        if found:
            return f"has a field {name}, which {found[0]}", found[1]
        if name != "Retries" and 0 < item < _MILLISECOND_NS:
            return (
                f"has {name} = {item}, which is below a millisecond: it counts nanoseconds.",
                f"For {item} seconds write {name} = {item * 1_000_000_000};",
            )
    return None


_CHECKS: dict[Kind, Callable[[Field, Any], Complaint | None]] = {
    Kind.STRING: _string,
    Kind.STRINGS: _strings,
    Kind.SET: _set,
    Kind.MAP: _map,
    Kind.BOOLEAN: _boolean,
    Kind.INTEGER: _integer,
    Kind.HEALTHCHECK: _healthcheck,
}
