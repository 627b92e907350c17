"""Files of this machine as store packages, at the path that ``nix-store --add`` gives them.

The path comes from the hash of the content, so all of it is read once; from then on the listing of
the tree, which is quick, tells whether it is still the same. What gets into a layer is what was
hashed: a tree that changes on the way is an error, never a store path with other content.

    app = nbdock.store_path("app")
    start = nbdock.script("start", f"exec {app}/bin/serve")
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from nbdock import settings
from nbdock.calling import checked
from nbdock.concurrency import gather_limited, in_stoppable_worker
from nbdock.errors import (
    ArchiveError,
    ArgumentTypeError,
    InvalidDigestError,
    InvalidStorePathError,
    NbdockError,
    PackageNotFoundError,
)
from nbdock.filetree import Entry, walk_all
from nbdock.oci import Digest
from nbdock.packages.closure import Closure
from nbdock.packages.ignoring import Ignored
from nbdock.packages.memory import recall, remember
from nbdock.packages.nix.hosttree import HostTree
from nbdock.packages.nix.makepath import content_address, source_path
from nbdock.packages.nix.narwriter import write_nar
from nbdock.packages.nix.storepackage import PathInfo, StorePackage
from nbdock.packages.nix.storepath import StorePath, split_name
from nbdock.packages.package import Package, PackageSet, Progress

__all__ = ["AddedPackage", "added_package", "store_path"]

_REMEMBERED = "nar"
_STRANGE = re.compile(r"[^0-9A-Za-z+\-._?=]+")


class AddedPackage(StorePackage):
    """A file, directory or symlink of this machine in the store. Made by `store_path`.

    Whoever asks for its path waits until it is hashed; a build hashes it in a worker thread.
    """

    def __init__(self, place: bytes, store_name: str, ignored: Ignored) -> None:
        self.place = place
        self.store_name = store_name
        self.ignored = ignored
        self.name, self.version = split_name(store_name)
        self.package_set = _ADDED
        self._tree: HostTree | None = None

    def current(self) -> AddedPackage:
        """The tree as it is now, to be listed again."""
        return AddedPackage(self.place, self.store_name, self.ignored)

    @property
    def is_hashed(self) -> bool:
        """Whether its path is known."""
        return self._tree is not None

    @functools.cached_property
    def info(self) -> PathInfo:  # type: ignore[override]  # an attribute that is there when asked for
        """What Nix would know of it once it was added."""
        (tree,) = _list([self])
        return self.hashed_as(tree, _recalled([tree]).get(tree.identity) or _hashed(tree))

    @functools.cached_property
    def root(self) -> str:  # type: ignore[override]  # an attribute that is there when asked for
        """The store path."""
        return str(self.info.path)

    def hashed_as(self, tree: HostTree, nar: tuple[Digest, int]) -> PathInfo:
        """Take a tree, and the hash and the length of its NAR."""
        digest, size_bytes = nar
        path = source_path(self.store_name, digest)
        info = PathInfo(path, digest, size_bytes, content_address=content_address(digest))
        self._tree = tree
        self.__dict__["info"] = info
        return info

    def entries(self) -> Iterator[Entry]:
        """The tree that the path was computed from.

        Raises
        ------
        ArchiveError
            Its content is another by now, or becomes another while it is read.
        """
        digest = self.info.nar_hash
        tree = HostTree(self.place, self.ignored)
        # What was merely touched, or written anew with the same content, is still the same.
        if self._tree is None or tree.identity != self._tree.identity:
            if _hashed(tree)[0] != digest:
                raise ArchiveError(
                    f"{os.fsdecode(self.place)!r} has changed since it was given the path "
                    f"{self.root}.",
                    hint="Run the cell again that names it with store_path() or directory().",
                )
            self._tree = tree
        yield from tree.entries()


class _AddedSet(PackageSet):
    """What was added, on any machine: packages that need nothing, hashed when they are realised."""

    def __getitem__(self, name: str) -> Package:
        raise PackageNotFoundError(
            f"There is no package {name!r} among added files.", package=name,
            hint=f"store_path({name!r}) adds a file or a directory.",
        )  # fmt: skip

    def __dir__(self) -> list[str]:
        return []

    async def realise(
        self, packages: Sequence[Package], *, progress: Progress | None = None
    ) -> Sequence[Package]:
        """The packages, hashed; those that are known by their listing are not read."""
        unknown = [p for p in packages if isinstance(p, AddedPackage) and not p.is_hashed]
        if not unknown:
            return packages
        stop = threading.Event()
        trees = await in_stoppable_worker(stop, _list, unknown, stop)
        known = await in_stoppable_worker(stop, _recalled, trees)
        new = {tree.identity: tree for tree in trees if tree.identity not in known}
        total = sum(tree.size_bytes for tree in new.values())
        done = 0
        lock = threading.Lock()

        def on_bytes(count: int) -> None:
            nonlocal done
            with lock:
                done += count
                now = done
            if progress is not None:
                progress("Hashing files", min(now, total), total)

        calls = [
            functools.partial(in_stoppable_worker, stop, _hashed, tree, stop, on_bytes)
            for tree in new.values()
        ]
        nars = await gather_limited(calls, limit=settings.current().workers)
        known = {**known, **dict(zip(new, nars, strict=True))}
        for package, tree in zip(unknown, trees, strict=True):
            package.hashed_as(tree, known[tree.identity])
        return packages

    async def closure(self, packages: Sequence[Package]) -> Closure:
        """The packages: content that was only copied refers to no store path."""
        by_key = {p.key: p for p in packages}
        return Closure(
            packages=tuple(sorted(by_key.values(), key=lambda p: p.sort_key)),
            references=dict.fromkeys(by_key, ()),
            roots=tuple(by_key),
        )

    async def fetch(self, packages: Iterable[Package], *, progress: Progress | None = None) -> None:
        """Nothing: they are here."""


_ADDED = _AddedSet()


@checked
def store_path(
    path: str | os.PathLike[str], *, name: str | None = None, ignore: Sequence[str] = ()
) -> Package:
    """A package of a file, directory or symlink of this machine, at its path in the Nix store.

    It is the path that ``nix-store --add`` gives it, though no Nix is needed: the same content gets
    the same path everywhere. A path that is in the store already is that package, with all that it
    needs.

    Parameters
    ----------
    path
        What to add. A symlink is added as a symlink.
    name
        What stands after the hash; by default the name of the file.
    ignore
        What to leave out of a directory, as shell patterns: ``"*.pyc"`` and ``".git"`` leave out
        files and directories of that name anywhere, ``"build/cache"`` that path.

    Raises
    ------
    ArgumentTypeError
        There is no such file, or no store path can have its name.
    PackageError
        A store path that neither this machine's store has nor any other place that nixpkgs is from.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> place = pathlib.Path(tempfile.mkdtemp(), "greeting-1.0")
    >>> _ = place.write_text("hello")
    >>> greeting = store_path(place)
    >>> greeting, str(greeting), greeting.size_bytes
    (<AddedPackage greeting 1.0>, '/nix/store/...-greeting-1.0', 120)
    """
    try:
        place = os.fsdecode(os.path.abspath(os.path.expanduser(os.fspath(path))))
    except (TypeError, ValueError):
        raise ArgumentTypeError(
            f"A file is named by its path, not by {path!r}.", argument="path"
        ) from None
    if name is None and not ignore and _is_store_path(place):
        return _from_store(place)
    try:
        os.lstat(place)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it has a NUL byte"
        raise ArgumentTypeError(
            f"{place!r} cannot be read: {reason}.",
            argument="path",
            hint=f"This notebook works in {os.getcwd()!r}.",
        ) from error
    return added_package(os.fsencode(place), os.path.basename(place), name, Ignored(ignore))


def added_package(place: bytes, own_name: str, name: str | None, ignored: Ignored) -> AddedPackage:
    """The package of a tree; `name` is what a person called it, if at all."""
    return AddedPackage(place, checked_store_name(own_name if name is None else name), ignored)


def checked_store_name(name: str) -> str:
    """A name that may stand in a store path; ArgumentTypeError, with one that may, for another."""
    try:
        StorePath("0" * 32, str(name))
        is_right = isinstance(name, str)
    except InvalidStorePathError:
        is_right = False
    if not is_right:
        raise ArgumentTypeError(
            f"{name!r} cannot be the name of a store path.",
            argument="name",
            hint="Letters, digits and + - . _ ? = may stand in it; give another, for example "
            f'name="{_STRANGE.sub("-", str(name))[:211].strip("-.") or "source"}".',
        )
    return name


def _is_store_path(text: str) -> bool:
    try:
        StorePath.parse(text)
    except InvalidStorePathError:
        return False
    return True


def _from_store(place: str) -> Package:
    """The package of a store path: from this machine's store, else from wherever nixpkgs is."""
    from nbdock.packages.nix.local.store import LocalStore
    from nbdock.packages.nix.opening import default_nixpkgs

    try:
        return LocalStore()[place]
    except NbdockError:
        # There is no store, or it does not have the path; if nothing has, nixpkgs says so.
        return default_nixpkgs()[place]


