"""`explore_sharing`: the heat map, what is behind its cells, and the order of images."""

from __future__ import annotations

import itertools
import random
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nbdock
from nbdock.concurrency import run
from nbdock.errors import ArgumentError, ArgumentTypeError
from nbdock.notebook.explore.sharing import SharingExplorer, explore_sharing
from nbdock.notebook.explore.sharingmodel import SharingModel, alike
from nbdock.notebook.explore.sharingpicture import sharing_svg, without_prefix


def build(name: str, files: dict[str, int]) -> nbdock.Image:
    texts = [nbdock.text_file(f"etc/{path}", path[0] * size) for path, size in files.items()]
    return run(nbdock.build_layered_image(name, tag="1", contents=texts))


@pytest.fixture(scope="module")
def images() -> list[nbdock.Image]:
    return [
        build("a", {"base": 5000, "only-a": 700}),
        build("b", {"other": 100}),
        build("c", {"base": 5000, "only-c": 30}),
    ]


def test_the_matrix_is_that_of_sharing_matrix(images) -> None:
    explorer = explore_sharing(images)
    for by in ("layer", "package", "file"):
        answer = explorer.answer(
            {
                "id": 1,
                "what": "picture",
                "by": by,
                "measure": "shared",
                "alike": False,
                "width": 700,
            }
        )["answer"]
        expected = nbdock.sharing_matrix(images, by=by)
        assert answer["shared"] == expected.to_numpy().tolist()
        assert answer["names"] == list(expected.index) == ["a:1", "b:1", "c:1"]
        assert explorer.by == by
        assert explorer.matrix.equals(expected)


def test_what_is_alike_stands_together(images) -> None:
    order = SharingModel(images).order("layer")
    assert order in ([0, 2, 1], [1, 0, 2], [1, 2, 0])


def test_a_cell_has_what_is_shared_and_what_is_to_be_pulled(images) -> None:
    explorer = explore_sharing(images, by="file")
    rows = explorer.select("a:1", "c:1")
    assert explorer.selection.equals(rows)
    held = rows.set_index("name")["held"].astype(str).to_dict()
    assert held == {"/etc/base": "both", "/etc/only-c": "missing", "/etc/only-a": "kept"}
    missing = nbdock.sharing_matrix(images, by="file", measure="missing")
    assert rows[rows.held == "missing"]["size_bytes"].sum() == missing.loc["a:1", "c:1"]
    own = explorer.select("a:1", "a:1").set_index("name")["held"].astype(str).to_dict()
    assert own == {"/etc/base": "both", "/etc/only-a": "missing"}


@pytest.mark.parametrize("by", ["layer", "package", "file"])
def test_cells_add_up_to_the_matrix(images, by) -> None:
    explorer = explore_sharing(images, by=by)
    shared = explorer.matrix
    for has in shared.index:
        for wants in shared.columns:
            if has == wants:
                continue
            sums = explorer.select(has, wants).groupby("held", observed=False)["size_bytes"].sum()
            assert sums["both"] == shared.loc[has, wants]
            assert sums["missing"] == shared.loc[wants, wants] - shared.loc[has, wants]
            assert sums["kept"] == shared.loc[has, has] - shared.loc[has, wants]


def test_the_table_says_what_is_only_in_one(images) -> None:
    table = explore_sharing(images, by="file").table
    assert table["only_here_bytes"].to_dict() == {"a:1": 700, "b:1": 100, "c:1": 30}
    assert table["shared_bytes"].to_dict() == {"a:1": 5000, "b:1": 0, "c:1": 5000}
    assert table.loc["c:1", "nearest"] == "a:1"
    assert table.loc["c:1", "missing_bytes"] == 30
    single = explore_sharing(images[:1]).table
    assert single["nearest"].isna().all()


