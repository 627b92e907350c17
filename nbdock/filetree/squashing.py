"""Several layers made into one that does the same to what is below.

A whiteout of an upper layer takes away what the layers under it brought, and stays only where the
base has something to hide; a directory in the place of something that was hidden becomes an opaque
one, which is the one way of saying it that every engine understands. So the layer also is the
shortest that has the effect.

    >>> from nbdock.filetree import Entry, EntryKind, overlay, whiteout_entry
    >>> base = overlay([[Entry(b"etc/motd", EntryKind.FIFO)]])
    >>> contents = [Entry(b"etc/issue", EntryKind.FIFO), Entry(b"bin", EntryKind.DIRECTORY)]
    >>> changes = [whiteout_entry(b"etc/issue"), whiteout_entry(b"etc/motd")]
    >>> [entry.path for entry in squash([contents, changes], base=base)]
    [b'bin', b'etc', b'etc/.wh.motd']
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nbdock.filetree.entry import Entry, EntryKind
from nbdock.filetree.overlay import Tree, overlay
from nbdock.filetree.whiteouts import (
    WhiteoutKind,
    opaque_entry,
    parse_whiteout,
    whiteout_entry,
)

__all__ = ["squash"]


def squash(layers: Iterable[Iterable[Entry]], *, base: Tree, mtime: int = 0) -> Iterator[Entry]:
    """One layer that has the effect of several on a base.

    Parameters
    ----------
    layers
        The lowest first; contents are kept as they are, so use sources that can be read later.
    base
        What is below: only what it has is hidden.
    mtime
        The time of whiteouts. Seconds since the epoch.

    Yields
    ------
    Entry
        Sorted, each path once; of the names of one file the first is the file. Directories that no
        layer names come along as the base has them.

    Raises
    ------
    UnsafePathError
        A whiteout without a name.
    ArchiveError
        A hardlink to what none of the layers has: one to the base would not survive the base's
        name being hidden.
    """
    kept = [list(layer) for layer in layers]
    hidden: set[bytes] = set()
    opaque: set[bytes] = set()
    named: set[bytes] = set()
    for entry in (entry for layer in kept for entry in layer):
        whiteout = parse_whiteout(entry.path)
        if whiteout is None:
            named.add(entry.path)
            if entry.kind is not EntryKind.DIRECTORY:
                hidden.add(entry.path)
        elif whiteout.kind is WhiteoutKind.NAME:
            hidden.add(whiteout.path)
        elif whiteout.kind is WhiteoutKind.OPAQUE:
            opaque.add(whiteout.path)
    tree = overlay(kept)

    def below_hidden(path: bytes) -> bool:
        return any(above in hidden or above in opaque for above in _parents(path))

    result: dict[bytes, Entry] = {}
    for entry in tree.entries():
        path = entry.path
        if path in named or path in hidden or below_hidden(path) or not _is_directory(base, path):
            result[path] = entry
    for path in hidden | opaque:
        if below_hidden(path) or path not in base:
            continue
        if path in tree or path not in hidden:
            # What is no directory hides what it replaces; an empty directory has nothing to show.
            if not base.names(path) or (path in tree and not _is_directory(tree, path)):
                continue
            mark = opaque_entry(path, mtime=mtime)
        else:
            mark = whiteout_entry(path, mtime=mtime)
        result[mark.path] = mark
    for path in tuple(result):
        for above in _parents(path):
            if above and above not in result:
                # Engines give a directory that a layer only implies a mode of their own.
                result[above] = base[above]
    for path in sorted(result, key=lambda path: path.split(b"/")):
        yield result[path]


def _is_directory(tree: Tree, path: bytes) -> bool:
    return path in tree and tree[path].kind is EntryKind.DIRECTORY


def _parents(path: bytes) -> Iterator[bytes]:
    """The directories above a path, the root among them."""
    while path:
        path = path.rpartition(b"/")[0]
        yield path
