"""Where packages come from: the entries of ``sources.list``, ``*.list`` and ``*.sources``.

Both forms (sources.list(5)) are read into one value per URI and suite, as APT combines them; what
the entries say together (components, architectures) is kept per component.

    >>> text = "deb [arch=amd64] http://example.org/debian stable main contrib"
    >>> [source] = combine(parse_one_line(text, "sources.list"))
    >>> source.release_url, source.components
    ('http://example.org/debian/dists/stable/', ('main', 'contrib'))
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from nbdock.errors import ArgumentTypeError, MissingArgumentError, SourceConfigurationError
from nbdock.packages.apt.configuration import (
    AptConfiguration,
    configuration_files,
    host_configuration,
    native_architecture,
)
from nbdock.packages.apt.preferences import Pin, host_pins

__all__ = [
    "AptSources",
    "Source",
    "combine",
    "explicit_sources",
    "host_sources",
    "parse_deb822",
    "parse_one_line",
]

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class AptSources:
    """All sources of a package set, with the configuration that goes with them."""

    sources: tuple[Source, ...]
    configuration: AptConfiguration = dataclasses.field(default_factory=AptConfiguration)
    pins: tuple[Pin, ...] = ()
    keyrings: tuple[str, ...] = ()
    """Keyring files for sources that name none."""

    @property
    def native_architecture(self) -> str:
        """The architecture that packages are of unless another is asked for."""
        return native_architecture(self.configuration)


def _wrong(path: str, line: int | None, what: str, hint: str = "") -> SourceConfigurationError:
    where = f"{path}, line {line}" if line else path
    return SourceConfigurationError(
        f"{where or 'The arguments'}: {what}.", path=path, line=line, hint=hint or None
    )


def _boolean(text: str, path: str, line: int | None, name: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise _wrong(path, line, f"{name} is yes or no, not {text!r}")


def _seconds(text: str, path: str, line: int | None, name: str) -> int:
    if re.fullmatch(r"\d{1,12}", text):
        return int(text)
    raise _wrong(path, line, f"{name} is a number of seconds, not {text!r}")


def _source(
    uri: str, suite: str, components: Sequence[str], fields: Mapping[str, str],
    path: str, line: int,
) -> Source:  # fmt: skip
    """A source from its parts, checked; `fields` by deb822 names in lower case."""
    scheme, colon, _ = uri.partition(":")
    if not colon or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        raise _wrong(path, line, f"{uri!r} is not a URI")
    if suite.endswith("/") and components:
        raise _wrong(path, line, f"the suite {suite!r} is a path, so there can be no components")
    if not suite.endswith("/") and not components:
        raise _wrong(
            path, line, f"the suite {suite!r} has no component",
            "Name at least one (main, ...), or end the suite with a slash if it is a path.",
        )  # fmt: skip
    for part in (suite, *components):
        if ".." in part.split("/"):
            raise _wrong(path, line, f"{part!r} leads out of the archive")

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
            raise _wrong(path, line, f"the type {kind!r} is not known", "Types: deb, deb-src.")
        fields: dict[str, str] = {}
        if rest and rest[0].startswith("["):
            fields = _options(rest.pop(0), path, line)
        if len(rest) < 2:
            raise _wrong(
                path, line, "the entry is incomplete",
                "It is written: deb [options] URI suite component...",
            )  # fmt: skip
        if kind == "deb" and not rest[0].startswith("cdrom:"):
            found.append(_source(rest[0], rest[1], rest[2:], fields, path, line))
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
            raise _wrong(path, line, f"the option {option!r} is not written name=value")
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
                raise _wrong(path, line, f"the type {kind!r} is not known", "Types: deb, deb-src.")
        for name in ("types", "uris", "suites"):
            if not fields.get(name, "").split():
                raise _wrong(path, line, f"the entry has no {name.capitalize()}")
        if "deb" not in types:
            continue
        found.extend(
            _source(uri, suite, fields.get("components", "").split(), fields, path, line)
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
                raise _wrong(path, line, "a line continues nothing")
            fields[name] += f"\n{raw.strip()}"
        else:
            title, colon, value = raw.partition(":")
            name = title.strip().lower()
            if not colon or not name:
                raise _wrong(
                    path, line, f"{raw.strip()!r} is not a field",
                    "A field is written Name: value.",
                )  # fmt: skip
            if name in fields:
                raise _wrong(path, line, f"the field {title.strip()} stands twice in one entry")
            if not fields:
                start = line
            fields[name] = value.strip()


def combine(sources: Iterable[Source]) -> tuple[Source, ...]:
    """One source per URI, suite and set of architectures, with the components of all its entries.

    Raises
    ------
    SourceConfigurationError
        Two entries of one URI and suite disagree about what belongs to both (Signed-By, Trusted).
    """
    found: dict[tuple[str, str, tuple[str, ...]], Source] = {}
    shared: dict[tuple[str, str], Source] = {}
    for source in sources:
        first = shared.setdefault((source.uri, source.suite), source)
        for name in ("signed_by", "signed_by_key", "trusted", "check_valid_until", "check_date"):
            if getattr(first, name) != getattr(source, name):
                raise _wrong(
                    source.path, source.line,
                    f"{name.replace('_', '-').title()} of {source.uri} {source.suite} "
                    f"is different from {first.place}",
                    "All entries of one URI and suite must agree.",
                )  # fmt: skip
        key = (source.uri, source.suite, source.architectures)
        known = found.get(key)
        if known is not None:
            names = tuple(dict.fromkeys((*known.components, *source.components)))
            source = dataclasses.replace(known, components=names)
        found[key] = source
    return tuple(found.values())


def host_sources(root: str = "/") -> AptSources:
    """The package sources of this machine.

    Parameters
    ----------
    root
        Another machine's tree.

    Raises
    ------
    SourceConfigurationError
        A file cannot be understood, or the machine has no package sources.
    """
    configuration = host_configuration(root)
    entries: list[Source] = []
    main = configuration.path("Dir::Etc::sourcelist")
    files = [main] if main and os.path.isfile(main) else []
    parts = configuration.path("Dir::Etc::sourceparts")
    files += configuration_files(parts, "(?:list|sources)", configuration)
    for file in files:
        try:
            text = Path(file).read_bytes().decode("utf-8", "replace")
        except OSError as error:
            raise _wrong(file, None, f"cannot be read ({error.strerror})") from error
        # As APT does, the name decides; sources.list itself may be of either kind by its suffix.
        parse = parse_deb822 if file.endswith(".sources") else parse_one_line
        entries += parse(text, file)
    if not entries:
        raise SourceConfigurationError(
            f"This machine has no package sources ({main or parts} has no entry).",
            path=main or parts,
            hint='Name one: apt(mirror="http://...", suite="...", components=["main"], '
            "keyring=...).",
        )
    native = native_architecture(configuration)
    return AptSources(
        sources=combine(_expanded(source, native) for source in entries),
        configuration=configuration,
        pins=host_pins(configuration),
        keyrings=_trusted_keyrings(configuration),
    )


def explicit_sources(
    *,
    mirror: str,
    suite: str,
    components: Sequence[str] | str = ("main",),
    keyring: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    trusted: bool = False,
) -> AptSources:
    """Sources that are named in full; of this machine's APT only proxies, logins and checks count.

    Parameters
    ----------
    mirror
        The archive's URI (``http:``, ``https:``, ``file:`` or ``copy:``).
    suite
        Its suite, or several separated by blanks.
    components
        Names, or text of names separated by blanks. Ignored if the suite is a path.
    keyring
        Files of OpenPGP keys, of which one must have signed. Default: the keyrings that APT
        trusts, and the archive keyrings in ``/usr/share/keyrings``.
    trusted
        Use the archive even if it is not signed.

    Raises
    ------
    SourceConfigurationError, MissingArgumentError, ArgumentTypeError
        `mirror` is no URI; a part is missing.
    """
    for name, value in (("mirror", mirror), ("suite", suite)):
        if not isinstance(value, str):
            raise ArgumentTypeError(f"{name} is text, not {value!r}.", argument=name)
        if not value.strip():
            raise MissingArgumentError(
                f"apt() needs {name}.", argument=name,
                hint='For example apt(mirror="http://...", suite="stable", components=["main"]).',
            )  # fmt: skip
    names = components.split() if isinstance(components, str) else tuple(components)
    configuration = host_configuration()
    if keyring is None:
        keyrings = _trusted_keyrings(configuration) + _archive_keyrings()
    elif isinstance(keyring, str | os.PathLike):
        keyrings = (os.path.abspath(os.path.expanduser(os.fspath(keyring))),)
    else:
        keyrings = tuple(os.path.abspath(os.path.expanduser(os.fspath(k))) for k in keyring)
    entries = (
        dataclasses.replace(
            _source(
                mirror.strip(), one, () if one.endswith("/") else names,
                {"trusted": "yes"} if trusted else {}, "", 0,
            ),
            line=None,
        )
        for one in suite.split()
    )  # fmt: skip
    return AptSources(sources=combine(entries), configuration=configuration, keyrings=keyrings)


def _expanded(source: Source, architecture: str) -> Source:
    suite = source.suite.replace("$(ARCH)", architecture)
    return source if suite == source.suite else dataclasses.replace(source, suite=suite)


def _trusted_keyrings(configuration: AptConfiguration) -> tuple[str, ...]:
    """``trusted.gpg`` and what stands in ``trusted.gpg.d``."""
    main = configuration.path("Dir::Etc::trusted")
    parts = configuration_files(
        configuration.path("Dir::Etc::trustedparts"), "(?:gpg|asc)", configuration
    )
    return (*([main] if main and os.path.isfile(main) else []), *parts)


def _archive_keyrings() -> tuple[str, ...]:
    """The keyrings that distributions' keyring packages install."""
    folder = "/usr/share/keyrings"
    good = re.compile(r"[a-z0-9-]+-archive-keyring\.(?:gpg|pgp|asc)")
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return ()
    return tuple(os.path.join(folder, name) for name in names if good.fullmatch(name))
