"""The packages of a Nix store on this machine, by their store paths.

Sizes, hashes and references come from the store's database; a tree is listed only when its layer
has to be made. Nix is not needed, only its store.

    store = LocalStore()
    hello = store["/nix/store/h1zb1padqbbb7jicsvkmrym3r6snphxg-hello-2.10"]
    image = await nbdock.build_layered_image("hello", contents=[hello])
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence

from nbdock.concurrency import in_worker
from nbdock.errors import (
    ArgumentTypeError,
    InvalidStorePathError,
    NixError,
    PackageNotFoundError,
)
from nbdock.filetree import Entry, EntryKind, FileContent, Walk
from nbdock.packages.closure import Closure
from nbdock.packages.nix.local.database import StoreDatabase
from nbdock.packages.nix.local.location import StoreLocation
from nbdock.packages.nix.storepackage import PathInfo, StorePackage
from nbdock.packages.nix.storepath import StorePath
from nbdock.packages.package import Package, PackageSet, Progress, not_of_this_set

__all__ = ["LocalStore", "LocalStorePackage"]

_MTIME = 1
_DAMAGED = "`nix-store --verify --check-contents --repair` puts a damaged store in order."


class LocalStorePackage(StorePackage):
    """A valid path of a store on this machine; made by `LocalStore`.

    The tree is what stands there, canonical as Nix makes every path: whatever the disk says, all
    belongs to root, files can be read, and executed if they are programs, and nobody can write.

    Its length as a NAR, which the listing tells, is compared with the database: what was
    interrupted or edited shows itself by it, and nothing of it gets into the layer cache. The hash
    is not compared. Nix does not do so either when it reads its store, it would double the work of
    every new layer, and `nix-store --verify --check-contents` is there for who has doubts.
    """

    def __init__(self, info: PathInfo, store: LocalStore) -> None:
        super().__init__(info)
        self.package_set: LocalStore = store

    @property
    def path(self) -> str:
        """Where it is on this machine."""
        return self.package_set.location.real_path(self.info.path)

    def entries(self) -> Iterator[Entry]:
        """The tree, itself (``b""``) first: a directory, or a file or symlink alone.

        Raises
        ------
        NixError
            What stands there is not what Nix registered.
        """
        place = os.fsencode(self.path)
        try:
            walk = Walk.of(place)
            entries = list(_canonical(place, walk))
        except OSError as error:
            shown = os.fsdecode(error.filename or place)
            raise NixError(
                f"{shown!r} is in the Nix store's database, but cannot be read: {error.strerror}.",
                package=self.name,
                hint=_DAMAGED,
            ) from error
        size_bytes = _nar_size_bytes(entries)
        if walk.skipped or size_bytes != self.info.nar_size_bytes:
            raise NixError(
                f"{self.path!r} is not what Nix registered: as a NAR it has {size_bytes} bytes, "
                f"by the store's database {self.info.nar_size_bytes}.",
                package=self.name,
                hint=_DAMAGED,
            )
        return iter(entries)


class LocalStore(PackageSet):
    """A Nix store on this machine: packages by store path.

    Guarantees: nothing is read before something is asked, nothing is ever written, and one object
    may be used by many threads.

    Parameters
    ----------
    store
        Its URI as Nix has them (``"local?root=/mnt"``), or the directory it is in the ``/nix`` of.
        By default the store that Nix itself would use.

    Raises
    ------
    UnavailableError
        The store is not on this machine.

    Examples
    --------
    >>> LocalStore("local?root=/mnt/nixos")
    <LocalStore /nix/store in /mnt/nixos/nix/store>
    """

    def __init__(self, store: str | os.PathLike[str] | StoreLocation | None = None) -> None:
        if store is None:
            self.location = StoreLocation.default()
        elif isinstance(store, StoreLocation):
            self.location = store
        else:
            self.location = StoreLocation.parse(os.fspath(store))
        self.database = StoreDatabase(self.location.database, store_dir=self.location.store_dir)

    def __repr__(self) -> str:
        place = self.location
        inside = f" in {place.real_dir}" if place.real_dir != place.store_dir else ""
        return f"<LocalStore {place.store_dir}{inside}>"

    def __getitem__(self, name: str | StorePath) -> LocalStorePackage:
        """The package at a store path.

        Raises
        ------
        InvalidStorePathError
            The text is not a store path.
        PackageNotFoundError
            The store does not have it.
        """
        return self.packages([self.parse(name)])[0]

    def __dir__(self) -> list[str]:
        return [name for name in object.__dir__(self) if not name.startswith("_")]

    def parse(self, name: str | StorePath) -> StorePath:
        """The store path that a text is."""
        if isinstance(name, StorePath):
            return name
        if not isinstance(name, str):
            raise ArgumentTypeError(
                f"A package of a Nix store is looked up by its store path, not by "
                f"{type(name).__name__}.",
                argument="name",
            )
        text = name.rstrip("/")
        inside, slash, _ = text.removeprefix(f"{self.location.store_dir}/").partition("/")
        if slash and text.startswith(f"{self.location.store_dir}/"):
            raise InvalidStorePathError(
                f"{text!r} is inside of a store path.",
                value=name,
                hint=f"The package is {self.location.store_dir}/{inside}.",
            )
        return StorePath.parse(text, store_dir=self.location.store_dir)

    def packages(self, paths: Sequence[StorePath]) -> list[LocalStorePackage]:
        """The packages at some paths, one for one, looked up together.

        Raises
        ------
        PackageNotFoundError
            The store does not have one of them.
        """
        infos = self.database.infos(paths)
        return [self._package(infos, path) for path in paths]

    def _package(self, infos: Mapping[StorePath, PathInfo], path: StorePath) -> LocalStorePackage:
        info = infos.get(path)
        if info is None:
            raise PackageNotFoundError(
                f"The Nix store does not have {path}.",
                package=path.package_name,
                hint=f"`nix-store --realise {path}` fetches it, if one of your caches has it.",
            )
        return LocalStorePackage(info, self)

    async def closure(self, packages: Sequence[Package]) -> Closure:
        """The packages with all that they refer to, as the database has it."""
        mine = self._mine(packages)
        paths = [p.info.path for p in mine]
        infos = await in_worker(self.database.closure, paths)
        made = {path: LocalStorePackage(info, self) for path, info in infos.items()}
        for path in paths:
            self._package(infos, path)
        # By the hash part, which no two paths have in common, and which is quicker to find.
        keys = {path.hash_part: package.key for path, package in made.items()}
        return Closure(
            packages=tuple(sorted(made.values(), key=lambda p: p.sort_key)),
            references={
                # So sorted by path is sorted by key, too.
                keys[path.hash_part]: tuple(
                    [keys[r.hash_part] for r in info.references if r is not path]
                )
                for path, info in infos.items()
            },
            roots=tuple(dict.fromkeys(keys[path.hash_part] for path in paths)),
        )

    async def fetch(
        self,
        packages: Iterable[Package],
        *,
        progress: Progress | None = None,  # noqa: ARG002 - there is nothing that takes time
    ) -> None:
        """See that the packages are there: a store's own are never fetched.

        Raises
        ------
        NixError
            A path is gone, though the database has it.
        """
        await in_worker(_check_all_there, self._mine(packages))

    def _mine(self, packages: Iterable[Package]) -> list[LocalStorePackage]:
        mine = []
        for package in packages:
            if not isinstance(package, LocalStorePackage) or (
                package.package_set.location != self.location
            ):
                raise not_of_this_set(package)
            mine.append(package)
        return mine


def _check_all_there(packages: Iterable[LocalStorePackage]) -> None:
    for package in packages:
        try:
            os.lstat(package.path)
        except OSError as error:
            raise NixError(
                f"{package.path!r} is in the Nix store's database, but cannot be read: "
                f"{error.strerror}.",
                package=package.name,
                hint="If garbage was collected just now, run the cell again. "
                     "`nix-store --verify --repair` puts a damaged store in order.",
            ) from error  # fmt: skip


def _canonical(place: bytes, walk: Walk) -> Iterator[Entry]:
    """The entries of a walk as Nix sees them: a kind, whether it is a program, and nothing else."""
    for path, fact in walk.facts():
        where = place + b"/" + path if path else place
        kind = stat.S_IFMT(fact.mode)
        if kind == stat.S_IFREG:
            size = fact.size_bytes
            yield Entry(
                path, EntryKind.FILE, 0o555 if fact.mode & stat.S_IXUSR else 0o444,
                size_bytes=size, mtime=_MTIME, content=FileContent(where, size),
            )  # fmt: skip
        elif kind == stat.S_IFDIR:
            yield Entry(path, EntryKind.DIRECTORY, 0o555, mtime=_MTIME)
        elif kind == stat.S_IFLNK:
            yield Entry(path, EntryKind.SYMLINK, 0o777, mtime=_MTIME, linkname=os.readlink(where))
        else:
            raise NixError(
                f"{os.fsdecode(where)!r} is neither file, directory nor link: Nix stores no other.",
                hint=_DAMAGED,
            )


def _nar_size_bytes(entries: Iterable[Entry]) -> int:
    """How long the NAR of a tree is, which its entries tell without their contents."""
    total = _text_bytes(len("nix-archive-1"))
    for entry in entries:
        if entry.path:
            name = entry.path.rpartition(b"/")[2]
            total += _DIRECTORY_ENTRY_BYTES + _text_bytes(len(name))
        if entry.kind is EntryKind.DIRECTORY:
            total += _DIRECTORY_BYTES
        elif entry.kind is EntryKind.SYMLINK:
            total += _SYMLINK_BYTES + _text_bytes(len(entry.linkname))
        else:
            total += _PROGRAM_BYTES if entry.mode & 0o100 else _FILE_BYTES
            total += _text_bytes(entry.size_bytes)
    return total


def _text_bytes(length: int) -> int:
    """What a text takes in a NAR: its length in 8 bytes, and the text filled up to 8."""
    return 8 + -(-length // 8) * 8


def _words_bytes(words: str) -> int:
    return sum(_text_bytes(len(word)) for word in words.split())


_FILE_BYTES = _words_bytes("( type regular contents )")
_PROGRAM_BYTES = _FILE_BYTES + _words_bytes("executable") + _text_bytes(0)
_SYMLINK_BYTES = _words_bytes("( type symlink target )")
_DIRECTORY_BYTES = _words_bytes("( type directory )")
_DIRECTORY_ENTRY_BYTES = _words_bytes("entry ( name node )")
