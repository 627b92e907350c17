"""Which repositories a blob is known to be in, so that a push can have it mounted from there.

A registry that has a layer in one repository gives it to another without a byte being sent
(`mount`), but only if it is told which. So pulls and pushes remember where blobs are. It is a
memory and not the truth: a registry that no longer has the blob there has it uploaded.
"""

from __future__ import annotations

from collections.abc import Iterable

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


def sources_of(store: BlobStore, digest: Digest) -> list[Reference]:
    """The repositories that are known to have a blob, the latest first. Blocking."""
    with LayerCache(store) as cache:
        names = cache.recall(_KIND, str(digest)) or b""
    places = (name.partition("/") for name in names.decode().split())
    return [Reference(registry, repository) for registry, _, repository in places]
