r"""Reads the fields of tar headers: numbers in their three forms, checksums, PAX records.

All of it comes from outside, so nothing here trusts a length or a digit: whatever is wrong is an
`ArchiveError` that names the byte where the header stands.

    >>> number(b"0000644\0", 0), number(b"\x80" + bytes(6) + b"\x2a", 0)
    (420, 42)
    >>> parse_records(b"12 path=a/b\n", 0)
    [(b'path', b'a/b')]
"""

from __future__ import annotations

import binascii
import math
import re
from zlib import adler32

from nbdock.errors import ArchiveError

__all__ = [
    "checksum_is_right",
    "decimal",
    "number",
    "parse_records",
    "record_integer",
    "record_time",
    "record_xattr",
]

_MOST_DIGITS = 40
_INTEGER = re.compile(rb"-?[0-9]{1,40}\Z")
# POSIX knows no exponent, but Python's tarfile writes one for times far away.
_TIME = re.compile(rb"-?[0-9]{1,40}(\.[0-9]{0,40})?(e[+-]?[0-9]{1,4})?\Z")


def number(field: bytes, offset: int) -> int:
    """A numeric field: octal digits among spaces and NULs, or GNU's base 256.

    Raises
    ------
    ArchiveError
        Anything else.
    """
    first = field[0]
    if first == 0x80:
        return int.from_bytes(field[1:], "big")
    if first == 0xFF:
        return int.from_bytes(field, "big", signed=True)
    text = field.partition(b"\0")[0].strip(b" ")
    if not text:
        return 0
    if text.isdigit():
        try:
            return int(text, 8)
        except ValueError:
            pass
    raise ArchiveError(
        f"The tar header at byte {offset} has {field!r} where a number should be.", offset=offset
    )


def decimal(text: bytes, offset: int) -> int:
    """A number of a sparse map: decimal digits, not below zero."""
    if text.isdigit() and len(text) <= _MOST_DIGITS:
        return int(text)
    raise ArchiveError(
        f"The tar header at byte {offset} has {text[:40]!r} where a number should be.",
        offset=offset,
    )


def checksum_is_right(block: bytes) -> bool:
    """Whether a header's checksum is the sum of its bytes, the field itself taken as spaces."""
    field = block[148:156]
    text = field.partition(b"\0")[0].strip(b" ")
    if not text.isdigit():
        return False
    try:
        announced = int(text, 8)
    except ValueError:
        return False
    if block.isascii():
        # The sum stands in the lower half of the Adler-32, if it is below 65521 (see tarheader).
        return (adler32(block) & 0xFFFF) - (adler32(field) & 0xFFFF) + 256 == announced
    rest = block[:148] + block[156:]
    total = sum(rest) + 256
    # Some old tars summed signed bytes.
    return announced in (total, total - 256 * sum(byte > 127 for byte in rest))


def parse_records(payload: bytes, offset: int) -> list[tuple[bytes, bytes]]:
    r"""The records of a PAX header, each ``length key=value\n``, in order.

    Raises
    ------
    ArchiveError
        A length that lies, or a record without a key.
    """
    records: list[tuple[bytes, bytes]] = []
    at, end = 0, len(payload)
    while at < end:
        if payload[at] == 0 and not payload[at:].strip(b"\0"):
            break
        space = payload.find(b" ", at, at + 21)
        digits = payload[at:space] if space > 0 else b""
        if not digits.isdigit():
            raise _bad_record(offset, "has a record without a length")
        stop = at + int(digits)
        if stop > end or stop <= space + 1 or payload[stop - 1] != 0x0A:
            raise _bad_record(offset, "has a record of a wrong length")
        equals = payload.find(b"=", space + 1, stop - 1)
        if equals <= space + 1:
            raise _bad_record(offset, "has a record without a key")
        records.append((payload[space + 1 : equals], payload[equals + 1 : stop - 1]))
        at = stop
    return records


def record_integer(key: str, text: bytes, offset: int) -> int:
    """The value of a PAX record that is a whole number."""
    if not _INTEGER.match(text):
        raise _bad_record(offset, f"has {text[:40]!r} as {key}")
    return int(text)


def record_time(text: bytes, offset: int) -> int | float:
    """The value of a PAX record that is a time; whole seconds stay whole."""
    found = _TIME.match(text)
    if not found:
        raise _bad_record(offset, f"has {text[:40]!r} as a time")
    if found[1] is None and found[2] is None:
        return int(text)
    value = float(text)
    if not math.isfinite(value):
        raise _bad_record(offset, f"has {text[:40]!r} as a time")
    return value


def record_xattr(key: bytes, value: bytes, offset: int) -> tuple[str, bytes] | None:
    """The name and value of an extended attribute, if a PAX record is one.

    star's ``SCHILY.xattr.`` has both as they are, libarchive's ``LIBARCHIVE.xattr.`` encodes
    them, and Red Hat had one of its own for SELinux.
    """
    if key.startswith(b"SCHILY.xattr."):
        name = key[13:]
    elif key.startswith(b"LIBARCHIVE.xattr."):
        name = re.sub(rb"%([0-9A-Fa-f]{2})", lambda m: binascii.unhexlify(m[1]), key[17:])
        try:
            value = binascii.a2b_base64(value + b"=" * (-len(value) % 4))
        except binascii.Error:
            raise _bad_record(offset, "has an extended attribute that is no base64") from None
    elif key == b"RHT.security.selinux":
        name = b"security.selinux"
    else:
        return None
    if not name or b"\0" in name:
        raise _bad_record(offset, "has an extended attribute without a name")
    return name.decode("utf-8", "surrogateescape"), value


def _bad_record(offset: int, what: str) -> ArchiveError:
    return ArchiveError(f"The PAX header at byte {offset} {what}.", offset=offset)
