"""What is in layers: their entries as Arrow tables, read from the blobs once and kept.

    (entries,) = open_layers([StoredLayer.of(image.store, layer)], hashes=True)
    entries["path"], entries["digest"]

A layer never changes, so what it holds is read once, ever, several layers at a time; nothing is
unpacked. What was found is kept under the diff ID if the tar itself was read, which the store has
verified, and under the compressed blob's digest otherwise: hashing the tar once more would take a
third of the time, and an image that lies about a diff ID shows what is in its own blob, and spoils
no other image's table.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nbdock import settings
from nbdock.concurrency import gather_limited, in_stoppable_worker, run
from nbdock.oci import Digest
from nbdock.packages import Progress
from nbdock.tables.layerentries import COLUMNS
from nbdock.tables.layerfiles import load
from nbdock.tables.layerreading import ReadingProcess, StoredLayer, make_table

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["StoredLayer", "open_layers"]

_WORTH_A_PROCESS_BYTES = 64 << 20
"""How much there must be to read for another process to be worth its start. Bytes of blobs."""


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
    unique = {stored.names: stored for stored in layers}
    tables = {
        names: table
        for names, stored in unique.items()
        if (table := load(stored.store, names, hashes=hashes, columns=columns)) is not None
    }
    missing = [stored for names, stored in unique.items() if names not in tables]
    if missing:
        tables |= run(_make_all(missing, hashes, columns, progress))
    return [tables[stored.names] for stored in layers]


async def _make_all(
    missing: Sequence[StoredLayer], hashes: bool, columns: Sequence[str], progress: Progress | None
) -> dict[tuple[Digest, Digest], pa.Table]:
    """Read layers and keep what is in them: the largest first, several at a time."""
    total = sum(stored.size_bytes for stored in missing)
    done: dict[tuple[Digest, Digest], int] = {}
    made: dict[tuple[Digest, Digest], pa.Table] = {}
    waiting = collections.deque(sorted(missing, key=lambda stored: -stored.size_bytes))

    async def lane(process: ReadingProcess | None) -> None:
        stop = threading.Event()
        while waiting:
            stored = waiting.popleft()

            def on_bytes(used: int, stored: StoredLayer = stored) -> None:
                done[stored.names] = min(used, stored.size_bytes)
                if progress is not None:
                    progress("Reading layers", sum(done.values()), total)

            def make(stored: StoredLayer = stored) -> pa.Table:
                if process is not None and process.make_table(stored, hashes, stop, on_bytes):
                    table = load(stored.store, stored.names, hashes=hashes, columns=columns)
                    if table is not None:
                        return table
                return make_table(stored, hashes, stop, on_bytes)[0].select(list(columns))

            made[stored.names] = await in_stoppable_worker(stop, make)

    lanes = min(settings.current().workers, len(missing))
    with contextlib.ExitStack() as cleanup:
        processes: list[ReadingProcess | None] = [None] * lanes
        if total >= _WORTH_A_PROCESS_BYTES:
            processes[1:] = [cleanup.enter_context(ReadingProcess()) for _ in range(1, lanes)]
        await gather_limited([functools.partial(lane, each) for each in processes], limit=lanes)
    return made
