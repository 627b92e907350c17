"""Plans of builds: every planner through `plan_layers` and the builders, and in nixpkgs' sizes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.closures import Stub, closure

import nbdock
from nbdock.errors import ArgumentError, ArgumentTypeError
from nbdock.images.planning import image_roots, part_of
from nbdock.packages import nar_hash


@pytest.fixture
def contents(tmp_path: Path) -> list[nbdock.Package]:
    """Packages at ``/``, in a store, and a directory."""
    tree = tmp_path / "site"
    tree.mkdir()
    (tree / "index.html").write_text("hello")
    store = tmp_path / "tool-1.0"
    store.mkdir()
    (store / "tool").write_bytes(b"x" * 20_000)
    return [
        nbdock.text_file("etc/motd", "hi"),
        nbdock.directory(tree, root="/srv/site"),
        nbdock.store_path(store),
    ]


def names(plan: nbdock.LayerPlan) -> list[list[str]]:
    return [[p.name for p in layer] for layer in plan.layers]


async def test_plan_layers_takes_names_pipelines_and_functions(
    contents: list[nbdock.Package], tmp_path: Path
) -> None:
    every = sorted(p.name for p in contents)
    file = tmp_path / "layers.json"
    file.write_text('[["split_every", 2]]')

    def together(closure: nbdock.Closure, limit: int) -> Any:
        return [closure.packages]

    strategies: dict[str, Any] = {
        "popularity": "popularity", "auto": "auto", "pipeline": [["split_every", 2]],
        "together": together,
    }  # fmt: skip
    for name, strategy in strategies.items():
        plan = await nbdock.plan_layers(contents, strategy=strategy)
        assert plan.planner == name
        assert sorted(n for layer in names(plan) for n in layer) == every
    assert len(await nbdock.plan_layers(contents, strategy=file)) == 2
    resolved = await nbdock.closure(contents)
    assert await nbdock.closure(resolved) is resolved
    assert names(await nbdock.plan_layers(resolved)) == names(await nbdock.plan_layers(contents))
    assert len(await nbdock.plan_layers(contents, strategy="auto", max_layers=2)) == 1
    by_package = [["subcomponent_out", [contents[2]]], ["flatten"], ["reverse"]]
    assert names(await nbdock.plan_layers(contents, strategy=by_package))[-1] == [contents[2].name]


async def test_unknown_planners_have_a_nearest(contents: list[nbdock.Package]) -> None:
    with pytest.raises(ArgumentTypeError, match="no planner 'atuo'") as caught:
        await nbdock.plan_layers(contents, strategy="atuo")
    assert caught.value.hint == 'Did you mean "auto"?'
    assert caught.value.argument == "strategy"


@pytest.mark.parametrize("strategy", ["popularity", "auto", [["split_every", 1]]])
async def test_a_build_has_the_layers_of_its_plan(
    contents: list[nbdock.Package], strategy: Any, files: Callable[[Any], dict[str, Any]]
) -> None:
    image = await nbdock.build_layered_image("x", tag="1", contents=contents, layering=strategy)
    plan = await nbdock.plan_layers(contents, strategy=strategy)
    assert len(image.layers) == len(plan) + 1
    found = files(image)
    assert {"etc/motd", "srv/site/index.html"} <= set(found)
    again = await nbdock.build_layered_image("x", tag="1", contents=contents, layering=strategy)
    assert again.digest == image.digest


async def test_layering_pipeline_is_dockertools_name_of_it(
    contents: list[nbdock.Package],
) -> None:
    operations = [["subcomponent_out", [contents[0]]], ["flatten"], ["limit_layers", 2]]
    one = await nbdock.build_layered_image("x", contents=contents, layering_pipeline=operations)
    two = await nbdock.build_layered_image("x", contents=contents, layering=operations)
    assert one.digest == two.digest
    assert len(one.layers) == 3
    # maxLayers holds all the same.
    few = await nbdock.build_layered_image(
        "x", contents=contents, layering_pipeline=operations, max_layers=2
    )
    assert len(few.layers) == 2


async def test_layering_errors(contents: list[nbdock.Package]) -> None:
    build = nbdock.build_layered_image
    with pytest.raises(ArgumentError, match="both were given"):
        await build("x", contents=contents, layering="auto", layering_pipeline=[])
    with pytest.raises(ArgumentTypeError, match="There is no planner 'popular'"):
        await build("x", contents=contents, layering="popular")
    with pytest.raises(ArgumentError, match=r"^layering_pipeline\[0\] names") as caught:
        await build("x", contents=contents, layering_pipeline=[["limit_layer", 3]])
    assert caught.value.hint == "Did you mean limit_layers?"


def test_a_part_of_a_closure_is_closed() -> None:
    whole = closure({"a": ["b", "c"], "b": ["c"], "c": []})
    part = part_of(whole, [whole["a"], whole["c"]])
    assert part.references == {"a": ("c",), "c": ()}
    assert part.roots == ("a", "c")
    assert part_of(whole, whole.packages) is whole


async def test_packages_at_the_root_are_planned_without_the_store_they_need(
    contents: list[nbdock.Package], tmp_path: Path
) -> None:
    from nbdock.nixlang import ContextString

    tool = contents[2]
    script = nbdock.script("run", ContextString(f"exec {tool}/tool", (tool,)))
    assert len(await nbdock.closure([script])) == 2
    for layering in ("popularity", "auto", [["split_every", 1]]):
        image = await nbdock.build_layered_image(
            "x", contents=[script], include_store_paths=False, layering=layering
        )
        assert len(image.layers) == 2


def test_image_roots_have_the_sizes_that_nix_gives_them(tmp_path: Path) -> None:
    config = {"Cmd": ["/bin/hello"], "Env": ["A=ä", 'B="q"']}
    text = (
        '{"architecture":"amd64","config":{"Cmd":["/bin/hello"],"Env":["A=ä","B=\\"q\\""]},'
        '"os":"linux"}'
    )
    for tar_bytes in (10_240, 10_241, 71_680):
        top = tmp_path / f"top-{tar_bytes}"
        top.mkdir()
        (top / "checksum").write_text("0" * 64 + "\n")
        (top / "layer.tar").write_bytes(b"\0" * tar_bytes)
        base = tmp_path / "base.json"
        base.write_text(text)
        layer, configuration = image_roots(
            contents=[Stub("a")], configured=[Stub("b")], config=config, architecture="amd64",
            top_layer_bytes=tar_bytes,
        )  # fmt: skip
        assert layer.size_bytes == nar_size(top)
        assert configuration.size_bytes == nar_size(base)
        assert layer.references == ("a",)
        assert configuration.references == ("b",)


def nar_size(path: Path) -> int:
    return nar_hash(nbdock.store_path(path).entries())[1]


async def test_the_smallest_top_layer_is_what_auto_takes_for_granted(tmp_path: Path) -> None:
    from nbdock.layering.auto import SMALLEST_TOP_LAYER_BYTES

    layer, _ = image_roots(
        contents=(), configured=(), config=None, architecture="amd64", top_layer_bytes=10_240
    )
    assert layer.size_bytes == SMALLEST_TOP_LAYER_BYTES


def test_a_warm_plan_imports_neither_networkx_nor_pandas() -> None:
    code = (
        "import nbdock, sys; from nbdock import concurrency\n"
        "things = [nbdock.text_file('a', '1'), nbdock.text_file('b', '2')]\n"
        "for s in ('popularity', 'auto', [['split_paths', ['a']]]):\n"
        "    concurrency.run(nbdock.plan_layers(things, strategy=s))\n"
        "print(json.dumps([m for m in ('networkx', 'pandas') if m in sys.modules]))\n"
    )
    made = subprocess.run(
        [sys.executable, "-c", f"import json\n{code}"], capture_output=True, text=True, check=True
    )
    assert json.loads(made.stdout) == []
