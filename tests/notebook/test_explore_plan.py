"""`explore_plan`: plans for every planner and limit, to scale, and what others would share."""

from __future__ import annotations

import datetime as dt
import itertools
import time
import xml.etree.ElementTree as ET

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nbdock
from nbdock.concurrency import run
from nbdock.errors import ArgumentError, LayerLimitError, UnknownArgumentError
from nbdock.layering import HistoryPlanner, order_layers
from nbdock.notebook.explore.plan import PlanExplorer, explore_plan, pulled_by_layers
from nbdock.notebook.explore.planmodel import PlanModel
from nbdock.notebook.explore.planpicture import curve_svg, knee, letter, plan_svg
from nbdock.packages import ChangeHistory, Closure

SIZES = {"app": 9000, "web": 400, "tool": 70, "lib": 3000, "zlib": 20, "libc": 5000}
NEEDS = {"app": ["lib", "zlib"], "web": ["lib"], "tool": ["libc"], "lib": ["libc", "zlib"]}


def closure_of(names: list[str]) -> Closure:
    names = list(names)
    for name in names:
        names += [n for n in NEEDS.get(name, []) if n not in names]
    texts = {name: nbdock.text_file(f"etc/{name}", "x" * SIZES[name]) for name in names}
    return Closure(
        tuple(sorted(texts.values(), key=lambda p: p.sort_key)),
        {texts[n].key: tuple(sorted(texts[m].key for m in NEEDS.get(n, []))) for n in names},
        (texts[names[0]].key,),
    )


@pytest.fixture
def contents() -> Closure:
    return closure_of(["app", "web", "tool"])


@pytest.fixture
def history(contents: Closure) -> ChangeHistory:
    start = dt.date(2023, 1, 1)
    weekly = tuple(start + dt.timedelta(days=7 * i) for i in range(150))
    changes = {p.name: () for p in contents.packages} | {"web": weekly, "app": weekly[::10]}
    return ChangeHistory(changes, {}, start, dt.date(2026, 1, 1))


def picture(explorer: PlanExplorer, strategy: str, max_layers: int) -> ET.Element:
    answer = explorer.answer(
        {"id": 1, "what": "plan", "strategy": strategy, "max_layers": max_layers, "width": 800}
    )
    return ET.fromstring(answer["answer"]["svg"])


@given(st.sampled_from(["popularity", "auto", "size"]), st.integers(2, 12))
@settings(deadline=None)
def test_every_package_is_drawn_once_in_its_layer_to_scale(strategy, max_layers) -> None:
    contents = closure_of(["app", "web", "tool"])
    explorer = PlanExplorer(PlanModel(contents), max_layers=5, strategy="popularity")
    root = picture(explorer, strategy, max_layers)
    assert explorer.plan.planner == strategy
    drawn = {}
    scales = []
    for group in (g for g in root.iter() if "data-layer" in g.attrib):
        bars = [bar for bar in group.iter() if "data-p" in bar.attrib]
        for bar in bars:
            package = contents.packages[int(bar.get("data-p"))]
            assert package not in drawn
            drawn[package] = int(group.get("data-layer"))
            if package.size_bytes > 300:
                # Wide ones leave a gap to the next.
                width = float(bar.get("width"))
                scales.append((width + 0.8 if width > 2.2 else width) / package.size_bytes)
        # Side by side, without overlap, in the picture.
        places = sorted((float(b.get("x")), float(b.get("width"))) for b in bars)
        for (x, width), (after, _) in itertools.pairwise(places):
            assert x + width <= after + 0.11
        assert places[-1][0] + places[-1][1] <= 800
    assert drawn == {p: i for i, layer in enumerate(explorer.plan.layers) for p in layer}
    assert max(scales) - min(scales) < 0.02 / 300


def test_the_layers_do_not_overlap(contents) -> None:
    root = picture(explore_plan(contents), "popularity", 100)
    rows = []
    for group in (g for g in root.iter() if "data-layer" in g.attrib):
        y = float(group.get("transform").split()[1].rstrip(")"))
        rows.append((y, float(next(b for b in group.iter() if "data-p" in b.attrib).get("height"))))
    assert rows == sorted(rows)
    assert all(y + h <= after for (y, h), (after, _) in itertools.pairwise(rows))
    assert rows[-1][0] + rows[-1][1] <= float(root.get("height"))


