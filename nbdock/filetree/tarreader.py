"""Reads tar archives as entries: every dialect that layers and packages come in, and no trust.

ustar, old V7, PAX (with global headers, extended attributes and sparse maps) and GNU (long names,
sparse files, base-256 numbers). Names are normalised and judged (see `names`), hardlinks are bound
to the entry they name when they are parsed, sparse files give their whole content, and an archive
that ends too early, lies about a length or has a wrong checksum is an error with the byte where.

    >>> import io
    >>> from nbdock.filetree import BytesContent, Entry, EntryKind, tar_bytes
    >>> motd = Entry(b"etc/motd", EntryKind.FILE, size_bytes=2, content=BytesContent(b"hi"))
    >>> [(entry.path, entry.read()) for entry in read_tar(io.BytesIO(tar_bytes([motd])))]
    [(b'etc/motd', b'hi')]
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from nbdock.errors import ArchiveError, TruncatedArchiveError, UnsafePathError
from nbdock.filetree import sparse
from nbdock.filetree.bytesource import ByteSource, FileSource, StreamSource
from nbdock.filetree.entry import Content, Entry, EntryKind
from nbdock.filetree.names import normal_name
from nbdock.filetree.tarfacts import Extension, Header, HeaderParser
from nbdock.filetree.tarfields import checksum_is_right, number, parse_records
from nbdock.filetree.tarheader import BLOCK_BYTES

__all__ = ["read_tar"]

_END = bytes(BLOCK_BYTES)
_KINDS = {
    b"\0": EntryKind.FILE,
    b"0": EntryKind.FILE,
    b"7": EntryKind.FILE,
    b"S": EntryKind.FILE,
    b"1": EntryKind.HARDLINK,
    b"2": EntryKind.SYMLINK,
    b"3": EntryKind.CHARACTER_DEVICE,
    b"4": EntryKind.BLOCK_DEVICE,
    b"5": EntryKind.DIRECTORY,
    b"D": EntryKind.DIRECTORY,
    b"6": EntryKind.FIFO,
}
_NO_DATA = frozenset(b"123456")
_EXTENSIONS = frozenset(b"xgXLK")
_NOT_GLOBAL = (b"path", b"linkpath", b"size", b"GNU.sparse.")


def read_tar(
    source: BinaryIO | Path | str | bytes | Iterable[bytes],
    *,
    random_access: bool = False,
    unknown: Literal["refuse", "skip"] = "refuse",
    end_required: bool = True,
    entry_limit: int = 4_000_000,
    header_limit_bytes: int = 1 << 20,
    content_limit_bytes: int | None = None,
) -> Iterator[Entry]:
    """The entries of an uncompressed tar archive, in its order.

    Parameters
    ----------
    source
        A binary file object, a path, or the archive in pieces. From a path, contents can be read
        at any time and again; from anything else once, before the next entry is asked for.
    random_access
        For a file object that is a real file: read it by offset, as from a path. It must stay open
        as long as contents are read; they hold on to it.
    unknown
        Whether a type that nobody defined is an error or left out.
    end_required
        Whether the archive must end with a block of zeros. Without it, an archive that was cut
        between two entries cannot be told from a whole one.
    entry_limit, header_limit_bytes, content_limit_bytes
        The most entries; the most bytes of one PAX header, long name or sparse map; the most bytes
        of all files together, holes included. What exceeds them is an error.

    Yields
    ------
    Entry
        Paths are relative and in order (leading ``/`` and ``./`` are dropped). A hardlink has
        `linkname`, normalised, and `target`: the entry that had the name at that place of
        the archive, or None if none had, in which case it may be in a lower layer.

    Raises
    ------
    TruncatedArchiveError
        The archive ends too early.
    UnsafePathError
        A name leads outside of the archive, or is empty.
    ArchiveError
        A wrong checksum, number, map or type, or a limit exceeded.
    """
    opened: FileSource | None = None
    bytesource: ByteSource
    if isinstance(source, Path | str | bytes):
        bytesource = opened = FileSource(os.fsencode(source))
    elif random_access:
        bytesource = FileSource(source)  # type: ignore[arg-type]
    else:
        bytesource = StreamSource(source)
    reader = _Reader(bytesource, unknown == "skip", end_required)
    reader.entry_limit = entry_limit
    reader.header_limit_bytes = header_limit_bytes
    reader.content_limit_bytes = content_limit_bytes
    try:
        yield from reader.entries()
    finally:
        if opened is not None:
            opened.close()


class _Reader:
    """The state of one archive: global records, and the names so far."""

    entry_limit: int
    header_limit_bytes: int
    content_limit_bytes: int | None

    def __init__(self, source: ByteSource, skip_unknown: bool, end_required: bool) -> None:
        self._source = source
        self._skip_unknown = skip_unknown
        self._end_required = end_required
        self._globals: dict[bytes, bytes] = {}
        self._named: dict[bytes, Entry] = {}
        self._parser = HeaderParser()
        self._content_bytes = 0

    def entries(self) -> Iterator[Entry]:
        source = self._source
        extension: Extension | None = None
        headers = count = 0
        while True:
            offset = source.offset
            block = source.read(BLOCK_BYTES)
            if len(block) < BLOCK_BYTES or block == _END:
                self._end(block, offset, extension)
                return
            if not checksum_is_right(block):
                raise ArchiveError(
                    f"The tar header at byte {offset} has a wrong checksum.",
                    offset=offset,
                    hint="It is no tar archive, or damaged; or it is compressed.",
                )
            headers += 1
            # Three headers at most belong to an entry; more are a flood.
            if headers > 3 * self.entry_limit:
                raise self._too_many(offset)
            if block[156] in _EXTENSIONS:
                extension = self._extend(block, offset, extension or Extension())
                continue
            member = self._member(block, offset, extension)
            extension = None
            if member is None:
                continue
            entry, content, padding = member
            count += 1
            if count > self.entry_limit:
                raise self._too_many(offset)
            self._named[entry.path] = entry
            yield entry
            if content is not None:
                content()
                source.skip(padding)

    def _too_many(self, offset: int) -> ArchiveError:
        return ArchiveError(
            f"The archive has more than {self.entry_limit} entries.",
            offset=offset,
            hint="Raise entry_limit if it is to be trusted.",
        )

    def _end(self, block: bytes, offset: int, extension: Extension | None) -> None:
        source = self._source
        if extension is not None:
            raise TruncatedArchiveError(
                f"The archive ends at byte {offset}, after a header that announces an entry.",
                offset=offset,
            )
        if len(block) < BLOCK_BYTES:
            if block or self._end_required:
                raise TruncatedArchiveError(
                    f"The archive ends at byte {offset + len(block)}, before its end mark.",
                    offset=offset + len(block),
                    hint="Fetch or write it again.",
                )
            return
        second = source.read(BLOCK_BYTES)
        if second.strip(b"\0"):
            raise ArchiveError(
                f"The archive goes on after the end mark at byte {offset}.", offset=offset
            )
        source.drain()

    def _extend(self, block: bytes, offset: int, extension: Extension) -> Extension | None:
        """Read a header that is about the next entry, or about all."""
        kind = block[156:157]
        payload = self._payload(number(block[124:136], offset), offset, extension.size_bytes)
        extension.size_bytes += len(payload)
        if kind in b"LK":
            text = payload.partition(b"\0")[0]
            if kind == b"L":
                extension.long_name = text
            else:
                extension.long_link = text
            return extension
        records = parse_records(payload, offset)
        if kind != b"g":
            extension.records += records
            return extension
        for key, value in records:
            if key.startswith(_NOT_GLOBAL):
                raise ArchiveError(
                    f"The global header at byte {offset} gives all entries one {key.decode()!r}.",
                    offset=offset,
                )
            if value:
                self._globals[key] = value
            else:
                self._globals.pop(key, None)
        held_bytes = sum(len(key) + len(text) for key, text in self._globals.items())
        if held_bytes > self.header_limit_bytes:
            raise ArchiveError(f"The global headers at byte {offset} are too long.", offset=offset)
        untouched = not extension.records and extension.long_name is extension.long_link is None
        return None if untouched else extension

    def _payload(self, size: int, offset: int, before: int) -> bytes:
        if not 0 <= size <= self.header_limit_bytes - before:
            raise ArchiveError(
                f"The header at byte {offset} announces {size} bytes about one entry, after "
                f"{before}; {self.header_limit_bytes} are allowed.",
                offset=offset,
            )
        padded = size + -size % BLOCK_BYTES
        payload = self._source.read(padded)
        if len(payload) < padded:
            end = self._source.offset
            raise TruncatedArchiveError(f"The archive ends at byte {end}, in a header.", offset=end)
        return payload[:size]

    def _member(
        self, block: bytes, offset: int, extension: Extension | None
    ) -> tuple[Entry, Callable[[], None] | None, int] | None:
        """An entry, what closes its content, and the padding after that."""
        typeflag = block[156]
        header = self._parser.parse(block, offset, self._globals, extension)
        name, linkname, size = header.name, header.linkname, header.size
        kind = _KINDS.get(block[156:157])
        if kind is None:
            self._unknown(typeflag, name, size, offset)
            return None
        if kind is EntryKind.FILE and name[-1:] == b"/":
            # Before ustar, a directory was a file whose name ends with a slash.
            kind = EntryKind.DIRECTORY
            typeflag = ord("5")
        path = normal_name(name, offset=offset)
        if not path and kind is not EntryKind.DIRECTORY:
            raise UnsafePathError(
                f"The root of the archive is a {kind.value} at byte {offset}.",
                path=name,
                offset=offset,
            )
        if kind is EntryKind.FILE:
            length, content, close, padding = self._content(block, offset, header)
            entry = Entry(
                path, kind, header.mode, header.uid, header.gid, length, header.mtime,
                header.uname, header.gname, b"", 0, 0, header.xattrs, content,
            )  # fmt: skip
            return entry, close, padding
        target = None
        major = minor = 0
        if kind is EntryKind.HARDLINK or kind is EntryKind.SYMLINK:
            if not linkname or b"\0" in linkname:
                raise UnsafePathError(
                    f"{os.fsdecode(name)!r} in the archive is a link to {os.fsdecode(linkname)!r}.",
                    path=linkname,
                    offset=offset,
                )
            if kind is EntryKind.HARDLINK:
                linkname, target = self._linked(path, linkname, offset)
        else:
            linkname = b""
            if kind is not EntryKind.DIRECTORY and kind is not EntryKind.FIFO:
                major = number(block[329:337], offset)
                minor = number(block[337:345], offset)
        entry = Entry(
            path, kind, header.mode, header.uid, header.gid, 0, header.mtime, header.uname,
            header.gname, linkname, major, minor, header.xattrs, None, target,
        )  # fmt: skip
        if typeflag in _NO_DATA:
            return entry, None, 0
        return entry, self._source.content(size).close, -size % BLOCK_BYTES

    def _unknown(self, typeflag: int, name: bytes, size: int, offset: int) -> None:
        # A volume label is no file; the rest is what nobody here knows.
        if typeflag != ord("V") and not self._skip_unknown:
            raise ArchiveError(
                f"{os.fsdecode(name)!r} at byte {offset} is of the unknown type {chr(typeflag)!r}.",
                offset=offset,
            )
        self._source.skip(size + -size % BLOCK_BYTES)

    def _content(
        self, block: bytes, offset: int, header: Header
    ) -> tuple[int, Content, Callable[[], None], int]:
        """A file's length and content, what closes that, and the padding after it."""
        source, limit = self._source, self.header_limit_bytes
        length = stored = header.size
        segments = None
        if block[156] == ord("S"):
            segments, length = sparse.gnu_segments(block, source, limit, offset)
        elif header.records:
            told = sparse.pax_segments(header.records, source, limit, offset)
            if told is not None:
                segments, length, map_bytes = told
                stored -= map_bytes
        content = source.content(stored)
        whole: Content = content
        if segments is not None:
            checked = sparse.checked_segments(segments, length, stored, offset)
            whole = sparse.SparseContent(content, checked, length)
        self._content_bytes += length
        if self.content_limit_bytes is not None and self._content_bytes > self.content_limit_bytes:
            raise ArchiveError(
                f"The files of the archive have more than {self.content_limit_bytes} bytes.",
                offset=offset,
                hint="Raise content_limit_bytes if it is to be trusted.",
            )
        return length, whole, content.close, -stored % BLOCK_BYTES

    def _linked(self, path: bytes, linkname: bytes, offset: int) -> tuple[bytes, Entry | None]:
        """A hardlink's target: its path, and what has that name so far."""
        name = normal_name(linkname, offset=offset)
        if name == path:
            raise UnsafePathError(
                f"{os.fsdecode(path)!r} in the archive is a hardlink to itself.",
                path=linkname,
                offset=offset,
            )
        target = self._named.get(name)
        if target is None:
            return name, None
        if target.kind is EntryKind.HARDLINK:
            return name, target.target
        if target.kind is EntryKind.DIRECTORY:
            raise ArchiveError(
                f"{os.fsdecode(path)!r} in the archive is a hardlink to a directory.",
                offset=offset,
            )
        return name, target
