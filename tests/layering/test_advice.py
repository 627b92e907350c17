"""`advise_on`: what a plan and one by history would have pulled, counted by `replay`."""

from __future__ import annotations

import datetime as dt

import nbdock
from nbdock.layering import LayerPlan, advise_on, popularity_plan
from nbdock.packages import ChangeHistory, Closure
from nbdock.tables import replay

START = dt.date(2023, 1, 2)


def packages_and_history() -> tuple[Closure, ChangeHistory]:
    """Thirty packages, three of which change every fourth week."""
    files = [nbdock.text_file(f"etc/p{n}", "x" * (300_000 + n)) for n in range(30)]
    days = {
        f"p{n}": tuple(START + dt.timedelta(days=28 * i) for i in range(28)) if n % 10 == 9 else ()
        for n in range(30)
    }
    history = ChangeHistory(days, {}, START, START + dt.timedelta(days=28 * 28))
    return Closure(tuple(files), {p.key: () for p in files}, ()), history


def test_both_plans_are_charged_for_the_year_that_nobody_saw() -> None:
    packages, history = packages_and_history()
    plan = popularity_plan(packages, 20)
    advice = advise_on(plan, packages, history)
    assert advice is not None
    assert (advice.layers, advice.against_layers, advice.changed) == (20, 20, True)
    table = replay(packages, history, planners=["popularity", "history"], budgets=[20])
    pulled = table.pulled_bytes.groupby(["planner", "budget"], observed=True).sum()
    assert advice.saved == 1 - pulled["history", 20] / pulled["popularity", 20]
    assert advice.days == 7 * len(table.loc["ideal", 20])
    assert 0.5 < advice.saved < 1
    assert str(advice).startswith(f"20 layers chosen by history pull {advice.saved:.0%} less")


def test_no_plan_is_looked_for_where_none_can_save_as_much() -> None:
    packages, history = packages_and_history()
    each = LayerPlan(tuple((p,) for p in packages.packages), 99, "popularity")
    assert advise_on(each, packages, history, least=0.01) is None
    plan = popularity_plan(packages, 20)
    assert advise_on(plan, packages, history, least=0.5) is not None
    assert advise_on(plan, packages, history, least=0.95) is None
    still = ChangeHistory({p.name: () for p in packages.packages}, {}, START, history.end)
    assert advise_on(plan, packages, still, least=0.2) is None
    assert "nothing changed" in str(advise_on(plan, packages, still))
