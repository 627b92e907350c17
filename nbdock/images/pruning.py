"""`prune`: room on the disk, from what nobody has used for a time; and what takes the room.

    report = await prune(older_than=30 * 86400, dry_run=True)
    report.size_bytes, report.table()

All of it comes again when it is asked for: blobs that no image refers to (see
`nbdock.content.collect`), disks of layers and snapshots of virtual machines, tables, downloads,
and the parts of pulls that were broken off. An image that has a name stays as it is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from nbdock import settings
from nbdock.calling import checked
from nbdock.concurrency import in_worker
from nbdock.content import BlobStore, LayerCache, collect, remove_unheld, sweep, unused_blobs
from nbdock.errors import ArgumentTypeError
from nbdock.units import bytes_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PruneReport", "PrunedFile", "Usage", "prune", "usage"]

_BLOBS = "blobs"
_PRUNED = {
    "layer disks": "vm/layers",
    "snapshots": "vm/snapshots",
    "tables": "tables",
    "downloads": "downloads",
    "broken pulls": "arriving",
}
"""What else is pruned, by where it is: files that are found to be missing, and made again."""

_PLACES = {
    _BLOBS: "blobs", **_PRUNED, "virtual machine": "vm", "package lists": "apt", "Nix": "nix",
    "being written": "tmp", "index and cache": "",
}  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class PrunedFile:
    """A file that was removed, or would be.

    Attributes
    ----------
    kind, name
        What it is (``blobs``, ``layer disks``, ...), and its digest or its name.
    size_bytes
        How long it is.
    used_at_s
        When it was last used, as far as that is known. Seconds since 1970.
    """

    kind: str
    name: str
    size_bytes: int
    used_at_s: float


@dataclasses.dataclass(frozen=True, slots=True)
class PruneReport:
    """What `prune` removed, or would remove.

    Attributes
    ----------
    files
        Blobs first, then the others.
    is_dry_run
        Whether all of it is still there.
    """

    files: tuple[PrunedFile, ...]
    is_dry_run: bool

    @property
    def size_bytes(self) -> int:
        """How many bytes that is."""
        return sum(file.size_bytes for file in self.files)

    def __repr__(self) -> str:
        how = "can be removed" if self.is_dry_run else "removed"
        return f"<PruneReport: {len(self.files):,} files, {bytes_text(self.size_bytes)} {how}>"

    def table(self) -> pd.DataFrame:
        """The files as a DataFrame: ``kind``, ``name``, ``size_bytes`` and ``used_at`` (UTC)."""
        import pandas as pd

        rows = [dataclasses.astuple(file) for file in self.files]
        table = pd.DataFrame(rows, columns=["kind", "name", "size_bytes", "used_at"])
        return table.astype({"size_bytes": "int64"}).assign(
            used_at=pd.to_datetime(table["used_at"].astype(float), unit="s", utc=True)
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
    """What one kind of file takes of the disk.

    Attributes
    ----------
    kind, place
        What it is, and where below `settings.home`.
    file_count, size_bytes
        How many there are, and how much of the disk they take.
    prunable_bytes
        How much of it `prune` would free now.
    """

    kind: str
    place: str
    file_count: int
    size_bytes: int
    prunable_bytes: int


@checked
async def prune(
    *,
    older_than: float | timedelta | None = None,
    dry_run: bool = False,
    store: BlobStore | None = None,
) -> PruneReport:
    """Remove what no image refers to and nobody has used for a time.

    Parameters
    ----------
    older_than
        For how long: a `datetime.timedelta`, or seconds. Default, and least:
        `settings.prune_grace_s`, within which somebody may be at work with it.
    dry_run
        Only say what would be removed.
    store
        Whose home; by default the store under `settings.home`.

    Raises
    ------
    ArgumentTypeError
        `older_than` is no time.
    ContentError
        Which images there are cannot be read (nothing is removed then), or a blob cannot be
        removed.
    """
    if isinstance(older_than, timedelta):
        older_than = older_than.total_seconds()
    if isinstance(older_than, bool) or not isinstance(older_than, int | float | None):
        raise ArgumentTypeError(
            f"older_than must be seconds or a timedelta, not {older_than!r}.",
            argument="older_than",
            hint="For example datetime.timedelta(days=30).",
        )
    return await in_worker(_prune, store or BlobStore.default(), older_than or 0.0, bool(dry_run))


def _prune(store: BlobStore, unused_s: float, dry_run: bool) -> PruneReport:
    blobs = (unused_blobs if dry_run else collect)(store, unused_s=unused_s)
    files = [PrunedFile(_BLOBS, str(b.digest), b.size_bytes, b.used_at_s) for b in blobs]
    for kind, place in _PRUNED.items():
        for path, file in _unused_files(store, kind, place, unused_s):
            if dry_run or _removed(path):
                files.append(file)
    if not dry_run:
        for folder in ("tmp", "vm/tmp"):
            with contextlib.suppress(FileNotFoundError):
                sweep(os.path.join(store.home, folder))
        with LayerCache(store) as cache:
            cache.forget_missing()
    return PruneReport(tuple(files), dry_run)


def _unused_files(
    store: BlobStore, kind: str, place: str, unused_s: float
) -> Iterator[tuple[str, PrunedFile]]:
    before_s = time.time() - max(unused_s, settings.current().prune_grace_s)
    top = os.path.join(store.home, place)
    for path, found in _files(top):
        # Reading counts where the file system notes it.
        used_at_s = max(found.st_mtime, found.st_atime)
        if used_at_s < before_s:
            name = os.path.relpath(path, top)
            yield path, PrunedFile(kind, name, found.st_size, used_at_s)


def _removed(path: str) -> bool:
    """Remove a file, unless somebody holds a lock on it."""
    try:
        remove_unheld(path)
    except OSError:
        return False
    return True


def _files(top: str) -> Iterator[tuple[str, os.stat_result]]:
    """Every file, looked at when it is its turn: what came to use meanwhile is not old."""
    for folder, below, names in os.walk(top):
        below.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            with contextlib.suppress(FileNotFoundError):
                found = os.lstat(path)
                if stat.S_ISREG(found.st_mode):
                    yield path, found


def usage(store: BlobStore | None = None) -> tuple[Usage, ...]:
    """What takes room under `settings.home`, by kind. Blocking.

    Raises
    ------
    ContentError
        Which images there are cannot be read.
    """
    store = store or BlobStore.default()
    counts = dict.fromkeys(_PLACES, 0)
    sizes = dict.fromkeys(_PLACES, 0)
    for path, found in _files(os.fspath(store.home)):
        below = os.path.relpath(path, store.home)
        # The longest first: the snapshots are not the rest of the virtual machine.
        kind = next(k for k, p in _PLACES.items() if below.startswith(f"{p}/" if p else ""))
        counts[kind] += 1
        sizes[kind] += found.st_blocks * 512
    prunable = dict.fromkeys(_PLACES, 0)
    for file in _prune(store, 0.0, dry_run=True).files:
        prunable[file.kind] += file.size_bytes
    return tuple(
        Usage(kind, place, counts[kind], sizes[kind], prunable[kind])
        for kind, place in _PLACES.items()
    )
