"""Layers that change as seldom as their packages do: the planner that knows when packages changed.

Other planners guess from the graph or from sizes what belongs together. This one has dates: of all
plans it looks for the one with the fewest bytes to pull per rebuild that are to be expected
(`nbdock.layering.partition`), the chances being those of `ChangeHistory.rates`.

    plan = HistoryPlanner(history)(closure, 19)
    plan = HistoryPlanner(history, previous=image.plan)(closure, 19)

With `previous`, layers of an earlier plan whose packages are all there, unchanged, stay as they are
unless what their bytes cost to pull again is made up for within `horizon_rebuilds`: planning
anew is no reason to pull. What changed is pulled anyway, and is free to move.

The least likely to change is at the bottom. Engines that know a layer by all that is below it
(Docker's own store does) then keep the most.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeAlias

from nbdock import settings
from nbdock.errors import ArgumentError
from nbdock.layering.graph import components
from nbdock.layering.order import check_room
from nbdock.layering.partition import Thing, best_partition, cost_curve, expected_cost
from nbdock.layering.plan import LayerPlan
from nbdock.packages import ChangeHistory, Closure, Package

__all__ = ["ChangeModel", "HistoryPlanner", "Previous", "history_plan", "label_of", "planned"]

EVERY_DAYS = 7
"""How far apart rebuilds are that chances are for. Days."""

OWN_FILES_CHANCE = 0.5
"""How likely files of one's own, which come from no package set and have no history, are to change
before the next rebuild: they are what is being worked on."""

_SEARCHED = 3000
"""How many packages are searched in all to find out which layers of an earlier plan to give up, if
these are not too many for one search. Count."""

NO_HISTORY = ChangeHistory({}, {}, dt.date(1970, 1, 1), dt.date(1970, 1, 1))

Previous: TypeAlias = LayerPlan | Sequence[Sequence[str]]
"""An earlier plan: packages, or of each layer the labels (`label_of`) or keys of its packages."""


def label_of(package: Package) -> str:
    """What the history of an image calls a package: its place, or its name and version."""
    if package.root != "/":
        return package.root
    return f"{package.name}={package.version}" if package.version else package.name


@dataclasses.dataclass(frozen=True)
class HistoryPlanner:
    """The planner ``history`` with what it goes by.

    Attributes
    ----------
    history
        When packages changed. Of packages that it does not know, those of a package set are taken
        for average, files of one's own for restless.
    previous
        The plan of the image that is being rebuilt, or of each of its layers the labels of its
        packages.
    layer_cost_bytes
        What a layer more costs each time it is pulled; by default the setting of this name. Bytes.
    horizon_rebuilds
        In how many rebuilds a change of the plan must make up for what it costs; by default the
        setting `plan_horizon_rebuilds`. Count.

    Examples
    --------
    >>> import datetime as dt
    >>> from nbdock.packages import text_file
    >>> texts = [text_file(f"etc/{name}", name * length)
    ...          for name, length in [("a", 900), ("b", 800), ("c", 700), ("d", 8)]]
    >>> packages = Closure(tuple(texts), {p.key: () for p in texts}, ())
    >>> days = tuple(dt.date(2025, 1, 1) + dt.timedelta(days=7 * i) for i in range(20))
    >>> known = ChangeHistory({"a": (), "b": days, "c": (), "d": days}, {}, days[0], days[-1])
    >>> plan = HistoryPlanner(known, layer_cost_bytes=0)(packages, 2)
    >>> [[p.name for p in layer] for layer in plan.layers]
    [['a', 'c'], ['b', 'd']]
    """

    history: ChangeHistory
    _: dataclasses.KW_ONLY
    previous: Previous | None = None
    layer_cost_bytes: float | None = None
    horizon_rebuilds: int | None = None

    name = "history"

    def __post_init__(self) -> None:
        for name, least in (("layer_cost_bytes", 0), ("horizon_rebuilds", 1)):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not value >= least):
                raise ArgumentError(
                    f"{name} must be {least} or more, not {value!r}.", argument=name
                )

    def __call__(self, closure: Closure, limit: int) -> LayerPlan:
        """The plan for a closure with at most `limit` layers.

        Raises
        ------
        LayerLimitError
            `limit` is below one.
        """
        check_room(limit)
        model = ChangeModel.of(closure.packages, self.history, self.layer_cost_bytes)
        pairs = [
            (w, s) for w, s in closure.overrides if w in closure.by_key and s in closure.by_key
        ]
        kept = self._kept(closure)
        if not kept:
            layers = planned(closure.packages, limit, model, pairs, ())
        else:
            layers = self._replanned(closure, limit, model, pairs, kept)
        ordered = sorted(
            layers, key=lambda layer: (model.chance(layer), [p.sort_key for p in layer])
        )
        return LayerPlan(tuple(ordered), limit, "history")

    def _kept(self, closure: Closure) -> list[tuple[Package, ...]]:
        """The layers of the previous plan that the closure could have as they are."""
        if self.previous is None:
            return []
        if isinstance(self.previous, LayerPlan):
            given = [[p.key for p in layer] for layer in self.previous.layers]
        else:
            given = [list(layer) for layer in self.previous]
        known = {label_of(p): p for p in closure.packages} | closure.by_key
        kept: list[tuple[Package, ...]] = []
        taken: set[str] = set()
        for names in given:
            layer = [known[name] for name in names if name in known]
            keys = {p.key for p in layer}
            if layer and len(keys) == len(names) and not keys & taken:
                kept.append(tuple(layer))
                taken |= keys
        return kept

    def _replanned(
        self, closure: Closure, limit: int, model: ChangeModel, pairs: _Pairs,
        kept: Sequence[tuple[Package, ...]],
    ) -> list[tuple[Package, ...]]:  # fmt: skip
        """The best of plans that give up more and more of the kept layers, the costliest first.

        How good each is is estimated from its best cuts. Those are searched that promise most, as
        many as there is time for, and the one that keeps all it can.
        """
        horizon = self.horizon_rebuilds or settings.current().plan_horizon_rebuilds
        kept = sorted(kept, key=lambda layer: (-model.cost([layer]), layer[0].sort_key))
        there = {frozenset(layer) for layer in kept}
        given_up = {
            count: total
            for count in _steps(len(kept), coarse=len(closure) > _SEARCHED)
            if (total := _estimated(closure, limit, model, kept[count:], horizon)) is not None
        }
        best: list[tuple[Package, ...]] = []
        least = float("inf")
        promising = sorted(given_up, key=lambda count: (given_up[count], count))
        searched = promising[: max(1, _SEARCHED // len(closure))]
        for count in sorted({min(given_up), *searched}):
            stay = kept[count:]
            free = _without(closure, stay)
            layers = planned(free, limit - len(stay), model, pairs, stay)
            pulled = [layer for layer in layers if frozenset(layer) not in there]
            total = horizon * model.cost(layers) + sum(p.size_bytes for la in pulled for p in la)
            if total < least:
                best, least = layers, total
        return best


def _without(closure: Closure, layers: Iterable[Collection[Package]]) -> list[Package]:
    inside = {p.key for layer in layers for p in layer}
    return [p for p in closure.packages if p.key not in inside]


def _estimated(
    closure: Closure, limit: int, model: ChangeModel, stay: Sequence[tuple[Package, ...]],
    horizon: int,
) -> float | None:  # fmt: skip
    """What the best cuts cost besides layers that stay; None if there is no room for any."""
    free = _without(closure, stay)
    room = limit - len(stay)
    if room < bool(free):
        return None
    costs = 0.0
    if free:
        things = [model.thing(group) for group in model.groups(free)]
        costs = cost_curve(
            things, model.chances, limit=room, layer_cost_bytes=model.layer_cost_bytes
        )[-1]
    return horizon * (model.cost(stay) + costs) + sum(p.size_bytes for p in free)


def history_plan(closure: Closure, limit: int) -> LayerPlan:
    """The plan for packages of which no history is known: any is as likely to change as another.

    Raises
    ------
    LayerLimitError
        `limit` is below one.
    """
    return HistoryPlanner(NO_HISTORY)(closure, limit)


_Pairs: TypeAlias = Sequence[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class ChangeModel:
    """What makes packages change, as independent events, each with its chance.

    Attributes
    ----------
    events
        Of each package the numbers of its events, by its key.
    chances
        How likely each event is to happen before the next rebuild.
    layer_cost_bytes
        What a layer more costs when it is pulled. Bytes.
    """

    events: Mapping[str, tuple[int, ...]]
    chances: Sequence[float]
    layer_cost_bytes: float

    @classmethod
    def of(
        cls,
        packages: Iterable[Package],
        history: ChangeHistory,
        layer_cost_bytes: float | None = None,
    ) -> ChangeModel:
        """The model of a history.

        What of a source did not always change together has events of its own besides the source's.
        """
        packages = sorted(packages, key=lambda p: p.sort_key)
        rates = history.rates(EVERY_DAYS, names=[p.name for p in packages])
        sources: dict[str, dict[tuple[dt.date, ...], list[Package]]] = {}
        for p in packages:
            source = history.sources.get(p.name, p.source)
            days = tuple(history.changes.get(p.name, ()))
            sources.setdefault(source, {}).setdefault(days, []).append(p)
        events: dict[str, tuple[int, ...]] = {}
        chances: list[float] = []
        for classes in sources.values():
            together = set.intersection(*map(set, classes))
            ever = set[dt.date]().union(*classes)
            common = len(chances)
            # Files of one's own are on no list of versions.
            rate = max(
                OWN_FILES_CHANCE
                if p.package_set is None and p.name not in history.changes and history.changes
                else rates[p.name]
                for members in classes.values()
                for p in members
            )
            share = len(together) / len(ever) if ever else 1.0
            chances.append(1.0 - (1.0 - rate) ** share)
            for days, members in classes.items():
                numbers = [common]
                if len(days) > len(together):
                    numbers.append(len(chances))
                    share = (len(days) - len(together)) / len(ever)
                    chances.append(1.0 - (1.0 - rate) ** share)
                events.update((p.key, tuple(numbers)) for p in members)
        cost = settings.current().layer_cost_bytes if layer_cost_bytes is None else layer_cost_bytes
        return cls(events, chances, cost)

    def thing(self, packages: Collection[Package]) -> Thing:
        """Packages that stay together, for `best_partition`."""
        events = dict.fromkeys(e for p in packages for e in self.events[p.key])
        return Thing(sum(p.size_bytes for p in packages), tuple(events))

    def cost(self, layers: Iterable[Collection[Package]]) -> float:
        """How much layers are expected to cost per rebuild. Bytes."""
        things = [self.thing(layer) for layer in layers]
        return expected_cost(
            [[n] for n in range(len(things))], things, self.chances,
            layer_cost_bytes=self.layer_cost_bytes,
        )  # fmt: skip

    def chance(self, layer: Collection[Package]) -> float:
        """How likely a layer is to change before the next rebuild."""
        events = {e for p in layer for e in self.events[p.key]}
        stays = 1.0
        for event in sorted(events):
            stays *= 1.0 - self.chances[event]
        return 1.0 - stays

    def groups(self, packages: Iterable[Package]) -> list[list[Package]]:
        """The packages that always change together, in an order of their own."""
        found: dict[tuple[int, ...], list[Package]] = {}
        for package in sorted(packages, key=lambda p: p.sort_key):
            found.setdefault(self.events[package.key], []).append(package)
        return list(found.values())


def planned(
    packages: Iterable[Package], limit: int, model: ChangeModel, pairs: _Pairs,
    stay: Sequence[tuple[Package, ...]],
) -> list[tuple[Package, ...]]:  # fmt: skip
    """The best layers for packages, besides layers that stay, such that all can be stacked.

    When of two layers each would have to stand above the other, what makes it so is put together
    and the rest planned again; if it is in a layer that stays, the builder joins the two.
    """
    groups = model.groups(packages)
    while True:
        things = [model.thing(group) for group in groups]
        found = best_partition(
            things, model.chances, limit=limit, layer_cost_bytes=model.layer_cost_bytes
        )
        layers = [
            tuple(sorted((p for n in layer for p in groups[n]), key=lambda p: p.sort_key))
            for layer in found
        ]
        joined = _entangled([*layers, *stay], pairs)
        merged = _united(groups, joined)
        if len(merged) == len(groups):
            return [*layers, *stay]
        groups = merged


def _entangled(layers: Sequence[Sequence[Package]], pairs: _Pairs) -> _Pairs:
    """The pairs of packages that keep layers from being stacked."""
    layer_of = {p.key: i for i, layer in enumerate(layers) for p in layer}
    above: list[set[int]] = [set() for _ in layers]
    for winner, loser in pairs:
        if layer_of[winner] != layer_of[loser]:
            above[layer_of[loser]].add(layer_of[winner])
    group_of = {i: g for g, group in enumerate(components(above)) for i in group}
    return [
        (w, s) for w, s in pairs
        if layer_of[w] != layer_of[s] and group_of[layer_of[w]] == group_of[layer_of[s]]
    ]  # fmt: skip


def _united(groups: Sequence[list[Package]], pairs: _Pairs) -> list[list[Package]]:
    """The groups, those that a pair connects being one."""
    group_of = {p.key: g for g, group in enumerate(groups) for p in group}
    edges: list[set[int]] = [set() for _ in groups]
    for winner, loser in pairs:
        if winner in group_of and loser in group_of:
            edges[group_of[winner]].add(group_of[loser])
            edges[group_of[loser]].add(group_of[winner])
    found = sorted(components(edges))
    return [[p for g in group for p in groups[g]] for group in found]


def _steps(count: int, *, coarse: bool) -> list[int]:
    """How many of so many layers to give up: none, few, ever more, all."""
    steps = [0, 1, 2]
    while steps[-1] < count:
        steps.append(steps[-1] * 4 if coarse else (steps[-1] * 3 + 1) // 2)
    return [*(step for step in steps if step < count), count]
