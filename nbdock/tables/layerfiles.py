"""Where what is in a layer is kept: one Parquet file under ``tables/`` of the store's home.

    keep(store, name, table, hashes=True)
    load(store, [name], columns=("path", "size_bytes"), hashes=True)

A file is named by a digest that says all that it depends on. One of another version is not looked
at, and a damaged one counts as none.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nbdock.content import BlobStore, TemporaryFile
from nbdock.oci import Digest
from nbdock.tables.layerentries import VERSION, schema

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["is_kept", "keep", "load"]

_log = logging.getLogger(__name__)

_WORTH_THREADS_ROWS = 50_000


def _place(store: BlobStore, name: Digest, *, hashes: bool) -> Path:
    file = f"{name.algorithm}-{name.hex}{'' if hashes else '.names'}.parquet"
    return store.home / "tables" / f"layers-{VERSION}" / file


def keep(store: BlobStore, name: Digest, table: pa.Table, *, hashes: bool) -> bool:
    """Keep what is in a layer; False if that cannot be: a disk that is full or read-only."""
    import pyarrow.parquet as pq

    place = _place(store, name, hashes=hashes)
    try:
        with TemporaryFile(str(store.home / "tmp")) as file:
            pq.write_table(
                table, file.path, compression="zstd", write_page_checksum=True,
                use_dictionary=["uname", "gname", "kind", "mode", "uid", "gid"],
            )  # fmt: skip
            file.publish(str(place), mode=0o644)
        if hashes:
            _place(store, name, hashes=False).unlink(missing_ok=True)
    except OSError as error:
        _log.warning("What is in the layer %s is not kept: %s", name, error)
        return False
    return True


def is_kept(store: BlobStore, names: Iterable[Digest]) -> bool:
    """Whether something is kept of a layer, with or without hashes; it may be damaged."""
    return any(
        _place(store, name, hashes=hashed).exists() for name in names for hashed in (True, False)
    )


def load(
    store: BlobStore, names: Iterable[Digest], *, hashes: bool, columns: Sequence[str]
) -> pa.Table | None:
    """What is kept of a layer under one of these names; None if nothing (good) is."""
    known = tuple(dict.fromkeys(names))
    for hashed in (True,) if hashes else (True, False):
        for name in known:
            found = _load(_place(store, name, hashes=hashed), columns)
            if found is not None:
                return found
    return None


def _load(place: Path, columns: Sequence[str]) -> pa.Table | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Not `read_table`, which imports all that datasets need; and passing small columns to other
        # threads takes longer than reading them.
        with pq.ParquetFile(place, page_checksum_verification=True) as file:
            is_large = file.metadata.num_rows > _WORTH_THREADS_ROWS
            table = file.read(list(columns), use_threads=is_large)
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
