"""`compare_table`: what differs between two images, as a container sees them.

table = nbdock.compare_table("redis:7.2", "redis:7.4")
table[table.part == "package"]
table[(table.part == "file") & (table.why != "time")].nlargest(10, "after_bytes")
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from nbdock.images import Image
from nbdock.oci import ImageConfig, Platform
from nbdock.packages import Progress
from nbdock.tables.arrowtext import to_paths
from nbdock.tables.imagefiles import ImageFiles, codes_of, read_files
from nbdock.tables.marking import table_function
from nbdock.tables.opening import open_images
from nbdock.tables.overlaying import Rows
from nbdock.tables.packages import manager_of, packages_of
from nbdock.tables.subjects import Subject

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["compare_table", "flat_configuration"]

_CHANGES: Final = ("added", "removed", "changed")
_ADDED, _REMOVED, _CHANGED = range(3)
_PARTS: Final = ("file", "package", "configuration")
_FIELDS: Final = (
    ("kind", ("kind",)),
    ("content", ("digest", "size_bytes")),
    ("link target", ("link_target",)),
    ("device", ("device_major", "device_minor")),
    ("mode", ("mode",)),
    ("owner", ("uid", "gid")),
    ("attributes", ("xattrs",)),
    ("time", ("mtime",)),
)
"""What of a file may differ, by the columns of `nbdock.tables.layerentries`."""


@table_function
def compare_table(
    a: Subject,
    b: Subject,
    *,
    platform: str | Platform | None = None,
    tls_verify: bool = True,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """What differs between the files, packages and configurations of two images.

    Files are compared as a container sees them: which layers they are in does not matter, nor does
    which of the names of a file is the hardlink.

    Parameters
    ----------
    a, b
        Images, as for `file_table`.
    platform, tls_verify, progress
        As for `file_table`.

    Returns
    -------
    pandas.DataFrame
        One row for each difference, files by path first, with the columns

        - ``part``: file, package or configuration,
        - ``name``: the absolute path; manager and name of the package; or where in the
          configuration (``Env.PATH``),
        - ``change``: added (only `b` has it), removed (only `a`) or changed,
        - ``why``: of a changed file what differs: kind, content, link target, device, mode, owner,
          attributes, several joined by commas; time stands only where nothing else differs. Of a
          package version, of a configuration value. Empty for what is added or removed,
        - ``before``, ``after``: versions or values in `a` and `b`; missing for files,
        - ``before_bytes``, ``after_bytes``: sizes of files and packages in `a` and `b`; <NA> where
          there is none.

    Raises
    ------
    ArgumentTypeError, ImageNotFoundError, ArchiveError
        As for `file_table`.
    """
    import pandas as pd

    one, other = open_images(
        [a, b], platform=platform, tls_verify=tls_verify, progress=progress
    )  # fmt: skip
    tables = [
        _files(read_files(one, progress=progress), read_files(other, progress=progress)),
        _rest("package", _packages(one, progress), _packages(other, progress)),
        _rest("configuration", *({k: (v, None) for k, v in flat_configuration(i.config).items()}
                                 for i in (one, other))),
    ]  # fmt: skip
    table = pd.concat(tables, ignore_index=True)
    return table.astype(
        {"part": pd.CategoricalDtype(pd.Index(_PARTS)), "why": "category",
         "change": pd.CategoricalDtype(pd.Index(_CHANGES))}
    )  # fmt: skip


def _files(one: ImageFiles, other: ImageFiles) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    mine, theirs = np.flatnonzero(one.laid.visible), np.flatnonzero(other.laid.visible)
    paths = [x.column("path").take(pa.array(rows)) for x, rows in ((one, mine), (other, theirs))]
    # Where in the other image each path is; every path is seen once.
    place = pc.fill_null(pc.index_in(paths[0], value_set=paths[1]), -1).to_numpy().astype(np.int64)
    both = np.flatnonzero(place >= 0)
    masks = _differences(one, other, mine[both], theirs[place[both]])
    changed = both[masks > 0]
    removed = np.flatnonzero(place < 0)
    is_added = np.ones(len(theirs), np.bool_)
    is_added[place[both]] = False
    added = np.flatnonzero(is_added)
    why = np.concatenate([masks[masks > 0], np.zeros(len(removed) + len(added), np.int64)])
    distinct, codes = np.unique(why, return_inverse=True)
    before = _held(one, mine[np.concatenate([changed, removed])])
    after = _held(other, theirs[np.concatenate([place[changed], added])])
    nothing = [None]
    names = pa.concat_arrays(
        [
            paths[0].take(pa.array(np.concatenate([changed, removed]))),
            paths[1].take(pa.array(added)),
        ]
    )
    table = pd.DataFrame(
        {
            "part": "file",
            "name": pa.table({"name": to_paths(names)}).to_pandas()["name"],
            "change": np.repeat(
                np.array(_CHANGES, object)[[_CHANGED, _REMOVED, _ADDED]],
                [len(changed), len(removed), len(added)],
            ),
            "why": np.array([_reason(int(mask)) for mask in distinct], object)[codes],
            "before": pd.Series(nothing * len(names), dtype="str"),
            "after": pd.Series(nothing * len(names), dtype="str"),
            "before_bytes": pd.array(
                [*one.sizes[before].tolist(), *nothing * len(added)], dtype="Int64"
            ),
            "after_bytes": pd.array(
                [*other.sizes[after[: len(changed)]].tolist(), *nothing * len(removed),
                 *other.sizes[after[len(changed) :]].tolist()], dtype="Int64"
            ),
        }
    )  # fmt: skip
    return table.sort_values("name", kind="stable")


def _held(files: ImageFiles, rows: Rows) -> Rows:
    """The rows that say what names hold: a hardlink's file, if it is known."""
    held = files.files[rows]
    return np.where(held >= 0, held, rows)


