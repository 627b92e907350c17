r"""Sparse files in archives: only the parts that are not zeros are stored, with a map of them.

GNU tar has written such maps in four ways: in the header and blocks after it (type ``S``), in PAX
records (0.0 and 0.1), and before the content (1.0). Here each becomes a tuple of segments, which is
judged by one rule, and a content that has all the bytes of the file.

    >>> from nbdock.filetree.entry import BytesContent
    >>> b"".join(SparseContent(BytesContent(b"ab"), ((1, 1), (3, 1)), 5).chunks())
    b'\x00a\x00b\x00'
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nbdock.errors import ArchiveError, TruncatedArchiveError
from nbdock.filetree.entry import Content
from nbdock.filetree.tarfields import decimal, number

if TYPE_CHECKING:
    from nbdock.filetree.bytesource import ByteSource

__all__ = ["Segments", "SparseContent", "checked_segments", "gnu_segments", "pax_segments"]

Segments = tuple[tuple[int, int], ...]
"""Offset and length of every stored part, in bytes."""

_ZEROS = memoryview(bytes(64 << 10))


@dataclasses.dataclass(frozen=True, slots=True)
class SparseContent:
    """The whole content of a sparse file, zeros included.

    Attributes
    ----------
    stored
        The parts that are stored, joined.
    segments
        Where the parts belong, checked.
    size_bytes
        Length of the file.
    """

    stored: Content
    segments: Segments
    size_bytes: int

    def chunks(self) -> Iterator[bytes | memoryview]:
        """The bytes of the file; a hole costs no memory."""
        stored = self.stored.chunks()
        piece = memoryview(b"")
        at = 0
        for offset, length in self.segments:
            yield from _zeros(offset - at)
            at = offset + length
            while length:
                if not piece:
                    piece = memoryview(next(stored, b""))
                    if not piece:
                        raise TruncatedArchiveError("A sparse file ends before its map does.")
                part = piece[:length]
                piece = piece[len(part) :]
                length -= len(part)
                yield part
        yield from _zeros(self.size_bytes - at)


def _zeros(count: int) -> Iterator[memoryview]:
    while count > 0:
        yield _ZEROS[: min(count, len(_ZEROS))]
        count -= len(_ZEROS)


def checked_segments(
    segments: list[tuple[int, int]], size_bytes: int, stored_bytes: int, offset: int
) -> Segments:
    """The segments, if they are a map of a file.

    Raises
    ------
    ArchiveError
        They overlap, are out of order, exceed the file, or are not what is stored.
    """
    at = total = 0
    for start, length in segments:
        if start < at or length < 0 or start + length > size_bytes:
            raise ArchiveError(
                f"The map of the sparse file at byte {offset} is wrong: {length} bytes at {start} "
                f"do not follow {at} within {size_bytes} bytes.",
                offset=offset,
            )
        at = start + length
        total += length
    if total != stored_bytes:
        raise ArchiveError(
            f"The map of the sparse file at byte {offset} is wrong: it has {total} bytes, but "
            f"{stored_bytes} are stored.",
            offset=offset,
        )
    return tuple(segment for segment in segments if segment[1])


def gnu_segments(
    block: bytes, source: ByteSource, limit: int, offset: int
) -> tuple[list[tuple[int, int]], int]:
    """The map in a header of type ``S`` and the blocks after it, and the length of the file."""
    segments: list[tuple[int, int]] = []
    size_bytes = number(block[483:495], offset)
    table, more = block[386:482], block[482]
    while True:
        for at in range(0, len(table) - 23, 24):
            if not table[at : at + 24].strip(b"\0 "):
                break
            segments.append(
                (number(table[at : at + 12], offset), number(table[at + 12 : at + 24], offset))
            )
        if not more:
            return segments, size_bytes
        table = source.read(512)
        if len(table) < 512:
            raise TruncatedArchiveError(
                f"The archive ends at byte {source.offset}, in the map of a sparse file.",
                offset=source.offset,
            )
        if len(segments) * 24 > limit:
            raise ArchiveError(
                f"The map of the sparse file at byte {offset} has more than {limit} bytes.",
                offset=offset,
            )
        more = table[504]


def pax_segments(
    records: list[tuple[bytes, bytes]], source: ByteSource, limit: int, offset: int
) -> tuple[list[tuple[int, int]], int, int] | None:
    """The map that PAX records tell: the segments, the file's length, bytes read for the map.

    None if they tell of no sparse file. A map of format 1.0 stands before the content and is read
    from there.
    """
    last = {key: value for key, value in records if key.startswith(b"GNU.sparse.")}
    if not last:
        return None
    major, minor = last.get(b"GNU.sparse.major"), last.get(b"GNU.sparse.minor")
    if major == b"1" and minor == b"0":
        size_bytes = decimal(last.get(b"GNU.sparse.realsize", b""), offset)
        segments, length = _stored_map(source, limit, offset)
        return segments, size_bytes, length
    if (major, minor) not in ((None, None), (b"0", b"0"), (b"0", b"1")):
        raise ArchiveError(
            f"The sparse file at byte {offset} has the unknown format "
            f"{(major or b'?').decode('latin-1')}.{(minor or b'?').decode('latin-1')}.",
            offset=offset,
        )
    size_text = last.get(b"GNU.sparse.size", last.get(b"GNU.sparse.realsize"))
    if size_text is None:
        return None
    if b"GNU.sparse.map" in last:
        text = last[b"GNU.sparse.map"]
        numbers = [decimal(part, offset) for part in text.split(b",")] if text else []
    else:
        wanted = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
        found = [(key, value) for key, value in records if key in wanted]
        if any(key != wanted[i % 2] for i, (key, _) in enumerate(found)):
            raise ArchiveError(
                f"The map of the sparse file at byte {offset} is out of order.", offset=offset
            )
        numbers = [decimal(value, offset) for _, value in found]
    return _pairs(numbers, offset), decimal(size_text, offset), 0


def _pairs(numbers: list[int], offset: int) -> list[tuple[int, int]]:
    if len(numbers) % 2:
        raise ArchiveError(
            f"The map of the sparse file at byte {offset} has an odd number of numbers.",
            offset=offset,
        )
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _stored_map(source: ByteSource, limit: int, offset: int) -> tuple[list[tuple[int, int]], int]:
    """The map of format 1.0: numbers, one a line, the first being the count of pairs."""
    began = source.offset
    lines: list[bytes] = []
    rest = b""
    wanted = 1
    while len(lines) < wanted:
        block = source.read(512)
        if len(block) < 512:
            raise TruncatedArchiveError(
                f"The archive ends at byte {source.offset}, in the map of a sparse file.",
                offset=source.offset,
            )
        if source.offset - began > limit:
            raise ArchiveError(
                f"The map of the sparse file at byte {offset} has more than {limit} bytes.",
                offset=offset,
            )
        *complete, rest = (rest + block).split(b"\n")
        lines += complete
        if wanted == 1 and lines:
            wanted = 1 + 2 * decimal(lines[0], offset)
            if wanted > limit:
                raise ArchiveError(
                    f"The map of the sparse file at byte {offset} claims {wanted // 2} parts.",
                    offset=offset,
                )
    numbers = [decimal(line, offset) for line in lines[1:wanted]]
    return _pairs(numbers, offset), source.offset - began