def test_the_plan_that_is_shown_is_that_of_plan_layers(contents) -> None:
    explorer = explore_plan(contents)
    for strategy, limit in [("auto", 4), ("popularity", 3), ("size", 5), ("popularity", 125)]:
        picture(explorer, strategy, limit)
        assert (explorer.strategy, explorer.max_layers) == (strategy, limit)
        packages = list(contents.packages)

        async def planned(packages=packages, strategy=strategy, limit=limit):
            return await nbdock.plan_layers(packages, max_layers=limit, strategy=strategy)

        if strategy == "size":  # the others see references, which plain texts do not have
            assert run(planned()) == explorer.plan
        assert f'max_layers={limit}, strategy="{strategy}"' in explorer.python


async def test_the_python_and_the_cell_give_the_plan() -> None:
    texts = [nbdock.text_file(f"etc/{n}", "x" * s) for n, s in SIZES.items()]
    explorer = explore_plan(texts, max_layers=4, strategy="size")
    space = {"nbdock": nbdock, "contents": texts}
    code = explorer.python.removeprefix("await ")
    assert await eval(code, space) == explorer.plan
    explorer.select([0, 2])
    assert eval(explorer.python, space).equals(explorer.selection)
    assert set(explorer.selection["layer"]) == {0, 2}
    assert "maxLayers = 4;" in explorer.cell
    assert 'layering = "size";' in explorer.cell


def test_selecting_gives_packages_with_their_layer(contents) -> None:
    explorer = explore_plan(contents, max_layers=4)
    assert len(explorer.selection) == 0
    answer = explorer.answer({"id": 3, "what": "select", "layers": [1]})
    assert '.query("layer in [1]")' in answer["answer"]["code"]
    assert set(explorer.selection.index) == {p.name for p in explorer.plan.layers[1]}
    assert explorer.table.loc["libc", "needed_by"] == ["lib", "tool"]
    picture(explorer, "popularity", 3)
    assert len(explorer.selection) == 0  # another plan has other layers
    with pytest.raises(ArgumentError, match="no layer 99"):
        explorer.select([99])


def test_what_would_be_shared_has_the_same_packages_in_the_same_order(contents) -> None:
    other = closure_of(["web"])
    explorer = explore_plan(contents, compare={"web": other}, max_layers=100)
    shared = explorer.model.shared(explorer.plan, "popularity", 100)
    theirs = {
        tuple(p.key for p in layer)
        for layer in explorer.model._plan(0, other, "popularity", 100).layers
    }
    for layer, by in zip(explorer.plan.layers, shared, strict=True):
        assert (0 in by) == (tuple(p.key for p in layer) in theirs)
    [found] = explorer.model.sharing(explorer.plan, shared)
    assert found.layers == 4
    assert (
        found.size_bytes
        == found.both_bytes
        == sum(SIZES[n] for n in ["web", "lib", "libc", "zlib"])
    )
    assert "A: 4 layers shared with web" in explorer.twin().text


def test_an_image_shares_the_layers_that_it_has(tmp_path) -> None:
    texts = [nbdock.text_file(f"etc/{n}", "x" * s) for n, s in SIZES.items()]
    image = run(nbdock.build_layered_image("plain", tag="1", contents=texts[:4]))
    path = run(image.save(tmp_path / "plain.tar"))
    loaded = run(nbdock.load_image(path))
    built = {layer.diff_id for layer in image.layers[:-1]}
    again = run(nbdock.build_layered_image("all", tag="1", contents=texts))
    for other in (image, loaded):
        explorer = explore_plan(texts, compare=[other])
        shared = explorer.model.shared(explorer.plan, "popularity", 100)
        # The layers that are told to be shared are those that have the same diff ID when built.
        same = [layer.diff_id in built for layer in again.layers[:-1]]
        assert [bool(by) for by in shared] == same
        assert sum(same) == 4


def test_planners_that_go_by_a_history_are_there_with_one(contents, history) -> None:
    without = explore_plan(contents)
    assert list(without.model.strategies) == ["popularity", "auto", "size"]
    with pytest.raises(ArgumentError, match="no planner 'history'") as caught:
        explore_plan(contents, strategy="history")
    assert "history=True" in caught.value.hint
    explorer = explore_plan(contents, history=history, max_layers=3)
    assert explorer.strategy == "history"
    assert set(explorer.model.strategies) == {"popularity", "auto", "size", "history", "chunked"}
    assert explorer.plan == order_layers(HistoryPlanner(history)(contents, 2), ())
    assert ", history=history" in explorer.python
    rates = explorer.answer({"id": 1, "what": "packages"})["answer"]["packages"]
    assert max(rates, key=lambda one: one["rate"])["name"] == "web"


