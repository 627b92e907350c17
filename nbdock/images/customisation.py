"""The top layer: root symlinks into store packages, what package sets need at ``/``, and commands.

dockerTools makes it with `symlinkJoin`: for every package in ``contents`` that stands in a store,
directories are real and everything else is a symlink to its place in the store.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from nbdock.filetree import Entry, EntryKind
from nbdock.packages import Package, PackageSet

__all__ = ["root_links", "set_entries"]


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
            if entry.kind is EntryKind.DIRECTORY:
                link = Entry(entry.path, EntryKind.DIRECTORY, mode=0o755)
            else:
                target = place + b"/" + entry.path
                link = Entry(entry.path, EntryKind.SYMLINK, mode=0o777, linkname=target)
            links[entry.path] = dataclasses.replace(link, mtime=mtime, uname="root", gname="root")
    return links


def set_entries(packages: Sequence[Package]) -> dict[bytes, Entry]:
    """What the sets of these packages need at ``/``, such as Debian's ``/bin -> usr/bin``."""
    sets: dict[int, PackageSet] = {
        id(p.package_set): p.package_set for p in packages if p.package_set is not None
    }
    return {entry.path: entry for one in sets.values() for entry in one.root_entries()}
