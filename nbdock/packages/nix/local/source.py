"""Where attributes come from: `<nixpkgs>`, a file, a flake; and the question put to Nix about them.

All of it is one expression of Nix's language, which the plain `nix-instantiate` of every version
understands. Whatever comes from outside stands in it as a quoted text.

>>> NixSource.parse("<nixpkgs>").described, NixSource.parse("nixpkgs#python3Packages").prefix
('<nixpkgs>', ('python3Packages',))
>>> attribute_path('python3Packages."charset-normalizer".dev')
('python3Packages', 'charset-normalizer', 'dev')
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterable, Mapping

from nbdock.errors import ArgumentError, ArgumentTypeError

__all__ = ["NixSource", "attribute_path", "attribute_text", "nix_text", "question"]

_SEARCH_PATH = re.compile(r"<[A-Za-z0-9._+-]+(/[A-Za-z0-9._+-]+)*>")
_ARCHIVE = re.compile(r"https?://[^#]*\.(tar\.\w+|tar|tgz|zip)")
_STEP = re.compile(r'"((?:[^"\\]|\\.)*)"|([^".]+)')
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_'-]*")
_PROBLEMS = re.compile(r'["\\]|\$(?=\{)')

_FLAKE = """\
  flake = builtins.getFlake SOURCE;
  system = arguments.system or builtins.currentSystem;
  source = (flake.legacyPackages.${system} or { }) // (flake.packages.${system} or { });
  root = source;
"""
_FILE = """\
  source = SOURCE;
  root = if builtins.isFunction source then source arguments
    else if arguments == { } then source
    else throw "it is no function, so it takes neither system nor config";
"""

# What is said of a value: a derivation is not looked into further than to its place. (That is not
# called outPath here, since Nix writes a set with an outPath into JSON as that text alone.)
_DESCRIBE = """\
  describe = value:
    if builtins.isAttrs value then
      if value.type or null == "derivation" then {
        kind = "derivation";
        place = value.outPath;
        recipe = value.drvPath or "";
        output = value.outputName or "out";
        names = builtins.attrNames value;
      }
      else if value ? outPath || value ? __toString then describe "${value}"
      else { kind = "set"; names = builtins.attrNames value; }
    else if builtins.isString value then
      { kind = "string"; inherit value; context = builtins.getContext value; }
    else if builtins.isFunction value || builtins.isPath value || builtins.isList value then
      { kind = builtins.typeOf value; }
    else { kind = "plain"; inherit value; };
  walk = value: path: index:
    if index == builtins.length path then describe value
    else if !builtins.isAttrs value then
      { kind = "missing"; at = index; names = [ ]; type = builtins.typeOf value; }
    else
      let name = builtins.elemAt path index; in
      if value ? ${name} then walk value.${name} path (index + 1)
      else { kind = "missing"; at = index; names = builtins.attrNames value; };
