"""The two forms of a package source's entry (sources.list(5)), read into one value.

>>> [source] = parse_one_line("deb [arch=amd64] http://h/debian stable main # x", "f.list")
>>> source.release_url, source.components, source.place
('http://h/debian/dists/stable/', ('main',), 'f.list:1')
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from nbdock.errors import SourceConfigurationError

__all__ = ["Source", "make_source", "parse_deb822", "parse_one_line", "wrong"]

_TRUE = frozenset({"1", "yes", "true", "with", "on", "enable"})
_FALSE = frozenset({"0", "no", "false", "without", "off", "disable"})
_WORD = re.compile(r'(?:"[^"]*"|\[[^\]]*\]|[^\s"\[])+')
_OPTION = re.compile(r"([A-Za-z0-9-]*[A-Za-z0-9])([+-]?)=(.*)", re.DOTALL)

# The one-line form's names of the fields (sources.list(5)); the others are the same, lower case.
_ONE_LINE_NAMES = {"arch": "architectures"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """One URI and suite, with all that the entries say of it.

    Attributes
    ----------
    uri
        Where the archive starts; ends with a slash.
    suite
        A suite (``stable``), or a path that ends with a slash: a flat archive without components.
    components, architectures
        The components; for which architectures (empty: any that is asked for).
    signed_by, signed_by_key
        Keyring paths and fingerprints, and an armoured key that stands in the entry itself.
    trusted
        True: used without a signature. False: never used. None: only if signed.
    place
        File and line of its first entry, for messages.
    """

    uri: str
    suite: str
    components: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    signed_by: tuple[str, ...] = ()
    signed_by_key: str = ""
    trusted: bool | None = None
    allow_insecure: bool = False
    check_valid_until: bool | None = None
    check_date: bool | None = None
    valid_until_min_s: int | None = None
    valid_until_max_s: int | None = None
    date_max_future_s: int | None = None
    by_hash: str = ""
    inrelease_path: str = ""
    path: str = ""
    line: int | None = None

    @property
    def is_flat(self) -> bool:
        """Whether the suite is a path with the index beside the Release file."""
        return self.suite.endswith("/")

    @property
    def release_url(self) -> str:
        """The directory of the Release file; ends with a slash."""
        if self.is_flat:
            return self.uri if self.suite in {"/", "./"} else self.uri + self.suite.lstrip("/")
        return f"{self.uri}dists/{self.suite}/"

    @property
    def place(self) -> str:
        """File and line of the first entry."""
        return f"{self.path}:{self.line}" if self.path and self.line else self.path or "arguments"

    def packages_paths(self, architecture: str) -> tuple[str, ...]:
        """Paths of the package indexes below `release_url`, without a compression's suffix."""
        if self.is_flat:
            return ("Packages",)
        return tuple(f"{name}/binary-{architecture}/Packages" for name in self.components)

    def for_architecture(self, architecture: str) -> bool:
        """Whether the entry is for `architecture`."""
        return not self.architectures or architecture in self.architectures


def wrong(path: str, line: int | None, what: str, hint: str = "") -> SourceConfigurationError:
    """The error for something in an entry, with file and line."""
    where = f"{path}, line {line}" if line else path
    return SourceConfigurationError(
        f"{where or 'The arguments'}: {what}.", path=path, line=line, hint=hint or None
    )


