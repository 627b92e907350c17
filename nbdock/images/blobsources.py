"""Which repositories a blob is known to be in, so that a push can have it mounted from there.

A registry that has a layer in one repository gives it to another without a byte being sent
(`mount`), but only if it is told which. So pulls and pushes remember where blobs are. It is a
memory and not the truth: a registry that no longer has the blob there has it uploaded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from nbdock.content import BlobStore, LayerCache
from nbdock.oci import Digest, Reference

__all__ = ["remember_sources", "sources_of"]

_KIND = "blob sources"
_KEPT = 8


def remember_sources(store: BlobStore, reference: Reference, digests: Iterable[Digest]) -> None:
    """Note that the repository of `reference` has these blobs. Blocking."""
    keys = [str(digest) for digest in digests]
    with LayerCache(store) as cache:
        known = cache.recall_many(_KIND, keys)
        changed: dict[str, bytes] = {}
        for key in keys:
            names = known.get(key, b"").decode().split()
            if reference.name not in names:
                changed[key] = "\n".join([reference.name, *names][:_KEPT]).encode()
        cache.remember_many(_KIND, changed)


def sources_of(
    store: BlobStore, registry: str, digests: Collection[Digest]
) -> Mapping[Digest, tuple[str, ...]]:
    """The repositories of a registry that are known to have each blob. Blocking."""
    with LayerCache(store) as cache:
        known = cache.recall_many(_KIND, [str(digest) for digest in digests])
    prefix = f"{registry}/"
    return {
        digest: tuple(
            name.removeprefix(prefix)
            for name in known.get(str(digest), b"").decode().split()
            if name.startswith(prefix)
        )
        for digest in digests
    }
