"""One partition for many images, against exhaustive search and against planning each alone."""

from __future__ import annotations

import datetime as dt
import itertools
import math
import random
import statistics
from collections.abc import Iterable, Mapping, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.closures import Stub
from support.partitions import partitions

from nbdock.errors import ArgumentError, LayerLimitError
from nbdock.layering import FleetPlan, HistoryPlanner, fleet_plan, order_layers, planner_of
from nbdock.layering.history import ChangeModel
from nbdock.packages import ChangeHistory, Closure, Package

START = dt.date(2025, 1, 1)
COST, HORIZON = 65536, 26


def of(*packages: Package, overrides: tuple[tuple[str, str], ...] = ()) -> Closure:
    return Closure(packages, {p.key: () for p in packages}, (), overrides)


def stub(name: str, size: int = 10**6, version: str = "1") -> Stub:
    return Stub(name, version, bytes=size, at=f"{name}-{version}")


def history(changes: Mapping[str, Iterable[int]]) -> ChangeHistory:
    dates = {n: tuple(START + dt.timedelta(days=7 * w) for w in ws) for n, ws in changes.items()}
    return ChangeHistory(dates, {}, START, START + dt.timedelta(days=280))


def random_fleet(seed: int) -> tuple[dict[str, Closure], int, ChangeHistory]:
    chance = random.Random(seed)
    images = chance.randint(2, 3)
    packages = [stub(f"p{i}", int(10 ** chance.uniform(4, 7))) for i in range(7 - images)]
    changes = {}
    for package in packages:
        rate = 10 ** chance.uniform(-2, -0.2)
        changes[package.name] = [w for w in range(40) if chance.random() < rate]
    fleet = {
        f"i{n}": of(*([p for p in packages if chance.random() < 0.7] or packages[:1]))
        for n in range(images)
    }
    return fleet, chance.randint(1, 3), history(changes)


def model_of(fleet: Mapping[str, Closure], known: ChangeHistory) -> ChangeModel:
    return ChangeModel.of({p for c in fleet.values() for p in c.packages}, known, COST)


def cost(images: Iterable[Iterable[Iterable[Package]]], model: ChangeModel) -> float:
    """What the fleet costs: stored and pulled, in the beginning and in all rebuilds."""
    users: dict[frozenset[Package], int] = {}
    for layers in images:
        for layer in layers:
            users[frozenset(layer)] = users.get(frozenset(layer), 0) + 1
    return math.fsum(
        (size := sum(p.size_bytes for p in layer)) * (1 + n)
        + HORIZON * model.chance(layer) * ((1 + n) * size + n * COST)
        for layer, n in users.items()
    )


def planned(
    fleet: Mapping[str, Closure], limit: int, known: ChangeHistory, *, unused: bool = False
) -> FleetPlan:
    return fleet_plan(
        fleet, limit, known,
        layer_cost_bytes=COST, horizon_rebuilds=HORIZON, allow_unused=unused,
    )  # fmt: skip


def layers_of(fleet: FleetPlan) -> list[Sequence[Sequence[Package]]]:
    return [plan.layers for plan in fleet.plans.values()]


def test_against_exhaustive_search() -> None:
    above = []
    for seed in range(60):
        fleet, limit, known = random_fleet(seed)
        model = model_of(fleet, known)
        least = min(
            cost(images, model)
            for images in itertools.product(
                *(list(partitions(c.packages, limit)) for c in fleet.values())
            )
        )
        above.append(cost(layers_of(planned(fleet, limit, known)), model) / least - 1)
    assert min(above) > -1e-9
    assert statistics.mean(above) < 0.002
    assert max(above) < 0.1


@given(st.integers(0, 10**6), st.booleans(), st.randoms(use_true_random=False))
@example(155, True, random.Random(1))  # one had a package twice
@settings(max_examples=30, deadline=None)
def test_every_image_gets_its_packages_whatever_the_order(
    seed: int, unused: bool, chance: random.Random
) -> None:
    fleet, limit, known = random_fleet(seed)
    found = planned(fleet, limit, known, unused=unused)
    wasted = 0
    for name, c in fleet.items():
        plan = found.plans[name]
        assert len(plan) <= limit
        keys = [p.key for layer in plan.layers for p in layer]
        assert len(keys) == len(set(keys))
        assert set(keys) >= set(c.by_key)
        wasted += sum(p.size_bytes for la in plan.layers for p in la if p.key not in c.by_key)
        assert planner_of(found.planner(name))(c, limit) == plan
    assert found.unused_bytes == wasted
    assert unused or not wasted
    distinct = {layer for plan in found.plans.values() for layer in plan.layers}
    assert found.stored_bytes == sum(p.size_bytes for layer in distinct for p in layer)
    assert len(found.rows()) == len(distinct) == len({frozenset(layer) for layer in distinct})
    mixed = {n: of(*chance.sample(c.packages, len(c))) for n, c in fleet.items()}
    mixed = dict(chance.sample(list(mixed.items()), len(mixed)))
    assert dict(planned(mixed, limit, known, unused=unused).plans) == dict(found.plans)

    model = model_of(fleet, known)
    alone = [HistoryPlanner(known, layer_cost_bytes=COST)(c, limit).layers for c in fleet.values()]
    assert cost(layers_of(found), model) <= cost(alone, model) * 1.001