def _boolean(text: str, path: str, line: int | None, name: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise wrong(path, line, f"{name} is yes or no, not {text!r}")


def _seconds(text: str, path: str, line: int | None, name: str) -> int:
    if re.fullmatch(r"\d{1,12}", text):
        return int(text)
    raise wrong(path, line, f"{name} is a number of seconds, not {text!r}")


def make_source(
    uri: str, suite: str, components: Sequence[str], fields: Mapping[str, str],
    path: str, line: int,
) -> Source:  # fmt: skip
    """A source from its parts, checked; `fields` by deb822 names in lower case."""
    scheme, colon, _ = uri.partition(":")
    if not colon or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        raise wrong(path, line, f"{uri!r} is not a URI")
    if suite.endswith("/") and components:
        raise wrong(path, line, f"the suite {suite!r} is a path, so there can be no components")
    if not suite.endswith("/") and not components:
        raise wrong(
            path, line, f"the suite {suite!r} has no component",
            "Name at least one (main, ...), or end the suite with a slash if it is a path.",
        )  # fmt: skip
    for part in (suite, *components):
        if ".." in part.split("/"):
            raise wrong(path, line, f"{part!r} leads out of the archive")

    def optional(
        name: str, convert: Callable[[str, str, int | None, str], bool | int]
    ) -> bool | int | None:
        return convert(fields[name], path, line, name) if fields.get(name) else None

    key = fields.get("signed-by", "")
    is_embedded = "-----BEGIN PGP PUBLIC KEY BLOCK-----" in key
    return Source(
        uri=uri if uri.endswith("/") else f"{uri}/",
        suite=suite,
        components=tuple(dict.fromkeys(components)),
        architectures=_changed((), "architectures", fields),
        signed_by=() if is_embedded else tuple(re.split(r"[,\s]+", key.strip())) if key else (),
        signed_by_key=_unfolded_key(key) if is_embedded else "",
        trusted=optional("trusted", _boolean),  # type: ignore[arg-type]
        allow_insecure=bool(optional("allow-insecure", _boolean)),
        check_valid_until=optional("check-valid-until", _boolean),  # type: ignore[arg-type]
        check_date=optional("check-date", _boolean),  # type: ignore[arg-type]
        valid_until_min_s=optional("valid-until-min", _seconds),
        valid_until_max_s=optional("valid-until-max", _seconds),
        date_max_future_s=optional("date-max-future", _seconds),
        by_hash=fields.get("by-hash", "").lower(),
        inrelease_path=fields.get("inrelease-path", ""),
        path=path,
        line=line,
    )


def _changed(start: tuple[str, ...], name: str, fields: Mapping[str, str]) -> tuple[str, ...]:
    """A list field with its ``-add`` and ``-remove``."""

    def words(text: str) -> list[str]:
        return [word for word in re.split(r"[,\s]+", text) if word]

    found = words(fields.get(name, "")) or list(start)
    found += words(fields.get(f"{name}-add", ""))
    gone = set(words(fields.get(f"{name}-remove", "")))
    return tuple(dict.fromkeys(word for word in found if word not in gone))


def _unfolded_key(text: str) -> str:
    lines = (line.strip() for line in text.strip().splitlines())
    return "\n".join("" if line == "." else line for line in lines) + "\n"


def parse_one_line(text: str, path: str) -> list[Source]:
    """The entries of a ``*.list`` file.

    Raises
    ------
    SourceConfigurationError
        With file and line.
    """
    found = []
    for line, raw in enumerate(text.splitlines(), 1):
        words = _words(raw)
        if not words:
            continue
        kind, *rest = words
        if kind not in {"deb", "deb-src"}:
            raise wrong(path, line, f"the type {kind!r} is not known", "Types: deb, deb-src.")
        fields: dict[str, str] = {}
        if rest and rest[0].startswith("["):
            fields = _options(rest.pop(0), path, line)
        if len(rest) < 2:
            raise wrong(
                path, line, "the entry is incomplete",
                "It is written: deb [options] URI suite component...",
            )  # fmt: skip
        if kind == "deb" and not rest[0].startswith("cdrom:"):
            found.append(make_source(rest[0], rest[1], rest[2:], fields, path, line))
    return found


def _words(line: str) -> list[str]:
    """The words of a line: quotes and brackets hold together, ``#`` outside of them ends it."""
    words = []
    for match in _WORD.finditer(line):
        word = match[0]
        if word.startswith("["):
            # A closing bracket may be glued to the URI that follows.
            end = word.index("]") + 1
            words += [word[:end], word[end:]] if word[end:] else [word]
            continue
        if "#" in re.sub(r'"[^"]*"|\[[^\]]*\]', "", word):
            if kept := word.partition("#")[0]:
                words.append(kept)
            break
        words.append(word.replace('"', ""))
    return words


def _options(text: str, path: str, line: int) -> dict[str, str]:
    fields: dict[str, str] = {}
    for option in text[1:-1].split():
        match = _OPTION.fullmatch(option)
        if match is None:
            raise wrong(path, line, f"the option {option!r} is not written name=value")
        name = _ONE_LINE_NAMES.get(match[1].lower(), match[1].lower())
        name += {"+": "-add", "-": "-remove", "": ""}[match[2]]
        fields[name] = match[3]
    return fields


def parse_deb822(text: str, path: str) -> list[Source]:
    """The entries of a ``*.sources`` file.

    Raises
    ------
    SourceConfigurationError
        With file and line.
    """
    found: list[Source] = []
    for line, fields in _stanzas(text, path):
        if not _boolean(fields.get("enabled") or "yes", path, line, "Enabled"):
            continue
        types = fields.get("types", "").split()
        for kind in types:
            if kind not in {"deb", "deb-src"}:
                raise wrong(path, line, f"the type {kind!r} is not known", "Types: deb, deb-src.")
        for name in ("types", "uris", "suites"):
            if not fields.get(name, "").split():
                raise wrong(path, line, f"the entry has no {name.capitalize()}")
        if "deb" not in types:
            continue
        found.extend(
            make_source(uri, suite, fields.get("components", "").split(), fields, path, line)
            for uri in fields["uris"].split()
            for suite in fields["suites"].split()
            if not uri.startswith("cdrom:")
        )
    return found


def _stanzas(text: str, path: str) -> Iterable[tuple[int, dict[str, str]]]:
    """Stanzas with the lines they start at; names in lower case, comments left out."""
    fields: dict[str, str] = {}
    start = 0
    name = ""
    for line, raw in enumerate([*text.splitlines(), ""], 1):
        if raw.startswith("#"):
            continue
        if not raw.strip():
            if fields:
                yield start, fields
            fields, name = {}, ""
        elif raw[0] in " \t":
            if not name:
                raise wrong(path, line, "a line continues nothing")
            fields[name] += f"\n{raw.strip()}"
        else:
            title, colon, value = raw.partition(":")
            name = title.strip().lower()
            if not colon or not name:
                raise wrong(
                    path, line, f"{raw.strip()!r} is not a field",
                    "A field is written Name: value.",
                )  # fmt: skip
            if name in fields:
                raise wrong(path, line, f"the field {title.strip()} stands twice in one entry")
            if not fields:
                start = line
            fields[name] = value.strip()
