"""The dependency fields of a package: what they say, as values.

``Depends: libc6 (>= 2.34), default-mta | mail-transport-agent`` is two requirements, of which the
second can be met in two ways. Debian Policy 7.1 has the syntax. Parts that do not concern the
architecture (``[arm64]``) or need a build profile (``<stage1>``) are left out while parsing.

    >>> from nbdock.packages.debian.relations import parse_relations
    >>> [str(group) for group in parse_relations("libc6 (>= 2.34), exim4 | mail-transport-agent")]
    ['libc6 (>= 2.34)', 'exim4 | mail-transport-agent']
"""

from __future__ import annotations

import dataclasses
import functools
import re

from nbdock.errors import InvalidValueError
from nbdock.packages.debian import versions

__all__ = ["Alternatives", "Relation", "parse_relations"]

_RELATION = re.compile(
    r"""\s*
    (?P<name>[A-Za-z0-9][A-Za-z0-9+._-]*)
    (?: : (?P<qualifier>[A-Za-z0-9-]+) )?
    \s* (?: \( \s* (?P<operator><<|<=|>=|>>|=|<|>) \s* (?P<version>[^\s()<=>]+) \s* \) )?
    \s* (?: \[ (?P<architectures>[^\]]*) \] )?
    \s* (?P<profiles> (?: <[^>]*> \s* )* )
    $""",
    re.VERBOSE,
)
# The one-letter forms are ancient and mean "or equal" (Policy 7.1).
_OLD_OPERATORS = {"<": "<=", ">": ">="}


@dataclasses.dataclass(frozen=True, slots=True)
class Relation:
    """One package name with what is asked of it.

    Attributes
    ----------
    name
        A package, or something that packages provide.
    operator, version
        ``<<``, ``<=``, ``=``, ``>=`` or ``>>`` and what to compare with; both empty: any version.
    qualifier
        ``any``, ``native`` or an architecture, as it stands after the colon; usually empty.
    """

    name: str
    operator: str = ""
    version: str = ""
    qualifier: str = ""

    def accepts(self, version: str) -> bool:
        """Say whether a version is one that is asked for."""
        return not self.operator or versions.satisfies(version, self.operator, self.version)

    def __str__(self) -> str:
        name = f"{self.name}:{self.qualifier}" if self.qualifier else self.name
        return f"{name} ({self.operator} {self.version})" if self.operator else name


@dataclasses.dataclass(frozen=True, slots=True)
class Alternatives:
    """Relations of which one is enough, in the order in which the package's maintainer prefers."""

    relations: tuple[Relation, ...]

    def __str__(self) -> str:
        return " | ".join(map(str, self.relations))


def _matches_architecture(wildcard: str, architecture: str) -> bool:
    if wildcard in {"any", architecture}:
        return True
    system, _, cpu = architecture.rpartition("-")
    wild_system, _, wild_cpu = wildcard.rpartition("-")
    # armel and armhf are both `any-arm`.
    cpus = {cpu, "any", "arm"} if cpu in {"armel", "armhf"} else {cpu, "any"}
    return bool(wild_system) and wild_system in {system or "linux", "any"} and wild_cpu in cpus


def _applies(architectures: str | None, profiles: str, architecture: str) -> bool:
    if architectures is not None:
        names = architectures.split()
        denied = any(n[0] == "!" and _matches_architecture(n[1:], architecture) for n in names)
        named = [n for n in names if n[0] != "!"]
        if denied or (named and not any(_matches_architecture(n, architecture) for n in named)):
            return False
    # No profile is active, so a list <a !b> holds exactly if all its terms are negated.
    lists = re.findall("<([^>]*)>", profiles)
    return not lists or any(all(t[0] == "!" for t in terms.split()) for terms in lists)


@functools.lru_cache(maxsize=1 << 15)
def parse_relations(field: str, architecture: str = "amd64") -> tuple[Alternatives, ...]:
    """Parse a dependency field.

    Parameters
    ----------
    field
        The text of a field such as Depends, Conflicts or Provides; may be folded or empty.
    architecture
        Whose ``[...]`` restrictions hold.

    Returns
    -------
    tuple of Alternatives
        In the order of the field; what does not concern `architecture` is left out.

    Raises
    ------
    InvalidValueError
        A part that is not a relation.
    """
    groups = []
    for part in field.split(","):
        if not part.strip():
            continue  # a trailing comma; Policy forbids it, archives have it
        relations = []
        for alternative in part.split("|"):
            match = _RELATION.match(alternative)
            if match is None:
                raise InvalidValueError(
                    f"{alternative.strip()!r} is not a relation to a package.",
                    value=field,
                    hint="A relation looks like `name`, `name (>= 1.0)` or `name:any [amd64]`.",
                )
            name, qualifier, operator, version, architectures, profiles = match.groups()
            if (architectures is None and not profiles) or _applies(
                architectures, profiles, architecture
            ):
                operator = _OLD_OPERATORS.get(operator, operator)
                relations.append(Relation(name, operator or "", version or "", qualifier or ""))
        if relations:
            groups.append(Alternatives(tuple(relations)))
    return tuple(groups)
