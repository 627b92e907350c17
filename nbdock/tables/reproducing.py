"""`reproducibility_table`: why two builds of an image are not the same bytes, down to the field.

    nbdock.reproducibility_table("build-1.tar", "build-2.tar")

Layers are compared one by one as archives: names, times, owners, the order of entries. So this
finds what `compare_table`, which looks at what a container sees, rightly ignores.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from nbdock.images import Image, ImageLayer
from nbdock.oci import Platform
from nbdock.packages import Progress
from nbdock.tables.arrowtext import to_digests, to_paths, to_text
from nbdock.tables.imagefiles import codes_of
from nbdock.tables.layerentries import COLUMNS, KINDS
from nbdock.tables.layerindex import StoredLayer, open_layers
from nbdock.tables.marking import table_function
from nbdock.tables.opening import open_images
from nbdock.tables.overlaying import Rows
from nbdock.tables.subjects import Subject

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["reproducibility_table"]

_FIELDS: Final = (
    "kind", "mode", "uid", "gid", "uname", "gname", "size_bytes", "mtime", "link_target",
    "device_major", "device_minor", "xattrs", "digest",
)  # fmt: skip
_Row = tuple[int | None, str | None, str, str | None, str | None]


@table_function
def reproducibility_table(
    a: Subject,
    b: Subject,
    *,
    platform: str | Platform | None = None,
    tls_verify: bool = True,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Why two images are not the same bytes.

    Parameters
    ----------
    a, b
        Images, as for `file_table`: mostly two builds of one.
    platform, tls_verify, progress
        As for `file_table`.

    Returns
    -------
    pandas.DataFrame
        One row for each difference, empty if the images have one digest, with the columns

        - ``layer``: position of the layer; <NA> for the image's documents,
        - ``path``: of the entry, absolute; of documents where in them
          (``config.history[2].created``, ``manifest.annotations.x``); missing for a whole layer,
        - ``field``: what differs: a field of the entry (mode, uid, gid, uname, gname, size_bytes,
          mtime, link_target, device_major, device_minor, xattrs, digest, kind), ``entry`` for
          one that only one of them has, ``order`` of the entries of a layer, ``encoding`` for the
          same entries in another tar dialect, ``compression`` for the same tar in another
          blob, ``layer`` for one that only one of them has, ``value`` of documents,
        - ``before``, ``after``: what it is in `a` and `b` as text; missing where there is nothing.

    Raises
    ------
    ArgumentTypeError, ImageNotFoundError, ArchiveError
        As for `file_table`.
    """
    import pandas as pd

    one, other = open_images(
        [a, b], platform=platform, tls_verify=tls_verify, progress=progress
    )  # fmt: skip
    rows: list[_Row] = []
    if one.digest != other.digest:
        rows = [*_documents(one, other), *_layers(one, other, progress)]
    columns = list(zip(*rows, strict=True)) if rows else [()] * 5
    return pd.DataFrame(
        {
            "layer": pd.array(list(columns[0]), dtype="Int64"),
            "path": pd.Series(columns[1], dtype="str"),
            "field": pd.Series(columns[2], dtype="category"),
            "before": pd.Series(columns[3], dtype="str"),
            "after": pd.Series(columns[4], dtype="str"),
        }
    )


def _documents(one: Image, other: Image) -> Iterator[_Row]:
    """What differs in the documents, but for the digests of what is compared below."""
    for name in ("manifest", "config"):
        before, after = (
            dict(_flat(getattr(image, name).to_json(), name)) for image in (one, other)
        )
        for place in (*before, *(key for key in after if key not in before)):
            follows = ("manifest.layers[", "manifest.config.", "config.rootfs.diff_ids[")
            if not place.startswith(follows) and before.get(place) != after.get(place):
                yield None, place, "value", before.get(place), after.get(place)


