r"""Tar headers as bytes: one entry's header, as Python's `tarfile` writes it in the PAX format.

A 512-byte ustar header is enough for nearly every entry. What does not fit (a long or non-ASCII
name, a size of 8 GiB or more, a fraction of a second, extended attributes) goes into a PAX
extended header before it. `tarfile` is the oracle of the tests: the bytes are the same for every
kind of entry. It is not used itself, because a header costs it about 40 microseconds, and a
layer has thousands of them.

    >>> from nbdock.filetree.entry import Entry, EntryKind
    >>> header = HeaderEncoder().encode(b"etc/", Entry(b"etc", EntryKind.DIRECTORY, mode=0o755))
    >>> len(header), header[:5], header[100:107]
    (512, b'etc/\x00', b'0000755')
"""

from __future__ import annotations

import dataclasses
import os
from typing import Final, NamedTuple
from zlib import adler32

from nbdock.errors import ArchiveError
from nbdock.filetree.entry import NO_XATTRS, Entry, EntryKind

__all__ = ["BLOCK_BYTES", "TYPE_OF_KIND", "HeaderEncoder", "TarPolicy"]

BLOCK_BYTES: Final = 512

TYPE_OF_KIND: Final = {
    EntryKind.FILE: b"0",
    EntryKind.HARDLINK: b"1",
    EntryKind.SYMLINK: b"2",
    EntryKind.CHARACTER_DEVICE: b"3",
    EntryKind.BLOCK_DEVICE: b"4",
    EntryKind.DIRECTORY: b"5",
    EntryKind.FIFO: b"6",
}

_MAGIC = b"ustar\x0000"
_NUL = b"\0"
_NO_LINK = bytes(100)
_NO_SIZE = b"00000000000\0"
_FILE = EntryKind.FILE
_MAX_ID = 8**7
_MAX_SIZE = 8**11
_TEMPLATES_KEPT = 4096


@dataclasses.dataclass(frozen=True, slots=True)
class TarPolicy:
    """What an archive says of all its entries alike; None leaves an entry's own.

    nixpkgs' layers of store paths, for one, are all of one time and owned by root:
    ``TarPolicy(mtime=1, uid=0, gid=0, uname="root", gname="root")``.
    """

    mtime: int | float | None = None
    uid: int | None = None
    gid: int | None = None
    uname: str | None = None
    gname: str | None = None


_Key = tuple[str, int, int, int, float, str, str]


class _Template(NamedTuple):
    """What the headers of entries of one mode, owner, time and kind have in common."""

    checksum: int
    before_size: bytes
    mtime: bytes
    kind: bytes
    owners: bytes
    kind_to_end: bytes
    """Everything after the checksum, for an entry that is no link."""


