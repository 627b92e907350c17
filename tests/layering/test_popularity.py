"""The popularity contest: counts against the recursion of nixpkgs, plans against their promises."""

from __future__ import annotations

import itertools
import time

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.closures import Stub, closure, graphs, stub_in_store

from nbdock.errors import ArgumentTypeError, LayerLimitError, PackageError
from nbdock.layering import (
    LayerPlan,
    check_layer_limit,
    order_layers,
    popularity,
    popularity_plan,
)
from nbdock.packages import Closure


def counts(c: Closure) -> dict[str, int]:
    return {p.name: n for p, n in popularity(c)}


def as_nixpkgs_counts(references: dict[str, list[str]]) -> dict[str, int]:
    """The recursion over weighted trees, as the reference states it."""
    called = {t for ts in references.values() for t in ts}
    children = dict(references) | {None: [n for n in references if n not in called]}

    def weights(node: str | None) -> dict[str, int]:
        found: dict[str, int] = {}
        for child in children.get(node, ()):
            found[child] = found.get(child, 0) + 1
            for name, n in weights(child).items():
                found[name] = found.get(name, 0) + n + 1
        return found

    return weights(None)


def test_worked_example() -> None:
    graph = {"foo": ["bar", "baz"], "bar": ["baz"], "baz": ["tux"], "tux": []}
    assert [(p.name, n) for p, n in popularity(closure(graph))] == [
        ("tux", 6), ("baz", 4), ("bar", 2), ("foo", 1),
    ]  # fmt: skip


@given(graphs(acyclic=True))
def test_counts_are_those_of_the_recursion(graph: dict[str, list[str]]) -> None:
    assert counts(closure(graph)) == as_nixpkgs_counts(graph)


@given(graphs(acyclic=False))
def test_a_cycle_counts_as_one_package(graph: dict[str, list[str]]) -> None:
    oracle = nx.DiGraph([(a, b) for a, ts in graph.items() for b in ts])
    oracle.add_nodes_from(graph)
    condensed = nx.condensation(oracle)
    dag = {str(c): [str(d) for d in condensed.successors(c)] for c in condensed}
    of_component = as_nixpkgs_counts(dag)
    member = condensed.graph["mapping"]
    assert counts(closure(graph)) == {n: of_component[str(member[n])] for n in graph}


def test_self_references_do_not_count_nor_hide_a_root() -> None:
    assert counts(closure({"a": ["a", "b"], "b": ["b"]})) == {"a": 1, "b": 2}


def test_ties_ascend_by_name_with_the_hash_last() -> None:
    packages = (
        Stub("zlib", at="/nix/store/aaa-zlib"),
        Stub("attr", at="/nix/store/zzz-attr"),
        Stub("attr", at="/nix/store/bbb-attr"),
        Stub("attr", "2", at="/nix/store/aab-attr"),
    )
    c = Closure(packages, {}, ())
    assert [p.key[11:14] for p, _ in popularity(c)] == ["bbb", "zzz", "aab", "aaa"]


def test_ties_in_a_store_are_those_of_the_path_with_its_hash_moved_to_the_end() -> None:
    names = ["b-gtk", "a-gtk+", "c-gtk-2", "a-gtk2", "a-gtk"]
    c = Closure(tuple(map(stub_in_store, names)), {}, ())
    # "+" and "-2" sort before the "-" and "/" that follow a bare name.
    assert [p.root[11:] for p, _ in popularity(c)] == [
        "a-gtk+", "a-gtk", "b-gtk", "c-gtk-2", "a-gtk2",
    ]  # fmt: skip


def test_counts_stay_exact_where_paths_explode() -> None:
    depth = 200
    graph = {f"{i:04}": [f"{j:04}" for j in range(i + 1, depth)] for i in range(depth)}
    found = counts(closure(graph))
    assert found["0199"] == 2**199
    assert found["0000"] == 1


def test_a_reference_out_of_the_closure_is_refused() -> None:
    with pytest.raises(PackageError, match="ghost"):
        popularity(Closure((Stub("a"),), {"a": ("ghost",)}, ("a",)))


def test_ten_thousand_packages_with_a_hundred_thousand_references_are_quick() -> None:
    n = 10_000
    names = [f"p{i:05}" for i in range(n)]
    references = {
        names[i]: tuple({names[i + 1 + (i * 7919 + k * 104_729) % (n - 1 - i)] for k in range(10)})
        for i in range(n - 1)
    }
    c = Closure(tuple(map(Stub, names)), references, ())
    start = time.process_time()
    plan = popularity_plan(c, 99)
    assert time.process_time() - start < 6  # 1 s alone on the machine this was written on
    assert len(plan) == 99


@given(graphs(acyclic=False), st.integers(1, 12), st.data())
def test_a_plan_covers_once_keeps_the_limit_and_ignores_input_order(
    graph: dict[str, list[str]], limit: int, data: st.DataObject
) -> None:
    c = closure(graph)
    plan = popularity_plan(c, limit)
    keys = [p.key for layer in plan.layers for p in layer]
    assert sorted(keys) == sorted(p.key for p in c.packages)
    assert len(plan) <= limit
    assert all(len(layer) == 1 for layer in plan.layers[:-1])
    assert all(plan.layers)
    ranked = [p.key for p, _ in popularity(c)]
    assert keys == ranked  # in the shared layer too, as nixpkgs merges it

    shuffled = data.draw(st.permutations(c.packages))
    references = {k: tuple(reversed(c.references[k])) for k in reversed(list(c.references))}
    again = popularity_plan(Closure(tuple(shuffled), references, ()), limit)
    assert [[p.key for p in layer] for layer in again.layers] == [
        [p.key for p in layer] for layer in plan.layers
    ]