def _list(packages: Sequence[AddedPackage], stop: threading.Event | None = None) -> list[HostTree]:
    """The trees of packages as they are now."""
    walks = walk_all([p.place for p in packages])
    return [
        HostTree(package.place, package.ignored, found=found, stop=stop)
        for package, found in zip(packages, walks, strict=True)
    ]


def _recalled(trees: Iterable[HostTree]) -> Mapping[str, tuple[Digest, int]]:
    """The NARs of those trees that were hashed before, by identity."""
    identities = [tree.identity for tree in trees if tree.is_settled]
    known = {}
    for identity, value in recall(_REMEMBERED, identities).items():
        digest, _, size = value.decode("ascii", "replace").partition(" ")
        try:
            known[identity] = (Digest("sha256", digest), int(size))
        except (InvalidDigestError, ValueError):
            continue
    return known


def _hashed(
    tree: HostTree,
    stop: threading.Event | None = None,
    on_bytes: Callable[[int], None] | None = None,
) -> tuple[Digest, int]:
    """The hash and the length of a tree's NAR, remembered if the tree is settled."""
    hasher = hashlib.sha256()

    def sink(piece: bytes | memoryview) -> None:
        if stop is not None and stop.is_set():
            raise asyncio.CancelledError
        hasher.update(piece)
        if on_bytes is not None:
            on_bytes(len(piece))

    size_bytes = write_nar(tree.entries(), sink)
    if tree.is_settled:
        remember(_REMEMBERED, {tree.identity: f"{hasher.hexdigest()} {size_bytes}".encode()})
    return Digest.of_hasher(hasher), size_bytes
