"""What is in one layer: its entries as an Arrow table, read from the blob once and kept.

    (entries,) = open_layers([(store, layer)], hashes=True)
    entries["path"], entries["digest"]

A layer never changes, so what it holds is read once, ever: its blob is decompressed, its tar parsed
and every file's content hashed as it streams by, several layers at a time; nothing is unpacked. The
result is a Parquet file under ``tables/`` of the store's home. It is named by the diff ID if the
tar itself was read, which the store has verified, and by the compressed blob's digest otherwise:
hashing the tar once more would take a third of the time, and an image that lies about a diff ID
shows what is in its own blob, and spoils no other image's table. A file of another version is not
looked at, and a damaged one is made again.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nbdock import settings
from nbdock.concurrency import gather_limited, in_stoppable_worker, run
from nbdock.content import BlobStore, TemporaryFile, open_decompressed
from nbdock.errors import ArchiveError
from nbdock.filetree import Entry, read_tar
from nbdock.images import ImageLayer
from nbdock.oci import Digest
from nbdock.packages import Progress
from nbdock.tables.layerentries import COLUMNS, VERSION, collect, schema

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["StoredLayer", "open_layers"]

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class StoredLayer:
    """A layer, and the store that has its blob."""

    store: BlobStore
    layer: ImageLayer


def open_layers(
    layers: Sequence[StoredLayer],
    *,
    hashes: bool = True,
    columns: Sequence[str] = COLUMNS[:-1],
    progress: Progress | None = None,
) -> list[pa.Table]:
    """The entries of layers, each in the order of its archive; read if they never were.

    Parameters
    ----------
    hashes
        Whether ``digest`` is needed: the SHA-256 of every file's content. What has to be
        decompressed is hashed anyway, so that it is read once; a tar is only skipped through.
    columns
        Which of `COLUMNS` are needed.
    progress
        Called with what is being read, bytes done and bytes in all.

    Raises
    ------
    ArchiveError
        A layer that cannot be read; the message names it.
    BlobNotFoundError, StorageFullError
        It is not in the store, or there is no room for what was found.
    """
    unique = {_names(stored): stored for stored in layers}
    tables = {
        names: table
        for names, stored in unique.items()
        if (table := _kept(stored, hashes, columns)) is not None
    }
    missing = [stored for names, stored in unique.items() if names not in tables]
    if missing:
        made = run(_make_all(missing, hashes, columns, progress))
        tables |= {_names(s): table for s, table in zip(missing, made, strict=True)}
    return [tables[_names(stored)] for stored in layers]


def _names(stored: StoredLayer) -> tuple[Digest, Digest]:
    """What a layer may be kept under: what is in one blob is known for good."""
    return stored.layer.diff_id, stored.layer.descriptor.digest


def _place(store: BlobStore, name: Digest, *, hashes: bool) -> Path:
    file = f"{name.algorithm}-{name.hex}{'' if hashes else '.names'}.parquet"
    return store.home / "tables" / f"layers-{VERSION}" / file


def _kept(stored: StoredLayer, hashes: bool, columns: Sequence[str]) -> pa.Table | None:
    """What is kept of a layer; None if nothing (good) is."""
    for hashed in (True,) if hashes else (True, False):
        for name in dict.fromkeys(_names(stored)):
            found = _load(_place(stored.store, name, hashes=hashed), columns)
            if found is not None:
                return found
    return None


def _load(place: Path, columns: Sequence[str]) -> pa.Table | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(
            place, columns=list(columns), page_checksum_verification=True, memory_map=False,
            partitioning=None,
        )  # fmt: skip
    except FileNotFoundError:
        return None
    except (pa.ArrowException, OSError, ValueError) as error:
        _log.warning("%s is damaged (%s); the layer is read again.", place, error)
        return None
    form = schema()
    if table.schema.types != [form.field(name).type for name in columns]:
        _log.warning("%s is not what it should be; the layer is read again.", place)
        return None
    return table


async def _make_all(
    missing: Sequence[StoredLayer], hashes: bool, columns: Sequence[str], progress: Progress | None
) -> list[pa.Table]:
    """Read layers and keep what is in them: the largest first, several at a time."""
    sizes = [stored.layer.descriptor.size_bytes for stored in missing]
    done = [0] * len(missing)
    made: dict[int, pa.Table] = {}

    async def one(number: int) -> None:
        stop = threading.Event()

        def on_bytes(used: int) -> None:
            done[number] = min(used, sizes[number])
            if progress is not None:
                progress("Reading layers", sum(done), sum(sizes))

        table = await in_stoppable_worker(stop, _make, missing[number], hashes, stop, on_bytes)
        made[number] = table.select(list(columns))

    ordered = sorted(range(len(missing)), key=lambda number: -sizes[number])
    await gather_limited(
        [functools.partial(one, number) for number in ordered],
        limit=settings.current().workers,
    )
    return [made[number] for number in range(len(missing))]


def _make(
    stored: StoredLayer, hashes: bool, stop: threading.Event, on_bytes: Callable[[int], None]
) -> pa.Table:
    import pyarrow.parquet as pq

    is_plain = stored.store.has(stored.layer.diff_id)
    hashes = hashes or not is_plain
    table = _read(stored, is_plain=is_plain, hashes=hashes, stop=stop, on_bytes=on_bytes)
    diff_id, blob = _names(stored)
    name = diff_id if is_plain else blob
    place = _place(stored.store, name, hashes=hashes)
    try:
        with TemporaryFile(str(stored.store.home / "tmp")) as file:
            pq.write_table(
                table, file.path, compression="zstd", write_page_checksum=True,
                use_dictionary=["uname", "gname", "kind", "mode", "uid", "gid"],
            )  # fmt: skip
            file.publish(str(place), mode=0o644)
        if hashes:
            _place(stored.store, name, hashes=False).unlink(missing_ok=True)
    except OSError as error:
        # A disk that is full or read-only: the layer is read again next time.
        _log.warning("What is in the layer %s is not kept: %s", name, error)
    return table


def _read(
    stored: StoredLayer,
    *,
    is_plain: bool,
    hashes: bool,
    stop: threading.Event,
    on_bytes: Callable[[int], None],
) -> pa.Table:
    """Read a layer: its tar if that is in the store (`is_plain`), else its compressed blob."""
    store, layer = stored.store, stored.layer
    limit = settings.current().layer_contents_limit_bytes
    try:
        if is_plain:
            with store.open(layer.diff_id) as file:
                if not hashes:
                    entries = read_tar(file, random_access=True, content_limit_bytes=limit)
                    return collect(_stoppable(entries, stop), hashes=False)
                pieces = iter(functools.partial(file.read, 1 << 20), b"")
                watched = _watched(pieces, stop, on_bytes, file.tell)
                return collect(read_tar(watched, content_limit_bytes=limit), hashes=True)
        ratio = settings.current().decompression_ratio_limit
        with (
            store.open(layer.descriptor.digest) as blob,
            open_decompressed(blob, limit_ratio=ratio) as stream,
        ):
            pieces = _watched(stream.pieces(), stop, on_bytes, lambda: stream.compressed_bytes)
            return collect(read_tar(pieces, content_limit_bytes=limit), hashes=hashes)
    except ArchiveError as error:
        error.message = f"The layer {layer.descriptor.digest} cannot be read: {error.message}"
        raise


class _StoppedError(Exception):
    """Nobody waits for the layer any more."""


def _watched(
    pieces: Iterator[bytes], stop: threading.Event,
    on_bytes: Callable[[int], None], used: Callable[[], int],
) -> Iterator[bytes]:  # fmt: skip
    for piece in pieces:
        if stop.is_set():
            raise _StoppedError
        on_bytes(used())
        yield piece


def _stoppable(entries: Iterator[Entry], stop: threading.Event) -> Iterator[Entry]:
    for entry in entries:
        if stop.is_set():
            raise _StoppedError
        yield entry
