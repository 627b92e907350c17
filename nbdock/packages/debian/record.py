"""One stanza of a Packages index, as far as choosing, fetching and recording a package needs it.

The dependency fields stay the raw text of the index: an index has some 60,000 stanzas and a
closure looks at a few hundred, so `relations` parses a field when it is first asked for.

    >>> from nbdock.packages.debian.record import PackageRecord
    >>> PackageRecord.of("hello", "2.10-3", depends="libc6 (>= 2.34)").depends
    'libc6 (>= 2.34)'
"""

from __future__ import annotations

import dataclasses
from typing import Any

__all__ = ["PackageRecord"]


@dataclasses.dataclass(frozen=True, slots=True)
class PackageRecord:
    """A package as an index describes it.

    Attributes
    ----------
    name, version, architecture
        What identifies it; `architecture` may be ``all``.
    multi_arch
        ``no``, ``same``, ``foreign`` or ``allowed``.
    essential
        Whether dpkg treats it as always there.
    depends, pre_depends, recommends, conflicts, breaks, provides, replaces
        The text of the field; empty if the stanza has none.
    installed_size_kib
        The index's estimate of what its files take, in units of 1024 bytes.
    size_bytes, sha256, url
        The .deb: its length, its digest (hex) and where it is fetched from.
    source, section, description
        The source package, the section, and the first line of the description.
    pin_priority
        APT's preference for the source it comes from; the highest wins, before the version.
    """

    name: str
    version: str
    architecture: str
    multi_arch: str
    essential: bool
    priority: str
    depends: str
    pre_depends: str
    recommends: str
    conflicts: str
    breaks: str
    provides: str
    replaces: str
    installed_size_kib: int
    size_bytes: int
    sha256: str
    url: str
    source: str
    section: str
    description: str
    pin_priority: int = 500

    @classmethod
    def of(cls, name: str, version: str, **fields: Any) -> PackageRecord:
        """Make a record from the fields that matter; the rest is empty. For tests and examples."""
        empty: dict[str, Any] = {
            f.name: "" if f.type == "str" else 0 for f in dataclasses.fields(cls)
        }
        empty |= {"architecture": "amd64", "multi_arch": "no", "essential": False}
        empty |= {"priority": "optional", "pin_priority": 500, "source": name}
        return cls(**empty | {"name": name, "version": version} | fields)

    def __str__(self) -> str:
        return f"{self.name} {self.version}"
