"""From what was asked for to all that it needs: Debian's dependencies, resolved.

Pure: an index and records go in, a `Resolution` comes out, the same one whatever order the request
or the index is in. The system is taken to be empty, as an image is; so nothing is there that is not
needed by something, Essential or not (``apt-get`` on an empty system sees it the same way).

    resolution = resolve(index, [redis_server])
    [str(record) for record in resolution.records]

Where it departs from APT (unless ``alternatives="apt"``): alternatives go by bytes, a conflict is
searched around rather than reported, and where the candidates do not go together, other versions
that are still in the sources may.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

from nbdock.errors import ArgumentError, UnresolvableError
from nbdock.packages.debian.aptorder import choose_as_apt
from nbdock.packages.debian.catalogue import Catalogue, Node, PackageIndex
from nbdock.packages.debian.record import PackageRecord
from nbdock.packages.debian.search import choose_by_search

__all__ = ["AlternativesRule", "Resolution", "request_key", "resolve"]

AlternativesRule: TypeAlias = Literal["smallest", "apt"]

_VERSION = 1
"""Raised whenever the same request would give another resolution than before."""


@dataclasses.dataclass(frozen=True)
class Resolution:
    """The packages of a request with what refers to what, by package name.

    Attributes
    ----------
    records
        Sorted by name; one version of each package.
    references
        For each name the names of the packages that meet its requirements; never itself. Cycles
        are as they are in Debian (``libc6`` and ``libgcc-s1``).
    roots
        The names that were asked for.
    overrides
        ``(winner, loser)``: the winner's Replaces says that its files take the loser's place.
    """

    records: tuple[PackageRecord, ...]
    references: Mapping[str, tuple[str, ...]]
    roots: tuple[str, ...]
    overrides: tuple[tuple[str, str], ...]

    def to_bytes(self) -> bytes:
        """A form to keep; `from_bytes` reads it."""
        document = [
            [dataclasses.astuple(r) for r in self.records], dict(self.references),
            self.roots, self.overrides,
        ]  # fmt: skip
        return zlib.compress(json.dumps(document, separators=(",", ":")).encode(), 1)

    @classmethod
    def from_bytes(cls, data: bytes) -> Resolution | None:
        """Read what `to_bytes` made; None if it is anything else."""
        try:
            records, references, roots, overrides = json.loads(zlib.decompress(data))
            return cls(
                tuple(PackageRecord(*fields) for fields in records),
                {name: tuple(names) for name, names in references.items()},
                tuple(roots),
                tuple((winner, loser) for winner, loser in overrides),
            )
        except (ValueError, TypeError, AttributeError, zlib.error, RecursionError):
            return None


def request_key(
    fingerprint: str, roots: Iterable[PackageRecord], *, architecture: str,
    alternatives: AlternativesRule, exclude: Collection[str], recommends: bool,
) -> str:  # fmt: skip
    """Name a request, so that its resolution can be kept: the same text for the same request."""
    asked = sorted((r.name, r.version, r.sha256) for r in roots)
    said = [_VERSION, fingerprint, asked, architecture, alternatives, sorted(exclude), recommends]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def resolve(
    index: PackageIndex, roots: Sequence[PackageRecord], *, architecture: str = "amd64",
    alternatives: AlternativesRule = "smallest", exclude: Collection[str] = (),
    recommends: bool = False,
) -> Resolution:  # fmt: skip
    """Resolve a request from an empty system.

    Parameters
    ----------
    index
        Where packages are looked up.
    roots
        What is asked for: these versions, whatever the candidates are.
    architecture
        The native architecture.
    alternatives
        ``smallest``: what adds the fewest bytes; ``apt``: what APT would take.
    exclude
        Names of packages that count as present: they are left out, with what only they need.
    recommends
        Whether what is recommended comes along, where that is possible.

    Raises
    ------
    PackageNotFoundError
        An excluded name that no package has.
    ArgumentError
        A package is asked for and excluded.
    UnresolvableError
        Dependencies that cannot be met together; `chain` leads to the cause.
    """
    as_apt = alternatives == "apt"
    catalogue = Catalogue(
        index, architecture=architecture, pinned=roots, exclude=exclude, recommends=recommends
    )
    _check(catalogue, roots)
    chosen = choose_as_apt(catalogue, _asked(catalogue, roots)) if as_apt else None
    if chosen is None:
        try:
            chosen = choose_by_search(_asked(catalogue, roots), smallest=not as_apt)
        except UnresolvableError:
            # APT would stop here. What the candidates cannot do, other versions may: those that
            # go with a version that was asked for, or with a half-updated mirror.
            catalogue = Catalogue(
                index, architecture=architecture, pinned=roots, exclude=exclude,
                recommends=recommends, every_version=True,
            )  # fmt: skip
            chosen = None if as_apt else _second_chance(_asked(catalogue, roots))
            if chosen is None:
                raise
    nodes = sorted(chosen, key=lambda n: n.sort_key)
    return Resolution(
        records=tuple(n.record for n in nodes),
        references={n.name: _references(n, chosen) for n in nodes},
        roots=tuple(dict.fromkeys(r.name for r in roots)),
        overrides=_overrides(nodes),
    )


def _asked(catalogue: Catalogue, roots: Sequence[PackageRecord]) -> list[Node]:
    # dict: a package that was asked for twice is one root.
    return sorted(dict.fromkeys(map(catalogue.node, roots)), key=lambda n: n.sort_key)


def _second_chance(asked: Sequence[Node]) -> set[Node] | None:
    try:
        return choose_by_search(asked)
    except UnresolvableError:
        return None  # the first error speaks of the versions that people know


def _check(catalogue: Catalogue, roots: Sequence[PackageRecord]) -> None:
    for name in sorted(catalogue.exclude):
        if not catalogue.versions(name) and not catalogue.index.providers(name):
            raise catalogue.not_found(name)
        if any(r.name == name for r in roots):
            raise ArgumentError(
                f"{name} is asked for and excluded.",
                argument="exclude",
                hint="Leave it out of one of them.",
            )
    versions: dict[str, PackageRecord] = {}
    for record in roots:
        other = versions.setdefault(record.name, record)
        if other.version != record.version:
            raise UnresolvableError(
                f"{record.name} is asked for in two versions, {other.version} and "
                f"{record.version}.",
                package=record.name,
                chain=(str(other), str(record)),
                hint="An image holds one version of a package.",
            )


def _references(node: Node, chosen: set[Node]) -> tuple[str, ...]:
    met_by = {
        option.name
        for requirement in node.requirements
        for option in requirement.options
        if option in chosen and option is not node
    }
    return tuple(sorted(met_by))


def _overrides(nodes: Sequence[Node]) -> tuple[tuple[str, str], ...]:
    """Who may overwrite whose files (Policy 7.6.1): a real package's name, in a version that fits.

    Two packages that replace each other: dpkg lets the one that is unpacked later win; here it is
    the one whose name comes first.
    """
    by_name = {n.name: n for n in nodes}
    pairs: dict[tuple[str, str], None] = {}
    for node in nodes:
        if not node.record.replaces:
            continue
        for group in node.replaces:
            for relation in group.relations:
                other = by_name.get(relation.name)
                if (
                    other is not None
                    and other is not node
                    and relation.accepts(other.version)
                    and (other.name, node.name) not in pairs
                ):
                    pairs[node.name, other.name] = None
    return tuple(sorted(pairs))
