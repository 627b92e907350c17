"""What the headers of one entry say together: the block itself, PAX records, GNU's long names.

A PAX record wins over a GNU long name, and that over the field of the header. Records of the entry
win over global ones, and an empty value takes a record back.

    >>> from nbdock.filetree.entry import Entry, EntryKind
    >>> from nbdock.filetree.tarheader import HeaderEncoder
    >>> block = HeaderEncoder().encode(b"etc/motd", Entry(b"etc/motd", EntryKind.FILE, uid=7))
    >>> header = HeaderParser().parse(block, 0, {}, Extension(records=[(b"path", b"etc/issue")]))
    >>> header.name, header.uid
    (b'etc/issue', 7)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from nbdock.errors import ArchiveError
from nbdock.filetree.entry import NO_XATTRS
from nbdock.filetree.tarfields import number, record_integer, record_time, record_xattr

__all__ = ["Extension", "Header", "HeaderParser"]

_OWNERS_KEPT = 4096


@dataclasses.dataclass(slots=True)
class Extension:
    """What headers before an entry say of it; `size_bytes` is how long they are together."""

    size_bytes: int = 0
    records: list[tuple[bytes, bytes]] = dataclasses.field(default_factory=list)
    long_name: bytes | None = None
    long_link: bytes | None = None


@dataclasses.dataclass(slots=True)
class Header:
    """The facts of an entry, not yet judged; `records` are all PAX records, in order."""

    name: bytes
    linkname: bytes
    size: int
    mode: int
    uid: int
    gid: int
    mtime: int | float
    uname: str
    gname: str
    xattrs: Mapping[str, bytes] = dataclasses.field(default_factory=lambda: NO_XATTRS)
    records: list[tuple[bytes, bytes]] | None = None

    def apply(self, records: list[tuple[bytes, bytes]], offset: int) -> None:
        """Let PAX records speak."""
        self.records = records
        last = {key: value for key, value in dict(records).items() if value}
        self.name = last.get(b"GNU.sparse.name") or last.get(b"path") or self.name
        self.linkname = last.get(b"linkpath", self.linkname)
        if b"size" in last:
            self.size = record_integer("size", last[b"size"], offset)
        if b"uid" in last:
            self.uid = record_integer("uid", last[b"uid"], offset)
        if b"gid" in last:
            self.gid = record_integer("gid", last[b"gid"], offset)
        if b"mtime" in last:
            self.mtime = record_time(last[b"mtime"], offset)
        if b"uname" in last:
            self.uname = last[b"uname"].decode("utf-8", "surrogateescape")
        if b"gname" in last:
            self.gname = last[b"gname"].decode("utf-8", "surrogateescape")
        # An attribute may be empty. star's form comes last, so that it wins over others.
        ordered = sorted(dict(records).items(), key=lambda item: item[0].startswith(b"SCHILY."))
        found = (record_xattr(key, value, offset) for key, value in ordered)
        self.xattrs = dict(pair for pair in found if pair) or NO_XATTRS


class HeaderParser:
    """Parses the headers of one archive, whose entries mostly share owner, mode and time."""

    def __init__(self) -> None:
        self._owners: dict[tuple[bytes, bytes, bytes], tuple[int, int, int, int, str, str]] = {}

    def parse(
        self, block: bytes, offset: int, everywhere: Mapping[bytes, bytes],
        extension: Extension | None,
    ) -> Header:  # fmt: skip
        """The facts of an entry: `everywhere` are the global records, `extension` its own.

        Raises
        ------
        ArchiveError
            A field or record that is none.
        """
        name = block[:100].partition(b"\0")[0]
        if block[345] and block[257:263] == b"ustar\0":
            # star has its own times behind a shorter prefix.
            end = 476 if block[508:512] == b"tar\0" else 500
            name = block[345:end].partition(b"\0")[0] + b"/" + name
        header = Header(
            name, block[157:257].partition(b"\0")[0], number(block[124:136], offset),
            *self._owner(block, offset),
        )  # fmt: skip
        if extension is not None or everywhere:
            records = list(everywhere.items())
            if extension is not None:
                records += extension.records
                if extension.long_name is not None:
                    header.name = extension.long_name
                if extension.long_link is not None:
                    header.linkname = extension.long_link
            header.apply(records, offset)
        if header.size < 0:
            raise ArchiveError(
                f"The tar header at byte {offset} has a size below 0.", offset=offset
            )
        return header

    def _owner(self, block: bytes, offset: int) -> tuple[int, int, int, int, str, str]:
        """Mode, uid, gid, mtime, uname and gname, which few entries have for themselves."""
        key = block[100:124], block[136:148], block[257:329]
        known = self._owners.get(key)
        if known is not None:
            return known
        uname = gname = ""
        if block[257:262] == b"ustar":
            uname = block[265:297].partition(b"\0")[0].decode("utf-8", "surrogateescape")
            gname = block[297:329].partition(b"\0")[0].decode("utf-8", "surrogateescape")
        known = (
            number(block[100:108], offset) & 0o7777,
            number(block[108:116], offset),
            number(block[116:124], offset),
            number(block[136:148], offset),
            uname,
            gname,
        )
        if len(self._owners) >= _OWNERS_KEPT:
            self._owners.clear()
        self._owners[key] = known
        return known
