"""Nix store paths in an image: what is there by its name, and by Nix's database what it needs.

Nix packages leave no record but their paths; an image has the database only if it was built to run
Nix. Without it, what a store path needs is not known here (it would take reading every file).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator

import numpy as np

from nbdock.tables.imagefiles import ImageFiles
from nbdock.tables.records import Record, Told
from nbdock.tables.sqlitedata import rows_of

__all__ = ["read", "split_name"]

_log = logging.getLogger(__name__)

_STORE = b"nix/store/"
_PATH = re.compile(rb"nix/store/[0-9a-df-np-sv-z]{32}-[^/]+\Z")
_VERSION = re.compile(r"-(?=[^A-Za-z])")


def split_name(name: str) -> tuple[str, str]:
    """Name and version, as Nix tells them apart: the version begins after the first ``-0``.

    >>> split_name("redis-7.2.4"), split_name("perl5-foo")
    (('redis', '7.2.4'), ('perl5-foo', ''))
    """
    parts = _VERSION.split(name, maxsplit=1)
    return parts[0], parts[1] if len(parts) > 1 else ""


def read(files: ImageFiles, records: Iterable[Record]) -> Iterator[tuple[Told, int]]:
    """The store paths that are seen, and the layer of each."""
    import pyarrow.compute as pc

    paths, visible = files.column("path"), files.laid.visible
    inside = pc.starts_with(paths, _STORE).to_numpy(False) & visible
    if not inside.any():
        return
    rows = np.flatnonzero(inside)
    # All that is below a store path belongs to it: its number in the tree's order says to which.
    tops = [row for row in rows.tolist() if _PATH.match(paths[row].as_py())]
    order = files.laid.order
    numbers = order.numbers[tops]
    sorted_tops = np.argsort(numbers)
    place = np.searchsorted(numbers[sorted_tops], order.numbers[rows], side="right") - 1
    sizes = np.bincount(place[place >= 0], files.sizes[rows[place >= 0]], len(tops))
    needs = _needs(records)
    for index, top in enumerate(sorted_tops.tolist()):
        row = tops[top]
        root = "/" + paths[row].as_py().decode("utf-8", "backslashreplace")
        name, version = split_name(root[len("/nix/store/") + 33 :])
        yield Told(
            "nix", name, version, int(sizes[index]), root=root,
            needs=tuple((need,) for need in needs.get(root, ())), provides=(root,),
        ), int(files.layer[row])  # fmt: skip


def _needs(records: Iterable[Record]) -> dict[str, list[str]]:
    """What Nix's database says that each store path refers to."""
    found: dict[str, list[str]] = {}
    for record in records:
        if record.path == b"nix/var/nix/db/db.sqlite" and record.visible:
            try:
                ids = dict(rows_of(record.content, "ValidPaths", ("id", "path")))
                for referrer, reference in rows_of(
                    record.content, "Refs", ("referrer", "reference")
                ):
                    if referrer in ids and reference in ids:
                        found.setdefault(ids[referrer], []).append(ids[reference])
            except ValueError as error:
                _log.warning("Nix's database in layer %d is not read: %s", record.layer, error)
    return found
