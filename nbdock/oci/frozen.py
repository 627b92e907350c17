"""Immutable JSON: mappings and arrays that a frozen dataclass may hold.

Documents keep the fields that nbdock does not know. Those are arbitrary JSON; frozen, a document
stays hashable and comparable, can be pickled, and nobody changes it behind its digest.

    >>> extra = freeze({"x": [1, {"y": None}]})
    >>> extra["x"]
    (1, {'y': None})
    >>> hash(extra) == hash(freeze({"x": [1, {"y": None}]}))
    True
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

__all__ = ["FrozenMap", "freeze"]

V_co = TypeVar("V_co", covariant=True)


class FrozenMap(Mapping[str, V_co]):
    """A mapping with text keys that keeps its order, does not change, and hashes.

    Equal to any mapping with the same items; the order does not count for equality.
    """

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, V_co] | Iterable[tuple[str, V_co]] = ()) -> None:
        self._items: dict[str, V_co] = dict(items)

    def __getitem__(self, key: str) -> V_co:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, FrozenMap):
            return self._items == other._items
        return self._items == dict(other) if isinstance(other, Mapping) else NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)


def freeze(value: Any) -> Any:
    """`value` with every mapping as a `FrozenMap` and every list as a tuple, however deep."""
    if isinstance(value, Mapping):
        return FrozenMap({key: freeze(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple(freeze(item) for item in value)
    return value
