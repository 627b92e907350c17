"""What layers by history would have saved those who pull an image, in a sentence.

The last year of a history judges: the planner `history` sees what was before it, and both plans
are charged for every layer that holds something that changed in one of the weekly rebuilds after
it. `advise_on` is for a plan that there is already, and plans once; `nbdock.advise` compares
planners at several numbers of layers.

    print(advise_on(image.plan, image.closure, history))
    # 20 layers chosen by history pull 68% less than 99 by popularity, over 371 days.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Sequence

from nbdock.layering.history import EVERY_DAYS, ChangeModel, HistoryPlanner
from nbdock.layering.order import order_layers
from nbdock.layering.partition import cost_curve
from nbdock.layering.plan import LayerPlan
from nbdock.packages import ChangeHistory, Closure, Package

__all__ = ["BUDGETS", "HARDLY_MORE", "LayerAdvice", "advise_on", "day_between"]

BUDGETS = (5, 10, 20, 40, 100)
"""The numbers of layers that are compared. Count."""

HARDLY_MORE = 1.05
"""As few layers are advised as pull at most so many times what the most layers pull."""

_JUDGED_DAYS = 365


@dataclasses.dataclass(frozen=True)
class LayerAdvice:
    """What layers chosen by history would have saved; printed, it is a sentence.

    Attributes
    ----------
    layers, against_layers
        How many layers by history are compared with how many by popularity. Count.
    saved
        Which part of the bytes they do not pull, from 0 to 1; negative if they pull more.
    days
        How many days the image was rebuilt for.
    changed
        Whether anything changed in them.
    """

    layers: int
    against_layers: int
    saved: float
    days: int
    changed: bool

    def __str__(self) -> str:
        if not self.changed:
            return f"In {self.days} days nothing changed: any layers do."
        share = abs(self.saved)
        than = f"than {self.against_layers} by popularity, over {self.days} days"
        if share < 0.005:
            return f"{self.layers} layers chosen by history pull no less {than}."
        more_or_less = "less" if self.saved > 0 else "more"
        return f"{self.layers} layers chosen by history pull {share:.0%} {more_or_less} {than}."

    __repr__ = __str__


def advise_on(
    plan: LayerPlan, closure: Closure, history: ChangeHistory, *, least: float = 0.0
) -> LayerAdvice | None:
    """Compare a plan with layers by history.

    How many of these is decided by what was to be expected before the year that judges: the fewest
    of `BUDGETS` and of the plan's own limit that cost hardly more than the limit does.

    Parameters
    ----------
    plan
        What they are compared with: one by popularity.
    closure
        The packages of the plan.
    history
        When they changed.
    least
        What must be saved: if no plan at all could save as much, there is no need to look for one,
        and the answer is None. A share, from 0 to 1.
    """
    day = day_between(history)
    before, rebuilds = history.until(day), history.since(day).rebuilds(EVERY_DAYS)
    theirs = pulled_bytes(plan.layers, rebuilds)
    ideal = pulled_bytes(([p] for layer in plan.layers for p in layer), rebuilds)
    if least and not ideal < (1 - least) * theirs:
        return None
    layers = _enough_layers(closure, plan.limit, before)
    ours = order_layers(HistoryPlanner(before)(closure, layers), closure.overrides)
    saved = 1 - pulled_bytes(ours.layers, rebuilds) / theirs if theirs else 0.0
    days = len(rebuilds) * EVERY_DAYS
    return LayerAdvice(len(ours), len(plan), saved, days, ideal > 0)


def pulled_bytes(layers: Iterable[Sequence[Package]], rebuilds: Sequence[frozenset[str]]) -> int:
    """What following all rebuilds pulls: of each the layers that hold a package that changed."""
    held = [({p.name for p in la}, sum(p.size_bytes for p in la)) for la in layers]
    return sum(
        size for changed in rebuilds for names, size in held if not names.isdisjoint(changed)
    )


def day_between(history: ChangeHistory) -> dt.date:
    """The day from which on a history judges: a year before its end, or half-way through it."""
    days = (history.end - history.start).days
    return history.end - dt.timedelta(days=min(_JUDGED_DAYS, days // 2))


def _enough_layers(closure: Closure, limit: int, history: ChangeHistory) -> int:
    model = ChangeModel.of(closure.packages, history)
    things = [model.thing(group) for group in model.groups(closure.packages)]
    costs = cost_curve(things, model.chances, limit=limit, layer_cost_bytes=model.layer_cost_bytes)
    budgets = [*(budget for budget in BUDGETS if budget < limit), limit]
    return next(b for b in budgets if costs[b - 1] <= HARDLY_MORE * costs[-1])
