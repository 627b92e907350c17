"""What dpkg's records in an image say is installed: packages, and what each needs of the others.

    Package: redis-server
    Version: 5:7.0.15-1
    Depends: redis-tools (= 5:7.0.15-1)

A record is a stanza of ``/var/lib/dpkg/status`` or a file in ``/var/lib/dpkg/status.d``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from nbdock.errors import InvalidValueError, UnavailableError
from nbdock.filetree import Entry
from nbdock.packages.closure import Closure
from nbdock.packages.debian.relations import parse_relations
from nbdock.packages.package import Package

__all__ = ["InstalledPackage", "installed_from_records", "records_closure"]


class InstalledPackage(Package):
    """A package that an image says it has; its files are in the image, not here."""

    def __init__(self, stanza: dict[str, str]) -> None:
        self.name = stanza.get("package", "")
        self.version = stanza.get("version", "")
        self.root = "/"
        self.stanza = stanza
        size = stanza.get("installed-size", "0")
        self._size_bytes = 1024 * int(size) if size.isdigit() else 0
        text = "\0".join((self.name, self.version, stanza.get("architecture", "")))
        self._key = f"installed:{hashlib.sha256(text.encode()).hexdigest()}"

    @property
    def key(self) -> str:
        """Made of name, version and architecture."""
        return self._key

    @property
    def size_bytes(self) -> int:
        """What the record says, which counts whole kibibytes."""
        return self._size_bytes

    def related(self, field: str) -> Sequence[Sequence[str]]:
        """What a field such as ``depends`` names: groups of alternatives; none if it is broken."""
        try:
            return [
                [relation.name for relation in group.relations]
                for group in parse_relations(self.stanza.get(field, ""))
            ]
        except InvalidValueError:
            return ()

    def entries(self) -> Iterator[Entry]:
        """Not known: the record does not say which files of the image are the package's."""
        raise UnavailableError(
            f"{self!r} is known by its record only.", hint="Its files are in the image's layers."
        )


def installed_from_records(data: bytes) -> Iterator[InstalledPackage]:
    """The packages that records name, those removed or half-installed left out."""
    for block in data.decode("utf-8", "replace").split("\n\n"):
        stanza: dict[str, str] = {}
        name = ""
        for line in block.splitlines():
            if line[:1] in (" ", "\t"):
                if name:
                    stanza[name] += "\n" + line
            elif ":" in line:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                stanza[name] = value.strip()
        status = stanza.get("status", "install ok installed").split()
        if stanza.get("package") and status[-1] == "installed":
            yield InstalledPackage(stanza)


def records_closure(packages: Iterable[InstalledPackage]) -> Closure:
    """Installed packages and what each needs of the others, as their records say."""
    found = {package.key: package for package in packages}
    ordered = sorted(found.values(), key=lambda p: (p.name, p.key))
    by_name: dict[str, list[InstalledPackage]] = {}
    for package in ordered:
        by_name.setdefault(package.name, []).append(package)
        for group in package.related("provides"):
            for name in group:
                by_name.setdefault(name, []).append(package)
    references = {}
    for package in ordered:
        needed = {
            other.key
            for field in ("pre-depends", "depends")
            for group in package.related(field)
            for other in next((by_name[name] for name in group if name in by_name), [])
            if other is not package
        }
        references[package.key] = tuple(sorted(needed))
    wanted = {key for keys in references.values() for key in keys}
    roots = tuple(p.key for p in ordered if p.key not in wanted)
    return Closure(tuple(ordered), references, roots)
