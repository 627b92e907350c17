"""A package index as it lies on disk: the text itself, and a table to find stanzas by name.

Debian's main index has 63,000 stanzas in 50 MB of text; an image needs a few hundred of them. So
nothing is parsed ahead: the file is mapped into memory, names are found by bisection, and a stanza
becomes a `PackageRecord` when somebody asks for it. Building the table is one pass over the text.

Layout: a header of seven numbers, the table's sections, the text.

    names      sorted, one per line          provided    sorted names, one per line
    starts     per name, its first stanza    first       per provided name, its first provider
    stanzas    (offset, length) by name      providers   stanza numbers
"""

from __future__ import annotations

import array
import bisect
import mmap
import os
import re
import struct
import sys
import tempfile
from collections.abc import Iterator
from urllib.parse import quote

from nbdock.errors import SourceConfigurationError
from nbdock.packages.debian.record import PackageRecord

__all__ = ["IndexFile", "build_index", "parse_stanza"]

_MAGIC = b"nbdock apt index 2\n".ljust(32, b"\0")
_HEADER = struct.Struct("<32s7Q")
_NUMBERS = "Q"
_SAFE_IN_URL = "/+~:=@,!$'()*;&"

_TITLES = (
    "Package", "Version", "Architecture", "Multi-Arch", "Essential", "Priority", "Depends",
    "Pre-Depends", "Recommends", "Conflicts", "Breaks", "Provides", "Replaces",
    "Installed-Size", "Size", "SHA256", "Filename", "Source", "Section", "Description",
)  # fmt: skip
# One pass for all fields is three times as fast as a pass for each; folded lines belong to a field.
_FIELDS = re.compile(rf"\n({'|'.join(_TITLES)}):[ \t]*(.*(?:\n[ \t].*)*)")
_LOWER_TITLES = {title.lower(): title for title in _TITLES}
_PLAIN_NAME = re.compile(r"[A-Za-z0-9/+~:=@,._-]*")
_PROVIDED = re.compile(rb"(?:^|,)\s*([^\s,(:]+)")


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def parse_stanza(stanza: bytes, base_url: str, pin_priority: int = 500) -> PackageRecord:
    """The record of one stanza.

    Parameters
    ----------
    base_url
        What ``Filename`` is relative to; ends with a slash.

    Raises
    ------
    SourceConfigurationError
        ``Filename`` leads out of the archive.
    """
    text = "\n" + stanza.decode("utf-8", "replace")
    if "\nPackage:" not in text or "\nVersion:" not in text:
        text = _as_usual(text)
    get = dict(_FIELDS.findall(text)).get

    def relation(title: str) -> str:
        value: str = get(title, "")
        return " ".join(value.split()) if "\n" in value else value.rstrip()

    name = get("Package", "").strip()
    file_name = get("Filename", "").strip()
    file_name = file_name.removeprefix("./")
    if file_name.startswith("/") or ".." in file_name.split("/"):
        raise SourceConfigurationError(
            f"The package list of {base_url} says that {name} lies at {file_name!r}, "
            f"outside of the archive."
        )
    if not _PLAIN_NAME.fullmatch(file_name):
        file_name = quote(file_name, safe=_SAFE_IN_URL)
    return PackageRecord(
        name,
        get("Version", "").strip(),
        get("Architecture", "").strip(),
        get("Multi-Arch", "no").strip().lower(),
        get("Essential", "").strip().lower() == "yes",
        get("Priority", "").strip(),
        relation("Depends"),
        relation("Pre-Depends"),
        relation("Recommends"),
        relation("Conflicts"),
        relation("Breaks"),
        relation("Provides"),
        relation("Replaces"),
        _number(get("Installed-Size", "").strip()),
        _number(get("Size", "").strip()),
        get("SHA256", "").strip().lower(),
        base_url + file_name if file_name else "",
        get("Source", "").partition(" ")[0].strip() or name,
        get("Section", "").strip(),
        get("Description", "").partition("\n")[0].strip(),
        pin_priority,
    )


def _as_usual(text: str) -> str:
    """A stanza whose field names are written as everybody writes them."""

    def usual(match: re.Match[str]) -> str:
        title = _LOWER_TITLES.get(match[1].lower())
        return f"\n{title}:" if title else match[0]

    return re.sub(r"\n([!-9;-~]+)[ \t]*:", usual, text)


def _little(numbers: array.array[int]) -> bytes:
    if sys.byteorder != "little":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def _field(stanza: bytes, title: bytes) -> bytes:
    """A field of a stanza, quickly: first as everybody writes it, then in any case."""
    start = 0 if stanza.startswith(title) else stanza.find(b"\n" + title) + 1
    if start or stanza.startswith(title):
        start += len(title)
        end = stanza.find(b"\n", start)
        while 0 < end < len(stanza) - 1 and stanza[end + 1] in b" \t":
            end = stanza.find(b"\n", end + 1)
        return stanza[start : end if end >= 0 else len(stanza)].strip()
    match = re.search(rb"(?mi)^" + re.escape(title) + rb"(.*(?:\n[ \t].*)*)", stanza)
    return match[1].strip() if match else b""


