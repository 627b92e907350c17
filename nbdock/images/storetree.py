"""Store packages where they stand in an image, and where the symlinks in them lead.

nixpkgs puts contents at ``/`` with tools that work in a real store, where a symlink may lead from
one store path into another. Nothing is unpacked here, so the same is done by name: a package is
listed when a path in it is asked for.

    async with open_store_tree(closure.packages, roots) as tree:
        tree.resolve(b"nix/store/<hash>-environment/bin")  # b"nix/store/<hash>-hello-2.10/bin"
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterable, Sequence

from nbdock.concurrency import in_worker
from nbdock.filetree import (
    BytesContent,
    Entry,
    EntryKind,
    FileContent,
    RangeContent,
    Tree,
    overlay,
)
from nbdock.images.layer import fetch_packages, place_of
from nbdock.images.tree import resolve
from nbdock.packages import Package, Progress

__all__ = ["StoreTree", "open_store_tree"]


class StoreTree:
    """The entries of store packages by their paths in the image, without the first ``/``.

    Packages are listed as they are needed, so they are fetched before. Contents can be read at any
    time while the tree is open: those that pass only once are put aside. Made by `open_store_tree`.
    """

    def __init__(self, packages: Iterable[Package], directory: str) -> None:
        self._packages = {place_of(p): p for p in packages if p.root != "/"}
        self._tops: dict[bytes, Entry] = {}
        self._trees: dict[bytes, Tree] = {}
        self._directory = directory

    def get(self, path: bytes) -> Entry | None:
        """What stands at a path, which may be a package's own; None for all else."""
        place = self._package_above(path)
        if place is None:
            return None
        self._list(place)
        if path == place:
            return self._tops[place]
        return self._trees[place].get(path[len(place) + 1 :])

    def names(self, directory: bytes) -> tuple[bytes, ...]:
        """The names in a directory of a package, sorted."""
        return tuple(name for name, _ in self.within(directory))

    def within(self, directory: bytes) -> list[tuple[bytes, Entry]]:
        """The names in a directory of a package, sorted, and what stands there."""
        place = self._package_above(directory)
        if place is None:
            return []
        self._list(place)
        tree = self._trees[place]
        inside = directory[len(place) + 1 :]
        below = inside + b"/" if inside else b""
        return [(name, tree[below + name]) for name in tree.names(inside)]

    def resolve(self, path: bytes) -> bytes:
        """A path with every symlink in it followed."""
        return resolve(path, self)

    def is_directory(self, path: bytes) -> bool:
        """Whether a directory of a package stands at a path, which has no symlinks in it."""
        entry = self.get(path)
        return entry is not None and entry.kind is EntryKind.DIRECTORY

    def led_to(self, package: Package) -> dict[bytes, Package]:
        """The packages that the symlinks in a package name, by their places."""
        place = place_of(package)
        self._list(place)
        tree = self._trees[place]
        found = {}
        for entry in (self._tops[place], *tree.values()):
            if entry.kind is EntryKind.SYMLINK:
                above = os.path.dirname(b"/" + place + b"/" * bool(entry.path) + entry.path)
                target = os.path.normpath(os.path.join(above, entry.linkname)).lstrip(b"/")
                led = self._package_above(target)
                if led is not None:
                    found[led] = self._packages[led]
        return found

    def _package_above(self, path: bytes) -> bytes | None:
        """The place of the package that a path is in."""
        end = len(path)
        while end > 0:
            if path[:end] in self._packages:
                return path[:end]
            end = path.rfind(b"/", 0, end)
        return None

    def _list(self, place: bytes) -> None:
        if place in self._trees:
            return
        top = Entry(b"", EntryKind.DIRECTORY, 0o755)
        below = []
        for entry in map(self._readable_later, self._packages[place].entries()):
            if entry.path:
                below.append(entry)
            else:
                top = entry
        self._tops[place] = top
        self._trees[place] = overlay([below])

    def _readable_later(self, entry: Entry) -> Entry:
        content = entry.content
        if content is None or isinstance(content, BytesContent | FileContent | RangeContent):
            return entry
        descriptor, aside = tempfile.mkstemp(dir=self._directory)
        with open(descriptor, "wb") as file:
            file.writelines(content.chunks())
        kept = FileContent(os.fsencode(aside), entry.size_bytes)
        return dataclasses.replace(entry, content=kept)


@contextlib.asynccontextmanager
async def open_store_tree(
    packages: Sequence[Package],
    roots: Sequence[Package],
    *,
    into_links: bool = True,
    progress: Progress | None = None,
) -> AsyncIterator[StoreTree]:
    """A tree of packages, of which those that are needed for some of them are fetched.

    Parameters
    ----------
    packages
        All packages that links may lead to.
    roots
        What is fetched and listed, with the packages that links in it lead to.
    into_links
        False follows no other links than roots that are symlinks themselves.
    """
    directory = await in_worker(tempfile.mkdtemp, prefix="nbdock-contents-")
    try:
        tree = StoreTree(packages, directory)
        known = {place_of(package): package for package in roots if package.root != "/"}
        waiting = known
        while waiting:
            await fetch_packages(list(waiting.values()), progress=progress)
            found: dict[bytes, Package] = {}
            for place, package in waiting.items():
                if into_links or not await in_worker(tree.is_directory, place):
                    found.update(await in_worker(tree.led_to, package))
            waiting = {place: p for place, p in found.items() if place not in known}
            known = {**known, **waiting}
        yield tree
    finally:
        await in_worker(shutil.rmtree, directory)
