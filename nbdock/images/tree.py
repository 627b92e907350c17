"""The files of an image as a container sees them: its layers, overlaid by name.

The tree of a base is what `build_image` compares with, and what says which names in it are
symlinks to directories. Nothing is unpacked; contents stay where they are and are read on demand.
"""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from typing import IO, Protocol

from nbdock.content import LayerCache
from nbdock.errors import ContentError
from nbdock.filetree import Entry, EntryKind, Tree, overlay
from nbdock.images.image import Image

__all__ = [
    "Lookup",
    "absent_from",
    "directory_links",
    "image_tree",
    "inner_links",
    "link_targets",
    "read_file",
    "resolve",
    "through_links",
]

_IN_MEMORY_BYTES = 8 << 20
_MAX_LINKS = 40


def image_tree(image: Image) -> Tree:
    """The files of an image. Blocking: for worker threads."""
    return overlay(image.layer_entries(i) for i in range(len(image.layers)))


def read_file(image: Image, path: str) -> bytes:
    """The content of one file of an image; parents that are symlinks are followed."""
    tree = image_tree(image)
    parent, _, name = os.fsencode(path).strip(b"/").rpartition(b"/")
    entry = tree.get((resolve(parent, tree) + b"/" + name).lstrip(b"/"))
    if entry is None or entry.kind not in (EntryKind.FILE, EntryKind.HARDLINK):
        raise ContentError(
            f"{image} has no file {path!r}.", path=path,
            hint="nbdock.file_table(image) has a row for each file that it has.",
        )  # fmt: skip
    return (entry.target or entry).read()


def directory_links(image: Image | None, cache: LayerCache) -> dict[bytes, bytes]:
    """The symlinks to directories in an image and where they lead, remembered by its layers."""
    if image is None:
        return {}
    key = " ".join(str(layer.diff_id) for layer in image.layers)
    known = cache.recall("directory-links", key)
    if known is not None:
        return {a.encode("latin-1"): b.encode("latin-1") for a, b in json.loads(known).items()}
    links = inner_links(image_tree(image))
    text = json.dumps({a.decode("latin-1"): b.decode("latin-1") for a, b in links.items()})
    cache.remember("directory-links", key, text.encode())
    return links


def inner_links(tree: Tree) -> dict[bytes, bytes]:
    """The symlinks of a tree that lead to directories of the same tree, and to which."""
    links = {}
    for path, entry in tree.items():
        if entry.kind is EntryKind.SYMLINK:
            target = resolve(path, tree)
            found = tree.get(target)
            if target != path and found is not None and found.kind is EntryKind.DIRECTORY:
                links[path] = target
    return links


def link_targets(entries: Mapping[bytes, Entry]) -> dict[bytes, bytes]:
    """The same for entries that are known to be symlinks to directories, such as ``/bin``."""
    return {
        path: _normal(os.path.dirname(path), entry.linkname)
        for path, entry in entries.items()
        if entry.kind is EntryKind.SYMLINK
    }


def _normal(directory: bytes, target: bytes) -> bytes:
    joined = target if target.startswith(b"/") else b"/" + directory + b"/" + target
    return os.path.normpath(joined).lstrip(b"/")


class Lookup(Protocol):
    """Something that knows entries by path: a tree, or several."""

    def get(self, path: bytes, /) -> Entry | None:
        """What stands at a path."""
        ...


def resolve(path: bytes, tree: Lookup) -> bytes:
    """A path with every symlink in it followed, by name, never leaving the tree."""
    done: list[bytes] = []
    parts = [p for p in path.split(b"/") if p][::-1]
    followed = 0
    while parts:
        part = parts.pop()
        if part == b"..":
            del done[-1:]
            continue
        if part in (b".", b""):
            continue
        done.append(part)
        entry = tree.get(b"/".join(done))
        if entry is not None and entry.kind is EntryKind.SYMLINK and followed < _MAX_LINKS:
            followed += 1
            done = [] if entry.linkname.startswith(b"/") else done[:-1]
            parts += entry.linkname.split(b"/")[::-1]
    return b"/".join(done)


