"""The flags of the build magics, the same on each, of ``%%runAsRoot`` and of line magics.

    %%buildLayeredImage -o redis --save redis.tar.gz
    %%runAsRoot redis -o changed --tag 2
    %prefetchImage mysql:8 --arch arm64
    %sharing redis nginx --by package

Flags are whole words (no abbreviations), quotes are removed, and a misspelled flag is refused with
the nearest one.
"""

from __future__ import annotations

import argparse
import dataclasses
import keyword
import shlex
from collections.abc import Mapping, Sequence
from typing import NoReturn

from IPython.core.error import UsageError

from nbdock.errors import InvalidReferenceError, nearest
from nbdock.oci import Reference

__all__ = [
    "TABLE_MAGICS",
    "BuildFlags",
    "PrefetchFlags",
    "RunFlags",
    "TableFlags",
    "flag_names",
    "parse_flags",
    "parse_prefetch",
    "parse_run",
    "parse_table",
]


_UNFIT = {
    "mergeImages": ("--dry-run", "--push"),
    "exportImage": ("--dry-run", "--push"),
    "pullImage": ("--dry-run",),
    "runAsRoot": ("--dry-run",),
}
"""Flags that a magic does not have: what plans no layers, what is not one image."""


_RUN = "runAsRoot"
_RUN_ARGUMENTS = ("name", "tag", "disk_size", "build_vm_memory_size")
TABLE_MAGICS = ("layers", "files", "packages", "waste", "sharing", "compare", "explore")
_PREFETCH = "prefetchImage"
_PREFETCH_OPTIONS = (
    "image-name", "image-tag", "image-digest", "os", "arch", "variant", "final-image-name",
    "final-image-tag",
)  # fmt: skip
"""Those of nix-prefetch-docker, so that a line of it can be pasted."""


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
        return self.save is not None or self.load or self.push is not None


@dataclasses.dataclass(frozen=True)
class RunFlags:
    """What stands behind ``%%runAsRoot``: an image, arguments of `run_as_root`, and the rest."""

    image: str
    arguments: Mapping[str, str | int]
    build: BuildFlags


@dataclasses.dataclass(frozen=True)
class PrefetchFlags:
    """What stands behind ``%prefetchImage``: arguments of `prefetch_image`, and a name to bind."""

    arguments: Mapping[str, str]
    output: str | None = None


@dataclasses.dataclass(frozen=True)
class TableFlags:
    """What stands behind ``%layers`` and its like: images, arguments that were given, a name."""

    images: Sequence[str]
    arguments: Mapping[str, str | bool]
    output: str | None = None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}\n{self.format_usage().strip()}")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        raise UsageError(message or f"{self.prog} stopped with {status}")


def _parser(magic: str) -> _Parser:
    if magic == _PREFETCH:
        return _prefetch_parser()
    if magic in TABLE_MAGICS:
        return _table_parser(magic)
    parser = _Parser(prog=f"%%{magic}", add_help=False, allow_abbrev=False)
    if magic == _RUN:
        _add_run(parser)
    _add_output(parser)
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


def _prefetch_parser() -> _Parser:
    parser = _Parser(prog=f"%{_PREFETCH}", add_help=False, allow_abbrev=False)
    parser.add_argument("image", nargs="?", help="name, name:tag or name@digest")
    for option in _PREFETCH_OPTIONS:
        parser.add_argument(
            f"--{option}", metavar=option.rpartition("-")[2].upper(), help="as in %%pullImage"
        )
    _add_output(parser)
    return parser


def _table_parser(magic: str) -> _Parser:
    # What was not given is left to the function's own default.
    parser = _Parser(
        prog=f"%{magic}", add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS
    )
    if magic == "layers":
        parser.add_argument("--details", action="store_true", help="what is in them, too")
    elif magic == "files":
        parser.add_argument(
            "--no-hashes", action="store_false", dest="hashes", help="read no contents"
        )
    elif magic == "waste":
        parser.add_argument("--dive", action="store_true", help="the score as dive counts it")
    elif magic == "sharing":
        parser.add_argument("--by", metavar="WHAT", help="layer, package or file")
        parser.add_argument("--measure", metavar="WHAT", help="a matrix: shared or missing")
    elif magic == "explore":
        for what, shown in (
            ("plan", "layers for every planner"),
            ("sharing", "what images share"),
            ("closure", "what packages need"),
        ):
            parser.add_argument(
                f"--{what}", action="store_const", const=what, dest="what", help=shown
            )
    parser.add_argument("--platform", metavar="PLATFORM", help="such as linux/arm64")
    parser.add_argument(
        "--no-tls-verify", action="store_false", dest="tls_verify",
        help="any certificate will do, or none",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", metavar="NAME", default=None, help="also bind the result to NAME"
    )
    return parser


