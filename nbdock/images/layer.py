"""Making one layer: the entries of its packages, in order, as one deterministic tar in the store.

A layer is known by its recipe: the keys of its packages and the policy of its tar. A recipe that
the cache knows is never read, hashed or written again; otherwise entries flow from the packages
through the tar writer into the blob store, hashed as they pass.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from nbdock import settings
from nbdock.concurrency import gather_limited, in_stoppable_worker
from nbdock.content import BlobStore, LayerRecord
from nbdock.filetree import Entry, EntryKind, TarPolicy, TarWriter, Tree
from nbdock.images.request import BuildRequest
from nbdock.images.tree import absent_from, through_links
from nbdock.packages import Package, Progress

__all__ = [
    "MADE_AT",
    "contents_comment",
    "fetch_packages",
    "in_store",
    "layer_key",
    "make_layers",
    "package_entries",
    "place_of",
    "policy_changes",
    "recipe_key",
    "write_entries",
]

NO_LINKS: Mapping[bytes, bytes] = {}

MADE_AT = 315532800
"""The time of what dockerTools itself puts into an image: the first that a zip can hold, 1980."""

_RECIPE_VERSION = 3
"""Raised whenever the same recipe would give other bytes than before."""

_IN_STORE = re.compile(r"/.+/[0-9abcdfghijklmnpqrsvwxyz]{32}-[^/]+")


def recipe_key(
    packages: Sequence[Package], policy: TarPolicy, links: Mapping[bytes, bytes] = NO_LINKS
) -> str:
    """The identity of a layer of these packages, in this order, without reading them."""
    shared = not all(map(in_store, packages))
    facts = [
        dataclasses.astuple(policy),
        [(p.root, p.key) for p in packages],
        sorted((a.hex(), b.hex()) for a, b in links.items()) if shared else [],
    ]
    return layer_key(*facts)


def layer_key(*facts: object) -> str:
    """The identity of a layer made from facts: numbers, texts and lists of them."""
    return hashlib.sha256(json.dumps([_RECIPE_VERSION, *facts]).encode()).hexdigest()


def in_store(package: Package) -> bool:
    """Whether the package is a store path rather than something at ``/`` or ``/srv/app``."""
    return _IN_STORE.fullmatch(package.root) is not None


def place_of(package: Package) -> bytes:
    """The path at which a package stands, without the first ``/``."""
    return package.root.strip("/").encode("utf-8", "surrogateescape")


def _parents(package: Package, seen: set[bytes]) -> Iterator[Entry]:
    """The directories that lead to a package's place, those not yet seen."""
    place = place_of(package)
    for end, byte in enumerate(place):
        if byte == 0x2F and place[:end] not in seen:
            seen.add(place[:end])
            yield Entry(
                place[:end], EntryKind.DIRECTORY, mode=0o755, mtime=1, uname="root", gname="root"
            )


def package_entries(packages: Sequence[Package], policy: TarPolicy) -> Iterator[Entry]:
    """The entries of packages where they stand in an image; of two at one path, the first.

    The policy holds for store packages; all others keep their owners and times.
    """
    seen: set[bytes] = set()
    for package in packages:
        changes = policy_changes(policy) if in_store(package) else {}
        for parent in _parents(package, seen):
            yield dataclasses.replace(parent, **changes) if changes else parent
        prefix = place_of(package) + b"/" if package.root != "/" else b""
        for entry in package.entries():
            path = (prefix + entry.path).rstrip(b"/")
            if path and path not in seen:
                seen.add(path)
                yield dataclasses.replace(entry, path=path, **changes) if prefix else entry


def policy_changes(policy: TarPolicy) -> dict[str, Any]:
    """What a policy says of every entry, as the fields of an `Entry`."""
    return {name: value for name, value in dataclasses.asdict(policy).items() if value is not None}


async def fetch_packages(packages: Sequence[Package], *, progress: Progress | None = None) -> None:
    """Have every package set fetch those of its own."""
    sets = {id(p.package_set): p.package_set for p in packages if p.package_set is not None}
    for package_set in sets.values():
        own = [p for p in packages if p.package_set is package_set]
        await package_set.fetch(own, progress=progress)


