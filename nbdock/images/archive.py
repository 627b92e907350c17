"""Image archives as a list of members with known places, so that both cores can write one.

A docker-archive or an OCI archive is a tar of blobs that are already in the store, whose sizes are
known: where each member starts is known before the first byte is written. So an uncompressed
archive is written by several threads at once, blob by blob, by the kernel (no byte passes
through Python), and a compressed or streamed one reads the same list from front to back.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path

from nbdock import settings
from nbdock.concurrency import gather_limited, in_thread, in_worker
from nbdock.content import BlobStore
from nbdock.errors import SizeMismatchError
from nbdock.filetree import Entry, EntryKind, HeaderEncoder
from nbdock.oci import Digest

__all__ = [
    "ArchiveMember",
    "archive_end",
    "archive_pieces",
    "archive_size_bytes",
    "in_order",
    "member_pieces",
    "write_archive",
]

_BLOCK = 512

RECORD_BYTES = 10240
"""Archives are filled up to a multiple of this, as tar does."""


@dataclasses.dataclass(frozen=True, slots=True)
class ArchiveMember:
    """A file of an archive: its name, and its bytes or the blob that holds them."""

    name: str
    size_bytes: int
    data: bytes = b""
    blob: Digest | None = None

    @classmethod
    def of(cls, name: str, data: bytes) -> ArchiveMember:
        """A member with bytes of its own."""
        return cls(name, len(data), data=data)

    @property
    def header(self) -> bytes:
        """The tar header: owner root, mode 0444, one second past the epoch."""
        name = self.name.encode()
        entry = Entry(
            name, EntryKind.FILE, mode=0o444, size_bytes=self.size_bytes, mtime=1,
            uname="root", gname="root",
        )  # fmt: skip
        return HeaderEncoder().encode(name, entry)

    @property
    def padding(self) -> bytes:
        """The zeros that fill the last block."""
        return bytes(-self.size_bytes % _BLOCK)

    @property
    def archived_bytes(self) -> int:
        """What the member takes in the archive."""
        return len(self.header) + self.size_bytes + len(self.padding)


def archive_size_bytes(
    members: Sequence[ArchiveMember], *, record_bytes: int = RECORD_BYTES
) -> int:
    """The size of the whole archive with its end, which fills its last record."""
    size = sum(member.archived_bytes for member in members) + 2 * _BLOCK
    return size + -size % record_bytes


def archive_pieces(
    store: BlobStore, members: Sequence[ArchiveMember], *, record_bytes: int = RECORD_BYTES
) -> Iterator[bytes | memoryview]:
    """The archive from front to back; a piece is valid until the next. Blocking."""
    for member in members:
        yield from member_pieces(store, member)
    yield archive_end(members, record_bytes=record_bytes)


def archive_end(members: Sequence[ArchiveMember], *, record_bytes: int = RECORD_BYTES) -> bytes:
    """The zeros that end an archive of these members."""
    size_bytes = archive_size_bytes(members, record_bytes=record_bytes)
    return bytes(size_bytes - sum(member.archived_bytes for member in members))


def member_pieces(store: BlobStore, member: ArchiveMember) -> Iterator[bytes | memoryview]:
    """One member from its header to its padding; a piece is valid until the next. Blocking."""
    yield member.header
    if member.blob is None:
        yield member.data
    else:
        buffer = memoryview(bytearray(min(member.size_bytes, settings.current().io_buffer_bytes)))
        left = member.size_bytes
        with store.open(member.blob) as file:
            while left and (count := os.readv(file.fileno(), (buffer[:left],))):
                left -= count
                yield buffer[:count]
        if left:
            raise SizeMismatchError(
                f"The blob {member.blob} should have {member.size_bytes} bytes; {left} are gone.",
                expected_bytes=member.size_bytes,
                actual_bytes=member.size_bytes - left,
                digest=str(member.blob),
                hint="The store was damaged from outside; delete the blob and build again.",
            )
    yield member.padding


async def in_order(pieces: Iterator[bytes | memoryview]) -> AsyncGenerator[bytes, None]:
    """The pieces of a blocking iterator; they come while all workers make layers."""
    try:
        while (piece := await in_thread(next, pieces, None)) is not None:
            if piece:
                yield bytes(piece)
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()


async def write_archive(
    store: BlobStore,
    members: Sequence[ArchiveMember],
    path: Path,
    *,
    record_bytes: int = RECORD_BYTES,
) -> None:
    """Write the uncompressed archive as a new file, several members at a time."""
    await in_worker(_reserve, path, archive_size_bytes(members, record_bytes=record_bytes))
    places: list[tuple[ArchiveMember, int]] = []
    offset = 0
    for member in members:
        places.append((member, offset))
        offset += member.archived_bytes

    def write(member: ArchiveMember, offset: int) -> None:
        with open(path, "r+b", buffering=0) as file:
            file.seek(offset)
            file.write(member.header + member.data)
            if member.blob is not None:
                store.copy_blob_to(member.blob, file.fileno(), size_bytes=member.size_bytes)

    largest = sorted(places, key=lambda place: -place[0].size_bytes)
    await gather_limited(
        [functools.partial(in_worker, write, *place) for place in largest],
        limit=settings.current().workers,
    )


def _reserve(path: Path, size_bytes: int) -> None:
    with open(path, "xb") as file:
        file.truncate(size_bytes)
