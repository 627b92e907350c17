"""The index as the resolver looks at it: versions as nodes, dependencies as options.

A `Node` is one version of one package, made once, compared by identity; a `Requirement` is one part
of its Depends field with every node that meets it. Both come into being when they are first looked
at, so a closure of 50 packages parses 50 stanzas' fields of an index of 60,000.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from nbdock.errors import InvalidValueError, PackageNotFoundError, nearest
from nbdock.packages.debian.record import PackageRecord
from nbdock.packages.debian.relations import Alternatives, Relation, parse_relations
from nbdock.packages.debian.versions import version_key

__all__ = ["Catalogue", "Node", "PackageIndex", "Requirement"]

_PRIORITIES = {"required": 1, "important": 2, "standard": 3, "optional": 4, "extra": 5}


class PackageIndex(Protocol):
    """What the resolver needs of an index."""

    def candidates(self, name: str, /) -> Sequence[PackageRecord]:
        """Every version of a package."""
        ...

    def providers(self, virtual: str, /) -> Sequence[PackageRecord]:
        """Every version of a package whose Provides names `virtual`."""
        ...

    def names(self) -> Collection[str]:
        """The names of all packages."""
        ...


class Requirement:
    """One part of a dependency field: what it says and what meets it.

    Attributes
    ----------
    alternatives
        The text, parsed.
    options
        The nodes that meet it, in APT's order of preference.
    meant
        Those of them that the field means: a package that is named, rather than one that
        provides the name (``libelogind0`` for ``libsystemd0``).
    hard
        Whether it must be met (Depends, Pre-Depends) or may be (Recommends).
    """

    __slots__ = ("alternatives", "hard", "meant", "options")

    def __init__(
        self, alternatives: Alternatives, options: tuple[Node, ...], meant: tuple[Node, ...],
        *, hard: bool,
    ) -> None:  # fmt: skip
        self.alternatives = alternatives
        self.options = options
        self.meant = meant
        self.hard = hard

    def __str__(self) -> str:
        return str(self.alternatives)


class Node:
    """One version of one package."""

    def __init__(self, record: PackageRecord, catalogue: Catalogue):
        self.record = record
        self.name = record.name
        self.version = record.version
        self.size_kib = record.installed_size_kib
        self.catalogue = catalogue

    def __repr__(self) -> str:
        return f"{self.name} {self.version}"

    @functools.cached_property
    def sort_key(self) -> tuple[object, ...]:
        """Orders nodes by name, then version: an order that no input order can change."""
        return (self.name, version_key(self.version), self.version)

    def _parse(self, *fields: str) -> tuple[Alternatives, ...]:
        try:
            return sum((self.catalogue.parse(f) for f in fields if f), ())
        except InvalidValueError as error:
            raise InvalidValueError(
                f"The package index describes {self} badly: {error.message}",
                value=error.value,
                hint="The package source is broken; try another one, or exclude the package.",
            ) from error

    @functools.cached_property
    def provided(self) -> Mapping[str, tuple[str, ...]]:
        """What it provides: names, each with the versions it is provided in (or ``""``)."""
        found: dict[str, tuple[str, ...]] = {}
        for group in self._parse(self.record.provides):
            for relation in group.relations:
                name = f"{relation.name}:any" if relation.qualifier == "any" else relation.name
                found[name] = (*found.get(name, ()), relation.version)
        return found

    @functools.cached_property
    def requirements(self) -> tuple[Requirement, ...]:
        """Pre-Depends, Depends, then Recommends if they count; what is excluded is left out."""
        catalogue = self.catalogue
        fields = [(self.record.pre_depends, True), (self.record.depends, True)]
        if catalogue.recommends:
            fields.append((self.record.recommends, False))
        found = []
        for field, hard in fields:
            for group in self._parse(field):
                options = catalogue.options(group)
                if not catalogue.counts_as_met(group, options):
                    found.append(Requirement(group, options, catalogue.meant(group), hard=hard))
        return tuple(found)

    @functools.cached_property
    def negatives(self) -> tuple[Relation, ...]:
        """What it cannot be together with: Conflicts and Breaks."""
        groups = self._parse(self.record.conflicts, self.record.breaks)
        return tuple(relation for group in groups for relation in group.relations)

    @functools.cached_property
    def replaces(self) -> tuple[Alternatives, ...]:
        """Whose files it may overwrite."""
        return self._parse(self.record.replaces)

    def meets(self, relation: Relation) -> bool:
        """Say whether this package is what a relation asks for, by name or by what it provides."""
        native = self.catalogue.architecture
        if relation.name == self.name and relation.accepts(self.version):
            if relation.qualifier in {"", "native", native}:
                return True
            if relation.qualifier == "any" and self.record.multi_arch == "allowed":
                return True
        if not self.record.provides:
            return False
        if relation.qualifier == "any":
            versions = self.provided.get(f"{relation.name}:any", ())
            if self.record.multi_arch == "allowed":
                versions += self.provided.get(relation.name, ())
        elif relation.qualifier in {"", "native", native}:
            versions = self.provided.get(relation.name, ())
        else:
            versions = ()
        # A version that is asked for is met only by a provided version (Policy 7.5).
        return any(not relation.operator or (v and relation.accepts(v)) for v in versions)


class Catalogue:
    """The packages of an index that can be chosen, for one request.

    Parameters
    ----------
    index
        Where packages are looked up.
    architecture
        The native architecture; packages of others are not seen.
    pinned
        Versions that take the place of the candidates of their names.
    exclude
        Names of packages that count as present and never get chosen.
    recommends
        Whether Recommends are requirements too (soft ones).
    every_version
        Whether versions that are not the candidates can be chosen too, if nothing else will do.
        APT never does that.
    """

    def __init__(
        self, index: PackageIndex, *, architecture: str, pinned: Iterable[PackageRecord] = (),
        exclude: Collection[str] = (), recommends: bool = False, every_version: bool = False,
    ) -> None:  # fmt: skip
        self.index = index
        self.architecture = architecture
        self.exclude = frozenset(exclude)
        self.recommends = recommends
        self.every_version = every_version
        self._pinned = {record.name: record for record in pinned}
        self._nodes: dict[tuple[str, str], Node] = {}
        self._versions: dict[str, tuple[Node, ...]] = {}
        self._options: dict[Relation, tuple[Node, ...]] = {}

    def parse(self, field: str) -> tuple[Alternatives, ...]:
        """Parse a dependency field for this architecture."""
        return parse_relations(field, self.architecture)

    def node(self, record: PackageRecord) -> Node:
        """Return the one node of a record."""
        key = (record.name, record.version)
        found = self._nodes.get(key)
        if found is None:
            found = self._nodes[key] = Node(record, self)
        return found

    def versions(self, name: str) -> tuple[Node, ...]:
        """All versions of a package that may be installed, the candidate first."""
        found = self._versions.get(name)
        if found is None:
            usable = [
                r
                for r in self.index.candidates(name)
                if r.pin_priority >= 0 and r.architecture in {self.architecture, "all"}
            ]
            usable.sort(key=lambda r: (r.pin_priority, version_key(r.version)), reverse=True)
            if pinned := self._pinned.get(name):
                usable.insert(0, pinned)
            found = tuple(dict.fromkeys(map(self.node, usable)))
            self._versions[name] = found
        return found

    def candidate(self, name: str) -> Node | None:
        """The version of a package that APT would install, or None."""
        versions = self.versions(name)
        return versions[0] if versions else None

    def matching(self, relation: Relation) -> tuple[Node, ...]:
        """The nodes that meet a relation: the package itself, then providers as APT ranks them."""
        found = self._options.get(relation)
        if found is None:
            own = [n for n in self.versions(relation.name) if n.meets(relation)]
            names = {r.name: None for r in self.index.providers(relation.name)}
            others = [
                node
                for name in names
                if name != relation.name
                for node in self.versions(name)
                if node.meets(relation)
            ]
            usable = [*own, *others]
            if not self.every_version:
                usable = [n for n in usable if n is self.candidate(n.name)]
            # Sorted twice: by name falling, then by rank; versions of a name stay as they are.
            # APT's last resort is which package its cache met last: an index is sorted by name.
            usable.sort(key=lambda n: n.name, reverse=True)
            usable.sort(key=lambda n: self._rank(n, relation))
            found = tuple(usable)
            self._options[relation] = found
        return found

    def _rank(self, node: Node, relation: Relation) -> tuple[bool, bool, int]:
        record = node.record
        priority = _PRIORITIES.get(record.priority, 4)
        return (node.name != relation.name, not self.is_essential(node.name), priority)

    def is_essential(self, name: str) -> bool:
        """Say whether any version of a package is: APT holds that against the name."""
        return any(record.essential for record in self.index.candidates(name))

    def options(self, group: Alternatives) -> tuple[Node, ...]:
        """The nodes that meet any of some alternatives, in the order of the field."""
        if len(group.relations) == 1:
            return self.matching(group.relations[0])
        return tuple(dict.fromkeys(n for r in group.relations for n in self.matching(r)))

    def meant(self, group: Alternatives) -> tuple[Node, ...]:
        """The options that a field means: what it names rather than a stand-in, the best version.

        With several alternatives, or none that is a package by name, there are several.
        """
        found: dict[str, Node] = {}
        for relation in group.relations:
            options = self.matching(relation)
            named = [n for n in options if n.name == relation.name]
            for node in named or options:
                found.setdefault(node.name, node)
        return tuple(found.values())

    def counts_as_met(self, group: Alternatives, options: tuple[Node, ...]) -> bool:
        """Say whether an excluded package would meet a requirement: then nothing else needs to."""
        exclude = self.exclude
        return bool(exclude) and (
            any(r.name in exclude for r in group.relations)
            or any(n.name in exclude for n in options)
        )

    def why_unmet(self, group: Alternatives) -> str:
        """Say why nothing meets a requirement, for people."""
        reasons = []
        for relation in group.relations:
            versions = self.versions(relation.name)
            if versions and relation.operator:
                shown = ", ".join(n.version for n in versions[:3])
                reasons.append(f"only {relation.name} {shown} is available")
            elif versions:
                reasons.append(f"{relation.name} is there, but not for {relation.qualifier!r}")
            elif self.index.providers(relation.name):
                reasons.append(f"nothing provides {relation} in a version that fits")
            else:
                reasons.append(f"there is no {relation.name}")
        return "; ".join(dict.fromkeys(reasons))

    def not_found(self, name: str) -> PackageNotFoundError:
        """Make the error for a name that no package has."""
        providers = sorted({r.name for r in self.index.providers(name)})
        if providers:
            hint = f"It is a virtual package; choose one of: {', '.join(providers[:8])}."
        else:
            close = nearest(name, self.index.names())
            hint = f"Did you mean {', '.join(close)}?" if close else "apt.search() finds names."
        return PackageNotFoundError(
            f"There is no package {name!r} for {self.architecture} in the package sources.",
            package=name,
            hint=hint,
        )