async def write_entries(
    request: BuildRequest, entries: Iterable[Entry], *, base: Tree | None = None
) -> LayerRecord:
    """Write a layer of entries, less what a base has."""
    stop = threading.Event()

    def write() -> LayerRecord:
        kept = absent_from(base, iter(entries)) if base is not None else entries
        return _write(request.store, lambda tar: tar.write(kept), None, stop, None)

    return await in_stoppable_worker(stop, write)


def _write(
    store: BlobStore,
    fill: Callable[[TarWriter], None],
    policy: TarPolicy | None,
    stop: threading.Event | None,
    on_bytes: Callable[[int], None] | None,
) -> LayerRecord:
    with store.writer() as blob:

        def sink(piece: bytes | memoryview) -> None:
            if stop is not None and stop.is_set():
                raise asyncio.CancelledError
            blob.write(piece)
            if on_bytes:
                on_bytes(len(piece))

        tar = TarWriter(sink, policy=policy)
        fill(tar)
        tar.finish()
        digest, size_bytes = blob.commit()
    return LayerRecord(diff_id=digest, size_bytes=size_bytes, entry_count=tar.entry_count)


def _write_layer(
    store: BlobStore,
    packages: Sequence[Package],
    policy: TarPolicy,
    links: Mapping[bytes, bytes],
    stop: threading.Event,
    on_bytes: Callable[[int], None],
) -> LayerRecord:
    """Write a layer of packages into the store."""

    def fill_with_store_paths(tar: TarWriter) -> None:
        # nixpkgs' layers, to the byte: absolute names, and of every file the same owner and time,
        # which the writer knows how to do quickly.
        seen: set[bytes] = set()
        for package in packages:
            tar.write(_parents(package, seen), prefix=b"/")
            tar.write(package.entries(), prefix=b"/" + place_of(package) + b"/")

    if packages and all(map(in_store, packages)):
        return _write(store, fill_with_store_paths, policy, stop, on_bytes)
    entries = through_links(package_entries(packages, policy), links)
    return _write(store, lambda tar: tar.write(entries), None, stop, on_bytes)


def contents_comment(packages: Sequence[Package]) -> str:
    """What the history of a layer says of it, in nixpkgs' words where all are store packages."""
    stores = [p.root for p in packages if in_store(p)]
    if len(stores) == len(packages):
        return f"store paths: {stores}" if stores else ""
    names = " ".join(f"{p.name}={p.version}" if p.version else p.name for p in packages)
    return f"packages: {names}"


async def make_layers(
    request: BuildRequest,
    layers: Sequence[Sequence[Package]],
    policy: TarPolicy,
    links: Mapping[bytes, bytes],
    *,
    base_layers: int = 0,
) -> list[LayerRecord]:
    """The layers of a plan: from the cache where their recipe is known, else made now.

    Parameters
    ----------
    layers
        The packages of each layer.
    policy
        Of the files of store packages.
    links
        The symlinks to directories of the image, through which packages at ``/`` are put.
    base_layers
        How many layers lie below them.

    Packages of new layers are fetched by their sets first; layers are written side by side.
    """
    keys = [recipe_key(layer, policy, links) for layer in layers]
    known = request.cache.get_many(keys)
    new = [i for i, key in enumerate(keys) if key not in known]
    missing = [package for i in new for package in layers[i]]
    for i, key in enumerate(keys):
        if key in known:
            request.layer_made(base_layers + i, known[key].diff_id, known[key].size_bytes)
    await fetch_packages(missing, progress=request.progress)

    stop = threading.Event()
    total = sum(p.size_bytes for p in missing)
    written = 0
    lock = threading.Lock()

    def on_bytes(count: int) -> None:
        nonlocal written
        with lock:
            written += count
            done = written
        request.progress("Writing layers", min(done, total), total)

    def make(index: int) -> LayerRecord:
        record = _write_layer(request.store, layers[index], policy, links, stop, on_bytes)
        request.cache.put(keys[index], record)
        request.layer_made(base_layers + index, record.diff_id, record.size_bytes)
        return record

    # Who takes the layers as they come wants the lowest first.
    in_order = request.layers_to is not None
    first = sorted(new, key=lambda i: i if in_order else -sum(p.size_bytes for p in layers[i]))
    made = await gather_limited(
        [functools.partial(in_stoppable_worker, stop, make, i) for i in first],
        limit=settings.current().workers,
    )
    records = dict(zip(first, made, strict=True))
    return [records[i] if i in records else known[key] for i, key in enumerate(keys)]
