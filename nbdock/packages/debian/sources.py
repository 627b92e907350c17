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
from collections.abc import Iterable, Sequence
from pathlib import Path

from nbdock.errors import ArgumentTypeError, MissingArgumentError, SourceConfigurationError
from nbdock.packages.debian.access import local_path
from nbdock.packages.debian.configuration import (
    AptConfiguration,
    configuration_files,
    host_configuration,
    native_architecture,
)
from nbdock.packages.debian.preferences import Pin, host_pins
from nbdock.packages.debian.sourceentry import (
    Source,
    make_source,
    parse_deb822,
    parse_one_line,
    wrong,
)

__all__ = [
    "AptSources",
    "Source",
    "combine",
    "explicit_sources",
    "host_sources",
    "parse_deb822",
    "parse_one_line",
]


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
                raise wrong(
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
            raise wrong(file, None, f"cannot be read ({error.strerror})") from error
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
            make_source(
                mirror.strip(), one, () if one.endswith("/") else names,
                {"trusted": "yes"} if trusted else {}, "", 0,
            ),
            line=None,
        )
        for one in suite.split()
    )  # fmt: skip
    return AptSources(sources=combine(entries), configuration=configuration, keyrings=keyrings)


def _expanded(source: Source, architecture: str) -> Source:
    """The entry with what stands for something else put in: ``$(ARCH)``, a list of mirrors."""
    suite = source.suite.replace("$(ARCH)", architecture)
    uri = source.uri
    if uri.startswith("mirror+file:"):
        uri = _best_mirror(local_path(uri.removeprefix("mirror+").rstrip("/")) or "", source)
    return dataclasses.replace(source, suite=suite, uri=uri)


def _best_mirror(path: str, source: Source) -> str:
    """The first mirror of a list (apt-transport-mirror(1)), or that with the lowest priority."""
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise wrong(
            source.path, source.line, f"the list of mirrors {path} cannot be read"
        ) from error
    found: list[tuple[int, int, str]] = []
    for number, line in enumerate(lines):
        uri, *facts = line.partition("#")[0].split() or [""]
        priority = re.search(r"(?:^| )priority:(\d{1,9})(?: |$)", " ".join(facts))
        if uri:
            found.append((int(priority[1]) if priority else 1 << 30, number, uri))
    if not found:
        raise wrong(source.path, source.line, f"the list of mirrors {path} is empty")
    return min(found)[2].rstrip("/") + "/"


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
