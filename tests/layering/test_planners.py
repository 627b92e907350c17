"""What every planner promises, and what is made of names, pipelines and functions."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.closures import Stub, closure, closures

import nbdock
from nbdock.errors import ArgumentError, ArgumentTypeError, LayerLimitError, PackageError
from nbdock.layering import LayerPlan, order_layers, planner_of, planners, popularity_plan
from nbdock.packages import Closure, Package

Plan = Callable[[Closure, int], LayerPlan]


def by_name(closure: Closure, limit: int) -> list[list[Package]]:
    """A planner that somebody wrote."""
    ordered = sorted(closure.packages, key=lambda p: p.sort_key)
    return [ordered[i::limit] for i in range(min(limit, len(ordered)))]


STRATEGIES: list[Any] = [
    "popularity",
    "auto",
    "history",
    "size",
    "chunked",
    "pipeline",
    [],
    [["split_every", 2]],
    [["subcomponent_out", ["p0", "p3"]], ["over", "rest", ["popularity_contest"]]],
    [["split_paths", ["p1", {"children_of": ["p2"]}]],
     ["over", "main", ["popularity_contest"]], ["flatten"], ["reverse"]],
    by_name,
]  # fmt: skip
strategies = st.sampled_from(STRATEGIES)


def flat(plan: LayerPlan) -> list[str]:
    return sorted(p.key for layer in plan.layers for p in layer)


def keys(plan: LayerPlan) -> list[list[str]]:
    return [[p.key for p in layer] for layer in plan.layers]


@given(strategies, closures(), st.integers(1, 12), st.randoms(use_true_random=False))
def test_every_package_once_within_the_limit_whatever_the_input_order(
    strategy: Any, c: Closure, limit: int, chance: random.Random
) -> None:
    plan = planner_of(strategy)(c, limit)
    assert flat(plan) == sorted(c.by_key)
    assert len(plan) <= limit
    assert all(plan.layers)
    assert plan.limit == limit

    packages = chance.sample(c.packages, len(c))
    roots = chance.sample(c.roots, len(c.roots))
    references = {p.key: c.references[p.key][::-1] for p in packages}
    again = planner_of(strategy)(Closure(tuple(packages), references, tuple(roots)), limit)
    assert keys(again) == keys(plan)


@given(strategies, closures(), st.data())
def test_winners_stand_above_whatever_the_planner(
    strategy: Any, c: Closure, data: st.DataObject
) -> None:
    plan = planner_of(strategy)(c, 5)
    some = st.sampled_from([p.key for p in c.packages] or ["none"])
    pairs = data.draw(st.lists(st.tuples(some, some), max_size=3))
    ordered = order_layers(plan, pairs)
    assert flat(ordered) == flat(plan)
    layer_of = {key: i for i, layer in enumerate(keys(ordered)) for key in layer}
    assert all(layer_of[w] >= layer_of[s] for w, s in pairs if w in layer_of)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_edges(strategy: Any) -> None:
    plan = planner_of(strategy)
    assert plan(Closure((), {}, ()), 3).layers == ()
    assert keys(plan(closure({"p0": []}), 1)) == [["p0"]]
    three = closure({"p0": ["p1"], "p1": [], "p2": []})
    assert [len(layer) for layer in plan(three, 1).layers] == [3]
    with pytest.raises(LayerLimitError):
        plan(three, 0)


@pytest.mark.parametrize("name", ["popularity", "auto", "pipeline"])
def test_a_reference_out_of_the_closure_is_refused(name: str) -> None:
    with pytest.raises(PackageError, match="ghost"):
        planners()[name](Closure((Stub("a"),), {"a": ("ghost",)}, ("a",)), 9)


def test_planners_are_listed() -> None:
    names = ["popularity", "auto", "history", "size", "chunked", "pipeline"]
    assert list(nbdock.planners()) == names
    assert len(planners()) == 6
    assert repr(planners()) == "<Planners: popularity, auto, history, size, chunked, pipeline>"
    table = planners().table()
    assert list(table.index) == names
    assert table.index.name == "name"
    assert all(table["description"])
    for name, planner in planners().items():
        assert planner.name == name
        assert planner(closure({"a": []}), 3).planner == name
    with pytest.raises(KeyError):
        planners()["nothing"]


def test_the_plan_names_its_planner() -> None:
    c = closure({"a": []})
    assert planner_of([["split_every", 1]])(c, 3).planner == "pipeline"
    assert planner_of(by_name)(c, 3).planner == "by_name"
    assert planner_of(popularity_plan)(c, 3).planner == "popularity"
    assert planner_of(lambda c, limit: popularity_plan(c, limit - 1))(c, 3).limit == 3
    assert planner_of(planners()["auto"]) is planners()["auto"]
    pipeline = planner_of([])
    assert planner_of(pipeline) is pipeline


@pytest.mark.parametrize(
    ("strategy", "message", "hint"),
    [
        ("popularty", "There is no planner 'popularty'", 'Did you mean "popularity"?'),
        (
            "zzz",
            "There is no planner 'zzz'",
            "Planners: popularity, auto, history, size, chunked, pipeline.",
        ),
        (None, "strategy must be the name of a planner, a pipeline or a function", "Planners"),
        (7, "not 7", "Planners"),
        ({"auto": 1}, "not {'auto': 1}", "Planners"),
        ("nowhere.json", "strategy cannot be read from 'nowhere.json'", "JSON file"),
        ([["flaten"]], "strategy[0] names", "Did you mean flatten?"),
    ],
)
def test_what_is_no_planner(strategy: Any, message: str, hint: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        planner_of(strategy)
    assert message in caught.value.message
    assert hint in str(caught.value.hint)
    assert caught.value.argument == "strategy"


A, B, FOREIGN = Stub("a"), Stub("b"), Stub("foreign")


async def asynchronous(closure: Closure, limit: int) -> list[list[Package]]:
    return []


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (None, "it gave None"),
        ("ab", "it gave 'ab'"),
        ({"a": [A, B]}, "it gave {"),
        ([A, B], "its layer 0 is <Stub a>"),
        ([[A], "b"], "its layer 1 is 'b'"),
        ([[A, "b"]], "its layer 0 holds 'b'"),
        ([[A], [], [B]], "its layer 1 is empty"),
        ([[A]], "left out b."),
        ([], "left out a, b."),
        ([[A, B], [A]], "put a into a layer more than once"),
        ([[A, A, B]], "put a into a layer more than once"),
        ([[A, B], [FOREIGN]], "put foreign into a layer, which the closure does not hold"),
        ([[A], [B]], "made 2 layers, and there may be 1."),
        (LayerPlan(((A,),), 1, "mine"), "left out b."),
    ],
)
def test_what_is_no_plan(made: Any, message: str) -> None:
    def mine(closure: Closure, limit: int) -> Any:
        return made

    with pytest.raises(ArgumentError) as caught:
        planner_of(mine, argument="layering")(closure({"a": [], "b": []}), 1)
    assert message in caught.value.message
    assert "planner mine" in caught.value.message
    assert caught.value.argument == "layering"
    assert caught.value.hint


def test_a_function_must_not_be_async() -> None:
    with pytest.raises(ArgumentTypeError, match="must not be async"):
        planner_of(asynchronous)(closure({"a": []}), 1)


def test_what_a_function_raises_is_left_as_it_is() -> None:
    def broken(closure: Closure, limit: int) -> Any:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        planner_of(broken)(closure({"a": []}), 1)


def test_generators_are_plans_too() -> None:
    def lazy(closure: Closure, limit: int) -> Any:
        return (iter([package]) for package in closure.packages)

    plan = planner_of(lazy)(closure({"a": [], "b": []}), 2)
    assert keys(plan) == [["a"], ["b"]]


def test_many_missing_packages_are_counted() -> None:
    c = closure({f"p{i}": [] for i in range(9)})
    with pytest.raises(ArgumentError, match="left out p0, p1, p2 and 6 more"):
        planner_of(lambda c, limit: [])(c, 3)
