"""`explore_closure`: the drawing, the model, the picture, and Mermaid's text."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nbdock
from nbdock.concurrency import run
from nbdock.errors import ArgumentError
from nbdock.notebook.explore.closure import ClosureExplorer, explore_closure
from nbdock.notebook.explore.closuremodel import ClosureModel, line_path
from nbdock.notebook.explore.closurepicture import closure_mermaid, closure_svg
from nbdock.notebook.explore.layered import ROW, isotonic, layered

graphs = st.integers(1, 24).flatmap(
    lambda count: st.tuples(
        st.just(count),
        st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), max_size=60),
    )
)


def graph_of(count: int, edges: list[tuple[int, int]]) -> nx.DiGraph:
    graph = nx.DiGraph()
    graph.add_nodes_from(range(count))
    graph.add_edges_from((a, b) for a, b in edges if a != b)
    return graph


def drawn(count: int, edges: list[tuple[int, int]]):
    return layered(graph_of(count, edges), width_of=lambda node: 40 + node)


@given(graphs)
def test_every_node_is_drawn_once_and_boxes_are_cycles(given_graph) -> None:
    graph, drawing = graph_of(*given_graph), drawn(*given_graph)
    assert sorted(n for box in drawing.boxes for n in box.members) == sorted(graph)
    expected = {frozenset(group) for group in nx.strongly_connected_components(graph)}
    assert {frozenset(box.members) for box in drawing.boxes} == expected


@given(graphs)
def test_lines_go_right_and_say_all_that_is_needed(given_graph) -> None:
    graph, drawing = graph_of(*given_graph), drawn(*given_graph)
    lines = nx.DiGraph()
    lines.add_nodes_from(range(len(drawing.boxes)))
    for line in drawing.lines:
        lines.add_edge(line.source, line.target)
        source, target = drawing.boxes[line.source], drawing.boxes[line.target]
        assert source.column < target.column
        xs = [x for x, _ in line.points]
        assert xs == sorted(xs)
        assert line.points[0][0] == source.x + source.width
        assert line.points[-1][0] == target.x
    where = {node: i for i, box in enumerate(drawing.boxes) for node in box.members}
    reached = nx.transitive_closure(lines, reflexive=True)
    assert all(reached.has_edge(where[a], where[b]) for a, b in graph.edges)
    # And nothing that is not: a line is a way in the graph.
    ways = nx.transitive_closure(graph)
    for line in drawing.lines:
        a, b = drawing.boxes[line.source].members[0], drawing.boxes[line.target].members[0]
        assert ways.has_edge(a, b)


@given(graphs)
def test_boxes_do_not_overlap_and_are_in_the_picture(given_graph) -> None:
    drawing = drawn(*given_graph)
    for box in drawing.boxes:
        assert box.x >= 0
        assert box.x + box.width <= drawing.width + 0.01
        assert box.y >= -0.01
        assert box.y + box.height <= drawing.height + 0.01
    for a, b in itertools.combinations(drawing.boxes, 2):
        beside = a.x + a.width <= b.x or b.x + b.width <= a.x
        assert beside or a.y + a.height <= b.y + 0.01 or b.y + b.height <= a.y + 0.01


@given(graphs)
def test_the_same_graph_gives_the_same_drawing(given_graph) -> None:
    assert drawn(*given_graph) == drawn(*given_graph)


@given(st.lists(st.integers(-50, 50), max_size=12))
def test_isotonic_is_ascending_and_no_worse_than_any_pooling(values) -> None:
    found = isotonic(values)
    assert found == sorted(found)
    assert sum(found) == pytest.approx(sum(values))

    def cost(fit):
        return sum((a - b) ** 2 for a, b in zip(fit, values, strict=True))

    # Against all ways to cut the values into pools of equal height, where those ascend.
    for cuts in itertools.product([False, True], repeat=max(0, min(len(values), 9) - 1)):
        if len(values) > 9 or not values:
            break
        pools = [[values[0]]]
        for value, cut in zip(values[1:], cuts, strict=True):
            pools.append([value]) if cut else pools[-1].append(value)
        fit = [sum(pool) / len(pool) for pool in pools for _ in pool]
        if fit == sorted(fit):
            assert cost(found) <= cost(fit) + 1e-6


def test_crossings_are_reduced() -> None:
    # Five pairs, given crosswise: drawn without a crossing.
    assert drawn(10, [(i, 9 - i) for i in range(5)]).crossings == 0


def test_a_large_graph_is_drawn() -> None:
    edges = [
        (i, (i * 7 + k) % 1000) for i in range(1000) for k in (1, 2, 3) if (i * 7 + k) % 1000 > i
    ]
    drawing = drawn(1000, edges)
    assert len(drawing.boxes) == 1000


def test_a_line_is_an_svg_path() -> None:
    drawing = drawn(3, [(0, 1), (1, 2), (0, 2)])
    assert drawing.implied == 1
    for line in drawing.lines:
        assert re.fullmatch(r"M[\d.]+ [\d.]+([HC][\d. ]+)+", line_path(line))


# Packages


@pytest.fixture(scope="module")
def packages():
    """``app`` needs ``lib`` and ``tool``; ``tool`` needs ``lib``; ``lib`` and ``core`` a cycle."""
    from nbdock.packages import Closure

    texts = {
        name: nbdock.text_file(f"etc/{name}", name * size)
        for name, size in {"app": 10, "tool": 20, "lib": 300, "core": 40}.items()
    }
    needs = {"app": ["lib", "tool"], "tool": ["lib"], "lib": ["core"], "core": ["lib"]}
    return Closure(
        tuple(sorted(texts.values(), key=lambda p: p.sort_key)),
        {texts[a].key: tuple(sorted(texts[b].key for b in bs)) for a, bs in needs.items()},
        (texts["app"].key,),
    )


def test_why_is_a_shortest_chain_from_what_was_asked_for(packages) -> None:
    model = ClosureModel.of(packages)
    assert model.roots == ("app",)
    assert model.why("core") == ["app", "lib", "core"]
    graph = nbdock.closure_graph(packages)
    for name in graph:
        why = model.why(name)
        assert len(why) - 1 == nx.shortest_path_length(graph, "app", name)
        assert all(graph.has_edge(a, b) for a, b in itertools.pairwise(why))


def test_sizes_count_cycles_once(packages) -> None:
    model = ClosureModel.of(packages)
    graph = model.graph
    for name in graph:
        reached = {name} | nx.descendants(graph, name)
        assert model.closure_sizes[name] == sum(graph.nodes[n]["size_bytes"] for n in reached)
    assert nbdock.package_table(packages)["closure_size_bytes"].to_dict() == model.closure_sizes


def test_roots_of_an_image_are_what_it_was_built_from(packages) -> None:
    image = run(nbdock.build_layered_image("roots", tag="1", contents=list(packages.packages)[:1]))
    assert ClosureModel.of(image).roots == ("app",)


def test_what_nobody_needs_is_a_root(packages) -> None:
    import dataclasses

    model = ClosureModel.of(dataclasses.replace(packages, roots=()))
    assert model.roots == ("app",)


def test_the_selection_is_the_rows_of_the_packages(packages) -> None:
    explorer = explore_closure(packages)
    assert list(explorer.selection.index) == []
    assert list(explorer.selection.columns) == list(explorer.table.columns)
    number = explorer.model.names.index("lib")
    answer = explorer.answer({"id": 1, "what": "select", "nodes": [number]})
    assert list(explorer.selection.index) == ["lib"]
    assert explorer.selection.loc["lib", "why"] == "app \u2192 lib"
    x = packages
    again = eval(answer["answer"]["code"], {"nbdock": nbdock, "x": x})
    assert again.equals(explorer.selection)


def test_an_unknown_package_is_named_with_the_nearest(packages) -> None:
    with pytest.raises(ArgumentError, match="no package 'libb'") as caught:
        explore_closure(packages).select(["libb"])
    assert caught.value.hint == "Did you mean 'lib'?"


def test_the_picture_has_every_package_once_and_no_scripts(packages) -> None:
    model = ClosureModel.of(packages)
    for titles in (True, False):
        root = ET.fromstring(closure_svg(model, titles=titles))
        tags = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert tags <= {"svg", "g", "path", "rect", "text", "title"}
        nodes = [e for e in root.iter() if "data-i" in e.attrib]
        assert sorted(int(e.get("data-i")) for e in nodes) == list(range(4))
        names = [e[-2].text for e in nodes]
        assert sorted(names) == ["app", "core", "lib", "tool"]
        assert not any(k.startswith("on") for e in root.iter() for k in e.attrib)


def test_the_bars_are_to_scale(packages) -> None:
    model = ClosureModel.of(packages)
    root = ET.fromstring(closure_svg(model, titles=False))
    largest = max(node["size_bytes"] for _, node in model.graph.nodes(data=True))
    for group in (e for e in root.iter() if "data-i" in e.attrib):
        box, bar = (e for e in group if e.tag.endswith("rect"))
        size = model.graph.nodes[model.names[int(group.get("data-i"))]]["size_bytes"]
        assert float(bar.get("width")) == pytest.approx(
            max(float(box.get("width")) * size / largest - 2, 0), abs=0.6
        )


def test_names_are_escaped() -> None:
    name = '<script>alert("1")</script>&\u202e'
    graph = nx.DiGraph()
    graph.add_node(name, version="", size_bytes=1, manager="", layer=None)
    model = ClosureModel(graph, (name,))
    text = closure_svg(model)
    assert "<script" not in text
    ET.fromstring(text)
    twin = ClosureExplorer(model).twin()
    assert "<script" not in twin.html
    assert '"' not in str(closure_mermaid(model)).split('"', 1)[1].rsplit('"', 1)[0]


def test_mermaid_says_what_the_picture_says(packages) -> None:
    text = closure_mermaid(packages, sizes=False)
    lines = text.splitlines()
    assert lines[0] == "flowchart LR"
    names = dict(re.findall(r'(n\d+)\(?\["(\w+)"\]', text))
    assert sorted(names.values()) == ["app", "core", "lib", "tool"]
    edges = {
        (names[a], names[b])
        for line in lines
        for a, b in itertools.pairwise(re.findall(r"n\d+", line) if "-->" in line else [])
    }
    assert edges == {("app", "tool"), ("tool", "core"), ("core", "lib"), ("lib", "core")}
    bundle = text._repr_mimebundle_()
    assert bundle["text/vnd.mermaid"] == str(text)


def test_mermaid_refuses_what_it_would_not_draw() -> None:
    graph = nx.DiGraph()
    for i in range(2000):
        graph.add_node(f"package-{i}", version="", size_bytes=1, manager="", layer=None)
    model = ClosureModel(graph, tuple(graph))
    with pytest.raises(ArgumentError, match="does not draw so much: 2000 packages"):
        closure_mermaid(model)


def test_a_notebook_keeps_the_picture_the_table_and_mermaid(packages) -> None:
    bundle = explore_closure(packages)._repr_mimebundle_()
    assert "<svg" in bundle["text/html"]
    assert "<table" in bundle["text/html"]
    assert bundle["text/vnd.mermaid"].startswith("flowchart LR")
    assert "app" in bundle["text/plain"]


def test_an_empty_closure_is_shown() -> None:
    explorer = explore_closure([])
    assert len(explorer.table) == 0
    assert explorer.twin().text
    assert explorer.answer({"id": 1, "what": "picture"})["answer"]["nodes"] == []


def test_what_the_view_gets_fits_together(packages) -> None:
    explorer = explore_closure(packages)
    answer = explorer.answer({"id": 7, "what": "picture"})
    assert answer["id"] == 7
    found = answer["answer"]
    names = [node["name"] for node in found["nodes"]]
    graph = explorer.graph
    for node in found["nodes"]:
        assert {names[i] for i in node["needs"]} == set(graph.successors(node["name"]))
        chain = []
        at = names.index(node["name"])
        while at >= 0:
            chain.insert(0, names[at])
            at = found["nodes"][at]["because"]
        assert chain == explorer.why(node["name"])


@settings(deadline=None)
@given(graphs)
def test_closure_sizes_of_any_graph(given_graph) -> None:
    graph = nx.relabel_nodes(graph_of(*given_graph), str)
    for i, name in enumerate(graph):
        graph.nodes[name].update(version="", size_bytes=3**i % 1009, manager="", layer=None)
    sizes = ClosureModel(graph, tuple(graph)).closure_sizes
    for name in graph:
        reached = {name} | nx.descendants(graph, name)
        assert sizes[name] == sum(graph.nodes[n]["size_bytes"] for n in reached)


def test_rows_are_as_high_as_boxes_say() -> None:
    [box] = [b for b in drawn(2, [(0, 1), (1, 0)]).boxes if len(b.members) == 2]
    assert box.height > 2 * ROW
