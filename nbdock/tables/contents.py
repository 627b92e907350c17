"""What is in a file of a layer: its first bytes, read from the layer's own blob.

    first_bytes(image, files, row, limit_bytes=65536)

By its place in the archive, so that the right one of several entries of one name is read, and one
that upper layers hide is as good as any. Nothing is unpacked or kept.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Iterator
from itertools import islice

from nbdock import settings
from nbdock.content import open_decompressed
from nbdock.errors import ContentError
from nbdock.filetree import Entry, read_tar
from nbdock.images import Image
from nbdock.tables.imagefiles import ImageFiles
from nbdock.tables.layerentries import Kind

__all__ = ["first_bytes", "read_contents"]


def first_bytes(image: Image, files: ImageFiles, row: int, *, limit_bytes: int) -> bytes:
    """The beginning of a file of an image, or of that a hardlink is bound to. Blocking.

    Parameters
    ----------
    files, row
        The entries of the image, and which of them.
    limit_bytes
        How much of it at the most.

    Raises
    ------
    ContentError
        It is no file.
    ArchiveError, BlobNotFoundError
        Its layer is damaged, or not in the store.
    """
    held = int(files.files[row])
    if held < 0 or files.kinds[held] != Kind.FILE:
        path = files.column("path")[row].as_py().decode("utf-8", "backslashreplace")
        raise ContentError(f"/{path} is no file.", path=path)
    ((_, found),) = read_contents(image, files, [held], limit_bytes=limit_bytes)
    return found


def read_contents(
    image: Image, files: ImageFiles, rows: Iterable[int], *, limit_bytes: int
) -> Iterator[tuple[int, bytes]]:
    """The rows of some files and the beginning of each, every layer read once. Blocking."""
    of_layer: dict[int, list[int]] = {}
    for row in sorted(rows):
        of_layer.setdefault(int(files.layer[row]), []).append(row)
    for layer, wanted in of_layer.items():
        start = int(files.starts[layer])
        with contextlib.closing(_entries(image, layer)) as entries:
            at = start
            for row in wanted:
                entry = next(islice(entries, row - at, None))
                at = row + 1
                yield row, _beginning(entry, limit_bytes)


def _entries(image: Image, layer: int) -> Generator[Entry]:
    """The entries of a layer, from its tar if that is in the store, else from its blob."""
    stored, current = image.layers[layer], settings.current()
    limit = current.layer_contents_limit_bytes
    if image.store.has(stored.diff_id):
        with image.store.open(stored.diff_id) as tar:
            yield from read_tar(tar, random_access=True, content_limit_bytes=limit)
        return
    with (
        image.store.open(stored.descriptor.digest) as blob,
        open_decompressed(blob, limit_ratio=current.decompression_ratio_limit) as stream,
    ):
        yield from read_tar(stream.pieces(), content_limit_bytes=limit)


def _beginning(entry: Entry, limit_bytes: int) -> bytes:
    found = bytearray()
    for piece in entry.content.chunks() if entry.content else ():
        found += piece[: limit_bytes - len(found)]
        if len(found) >= limit_bytes:
            break
    return bytes(found)
