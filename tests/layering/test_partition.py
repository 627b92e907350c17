"""The search for the partition that costs the least, against exhaustive search."""

from __future__ import annotations

import itertools
import random
import statistics
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.partitions import least_cost, partitions, random_case

from nbdock.layering.partition import Thing, best_partition, cost_curve, expected_cost


def test_all_partitions_are_searched() -> None:
    assert [len(list(partitions(range(4), k))) for k in (1, 2, 3, 4)] == [1, 8, 14, 15]


def test_what_a_layer_costs() -> None:
    things = [Thing(100, (0,)), Thing(10, (1,)), Thing(1, (0, 1))]
    chances = [0.5, 0.25]
    assert expected_cost([[0]], things, chances) == pytest.approx(50)
    assert expected_cost([[0], [1]], things, chances, layer_cost_bytes=4) == pytest.approx(55.5)
    # Pulled once however much of it changes, and an event counts once: 1 - 0.5 * 0.75.
    assert expected_cost([[0, 1, 2]], things, chances) == pytest.approx(111 * 0.625)


def test_against_exhaustive_search() -> None:
    above = []
    for seed in range(300):
        things, chances, limit, cost = random_case(seed)
        found = best_partition(things, chances, limit=limit, layer_cost_bytes=cost)
        assert sorted(n for layer in found for n in layer) == list(range(len(things)))
        assert 1 <= len(found) <= limit
        spent = expected_cost(found, things, chances, layer_cost_bytes=cost)
        above.append(spent / least_cost(things, chances, limit, cost) - 1)
    assert statistics.mean(above) < 0.001
    assert max(above) < 0.1


@given(st.integers(0, 10**6), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_things_decides_nothing_that_costs(seed: int, chance: random.Random) -> None:
    things, chances, limit, cost = random_case(seed)
    order = chance.sample(range(len(things)), len(things))
    found = best_partition(things, chances, limit=limit, layer_cost_bytes=cost)
    again = best_partition([things[n] for n in order], chances, limit=limit, layer_cost_bytes=cost)
    assert found == best_partition(things, chances, limit=limit, layer_cost_bytes=cost)
    back = [[order[n] for n in layer] for layer in again]
    assert expected_cost(back, things, chances, layer_cost_bytes=cost) == pytest.approx(
        expected_cost(found, things, chances, layer_cost_bytes=cost), rel=0.02
    )


def test_the_curve_falls_and_is_close_to_what_is_reached() -> None:
    chance = random.Random(3)
    things = [Thing(int(10 ** chance.uniform(4, 7)), (n,)) for n in range(40)]
    chances = [10 ** chance.uniform(-3, -0.5) for _ in things]
    curve = cost_curve(things, chances, limit=45)
    assert len(curve) == 45
    assert all(a >= b for a, b in itertools.pairwise(curve))
    for limit in (1, 3, 10, 40):
        reached = expected_cost(best_partition(things, chances, limit=limit), things, chances)
        assert reached <= curve[limit - 1] * (1 + 1e-9)
        assert reached > 0.8 * curve[limit - 1]
    assert cost_curve([], [], limit=3) == (0, 0, 0)
    assert best_partition([], [], limit=3) == []


def test_things_without_size_or_chance() -> None:
    things = [Thing(0, (0,)), Thing(0, (1,)), Thing(5, (2,)), Thing(7, (3,))]
    for limit in (1, 2, 3, 9):
        found = best_partition(things, [0.0, 0.5, 0.0, 0.999], limit=limit, layer_cost_bytes=1)
        assert sorted(n for layer in found for n in layer) == [0, 1, 2, 3]
        assert len(found) <= limit


def test_ten_thousand_things_in_125_layers() -> None:
    chance = random.Random(1)
    things = [Thing(int(chance.lognormvariate(12, 2)), (n,)) for n in range(10_000)]
    chances = [min(0.9, chance.lognormvariate(-4, 1.5)) for _ in things]
    start = time.process_time()
    found = best_partition(things, chances, limit=125, layer_cost_bytes=1 << 17)
    took_s = time.process_time() - start
    assert len(found) == 125
    assert took_s < 10  # 0.5 s where nothing else runs
    # No better than this is a cut into so many layers of equal share, which is near the best.
    roots = sum((t.size_bytes * c) ** 0.5 for t, c in zip(things, chances, strict=True))
    assert expected_cost(found, things, chances) < 1.5 * roots**2 / 125
