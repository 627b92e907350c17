"""Builds by a fleet's plan and by history: the same layers have the same bytes."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

import nbdock
from nbdock.errors import ArgumentError, ArgumentTypeError
from nbdock.packages import ChangeHistory, text_file

START, END = dt.date(2025, 1, 1), dt.date(2025, 6, 1)
WEEKS = tuple(START + dt.timedelta(days=7 * n) for n in range(20))


def texts(**sizes: int) -> list[nbdock.Package]:
    return [text_file(f"etc/{name}", name[0] * size) for name, size in sizes.items()]


HISTORY = ChangeHistory(
    {"base": (), "shared": WEEKS[::4], "web": WEEKS, "db": WEEKS}, {}, START, END
)


async def test_shared_layers_of_a_fleet_have_one_digest() -> None:
    base, shared, web, db = texts(base=300_000, shared=200_000, web=100_000, db=90_000)
    contents = {"web": [web, base, shared], "db": [shared, db, base]}
    fleet = await nbdock.plan_fleet(contents, max_layers=4, history=HISTORY, layer_cost_bytes=1)
    images = {
        name: await nbdock.build_layered_image(
            name, contents=given, max_layers=4, layering=fleet.planner(name)
        )
        for name, given in contents.items()
    }
    one, two = (image.config.diff_ids for image in images.values())
    assert len(one) == len(two) == 4
    assert one[:2] == two[:2]
    assert one[2] != two[2]
    assert one[3] == two[3]  # the top layer: empty
    for name, image in images.items():
        assert image.plan is not None
        assert image.plan.layers == fleet[name].layers
    assert nbdock.sharing_table(list(images.values())) is not None
    with pytest.raises(ArgumentError, match="at least one image"):
        await nbdock.plan_fleet({})


async def test_layers_with_unused_packages_are_built() -> None:
    base, small = texts(base=300_000, small=10)
    contents = {"one": [base], "two": [base, small]}
    fleet = await nbdock.plan_fleet(
        contents, max_layers=2, history=ChangeHistory({}, {}, START, END), allow_unused=True
    )
    assert fleet.unused_bytes == 10
    image = await nbdock.build_layered_image(
        "one", contents=[base], max_layers=2, layering=fleet.planner("one")
    )
    assert await image.file("etc/small") == b"s" * 10


async def test_a_rebuild_keeps_the_layers_that_did_not_change(tmp_path: Path) -> None:
    base, shared, web = texts(base=300_000, shared=200_000, web=100_000)
    given = {"layering": "history", "history": HISTORY, "layer_cost_bytes": 1, "max_layers": 3}
    first = await nbdock.build_layered_image("web", contents=[base, shared, web], **given)
    newer = text_file("etc/web", "new" * 40_000)
    again = await nbdock.build_layered_image(
        "web", contents=[base, shared, newer], previous=first, **given
    )
    assert again.config.diff_ids[0] == first.config.diff_ids[0]
    assert (
        len(set(again.config.diff_ids) & set(first.config.diff_ids)) == 1 + 1
    )  # and the empty top
    loaded = await nbdock.load_image(await again.save(tmp_path / "web.tar.gz"))
    third = await nbdock.plan_layers(
        [base, shared, newer], max_layers=3, strategy="history", history=HISTORY, previous=loaded
    )
    assert again.plan is not None
    assert third.layers == again.plan.layers


@pytest.mark.parametrize("name", ["history", "previous", "layer_cost_bytes"])
async def test_planners_that_do_not_look_at_it(name: str) -> None:
    (base,) = texts(base=3)
    plan = await nbdock.plan_layers([base], strategy="chunked")
    value = {"history": HISTORY, "previous": plan, "layer_cost_bytes": 1}[name]
    with pytest.raises(ArgumentError, match=f"does not look at {name}"):
        await nbdock.plan_layers([base], strategy="size", **{name: value})
    with pytest.raises(ArgumentTypeError, match=f"{name} must be"):
        await nbdock.plan_layers([base], strategy="history", **{name: "x"})


async def test_without_a_history_there_is_a_plan() -> None:
    contents = texts(a=1000, b=2000, c=3000)
    plan = await nbdock.plan_layers(contents, max_layers=3, strategy="history")
    assert len(plan) <= 2
    assert plan.planner == "history"
