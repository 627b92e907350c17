"""The members of a .deb: the ar container, read strictly, and their content, decompressed.

dpkg's rules (deb(5)): ``debian-binary`` first, then ``control.tar*``, then ``data.tar*``. Before
either of them members whose names begin with ``_`` are skipped, any other is an error; what comes
after the data is ignored.

    with open("hello_2.10-3_amd64.deb", "rb") as file:
        control, data = deb_members(file)
        pieces = member_content(file, data)
"""

from __future__ import annotations

import dataclasses
import lzma
import os
import re
from collections.abc import Iterator
from typing import BinaryIO

from nbdock import settings
from nbdock.content import open_decompressed
from nbdock.errors import ArchiveError, CodecError, TruncatedArchiveError

__all__ = ["Member", "deb_members", "member_content"]

_MAGIC = b"!<arch>\n"
_HEADER_BYTES = 60
_DIGITS = re.compile(rb"[0-9]+ *\Z")
_VERSION_LIMIT_BYTES = 1024
_LZMA_MEMORY_BYTES = 128 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """A member of an ar archive: its name, and the place and length of its content. Bytes."""

    name: str
    offset: int
    size_bytes: int


def deb_members(file: BinaryIO) -> tuple[Member, Member]:
    """The control and the data member of a .deb, which is an open file that can seek.

    Raises
    ------
    TruncatedArchiveError
        The file ends before the members do.
    ArchiveError
        It is not a .deb, or not one that dpkg would take.
    """
    where = _name(file)
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    magic = file.read(len(_MAGIC))
    if magic != _MAGIC:
        if _MAGIC.startswith(magic):
            raise TruncatedArchiveError(f"{where} ends after {len(magic)} bytes.", offset=end)
        raise ArchiveError(
            f"{where} is not a Debian package: it does not begin as an ar archive does.",
            offset=0,
            hint="Debian packages before 1995 (0.939) are not supported." if b"0.9" in magic
            else "Give the path of a .deb file.",
        )  # fmt: skip
    found = _members(file, len(_MAGIC), end)
    first = next(found, None)
    if first is None:
        raise TruncatedArchiveError(f"{where} ends before its first member.", offset=end)
    if first.name != "debian-binary":
        raise ArchiveError(
            f"{where} is not a Debian package: its first member is {first.name!r}, "
            f"not debian-binary.",
            offset=first.offset,
        )
    file.seek(first.offset)
    version = file.read(min(first.size_bytes, _VERSION_LIMIT_BYTES)).partition(b"\n")
    if not re.fullmatch(rb"2\.[0-9]+", version[0]) or not version[1]:
        raise ArchiveError(
            f"{where} has the format version {version[0].decode('ascii', 'replace')!r}; "
            f"only 2.x is known.",
            offset=first.offset,
        )
    wanted: list[Member] = []
    for member in found:
        part = ("control.tar", "data.tar")[len(wanted)]
        if member.name == part or member.name.startswith(part + "."):
            wanted.append(member)
            if len(wanted) == 2:
                return wanted[0], wanted[1]
        elif not member.name.startswith("_"):
            raise ArchiveError(
                f"{where} has a member {member.name!r} where {part} should be.",
                offset=member.offset,
            )
    raise TruncatedArchiveError(
        f"{where} has no {('control.tar', 'data.tar')[len(wanted)]} member.", offset=end
    )


def _members(file: BinaryIO, offset: int, end: int) -> Iterator[Member]:
    where = _name(file)
    while offset < end:
        file.seek(offset)
        header = file.read(_HEADER_BYTES)
        if len(header) < _HEADER_BYTES:
            raise TruncatedArchiveError(
                f"{where} ends in the header of a member, at byte {end}.", offset=offset
            )
        if header[58:] != b"`\n" or not _DIGITS.match(header[48:58]):
            raise ArchiveError(
                f"{where} has a broken member header at byte {offset}.", offset=offset
            )
        # GNU ar ends names with a slash, dpkg does not.
        name = header[:16].rstrip(b" ").removesuffix(b"/").decode("latin-1")
        size_bytes = int(header[48:58])
        offset += _HEADER_BYTES
        if size_bytes > end - offset:
            raise TruncatedArchiveError(
                f"{where} ends in its member {name!r}: that says {size_bytes} bytes, "
                f"and {end - offset} are left.",
                offset=end,
                hint="Fetch the package again.",
            )
        yield Member(name, offset, size_bytes)
        offset += size_bytes + size_bytes % 2


def member_content(file: BinaryIO, member: Member) -> Iterator[bytes]:
    """The content of a ``.tar``, decompressed (``.gz``, ``.xz``, ``.zst``, ``.bz2``, ``.lzma``).

    It comes in pieces of up to a megabyte; decompressing lets other threads run.

    Raises
    ------
    ArchiveError
        A way of compressing that dpkg does not know.
    CodecError
        The content does not decompress, or would take too much memory.
    TruncatedArchiveError
        The member ends before its content does.
    """
    suffix = member.name.partition(".tar")[2]
    raw = _raw(file, member)
    if suffix not in _CODECS:
        raise ArchiveError(
            f"{_name(file)} has its content as {member.name!r}, which dpkg would not read either.",
            offset=member.offset,
            hint=f"Known: {', '.join(_CODECS).strip(', ')}, and none.",
        )
    codec = _CODECS[suffix]
    try:
        if codec == "lzma":
            yield from _lzma(raw)
        else:
            yield from open_decompressed(raw, codec=codec).pieces()
    except ArchiveError as error:
        # What reads a file's content meets it, and knows nothing of packages.
        error.message = f"{_name(file)}, {member.name}: {error.message}"
        raise


_CODECS = {
    ".xz": "xz", ".gz": "gzip", ".zst": "zstd", ".bz2": "bzip2", ".lzma": "lzma", "": "none",
}  # fmt: skip


def _raw(file: BinaryIO, member: Member) -> Iterator[bytes]:
    """The member as it stands in the file."""
    offset, end = member.offset, member.offset + member.size_bytes
    limit = settings.current().io_buffer_bytes
    while offset < end:
        file.seek(offset)
        piece = file.read(min(limit, end - offset))
        if not piece:
            raise TruncatedArchiveError(f"{_name(file)} became shorter while it was read.")
        offset += len(piece)
        yield piece


def _lzma(raw: Iterator[bytes]) -> Iterator[bytes]:
    """The format before xz: packages of about 2010 have it, and nothing else that nbdock reads."""
    limit = settings.current().io_buffer_bytes
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_LZMA_MEMORY_BYTES)
    try:
        for data in raw:
            given = data
            while not decompressor.eof and (given or not decompressor.needs_input):
                if piece := decompressor.decompress(given, limit):
                    yield piece
                given = b""
    except lzma.LZMAError as error:
        raise CodecError(f"The lzma stream is damaged: {error}.") from error
    if not decompressor.eof:
        raise TruncatedArchiveError("The lzma stream ends before its content does.")


def _name(file: BinaryIO) -> str:
    return os.fsdecode(os.path.basename(file.name))