def _differences(one: ImageFiles, other: ImageFiles, rows: Rows, others: Rows) -> Rows:
    """For pairs of rows what differs, as bits by the place in `_FIELDS`."""
    import pyarrow as pa

    rows, others = _held(one, rows), _held(other, others)
    masks = np.zeros(len(rows), np.int64)
    for bit, (_, columns) in enumerate(_FIELDS):
        for name in columns:
            mine = one.column(name).take(pa.array(rows))
            theirs = other.column(name).take(pa.array(others))
            codes = codes_of(pa.concat_arrays([mine, theirs]))
            masks[codes[: len(rows)] != codes[len(rows) :]] |= 1 << bit
    return masks


def _reason(mask: int) -> str:
    names = [name for bit, (name, _) in enumerate(_FIELDS) if mask >> bit & 1]
    return ", ".join(name for name in names if name != "time" or len(names) == 1)


_Value = tuple[str, int | None]


def _packages(image: Image, progress: Progress | None) -> dict[str, _Value]:
    """Versions and bytes by manager and name; several of one name are told together."""
    found: dict[str, list[tuple[str, int]]] = {}
    for package in packages_of(image, progress=progress)[0].packages:
        name = f"{manager_of(package)} {package.name}".strip()
        found.setdefault(name, []).append((package.version, package.size_bytes))
    return {
        name: (", ".join(sorted({v for v, _ in all_of})), sum(size for _, size in all_of))
        for name, all_of in found.items()
    }


def flat_configuration(config: ImageConfig) -> dict[str, str]:
    """The values of a configuration by where they stand; layers and history are left out."""
    document = {k: v for k, v in config.to_json().items() if k not in ("rootfs", "history")}
    return dict(_flat(document, ""))


def _flat(value: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            where = name if place in ("", "config") else f"{place}.{name}"
            yield from _flat(inner, where)
        if not value and place:
            yield place, "{}"
    elif place == "Env" and isinstance(value, list | tuple):
        for text in value:
            name, _, content = str(text).partition("=")
            yield f"Env.{name}", content
    else:
        yield place, value if isinstance(value, str) else json.dumps(value, default=list)


def _rest(part: str, one: Mapping[str, _Value], other: Mapping[str, _Value]) -> pd.DataFrame:
    """Differences of packages or configurations."""
    import pandas as pd

    why = {"package": "version", "configuration": "value"}[part]
    rows: list[tuple[Any, ...]] = []
    for name in sorted({*one, *other}):
        before, after = one.get(name), other.get(name)
        if before is None or after is None or before[0] != after[0]:
            change = _ADDED if before is None else _REMOVED if after is None else _CHANGED
            rows.append((
                part, name, _CHANGES[change], why if change == _CHANGED else "",
                *((before and before[0], after and after[0])),
                *((before and before[1], after and after[1])),
            ))  # fmt: skip
    columns = ["part", "name", "change", "why", "before", "after", "before_bytes", "after_bytes"]
    kinds = {"name": "str", "before": "str", "after": "str", "before_bytes": "Int64",
             "after_bytes": "Int64"}  # fmt: skip
    return pd.DataFrame(rows, columns=columns).astype(kinds)
