"""Pipelines: what operations may be given, how packages are named, and what errors say."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from support.closures import Stub, closure, stub_in_store

from nbdock.errors import ArgumentError, LayerLimitError
from nbdock.layering import LayerPlan, Pipeline
from nbdock.nixlang import ContextString
from nbdock.packages import Closure

CHAIN = closure({"a": ["b"], "b": ["c"], "c": [], "d": ["c"]})


def names(plan: LayerPlan) -> list[str]:
    return ["".join(p.name for p in layer) for layer in plan.layers]


def run(operations: Any, limit: int = 99, c: Closure = CHAIN) -> list[str]:
    return names(Pipeline(operations)(c, limit))


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ([], ["abcd"]),
        ([["popularity_contest"]], ["c", "b", "a", "d"]),
        ([["popularity_contest"], ["limit_layers", 2]], ["c", "bad"]),
        ([["popularity_contest"], ["limit_layers", 1]], ["cbad"]),
        ([["split_every", 3]], ["abc", "d"]),
        ([["split_every", 3], ["reverse"]], ["d", "abc"]),
        ([["split_every", 2], ["map", ["popularity_contest"]]], ["b", "a", "c", "d"]),
        ([["remove_paths", ["b"]]], ["acd"]),
        ([["remove_paths", "b"], ["popularity_contest"]], ["c", "a", "d"]),
        ([["remove_paths", ["a", "b", "c", "d"]]], []),
        ([["subcomponent_out", ["b"]]], ["bc", "ad"]),
        ([["subcomponent_in", ["b"]]], ["ab", "cd"]),
        ([["split_paths", ["b"]]], ["b", "c", "ad"]),
        ([["split_paths", [{"children_of": ["a"]}]]], ["b", "c", "ad"]),
        ([["split_paths", [{"children_of": "a"}]]], ["b", "c", "ad"]),
        ([["split_paths", ["a", "d"]]], ["abcd"]),
        ([["split_paths", ["unknown"]]], ["abcd"]),
        ([["subcomponent_out", ["unknown"]]], ["abcd"]),
        ([["remove_paths", ["unknown"]]], ["abcd"]),
        ([["split_paths", ["b"]], ["reorder", ["rest", "common"]]], ["ad", "c", "b"]),
        ([["split_paths", ["b"]], ["over", "rest", ["popularity_contest"]]], ["b", "c", "a", "d"]),
        # A part that is not there passes.
        ([["split_paths", ["unknown"]], ["over", "main", ["popularity_contest"]]], ["abcd"]),
        ([["split_paths", ["b"]], ["flatten"], ["limit_layers", 2]], ["b", "cad"]),
        ([["pipe", [["split_every", 1], ["limit_layers", 3]]]], ["a", "b", "cd"]),
    ],
)
def test_operations(operations: Any, expected: list[str]) -> None:
    assert run(operations) == expected


def test_the_limit_holds_at_the_end() -> None:
    assert run([["popularity_contest"]], limit=2) == ["c", "bad"]
    assert run([["split_every", 1]], limit=1) == ["abcd"]
    with pytest.raises(LayerLimitError):
        run([], limit=0)


def test_nodes_ascend_by_size_then_path() -> None:
    packages = tuple(
        stub_in_store(name, size) for name, size in [("a-z", 5), ("c-x", 2), ("b-y", 2), ("d-w", 9)]
    )
    c = Closure(packages, {}, ())
    assert names(Pipeline([])(c, 9)) == ["yxzw"]


def test_packages_are_named_in_every_way() -> None:
    store, apt = stub_in_store("aaa-python3", 1), Stub("libc6", at="deb:libc6", bytes=2)
    other = Stub("rest", at="deb:rest", bytes=3)
    c = Closure((store, apt, other), {}, ())

    class Elsewhere(Stub):
        """As a package that is not realised: the same path, another key."""

    placeholder = dataclasses.replace(store, at="unrealised")
    for item in (
        store, placeholder, store.root, PurePosixPath(store.root),
        ContextString(store.root, (placeholder,)),
    ):  # fmt: skip
        assert run([["subcomponent_out", [item]]], c=c) == ["python3", "libc6rest"], item
        assert run([["remove_paths", item]], c=c) == ["libc6rest"], item
    for item in (apt, "libc6", ContextString("", (apt,)), Elsewhere("libc6", at="deb:libc6=2")):
        assert run([["subcomponent_out", [item]]], c=c) == ["libc6", "python3rest"], item
    # A path inside of a package is not the package, and a name not a store path.
    for item in (f"{store.root}/bin", "python3", "", ContextString("", ())):
        assert run([["split_paths", [item]]], c=c) == ["python3libc6rest"], item


def test_packages_of_one_name_are_all_meant_unless_one_is_given() -> None:
    first, second = Stub("site", at="1"), Stub("site", at="2")
    c = Closure((first, second, Stub("x")), {}, ())
    assert run([["subcomponent_out", ["site"]]], c=c) == ["sitesite", "x"]
    plan = Pipeline([["subcomponent_out", [second]]])(c, 9)
    assert [[p.key for p in layer] for layer in plan.layers] == [["2"], ["1", "x"]]


def test_cycles() -> None:
    c = closure({"a": ["b"], "b": ["a", "c"], "c": ["d"], "d": ["c"], "e": ["d"]})
    assert run([["popularity_contest"]], c=c) == ["c", "d", "a", "b", "e"]
    assert run([["split_paths", ["c"]]], c=c) == ["c", "d", "abe"]
    # Of a cycle that nothing else refers to, every package is a root.
    assert run([["split_paths", ["a"]]], c=c) == ["a", "bcd", "e"]
    assert run([["subcomponent_in", ["c"]]], c=c) == ["abcde"]
    assert sorted("".join(run([["split_paths", ["a", "b", "e"]]], c=c))) == list("abcde")


def test_a_pipeline_of_a_file_or_a_text(tmp_path: Path) -> None:
    operations = [["popularity_contest"], ["limit_layers", 2]]
    file = tmp_path / "layers.json"
    file.write_text(json.dumps(operations))
    for given in (file, str(file), json.dumps(operations), f"\n {json.dumps(operations)}\n"):
        assert run(given) == ["c", "bad"]
    assert run(tuple(map(tuple, operations))) == ["c", "bad"]
    assert repr(Pipeline(operations)) == "<Pipeline: popularity_contest, limit_layers>"


@pytest.mark.parametrize(
    ("operations", "message", "hint"),
    [
        (5, "layering_pipeline must be a list of operations, not 5", "popularity_contest"),
        ([["split_paths", ["a"]], ["limit_layer", 3]],
         "layering_pipeline[1] names an operation that does not exist: 'limit_layer'",
         "Did you mean limit_layers?"),
        ([["xyzzy"]], "'xyzzy'", "The operations are popularity_contest, limit_layers"),
        (["popularity_contest"], "layering_pipeline[0] must be a list that begins with", "limit"),
        ([[]], "layering_pipeline[0] must be a list", None),
        ([[["flatten"]]], "layering_pipeline[0] must be a list", None),
        ([["limit_layers"]], "layering_pipeline[0] gives limit_layers 0 arguments",
         'It is written ["limit_layers" count].'),
        ([["flatten", 1]], "layering_pipeline[0] gives flatten 1 argument.",
         'It is written ["flatten"].'),
        ([["limit_layers", 0]],
         "layering_pipeline[0][1] must be a whole number from 1, not 0", None),
        ([["limit_layers", True]], "layering_pipeline[0][1] must be a whole number", None),
        ([["split_every", "3"]], "layering_pipeline[0][1] must be a whole number", None),
        ([["over", "mian", ["flatten"]]],
         "layering_pipeline[0][1] is not the name of a part: 'mian'", "Did you mean main?"),
        ([["over", "main", ["pipe", [["flatten"], ["splitpaths", []]]]]],
         "layering_pipeline[0][2][1][1] names an operation that does not exist: 'splitpaths'",
         "Did you mean split_paths?"),
        ([["map", ["split_every", -1]]], "layering_pipeline[0][1][1] must be a whole number", None),
        ([["remove_paths", [3]]], "layering_pipeline[0][1][0] must be a package or a path, not 3",
         "pkgs.python3"),
        ([["subcomponent_in", None]], "layering_pipeline[0][1] must be a package or a path", None),
        ([["split_paths", ["a", {"childrenof": []}]]],
         "layering_pipeline[0][1][1] must be a set with children_of alone", "children_of"),
        ([["split_paths", [{"children_of": [7]}]]],
         "layering_pipeline[0][1][0].children_of[0] must be a package or a path", None),
        ("[[", "layering_pipeline is not JSON", None),
        ("/nowhere/layers.json", "layering_pipeline cannot be read from '/nowhere/layers.json'",
         "the path of a JSON file"),
        ("/", "cannot be", None),
        ("/dev/zero", "is not a file", None),
        ("a\0b.json", "cannot be read", None),
    ],
)  # fmt: skip
def test_errors_say_the_place(operations: Any, message: str, hint: str | None) -> None:
    with pytest.raises(ArgumentError) as caught:
        Pipeline(operations)
    assert message in caught.value.message
    assert caught.value.argument == "layering_pipeline"
    if hint:
        assert hint in str(caught.value.hint)


@pytest.mark.parametrize(
    ("operations", "message", "hint"),
    [
        ([["limit_layers", 3]], "layering_pipeline[0] (limit_layers) takes a list, and one graph",
         "popularity_contest"),
        ([["split_paths", ["b"]], ["limit_layers", 2]],
         "layering_pipeline[1] (limit_layers) takes a list, and parts (main, common, rest) comes",
         'Put ["flatten"] before it.'),
        ([["popularity_contest"], ["split_every", 2]],
         "layering_pipeline[1] (split_every) takes one graph, and a list comes",
         '["map" ["split_every" ...]]'),
        ([["subcomponent_out", ["b"]], ["popularity_contest"]],
         "layering_pipeline[1] (popularity_contest) takes one graph, and parts (main, rest)",
         '["over" "main" ["popularity_contest" ...]]'),
        ([["over", "main", ["flatten"]]], "layering_pipeline[0] (over) takes parts, and one graph",
         "split_paths"),
        ([["split_every", 1], ["map", ["pipe", [["reverse"]]]]],
         "layering_pipeline[1][1][1][0] (reverse) takes a list", None),
    ],
)  # fmt: skip
def test_errors_when_an_operation_gets_what_it_cannot_work_on(
    operations: Any, message: str, hint: str | None
) -> None:
    with pytest.raises(ArgumentError) as caught:
        run(operations)
    assert message in caught.value.message
    if hint:
        assert hint in str(caught.value.hint)


def test_another_name_for_the_argument() -> None:
    with pytest.raises(ArgumentError, match=r"^layering\[0\] names") as caught:
        Pipeline([["no"]], argument="layering")
    assert caught.value.argument == "layering"


def test_hostile_files(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    with pytest.raises(ArgumentError, match="is not a file"):  # and it does not wait for a writer
        Pipeline(pipe)
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ArgumentError, match="too large"):
        Pipeline(large)
    latin = tmp_path / "latin.json"
    latin.write_bytes(b'[["\xe9"]]')
    with pytest.raises(ArgumentError, match="cannot be read"):
        Pipeline(latin)


def test_a_pipeline_that_is_nested_too_deeply() -> None:
    deep: list[Any] = ["flatten"]
    for _ in range(100_000):
        deep = ["pipe", [deep]]
    with pytest.raises(ArgumentError, match="nested too deeply"):
        Pipeline([deep])
    for text in ("[" * 100_000, '[["pipe", ' * 100_000):
        with pytest.raises(ArgumentError):
            Pipeline(text)
    while len(deep) > 1:  # taken apart by hand: dropping it at once recurses
        deep = deep[1][0]
