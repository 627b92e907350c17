"""The entries of all layers of an image, and what becomes of them: what tables of files start from.

files = read_files(image)
files.entries["path"], files.layer, files.laid.visible
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from nbdock.errors import ArgumentTypeError
from nbdock.images import Image
from nbdock.packages import Progress
from nbdock.tables.layerentries import COLUMNS, Kind
from nbdock.tables.layerindex import StoredLayer, open_layers
from nbdock.tables.overlaying import Overlaid, Rows, lay_over

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["CHANGES", "ImageFiles", "read_files"]

CHANGES: Final = ("added", "modified", "unchanged", "deleted")

_SEEN_BY_CONTAINERS: Final = (
    "kind", "mode", "uid", "gid", "size_bytes", "mtime", "link_target", "device_major",
    "device_minor", "xattrs", "digest",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class ImageFiles:
    """All entries of an image, the lowest layer first, each layer in the order of its archive.

    Attributes
    ----------
    entries
        The columns of `nbdock.tables.layerentries`, without ``content``; ``link_row`` is a row
        of this table.
    starts
        The row where each layer begins, and the number of all rows.
    hashed
        Whether ``digest`` is filled.
    """

    entries: pa.Table
    starts: Rows
    hashed: bool

    @functools.cached_property
    def layer(self) -> npt.NDArray[np.int16]:
        """The position of the layer of each row."""
        return np.repeat(np.arange(len(self.starts) - 1, dtype=np.int16), np.diff(self.starts))

    @functools.cached_property
    def kinds(self) -> npt.NDArray[np.int8]:
        """What each row is (see `KINDS`)."""
        found: npt.NDArray[np.int8] = self.column("kind").to_numpy()
        return found

    @functools.cached_property
    def sizes(self) -> Rows:
        """Bytes of each row's content."""
        found: Rows = self.column("size_bytes").to_numpy()
        return found

    @functools.cached_property
    def laid(self) -> Overlaid:
        """What each entry changes, and whether it is seen."""
        return lay_over(self.column("path"), self.kinds, self.starts)

    @functools.cached_property
    def files(self) -> Rows:
        """The row that holds each row's content: its own, or a hardlink's file; -1 unknown.

        A hardlink to a file of a lower layer is bound to what is at that path by then.
        """
        import pyarrow.compute as pc

        own = np.arange(len(self.kinds))
        linked = self.kinds == Kind.HARDLINK
        if not linked.any():
            return own
        bound: Rows = pc.fill_null(self.column("link_row"), -1).to_numpy().copy()
        found = np.where(linked, bound, own)
        for row in np.flatnonzero(linked & (bound < 0)).tolist():
            found[row] = self._file_below(row)
        return found

    def _file_below(self, row: int) -> int:
        """What a hardlink without a target in its own layer is bound to; -1 for nothing."""
        target = self.column("link_target")[row].as_py()
        for other in reversed(self._rows_of.get(target, ())):
            if other < row and self.kinds[other] < Kind.WHITEOUT:
                return other
        return -1

    @functools.cached_property
    def _rows_of(self) -> dict[bytes, list[int]]:
        """The rows of the paths that hardlinks to lower layers name."""
        import pyarrow as pa
        import pyarrow.compute as pc

        unbound = (self.kinds == Kind.HARDLINK) & self.column("link_row").is_null().to_numpy(False)
        targets = pc.unique(self.column("link_target").filter(pa.array(unbound)))
        rows = np.flatnonzero(pc.is_in(self.column("path"), value_set=targets).to_numpy(False))
        found: dict[bytes, list[int]] = {}
        for row in rows.tolist():
            found.setdefault(self.column("path")[row].as_py(), []).append(row)
        return found

    @functools.cached_property
    def changes(self) -> npt.NDArray[np.int8]:
        """What each row does to the layers below: a place in `CHANGES`; -1 for nothing at all."""
        kinds, previous = self.kinds, self.laid.previous
        changes = np.where(previous >= 0, CHANGES.index("modified"), CHANGES.index("added"))
        again = np.flatnonzero((previous >= 0) & (kinds < Kind.WHITEOUT))
        if not self.hashed:
            # Files that were not read are not known to be the same.
            again = again[kinds[again] != Kind.FILE]
        changes[again[self.same(again, previous[again], _SEEN_BY_CONTAINERS)]] = CHANGES.index(
            "unchanged"
        )
        changes[(kinds == Kind.WHITEOUT) | (kinds == Kind.OPAQUE)] = CHANGES.index("deleted")
        changes[kinds == Kind.RESERVED] = -1
        return changes.astype(np.int8)

    def same(self, rows: Rows, others: Rows, columns: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Whether rows and others are the same in all of some columns; missing equals missing."""
        alike = np.ones(len(rows), np.bool_)
        for name in columns:
            codes = self.codes(name)
            alike &= codes[rows] == codes[others]
        return alike

    def lowest(self, layers: int) -> ImageFiles:
        """The entries of its lowest layers, as if there were no others.

        Raises
        ------
        ArgumentTypeError
            It has not so many.
        """
        count = len(self.starts) - 1
        if not isinstance(layers, int) or not 0 <= layers <= count:
            raise ArgumentTypeError(
                f"The image has {count} layers, not {layers!r:.40}.",
                argument="layers",
                hint=f"Give a number from 0 to {count}.",
            )
        starts = self.starts[: layers + 1]
        return ImageFiles(self.entries.slice(0, int(starts[-1])), starts, self.hashed)

    def codes(self, name: str) -> Rows:
        """Numbers that are equal where a column is."""
        return codes_of(self.column(name))

    def column(self, name: str) -> pa.Array:
        """One column of `entries`."""
        return self._columns[name]

    @functools.cached_property
    def _columns(self) -> dict[str, pa.Array]:
        return {n: _whole(self.entries[n]) for n in self.entries.column_names}


def codes_of(column: pa.Array) -> Rows:
    """Numbers that are equal where values are; what is missing is -1, or equal to itself."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_integer(column.type):
        found: Rows = column.to_numpy()
        return found
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    indices = column.indices if pa.types.is_dictionary(column.type) else (
        pc.dictionary_encode(column).indices
    )  # fmt: skip
    codes: Rows = pc.fill_null(indices, -1).to_numpy()
    return codes


def _whole(column: pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.unify_dictionaries()
    whole = column.combine_chunks()
    # Arrow before 20 gives chunks here for what has none.
    return whole.combine_chunks() if isinstance(whole, pa.ChunkedArray) else whole


def read_files(
    image: Image, *, hashes: bool = True, progress: Progress | None = None
) -> ImageFiles:
    """The entries of an image, from what is kept of its layers (see `open_layers`)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from nbdock.tables.layerentries import schema

    columns = COLUMNS[:-1]
    layers = [StoredLayer.of(image.store, layer) for layer in image.layers]
    tables = open_layers(layers, hashes=hashes, columns=columns, progress=progress)
    starts = np.cumsum([0, *(len(table) for table in tables)], dtype=np.int64)
    place = columns.index("link_row")
    moved = [
        table.set_column(place, "link_row", pc.add(table["link_row"], int(start)))
        for table, start in zip(tables, starts[:-1], strict=True)
    ]
    form = pa.schema([schema().field(name) for name in columns])
    entries = pa.concat_tables([form.empty_table(), *moved])
    if not hashes:
        missing = pa.nulls(len(entries), form.field("digest").type)
        entries = entries.set_column(columns.index("digest"), "digest", missing)
    return ImageFiles(entries, starts, hashes)
