"""`replay` and `advise`: what planners would have cost those who pull an image, by its history.

An image is planned once, with what was known on one day, and rebuilt every week after it. Each
rebuild has the packages that did change by then, and who follows pulls the layers that hold one of
them:

    table = nbdock.replay([apt.postgresql], split="2025-03-01")
    table.groupby(["planner", "budget"]).pulled_bytes.sum().unstack()
    print(nbdock.advise([apt.postgresql]))

The planner ``ideal`` is none: it pulls what changed, and nothing else. Bytes are those of the
packages when installed, as planners see them; what a registry sends is compressed, mostly to about
a third, which changes no comparison by much.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from nbdock.calling import checked
from nbdock.errors import ArgumentError, ArgumentTypeError
from nbdock.images import Contents, Image
from nbdock.layering import (
    BUDGETS,
    HARDLY_MORE,
    HistoryPlanner,
    LayerAdvice,
    LayerPlan,
    Strategy,
    check_layer_limit,
    chunked_plan,
    day_between,
    order_layers,
    planner_of,
)
from nbdock.packages import ChangeHistory, Closure, Progress
from nbdock.showing import watched_plain
from nbdock.tables.histories import history_of, to_closure, to_date
from nbdock.tables.marking import table_function

if TYPE_CHECKING:
    import pandas as pd

    from nbdock.tables.histories import HistorySource

__all__ = ["BUDGETS", "IDEAL", "PLANNERS", "Advice", "advise", "replay"]

PLANNERS: Final = ("popularity", "auto", "size", "chunked", "history")
IDEAL: Final = "ideal"


@table_function
def replay(
    contents: Contents | Closure | Image,
    history: HistorySource | None = None,
    *,
    planners: Sequence[Strategy] | Mapping[str, Strategy] = PLANNERS,
    budgets: Sequence[int] = BUDGETS,
    split: dt.date | str | None = None,
    every_days: int = 7,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """What each planner's layers would have cost in every rebuild of an image.

    Parameters
    ----------
    contents
        As for `build_layered_image`; a closure; or an image that was built of packages.
    history
        When the packages changed: anything that `history_of` takes. By default what the contents
        themselves tell.
    planners
        Names of `planners`, pipelines or functions, or a mapping of names of your own to them.
        ``"history"`` plans with what was known before `split`; with a `HistoryPlanner` or a
        function of your own, see to that yourself.
    budgets
        How many layers packages may take; the one on top is not counted. Count.
    split
        The day of the plan: planners see what was before it, and are judged by what came after
        it. By default a year before the history ends, or half-way through a shorter one.
    every_days
        Days from one rebuild to the next.
    progress
        Told what is being done.

    Returns
    -------
    pandas.DataFrame
        Indexed by ``planner``, ``budget`` and ``rebuild`` (from 1), with the columns

        - ``date``: the day of the rebuild,
        - ``layers``: how many layers the plan has,
        - ``changed_layers``: how many of them hold a package that changed since the rebuild before,
        - ``pulled_bytes``: bytes of those layers, installed,
        - ``requests``: what a pull asks the registry: for the tag, and if there is something new
          for the manifest, the configuration and each of those layers,
        - ``stored_bytes``: what the registry has by then: the image and all its rebuilds.

        The planner ``ideal`` is added, of which every package that changed is a layer.

    Raises
    ------
    ArgumentError
        There is no time after `split`, or no such planner.
    """
    import pandas as pd

    packages = to_closure(contents)
    known = history_of(packages if history is None else history, progress=progress)
    day = split_of(known, split)
    before, after = known.until(day), known.since(day)
    rebuilds = after.rebuilds(every_days)
    changed = _changed(packages, rebuilds)
    dates = [
        min(day + dt.timedelta(days=every_days * (i + 1)), known.end) for i in range(len(rebuilds))
    ]
    frames = []
    chosen = _named(planners)
    for number, (name, planner) in enumerate(chosen.items()):
        for budget in budgets:
            plan = planned(packages, planner, budget, before)
            frames.append(_rows(packages, _layer_of(packages, plan), changed, name, budget, dates))
        if progress is not None:
            progress("Replaying planners", number + 1, len(chosen))
    alone = np.arange(len(packages))
    frames += [_rows(packages, alone, changed, IDEAL, budget, dates) for budget in budgets]
    table = pd.concat(frames, ignore_index=True) if frames else None
    assert table is not None
    names = [*chosen, IDEAL]
    table["planner"] = pd.Categorical(table["planner"], pd.Index(names, dtype="str"))
    return table.set_index(["planner", "budget", "rebuild"])


def planned(packages: Closure, planner: Strategy, budget: int, history: ChangeHistory) -> LayerPlan:
    """The plan of a planner, with a history if it is one that takes one."""
    plan: Callable[[Closure, int], LayerPlan]
    if planner == "history":
        plan = HistoryPlanner(history)
    elif planner == "chunked":
        plan = functools.partial(chunked_plan, history=history)
    else:
        plan = planner_of(planner, argument="planners")
    return order_layers(plan(packages, budget), packages.overrides)


def split_of(history: ChangeHistory, split: dt.date | str | None) -> dt.date:
    """The day between what planners see and what they are judged by.

    Raises
    ------
    ArgumentError
        It is not within the history.
    """
    if split is None:
        return day_between(history)
    day = to_date(split, argument="split")
    if not history.start <= day < history.end:
        raise ArgumentError(
            f"The history goes from {history.start} to {history.end}; {day} is not in it.",
            argument="split",
            hint="Without split, it is a year before the end.",
        )
    return day


def _named(planners: Sequence[Strategy] | Mapping[str, Strategy]) -> dict[str, Strategy]:
    if isinstance(planners, Mapping):
        return dict(planners)
    if isinstance(planners, str) or not isinstance(planners, Sequence):
        raise ArgumentTypeError(
            f"planners must be a list of planners, not {planners!r:.60}.", argument="planners"
        )
    return {_name(planner): planner for planner in planners}


def _name(planner: Strategy) -> str:
    if isinstance(planner, str):
        return planner
    name: Any = getattr(planner, "name", getattr(planner, "__name__", None))
    return name if isinstance(name, str) else type(planner).__name__.lower()


def _changed(packages: Closure, rebuilds: Sequence[frozenset[str]]) -> list[npt.NDArray[np.int64]]:
    """For each rebuild the places of the packages that changed."""
    places: dict[str, list[int]] = {}
    for place, package in enumerate(packages.packages):
        places.setdefault(package.name, []).append(place)
    return [
        np.array(sorted(p for name in names for p in places.get(name, ())), np.int64)
        for names in rebuilds
    ]


def _layer_of(packages: Closure, plan: LayerPlan) -> npt.NDArray[np.int64]:
    """The number of each package's layer; -1 for those that a pipeline left out."""
    by_key = {p.key: number for number, layer in enumerate(plan.layers) for p in layer}
    return np.array([by_key.get(p.key, -1) for p in packages.packages], np.int64)


