"""Layers laid over each other: the tree that a container sees.

Everything is done by names. A layer that puts a file below what is a symlink in a lower layer
hides the symlink by a directory, as overlay file systems do; nothing is resolved, on the host
least of all. Whiteouts take effect on lower layers only, wherever in their layer they stand.
A hardlink keeps what it was bound to when it was parsed, whatever happens to the other name.

    >>> from nbdock.filetree import Entry, EntryKind, opaque_entry
    >>> base = [Entry(b"etc/motd", EntryKind.FIFO), Entry(b"bin", EntryKind.DIRECTORY)]
    >>> tree = overlay([base, [opaque_entry(b"etc"), Entry(b"etc/issue", EntryKind.FIFO)]])
    >>> list(tree)
    [b'', b'bin', b'etc', b'etc/issue']
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterable, Iterator, Mapping

from nbdock.errors import ArchiveError
from nbdock.filetree.entry import Entry, EntryKind
from nbdock.filetree.whiteouts import WhiteoutKind, parse_whiteout

__all__ = ["Tree", "overlay"]


class Tree(Mapping[bytes, Entry]):
    """A file tree: paths and their entries, every parent of an entry being a directory of it.

    Iterates depth-first, the names in a directory sorted as bytes; the root, ``b""``, is always
    there. An entry of kind HARDLINK is bound to the file it is a second name of (`Entry.target`).
    """

    def __init__(self, entries: Mapping[bytes, Entry], names: Mapping[bytes, set[bytes]]) -> None:
        self._entries = entries
        self._names = names

    def __getitem__(self, path: bytes) -> Entry:
        return self._entries[path]

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, path: object) -> bool:
        return path in self._entries

    def __iter__(self) -> Iterator[bytes]:
        stack = [b""]
        while stack:
            path = stack.pop()
            yield path
            names = self._names.get(path)
            if names:
                below = path + b"/" if path else b""
                stack.extend(below + name for name in sorted(names, reverse=True))

    def __repr__(self) -> str:
        return f"<Tree: {len(self)} entries, {self.size_bytes} bytes>"

    def names(self, directory: bytes) -> tuple[bytes, ...]:
        """The names in a directory, sorted; none if it is no directory of the tree."""
        return tuple(sorted(self._names.get(directory, ())))

    def resolved(self, path: bytes) -> Entry:
        """What a path holds: the entry itself, or the file that a hardlink is bound to."""
        entry = self._entries[path]
        return entry.target if entry.target is not None else entry

    @property
    def size_bytes(self) -> int:
        """Bytes of all files, a file with several names counted once."""
        linked = self._linked
        once = (e.size_bytes for e in self._entries.values() if id(e) not in linked)
        return sum(once) + sum(e.size_bytes for e in linked.values())

    @functools.cached_property
    def _linked(self) -> dict[int, Entry]:
        """The files that have, or had, more than one name, by identity."""
        return {id(e.target): e.target for e in self._entries.values() if e.target is not None}

    def entries(self) -> Iterator[Entry]:
        """The entries, in order, fit to be written as an archive.

        Of the names of one file, the first is the file and the others are hardlinks to it,
        however it was in the layers.
        """
        first: dict[int, Entry] = {}
        for path in self:
            held = self.resolved(path)
            file = first.get(id(held))
            if file is not None:
                yield dataclasses.replace(
                    file, path=path, kind=EntryKind.HARDLINK, size_bytes=0, content=None,
                    linkname=file.path, target=file,
                )  # fmt: skip
                continue
            file = held if held.path == path else dataclasses.replace(held, path=path)
            if id(held) in self._linked:
                first[id(held)] = file
            yield file


def overlay(layers: Iterable[Iterable[Entry]]) -> Tree:
    """Lay layers over each other, the lowest first.

    A layer is an iterable of entries, as `read_tar` gives them; contents are kept as they are, so
    use sources that can be read later. Parents that no layer names are directories of mode 0755
    owned by root.

    Raises
    ------
    UnsafePathError
        A whiteout without a name.
    ArchiveError
        A hardlink to what neither its layer nor a lower one has.
    """
    result = _Overlay()
    for layer in layers:
        result.add(layer)
    return Tree(result.entries, result.names)


class _Overlay:
    """The tree while layers are added."""

    def __init__(self) -> None:
        self.entries: dict[bytes, Entry] = {b"": Entry(b"", EntryKind.DIRECTORY, 0o755)}
        self.names: dict[bytes, set[bytes]] = {b"": set()}

    def add(self, layer: Iterable[Entry]) -> None:
        # Whiteouts mean lower layers only, so they go first, wherever they stand.
        own: list[Entry] = []
        for entry in layer:
            whiteout = parse_whiteout(entry.path)
            if whiteout is None:
                own.append(entry)
            elif whiteout.kind is WhiteoutKind.NAME:
                self._remove(whiteout.path)
            elif whiteout.kind is WhiteoutKind.OPAQUE:
                below = whiteout.path + b"/" if whiteout.path else b""
                for name in tuple(self.names.get(whiteout.path, ())):
                    self._remove(below + name)
        for entry in own:
            self._put(entry)

    def _remove(self, path: bytes) -> None:
        if path not in self.entries:
            return
        parent, _, name = path.rpartition(b"/")
        self.names[parent].discard(name)
        doomed = [path]
        while doomed:
            path = doomed.pop()
            del self.entries[path]
            doomed.extend(path + b"/" + name for name in self.names.pop(path, ()))

    def _put(self, entry: Entry) -> None:
        path = entry.path
        if entry.kind is EntryKind.HARDLINK and entry.target is None:
            entry = self._bound(entry)
        known = self.entries.get(path)
        if known is None or known.kind is not EntryKind.DIRECTORY:
            parent, _, name = path.rpartition(b"/")
            if parent not in self.names:
                self._imply(parent)
            self.names[parent].add(name)
            if entry.kind is EntryKind.DIRECTORY:
                self.names[path] = set()
        elif entry.kind is not EntryKind.DIRECTORY:
            if not path:
                raise ArchiveError(f"The root of a layer is a {entry.kind.value}.")
            self._remove(path)
            self._put(entry)
            return
        self.entries[path] = entry

    def _imply(self, path: bytes) -> None:
        """Make a path a directory, and its parents."""
        self._put(Entry(path, EntryKind.DIRECTORY, 0o755))

    def _bound(self, entry: Entry) -> Entry:
        target = self.entries.get(entry.linkname)
        if target is not None and target.target is not None:
            target = target.target
        if target is None or target.kind is EntryKind.DIRECTORY:
            raise ArchiveError(
                f"{os.fsdecode(entry.path)!r} in a layer is a hardlink to "
                f"{os.fsdecode(entry.linkname)!r}, which "
                f"{'is a directory' if target else 'neither it nor a lower layer has'}."
            )
        return dataclasses.replace(entry, target=target)