def through_links(entries: Iterator[Entry], links: Mapping[bytes, bytes]) -> Iterator[Entry]:
    """Entries where a package manager would put them: behind symlinks to directories.

    A package with ``bin/tool`` on an image whose ``/bin`` is a symlink to ``usr/bin`` must not
    replace the symlink by a directory: everything else there would vanish.
    """
    if not links:
        yield from entries
        return
    moved: dict[bytes, bytes] = {b"": b""}

    def place(directory: bytes) -> bytes:
        known = moved.get(directory)
        if known is None:
            parent, _, name = directory.rpartition(b"/")
            above = place(parent)
            known = above + b"/" + name if above else name
            known = moved[directory] = links.get(known, known)
        return known

    for entry in entries:
        parent, _, name = entry.path.rpartition(b"/")
        above = place(parent)
        path = above + b"/" + name if above else name
        if entry.kind is EntryKind.DIRECTORY and path in links:
            continue
        if path != entry.path:
            entry = dataclasses.replace(entry, path=path)
        if entry.kind is EntryKind.HARDLINK:
            parent, _, name = entry.linkname.rpartition(b"/")
            above = place(parent)
            target = above + b"/" + name if above else name
            if target != entry.linkname:
                entry = dataclasses.replace(entry, linkname=target)
        yield entry


def absent_from(tree: Tree, entries: Iterator[Entry]) -> Iterator[Entry]:
    """The entries that a tree does not already have with the same content, mode and owner.

    Times do not count. A directory that is there stays as it is; where something in it is new it
    comes along, as the tree has it: engines give a directory that a layer only implies a mode of
    their own. Another name of a file that the tree has is a file itself: engines link only within a
    layer.
    """
    come_along: set[bytes] = set()
    left_out: set[bytes] = set()
    instead: dict[bytes, bytes] = {}

    def parents(path: bytes) -> Iterator[Entry]:
        for end, byte in enumerate(path):
            parent = path[:end]
            if byte == 0x2F and parent not in come_along:
                come_along.add(parent)
                if parent in tree:
                    yield tree[parent]

    for entry in entries:
        there = tree.get(entry.path)
        if there is not None and _looks_alike(entry, there):
            if entry.kind is EntryKind.FILE:
                # A stream is read once, so what was read is kept until it is known to differ.
                with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as kept:
                    if not _same_content(entry, there.target or there, kept):
                        kept.seek(0)
                        yield from parents(entry.path)
                        yield dataclasses.replace(entry, content=_KeptContent(kept))
                    else:
                        left_out.add(entry.path)
                continue
            if entry.kind is not EntryKind.HARDLINK:
                continue
            if entry.linkname in left_out and _is_link_to(entry, there, tree):
                left_out.add(entry.path)
                continue
        if entry.kind is EntryKind.HARDLINK and entry.linkname in left_out:
            first = instead.setdefault(entry.linkname, entry.path)
            entry = (
                dataclasses.replace(entry, linkname=first)
                if first != entry.path
                else dataclasses.replace(tree.resolved(entry.linkname), path=entry.path)
            )
        yield from parents(entry.path)
        come_along.add(entry.path)
        yield entry


def _is_link_to(link: Entry, there: Entry, tree: Tree) -> bool:
    """Whether a hardlink is already there: both its names are the same file of the tree."""
    target = tree.get(link.linkname)
    return target is not None and (there.target or there) is (target.target or target)


@dataclasses.dataclass(frozen=True, slots=True)
class _KeptContent:
    file: IO[bytes]

    def chunks(self) -> Iterator[bytes]:
        while piece := self.file.read(1 << 20):
            yield piece


def _looks_alike(entry: Entry, there: Entry) -> bool:
    if entry.kind is EntryKind.DIRECTORY:
        return there.kind is EntryKind.DIRECTORY
    if there.kind is EntryKind.HARDLINK and there.target is not None:
        there = there.target
    if entry.kind is EntryKind.HARDLINK:
        return there.kind is EntryKind.FILE
    return (
        entry.kind is there.kind
        and entry.mode == there.mode
        and (entry.uid, entry.gid) == (there.uid, there.gid)
        and entry.size_bytes == there.size_bytes
        and entry.linkname == there.linkname
        and (entry.device_major, entry.device_minor) == (there.device_major, there.device_minor)
        and dict(entry.xattrs) == dict(there.xattrs)
    )


def _same_content(entry: Entry, there: Entry, kept: IO[bytes]) -> bool:
    """Whether two files of one size hold the same; the first one's bytes are put into `kept`."""
    for piece in entry.content.chunks() if entry.content else ():
        kept.write(piece)
    kept.seek(0)
    theirs = there.content.chunks() if there.content else ()
    return all(kept.read(len(piece)) == piece for piece in theirs)
