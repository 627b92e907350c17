"""APT's own configuration: ``apt.conf`` and the files of ``apt.conf.d``, read without APT.

Only a few of its settings matter here (proxies, date checks, architectures, where the other files
are), but the language is read whole, so that a file with anything else in it is understood too.

    >>> found = parse_configuration('Acquire { Check-Date "false"; http::Proxy "http://p:1"; };')
    >>> found.boolean("acquire::check-date", default=True), found.text("Acquire::http::Proxy")
    (False, 'http://p:1')
"""

from __future__ import annotations

import dataclasses
import os
import platform
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nbdock.errors import SourceConfigurationError

__all__ = [
    "AptConfiguration",
    "configuration_files",
    "host_configuration",
    "native_architecture",
    "parse_configuration",
]

_TOKEN = re.compile(
    r"""
      (?P<space>   \s+ )
    | (?P<comment> //[^\n]* | /\*.*?\*/ | \#(?!clear\b|include\b)[^\n]* )
    | (?P<hash>    \#(?:clear|include) )
    | (?P<quoted>  "(?:[^"\\]|\\.)*" )
    | (?P<mark>    [{};] )
    | (?P<word>    (?:(?!//|/\*)[^\s{};"\#])+ )
    """,
    re.VERBOSE | re.DOTALL,
)
_TRUE = frozenset({"1", "yes", "true", "with", "on", "enable"})
_FALSE = frozenset({"0", "no", "false", "without", "off", "disable"})
_INCLUDE_DEPTH = 10