def test_the_curve_is_what_replay_sums(contents, history) -> None:
    curve = pulled_by_layers(PlanModel(contents, history=history))
    replayed = nbdock.tables.replay(contents, history, planners=["history"], budgets=[5])
    total = replayed.loc["history"]["pulled_bytes"].sum()
    assert curve.loc[5, "history"] == total
    assert curve["history"].iloc[-1] <= curve["popularity"].iloc[0]
    root = ET.fromstring(curve_svg(curve))
    points = [g for g in root.iter() if "data-budget" in g.attrib]
    assert len(points) == len(curve) * (len(curve.columns) - 1)
    knees = [t.text for t in root.iter() if t.tag.endswith("title") and "knee" in (t.text or "")]
    assert len(knees) == len(curve.columns) - 1


@given(st.lists(st.integers(1, 10**9), min_size=3, max_size=12))
def test_the_knee_is_the_farthest_below_the_line(values) -> None:
    values = sorted(values, reverse=True)
    budgets = [2**i for i in range(len(values))]
    at = knee(budgets, values)
    assert 0 <= at < len(values)
    if values[0] > values[-1]:
        root = ET.fromstring(curve_svg(pd.DataFrame({"p": values}, index=budgets)))
        ends = {int(g.get("data-budget")): g for g in root.iter() if "data-budget" in g.attrib}

        def depth(i):
            spots = [
                (float(c.get("cx")), float(c.get("cy")))
                for c in (ends[budgets[k]].find("{*}circle") for k in (0, i, -1))
            ]
            (x0, y0), (x, y), (x1, y1) = spots
            return (y - y0) / (y1 - y0) - (x - x0) / (x1 - x0)

        assert depth(at) >= max(map(depth, range(len(values)))) - 0.02


@pytest.mark.parametrize("limit", [1, 0, 126, -3])
def test_limits_out_of_range_are_refused(contents, limit) -> None:
    with pytest.raises(LayerLimitError):
        explore_plan(contents, max_layers=limit)
    answer = explore_plan(contents).answer(
        {"id": 1, "what": "plan", "strategy": "auto", "max_layers": limit}
    )
    assert "must be from 2 to 125" in answer["error"]["message"]


def test_unknown_names_are_refused_with_the_nearest(contents) -> None:
    with pytest.raises(ArgumentError) as caught:
        explore_plan(contents, strategy="popularty")
    assert caught.value.hint == "Did you mean 'popularity'?"
    with pytest.raises(UnknownArgumentError, match="max_layer'"):
        explore_plan(contents, max_layer=3)
    with pytest.raises(ArgumentError, match="compare must be a list"):
        explore_plan(contents, compare="redis")


def test_a_notebook_keeps_a_picture_and_a_table(contents) -> None:
    twin = explore_plan(contents, compare={"<b>": closure_of(["web"])}).twin()
    assert "<svg" in twin.html
    assert "<table" in twin.html
    assert "<script" not in twin.html
    assert "<b>" not in twin.html
    assert "Plan by popularity" in twin.text


def test_an_empty_plan_is_shown() -> None:
    explorer = explore_plan([])
    assert explorer.twin().text
    assert picture(explorer, "auto", 10).get("width") == "800"


def test_many_packages_are_small_and_quick() -> None:
    texts = [nbdock.text_file(f"etc/package-{i}", "x" * (i * i % 977)) for i in range(1000)]
    keys = [p.key for p in texts]
    references = {
        key: tuple(sorted({keys[(i * 7) % max(i, 1)], keys[i // 2]} - {key}))
        for i, key in enumerate(keys)
    }
    packages = Closure(tuple(sorted(texts, key=lambda p: p.sort_key)), references, (keys[-1],))
    explorer = explore_plan(packages)
    assert len(explorer.twin().html) < 500_000
    picture(explorer, "auto", 50)
    begin = time.thread_time()
    for limit in range(20, 30):
        picture(explorer, "auto", limit)
    # The kernel's part of 100 ms from the slider to the picture, in time of the processor.
    assert (time.thread_time() - begin) / 10 < 0.1


def test_plans_are_made_ahead(contents) -> None:
    explorer = explore_plan(contents)
    shown = explorer.plan
    answer = explorer.answer({"id": 1, "what": "ahead", "strategy": "auto", "max_layers": 7})
    assert answer["answer"]["cpu_ms"] >= 0
    assert explorer.plan is shown
    ahead = explorer.model.plan("auto", 7)
    picture(explorer, "auto", 7)
    assert explorer.plan is ahead


def test_letters_go_on_after_z() -> None:
    assert [letter(i) for i in (0, 25, 26, 27, 52)] == ["A", "Z", "AA", "AB", "BA"]


def test_many_others_have_room(contents) -> None:
    others = {f"image-{i}": contents for i in range(12)}
    explorer = explore_plan(contents, compare=others)
    shared = explorer.model.shared(explorer.plan, "popularity", 100)
    text = plan_svg(explorer.model, explorer.plan, shared)
    ET.fromstring(text)
    assert "+5" in text
