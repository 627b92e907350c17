"""The top layer: root symlinks into store packages, what package sets need at ``/``, and commands.

dockerTools makes it with `symlinkJoin`: for every package in ``contents`` that stands in a store,
directories are real and everything else is a symlink to its place in the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

from nbdock.concurrency import in_worker
from nbdock.filetree import Entry, EntryKind, TarPolicy
from nbdock.images.assembly import MadeLayer
from nbdock.images.layer import fetch_packages, layer_key, recipe_key, write_entries
from nbdock.images.request import BuildRequest
from nbdock.packages import Package, PackageSet

__all__ = ["customisation_layer", "root_links", "set_entries"]


def root_links(packages: Iterable[Package], *, mtime: int) -> dict[bytes, Entry]:
    """Symlinks at ``/`` to everything in the store packages among `packages`; the first wins."""
    links: dict[bytes, Entry] = {}
    for package in packages:
        if package.root == "/":
            continue
        place = package.root.encode("utf-8", "surrogateescape")
        for entry in package.entries():
            if not entry.path or entry.path in links:
                continue
            path = entry.path
            if entry.kind is EntryKind.DIRECTORY:
                links[path] = Entry(path, entry.kind, 0o755, 0, 0, 0, mtime, "root", "root")
            else:
                links[path] = Entry(
                    path, EntryKind.SYMLINK, 0o777, 0, 0, 0, mtime, "root", "root",
                    linkname=place + b"/" + path,
                )  # fmt: skip
    return links


def set_entries(packages: Sequence[Package]) -> dict[bytes, Entry]:
    """What the sets of these packages need at ``/``, such as Debian's ``/bin -> usr/bin``."""
    sets: dict[int, PackageSet] = {
        id(p.package_set): p.package_set for p in packages if p.package_set is not None
    }
    return {entry.path: entry for one in sets.values() for entry in one.root_entries()}


async def customisation_layer(
    request: BuildRequest,
    roots: Sequence[Package],
    packages: Sequence[Package],
    commands: str,
    policy: TarPolicy,
) -> MadeLayer:
    """The top layer of a layered image."""
    linked = [p for p in roots if p.root != "/"]
    entries = set_entries(packages)
    key = layer_key(
        "customisation", recipe_key(linked, policy), commands, [repr(e) for e in entries.values()]
    )
    parts = ["links at the root"] * bool(linked or entries) + ["extraCommands"] * bool(commands)
    comment = " and ".join(parts) or "nothing at the root"
    if (known := request.cache.get(key)) is not None:
        return MadeLayer(known, comment)
    mtime = cast("int", policy.mtime)
    await fetch_packages(linked)
    entries = {**await in_worker(root_links, linked, mtime=mtime), **entries}
    ordered = [entries[path] for path in sorted(entries)]
    record = await write_entries(request, ordered, commands=commands, mtime=mtime)
    request.cache.put(key, record)
    return MadeLayer(record, comment)
