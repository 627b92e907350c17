"""What rpm's database says is installed: ``rpmdb.sqlite``, which all living distributions have.

The database is a table of headers, each an index of tags and their data, all numbers big-endian
(``lib/header.c`` of rpm). The older forms, Berkeley DB and ndb, are not read: a warning is logged.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterable, Iterator

from nbdock.tables.records import Record, Told, in_force
from nbdock.tables.sqlitedata import rows_of

__all__ = ["owned", "parse", "read"]

_log = logging.getLogger(__name__)

_NAME, _VERSION, _RELEASE, _EPOCH, _SIZE, _ARCH = 1000, 1001, 1002, 1003, 1009, 1022
_PROVIDES, _REQUIRES, _LONG_SIZE = 1047, 1049, 5009
_BASE_NAMES, _DIR_NAMES, _DIR_INDEXES = 1117, 1118, 1116
_NUMBERS = {3: ">%dH", 4: ">%dI", 5: ">%dQ"}
_TEXTS = (6, 8, 9)


def read(records: Iterable[Record]) -> Iterator[tuple[Told, int]]:
    """The packages, and the layer of each."""
    mine = []
    for record in records:
        if record.path.endswith(b"/rpmdb.sqlite"):
            mine.append(record)
        elif record.path.endswith((b"/Packages", b"/Packages.db")) and record.visible:
            _log.warning("/%s is a database of an rpm before 4.16, which is not read.",
                         record.path.decode("utf-8", "replace"))  # fmt: skip
    yield from in_force(mine, parse)


def parse(data: bytes) -> Iterator[Told]:
    """The packages of a database.

    Raises
    ------
    ValueError
        It is none, or damaged.
    """
    for (header,) in rows_of(data, "Packages", ("blob",)):
        if not isinstance(header, bytes):
            continue
        tags = _tags(header)
        name = _text(tags, _NAME)
        # Keys that rpm trusts stand among the packages.
        if not name or name == "gpg-pubkey":
            continue
        epoch = tags.get(_EPOCH, ())
        version = f"{_text(tags, _VERSION)}-{_text(tags, _RELEASE)}"
        sizes = tags.get(_LONG_SIZE) or tags.get(_SIZE) or (0,)
        needs = [str(need) for need in tags.get(_REQUIRES, ())]
        yield Told(
            "rpm",
            name,
            f"{epoch[0]}:{version}" if epoch else version,
            int(sizes[0]),
            needs=tuple((need,) for need in needs if not need.startswith("rpmlib(")),
            provides=(*map(str, tags.get(_PROVIDES, ())), *_programs(tags)),
            architecture=_text(tags, _ARCH),
        )


Tags = dict[int, tuple[int | str, ...]]


def _tags(header: bytes) -> Tags:
    """The numbers and texts of a header by tag."""
    if len(header) < 8:
        raise ValueError("a header is too short")
    count, size = struct.unpack_from(">II", header)
    start = 8 + 16 * count
    if start + size > len(header):
        raise ValueError("a header is too short")
    data = header[start : start + size]
    tags: Tags = {}
    for number in range(count):
        tag, kind, offset, length = struct.unpack_from(">IIiI", header, 8 + 16 * number)
        if not 0 <= offset <= size:
            continue
        if kind in _NUMBERS and length <= size:
            form = _NUMBERS[kind] % length
            if offset + struct.calcsize(form) <= size:
                tags[tag] = struct.unpack_from(form, data, offset)
        elif kind in _TEXTS and length <= size:
            texts = data[offset:].split(b"\0", 1 if kind == 6 else length)
            tags[tag] = tuple(t.decode("utf-8", "replace") for t in texts[: length or 1])
    return tags


def _text(tags: Tags, tag: int) -> str:
    values = tags.get(tag, ())
    return str(values[0]) if values else ""


def _files(tags: Tags) -> Iterator[str]:
    """The files of a package."""
    directories = tags.get(_DIR_NAMES, ())
    places = zip(tags.get(_BASE_NAMES, ()), tags.get(_DIR_INDEXES, ()), strict=False)
    for name, place in places:
        if isinstance(place, int) and place < len(directories):
            yield f"{directories[place]}{name}"


def _programs(tags: Tags) -> Iterator[str]:
    """What packages name by path when they need it."""
    return (path for path in _files(tags) if path.rpartition("/")[0].endswith("bin"))


def owned(data: bytes) -> Iterator[tuple[str, str]]:
    """Each file of each package of a database, after the name of the package."""
    for (header,) in rows_of(data, "Packages", ("blob",)):
        if isinstance(header, bytes):
            tags = _tags(header)
            yield from ((_text(tags, _NAME), path) for path in _files(tags))
