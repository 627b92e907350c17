"""What `explore_plan` knows: one closure, many plans of it, and what other images would share.

model = PlanModel.of([apt.postgresql], compare={"redis": [apt.redis]})
plan = model.plan("auto", 20)
model.shared(plan)              # for each layer, the others that would have the same one
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from nbdock.concurrency import run
from nbdock.errors import ArgumentError, ArgumentTypeError, nearest
from nbdock.images import Image, closure, contents_comment
from nbdock.layering import (
    HistoryPlanner,
    LayerPlan,
    check_layer_limit,
    chunked_plan,
    label_of,
    order_layers,
    planners,
)
from nbdock.packages import ChangeHistory, Closure, Package, Progress

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BY_HISTORY", "Other", "PlanModel", "Sharing"]

Plan: TypeAlias = Callable[[Closure, int], LayerPlan]
BY_HISTORY: Final = ("history", "chunked")
"""The planners that look at when packages changed."""

_SAME_AS_ANOTHER = "pipeline"
"""By itself this planner is the popularity contest."""


@dataclasses.dataclass(frozen=True, eq=False)
class Other:
    """Something that layers may be shared with: an image, or contents that are planned alike.

    Attributes
    ----------
    name
        What it is called.
    closure
        Of contents; of an image only if this process built it.
    image
        The image, if it is one.
    """

    name: str
    closure: Closure | None = None
    image: Image | None = None

    @functools.cached_property
    def packages(self) -> frozenset[str]:
        """What tells its packages apart: their keys, or what an image's history says of them."""
        if self.closure is not None:
            return frozenset(p.key for p in self.closure.packages)
        assert self.image is not None
        return frozenset(name for layer in self.image.layers for name in layer.contents)

    def has(self, package: Package) -> bool:
        """Whether it has a package, in whichever layer."""
        if self.closure is not None:
            return package.key in self.packages
        return label_of(package) in self.packages


@dataclasses.dataclass(frozen=True)
class Sharing:
    """What a plan would share with one other.

    Attributes
    ----------
    layers, size_bytes
        How many layers would be the same, and their bytes.
    both_bytes
        Bytes of all packages that both have: what could be shared at best.
    """

    name: str
    layers: int
    size_bytes: int
    both_bytes: int


