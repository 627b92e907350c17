"""Which package each file of an image belongs to, as package managers wrote it down.

    owners = owners_of(image, files)
    owners.names[owners.of[row]]

dpkg's lists (distroless' and nbdock's ``.md5sums``, too), apk's and rpm's databases, RECORD of
Python distributions, and the paths of Nix's store. What no record names belongs to nobody.
"""

from __future__ import annotations

import csv
import dataclasses
import logging
import posixpath
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nbdock.images import Image
from nbdock.tables import rpmdb
from nbdock.tables.contents import read_contents
from nbdock.tables.imagefiles import ImageFiles
from nbdock.tables.layerentries import Kind
from nbdock.tables.records import Record, records_of

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Owners", "owners_of"]

_log = logging.getLogger(__name__)

Owned = Iterator[tuple[str, bytes]]

_LIST_LIMIT_BYTES = 16 << 20
_MERGED = (b"bin/", b"sbin/", b"lib/", b"lib32/", b"lib64/", b"libx32/", b"libo32/")
"""What systems with a merged ``/usr`` have below it, and dpkg's lists may not."""


@dataclasses.dataclass(frozen=True, eq=False)
class Owners:
    """The packages, by name, and of each row of an image's files the place of its own; -1: none."""

    names: tuple[str, ...]
    of: npt.NDArray[np.int32]


def owners_of(image: Image, files: ImageFiles) -> Owners:
    """Find the packages of files. Blocking: dpkg's lists are read from the layers."""
    names: dict[str, int] = {}
    owner: dict[bytes, int] = {}
    records = [record for record in records_of(image, files) if record.visible]
    # What comes later counts more: a system's package may bring a Python distribution.
    for found in (_python(records), _dpkg(image, files, records), _apk(records), _rpm(records)):
        for name, path in found:
            owner[path] = names.setdefault(name, len(names))
    of = _by_path(files, owner)
    _nix(files, names, of)
    return Owners(tuple(names), of)


def _by_path(files: ImageFiles, owner: dict[bytes, int]) -> npt.NDArray[np.int32]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not owner:
        return np.full(len(files.kinds), -1, np.int32)
    paths: pa.Array = pa.array(list(owner), pa.large_binary())
    place = pc.fill_null(pc.index_in(files.column("path"), value_set=paths), -1).to_numpy()
    codes = np.array([*owner.values(), -1], np.int32)
    found: npt.NDArray[np.int32] = codes[place]
    found[files.kinds == Kind.DIRECTORY] = -1  # those are everybody's
    return found


def _with_merged(name: str, path: bytes) -> Owned:
    yield name, path
    if path.startswith(_MERGED):
        yield name, b"usr/" + path


def _dpkg(image: Image, files: ImageFiles, records: list[Record]) -> Owned:
    for record in records:
        if record.path.endswith(b".md5sums"):
            name = _package_of(record.path)
            for line in record.content.splitlines():
                _, _, path = line.partition(b"  ")
                yield from _with_merged(name, path.removeprefix(b"./"))
    for path, content in _dpkg_lists(image, files):
        name = _package_of(path)
        for line in content.splitlines():
            yield from _with_merged(name, line.strip(b"/"))


def _dpkg_lists(image: Image, files: ImageFiles) -> Iterator[tuple[bytes, bytes]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    paths = files.column("path")
    listed = pc.and_(pc.starts_with(paths, "var/lib/dpkg/info/"), pc.ends_with(paths, ".list"))
    seen = pa.array(files.laid.visible & (files.kinds == Kind.FILE))
    rows = np.flatnonzero(pc.and_(listed, seen).to_numpy(zero_copy_only=False)).tolist()
    for row, content in read_contents(image, files, rows, limit_bytes=_LIST_LIMIT_BYTES):
        yield paths[row].as_py(), content


def _package_of(path: bytes) -> str:
    """``libc6`` of ``var/lib/dpkg/info/libc6:amd64.list``."""
    name = path.rpartition(b"/")[2].rpartition(b".")[0].partition(b":")[0]
    return name.decode("utf-8", "replace")


def _apk(records: list[Record]) -> Owned:
    for record in records:
        if record.path.endswith(b"apk/db/installed"):
            name, directory = "", b""
            for line in record.content.split(b"\n"):
                if line.startswith(b"P:"):
                    name = line[2:].decode("utf-8", "replace")
                elif line.startswith(b"F:"):
                    directory = line[2:].strip(b"/")
                elif line.startswith(b"R:"):
                    yield name, (directory + b"/" + line[2:]).lstrip(b"/")


def _rpm(records: list[Record]) -> Owned:
    for record in records:
        if record.path.endswith(b"/rpmdb.sqlite"):
            try:
                for name, path in rpmdb.owned(record.content):
                    yield from _with_merged(name, path.encode("utf-8", "replace").lstrip(b"/"))
            except ValueError as error:
                _log.warning("rpm's database in layer %d is not read: %s", record.layer, error)


def _python(records: list[Record]) -> Owned:
    for record in records:
        if not record.path.endswith(b".dist-info/RECORD"):
            continue
        info = record.path.rpartition(b"/")[0]
        site, _, distribution = info.rpartition(b"/")
        name = distribution.removesuffix(b".dist-info").rpartition(b"-")[0] or distribution
        lines = record.content.decode("utf-8", "replace").replace("\0", "").splitlines()
        try:
            listed = [row[0] for row in csv.reader(lines) if row]
        except csv.Error:
            continue
        for path in listed:
            whole = posixpath.normpath(posixpath.join(b"/" + site, path.encode("utf-8", "replace")))
            yield name.decode("utf-8", "replace"), whole.lstrip(b"/")


_STORE_NAME = re.compile(rb"nix/store/[0-9a-df-np-sv-z]{32}-([^/]+)")


def _nix(files: ImageFiles, names: dict[str, int], of: npt.NDArray[np.int32]) -> None:
    """What is below a store path is its own."""
    import pyarrow as pa
    import pyarrow.compute as pc

    paths = files.column("path")
    inside = np.flatnonzero(pc.starts_with(paths, "nix/store/").to_numpy(zero_copy_only=False))
    if not len(inside):
        return
    tops = pc.replace_substring_regex(
        paths.take(pa.array(inside)), r"^(nix/store/[^/]*)[\s\S]*$", r"\1"
    )
    encoded = pc.dictionary_encode(tops)
    codes = []
    for top in encoded.dictionary.to_pylist():
        match = _STORE_NAME.fullmatch(top)
        name = match[1].decode("utf-8", "replace") if match else ""
        codes.append(names.setdefault(name, len(names)) if name else -1)
    found = np.array(codes, np.int32)[encoded.indices.to_numpy()]
    of[inside] = np.where(files.kinds[inside] == Kind.DIRECTORY, -1, found)
