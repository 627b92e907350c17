r"""What apk's database says is installed: ``lib/apk/db/installed``.

>>> [told] = parse(b"P:busybox\nV:1.36.1-r2\nA:x86_64\nI:950272\nD:so:libc.musl-x86_64.so.1\n\n")
>>> told.name, told.version, told.size_bytes, told.needs
('busybox', '1.36.1-r2', 950272, (('so:libc.musl-x86_64.so.1',),))
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from nbdock.tables.records import Record, Told, in_force

__all__ = ["parse", "read"]

_CONSTRAINT = re.compile(r"[<>=~@]")


def read(records: Iterable[Record]) -> Iterator[tuple[Told, int]]:
    """The packages, and the layer of each."""
    yield from in_force([r for r in records if r.path.endswith(b"apk/db/installed")], parse)


def parse(data: bytes) -> Iterator[Told]:
    """The packages of a database."""
    for block in data.decode("utf-8", "replace").split("\n\n"):
        fields: dict[str, str] = {}
        for line in block.split("\n"):
            # Later lines name files, with letters of their own; the first of a letter is meant.
            if line[1:2] == ":":
                fields.setdefault(line[0], line[2:])
        if "P" not in fields:
            continue
        size = fields.get("I", "0")
        yield Told(
            "apk",
            fields["P"],
            fields.get("V", ""),
            int(size) if size.isdecimal() and len(size) < 19 else 0,
            needs=tuple((name,) for name in _names(fields.get("D", "")) if name[:1] != "!"),
            provides=tuple(_names(fields.get("p", ""))),
            architecture=fields.get("A", ""),
        )


def _names(text: str) -> list[str]:
    return [_CONSTRAINT.split(word, maxsplit=1)[0] for word in text.split()]
