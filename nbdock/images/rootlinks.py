"""Root symlinks into store packages: what `buildLayeredImage` puts at ``/`` for its contents.

dockerTools makes them with `symlinkJoin`, which is X.Org's ``lndir``: directories are real,
everything else is a symlink to its place in the store, and a symlink is copied as it is. Of two
packages with something at one path, the first one's stands.

    /bin/hello -> /nix/store/<hash>-hello-2.10/bin/hello
"""

from __future__ import annotations

from collections.abc import Sequence

from nbdock.errors import ArgumentTypeError
from nbdock.filetree import Entry, EntryKind
from nbdock.images.layer import MADE_AT, place_of
from nbdock.images.storetree import StoreTree
from nbdock.packages import Package

__all__ = ["directory_at", "root_links"]

_LEFT_OUT = frozenset((b".git", b".hg", b".svn", b"CVS", b"CVS.adm", b"RCS", b"SCCS", b"BitKeeper"))
"""Directories of version control, which lndir passes over as it does names that end with ``~``."""


def root_links(packages: Sequence[Package], tree: StoreTree) -> list[Entry]:
    """The directories and symlinks at ``/`` for store packages, sorted by path.

    Raises
    ------
    ArgumentTypeError
        A package is a file, so there is nothing in it to link to.
    """
    made: dict[bytes, Entry] = {}
    for package in packages:
        # Paths in the image, in the tree, and as links show them: a symlink's own, not its target.
        waiting = [(b"", directory_at(package, tree), b"/" + place_of(package))]
        while waiting:
            directory, source, shown = waiting.pop()
            for name, entry in tree.within(source):
                path = directory + b"/" + name if directory else name
                known = made.get(path)
                if name.endswith(b"~"):
                    continue
                if entry.kind is not EntryKind.DIRECTORY:
                    if known is None:
                        is_link = entry.kind is EntryKind.SYMLINK
                        linkname = entry.linkname if is_link else shown + b"/" + name
                        made[path] = _made(path, EntryKind.SYMLINK, 0o777, linkname)
                elif name not in _LEFT_OUT and (known is None or known.kind is EntryKind.DIRECTORY):
                    made[path] = _made(path, EntryKind.DIRECTORY, 0o755)
                    waiting.append((path, source + b"/" + name, shown + b"/" + name))
    return [made[path] for path in sorted(made)]


def directory_at(package: Package, tree: StoreTree) -> bytes:
    """The path of the directory that a package is, or leads to if it is a symlink."""
    path = tree.resolve(place_of(package))
    if not tree.is_directory(path):
        raise ArgumentTypeError(
            f"{package.root} in contents is not a directory, so nothing in it can stand at /.",
            argument="contents",
            hint="Put a directory around it, or refer to it in config or in a package.",
        )
    return path


def _made(path: bytes, kind: EntryKind, mode: int, linkname: bytes = b"") -> Entry:
    return Entry(path, kind, mode, 0, 0, 0, MADE_AT, "root", "root", linkname)
