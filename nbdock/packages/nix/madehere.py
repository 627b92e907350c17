"""A few entries that nbdock makes itself, such as a script, as a store package.

It is what Nix makes of the same tree when it is added to the store with its references: a path
named after the content, which needs no derivation and no signature.

>>> from nbdock.packages import script
>>> str(script("hello", "echo hello", store=True))
'/nix/store/...-hello'
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from nbdock.errors import InvalidStorePathError
from nbdock.filetree import Entry, EntryKind
from nbdock.oci import Digest
from nbdock.packages.nix.added import checked_store_name
from nbdock.packages.nix.makepath import content_address, source_path
from nbdock.packages.nix.narwriter import write_nar
from nbdock.packages.nix.storepackage import PathInfo, StorePackage
from nbdock.packages.nix.storepath import StorePath
from nbdock.packages.package import Package

__all__ = ["MadePackage", "stored"]


class MadePackage(StorePackage):
    """A small tree in the store whose content is in memory. Made by `stored`."""

    def __init__(
        self, info: PathInfo, entries: Sequence[Entry], needs: tuple[Package, ...]
    ) -> None:
        super().__init__(info)
        self.needs = needs
        self._entries = tuple(entries)

    def entries(self) -> Iterator[Entry]:
        """The tree, from its root."""
        return iter(self._entries)


def stored(name: str, entries: Iterable[Entry], *, needs: tuple[Package, ...] = ()) -> MadePackage:
    """A store package of a tree whose content is in memory.

    Parameters
    ----------
    name
        What stands after the hash.
    entries
        The tree without its root; owners, times and modes become those of a store.
    needs
        The packages that it refers to. Those in the store whose hash is in the tree become its
        references.
    """
    name = checked_store_name(name)
    tree = [Entry(b"", EntryKind.DIRECTORY, mode=0o555, mtime=1)]
    tree += map(_as_stored, sorted(entries, key=lambda entry: entry.path.split(b"/")))
    pieces: list[bytes] = []
    write_nar(tree, lambda piece: pieces.append(bytes(piece)))
    nar = b"".join(pieces)
    places = filter(None, map(_store_path_of, needs))
    references = tuple(sorted({p for p in places if p.hash_part.encode() in nar}))
    digest = Digest.sha256(nar)
    info = PathInfo(
        source_path(name, digest, references=references), digest, len(nar),
        references=references, content_address=content_address(digest),
    )  # fmt: skip
    return MadePackage(info, tree, needs)


def _as_stored(entry: Entry) -> Entry:
    is_open = entry.kind is EntryKind.DIRECTORY or entry.mode & 0o100
    mode = 0o777 if entry.kind is EntryKind.SYMLINK else 0o555 if is_open else 0o444
    return dataclasses.replace(entry, mode=mode, uid=0, gid=0, uname="", gname="", mtime=1)


def _store_path_of(package: Package) -> StorePath | None:
    try:
        return StorePath.parse(package.root)
    except InvalidStorePathError:
        return None