# What APT has compiled in (apt's documentation, configure-index); keys in lower case.
_DEFAULTS = {
    "dir": "/",
    "dir::state": "var/lib/apt",
    "dir::etc": "etc/apt",
    "dir::etc::main": "apt.conf",
    "dir::etc::parts": "apt.conf.d",
    "dir::etc::sourcelist": "sources.list",
    "dir::etc::sourceparts": "sources.list.d",
    "dir::etc::preferences": "preferences",
    "dir::etc::preferencesparts": "preferences.d",
    "dir::etc::netrc": "auth.conf",
    "dir::etc::netrcparts": "auth.conf.d",
    "dir::etc::trusted": "trusted.gpg",
    "dir::etc::trustedparts": "trusted.gpg.d",
}
_IGNORED_FILES = (
    r"~$", r"\.disabled$", r"\.bak$", r"\.dpkg-[a-z]+$", r"\.ucf-[a-z]+$", r"\.save$", r"\.orig$",
    r"\.distUpgrade$",
)  # fmt: skip
_MACHINES = {
    "x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64", "i386": "i386",
    "i686": "i386", "armv7l": "armhf", "armv8l": "armhf", "armv6l": "armel", "ppc64le": "ppc64el",
    "s390x": "s390x", "riscv64": "riscv64", "mips64": "mips64el", "loongarch64": "loong64",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class AptConfiguration:
    """Settings by name (``Acquire::http::Proxy``), without regard to case.

    Attributes
    ----------
    values
        The last value given to each name, names in lower case.
    lists
        The values appended to each name (``Name:: "x";`` or ``Name { "x"; };``), in order.
    root
        What stands for ``/`` before every path of the configuration.
    """

    values: Mapping[str, str] = dataclasses.field(default_factory=dict)
    lists: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    root: str = "/"

    def text(self, name: str, default: str = "") -> str:
        """A value as text."""
        key = name.lower()
        return self.values.get(key, "") or _DEFAULTS.get(key, "") or default

    def boolean(self, name: str, *, default: bool) -> bool:
        """A value as yes or no; the default if it is neither."""
        value = self.text(name).lower()
        return value in _TRUE or (value not in _FALSE and default)

    def number(self, name: str, default: int) -> int:
        """A value as a number; the default if it is none."""
        value = self.text(name)
        return int(value) if re.fullmatch(r"-?\d{1,18}", value) else default

    def path(self, name: str) -> str:
        """The file or directory that a ``Dir::...`` name stands for; empty if it is switched off.

        As APT does, a relative path stands below its parent's: ``Dir::Etc::sourcelist`` below
        ``Dir::Etc`` below ``Dir``.
        """
        key = name.lower()
        if key in self.values and not self.values[key]:
            return ""
        value = self.text(name)
        while key and not os.path.isabs(value):
            key = key.rpartition("::")[0]
            value = os.path.join(self.text(key), value) if key else value
        if value == "/dev/null":
            return ""
        return os.path.join(self.root, value.lstrip("/")) if self.root != "/" else value

    def below(self, name: str) -> Iterator[tuple[str, str]]:
        """Names directly below `name` (the last part only, lower case), with their values."""
        prefix = f"{name.lower()}::"
        for key, value in self.values.items():
            if key.startswith(prefix) and "::" not in key[len(prefix) :]:
                yield key[len(prefix) :], value

    def is_ignored(self, file_name: str) -> bool:
        """Whether a file is passed over silently (``Dir::Ignore-Files-Silently``)."""
        patterns = (*_IGNORED_FILES, *self.lists.get("dir::ignore-files-silently", ()))
        return any(re.search(pattern, file_name) for pattern in patterns)


class _Reader:
    """Fills one configuration from many files; later values win, lists grow."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.lists: dict[str, list[str]] = {}

    def read(self, text: str, path: str, depth: int = 0) -> None:
        blocks: list[str] = []
        words: list[tuple[str, bool]] = []
        line = 1
        at = 0

        def wrong(what: str) -> SourceConfigurationError:
            return SourceConfigurationError(
                f"{path or 'The configuration'}, line {line}: {what}.", path=path, line=line,
                hint="apt.conf is written `Name \"value\";` or `Name { ... };`.",
            )  # fmt: skip

        while at < len(text):
            token = _TOKEN.match(text, at)
            if token is None:
                raise wrong(f"{text[at : at + 1]!r} has no meaning here")
            kind, said = token.lastgroup, token[0]
            if kind == "mark":
                if said == "{":
                    if not words:
                        raise wrong("a block without a name")
                    self._set(blocks, words[:2], opens=True)
                    blocks.append("::".join([*blocks[-1:], words[0][0].removesuffix("::")]))
                elif words:
                    self._statement(blocks, words, path, depth)
                if said == "}":
                    if not blocks:
                        raise wrong("a } that closes nothing")
                    blocks.pop()
                words = []
            elif kind == "quoted":
                words.append((re.sub(r'\\(["\\])', r"\1", said[1:-1]), True))
            elif kind in {"word", "hash"}:
                words.append((said, False))
            line += said.count("\n")
            at = token.end()
        if blocks or words:
            raise wrong("the file ends in the middle of a statement")

    def _statement(
        self, blocks: list[str], words: list[tuple[str, bool]], path: str, depth: int
    ) -> None:
        first = words[0][0]
        if first == "#clear":
            for name, _ in words[1:]:
                self._clear(name)
        elif first == "#include":
            if depth >= _INCLUDE_DEPTH:
                raise SourceConfigurationError(f"{path} includes itself.", path=path)
            for name, _ in words[1:]:
                target = os.path.join(os.path.dirname(path), name)
                self.read(_read_text(target), target, depth + 1)
        else:
            self._set(blocks, words)

    def _clear(self, name: str) -> None:
        key = name.lower().removesuffix("::")
        tables: tuple[dict[str, Any], ...] = (self.values, self.lists)
        for table in tables:
            for known in [k for k in table if k == key or k.startswith(f"{key}::")]:
                del table[known]

    def _set(
        self, blocks: list[str], words: list[tuple[str, bool]], *, opens: bool = False
    ) -> None:
        name, quoted = words[0]
        block = blocks[-1] if blocks else ""
        if len(words) == 1:
            if opens:
                return
            # A value alone in a block joins the block's list: `Name { "a"; "b"; };`
            if quoted or block:
                self.lists.setdefault(block.lower(), []).append(name)
            return
        key = f"{block}::{name}".lower() if block else name.lower()
        if key.endswith("::"):
            self.lists.setdefault(key[:-2], []).append(words[1][0])
        else:
            self.values[key] = words[1][0]

    def result(self, root: str = "/") -> AptConfiguration:
        return AptConfiguration(self.values, {k: tuple(v) for k, v in self.lists.items()}, root)


def parse_configuration(text: str, path: str = "") -> AptConfiguration:
    """The settings that one file gives.

    Raises
    ------
    SourceConfigurationError
        With `path` and line.
    """
    reader = _Reader()
    reader.read(text, path)
    return reader.result()


def _read_text(path: str) -> str:
    try:
        return Path(path).read_bytes().decode("utf-8", "replace")
    except OSError as error:
        raise SourceConfigurationError(
            f"{path} cannot be read: {error.strerror}.", path=path
        ) from error


def configuration_files(
    directory: str, suffix: str, configuration: AptConfiguration, *, bare: bool = False
) -> list[str]:
    """The files of one of APT's ``.d`` directories that count, in APT's order.

    As run-parts does: names of letters, digits, ``_``, ``-``, ``:`` and dots that end in `suffix`
    (or, if `bare`, have no dot at all), in the order of their bytes.
    """
    if not directory:
        return []
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    good = re.compile(rf"[A-Za-z0-9_:-][A-Za-z0-9_.:-]*\.{suffix}")
    plain = re.compile(r"[A-Za-z0-9_:-]+")
    return [
        os.path.join(directory, name)
        for name in sorted(names, key=os.fsencode)
        if (good.fullmatch(name) or (bare and plain.fullmatch(name)))
        and not configuration.is_ignored(name)
        and os.path.isfile(os.path.join(directory, name))
    ]


def host_configuration(root: str = "/") -> AptConfiguration:
    """What this machine's files say: ``$APT_CONFIG``, then ``apt.conf.d``, then ``apt.conf``.

    Parameters
    ----------
    root
        Another machine's tree, for one that is not running.

    Raises
    ------
    SourceConfigurationError
        A file is not in the language of apt.conf.
    """
    reader = _Reader()
    if (own := os.environ.get("APT_CONFIG")) and root == "/":
        reader.read(_read_text(own), own)
    so_far = reader.result(root)
    for file in configuration_files(so_far.path("Dir::Etc::parts"), "conf", so_far, bare=True):
        reader.read(_read_text(file), file)
    main = reader.result(root).path("Dir::Etc::main")
    if main and os.path.isfile(main):
        reader.read(_read_text(main), main)
    return reader.result(root)


def native_architecture(configuration: AptConfiguration) -> str:
    """Debian's name for this machine's architecture: ``APT::Architecture``, else the processor's.

    Raises
    ------
    SourceConfigurationError
        The processor has no Debian name that is known here.
    """
    if named := configuration.text("APT::Architecture"):
        return named
    machine = platform.machine().lower()
    if machine not in _MACHINES:
        raise SourceConfigurationError(
            f"The Debian architecture of this machine ({machine}) is not known.",
            hint="Say which: apt(architecture=...).",
        )
    return _MACHINES[machine]