def test_what_images_share_is_shared_and_nothing_else() -> None:
    base, tool, web, db = stub("base", 10**8), stub("tool"), stub("web", 10**7), stub("db", 10**7)
    fleet = {"web": of(base, tool, web), "db": of(base, tool, db)}
    known = history({"base": [3], "tool": range(0, 40, 2), "web": range(40), "db": range(40)})
    found = planned(fleet, 3, known)
    assert [[p.name for p in layer] for layer in found["web"].layers] == [
        ["base"],
        ["tool"],
        ["web"],
    ]
    assert found["web"].layers[:2] == found["db"].layers[:2]
    assert found.stored_bytes == 10**8 + 10**6 + 2 * 10**7
    table = found.table()
    assert list(table.images) == [("db", "web"), ("db", "web"), ("db",), ("web",)]
    assert list(table.columns) == [
        "images",
        "packages",
        "size_bytes",
        "unused_bytes",
        "chance",
        "names",
    ]
    assert found.pulled_bytes == pytest.approx(
        (table.size_bytes * table.chance * table.images.map(len)).sum()
    )
    # One layer each: nothing can be shared.
    assert planned(fleet, 1, known).stored_bytes == sum(c.size_bytes for c in fleet.values())


def test_unused_bytes_only_where_allowed_and_cheaper() -> None:
    base, small = stub("base", 10**8), stub("small", 10**4)
    fleet = {"one": of(base), "two": of(base, small)}
    known = history({"base": [3], "small": [5]})
    strict = planned(fleet, 1, known)
    assert (strict.unused_bytes, strict.stored_bytes) == (0, 2 * 10**8 + 10**4)
    loose = planned(fleet, 1, known, unused=True)
    assert (loose.unused_bytes, loose.stored_bytes) == (10**4, 10**8 + 10**4)
    assert loose.planner("one")(fleet["one"], 1) == loose["one"]
    large = {"one": of(base), "two": of(base, stub("small", 10**10))}
    assert planned(large, 1, known, unused=True).unused_bytes == 0


def test_later_versions_lie_where_the_earlier_did() -> None:
    a, b = stub("a", 10**8), stub("b", 10**7)
    found = planned({"one": of(a, b), "two": of(a)}, 3, history({"a": [1], "b": range(40)}))
    planner = found.planner("one")
    newer, added = stub("b", version="2"), stub("c")
    again = planner(of(a, newer, added), 3)
    assert again.layers == ((a,), (newer,), (added,))
    assert planner(of(a, newer, added), 2).layers == ((a,), (newer, added))
    assert planner(of(a), 3).layers == ((a,),)
    with pytest.raises(LayerLimitError, match="2 layers of packages for this image"):
        planner(of(a, b), 1)
    with pytest.raises(ArgumentError) as caught:
        found.planner("tow")
    assert caught.value.hint == "Did you mean two?"


def test_winners_stand_above_losers_in_every_image() -> None:
    new, old, more = stub("new", 10**7), stub("old", 10**7), stub("more", 10**7)
    pairs = ((new.key, old.key),)
    fleet = {"one": of(new, old, overrides=pairs), "two": of(new, old, more, overrides=pairs)}
    for limit in (1, 2, 3):
        found = planned(fleet, limit, history({"new": [1], "old": range(40), "more": [2]}))
        for name, c in fleet.items():
            plan = found.plans[name]
            assert order_layers(plan, c.overrides) == plan
            flat = [(i, p) for i, layer in enumerate(plan.layers) for p in layer]
            at = {p.name: (i, -n) for n, (i, p) in enumerate(flat)}
            assert at["new"] > at["old"]


def test_limits() -> None:
    one = {"one": of(stub("a"), stub("b")), "none": of()}
    assert len(fleet_plan(one, {"one": 1, "none": 1}).plans["one"]) == 1
    assert fleet_plan(one, 5).plans["none"].layers == ()
    with pytest.raises(LayerLimitError):
        fleet_plan(one, 0)


def test_many_images_share_what_is_worth_a_layer() -> None:
    """A common base, several groups of images with something in common, and each one's own."""
    chance = random.Random(7)
    base = [stub(f"base{i}", int(10 ** chance.uniform(5, 7))) for i in range(12)]
    groups = [[stub(f"g{g}-{i}", 3 * 10**6) for i in range(4)] for g in range(4)]
    fleet = {
        f"i{n}": of(
            *base,
            *(p for g in sorted({n % 4, n % 3}) for p in groups[g]),
            *(stub(f"own{n}-{i}") for i in range(5)),
        )
        for n in range(12)
    }
    names = {p.name for c in fleet.values() for p in c.packages}
    known = history({n: [w for w in range(40) if chance.random() < 0.05] for n in sorted(names)})
    model = model_of(fleet, known)
    packages = {p.key: p for c in fleet.values() for p in c.packages}
    found = planned(fleet, 8, known)
    alone = [HistoryPlanner(known, layer_cost_bytes=COST)(c, 8).layers for c in fleet.values()]
    # No plan can store less than each package once, nor pull less than each image's own best.
    least = sum(c.size_bytes for c in fleet.values()) + sum(
        p.size_bytes * (1 + HORIZON * model.chance([p])) for p in packages.values()
    )
    least += HORIZON * sum(model.cost(layers) for layers in alone)
    # It wins at least a third of what could be won at most.
    by_fleet, by_itself = cost(layers_of(found), model), cost(alone, model)
    assert least < by_fleet < by_itself - (by_itself - least) / 3