class PlanModel:
    """A closure and the plans that planners make of it, each made once.

    Parameters
    ----------
    packages
        The closure that is planned.
    others
        What to look for the same layers in.
    history
        When packages changed, for the planner that goes by it.
    """

    def __init__(
        self,
        packages: Closure,
        *,
        others: Sequence[Other] = (),
        history: ChangeHistory | None = None,
    ) -> None:
        self.closure = packages
        self.others = tuple(others)
        self.history = history
        self.strategies = _strategies(history)
        self._plans: dict[tuple[int, str, int], LayerPlan] = {}

    @classmethod
    def of(
        cls,
        contents: Any,
        *,
        compare: Any = (),
        history: Any = None,
        progress: Progress | None = None,
    ) -> PlanModel:
        """Of contents, resolved, and of what they are compared with."""
        packages = run(closure(contents))
        known = None
        if history is not None and history is not False:
            from nbdock.tables import history_of

            known = history_of(packages if history is True else history, progress=progress)
        return cls(packages, others=_others(compare), history=known)

    def check(self, strategy: str) -> None:
        """Refuse a planner that is not among those of this model."""
        if strategy not in self.strategies:
            close = nearest(str(strategy), self.strategies, count=1)
            hint = f"Did you mean {close[0]!r}?" if close else ""
            if strategy in BY_HISTORY:
                hint = "Give history=True (of the packages themselves), or a history."
            raise ArgumentError(
                f"There is no planner {strategy!r:.60} to explore.",
                argument="strategy",
                hint=hint or f"Planners: {', '.join(self.strategies)}.",
            )

    def plan(self, strategy: str, max_layers: int) -> LayerPlan:
        """The plan by a planner of this model, for so many layers, the top one included."""
        self.check(strategy)
        return self._plan(-1, self.closure, strategy, max_layers)

    def _plan(self, who: int, packages: Closure, strategy: str, max_layers: int) -> LayerPlan:
        room = check_layer_limit(max_layers)
        key = (who, strategy, room)
        if key not in self._plans:
            made = self.strategies[strategy](packages, room)
            self._plans[key] = order_layers(made, packages.overrides)
        return self._plans[key]

    def shared(self, plan: LayerPlan, strategy: str, max_layers: int) -> list[tuple[int, ...]]:
        """For each layer of a plan the numbers of the others that would have the same one."""
        known = [self._layers(i, strategy, max_layers) for i in range(len(self.others))]
        if not known:
            return [()] * len(plan)
        found = []
        for layer in plan.layers:
            keys = tuple(p.key for p in layer)
            told = contents_comment(layer)
            found.append(
                tuple(i for i, layers in enumerate(known) if keys in layers or told in layers)
            )
        return found

    def _layers(self, number: int, strategy: str, max_layers: int) -> frozenset[object]:
        """What another's layers are known by: their packages' keys, or what their history says."""
        other = self.others[number]
        plan = other.image.plan if other.image is not None else None
        if other.image is None:
            assert other.closure is not None
            plan = self._plan(number, other.closure, strategy, max_layers)
        elif plan is None:
            return frozenset(layer.comment for layer in other.image.layers if layer.contents)
        assert plan is not None
        return frozenset(tuple(p.key for p in layer) for layer in plan.layers)

    def sharing(self, plan: LayerPlan, shared: Sequence[Sequence[int]]) -> list[Sharing]:
        """What would be shared with each other, in figures."""
        rows = plan.rows()
        found = []
        for number, other in enumerate(self.others):
            mine = [row for row, by in zip(rows, shared, strict=True) if number in by]
            both = sum(p.size_bytes for p in self.closure.packages if other.has(p))
            size = sum(row.size_bytes for row in mine)
            found.append(Sharing(other.name, len(mine), size, both))
        return found

    def table(self, plan: LayerPlan) -> pd.DataFrame:
        """The packages of a plan as a DataFrame, indexed by ``package``, bottom layer first.

        Columns: ``layer`` (position, from 0, the bottom), ``version``, ``size_bytes``,
        ``needed_by`` (the packages that need it directly, as a list).
        """
        import pandas as pd

        packages = [(i, p) for i, layer in enumerate(plan.layers) for p in layer]
        needed_by = self.needed_by
        return pd.DataFrame(
            {
                "layer": pd.Series([i for i, _ in packages], dtype="int64"),
                "version": pd.Series([p.version for _, p in packages], dtype="str"),
                "size_bytes": pd.Series([p.size_bytes for _, p in packages], dtype="int64"),
                "needed_by": pd.Series(
                    [[self.closure[k].name for k in needed_by[p.key]] for _, p in packages],
                    dtype="object",
                ),
            }
        ).set_axis(pd.Index([p.name for _, p in packages], name="package", dtype="str"))

    @functools.cached_property
    def needed_by(self) -> Mapping[str, Sequence[str]]:
        """For each package's key the keys of those that need it directly."""
        found: dict[str, list[str]] = {p.key: [] for p in self.closure.packages}
        for package in self.closure.packages:
            for needed in self.closure.references.get(package.key, ()):
                found[needed].append(package.key)
        return found

    @functools.cached_property
    def rates(self) -> Mapping[str, float]:
        """How likely each package is to change in a week, by name; empty without a history."""
        if self.history is None:
            return {}
        return self.history.rates(names=[p.name for p in self.closure.packages])


def _strategies(history: ChangeHistory | None) -> dict[str, Plan]:
    """The planners by name; those that go by a history only if there is one."""
    found: dict[str, Plan] = {
        name: planner
        for name, planner in planners().items()
        if name not in (*BY_HISTORY, _SAME_AS_ANOTHER)
    }
    if history is not None:
        found["history"] = HistoryPlanner(history)
        found["chunked"] = functools.partial(chunked_plan, history=history)
    return found


def _others(compare: Any) -> list[Other]:
    """What is compared with, by the names that a mapping gives, or their own."""
    if isinstance(compare, Mapping):
        named = [(str(name), value) for name, value in compare.items()]
    elif isinstance(compare, Image | Closure | Package | str) or not isinstance(compare, Sequence):
        raise ArgumentTypeError(
            f"compare must be a list, or a mapping from names, not {compare!r:.60}.",
            argument="compare",
            hint="For example compare=[image], or compare={'redis': [apt.redis]}.",
        )
    else:
        named = [("", value) for value in compare]
    others = []
    for number, (name, value) in enumerate(named):
        if isinstance(value, Image):
            others.append(Other(name or str(value), value.closure, value))
        else:
            packages = run(closure(value))
            asked = ", ".join(packages[key].name for key in packages.roots[:3])
            others.append(Other(name or asked or f"other {number + 1}", packages))
    return others
