"""What package managers write down in an image, and what they say is installed.

    closure, facts = found_packages(image)

dpkg (``status`` and distroless' ``status.d``), apk, rpm, Nix (the store paths that are there, and
its database for what they need) and Python distributions. Their records are kept when a layer is
read (see `nbdock.tables.layerentries`), so no layer is read again for them. Only records that a
container sees count; a package is of the lowest layer whose records name it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import numpy as np

from nbdock.errors import UnavailableError
from nbdock.filetree import Entry
from nbdock.images import Image
from nbdock.packages import Closure, Package, Progress
from nbdock.tables.imagefiles import ImageFiles, read_files
from nbdock.tables.layerindex import StoredLayer, open_layers

__all__ = ["MANAGERS", "FoundPackage", "Record", "Told", "found_packages", "in_force", "records_of"]

_log = logging.getLogger(__name__)

MANAGERS: Final = ("dpkg", "apk", "rpm", "nix", "python", "")
"""Who may have installed a package; none for what nbdock put together itself."""


@dataclasses.dataclass(frozen=True)
class Record:
    """A file of a package manager: one of the copies that layers hold."""

    path: bytes
    layer: int
    visible: bool
    content: bytes


@dataclasses.dataclass(frozen=True)
class Told:
    """What a record says of one package.

    Attributes
    ----------
    needs
        Alternatives by alternatives: of each group the first that is installed is needed.
    provides
        Names that it goes by, its own among them.
    source
        What it was built from, if the record says; what is of one source changes together.
    """

    manager: str
    name: str
    version: str
    size_bytes: int
    needs: tuple[tuple[str, ...], ...] = ()
    provides: tuple[str, ...] = ()
    architecture: str = ""
    root: str = "/"
    source: str = ""

    @property
    def key(self) -> str:
        """Made of all that tells packages apart."""
        parts = (self.manager, self.name, self.version, self.architecture, self.root)
        return f"found:{hashlib.sha256(chr(0).join(parts).encode('utf-8', 'replace')).hexdigest()}"


class FoundPackage(Package):
    """A package that an image says it has; its files are in the image, not here."""

    def __init__(self, told: Told) -> None:
        self.told = told
        self.name = told.name
        self.version = told.version
        self.root = told.root
        self._key = told.key

    @property
    def key(self) -> str:
        """Made of manager, name, version and architecture."""
        return self._key

    @property
    def size_bytes(self) -> int:
        """What the record says."""
        return self.told.size_bytes

    def entries(self) -> Iterator[Entry]:
        """Not known: records do not say which files of the image are the package's."""
        raise UnavailableError(
            f"{self!r} is known by its record only.", hint="Its files are in the image's layers."
        )


def found_packages(
    image: Image, *, progress: Progress | None = None
) -> tuple[Closure, dict[str, int]]:
    """The packages of an image with their needs, and the layer that brought each (by key)."""
    from nbdock.tables import apkdb, dpkgdb, nixpaths, pythondists, rpmdb

    files = read_files(image, hashes=False, progress=progress)
    records = list(records_of(image, files))
    found: dict[str, Told] = {}
    layers: dict[str, int] = {}
    readers: tuple[Callable[[Iterable[Record]], Iterator[tuple[Told, int]]], ...] = (
        dpkgdb.read, apkdb.read, rpmdb.read, pythondists.read,
    )  # fmt: skip
    for reader in readers:
        for told, layer in reader(records):
            found.setdefault(told.key, told)
            layers[told.key] = min(layer, layers.get(told.key, layer))
    for told, layer in nixpaths.read(files, records):
        found[told.key], layers[told.key] = told, layer
    return _closure(found.values()), layers


def records_of(image: Image, files: ImageFiles) -> Iterator[Record]:
    """What was kept of all layers, the lowest first."""
    layers = [StoredLayer.of(image.store, layer) for layer in image.layers]
    tables = open_layers(layers, hashes=False, columns=("path", "content"))
    for number, table in enumerate(tables):
        kept = np.flatnonzero(table["content"].is_valid().to_numpy())
        for row in kept.tolist():
            yield Record(
                table["path"][row].as_py(),
                number,
                bool(files.laid.visible[files.starts[number] + row]),
                table["content"][row].as_py(),
            )


def in_force(
    records: Iterable[Record], parse: Callable[[bytes], Iterable[Told]]
) -> Iterator[tuple[Told, int]]:
    """What databases say: the copy that is seen says what is there, those below it since when."""
    by_path: dict[bytes, list[Record]] = {}
    for record in records:
        by_path.setdefault(record.path, []).append(record)
    for path, copies in by_path.items():
        if not any(copy.visible for copy in copies):
            continue
        since: dict[str, int] = {}
        for copy in copies:
            try:
                said = list(parse(copy.content))
            except (ValueError, KeyError, IndexError, UnicodeError) as error:
                _log.warning("/%s in layer %d is not read: %s", path.decode("utf-8", "replace"),
                             copy.layer, error)  # fmt: skip
                continue
            for told in said:
                layer = since.setdefault(told.key, copy.layer)
                if copy.visible:
                    yield told, layer


def _closure(found: Iterable[Told]) -> Closure:
    packages = sorted((FoundPackage(told) for told in found), key=lambda p: p.sort_key)
    by_name: dict[tuple[str, str], str] = {}
    for package in packages:
        told = package.told
        for name in (told.name, *told.provides):
            by_name.setdefault((told.manager, name), package.key)
    # A package's own name is worth more than what others provide.
    by_name |= {(p.told.manager, p.name): p.key for p in reversed(packages)}
    references = {}
    for package in packages:
        manager = package.told.manager
        needed = {
            next((by_name[manager, name] for name in group if (manager, name) in by_name), None)
            for group in package.told.needs
        }
        references[package.key] = tuple(sorted(k for k in needed if k and k != package.key))
    wanted = {key for keys in references.values() for key in keys}
    roots = tuple(p.key for p in packages if p.key not in wanted)
    return Closure(tuple(packages), references, roots)
