"""`replay`: bytes pulled, counted by hand and by sets; what planners may see."""

from __future__ import annotations

import dataclasses
import datetime as dt
import random
from pathlib import Path

import pandas as pd
import pytest

import nbdock
from nbdock.errors import ArgumentError, ArgumentTypeError
from nbdock.packages import ChangeHistory, Closure
from nbdock.tables import advise, replay

START, SPLIT = dt.date(2025, 1, 1), dt.date(2025, 2, 5)
COLUMNS = {
    "date": "datetime64[s]", "layers": "int64", "changed_layers": "int64", "pulled_bytes": "int64",
    "requests": "int64", "stored_bytes": "int64",
}  # fmt: skip


def closure_of(**sizes: int) -> Closure:
    files = [nbdock.text_file(f"etc/{name}", "x" * size) for name, size in sizes.items()]
    return Closure(tuple(files), {p.key: () for p in files}, ())


def weeks(**changed: list[int]) -> ChangeHistory:
    """Packages, and the weeks in which they changed; ten weeks in all."""
    days = {
        name: tuple(START + dt.timedelta(days=7 * n) for n in found)
        for name, found in changed.items()
    }
    return ChangeHistory(days, {}, START, START + dt.timedelta(days=70))


def test_bytes_counted_by_hand() -> None:
    packages = closure_of(a=100, b=20, c=3)
    history = weeks(a=[0, 7], b=[1, 7, 9], c=[])

    def two(closure: Closure, limit: int) -> list[list[object]]:
        a, b, c = closure.packages
        return [[a, c], [b]]

    table = replay(packages, history, planners={"two": two}, budgets=[2], split="2025-02-05")
    assert {name: str(kind) for name, kind in table.dtypes.items()} == COLUMNS
    mine = table.loc["two", 2]
    assert mine.index.tolist() == [1, 2, 3, 4, 5]
    assert mine.pulled_bytes.tolist() == [0, 0, 123, 0, 20]
    assert mine.changed_layers.tolist() == [0, 0, 2, 0, 1]
    assert mine.requests.tolist() == [1, 1, 5, 1, 4]
    assert mine.stored_bytes.tolist() == [123, 123, 246, 246, 266]
    assert mine.date.iloc[0] == pd.Timestamp("2025-02-12")
    ideal = table.loc["ideal", 2]
    assert ideal.pulled_bytes.tolist() == [0, 0, 120, 0, 20]


def test_every_planner_against_sets() -> None:
    numbers = random.Random(3)
    sizes = {f"p{n}": numbers.randrange(1, 5000) for n in range(25)}
    packages = closure_of(**sizes)
    history = weeks(**{name: sorted(numbers.sample(range(10), 3)) for name in sizes})
    table = replay(packages, history, budgets=[1, 4, 25], split=SPLIT)
    assert set(table.index.get_level_values("planner")) == {
        "popularity", "auto", "size", "chunked", "history", "ideal"
    }  # fmt: skip
    rebuilds = history.since(SPLIT).rebuilds()
    ideal = [sum(sizes[name] for name in changed) for changed in rebuilds]
    for budget in (1, 4, 25):
        assert table.loc["ideal", budget].pulled_bytes.tolist() == ideal
        plan = nbdock.layering.planners()["popularity"](packages, budget)
        expected = [
            sum(
                sum(p.size_bytes for p in layer)
                for layer in plan.layers
                if any(p.name in changed for p in layer)
            )
            for changed in rebuilds
        ]
        assert table.loc["popularity", budget].pulled_bytes.tolist() == expected
    totals = table.pulled_bytes.groupby(["planner", "budget"], observed=True).sum()
    assert (totals >= sum(ideal)).all()
    whole = sum(sizes.values()) * sum(bool(changed) for changed in rebuilds)
    assert (totals.xs(1, level="budget").drop("ideal") == whole).all()


def test_planners_see_nothing_of_what_they_are_judged_by() -> None:
    packages = closure_of(a=500, b=400, c=300, d=5)
    before = {"a": [0, 1, 2, 3], "b": [], "c": [2], "d": [1, 3]}
    one = replay(packages, weeks(**before), planners=["history"], budgets=[2], split=SPLIT)
    later = {name: [*found, 8] for name, found in before.items()}
    other = replay(packages, weeks(**later), planners=["history"], budgets=[2], split=SPLIT)
    quiet = other.loc["history", 2].pulled_bytes.drop(4)
    assert (quiet == one.loc["history", 2].pulled_bytes.drop(4)).all()
    assert other.loc["history", 2].layers.tolist() == one.loc["history", 2].layers.tolist()


def test_wrong_arguments() -> None:
    packages, history = closure_of(a=1), weeks(a=[1])
    with pytest.raises(ArgumentError, match="is not in it"):
        replay(packages, history, split="2024-01-01")
    with pytest.raises(ArgumentTypeError, match="a day such as"):
        replay(packages, history, split="spring")
    with pytest.raises(ArgumentTypeError, match="no planner 'histroy'"):
        replay(packages, history, planners=["histroy"])
    with pytest.raises(ArgumentTypeError, match="list of planners"):
        replay(packages, history, planners="history")


def test_advice_says_how_many_layers_do() -> None:
    packages = closure_of(**{f"p{n}": 1000 + n for n in range(30)})
    history = weeks(**{f"p{n}": list(range(10)) if n < 3 else [] for n in range(30)})
    advice = advise(packages, history)
    assert str(advice) == repr(advice)
    assert "layers chosen by history pull" in str(advice)
    assert advice.layers == advice.against_layers, "there are fewer packages than layers"
    few = advise(packages, history, max_layers=21)
    assert (few.layers, few.against_layers) == (5, 20)
    assert str(few).startswith("5 layers chosen by history pull ")
    assert advice.table.columns.tolist() == ["popularity", "history", "ideal"]
    nothing = advise(packages, weeks(**{f"p{n}": [] for n in range(30)}))
    assert "nothing changed" in str(nothing)


def test_an_image_is_what_it_was_built_of(nbdock_home: Path) -> None:
    packages = closure_of(**{f"p{n}": 1000 + n for n in range(8)})
    history = weeks(**{f"p{n}": list(range(10)) if n < 3 else [] for n in range(8)})
    image = nbdock.concurrency.run(
        nbdock.build_layered_image("a", contents=packages.packages, max_layers=5)
    )
    advice = advise(image, history)
    assert (advice.against_layers, advice.table.index.max()) == (4, 4)
    assert str(advice) == str(advise(packages, history, max_layers=5))
    one = nbdock.concurrency.run(nbdock.build_image("b", contents=packages.packages))
    assert advise(one, history).table.index.max() == 99
    with pytest.raises(ArgumentError, match="is not known"):
        advise(dataclasses.replace(one, closure=None), history)