def test_the_python_gives_the_selection(images) -> None:
    explorer = explore_sharing(images)
    space = {"nbdock": nbdock, "images": images}
    whole = eval(explorer.python, space)
    assert whole.equals(nbdock.sharing_matrix(images, by="layer", measure="missing"))
    answer = explorer.answer({"id": 1, "what": "cell", "has": 0, "wants": 2})["answer"]
    assert eval(answer["code"], space).equals(explorer.selection)
    assert answer["missing"]["bytes"] + answer["both"]["bytes"] == explorer.matrix.loc["c:1", "c:1"]
    explorer.answer({"id": 2, "what": "none"})
    assert len(explorer.selection) == 0
    picture = {"id": 3, "what": "picture", "by": "file", "measure": "shared"}
    code = explorer.answer(picture)["answer"]["code"]
    assert eval(code, space).equals(nbdock.sharing_matrix(images, by="file", measure="shared"))


def test_layers_say_what_is_in_them(images) -> None:
    rows = explore_sharing(images).select("a:1", "c:1")
    names = set(rows[rows.held == "both"]["name"])
    assert any("base" in name for name in names)


def cells_of(svg: str) -> dict[tuple[int, int], ET.Element]:
    root = ET.fromstring(svg)
    return {
        (int(e.get("data-a")), int(e.get("data-b"))): e for e in root.iter() if "data-a" in e.attrib
    }


@given(st.integers(1, 40), st.sampled_from([360.0, 780.0, 1200.0]), st.data())
@settings(deadline=None, max_examples=12)
def test_every_cell_is_drawn_once_without_overlap(count, width, data) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    held = rng.random((count, 30)) < 0.4
    sizes = rng.integers(1, 10**9, 30)
    shared = (held * sizes) @ held.T
    names = [f"registry.example.com/team/image-{i}:1" for i in range(count)]
    order = list(rng.permutation(count))
    for measure in ("missing", "shared"):
        cells = cells_of(
            sharing_svg(names, shared, order=order, measure=measure, width=width, is_live=True)
        )
        assert len(cells) == count * count
        boxes = {
            key: [float(cell.get(name)) for name in ("x", "y", "width", "height")]
            for key, cell in cells.items()
        }
        for a in range(count):
            for b in range(count):
                x, y, w, h = boxes[a, b]
                assert w >= 9
                right = order.index(b) + 1
                if right < count:
                    assert x + w <= boxes[a, order[right]][0] + 0.15
                below = order.index(a) + 1
                if below < count:
                    assert y + h <= boxes[order[below], b][1] + 0.15


def test_numbers_stand_where_they_fit() -> None:
    def texts(count: int) -> list[str]:
        shared = np.full((count, count), 40_000_000) + np.eye(count, dtype=np.int64) * 2_000_000
        root = ET.fromstring(sharing_svg([f"i{k}" for k in range(count)], shared, width=700))
        return [e.text or "" for e in root.iter() if e.tag.endswith("text")]

    assert "2.0 MB" in texts(4)
    assert "42 MB" in texts(4)
    assert "5" in texts(20)  # per cent
    assert not any("MB" in text for text in texts(50))
    # And what they are is said.
    assert texts(4)[-1].endswith("the fuller the more; diagonal: sizes")
    assert texts(20)[-1].endswith("in per cent of the column's image")
    assert texts(50)[-1].endswith("the fuller the more")


