"""What was found out once, remembered in ``nbdock.sqlite`` as far as that can be written.

It only saves work: with a home that is full, read-only or absent, everything is found out again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nbdock.content import BlobStore, LayerCache
from nbdock.errors import ContentError

__all__ = ["recall", "remember"]


def recall(kind: str, keys: Iterable[str]) -> Mapping[str, bytes]:
    """What was remembered under these keys, as far as anything was."""
    keys = list(keys)
    if not keys:
        return {}
    try:
        with LayerCache(BlobStore.default()) as memory:
            return memory.recall_many(kind, keys)
    except ContentError:
        return {}


def remember(kind: str, values: Mapping[str, bytes]) -> None:
    """Remember values, kilobytes each, under their keys, if there is a place to."""
    try:
        with LayerCache(BlobStore.default()) as memory:
            memory.remember_many(kind, values)
    except ContentError:
        pass