def _rows(
    packages: Closure, layer_of: npt.NDArray[np.int64], changed: Sequence[npt.NDArray[np.int64]],
    planner: str, budget: int, dates: Sequence[dt.date],
) -> pd.DataFrame:  # fmt: skip
    import pandas as pd

    sizes = np.array([p.size_bytes for p in packages.packages], np.int64)
    held = layer_of >= 0
    layers = int(layer_of.max(initial=-1)) + 1
    layer_bytes = np.zeros(layers, np.int64)
    np.add.at(layer_bytes, layer_of[held], sizes[held])
    pulled = [np.unique(layer_of[places][held[places]]) for places in changed]
    counts = np.array([len(numbers) for numbers in pulled], np.int64)
    pulled_bytes = np.array([layer_bytes[numbers].sum() for numbers in pulled], np.int64)
    return pd.DataFrame(
        {
            "planner": planner,
            "budget": np.int64(budget),
            "rebuild": np.arange(1, len(dates) + 1),
            "date": pd.to_datetime(pd.Series(dates, dtype="object")).astype("datetime64[s]"),
            "layers": np.int64(layers),
            "changed_layers": counts,
            "pulled_bytes": pulled_bytes,
            "requests": np.where(counts > 0, counts + 3, 1),
            "stored_bytes": layer_bytes.sum() + np.cumsum(pulled_bytes),
        }
    )


@dataclasses.dataclass(frozen=True, repr=False)
class Advice(LayerAdvice):
    """What layers chosen by history would have saved, in a sentence; `table` has the figures.

    Attributes
    ----------
    table
        Bytes pulled: a row for each budget, a column for each planner.
    """

    table: pd.DataFrame


@checked
@watched_plain("Replayed")
def advise(
    contents: Contents | Closure | Image,
    history: HistorySource | None = None,
    *,
    max_layers: int | None = None,
    split: dt.date | str | None = None,
    every_days: int = 7,
    progress: Progress | None = None,
) -> Advice:
    """How many layers to choose by history, and what that saves.

    Of the budgets up to `max_layers`, the smallest that pulls hardly more than the largest (5%). It
    is compared with `max_layers` by popularity; where there are no more packages than these, so
    that popularity has nothing to choose, with as many.

    Parameters
    ----------
    max_layers
        As for `build_layered_image`: how many layers popularity has. Of an image, by default as
        many as it was built with.
    contents, history, split, every_days, progress
        As for `replay`.

    Returns
    -------
    Advice
        Printed, it is a sentence: "20 layers chosen by history pull 68% less than 100 by
        popularity, over 365 days."

    Raises
    ------
    ArgumentError
        As `replay`.
    """
    packages = to_closure(contents)
    plan = contents.plan if isinstance(contents, Image) else None
    if max_layers is None and plan is not None and plan.limit > 1:
        max_layers = plan.limit + 1
    room = check_layer_limit(max_layers, 0)
    budgets = sorted({min(budget, room) for budget in (*BUDGETS, room)})
    table = replay(
        packages, history, planners=("popularity", "history"), budgets=budgets, split=split,
        every_days=every_days, progress=progress,
    )  # fmt: skip
    pulled = table["pulled_bytes"].groupby(["budget", "planner"], observed=True).sum().unstack()
    pulled = pulled[["popularity", "history", IDEAL]].rename_axis(columns=None)
    mine = pulled["history"]
    layers = int(mine.index[mine <= HARDLY_MORE * mine.iloc[-1]][0])
    against = budgets[-1] if len(packages) > budgets[-1] else layers
    by_popularity = float(pulled["popularity"][against])
    saved = 1 - float(mine[layers]) / by_popularity if by_popularity else 0.0
    days = table.index.get_level_values("rebuild").max() * every_days if len(table) else 0
    changed = bool(pulled[IDEAL].any())
    return Advice(layers, against, saved, int(days), changed, pulled)