def test_a_square_says_what_its_colour_says() -> None:
    shared = np.array([[100, 25], [25, 100]])
    names = ["a", "b"]
    big = [f"i{k}" for k in range(50)]
    many = np.kron(shared, np.ones((25, 25), np.int64))
    np.fill_diagonal(many, 100)
    root = ET.fromstring(sharing_svg(big, many, measure="shared", width=700, is_live=True))
    for row in (g for g in root.iter() if "data-row" in g.attrib):
        rects = [e for e in row if e.tag.endswith("rect")]
        for ground, square in zip(rects[::2], rects[1::2], strict=True):
            a, b = int(ground.get("data-a")), int(ground.get("data-b"))
            if a == b:
                continue
            area = float(square.get("width")) ** 2
            whole = (float(ground.get("width")) - 1.2) ** 2
            assert area / whole == pytest.approx(many[a, b] / many[b, b], abs=0.04)
    # And a bar, where there is room for a number.
    root = ET.fromstring(sharing_svg(names, shared, measure="missing", width=700, is_live=True))
    bars = [
        (ground, bar)
        for row in root.iter()
        if "data-row" in row.attrib
        for ground, bar in zip(list(row), list(row)[1:], strict=False)
        if "data-a" in ground.attrib and bar.tag.endswith("rect") and "data-a" not in bar.attrib
    ]
    assert len(bars) == 2
    for ground, bar in bars:
        assert float(bar.get("width")) == pytest.approx(0.75 * float(ground.get("width")), abs=0.2)


@given(st.integers(1, 12), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_alike_orders_all_and_puts_groups_together(count, rng) -> None:
    groups = [rng.randrange(3) for _ in range(count)]
    similarity = np.array(
        [[1.0 if i == j else 0.8 if a == b else 0.1 for j, b in enumerate(groups)]
         for i, a in enumerate(groups)]
    )  # fmt: skip
    order = alike(similarity)
    assert sorted(order) == list(range(count))
    changes = sum(groups[a] != groups[b] for a, b in itertools.pairwise(order))
    assert changes == len(set(groups)) - 1
    assert alike(similarity) == order


@given(st.lists(st.text("ab/:.", min_size=1, max_size=12), max_size=5))
def test_short_names_are_names_without_what_all_begin_with(names) -> None:
    short, prefix = without_prefix(names)
    if prefix:
        assert [prefix + name[1:] for name in short] == names
        assert prefix.endswith("/")
    else:
        assert short == names


def test_fifty_images_are_small_in_a_notebook() -> None:
    rng = random.Random(1)
    texts = [nbdock.text_file(f"etc/file-{i}", "x" * (i * 37 % 500 + 1)) for i in range(40)]

    held = [[rng.random() < 0.5 for _ in texts] for _ in range(50)]
    sizes = np.array([p.size_bytes for p in texts])
    names = [f"team/service-{i}:1" for i in range(50)]
    model = SharingModel(names)
    model._matrices["layer"] = pd.DataFrame(
        (np.array(held) * sizes) @ np.array(held).T, index=names, columns=names
    )
    model._things["layer"] = pd.DataFrame(
        {
            "name": [p.name for p in texts],
            "size_bytes": sizes,
            "images": [sum(h[i] for h in held) for i in range(40)],
            "in_images": [[n for n, h in zip(names, held, strict=True) if h[i]] for i in range(40)],
        }
    )
    twin = SharingExplorer(model).twin()
    assert len(twin.html) < 500_000
    root = ET.fromstring(twin.html[twin.html.index("<svg") : twin.html.index("</svg>") + 6])
    assert sum(e.tag.endswith("rect") for e in root.iter()) == 2500


def test_wrong_questions_are_refused(images) -> None:
    with pytest.raises(ArgumentTypeError, match="by='layr'"):
        explore_sharing(images, by="layr")
    explorer = explore_sharing(images)
    with pytest.raises(ArgumentError, match="not among the images") as caught:
        explorer.select("a:1", "d:1")
    assert "Did you mean" in caught.value.hint
    answer = explorer.answer({"id": 1, "what": "picture", "by": "layer", "measure": "mising"})
    assert answer["error"]["hint"] == "Did you mean 'missing'?"
    answer = explorer.answer({"id": 1, "what": "cell", "has": 99, "wants": 0})
    assert "error" in answer


def test_a_notebook_keeps_a_picture_and_a_table(images) -> None:
    twin = explore_sharing(images).twin()
    assert "<svg" in twin.html
    assert "<table" in twin.html
    assert "<script" not in twin.html
    assert "only here" in twin.text
    ET.fromstring(twin.html[twin.html.index("<svg") : twin.html.index("</svg>") + 6])