class HeaderEncoder:
    """Encodes the headers of one archive.

    Entries of an archive mostly share their mode, owner and time, so what their headers have in
    common is kept and used again.
    """

    __slots__ = ("_own", "_pax_blocks", "_policy", "_templates")

    def __init__(self, policy: TarPolicy | None = None) -> None:
        self._policy = policy or TarPolicy()
        self._own = self._policy == TarPolicy()
        self._templates: dict[_Key, _Template | None] = {}
        self._pax_blocks: dict[int, bytes] = {}

    def encode(self, name: bytes, entry: Entry, linkname: bytes = b"") -> bytes:
        """The header of an entry, with the PAX header before it if it needs one.

        Parameters
        ----------
        name
            The name to write: with the archive's prefix, a directory's with ``/`` at its end.
        entry
            Everything else; the size is 0 for all but files.
        linkname
            What a link points to, as it is to be written.

        Raises
        ------
        ArchiveError
            Something that no header can hold.
        """
        kind = entry.kind
        mtime, uid, gid = entry.mtime, entry.uid, entry.gid
        uname, gname = entry.uname, entry.gname
        if not self._own:
            policy = self._policy
            if policy.mtime is not None:
                mtime = policy.mtime
            if policy.uid is not None:
                uid = policy.uid
            if policy.gid is not None:
                gid = policy.gid
            if policy.uname is not None:
                uname = policy.uname
            if policy.gname is not None:
                gname = policy.gname
        size = entry.size_bytes if kind is _FILE else 0
        # The common case. 1.0 == 1, but 1.0 takes a PAX header: hence the type of mtime.
        if (
            type(mtime) is int
            and name.isascii()
            and _NUL not in name
            and linkname.isascii()
            and _NUL not in linkname
        ):
            key = (kind._value_, entry.mode, uid, gid, mtime, uname, gname)
            try:
                template = self._templates[key]
            except KeyError:
                template = self._template(kind, key)
            if (
                template is not None
                and 0 <= size < _MAX_SIZE
                and (entry.xattrs is NO_XATTRS or not entry.xattrs)
            ):
                before = b""
                if len(name) > 100 or len(linkname) > 100:
                    before = self._long_names(name, linkname)
                    name, linkname = name[:100], linkname[:100]
                checksum, before_size, mtime_field, kind_field, owners, kind_to_end = template
                size_field = b"%011o\0" % size if size else _NO_SIZE
                # A header is ASCII, so the sum of its bytes is below 65521 and stands in the
                # lower half of its Adler-32, which counts from 1: a checksum at C speed.
                if not linkname:
                    checksum += (adler32(size_field, adler32(name)) & 0xFFFF) - 1
                    return b"".join((
                        before, name.ljust(100, _NUL), before_size, size_field, mtime_field,
                        b"%06o\0 " % checksum, kind_to_end,
                    ))  # fmt: skip
                sums = adler32(linkname, adler32(size_field, adler32(name)))
                checksum += (sums & 0xFFFF) - 1
                return b"".join((
                    before, name.ljust(100, _NUL), before_size, size_field, mtime_field,
                    b"%06o\0 " % checksum, kind_field, linkname.ljust(100, _NUL), owners,
                ))  # fmt: skip
        return self._encode_any(name, entry, linkname, size, mtime, uid, gid, uname, gname)

    def _long_names(self, name: bytes, linkname: bytes) -> bytes:
        """The PAX header of names that are long and nothing else; store paths all have one."""
        payload = _pax_record(b"path", name) if len(name) > 100 else b""
        if len(linkname) > 100:
            payload += _pax_record(b"linkpath", linkname)
        length = len(payload)
        block = self._pax_blocks.get(length)
        if block is None:
            block = self._pax_blocks[length] = _pax_block(length)
        return b"".join((block, payload, bytes(-length % BLOCK_BYTES)))

    def _template(self, kind: EntryKind, key: _Key) -> _Template | None:
        """What such entries have in common; None if they need more than a ustar header."""
        _, mode, uid, gid, mtime, uname, gname = key
        template = None
        if (
            kind is not EntryKind.CHARACTER_DEVICE
            and kind is not EntryKind.BLOCK_DEVICE
            and 0 <= uid < _MAX_ID
            and 0 <= gid < _MAX_ID
            and 0 <= mtime < _MAX_SIZE
            and uname.isascii()
            and gname.isascii()
            and len(uname) <= 32
            and len(gname) <= 32
        ):
            before_size = b"%07o\0%07o\0%07o\0" % (mode & 0o7777, uid, gid)
            mtime_field = b"%011o\0" % int(mtime)
            user, group = uname.encode().ljust(32, _NUL), gname.encode().ljust(32, _NUL)
            kind_field, owners = TYPE_OF_KIND[kind], _MAGIC + user + group + bytes(183)
            checksum = sum(before_size) + sum(mtime_field) + sum(kind_field) + sum(owners)
            template = _Template(
                checksum + 8 * ord(" "), before_size, mtime_field, kind_field, owners,
                kind_field + _NO_LINK + owners,
            )  # fmt: skip
        if len(self._templates) >= _TEMPLATES_KEPT:
            self._templates.clear()
        self._templates[key] = template
        return template

    def _encode_any(
        self, name: bytes, entry: Entry, linkname: bytes, size: int, mtime: int | float,
        uid: int, gid: int, uname: str, gname: str,
    ) -> bytes:  # fmt: skip
        if _NUL in name or _NUL in linkname:
            raise ArchiveError(f"The name {os.fsdecode(name)!r} has a NUL byte.")
        if size < 0:
            raise ArchiveError(f"{os.fsdecode(name)!r} has a negative size.")
        records: list[tuple[bytes, bytes]] = []
        for key, value in sorted(entry.xattrs.items()):
            if "=" in key:
                raise ArchiveError(
                    f"The extended attribute {key!r} of {os.fsdecode(name)!r} has a '=' in its "
                    "name, which a PAX header cannot hold."
                )
            records.append((b"SCHILY.xattr." + _utf8(key, name), value))

        def text(key: bytes, value: bytes, width: int) -> bytes:
            if not value.isascii() or len(value) > width:
                records.append((key, value))
                # One question mark for each character, as tarfile has it.
                value = value.decode("utf-8", "surrogateescape").encode("ascii", "replace")
            return value[:width].ljust(width, _NUL)

        def number(key: bytes, value: int | float, digits: int) -> bytes:
            if value != value or value in (float("inf"), float("-inf")):
                raise ArchiveError(f"The {key.decode()} of {os.fsdecode(name)!r} is {value}.")
            whole = round(value)
            fits = 0 <= whole < 8 ** (digits - 1)
            if not fits or isinstance(value, float):
                records.append((key, str(value).encode()))
            return b"%0*o\0" % (digits - 1, whole if fits else 0)

        # The order of the PAX records is that of tarfile.
        path, link = text(b"path", name, 100), text(b"linkpath", linkname, 100)
        user = text(b"uname", _utf8(uname, name), 32)
        group = text(b"gname", _utf8(gname, name), 32)
        ids = number(b"uid", uid, 8) + number(b"gid", gid, 8)
        numbers = ids + number(b"size", size, 12) + number(b"mtime", mtime, 12)
        devices = bytes(16)
        if entry.kind in (EntryKind.CHARACTER_DEVICE, EntryKind.BLOCK_DEVICE):
            if not (0 <= entry.device_major < _MAX_ID and 0 <= entry.device_minor < _MAX_ID):
                raise ArchiveError(
                    f"The device numbers {entry.device_major}, {entry.device_minor} of "
                    f"{os.fsdecode(name)!r} do not fit a tar header."
                )
            devices = b"%07o\0%07o\0" % (entry.device_major, entry.device_minor)
        block = _block(
            path, b"%07o\0" % (entry.mode & 0o7777) + numbers, TYPE_OF_KIND[entry.kind], link,
            user + group + devices,
        )  # fmt: skip
        return _pax_header(records) + block if records else block


