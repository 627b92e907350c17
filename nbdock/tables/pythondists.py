r"""Python distributions: their ``METADATA``, and how large ``RECORD`` says they are.

>>> parse_metadata(b"Name: Foo\nVersion: 1\nRequires-Dist: bar (>=2)\n\nSome text.")
('Foo', '1', ['bar'])
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator

from nbdock.tables.records import Record, Told

__all__ = ["parse_metadata", "read"]

_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_SEPARATORS = re.compile(r"[-_.]+")
_METADATA = (b".dist-info/METADATA", b".egg-info/PKG-INFO", b".egg-info")


def read(records: Iterable[Record]) -> Iterator[tuple[Told, int]]:
    """The distributions, and the layer of each."""
    seen = [record for record in records if record.visible]
    sizes = {r.path: _size(r.content) for r in seen if r.path.endswith(b".dist-info/RECORD")}
    for record in seen:
        if record.path.endswith(_METADATA):
            name, version, needs = parse_metadata(record.content)
            place = record.path.rpartition(b"/")[0] + b"/RECORD"
            if name:
                # One may be installed for several interpreters.
                root = record.path.decode("utf-8", "backslashreplace")
                yield Told(
                    "python", name, version, sizes.get(place, 0),
                    needs=tuple((_normal(need),) for need in needs),
                    provides=(_normal(name),), root=f"/{root.rpartition('/')[0]}",
                ), record.layer  # fmt: skip


def parse_metadata(data: bytes) -> tuple[str, str, list[str]]:
    """Name, version, and names of what is needed always (not by an extra)."""
    name = version = ""
    needs = []
    for line in data.decode("utf-8", "replace").splitlines():
        if not line.strip():
            break
        field, _, value = line.partition(":")
        field = field.lower()
        if field == "name":
            name = value.strip()
        elif field == "version":
            version = value.strip()
        elif field == "requires-dist" and "extra" not in value.partition(";")[2]:
            found = _NAME.match(value)
            if found:
                needs.append(found[1])
    return name, version, needs


def _normal(name: str) -> str:
    return _SEPARATORS.sub("-", name).lower()


def _size(data: bytes) -> int:
    """The sum of the sizes in a RECORD, as far as they are given."""
    lines = data.decode("utf-8", "replace").replace("\0", "").splitlines()
    try:
        sizes = [row[2] for row in csv.reader(lines) if len(row) > 2]
    except csv.Error:
        return 0
    return sum(int(size) for size in sizes if size.isdecimal() and len(size) < 16)
