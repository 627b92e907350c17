"""The planner that goes by when packages changed."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.closures import Stub, closures

from nbdock.errors import ArgumentError
from nbdock.layering import HistoryPlanner, LayerPlan, label_of, order_layers, planner_of
from nbdock.layering.history import ChangeModel
from nbdock.packages import ChangeHistory, Closure, text_file

START = dt.date(2024, 1, 1)
WEEKS = 60


def weeks(*numbers: int) -> tuple[dt.date, ...]:
    return tuple(START + dt.timedelta(days=7 * n) for n in numbers)


def history(
    changes: Mapping[str, Sequence[int]], sources: Mapping[str, str] | None = None
) -> ChangeHistory:
    end = START + dt.timedelta(days=7 * WEEKS)
    return ChangeHistory({n: weeks(*w) for n, w in changes.items()}, sources or {}, START, end)


def of(*packages: Stub, overrides: tuple[tuple[str, str], ...] = ()) -> Closure:
    return Closure(packages, {p.key: () for p in packages}, (), overrides)


def names(plan: LayerPlan) -> list[str]:
    return [" ".join(p.name for p in layer) for layer in plan.layers]


ALWAYS, OFTEN, NEVER = range(WEEKS), range(0, WEEKS, 4), ()


def test_what_changes_often_is_apart_and_on_top() -> None:
    c = of(
        Stub("big", bytes=10**8),
        Stub("app", bytes=10**6),
        Stub("conf", bytes=10**5),
        Stub("os", bytes=10**7),
    )
    known = history({"big": NEVER, "os": NEVER, "app": ALWAYS, "conf": OFTEN})
    assert names(HistoryPlanner(known)(c, 2)) == ["big os", "app conf"]
    plan = HistoryPlanner(known)(c, 4)
    assert names(plan)[-1] == "app"
    assert (plan.planner, plan.limit) == ("history", 4)


def test_packages_of_one_source_stay_together() -> None:
    c = of(*(Stub(n, bytes=10**7) for n in ("a1", "a2", "b")))
    known = history({"a1": OFTEN, "a2": OFTEN, "b": OFTEN}, {"a1": "a", "a2": "a"})
    assert names(HistoryPlanner(known)(c, 2)) in (["a1 a2", "b"], ["b", "a1 a2"])
    assert len(HistoryPlanner(known)(c, 9)) == 2  # a layer more would only cost requests


def test_what_of_a_source_did_not_change_together_is_parted_when_that_pays() -> None:
    c = of(Stub("lib", bytes=10**8), Stub("data", bytes=10**8), Stub("x", bytes=10**7))
    known = history({"lib": ALWAYS, "data": [3], "x": NEVER}, {"lib": "s", "data": "s"})
    assert names(HistoryPlanner(known)(c, 2)) == ["data x", "lib"]
    model = ChangeModel.of(c.packages, known)
    lib, data, _ = c.packages
    assert set(model.events[data.key]) < set(model.events[lib.key])
    assert model.chance([lib]) == pytest.approx(known.rates(7)["lib"])


def test_files_of_ones_own_are_restless() -> None:
    own = text_file("etc/motd", "hi" * 100)
    c = Closure((own, Stub("a", bytes=10**7), Stub("b", bytes=10**7)), {}, ())
    plan = HistoryPlanner(history({"a": NEVER, "b": NEVER}))(c, 2)
    assert names(plan) == ["a b", "motd"]


def test_a_layer_costs_something(monkeypatch: pytest.MonkeyPatch) -> None:
    c = of(*(Stub(n, bytes=1000) for n in "abcdef"))
    known = history(dict.fromkeys("abcdef", OFTEN))
    assert len(HistoryPlanner(known, layer_cost_bytes=0)(c, 6)) == 6
    assert len(HistoryPlanner(known, layer_cost_bytes=10**9)(c, 6)) == 1
    monkeypatch.setenv("NBDOCK_LAYER_COST_BYTES", str(10**9))
    assert len(HistoryPlanner(known)(c, 6)) == 1


@pytest.mark.parametrize(
    "wrong", [{"layer_cost_bytes": -1}, {"horizon_rebuilds": 0}, {"layer_cost_bytes": True}]
)
def test_wrong_numbers(wrong: dict[str, int]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        HistoryPlanner(history({}), **wrong)


@given(closures(), st.integers(1, 6), st.randoms(use_true_random=False), st.data())
@settings(max_examples=80, deadline=None)
def test_whatever_the_input_order(
    c: Closure, limit: int, chance: random.Random, data: st.DataObject
) -> None:
    some = st.lists(st.integers(0, WEEKS - 1), max_size=5, unique=True).map(sorted)
    changes = {p.name: data.draw(some) for p in c.packages if data.draw(st.booleans())}
    planner = HistoryPlanner(history(changes))
    plan = planner(c, limit)
    assert sorted(p.key for layer in plan.layers for p in layer) == sorted(c.by_key)
    assert len(plan) <= limit
    assert planner_of(planner) is planner
    mixed = Closure(tuple(chance.sample(c.packages, len(c))), c.references, c.roots)
    shuffled = dict(chance.sample(list(changes.items()), len(changes)))
    assert HistoryPlanner(history(shuffled))(mixed, limit) == plan


def test_winners_can_stand_above_losers_in_as_many_layers() -> None:
    # By size and chance a with d, b with c; but a wins over b, and c over d.
    c = of(
        Stub("a", bytes=10**8),
        Stub("d", bytes=10**8),
        Stub("b", bytes=10**6),
        Stub("c", bytes=10**6),
        overrides=(("a", "b"), ("c", "d")),
    )
    known = history({"a": NEVER, "d": NEVER, "b": ALWAYS, "c": ALWAYS})
    plan = HistoryPlanner(known)(c, 2)
    ordered = order_layers(plan, c.overrides)
    assert len(ordered) == len(plan) == 2
    at = {p.name: i for i, layer in enumerate(ordered.layers) for p in layer}
    assert at["a"] >= at["b"]
    assert at["c"] >= at["d"]


class TestPrevious:
    """Planning anew, with the plan of the image that is rebuilt."""

    packages = tuple(
        Stub(n, "1", bytes=size, at=f"{n}-1")
        for n, size in {"a": 9 * 10**7, "b": 8 * 10**7, "c": 7 * 10**7, "d": 10**6}.items()
    )
    known = history({"a": NEVER, "b": range(0, WEEKS, 30), "c": range(0, WEEKS, 10), "d": ALWAYS})

    def bumped(self, name: str) -> Closure:
        return of(*(
            Stub(p.name, "2", bytes=p.bytes, at=f"{p.name}-2") if p.name == name else p
            for p in self.packages
        ))  # fmt: skip

    def test_the_same_packages_keep_their_layers(self) -> None:
        c = of(*self.packages)
        odd = LayerPlan(((c["d-1"], c["a-1"]), (c["c-1"], c["b-1"])), 3, "other")
        kept = HistoryPlanner(self.known, previous=odd, horizon_rebuilds=1)(c, 3)
        assert {tuple(p.key for p in layer) for layer in kept.layers} == {
            ("d-1", "a-1"),
            ("c-1", "b-1"),
        }
        # In the long run it is worth it: d changes always.
        moved = HistoryPlanner(self.known, previous=odd, horizon_rebuilds=1000)(c, 3)
        assert frozenset(["d-1"]) in {frozenset(p.key for p in layer) for layer in moved.layers}

    def test_what_changed_is_free_to_move(self) -> None:
        c = of(*self.packages)
        old = LayerPlan(((c["a-1"],), (c["b-1"], c["c-1"], c["d-1"])), 3, "other")
        plan = HistoryPlanner(self.known, previous=old, horizon_rebuilds=1)(self.bumped("d"), 3)
        assert frozenset(["a-1"]) in {frozenset(p.key for p in layer) for layer in plan.layers}
        assert frozenset(["d-2"]) in {frozenset(p.key for p in layer) for layer in plan.layers}

    @given(st.randoms(use_true_random=False), st.integers(1, 40))
    @settings(max_examples=60, deadline=None)
    def test_planning_anew_never_costs_more_than_keeping(
        self, chance: random.Random, horizon: int
    ) -> None:
        count = chance.randint(2, 7)
        stubs = [
            Stub(f"p{i}", "1", bytes=int(10 ** chance.uniform(4, 8)), at=f"p{i}-1")
            for i in range(count)
        ]
        known = history(
            {p.name: sorted(chance.sample(range(WEEKS), chance.randint(0, 20))) for p in stubs}
        )
        at = [chance.randrange(3) for _ in stubs]
        layers = [tuple(p for p, n in zip(stubs, at, strict=True) if n == i) for i in range(3)]
        old = LayerPlan(tuple(layer for layer in layers if layer), 3, "other")
        now = [
            Stub(p.name, "2", bytes=p.bytes, at=f"{p.name}-2") if chance.random() < 0.3 else p
            for p in stubs
        ]
        plan = HistoryPlanner(known, previous=old, horizon_rebuilds=horizon)(of(*now), 3)
        model = ChangeModel.of(now, known)
        there = {frozenset(p.key for p in layer) for layer in old.layers}
        newer = {p.name: p for p in now}
        keeping = [[newer[p.name] for p in layer] for layer in old.layers]

        def total(layers: Sequence[Sequence[Stub]]) -> float:
            pulled = sum(
                p.size_bytes for layer in layers
                if frozenset(p.key for p in layer) not in there for p in layer
            )  # fmt: skip
            return horizon * model.cost(layers) + pulled

        assert total(plan.layers) <= total(keeping) * (1 + 1e-9)  # type: ignore[arg-type]

    def test_labels_of_an_image_will_do(self) -> None:
        c = of(*self.packages)
        labels = [[label_of(p) for p in c.packages[:2]], ["d=1"], ["gone=1", "c=1"]]
        plan = HistoryPlanner(self.known, previous=labels, horizon_rebuilds=1)(c, 3)
        assert {"a b", "d", "c"} == set(names(plan))

    def test_fewer_layers_than_before(self) -> None:
        c = of(*self.packages)
        old = LayerPlan(tuple((p,) for p in c.packages), 4, "other")
        assert len(HistoryPlanner(self.known, previous=old)(c, 2)) == 2
        new = of(*self.packages, Stub("new", bytes=5))
        assert len(HistoryPlanner(self.known, previous=old)(new, 4)) <= 4
        assert len(HistoryPlanner(self.known, previous=old)(of(), 4)) == 0
