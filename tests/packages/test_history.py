"""What a history of changes says: windows, rebuilds, rates."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdock.errors import ArgumentError
from nbdock.packages import ChangeHistory

START = dt.date(2025, 1, 1)


def day(number: int) -> dt.date:
    return START + dt.timedelta(days=number)


histories = st.builds(
    lambda changes, sources, length: ChangeHistory(
        {name: tuple(sorted(day(n) for n in days if n < length)) for name, days in changes.items()},
        sources, START, day(length),
    ),
    st.dictionaries(st.sampled_from("abcdef"), st.sets(st.integers(0, 400), max_size=20)),
    st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["s", "t"])),
    st.integers(0, 400),
)  # fmt: skip


@given(histories, st.integers(-5, 410), st.integers(1, 40))
def test_the_two_parts_of_a_history_are_the_whole(
    history: ChangeHistory, number: int, every: int
) -> None:
    before, after = history.until(day(number)), history.since(day(number))
    assert before.end == after.start
    assert (before.start, after.end) == (history.start, history.end)
    for name, days in history.changes.items():
        assert before.changes[name] + after.changes[name] == days
    assert set(before.changes) == set(after.changes) == set(history.changes)
    rebuilds = history.rebuilds(every)
    assert len(rebuilds) == -(-(history.end - history.start).days // every)
    for name, days in history.changes.items():
        assert {(d - START).days // every for d in days} == {
            i for i, changed in enumerate(rebuilds) if name in changed
        }


@given(histories, st.integers(1, 40))
def test_rates_are_probabilities_that_sources_share(history: ChangeHistory, every: int) -> None:
    rates = history.rates(every, names=["unknown"])
    assert set(rates) == set(history.changes) | {"unknown"}
    assert all(0 < rate < 1 for rate in rates.values())
    for one in history.changes:
        for other in history.changes:
            if history.source_of(one) == history.source_of(other):
                assert rates[one] == rates[other]


def test_what_changed_more_often_or_later_is_likelier_to_change() -> None:
    weeks = {"never": [], "once": [5], "often": [5, 30, 50, 60], "lately": [90], "ago": [5]}
    changes = {name: tuple(day(7 * n) for n in found) for name, found in weeks.items()}
    rates = ChangeHistory(changes, {}, START, day(7 * 100)).rates()
    assert rates["never"] < rates["once"] < rates["lately"] < rates["often"] < 1
    assert rates["once"] == rates["ago"]


def test_a_history_that_knows_nothing_takes_all_for_alike() -> None:
    empty = ChangeHistory({}, {}, START, START)
    assert empty.rebuilds() == []
    rates = empty.rates(names=["a", "b"])
    assert 0 < rates["a"] == rates["b"] < 1


def test_wrong_values() -> None:
    with pytest.raises(ArgumentError, match="ends after it starts"):
        ChangeHistory({}, {}, day(1), START)
    with pytest.raises(ArgumentError, match="a day apart"):
        ChangeHistory({}, {}, START, day(1)).rebuilds(0)
