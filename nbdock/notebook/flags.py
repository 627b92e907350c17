"""The flags of the build magics, the same on each.

    %%buildLayeredImage -o redis --save redis.tar.gz

Flags are whole words (no abbreviations), quotes are removed, and a misspelled flag is refused with
the nearest one.
"""

from __future__ import annotations

import argparse
import dataclasses
import keyword
import shlex
from typing import NoReturn

from IPython.core.error import UsageError

from nbdock.errors import nearest

__all__ = ["BuildFlags", "flag_names", "parse_flags"]


_UNFIT = {"mergeImages": ("--dry-run",), "exportImage": ("--dry-run", "--push")}
"""Flags that a magic does not have: what plans no layers, what is no image."""


@dataclasses.dataclass(frozen=True)
class BuildFlags:
    """What stands behind ``%%buildImage`` in its line."""

    output: str | None = None
    dry_run: bool = False
    save: str | None = None
    load: bool = False
    push: str | None = None
    background: bool = False

    @property
    def delivers(self) -> bool:
        """Whether the image also goes somewhere, which the cell then says."""
        return self.save is not None or self.load


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}\n{self.format_usage().strip()}")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        raise UsageError(message or f"{self.prog} stopped with {status}")


def _parser(magic: str) -> _Parser:
    parser = _Parser(prog=f"%%{magic}", add_help=False, allow_abbrev=False)
    parser.add_argument("-o", "--output", metavar="NAME", help="also bind the result to NAME")
    unfit = _UNFIT.get(magic, ())
    if "--dry-run" not in unfit:
        parser.add_argument("--dry-run", action="store_true", help="show the plan; read no bytes")
    parser.add_argument("--save", metavar="PATH", help="save the image to PATH")
    parser.add_argument(
        "--load", action="store_true", help="load it into a Docker or Podman engine"
    )
    if "--push" not in unfit:
        parser.add_argument("--push", metavar="REFERENCE", help="push it to a registry")
    parser.add_argument("--background", action="store_true", help="return a job at once")
    return parser


def flag_names(magic: str = "buildImage") -> list[str]:
    """All flags, for completion."""
    # The parser is the only list of flags there is.
    return [flag for action in _parser(magic)._actions for flag in action.option_strings]  # noqa: SLF001


def parse_flags(magic: str, line: str) -> BuildFlags:
    """The flags in the line of a magic.

    Raises
    ------
    UsageError
        An unknown flag (with the nearest), a missing value, or a name that cannot be bound.
    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"%%{magic}: {str(error).lower()} in {line!r}") from None
    found, rest = _parser(magic).parse_known_args(words)
    if rest:
        close = nearest(rest[0], [f for f in flag_names(magic) if f.startswith("--")], count=1)
        advice = f"Did you mean {close[0]}?" if close else f"Flags: {', '.join(flag_names(magic))}."
        if not rest[0].startswith("-"):
            advice = f"To bind the result to a name, write -o {rest[0]}."
        raise UsageError(f"%%{magic} has no flag {rest[0]!r}. {advice}")
    name = found.output
    if name is not None and (not name.isidentifier() or keyword.iskeyword(name)):
        raise UsageError(f"%%{magic} -o: {name!r} is not a name that Python can bind.")
    flags = BuildFlags(**vars(found))
    for flag, value in (("--save", flags.save), ("--push", flags.push)):
        if value is not None and not value.strip():
            raise UsageError(f"%%{magic} {flag} is empty.")
    if flags.dry_run and (flags.delivers or flags.push):
        raise UsageError(f"%%{magic}: --dry-run builds nothing to save, load or push.")
    return flags
