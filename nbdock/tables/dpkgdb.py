"""What dpkg's records say is installed: ``status``, and the files of ``status.d``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nbdock.tables.records import Record, Told, in_force

__all__ = ["read"]

_STATUS = b"var/lib/dpkg/status"
_NEEDS = ("pre-depends", "depends")


def read(records: Iterable[Record]) -> Iterator[tuple[Told, int]]:
    """The packages, and the layer of each."""
    mine = [r for r in records if r.path.startswith(_STATUS) and not r.path.endswith(b".md5sums")]
    yield from in_force(mine, _parse)


def _parse(data: bytes) -> Iterator[Told]:
    # Only images with dpkg's records need what reads them.
    from nbdock.packages import installed_from_records

    for package in installed_from_records(data):
        yield Told(
            "dpkg",
            package.name,
            package.version,
            package.size_bytes,
            needs=tuple(tuple(group) for field in _NEEDS for group in package.related(field)),
            provides=tuple(name for group in package.related("provides") for name in group),
            architecture=package.stanza.get("architecture", ""),
            source=package.stanza.get("source", "").partition(" ")[0],
        )
