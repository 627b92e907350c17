"""Packages of a few entries that nbdock makes itself: files, links and directories at ``/``.

dockerTools' helpers are such packages: a passwd file, or a symlink into the store together with the
package that it leads into.

    >>> package = FilesPackage("greeting", [regular("etc/motd", "hi"), symlink("bin/sh", "dash")])
    >>> [entry.path for entry in package.entries()]
    [b'bin', b'bin/sh', b'etc', b'etc/motd']
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator

from nbdock.filetree import BytesContent, Entry, EntryKind
from nbdock.packages.package import Package, PackageSet

__all__ = ["FilesPackage", "folder", "named_packages", "regular", "symlink"]

_MTIME = 1


def regular(path: str, text: str | bytes, *, mode: int = 0o644) -> Entry:
    """A file that belongs to root."""
    data = text.encode() if isinstance(text, str) else text
    return Entry(
        path.encode(), EntryKind.FILE, mode=mode, mtime=_MTIME, uname="root", gname="root",
        size_bytes=len(data), content=BytesContent(data),
    )  # fmt: skip


def symlink(path: str, target: str) -> Entry:
    """A symlink that belongs to root."""
    return Entry(
        path.encode(), EntryKind.SYMLINK, mode=0o777, mtime=_MTIME, uname="root", gname="root",
        linkname=target.encode(),
    )  # fmt: skip


def folder(path: str, *, mode: int = 0o755, uid: int = 0, gid: int = 0) -> Entry:
    """A directory; it belongs to root if not told otherwise."""
    return Entry(
        path.encode(), EntryKind.DIRECTORY, mode=mode, uid=uid, gid=gid, mtime=_MTIME,
        uname="" if uid else "root", gname="" if gid else "root",
    )  # fmt: skip


class FilesPackage(Package):
    """A package at ``/`` of the given entries, and of the directories that they stand in.

    Parameters
    ----------
    name
        The package's name.
    entries
        Files (whose content is `BytesContent`), links and directories, in any order.
    needs
        The packages that the links lead into.
    package_set
        A set that has something to say of images with the package (`PackageSet.root_entries`).
    """

    version = ""
    root = "/"

    def __init__(
        self, name: str, entries: Iterable[Entry], *, needs: tuple[Package, ...] = (),
        package_set: PackageSet | None = None,
    ) -> None:  # fmt: skip
        self.name = name
        self.needs = needs
        self.package_set = package_set
        self._entries = _with_parents(entries)
        digest = hashlib.sha256()
        for entry in self._entries:
            facts = dataclasses.replace(entry, content=None)
            data = entry.read() if entry.content is not None else b""
            digest.update(json.dumps([repr(facts), len(data)]).encode() + data)
        self._key = f"files:{name}:{digest.hexdigest()}"

    @property
    def key(self) -> str:
        """The identity of the name and of all entries."""
        return self._key

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(entry.size_bytes for entry in self._entries)

    def entries(self) -> Iterator[Entry]:
        """The entries, sorted by path."""
        return iter(self._entries)


def named_packages(texts: Iterable[str]) -> list[Package]:
    """The packages whose places a cell put into texts (`nbdock.nixlang.ContextString`)."""
    context = (item for text in texts for item in getattr(text, "context", ()))
    return list(dict.fromkeys(item for item in context if isinstance(item, Package)))


def _with_parents(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    found = {entry.path: entry for entry in entries}
    for path in list(found):
        parts = path.split(b"/")
        for count in range(1, len(parts)):
            parent = b"/".join(parts[:count])
            found.setdefault(parent, folder(parent.decode()))
    return tuple(found[path] for path in sorted(found))
