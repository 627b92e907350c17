"""Where the files of an image from elsewhere are: in a tar, or in a directory on the host.

Both find a file by name, and neither lets a name lead outside: a tar's members are looked up among
each other, and a directory is only asked for names made of digests.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from nbdock import settings
from nbdock.content import BlobStore
from nbdock.errors import ArchiveError, InvalidManifestError
from nbdock.filetree import Entry, EntryKind, FileContent, read_tar
from nbdock.images.layerblobs import keep_tar
from nbdock.oci import Descriptor, Digest
from nbdock.packages import Progress

__all__ = [
    "ArchiveSource",
    "DirectorySource",
    "FoundImage",
    "ImageFinder",
    "ImageSource",
    "document",
    "store_layer",
]


@dataclasses.dataclass(frozen=True)
class FoundImage:
    """An image in an archive: what it is called, and how to take it into the store.

    `take_index` takes the index that it stands in, with the images for all platforms; None if there
    is none, or not all of them are in the archive.
    """

    names: tuple[str, ...]
    take: Callable[[BlobStore, Progress | None], Descriptor]
    take_index: Callable[[BlobStore, Progress | None], Descriptor] | None = None


class ImageFinder(Protocol):
    """A format of archives: what images there are, and how to take one."""

    def found(self) -> Iterator[FoundImage]:
        """The images, the most likely meant first."""
        ...


class ImageSource(Protocol):
    """Files by name; `where` says what they are in, for errors."""

    where: str

    def find(self, name: str) -> Entry | None:
        """The file of that name, with content; None if there is none."""
        ...


class ArchiveSource:
    """The members of a tar by name; links are followed by name, inside the archive only."""

    def __init__(self, file: BinaryIO, where: str) -> None:
        self.where = where
        self._members: dict[bytes, Entry] = {
            entry.path: entry for entry in read_tar(file, random_access=True)
        }

    @property
    def names(self) -> Iterator[str]:
        """The names of all members."""
        return (os.fsdecode(path) for path in self._members)

    def find(self, name: str) -> Entry | None:
        """The file of that name, or that a link of that name leads to."""
        path = os.path.normpath(name).encode("utf-8", "surrogateescape")
        for _ in range(8):
            entry = self._members.get(path)
            if entry is None or entry.kind is EntryKind.FILE:
                return entry
            if entry.kind is EntryKind.HARDLINK:
                return entry.target
            if entry.kind is not EntryKind.SYMLINK:
                return None
            path = os.path.normpath(os.path.join(os.path.dirname(path), entry.linkname))
        return None


class DirectorySource:
    """The files of an OCI layout on the host; only names made of digests are looked for."""

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        self._path = path

    def find(self, name: str) -> Entry | None:
        """The file of that name."""
        place = self._path / name
        try:
            size = place.stat().st_size
        except OSError:
            return None
        content = FileContent(os.fsencode(place), size)
        return Entry(name.encode(), EntryKind.FILE, size_bytes=size, content=content)


def document(source: ImageSource, name: str) -> bytes:
    """The content of a small file that must be there.

    Raises
    ------
    ArchiveError
        It is not.
    InvalidManifestError
        It is larger than `settings.json_limit_bytes`.
    """
    entry = source.find(name)
    limit = settings.current().json_limit_bytes
    if entry is None:
        raise ArchiveError(
            f"{source.where!r} has no {name}, which the image needs.",
            hint="The archive is incomplete; save it again.",
        )
    if entry.size_bytes > limit:
        raise InvalidManifestError(
            f"{name} in {source.where!r} has {entry.size_bytes} bytes; {limit} are allowed.",
            value=name,
        )
    return entry.read()


def store_layer(entry: Entry, diff_id: Digest, store: BlobStore, what: str) -> None:
    """Put a layer, decompressed if it is compressed, into the store; its names are checked."""
    assert entry.content is not None
    keep_tar(store, entry.content.chunks(), diff_id, what=what)
    try:
        for _ in read_tar(store.path_of(diff_id)):
            pass
    except ArchiveError:
        # A layer that nothing can read is not kept: the next image would be built on it.
        store.delete(diff_id)
        raise
