"""Automatic layering: what the heads gather, what the image itself takes, cycles, speed."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence

import networkx as nx
from hypothesis import given
from hypothesis import strategies as st
from support.closures import Stub, closures

from nbdock.layering import ImageRoot, LayerPlan, auto_plan
from nbdock.packages import Closure


def sized(references: Mapping[str, Sequence[str]], sizes: Mapping[str, int]) -> Closure:
    called = {t for ts in references.values() for t in ts}
    names = sorted({*references, *called})
    return Closure(
        tuple(Stub(n, bytes=sizes[n]) for n in names),
        {n: tuple(references.get(n, ())) for n in names},
        tuple(n for n in names if n not in called),
    )


def names(plan: LayerPlan) -> list[str]:
    return ["".join(p.name for p in layer) for layer in plan.layers]


def test_a_head_gathers_what_only_it_needs_and_shared_needs_stay_together() -> None:
    graph = {"a": ["c", "x"], "b": ["c", "y"], "c": ["d"], "x": [], "y": [], "d": []}
    c = sized(graph, {"a": 900, "b": 800, "c": 10, "d": 9, "x": 8, "y": 7})
    # a with x, b with y; c and d are for both.
    assert names(auto_plan(c, 3, image_roots=())) == ["cd", "by", "ax"]
    # Another head takes two layers more: its own, and that of what it shares.
    assert names(auto_plan(c, 2, image_roots=())) == ["by", "acdx"]
    assert names(auto_plan(c, 1, image_roots=())) == ["abcdxy"]


def test_the_images_own_files_are_counted_as_in_nixpkgs() -> None:
    c = sized({"a": [], "b": [], "c": []}, {"a": 30_000, "b": 20_000, "c": 5_000})
    assert names(auto_plan(c, 3, image_roots=())) == ["c", "b", "a"]
    # The configuration holds a layer of its own, and so does the top layer when it was a head.
    assert names(auto_plan(c, 3)) == ["b", "a", "c"]
    assert names(auto_plan(c, 4)) == ["b", "a", "c"]
    assert names(auto_plan(c, 5)) == ["c", "b", "a"]
    # A top layer that is smaller has its turn later, and so has c.
    around = (ImageRoot(4_000, ("a", "b", "c")), ImageRoot(300, ()))
    assert names(auto_plan(c, 4, image_roots=around)) == ["c", "b", "a"]


def test_layers_stand_above_what_they_need() -> None:
    chain = {f"{i:03}": [f"{i + 1:03}"] for i in range(40)}
    c = sized(chain, {f"{i:03}": 0 for i in range(41)})  # even where nothing has a size
    seen: set[str] = set()
    for layer in auto_plan(c, 20).layers:
        inside = {p.key for p in layer}
        assert all(set(c.references[key]) <= seen | inside for key in inside)
        seen |= inside


def test_a_cycle_counts_as_one_package() -> None:
    graph = {"a": ["b"], "b": ["a", "c"], "c": [], "z": ["c"]}
    c = sized(graph, {"a": 1, "b": 600, "c": 50, "z": 500})
    assert names(auto_plan(c, 99)) == ["c", "z", "ab"]


@given(closures(), st.integers(1, 12))
def test_with_room_for_all_every_cycle_has_a_layer(c: Closure, spare: int) -> None:
    graph = nx.DiGraph([(key, target) for key, ts in c.references.items() for target in ts])
    graph.add_nodes_from(p.key for p in c.packages)
    cycles = {frozenset(group) for group in nx.strongly_connected_components(graph)}
    plan = auto_plan(c, len(c) + 2 + spare)
    assert {frozenset(p.key for p in layer) for layer in plan.layers} == cycles


def test_references_of_the_images_files_to_what_is_not_in_the_closure_do_not_count() -> None:
    c = sized({"a": []}, {"a": 1})
    assert names(auto_plan(c, 9, image_roots=[ImageRoot(5, ("gone", "a"))])) == ["a"]


def test_ten_thousand_packages_are_quick() -> None:
    chance = random.Random(7)
    n = 10_000
    graph = {
        f"p{i:05}": tuple({f"p{chance.randrange(i):05}" for _ in range(10)}) for i in range(1, n)
    } | {"p00000": ()}
    sizes = {name: chance.randrange(1 << 24) for name in graph}
    c = sized(graph, sizes)
    start = time.process_time()
    plan = auto_plan(c, 99)
    assert time.process_time() - start < 6  # 0.4 s alone on the machine this was written on
    assert 1 < len(plan) <= 99