def _utf8(text: str, name: bytes) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise ArchiveError(
            f"{text!r} of {os.fsdecode(name)!r} cannot be written as UTF-8."
        ) from error


def _block(name: bytes, numbers: bytes, kind: bytes, linkname: bytes, owners: bytes) -> bytes:
    """One header block, its fields being of their full width; `owners` may lack its zeros."""
    block = b"".join((name, numbers, b"        ", kind, linkname, _MAGIC, owners))
    block = block.ljust(BLOCK_BYTES, _NUL)
    return b"%b%06o\0%b" % (block[:148], sum(block), block[155:])


def _pax_header(records: list[tuple[bytes, bytes]]) -> bytes:
    payload = b"".join(_pax_record(key, value) for key, value in records)
    if any(not _is_utf8(value) for _, value in records):
        # Values that are no UTF-8 are announced, once, before them.
        payload = b"21 hdrcharset=BINARY\n" + payload
    return _pax_block(len(payload)) + payload + bytes(-len(payload) % BLOCK_BYTES)


def _pax_block(length: int) -> bytes:
    """The block before a PAX header's records, which are `length` bytes."""
    numbers = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (0, 0, 0, length, 0)
    return _block(b"././@PaxHeader".ljust(100, _NUL), numbers, b"x", _NO_LINK, b"")


def _pax_record(key: bytes, value: bytes) -> bytes:
    r"""``length key=value\n``, where the length counts its own digits too."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