def _add_run(parser: _Parser) -> None:
    parser.add_argument("image", nargs="?", help="a name in the notebook, or a path")
    parser.add_argument("--name", metavar="NAME", help="name of the new image")
    parser.add_argument("--tag", metavar="TAG", help="tag of the new image")
    parser.add_argument("--disk-size", metavar="MIB", type=int, help="what the script may write")
    parser.add_argument(
        "--memory", metavar="MIB", type=int, dest="build_vm_memory_size", help="of the machine"
    )


def _add_output(parser: _Parser) -> None:
    parser.add_argument("-o", "--output", metavar="NAME", help="also bind the result to NAME")


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
    found, rest = _parsed(magic, line)
    if rest:
        raise _unknown(
            f"%%{magic}", magic, rest[0], f"To bind the result to a name, write -o {rest[0]}."
        )
    return _checked(magic, BuildFlags(**vars(found)))


def parse_run(line: str) -> RunFlags:
    """The image and the flags in the line of ``%%runAsRoot``.

    Raises
    ------
    UsageError
        An unknown flag (with the nearest), a missing value, no image or two.
    """
    found, rest = _parsed(_RUN, line)
    if rest:
        advice = f"It takes one image; to bind the result to a name, write -o {rest[0]}."
        raise _unknown(f"%%{_RUN}", _RUN, rest[0], advice)
    given = vars(found)
    image = given.pop("image")
    if not image:
        raise UsageError(f"%%{_RUN} takes an image, for example %%{_RUN} redis -o changed")
    arguments = {name: given.pop(name) for name in _RUN_ARGUMENTS}
    return RunFlags(
        image,
        {name: value for name, value in arguments.items() if value is not None},
        _checked(_RUN, BuildFlags(**given)),
    )


def _checked(magic: str, flags: BuildFlags) -> BuildFlags:
    for flag, value in (("--save", flags.save), ("--push", flags.push)):
        if value is not None and not value.strip():
            raise UsageError(f"%%{magic} {flag} is empty.")
    if flags.push is not None:
        try:
            Reference.parse(flags.push)
        except InvalidReferenceError as error:
            # Before anything is built that then could not be pushed.
            raise UsageError(f"%%{magic} --push: {error}") from None
    if flags.dry_run and flags.delivers:
        raise UsageError(f"%%{magic}: --dry-run builds nothing to save, load or push.")
    return flags


def parse_prefetch(line: str) -> PrefetchFlags:
    """The image and the flags in the line of ``%prefetchImage``, those of nix-prefetch-docker.

    Raises
    ------
    UsageError
        An unknown flag (with the nearest), a missing value, no image or two.
    """
    found, rest = _parsed(_PREFETCH, line)
    if rest:
        raise _unknown(f"%{_PREFETCH}", _PREFETCH, rest[0], "It takes one image, such as mysql:8.")
    given = {name: value for name, value in vars(found).items() if value is not None}
    output, image = given.pop("output", None), given.pop("image", None)
    if (image is None) == ("image_name" not in given):
        raise UsageError(f"%{_PREFETCH} takes one image, for example %{_PREFETCH} mysql:8")
    return PrefetchFlags({"image_name": image, **given} if image else given, output)


def parse_table(magic: str, line: str) -> TableFlags:
    """The images and the flags in the line of a magic that gives a table.

    Raises
    ------
    UsageError
        An unknown flag (with the nearest), a missing value, or no image.
    """
    found, words = _parsed(magic, line)
    for word in words:
        if word.startswith("-"):
            raise _unknown(f"%{magic}", magic, word, "")
    if not words:
        example = "redis nginx" if magic in ("sharing", "compare") else "redis"
        raise UsageError(f"%{magic} takes images, for example %{magic} {example}")
    given = vars(found)
    output = given.pop("output")
    _check_name(f"%{magic}", output)
    return TableFlags(words, given, output)


def _parsed(magic: str, line: str) -> tuple[argparse.Namespace, list[str]]:
    """What the parser makes of a line, and the words that it does not know."""
    parser = _parser(magic)
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{parser.prog}: {str(error).lower()} in {line!r}") from None
    found, rest = parser.parse_known_args(words)
    if not rest:
        _check_name(parser.prog, found.output)
    return found, rest


def _check_name(shown: str, name: str | None) -> None:
    if name is not None and (not name.isidentifier() or keyword.iskeyword(name)):
        raise UsageError(f"{shown} -o: {name!r} is not a name that Python can bind.")


def _unknown(shown: str, magic: str, word: str, otherwise: str) -> UsageError:
    flags = flag_names(magic)
    close = nearest(word, [flag for flag in flags if flag.startswith("--")], count=1)
    advice = f"Did you mean {close[0]}?" if close else f"Flags: {', '.join(flags)}."
    if not word.startswith("-"):
        advice = otherwise
    return UsageError(f"{shown} has no flag {word!r}. {advice}")