def build_index(text: bytes, path: str, architecture: str) -> None:
    """Write the index file of a ``Packages`` text.

    Parameters
    ----------
    text
        The uncompressed text, already checked.
    path
        The file; appears only when it is complete.
    architecture
        Stanzas for it and for ``all`` are kept.
    """
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n")
    wanted = {architecture.encode(), b"all", b""}
    by_name: dict[bytes, list[tuple[int, int]]] = {}
    provides: list[tuple[int, bytes]] = []
    at, size = 0, len(text)
    while at < size:
        # Found one by one: all at once would be a second copy of fifty megabytes.
        if (end := text.find(b"\n\n", at)) < 0:
            end = size
        start, length = at, end - at
        stanza = text[at:end]
        at = end + 2
        if stanza.startswith(b"Package: "):
            name = stanza[9:512].partition(b"\n")[0].strip()
        elif not (name := _field(stanza, b"Package:")):
            continue
        if (place := stanza.find(b"\nArchitecture: ")) >= 0:
            own = stanza[place + 15 : place + 64].partition(b"\n")[0]
        else:
            own = _field(stanza, b"Architecture:")
        if own.strip() not in wanted:
            continue
        by_name.setdefault(name, []).append((start, length))
        if b"rovides:" in stanza and (provided := _field(stanza, b"Provides:")):
            provides.append((start, provided))
    names = sorted(by_name)
    starts, stanzas = array.array(_NUMBERS, [0]), array.array(_NUMBERS)
    number_of: dict[int, int] = {}
    for name in names:
        for start, length in by_name[name]:
            number_of[start] = len(stanzas) // 2
            stanzas.extend((start, length))
        starts.append(len(stanzas) // 2)
    by_provided: dict[bytes, list[int]] = {}
    for start, value in provides:
        for each in dict.fromkeys(_PROVIDED.findall(value)):
            by_provided.setdefault(each, []).append(number_of[start])
    provided_names = sorted(by_provided)
    firsts, providers = array.array(_NUMBERS, [0]), array.array(_NUMBERS)
    for provided in provided_names:
        providers.extend(by_provided[provided])
        firsts.append(len(providers))
    sections = [
        b"\n".join(names),
        _little(starts),
        _little(stanzas),
        b"\n".join(provided_names),
        _little(firsts),
        _little(providers),
        text,
    ]
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    fd, temporary = tempfile.mkstemp(dir=folder, suffix=".new")
    try:
        with open(fd, "wb") as file:
            file.write(_HEADER.pack(_MAGIC, *map(len, sections)))
            file.writelines(sections)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


class IndexFile:
    """An index file, mapped into memory.

    Raises
    ------
    ValueError
        Not an index file of this version, or damaged; build it anew.
    """

    def __init__(self, path: str) -> None:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < _HEADER.size:
                raise ValueError(f"{path} is too short")
            # Closed with the object: the mapping needs no open file.
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        magic, *lengths = _HEADER.unpack_from(self._map)
        if magic != _MAGIC or _HEADER.size + sum(lengths) != size:
            raise ValueError(f"{path} is not an index of this version")
        sections = []
        at = _HEADER.size
        for length in lengths[:-1]:
            sections.append(self._map[at : at + length])
            at += length
        self._text = at
        self.names = sections[0].decode("utf-8", "replace").split("\n") if sections[0] else []
        self._starts, self._stanzas = _numbers(sections[1]), _numbers(sections[2])
        self.provided = sections[3].decode("utf-8", "replace").split("\n") if sections[3] else []
        self._firsts, self._providers = _numbers(sections[4]), _numbers(sections[5])

    def __len__(self) -> int:
        return len(self._stanzas) // 2

    def _stanza(self, number: int) -> bytes:
        offset, length = self._stanzas[2 * number : 2 * number + 2]
        return self._map[self._text + offset : self._text + offset + length]

    def named(self, name: str) -> list[bytes]:
        """The stanzas of a package, in the order of the text."""
        place = _find(self.names, name)
        if place is None:
            return []
        return [self._stanza(n) for n in range(self._starts[place], self._starts[place + 1])]

    def providing(self, name: str) -> list[bytes]:
        """The stanzas whose ``Provides`` names `name`, in the order of the text."""
        place = _find(self.provided, name)
        if place is None:
            return []
        numbers = self._providers[self._firsts[place] : self._firsts[place + 1]]
        return [self._stanza(n) for n in numbers]

    def stanzas(self) -> Iterator[bytes]:
        """All stanzas, by name."""
        return (self._stanza(number) for number in range(len(self)))


def _numbers(data: bytes) -> array.array[int]:
    numbers = array.array(_NUMBERS)
    numbers.frombytes(data)
    if sys.byteorder != "little":
        numbers.byteswap()
    return numbers


def _find(names: list[str], name: str) -> int | None:
    place = bisect.bisect_left(names, name)
    return place if place < len(names) and names[place] == name else None
