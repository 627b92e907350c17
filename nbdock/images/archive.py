"""Image archives as a list of members with known places, so that both cores can write one.

A docker-archive or an OCI archive is a tar of blobs that are already in the store, whose sizes are
known: where each member starts is known before the first byte is written. So an uncompressed
archive is written by several threads at once, blob by blob, by the kernel (no byte passes
through Python), and a compressed or streamed one reads the same list from front to back.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

from nbdock import settings
from nbdock.concurrency import gather_limited, in_worker
from nbdock.content import BlobStore
from nbdock.filetree import Entry, EntryKind, HeaderEncoder
from nbdock.oci import Digest

__all__ = ["ArchiveMember", "archive_pieces", "archive_size_bytes", "write_archive"]

_BLOCK = 512
_RECORD = 10240


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


def archive_size_bytes(members: Sequence[ArchiveMember]) -> int:
    """The size of the whole archive, with its end."""
    size = sum(len(m.header) + m.size_bytes + len(m.padding) for m in members) + 2 * _BLOCK
    return size + -size % _RECORD


def archive_pieces(
    store: BlobStore, members: Sequence[ArchiveMember]
) -> Iterator[bytes | memoryview]:
    """The archive from front to back; a piece is valid until the next. Blocking."""
    buffer = memoryview(bytearray(settings.current().io_buffer_bytes))
    size = 0
    for member in members:
        yield (header := member.header)
        if member.blob is None:
            yield member.data
        else:
            left = member.size_bytes
            with open(store.path_of(member.blob), "rb", buffering=0) as file:
                while left and (count := file.readinto(buffer[: min(left, len(buffer))])):
                    left -= count
                    yield buffer[:count]
        yield member.padding
        size += len(header) + member.size_bytes + len(member.padding)
    yield bytes(archive_size_bytes(members) - size)


async def write_archive(store: BlobStore, members: Sequence[ArchiveMember], path: Path) -> None:
    """Write the uncompressed archive as a new file, several members at a time."""
    await in_worker(_reserve, path, archive_size_bytes(members))
    places: list[tuple[ArchiveMember, int]] = []
    offset = 0
    for member in members:
        places.append((member, offset))
        offset += len(member.header) + member.size_bytes + len(member.padding)

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
