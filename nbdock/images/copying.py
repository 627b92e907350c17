"""What `buildImage` copies to ``/`` (``copyToRoot``), as nixpkgs does with ``rsync``.

The content of each package is put over that of the packages before it. ``-k``, the default, makes
a directory of every symlink that leads to one, wherever in the store that is; with ``-K``
(``keepContentsDirlinks``) such a symlink stays, and what later packages have there goes through it.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from nbdock import settings
from nbdock.calling import argument_name
from nbdock.errors import ArgumentTypeError
from nbdock.filetree import Entry, EntryKind, TarPolicy, overlay
from nbdock.images.layer import MADE_AT, in_store, policy_changes
from nbdock.images.rootlinks import directory_at
from nbdock.images.storetree import StoreTree
from nbdock.images.tree import resolve, through_links
from nbdock.packages import Package

__all__ = ["copied_to_root", "is_copied"]


class _Source(Protocol):
    def get(self, path: bytes, /) -> Entry | None: ...

    def names(self, directory: bytes, /) -> Sequence[bytes]: ...


def is_copied(package: Package) -> bool:
    """Whether a package among contents is copied to ``/``.

    Packages of a set at ``/`` (such as APT's) are there anyway, and know their owners and links
    themselves; a directory that was given another place stays there.
    """
    return in_store(package) or (package.root == "/" and package.package_set is None)


def copied_to_root(
    packages: Sequence[Package], tree: StoreTree, policy: TarPolicy, *, keep_dirlinks: bool
) -> Iterator[Entry]:
    """The entries at ``/`` of those packages that are copied; of two at one path, the later one's.

    Parameters
    ----------
    tree
        The store packages, and those that links in them lead to.
    policy
        Their owner. The time is `MADE_AT` for store packages, and its own for a package that
        stands at ``/`` anyway.

    Raises
    ------
    ArgumentTypeError
        A package is a file, or has one where a package before it has a directory that is not empty.
    """
    layers: list[list[Entry]] = []
    filled: set[bytes] = set()
    links: dict[bytes, bytes] = {}
    for package in filter(is_copied, packages):
        source: _Source
        if in_store(package):
            source, top = tree, directory_at(package, tree)
        else:
            source, top = overlay([package.entries()]), b""
        limit = settings.current().contents_entries_limit
        entries = list(itertools.islice(_below(source, top, expand=not keep_dirlinks), limit + 1))
        if len(entries) > limit:
            raise ArgumentTypeError(
                f"{package.name} has more than {limit} files where its links to directories are "
                f"followed, which is more than can be copied to /.",
                argument="copy_to_root",
                hint=f"{argument_name('keep_contents_dirlinks')} keeps such links.",
            )
        if in_store(package):
            entries = [dataclasses.replace(entry, mtime=MADE_AT) for entry in entries]
        if keep_dirlinks:
            here = _links_to_directories(source, top, entries)
            entries = list(through_links(iter(entries), links))
            links = {**here, **links}
        for entry in entries:
            if entry.kind is not EntryKind.DIRECTORY and entry.path in filled:
                raise ArgumentTypeError(
                    f"{os.fsdecode(entry.path)!r} of {package.name} cannot be copied to /: "
                    f"a directory with files in it is there from contents before it.",
                    argument="copy_to_root",
                    hint="Leave one of the two out.",
                )
        filled.update(os.path.dirname(entry.path) for entry in entries)
        layers.append(entries)
    changes = policy_changes(policy)
    for entry in overlay(layers).entries():
        if entry.path:
            yield dataclasses.replace(entry, **changes) if changes else entry


def _below(source: _Source, top: bytes, *, expand: bool) -> Iterator[Entry]:
    """The entries below a directory, by paths relative to it."""
    waiting: list[tuple[bytes, bytes, frozenset[bytes]]] = [(top, b"", frozenset({top}))]
    while waiting:
        directory, place, inside = waiting.pop()
        for name in source.names(directory):
            path = directory + b"/" + name if directory else name
            there = place + b"/" + name if place else name
            entry = source.get(path)
            assert entry is not None
            if expand and entry.kind is EntryKind.SYMLINK:
                target = resolve(path, source)
                found = source.get(target)
                # A link to a directory that it stands in itself has no end: it stays a link.
                if found is not None and found.kind is EntryKind.DIRECTORY and target not in inside:
                    path, entry = target, found
            if entry.path != there:
                # The target of a hardlink may have come under another name.
                entry = dataclasses.replace(entry.target or entry, path=there)
            yield entry
            if entry.kind is EntryKind.DIRECTORY:
                waiting.append((path, there, inside | {path}))


def _links_to_directories(
    source: _Source, top: bytes, entries: Sequence[Entry]
) -> Mapping[bytes, bytes]:
    """The symlinks among entries that lead to directories below `top`, and to which."""
    prefix = top + b"/" if top else b""
    links = {}
    for entry in entries:
        if entry.kind is EntryKind.SYMLINK:
            target = resolve(prefix + entry.path, source)
            found = source.get(target)
            is_directory = found is not None and found.kind is EntryKind.DIRECTORY
            if is_directory and target.startswith(prefix) and target[len(prefix) :] != entry.path:
                links[entry.path] = target[len(prefix) :]
    return links
