"""Which packages an image needs besides its contents: those that texts and files name.

Nix finds references by looking for the hashes of store paths. A build does so in two places: in the
strings of ``config``, where a store path may be written out, and in what ``extraCommands`` made,
where a package that the commands only used leaves no trace.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence

from nbdock.concurrency import in_thread, in_worker
from nbdock.content import LayerRecord
from nbdock.errors import ArgumentError, NbdockError, PackageNotFoundError
from nbdock.filetree import Entry
from nbdock.images.arguments import Unreferenced, context_packages
from nbdock.images.image import Image
from nbdock.images.layer import in_store
from nbdock.images.request import BuildRequest
from nbdock.images.tree import image_tree
from nbdock.packages import Closure, Package, PackageSet, realise, resolve_closure

__all__ = [
    "command_closure",
    "config_packages",
    "hashes_in",
    "left_in",
    "resolve_contents",
    "with_references",
]

_STORE_PATH = re.compile(r"/nix/store/([0-9abcdfghijklmnpqrsvwxyz]{32})-[0-9A-Za-z+\-._?=]{1,211}")
_HASH_RUN = re.compile(rb"[0-9abcdfghijklmnpqrsvwxyz]{32,}")
_HASH_LENGTH = 32
_LONG_RUN = 4096


def _strings(value: object, place: str) -> Iterator[tuple[str, str]]:
    """The strings in a configuration, and where each stands."""
    if isinstance(value, Unreferenced):
        return
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _strings(name, f"{place}.{name}")
            yield from _strings(item, f"{place}.{name}")
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item, place)


def _hash_of(package: Package) -> str:
    return package.root.rpartition("/")[2][:_HASH_LENGTH]


async def resolve_contents(
    request: BuildRequest, roots: Sequence[Package], config: object, base: Image | None
) -> tuple[tuple[Package, ...], Closure]:
    """The contents as their sets know them, and all that they and the configuration need."""
    request.progress("Resolving packages", 0, 0)
    asked = [*roots, *context_packages(config)]
    asked = list(await realise(asked, progress=request.progress))
    closure = await resolve_closure(asked, progress=request.progress)
    if more := await config_packages(request, config, closure, base):
        closure = await resolve_closure([*asked, *more], progress=request.progress)
    return tuple(asked[: len(roots)]), closure


async def config_packages(
    request: BuildRequest, config: object, closure: Closure, base: Image | None
) -> list[Package]:
    """The packages whose store paths stand in the configuration, as far as a closure lacks them.

    They are looked for in the package sets of the closure's store packages, then in the notebook's
    own nixpkgs.

    Raises
    ------
    ArgumentError
        No set has a path, and it is not in the base either; the message says where it stands.
    """
    known = {_hash_of(p) for p in closure.packages if in_store(p)}
    missing = {
        match[0]: (place, match[1])
        for place, text in _strings(config, "config")
        for match in _STORE_PATH.finditer(text)
        if match[1] not in known
    }
    if not missing:
        return []
    sets = {
        id(p.package_set): p.package_set
        for p in closure.packages
        if in_store(p) and p.package_set is not None
    }
    found = []
    in_base = await in_worker(_store_hashes, base) if base else frozenset()
    for path, (place, hash_part) in missing.items():
        package = await _look_up(request, path, list(sets.values()))
        if package is not None:
            found.append(package)
        elif hash_part not in in_base:
            raise ArgumentError(
                f"{place} names {path}, which no package set of this image has.",
                argument="config",
                hint="Write the package itself, such as ${pkgs.hello}, or fetch the path.",
            )
    return found


async def _look_up(request: BuildRequest, path: str, sets: Sequence[PackageSet]) -> Package | None:
    from nbdock.packages import default_nixpkgs

    for package_set in sets:
        try:
            package = await in_thread(package_set.__getitem__, path)
            (package,) = await realise([package], progress=request.progress)
        except PackageNotFoundError:
            continue
        return package
    try:
        package = await in_thread(lambda: default_nixpkgs()[path])
        (package,) = await realise([package], progress=request.progress)
    except NbdockError:
        # There may be neither Nix nor a network; what is missing is said by the caller.
        return None
    return package


def _store_hashes(image: Image) -> frozenset[str]:
    """The hashes of the store paths in an image."""
    return frozenset(
        name.decode(errors="replace")[:_HASH_LENGTH]
        for name in image_tree(image).names(b"nix/store")
    )


async def command_closure(request: BuildRequest, commands: str, closure: Closure) -> Closure:
    """The store packages that commands were written with, with all they need; mostly none.

    `closure` is that of the rest of the image.
    """
    named = await realise(
        context_packages(commands), among=closure.packages, progress=request.progress
    )
    roots = [package for package in named if in_store(package)]
    return await resolve_closure(roots, progress=request.progress)


async def with_references(
    request: BuildRequest,
    key: str,
    candidates: Iterable[Package],
    write: Callable[[], Awaitable[tuple[LayerRecord, list[Package]]]],
) -> tuple[LayerRecord, list[Package]]:
    """The layer of a recipe, and the packages that what commands left in it refers to.

    Parameters
    ----------
    candidates
        The packages that it may refer to.
    write
        Makes the layer, which is only called if the cache does not know it.
    """
    known = request.cache.get(key)
    left = request.cache.recall("references", key)
    if known is not None and left is not None:
        by_root = {package.root: package for package in candidates}
        return known, [by_root[root] for root in json.loads(left)]
    record, packages = await write()
    request.cache.put(key, record)
    roots = [package.root for package in packages]
    request.cache.remember("references", key, json.dumps(roots).encode())
    return record, packages


def left_in(entries: Iterable[Entry], closure: Closure) -> list[Package]:
    """The packages of a closure that entries refer to. Blocking: reads all contents."""
    by_hash = {_hash_of(p).encode(): p for p in closure.packages if in_store(p)}
    return [by_hash[found] for found in sorted(hashes_in(entries, by_hash))] if by_hash else []


def hashes_in(entries: Iterable[Entry], hashes: Collection[bytes]) -> set[bytes]:
    """Those of some hashes that stand in names, links or contents, as Nix finds references."""
    found: set[bytes] = set()
    for entry in entries:
        _scan(entry.path, hashes, found)
        _scan(entry.linkname, hashes, found)
        tail = b""
        for piece in entry.content.chunks() if entry.content is not None else ():
            data = tail + piece
            _scan(data, hashes, found)
            tail = data[-(_HASH_LENGTH - 1) :]
    return found


def _scan(data: bytes, hashes: Collection[bytes], found: set[bytes]) -> None:
    for match in _HASH_RUN.finditer(data):
        run = match[0]
        if len(run) > _LONG_RUN:
            found.update(each for each in hashes if each in run)
        else:
            starts = range(len(run) - _HASH_LENGTH + 1)
            windows = (run[i : i + _HASH_LENGTH] for i in starts)
            found.update(window for window in windows if window in hashes)
