"""The planners of apko and ostree-rs-ext, against cases counted by hand from their sources."""

from __future__ import annotations

import datetime as dt

import pytest
from support.closures import Stub

from nbdock.errors import LayerLimitError
from nbdock.layering import LayerPlan, chunked_plan, size_plan
from nbdock.packages import ChangeHistory, Closure


def of(*packages: Stub, overrides: tuple[tuple[str, str], ...] = ()) -> Closure:
    return Closure(packages, {p.key: () for p in packages}, (), overrides)


def names(plan: LayerPlan) -> list[str]:
    return [" ".join(p.name for p in layer) for layer in plan.layers]


def sized(**sizes: int) -> Closure:
    return of(*(Stub(name, bytes=size) for name, size in sizes.items()))


SOURCES = of(
    Stub("libz", bytes=30, built_from="z"),
    Stub("zbin", bytes=40, built_from="z"),
    Stub("app", bytes=60),
    Stub("doc", bytes=10),
    Stub("aux", bytes=10),
)


@pytest.mark.parametrize(
    ("limit", "layers"),
    [
        (1, ["app aux doc libz zbin"]),
        (2, ["libz zbin", "app aux doc"]),
        (3, ["libz zbin", "app", "aux doc"]),
        (4, ["libz zbin", "app", "aux", "doc"]),  # as many groups as layers: none is joined
        (9, ["libz zbin", "app", "aux", "doc"]),
    ],
)
def test_size_takes_the_largest_sources(limit: int, layers: list[str]) -> None:
    plan = size_plan(SOURCES, limit)
    assert names(plan) == layers
    assert (plan.limit, plan.planner) == (limit, "size")


def test_size_joins_what_may_overwrite_each_others_files() -> None:
    # doc replaces app, aux replaces doc: the three are one group, the largest.
    packages = SOURCES.packages
    joined = Closure(packages, SOURCES.references, (), (("doc", "app"), ("aux", "doc")))
    assert names(size_plan(joined, 2)) == ["app aux doc", "libz zbin"]


def test_size_breaks_ties_by_the_last_name_of_a_group() -> None:
    tied = of(
        Stub("a", bytes=5, built_from="late"),
        Stub("z", bytes=5, built_from="late"),
        Stub("m", bytes=10),
    )
    assert names(size_plan(tied, 9)) == ["m", "a z"]


def test_no_layers_at_all() -> None:
    for planner in (size_plan, chunked_plan):
        with pytest.raises(LayerLimitError):
            planner(SOURCES, 0)


def test_chunked_with_few_packages_or_few_layers() -> None:
    five = sized(a=1, b=5, c=2, d=4, e=3)
    assert names(chunked_plan(five, 6)) == ["b", "d", "e", "c", "a"]  # one bin stays reserved
    assert names(chunked_plan(five, 3)) == ["b d e c a"]


def test_chunked_by_size_alone() -> None:
    # Median 48, median deviation 8. From 64 on: large, and one of five bins less two is for them.
    # The other large one is judged again: mean 188, deviation 318, so that from 825 on it is large,
    # and all up to 224 are small. (7 - 1 - 0) // 2 packages make a bin.
    plan = chunked_plan(sized(a=40, b=40, c=44, d=48, e=52, f=900, g=4000), 5)
    assert names(plan) == ["g", "f", "e d c", "a b"]
    assert plan.planner == "chunked"


def test_chunked_puts_small_ones_into_one_bin() -> None:
    # Median 95, median deviation 35: large from 165 on, small up to 12.5. Of four bins less two
    # one is for large ones, (4 - 2) * 3 // 5, and one for the (8 - 1 - 2) // 1 others.
    plan = chunked_plan(sized(a=1, b=2, c=40, d=90, e=100, f=110, g=110, h=500), 4)
    assert names(plan) == ["h", "b a", "f g e d c"]


def test_chunked_joins_pairs_from_the_end_one_place_too_late() -> None:
    from nbdock.layering.chunked import _join

    a, b, c, d, e, f = ([Stub(n)] for n in "abcdef")
    bins = [a, b, c, d, e, f]
    _join(bins, first=1, most=4)
    # From places 1 and 3, the last first: c and d become one behind e, then a and b behind e.
    assert ["".join(p.name for p in layer) for layer in bins] == ["e", "ab", "cd", "f"]


def test_chunked_counts_the_changes_of_the_last_year() -> None:
    end = dt.date(2025, 1, 1)
    weeks = [end - dt.timedelta(days=7 * n) for n in range(1, 30)]
    changes = dict.fromkeys("abcdefghij", ()) | {
        "j": tuple(reversed(weeks)),
        "a": (end - dt.timedelta(days=400),),  # too long ago
    }
    history = ChangeHistory(changes, {}, end - dt.timedelta(days=800), end)
    same = sized(**dict.fromkeys("abcdefghij", 100))
    # All are large (the deviation is 0), four bins of six less two are for others: the first
    # by name take their own. What changes often comes first of those.
    without, with_history = chunked_plan(same, 6), chunked_plan(same, 6, history=history)
    assert names(without)[:2] == names(with_history)[:2] == ["a", "b"]
    assert names(without)[-1].endswith("j")
    assert names(with_history)[2] == "j"
