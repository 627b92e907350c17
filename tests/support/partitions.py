"""Exhaustive search, the oracle of what looks for good partitions."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

from nbdock.layering.partition import Thing, expected_cost

T = TypeVar("T")


def partitions(items: Sequence[T], limit: int) -> Iterator[list[list[T]]]:
    """All ways to put items into at most so many sets."""

    def placed(at: list[int]) -> Iterator[list[list[T]]]:
        if len(at) == len(items):
            yield [
                [x for x, i in zip(items, at, strict=True) if i == n] for n in range(max(at) + 1)
            ]
            return
        for n in range(min(max(at, default=-1) + 2, limit)):
            yield from placed([*at, n])

    yield from placed([]) if items else iter([[]])


def least_cost(
    things: Sequence[Thing], chances: Sequence[float], limit: int, layer_cost_bytes: float
) -> float:
    return min(
        expected_cost(layers, things, chances, layer_cost_bytes=layer_cost_bytes)
        for layers in partitions(range(len(things)), limit)
    )


def random_case(seed: int) -> tuple[list[Thing], list[float], int, float]:
    """Things of all sizes and chances, some with events in common; a limit and a layer's cost."""
    chance = random.Random(seed)
    count, limit = chance.randint(2, 7), chance.randint(1, 4)
    small = chance.random() < 0.3
    things: list[Thing] = []
    chances: list[float] = []
    for _ in range(count):
        size = chance.randint(1, 20) if small else int(10 ** chance.uniform(3, 8))
        chances.append(min(0.9, math.exp(chance.uniform(-7, 0))))
        events = [len(chances) - 1]
        if things and chance.random() < 0.25:
            events.append(chance.choice(chance.choice(things).events))
        things.append(Thing(size, tuple(events)))
    return things, chances, limit, chance.choice([0, 0, 65536])
