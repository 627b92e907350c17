r"""Which version APT would rather have: the pins of ``preferences`` and ``preferences.d``.

A pin gives a priority to versions by where they come from or what they are called
(apt_preferences(5)). Records for named packages win over records for ``*``; among the first kind
the first that matches decides, among the second the first that matches the version's origin.

    >>> [pin] = parse_preferences("Package: a b*\nPin: release n=sid\nPin-Priority: 5\n", "x")
    >>> pin.names, pin.kind, pin.data, pin.priority
    (('a', 'b*'), 'release', 'n=sid', 5)
"""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from nbdock.errors import SourceConfigurationError
from nbdock.packages.debian.configuration import AptConfiguration, configuration_files

__all__ = ["Origin", "Pin", "Pins", "host_pins", "parse_preferences"]

_KINDS = ("release", "origin", "version")


@dataclasses.dataclass(frozen=True)
class Pin:
    """One record: the names it is for, how it matches (`kind`, `data`), and its priority."""

    names: tuple[str, ...]
    kind: str
    data: str
    priority: int


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where an index comes from, as pins see it: fields of its Release file, and its host."""

    release: Mapping[str, str]
    """By pin letter: ``a`` archive, ``n`` codename, ``o``, ``l``, ``v``, ``c``, ``b``."""
    site: str
    default_priority: int = 500


class Pins:
    """All pins, asked by origin, package name and version."""

    def __init__(self, pins: Sequence[Pin], *, default_release: str = "") -> None:
        # A name of `*` makes a record general, whatever other names stand beside it.
        self._general = [pin for pin in pins if "*" in pin.names]
        self._specific = [pin for pin in pins if any(name != "*" for name in pin.names)]
        if default_release:
            self._general.append(Pin(("*",), "release", default_release, 990))

    def for_origin(self, origin: Origin) -> int:
        """The priority of versions from `origin` that no record names."""
        for pin in self._general:
            if pin.kind != "version" and _matches_origin(pin, origin):
                return pin.priority
        return origin.default_priority

    def has_specific(self) -> bool:
        """Whether `for_package` can ever say anything."""
        return bool(self._specific)

    def for_package(
        self, name: str, source: str, version: str, origins: Iterable[Origin]
    ) -> int | None:
        """The priority that a record for this very package gives, if one does."""
        for pin in self._specific:
            if not any(_matches_name(pattern, name, source) for pattern in pin.names):
                continue
            if (
                _glob(pin.data, version)
                if pin.kind == "version"
                else any(_matches_origin(pin, origin) for origin in origins)
            ):
                return pin.priority
        return None


def _matches_name(pattern: str, name: str, source: str) -> bool:
    if pattern == "*":
        return False
    if pattern.startswith("src:"):
        return _glob(pattern[4:], source)
    return _glob(pattern.partition(":")[0] if not pattern.startswith("/") else pattern, name)


@functools.lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str]:
    if len(text) > 1 and text.startswith("/") and text.endswith("/"):
        try:
            return re.compile(text[1:-1], re.IGNORECASE)
        except re.error:
            return re.compile(r"(?!)")
    return re.compile(fnmatch.translate(text), re.IGNORECASE)


def _glob(pattern: str, text: str) -> bool:
    """APT's matching: a regular expression between slashes (anywhere), else a shell pattern."""
    return _pattern(pattern).search(text) is not None


def _matches_origin(pin: Pin, origin: Origin) -> bool:
    if pin.kind == "origin":
        return _glob(pin.data.strip('"'), origin.site)
    if "=" not in pin.data:
        # Only a word: a version that starts with a digit, else an archive or a codename.
        letters = "v" if pin.data[:1].isdigit() else "an"
        return any(_glob(pin.data, origin.release.get(letter, "")) for letter in letters)
    for part in pin.data.split(","):
        letter, _, wanted = part.strip().partition("=")
        if letter.strip() not in origin.release:
            return False
        if not _glob(wanted.strip(), origin.release[letter.strip()]):
            return False
    return True


def parse_preferences(text: str, path: str) -> list[Pin]:
    """The records of one file.

    Raises
    ------
    SourceConfigurationError
        With file and line.
    """
    found: list[Pin] = []
    fields: dict[str, str] = {}
    name = ""
    start = 0

    def wrong(line: int, what: str) -> SourceConfigurationError:
        return SourceConfigurationError(
            f"{path}, line {line}: {what}.", path=path, line=line,
            hint="A record has the fields Package, Pin and Pin-Priority.",
        )  # fmt: skip

    for line, raw in enumerate([*text.splitlines(), ""], 1):
        if raw.startswith("#"):
            continue
        if not raw.strip():
            if set(fields) - {"explanation"}:
                found.append(_pin(fields, functools.partial(wrong, start)))
            fields, name = {}, ""
        elif raw[0] in " \t":
            if not name:
                raise wrong(line, "a line continues nothing")
            fields[name] += f" {raw.strip()}"
        else:
            title, colon, value = raw.partition(":")
            if not colon:
                raise wrong(line, f"{raw.strip()!r} is not a field")
            name = title.strip().lower()
            start = start if fields else line
            fields[name] = value.strip()
    return found


def _pin(fields: Mapping[str, str], wrong: functools.partial[SourceConfigurationError]) -> Pin:
    names = tuple(fields.get("package", "").split())
    kind, _, data = fields.get("pin", "").partition(" ")
    if not names:
        raise wrong("the record names no Package")
    if kind not in _KINDS:
        raise wrong(f"Pin is release, origin or version, not {kind!r}")
    priority = fields.get("pin-priority", "")
    if not re.fullmatch(r"[+-]?\d{1,5}", priority):
        raise wrong(f"Pin-Priority is a number, not {priority!r}")
    return Pin(names, kind, data.strip(), int(priority))


def host_pins(configuration: AptConfiguration) -> tuple[Pin, ...]:
    """The pins of this machine, in the order in which APT reads them."""
    parts = configuration.path("Dir::Etc::preferencesparts")
    main = configuration.path("Dir::Etc::preferences")
    files = configuration_files(parts, "pref", configuration, bare=True)
    if main and os.path.isfile(main):
        files.append(main)
    found: list[Pin] = []
    for file in files:
        try:
            text = Path(file).read_bytes().decode("utf-8", "replace")
        except OSError as error:
            raise SourceConfigurationError(
                f"{file} cannot be read: {error.strerror}.", path=file
            ) from error
        found += parse_preferences(text, file)
    return tuple(found)