def test_an_empty_closure_has_an_empty_plan() -> None:
    assert popularity_plan(Closure((), {}, ()), 5).layers == ()


def test_a_plan_needs_a_layer() -> None:
    with pytest.raises(LayerLimitError):
        popularity_plan(closure({"a": []}), 0)


def test_limits() -> None:
    assert check_layer_limit() == 99
    assert check_layer_limit(2) == 1
    assert check_layer_limit(125) == 124
    assert check_layer_limit(4, base_layers=2) == 1
    for wrong in (1, 0, -3, 126):
        with pytest.raises(LayerLimitError, match=str(wrong)):
            check_layer_limit(wrong)
    with pytest.raises(LayerLimitError, match="3 layers") as caught:
        check_layer_limit(4, base_layers=3)
    assert caught.value.hint == "Give max_layers = 5 or more."
    with pytest.raises(LayerLimitError) as caught:
        check_layer_limit(100, base_layers=124)
    assert "Flatten" in str(caught.value)
    for wrong_type in (True, "100", 10.0):
        with pytest.raises(ArgumentTypeError):
            check_layer_limit(wrong_type)  # type: ignore[arg-type]


def plan_of(*layers: str) -> LayerPlan:
    return LayerPlan(tuple(tuple(Stub(n) for n in layer) for layer in layers), 99, "test")


def names(plan: LayerPlan) -> list[str]:
    return ["".join(p.name for p in layer) for layer in plan.layers]


@pytest.mark.parametrize(
    ("layers", "overrides", "expected"),
    [
        (["a", "b", "c"], [], ["a", "b", "c"]),
        (["a", "b", "c"], [("b", "a")], ["a", "b", "c"]),
        (["a", "b", "c"], [("a", "b")], ["b", "a", "c"]),
        (["a", "b", "c"], [("a", "c")], ["b", "c", "a"]),
        (["a", "bc"], [("c", "b")], ["a", "cb"]),
        (["a", "bc"], [("c", "a"), ("a", "b")], ["cab"]),
        (["a", "b", "cd"], [("a", "c"), ("d", "a")], ["dac", "b"]),
        (["a", "b"], [("a", "b"), ("b", "a")], ["ab"]),
        (["a", "b"], [("a", "elsewhere"), ("a", "a")], ["a", "b"]),
    ],
)
def test_winners_stand_above(
    layers: list[str], overrides: list[tuple[str, str]], expected: list[str]
) -> None:
    assert names(order_layers(plan_of(*layers), overrides)) == expected


@given(st.data())
def test_order_layers_promises(data: st.DataObject) -> None:
    letters = "abcdefgh"
    cuts = sorted(data.draw(st.sets(st.integers(1, 7))))
    bounds = [0, *cuts, 8]
    plan = plan_of(*(letters[i:j] for i, j in itertools.pairwise(bounds)))
    pairs = data.draw(
        st.lists(st.tuples(st.sampled_from(letters), st.sampled_from(letters)), max_size=8)
    )
    ordered = order_layers(plan, pairs)
    assert sorted("".join(names(ordered))) == list(letters)
    assert names(order_layers(plan, reversed(pairs))) == names(ordered)
    graph = nx.DiGraph([p for p in pairs if p[0] != p[1]])
    layer_of = {n: i for i, layer in enumerate(names(ordered)) for n in layer}
    flat = {n: i for i, n in enumerate("".join(names(ordered)))}
    for winner, loser in graph.edges:
        assert layer_of[winner] >= layer_of[loser]
        if layer_of[winner] == layer_of[loser] and not nx.has_path(graph, loser, winner):
            assert flat[winner] < flat[loser]
    # Only layers on a cycle of layers were merged.
    before = {n: i for i, layer in enumerate(names(plan)) for n in layer}
    cycles = nx.DiGraph([(before[a], before[b]) for a, b in graph.edges])
    cycles.add_nodes_from(before.values())
    assert len(ordered) == nx.number_strongly_connected_components(cycles)


def test_a_plan_as_rows_and_table() -> None:
    plan = LayerPlan(((Stub("a", bytes=1),), (Stub("b", bytes=2), Stub("c", bytes=3))), 9, "test")
    assert [(r.position, r.packages, r.size_bytes, r.names) for r in plan.rows()] == [
        (0, 1, 1, ("a",)),
        (1, 2, 5, ("b", "c")),
    ]
    table = plan.table()
    assert list(table.columns) == ["packages", "size_bytes", "names"]
    assert list(table["size_bytes"]) == [1, 5]
    assert repr(plan) == "<LayerPlan test: 3 packages in 2 layers>"
    assert list(LayerPlan((), 9, "test").table().columns) == ["packages", "size_bytes", "names"]
