"""The one layer of `build_image`: contents at ``/`` with all they need, less what the base has."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from nbdock.concurrency import in_worker
from nbdock.content import LayerRecord
from nbdock.filetree import Entry, EntryKind, TarPolicy, Tree, overlay
from nbdock.images.customisation import set_entries
from nbdock.images.image import Image
from nbdock.images.layer import (
    fetch_packages,
    layer_key,
    package_entries,
    policy_changes,
    recipe_key,
    write_entries,
)
from nbdock.images.request import BuildRequest
from nbdock.images.tree import (
    directory_links,
    image_tree,
    inner_links,
    link_targets,
    through_links,
)
from nbdock.layering import LayerPlan, order_layers
from nbdock.packages import Closure, Package

__all__ = ["copied_to_root", "single_layer"]


async def single_layer(
    request: BuildRequest,
    base: Image | None,
    roots: Sequence[Package],
    closure: Closure,
    *,
    commands: str,
    policy: TarPolicy,
    keep_dirlinks: bool,
) -> LayerRecord:
    """The layer of `build_image`.

    Parameters
    ----------
    roots
        What is copied to ``/``.
    policy
        Of the files of `roots` and of store packages.
    closure
        Roots and all they need; store packages stand at their own places too.
    commands
        ``extraCommands``: they see everything that is not yet compared with the base.
    keep_dirlinks
        Symlinks to directories in the roots stay symlinks; else they become directories.
    """
    packages = _winners_first(roots, closure)
    own = set_entries(packages)
    below = [str(layer.diff_id) for layer in base.layers] if base else []
    key = layer_key(
        "single", recipe_key(packages, policy), [p.key for p in roots], commands, keep_dirlinks,
        below, [repr(e) for e in own.values()],
    )  # fmt: skip
    if (known := request.cache.get(key)) is not None:
        return known
    await fetch_packages(packages, progress=request.progress)
    tree = await in_worker(image_tree, base) if base else None
    links = {**await in_worker(directory_links, base, request.cache), **link_targets(own)}

    def entries() -> Iterator[Entry]:
        yield from own.values()
        seen = set(own)
        copied = copied_to_root(roots, policy, keep_dirlinks=keep_dirlinks)
        rest = package_entries(packages, policy)
        for entry in through_links(itertools.chain(copied, rest), links):
            if entry.path not in seen:
                seen.add(entry.path)
                yield entry

    request.progress("Writing the layer")
    mtime = cast("int", policy.mtime)
    record = await write_entries(request, entries(), commands=commands, mtime=mtime, base=tree)
    request.cache.put(key, record)
    return record


def _winners_first(roots: Sequence[Package], closure: Closure) -> list[Package]:
    """The packages in the order in which they are written: of two files at one path, the first."""
    keys = dict.fromkeys([*(p.key for p in roots), *(p.key for p in closure.packages)])
    packages = tuple(closure.by_key[key] for key in keys)
    if not packages:
        return []
    return list(order_layers(LayerPlan((packages,), 1, "single"), closure.overrides).layers[0])


def copied_to_root(
    packages: Sequence[Package], policy: TarPolicy, *, keep_dirlinks: bool
) -> Iterator[Entry]:
    """The entries of packages at ``/``, wherever they stand otherwise (``copyToRoot``).

    `policy` holds for all of them, but for the times of packages that stand at ``/`` anyway.

    Packages of a set at ``/`` (such as APT's) are left out: they are there anyway, and know their
    owners and links themselves.
    """
    links: dict[bytes, bytes] = {}
    for package in packages:
        if package.root == "/" and package.package_set is not None:
            continue
        tree = overlay([package.entries()])
        its_links = inner_links(tree)
        # With keepContentsDirlinks what comes later goes through the links of what came before.
        entries = (
            through_links(_below_root(tree), links)
            if keep_dirlinks
            else _without_dirlinks(tree, its_links)
        )
        if keep_dirlinks:
            links = {**its_links, **links}
        changes = policy_changes(policy)
        if package.root == "/":
            del changes["mtime"]
        for entry in entries:
            yield dataclasses.replace(entry, **changes) if changes else entry


def _below_root(tree: Tree) -> Iterator[Entry]:
    """The entries of a tree in an order for an archive: a hardlink after what it links to."""
    entries = [entry for path, entry in tree.items() if path]
    return iter(sorted(entries, key=lambda entry: entry.kind is EntryKind.HARDLINK))


def _without_dirlinks(tree: Tree, links: Mapping[bytes, bytes]) -> Iterator[Entry]:
    """A tree in which symlinks to directories became those directories (``rsync -k``)."""
    if not links:
        yield from _below_root(tree)
        return

    def below(directory: bytes, place: bytes, inside: frozenset[bytes]) -> Iterator[Entry]:
        for name in tree.names(directory):
            path = directory + b"/" + name if directory else name
            there = place + b"/" + name if place else name
            target = links.get(path)
            # A link to a directory that it stands in itself has no end: it stays a link.
            if target is not None and target not in inside:
                yield dataclasses.replace(tree[target], path=there)
                yield from below(target, there, inside | {target})
            else:
                entry = tree[path]
                # The target of a hardlink may have come under another name.
                entry = entry.target if entry.target is not None else entry
                yield dataclasses.replace(entry, path=there)
                if entry.kind is EntryKind.DIRECTORY:
                    yield from below(path, there, inside | {path})

    yield from below(b"", b"", frozenset({b""}))
