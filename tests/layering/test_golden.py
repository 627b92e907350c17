"""Layers and their order against what nixpkgs' own planners made of the same graphs.

``golden.json`` was made once, by running nixpkgs' planners (`auto`, `pipeline`) on random graphs:
a graph is a list of [path, size, references], layers are lists of places in it, and ``@3`` in a
pipeline is the fourth path. Of `auto`, ``ordered`` says that no two sums of sizes are equal:
nixpkgs leaves the order of layers with equally large closures to chance.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.closures import stub_in_store

from nbdock.layering import ImageRoot, LayerPlan, Pipeline, auto_plan, popularity_plan
from nbdock.packages import Closure

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())


def closure_of(graph: list[Any]) -> Closure:
    packages = [stub_in_store(base_name, size) for base_name, size, _ in graph]
    references = {
        package.key: tuple(packages[t].key for t in targets if packages[t] != package)
        for package, (_, _, targets) in zip(packages, graph, strict=True)
    }
    return Closure(tuple(reversed(packages)), references, ())


def places(plan: LayerPlan, graph: list[Any]) -> list[list[int]]:
    place = {f"/nix/store/{node[0]}": i for i, node in enumerate(graph)}
    return [[place[p.root] for p in layer] for layer in plan.layers]


@pytest.mark.parametrize("case", GOLDEN["auto"])
def test_auto(case: dict[str, Any]) -> None:
    graph = case["graph"]
    roots = [
        ImageRoot(size, tuple(f"/nix/store/{graph[t][0]}" for t in targets))
        for size, targets in case["roots"]
    ]
    made = places(auto_plan(closure_of(graph), case["limit"], image_roots=roots), graph)
    assert sorted(made) == sorted(case["layers"])
    if case["ordered"]:
        assert made == case["layers"]


@pytest.mark.parametrize("case", GOLDEN["pipeline"])
def test_pipeline(case: dict[str, Any]) -> None:
    graph = case["graph"]
    text = json.dumps(case["pipeline"])
    for i, (base_name, _, _) in enumerate(graph):
        text = text.replace(f'"@{i}"', f'"/nix/store/{base_name}"')
    plan = Pipeline(json.loads(text))(closure_of(graph), 1000)
    assert places(plan, graph) == case["layers"]
    # The same as text.
    assert places(Pipeline(text)(closure_of(graph), 1000), graph) == case["layers"]


@pytest.mark.parametrize("case", [c for c in GOLDEN["pipeline"] if len(c["pipeline"]) == 1])
def test_popularity_is_its_pipeline(case: dict[str, Any]) -> None:
    if case["pipeline"] == [["popularity_contest"]]:
        assert (
            places(popularity_plan(closure_of(case["graph"]), 1000), case["graph"])
            == (case["layers"])
        )
