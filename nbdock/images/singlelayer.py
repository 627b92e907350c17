"""The one layer of `build_image`: contents at ``/`` with all they need, less what the base has."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

from nbdock.concurrency import in_worker
from nbdock.content import LayerRecord
from nbdock.filetree import Entry, TarPolicy, Tree
from nbdock.images.base import layers_below
from nbdock.images.commandstore import after_commands
from nbdock.images.copying import copied_to_root, is_copied
from nbdock.images.customisation import database_entries, database_key, set_entries
from nbdock.images.image import Image
from nbdock.images.layer import (
    MADE_AT,
    fetch_packages,
    in_store,
    layer_key,
    package_entries,
    place_of,
    recipe_key,
    write_entries,
)
from nbdock.images.references import left_in
from nbdock.images.request import BuildRequest
from nbdock.images.storetree import open_store_tree
from nbdock.images.tree import directory_links, image_tree, link_targets, through_links
from nbdock.layering import LayerPlan, order_layers
from nbdock.packages import Closure, Package, StorePackage, nar_hash, resolve_closure

__all__ = ["SingleLayer", "absent_packages"]

_STORE_POLICY = TarPolicy(mtime=MADE_AT, uid=0, gid=0, uname="root", gname="root")


@dataclasses.dataclass(frozen=True)
class SingleLayer:
    """The layer of `build_image`, before it is made.

    Attributes
    ----------
    base
        The image below it.
    roots
        What is copied to ``/``.
    closure
        Roots and all they need; store packages stand at their own places too.
    commands, used
        ``extraCommands``, and the store packages they were written with. They see all but the
        store, before it is compared with the base.
    uid, gid
        Owner of what is copied and of what commands make; None leaves a package's own.
    keep_dirlinks
        Symlinks to directories in the roots stay symlinks; else they become directories.
    with_database
        Whether there is a database of Nix.
    """

    base: Image | None
    roots: Sequence[Package]
    closure: Closure
    commands: str
    used: Closure
    uid: int | None
    gid: int | None
    keep_dirlinks: bool
    with_database: bool

    async def make(self, request: BuildRequest) -> LayerRecord:
        """The layer, from the cache if it is known."""
        packages = _winners_first(self.roots, self.closure)
        own = set_entries(packages)
        key = layer_key(
            "single", recipe_key(packages, TarPolicy(mtime=MADE_AT, uid=self.uid, gid=self.gid)),
            [p.key for p in self.roots], self.commands, self.keep_dirlinks,
            layers_below(self.base),
            [repr(entry) for entry in own.values()],
            database_key(self.roots, self.closure) if self.with_database else [],
        )  # fmt: skip
        if (known := request.cache.get(key)) is not None:
            return known
        record = await self._write(request, packages, own)
        request.cache.put(key, record)
        return record

    async def _write(
        self, request: BuildRequest, packages: Sequence[Package], own: Mapping[bytes, Entry]
    ) -> LayerRecord:
        below = await in_worker(image_tree, self.base) if self.base else None
        links = await in_worker(directory_links, self.base, request.cache)
        at_root = [
            p for p in packages if not in_store(p) and not (p in self.roots and is_copied(p))
        ]
        await fetch_packages(at_root, progress=request.progress)
        database = (
            await in_worker(database_entries, self.roots, self.closure)
            if self.with_database
            else ()
        )
        async with open_store_tree(
            packages, [p for p in self.roots if in_store(p)],
            into_links=not self.keep_dirlinks, progress=request.progress,
        ) as tree:  # fmt: skip
            copied = copied_to_root(
                self.roots, tree, TarPolicy(uid=self.uid, gid=self.gid),
                keep_dirlinks=self.keep_dirlinks,
            )  # fmt: skip
            rest = package_entries(at_root, _STORE_POLICY)
            placed = through_links(
                itertools.chain(database, copied, rest), {**links, **link_targets(own)}
            )
            entries = _first_of_each(itertools.chain(own.values(), placed))
            async with after_commands(
                request, entries, self.commands, self.used.packages,
                uid=self.uid or 0, gid=self.gid or 0,
            ) as changed:  # fmt: skip
                if self.used.packages:
                    left = await in_worker(left_in, changed, self.used)
                    more = await resolve_closure(left)
                    packages = [*packages, *(p for p in more.packages if p not in packages)]
                in_its_store = [p for p in packages if in_store(p)]
                new = await in_worker(absent_packages, below, in_its_store)
                await fetch_packages(new, progress=request.progress)
                request.progress("Writing the layer")
                return await write_entries(
                    request,
                    _first_of_each(itertools.chain(changed, package_entries(new, _STORE_POLICY))),
                    base=below,
                )


def _first_of_each(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The entries without those whose path came before."""
    seen: set[bytes] = set()
    for entry in entries:
        if entry.path not in seen:
            seen.add(entry.path)
            yield entry


def _winners_first(roots: Sequence[Package], closure: Closure) -> list[Package]:
    """The packages in the order in which they are written: of two files at one path, the first."""
    keys = dict.fromkeys([*(p.key for p in roots), *(p.key for p in closure.packages)])
    packages = tuple(closure.by_key[key] for key in keys)
    if not packages:
        return []
    return list(order_layers(LayerPlan((packages,), 1, "single"), closure.overrides).layers[0])


def absent_packages(tree: Tree | None, packages: Iterable[Package]) -> list[Package]:
    """The store packages that a tree does not have as a whole. Blocking: reads what it has."""
    return [p for p in packages if tree is None or not _is_whole(tree, p)]


def _is_whole(tree: Tree, package: Package) -> bool:
    place = place_of(package)
    if place not in tree or not isinstance(package, StorePackage):
        return False
    digest, size_bytes = nar_hash(_from(tree, place))
    return (digest, size_bytes) == (package.info.nar_hash, package.info.nar_size_bytes)


def _from(tree: Tree, place: bytes) -> Iterator[Entry]:
    """What stands at a path of a tree, and below it, by paths relative to it."""
    waiting = [(place, b"")]
    while waiting:
        path, relative = waiting.pop()
        yield dataclasses.replace(tree[path], path=relative)
        below = relative + b"/" if relative else b""
        waiting += [(path + b"/" + n, below + n) for n in reversed(tree.names(path))]