"""


@dataclasses.dataclass(frozen=True)
class NixSource:
    """What to take attributes of.

    Attributes
    ----------
    described
        What it was called.
    expression
        A function of ``system`` and ``config`` or a set; for a flake, its reference as a text.
    is_flake
        Whether it is a flake.
    prefix
        The attribute in it that all attributes are in.
    """

    described: str
    expression: str
    is_flake: bool = False
    prefix: tuple[str, ...] = ()

    @classmethod
    def parse(cls, source: str | os.PathLike[str] | None = None) -> NixSource:
        """What a user calls it: ``<nixpkgs>``, a path, a flake, or the URL of an archive.

        Raises
        ------
        ArgumentTypeError
            None of them, or a file that is not there.
        """
        if source is None:
            return cls("<nixpkgs>", "import <nixpkgs>")
        if not isinstance(source, str | os.PathLike) or not os.fspath(source):
            raise ArgumentTypeError(
                f"A source of packages is a text or a path, not {source!r}.",
                argument="source",
                hint='For example "<nixpkgs>", "./nixpkgs" or "nixpkgs#".',
            )
        text = os.fsdecode(os.fspath(source))
        if _SEARCH_PATH.fullmatch(text):
            return cls(text, f"import {text}")
        is_path = text.startswith(("/", "./", "../", "~")) or text in (".", "..")
        if not isinstance(source, str) or is_path or os.path.exists(text):
            return cls._of_path(text)
        if text.startswith("channel:") or _ARCHIVE.fullmatch(text):
            return cls(text, f"import (builtins.fetchTarball {nix_text(text)})")
        return cls._of_flake(text, text)

    @classmethod
    def _of_path(cls, text: str) -> NixSource:
        before, _, fragment = text.partition("#")
        path = os.path.abspath(os.path.expanduser(before))
        if not os.path.exists(path) or (fragment and os.path.isfile(path)):
            raise ArgumentTypeError(
                f"There is no file or directory {before!r} to take packages from.",
                argument="source",
                hint=f"This notebook works in {os.getcwd()!r}.",
            )
        is_flake = os.path.exists(f"{path}/flake.nix")
        if os.path.isdir(path) and (fragment or not os.path.exists(f"{path}/default.nix")):
            if is_flake:
                return cls._of_flake(text, path + text[len(before) :])
            raise ArgumentTypeError(
                f"The directory {before!r} has neither a default.nix nor a flake.nix.",
                argument="source",
            )
        return cls(text, f"import (/. + {nix_text(path)})")

    @classmethod
    def _of_flake(cls, described: str, text: str) -> NixSource:
        reference, _, fragment = text.partition("#")
        prefix = attribute_path(fragment) if fragment else ()
        return cls(described, nix_text(reference), is_flake=True, prefix=prefix)

    def program(self, arguments: Mapping[str, object]) -> str:
        """The bindings that a question begins with; `root` is the set of all attributes.

        Parameters
        ----------
        arguments
            What the source is called with: ``system`` and ``config``, as far as they were given.
        """
        if self.is_flake and arguments.keys() - {"system"}:
            raise ArgumentError(
                f"The packages of the flake {self.described!r} come as they are: they take no "
                f"config.",
                argument="config",
                hint="Give the path of a nixpkgs, or <nixpkgs>.",
            )
        shown = nix_text(json.dumps(dict(arguments)))
        body = (_FLAKE if self.is_flake else _FILE).replace("SOURCE", self.expression)
        return f"let\n  arguments = builtins.fromJSON {shown};\n{body}{_DESCRIBE}"


def question(
    source: NixSource, arguments: Mapping[str, object], paths: Iterable[tuple[str, ...]]
) -> str:
    """The expression whose value says of each attribute path what it is, in JSON."""
    listed = json.dumps([[*source.prefix, *path] for path in paths])
    program = source.program(arguments)
    return f"{program}in map (path: walk root path 0) (builtins.fromJSON {nix_text(listed)})\n"


def nix_text(text: str) -> str:
    r"""A text as Nix's language writes it.

    >>> print(nix_text('a "b" ${c} \\'))
    "a \"b\" \${c} \\"
    """
    # Nix takes a carriage return that is written as such for the end of a line.
    return '"' + _PROBLEMS.sub(r"\\\g<0>", text).replace("\r", "\\r") + '"'


def attribute_path(text: str) -> tuple[str, ...]:
    """The names in an attribute path; those with dots in them are quoted.

    Raises
    ------
    ArgumentTypeError
        It is not an attribute path.
    """
    names: list[str] = []
    at = 0
    while match := _STEP.match(text, at):
        quoted, plain = match.groups()
        names.append(plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
        at = match.end()
        if at == len(text):
            break
        if text[at] != ".":
            at = -1
            break
        at += 1
    is_plain = all(name and name.isprintable() for name in names)
    if not text or at != len(text) or not is_plain or text.endswith("."):
        raise ArgumentTypeError(
            f"{text!r} is not the name of an attribute.",
            argument="name",
            hint='For example "hello" or "python3Packages.requests"; a name with a dot in it is '
            "quoted: 'nodePackages.\"a.b\"'.",
        )
    return tuple(names)


def attribute_text(path: Iterable[str]) -> str:
    """An attribute path as a person writes it.

    >>> attribute_text(("nodePackages", "a.b"))
    'nodePackages."a.b"'
    """
    return ".".join(n if _IDENTIFIER.fullmatch(n) else nix_text(n) for n in path)
