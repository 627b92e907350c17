"""The top layer: root symlinks into store packages, what package sets need at ``/``, and commands.

What `buildLayeredImage` is told of times and owners does not reach it: it is all root's, of 1980.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from nbdock.concurrency import in_worker
from nbdock.content import LayerRecord
from nbdock.filetree import Entry, TarPolicy
from nbdock.images.assembly import MadeLayer
from nbdock.images.commandstore import after_commands
from nbdock.images.layer import (
    MADE_AT,
    in_store,
    layer_key,
    recipe_key,
    write_entries,
)
from nbdock.images.references import left_in, with_references
from nbdock.images.request import BuildRequest
from nbdock.images.rootlinks import root_links
from nbdock.images.storetree import open_store_tree
from nbdock.images.tree import through_links
from nbdock.packages import Closure, Package, PackageSet, StorePackage

__all__ = ["Customisation", "database_entries", "database_key", "set_entries"]


def set_entries(packages: Sequence[Package]) -> dict[bytes, Entry]:
    """What the sets of these packages need at ``/``, such as Debian's ``/bin -> usr/bin``."""
    sets: dict[int, PackageSet] = {
        id(p.package_set): p.package_set for p in packages if p.package_set is not None
    }
    return {entry.path: entry for one in sets.values() for entry in one.root_entries()}


def database_entries(roots: Iterable[Package], closure: Closure) -> list[Entry]:
    """The database with which Nix in the image knows the store packages of a closure."""
    from nbdock.packages import registration_entries

    known = [p for p in closure.packages if isinstance(p, StorePackage)]
    kept = [p.store_path for p in roots if isinstance(p, StorePackage)]
    return registration_entries((p.info for p in known), kept, registered=MADE_AT)


def database_key(roots: Iterable[Package], closure: Closure) -> list[str]:
    """What the bytes of that database depend on."""
    known = [p.key for p in closure.packages if isinstance(p, StorePackage)]
    return [*known, "", *(p.key for p in roots if isinstance(p, StorePackage))]


@dataclasses.dataclass(frozen=True)
class Customisation:
    """The top layer of a layered image, before it is made.

    Attributes
    ----------
    roots
        The contents; those that are in a store are linked.
    closure
        What the image holds without what commands leave in it.
    own
        What package sets need at ``/``.
    links
        The symlinks to directories of the layers below, through which everything is put.
    commands, used
        ``extraCommands``, and the store packages they were written with.
    with_database
        Whether there is a database of Nix.
    """

    roots: Sequence[Package]
    closure: Closure
    own: Mapping[bytes, Entry]
    links: Mapping[bytes, bytes]
    commands: str
    used: Closure
    with_database: bool

    @property
    def _linked(self) -> list[Package]:
        return [package for package in self.roots if in_store(package)]

    @property
    def _comment(self) -> str:
        parts = ["links at the root"] * bool(self._linked or self.own)
        parts += ["a Nix database"] * self.with_database + ["extraCommands"] * bool(self.commands)
        return " and ".join(parts) or "nothing at the root"

    @property
    def _key(self) -> str:
        return layer_key(
            "customisation", MADE_AT, recipe_key(self._linked, TarPolicy()), self.commands,
            [repr(entry) for entry in self.own.values()],
            sorted((a.hex(), b.hex()) for a, b in self.links.items()),
            database_key(self._linked, self.closure) if self.with_database else [],
        )  # fmt: skip

    async def make(self, request: BuildRequest) -> tuple[MadeLayer, list[Package]]:
        """The layer, and the packages that the commands left references to in it."""
        record, packages = await with_references(
            request, self._key, self.used.packages, lambda: self._write(request)
        )
        return MadeLayer(record, self._comment), packages

    async def _write(self, request: BuildRequest) -> tuple[LayerRecord, list[Package]]:
        async with open_store_tree(
            self.closure.packages, self._linked, into_links=False, progress=request.progress
        ) as tree:
            made = await in_worker(root_links, self._linked, tree)
        if self.with_database:
            made += await in_worker(database_entries, self._linked, self.closure)
        placed = {entry.path: entry for entry in through_links(iter(made), self.links)}
        placed.update(self.own)
        entries = [placed[path] for path in sorted(placed)]
        async with after_commands(request, entries, self.commands, self.used.packages) as changed:
            packages = await in_worker(left_in, changed, self.used)
            return await write_entries(request, changed), packages