def _flat(value: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{place}.{name}")
    elif isinstance(value, list | tuple) and value:
        for number, inner in enumerate(value):
            yield from _flat(inner, f"{place}[{number}]")
    else:
        yield place, value if isinstance(value, str) else json.dumps(value, default=dict)


def _layers(one: Image, other: Image, progress: Progress | None) -> Iterator[_Row]:
    pairs = list(zip(one.layers, other.layers, strict=False))
    differing = [(mine, its) for mine, its in pairs if mine.diff_id != its.diff_id]
    wanted = [StoredLayer.of(one.store, mine) for mine, _ in differing]
    wanted += [StoredLayer.of(other.store, its) for _, its in differing]
    tables = open_layers(wanted, columns=COLUMNS[:-1], progress=progress)
    read = iter(zip(tables[: len(differing)], tables[len(differing) :], strict=True))
    for mine, its in pairs:
        if mine.diff_id != its.diff_id:
            found = list(_entries(mine.position, *next(read)))
            if not found:
                found = [(mine.position, None, "encoding", str(mine.diff_id), str(its.diff_id))]
            yield from found
        elif mine.descriptor.digest != its.descriptor.digest:
            yield mine.position, None, "compression", _blob(mine), _blob(its)
    for layer in one.layers[len(pairs) :]:
        yield layer.position, None, "layer", str(layer.diff_id), None
    for layer in other.layers[len(pairs) :]:
        yield layer.position, None, "layer", None, str(layer.diff_id)


def _blob(layer: ImageLayer) -> str:
    return f"{layer.descriptor.digest} ({layer.descriptor.media_type})"


def _entries(position: int, one: pa.Table, other: pa.Table) -> Iterator[_Row]:
    """What differs between the entries of two layers."""
    import pyarrow as pa
    import pyarrow.compute as pc

    mine, its = (_numbered(table) for table in (one, other))
    place = pc.fill_null(pc.index_in(mine, value_set=its), -1).to_numpy().astype(np.int64)
    both = np.flatnonzero(place >= 0)
    there = place[both]
    names = _whole(one["path"])
    for field in _FIELDS:
        before, after = (
            _whole(one[field]).take(pa.array(both)),
            _whole(other[field]).take(pa.array(there)),
        )
        codes = codes_of(_joined(before, after))
        where = np.flatnonzero(codes[: len(both)] != codes[len(both) :])
        if len(where):
            yield from zip(
                [position] * len(where), _paths(names, both[where]), [field] * len(where),
                _texts(field, before, where), _texts(field, after, where), strict=True,
            )  # fmt: skip
    gone = np.flatnonzero(place < 0)
    for path in _paths(names, gone):
        yield position, path, "entry", "present", None
    new = np.ones(len(other), np.bool_)
    new[there] = False
    for path in _paths(_whole(other["path"]), np.flatnonzero(new)):
        yield position, path, "entry", None, "present"
    steps = np.flatnonzero(np.diff(there) < 0)
    if len(steps):
        # The first entry that comes elsewhere, and what comes in its place.
        first = int(np.flatnonzero(there != np.sort(there))[0])
        at = [both[first]], [np.sort(there)[first]]
        (before_path,), (after_path,) = (
            _paths(names, np.array(at[0])), _paths(_whole(other["path"]), np.array(at[1])),
        )  # fmt: skip
        yield position, None, "order", before_path, after_path


def _numbered(table: pa.Table) -> pa.Array:
    """The paths and kinds of whiteouts; of a path that stands there twice, the second is told."""
    import pyarrow as pa
    import pyarrow.compute as pc

    paths, kinds = _whole(table["path"]), _whole(table["kind"])
    marks = pc.cast(pc.max_element_wise(kinds, pa.scalar(6, pa.int8())), pa.string())
    keys = pc.binary_join_element_wise(
        paths, pc.cast(marks, pa.large_binary()), pa.scalar(b"\0", pa.large_binary())
    )
    codes = pc.dictionary_encode(keys).indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    counts = np.diff(np.append(starts, len(codes)))
    turns = np.empty(len(codes), np.int64)
    turns[order] = np.arange(len(codes)) - np.repeat(starts, counts)
    if not turns.any():
        return keys
    numbers = pc.cast(pc.cast(pa.array(turns), pa.string()), pa.large_binary())
    return pc.binary_join_element_wise(keys, numbers, pa.scalar(b"\0", pa.large_binary()))


def _whole(column: pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.combine_chunks()


def _joined(one: pa.Array, other: pa.Array) -> pa.Array:
    import pyarrow as pa

    return pa.concat_arrays([one, other])


def _paths(paths: pa.Array, rows: Rows) -> list[str]:
    import pyarrow as pa

    found: list[str] = to_paths(paths.take(pa.array(rows, pa.int64()))).to_pylist()
    return found


def _texts(field: str, values: pa.Array, rows: Rows) -> list[str | None]:
    """Values as people write them."""
    import pyarrow as pa

    chosen = values.take(pa.array(rows))
    if field == "digest":
        chosen = to_digests(chosen)
    elif pa.types.is_large_binary(chosen.type) or pa.types.is_binary(chosen.type):
        chosen = to_text(chosen)
    texts: list[str | None] = []
    for value in chosen.to_pylist():
        if value is None:
            texts.append(None)
        elif field == "mode":
            texts.append(f"{value:04o}")
        elif field == "kind":
            texts.append(KINDS[value])
        else:
            texts.append(value.isoformat() if field == "mtime" else str(value))
    return texts
