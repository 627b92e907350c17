"""The partition of changing things into few layers that costs the least bytes to pull.

A layer is pulled again, whole, in each rebuild in which anything in it changes, once however much
of it changes. With ``p`` the chance of a source to change before the next rebuild, sources being
independent, a layer therefore costs

    (its bytes + the cost of a request) * (1 - product of (1 - p) over the sources in it)

expected bytes per rebuild, and a plan the sum over its layers. Finding the best plan is hard, but
what it looks like is known: were all things small, any two layers of the best plan would be
separated by the ratio of chance to size, so a plan is a way to cut the things, sorted by this
ratio. The best cut is found by a dynamic program; moves, swaps, and joining two layers while
parting another then make up for things that are not small.

Things of one source that change together in every rebuild are one thing (parting them never pays:
if one part is better off in another layer, so is the other). Things of one source that do not
always change together are several, that have an event in common.

    >>> things = [Thing(100, (0,)), Thing(90, (1,)), Thing(5, (2,))]
    >>> best_partition(things, [0.5, 0.01, 0.4], limit=2)
    [[1], [0, 2]]

All effort is bounded by counts, never by a clock: the same things give the same layers.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterable, Sequence

from nbdock.layering.cuts import Cuts

__all__ = ["Thing", "best_partition", "cost_curve", "expected_cost"]

_EVALUATIONS = 300_000
"""How many changes of a plan are weighed. Count."""

_NEIGHBOURS = 6
"""To how many layers on either side a thing may move where there are too many to try all. Count."""

_SHAKES = 24
"""How many times in a row a plan is shaken in vain before it is taken for the best. Count."""

_GAIN = 1e-9
"""The least improvement that counts, as a share of the whole: less is rounding."""


@dataclasses.dataclass(frozen=True)
class Thing:
    """What lies in one layer and changes as a whole.

    Attributes
    ----------
    size_bytes
        What pulling it costs.
    events
        Numbers of the independent events each of which changes it.
    """

    size_bytes: int
    events: tuple[int, ...]


def expected_cost(
    layers: Iterable[Iterable[int]],
    things: Sequence[Thing],
    chances: Sequence[float],
    *,
    layer_cost_bytes: float = 0.0,
) -> float:
    """What a partition costs to pull per rebuild. Bytes.

    Parameters
    ----------
    layers
        Numbers of the things in each layer.
    chances
        For each event how likely it is to happen before the next rebuild.
    layer_cost_bytes
        What one more layer costs when it is pulled. Bytes.
    """
    total = 0.0
    for layer in layers:
        numbers = list(layer)
        size = sum(things[n].size_bytes for n in numbers)
        events = {e for n in numbers for e in things[n].events}
        weight = math.fsum(-math.log1p(-chances[e]) for e in events)
        total += (size + layer_cost_bytes) * -math.expm1(-weight)
    return total


def best_partition(
    things: Sequence[Thing],
    chances: Sequence[float],
    *,
    limit: int,
    layer_cost_bytes: float = 0.0,
) -> list[list[int]]:
    """Which things share a layer, so that as few bytes as possible are pulled per rebuild.

    Parameters
    ----------
    things
        In an order that depends on nothing but what they are: between equally good partitions it
        decides.
    chances
        For each event how likely it is before the next rebuild, from 0 up to and without 1.
    limit
        How many layers there may be. Count.
    layer_cost_bytes
        What one more layer costs when it is pulled. Bytes.

    Returns
    -------
    list of list of int
        Numbers of things, ascending, in at most `limit` layers, those first that are the least
        likely to change.
    """
    if not things:
        return []
    search = _Search(things, chances, limit, layer_cost_bytes)
    search.start(search.cuts().layers())
    search.improve()
    search.shake()
    layers = [(w, sorted(layer)) for w, layer in zip(search.weight, search.layers, strict=True)]
    return [layer for _, layer in sorted(layers) if layer]


def cost_curve(
    things: Sequence[Thing],
    chances: Sequence[float],
    *,
    limit: int,
    layer_cost_bytes: float = 0.0,
) -> tuple[float, ...]:
    """What the best cuts into at most 1, 2, ... `limit` layers cost per rebuild. Bytes.

    Close to what `best_partition` reaches, and all of it for the price of its beginning.
    """
    if not things:
        return (0.0,) * limit
    totals = _Search(things, chances, limit, layer_cost_bytes).cuts().totals
    return (*totals, *(totals[-1] for _ in range(limit - len(totals))))


class _Search:
    """A partition that is made better step by step.

    Layers are numbered; `limit` of them are there, some perhaps empty. What a layer weighs is the
    sum of -log(1 - p) over the events in it, so that its chance is 1 - exp(-weight).
    """

    def __init__(
        self, things: Sequence[Thing], chances: Sequence[float], limit: int, layer_cost: float
    ) -> None:
        self.things = things
        self.limit = min(limit, len(things))
        self.layer_cost = layer_cost
        self.sizes = [thing.size_bytes for thing in things]
        self.weights = [-math.log1p(-chance) for chance in chances]
        users = [0] * len(chances)
        for thing in things:
            for event in thing.events:
                users[event] += 1
        self.shared = [tuple(e for e in t.events if users[e] > 1) for t in things]
        """Of each thing the events that it has in common with others."""
        self.own = [math.fsum(self.weights[e] for e in t.events) for t in things]
        self.order = sorted(range(len(things)), key=self._ratio)
        self.evaluations = 0

    def cuts(self) -> Cuts:
        """The best ways to cut the things, sorted by chance per byte."""
        sizes, weights = [self.sizes[n] for n in self.order], [self.own[n] for n in self.order]
        return Cuts(self.order, sizes, weights, limit=self.limit, extra=self.layer_cost)

    def start(self, layers: Iterable[Iterable[int]]) -> None:
        self.layers: list[set[int]] = [set() for _ in range(self.limit)]
        self.size = [0] * self.limit
        self.weight = [0.0] * self.limit
        self.cost = [0.0] * self.limit
        self.count: list[dict[int, int]] = [{} for _ in range(self.limit)]
        self.at = [0] * len(self.things)
        for number, layer in enumerate(layers):
            for n in layer:
                self._put(n, number)
            self._weigh(number)

    @property
    def total(self) -> float:
        return math.fsum(self.cost)

    def _put(self, n: int, layer: int) -> None:
        self.layers[layer].add(n)
        self.size[layer] += self.sizes[n]
        self.at[n] = layer
        for event in self.shared[n]:
            self.count[layer][event] = self.count[layer].get(event, 0) + 1

    def _take(self, n: int) -> None:
        layer = self.at[n]
        self.layers[layer].remove(n)
        self.size[layer] -= self.sizes[n]
        for event in self.shared[n]:
            self.count[layer][event] -= 1

    def _weigh(self, layer: int) -> None:
        """Sum up a layer anew, so that rounding never adds up."""
        things = self.things
        events = {e for n in self.layers[layer] for e in things[n].events}
        self.weight[layer] = math.fsum(self.weights[e] for e in events)
        self.cost[layer] = self._price(self.size[layer], self.weight[layer])

    def _price(self, size: float, weight: float) -> float:
        return (size + self.layer_cost) * (1.0 - math.exp(-weight))

    def _less(self, n: int, layer: int) -> float:
        """By how much a layer weighs less without a thing that is in it."""
        lost = self.own[n]
        for event in self.shared[n]:
            if self.count[layer][event] > 1:
                lost -= self.weights[event]
        return lost

    def _more(self, n: int, layer: int, without: int | None = None) -> float:
        """By how much a layer weighs more with a thing, perhaps when another has left it."""
        gained = self.own[n]
        if self.shared[n]:
            left = self.shared[without] if without is not None else ()
            for event in self.shared[n]:
                if self.count[layer].get(event, 0) > (event in left):
                    gained -= self.weights[event]
        return gained

    def move(self, n: int, layer: int) -> None:
        before = self.at[n]
        self._take(n)
        self._put(n, layer)
        self._weigh(before)
        self._weigh(layer)

    def improve(self) -> None:
        """Move and swap things while that helps and effort is left."""
        while self._moves() or self._swaps():
            if self.evaluations > _EVALUATIONS:
                break

    def _targets(self) -> list[Sequence[int]]:
        """For each layer those that a thing of it may move to."""
        used = [k for k in range(self.limit) if self.layers[k]]
        empty = [k for k in range(self.limit) if not self.layers[k]][:1]
        targets: list[Sequence[int]] = [()] * self.limit
        if len(used) * len(self.things) * 4 <= _EVALUATIONS:
            for k in used:
                targets[k] = [*used, *empty]
            return targets
        used.sort(key=lambda k: (self.weight[k] / self.size[k] if self.size[k] else math.inf, k))
        for place, k in enumerate(used):
            near = used[max(0, place - _NEIGHBOURS) : place + _NEIGHBOURS + 1]
            targets[k] = [*near, *empty]
        return targets

    def _moves(self) -> bool:
        found = False
        exp, size, weight, cost = math.exp, self.size, self.weight, self.cost
        extra, least = self.layer_cost, _GAIN * self.total
        targets = self._targets()
        for n in self.order:
            here, bytes_, own, shared = self.at[n], self.sizes[n], self.own[n], self.shared[n]
            rest = weight[here] - self._less(n, here)
            without = (size[here] - bytes_ + extra) * (1.0 - exp(-rest))
            if len(self.layers[here]) == 1:
                without = 0.0
            saved = cost[here] - without
            best, to = -least, -1
            for layer in targets[here]:
                if layer == here:
                    continue
                more = self._more(n, layer) if shared else own
                after = (size[layer] + bytes_ + extra) * (1.0 - exp(-weight[layer] - more))
                if after - cost[layer] - saved < best:
                    best, to = after - cost[layer] - saved, layer
            self.evaluations += len(targets[here])
            if to >= 0:
                self.move(n, to)
                found = True
                if self.evaluations > _EVALUATIONS:
                    break
                if not targets[to]:  # it was empty
                    targets = self._targets()
        return found

    def _swaps(self) -> bool:
        """Exchange things of two layers; where there are too many, only neighbours by ratio."""
        found = False
        reach = max(8, min(len(self.order), _EVALUATIONS // (8 * len(self.order))))
        exp, size, weight, cost = math.exp, self.size, self.weight, self.cost
        extra, least = self.layer_cost, _GAIN * self.total
        for place, n in enumerate(self.order):
            if self.evaluations > _EVALUATIONS:
                break
            for m in self.order[place + 1 : place + 1 + reach]:
                a, b = self.at[n], self.at[m]
                if a == b:
                    continue
                self.evaluations += 1
                if self.shared[n] or self.shared[m]:
                    in_a = weight[a] - self._less(n, a) + self._more(m, a, n)
                    in_b = weight[b] - self._less(m, b) + self._more(n, b, m)
                else:
                    in_a = weight[a] - self.own[n] + self.own[m]
                    in_b = weight[b] - self.own[m] + self.own[n]
                grown = self.sizes[m] - self.sizes[n]
                after = (size[a] + grown + extra) * (1.0 - exp(-in_a)) + (
                    size[b] - grown + extra
                ) * (1.0 - exp(-in_b))
                if after < cost[a] + cost[b] - least:
                    self._take(n)
                    self._take(m)
                    self._put(n, b)
                    self._put(m, a)
                    self._weigh(a)
                    self._weigh(b)
                    found = True
        return found

    def shake(self) -> None:
        """Join two layers, part another, improve; keep what is better, until nothing is."""
        chance = random.Random(0)  # noqa: S311 - only to be different each time, and the same again
        vain = 0
        best, total = [set(layer) for layer in self.layers], self.total
        while vain < _SHAKES and self.evaluations < _EVALUATIONS:
            used = [k for k in range(self.limit) if self.layers[k]]
            if len(used) < 2:
                break
            a, b = self._cheap_pair(used, chance)
            for n in sorted(self.layers[b]):
                self._take(n)
                self._put(n, a)
            self._weigh(a)
            self._weigh(b)
            self._part(b, chance)
            self.improve()
            if self.total < total * (1 - _GAIN):
                best, total, vain = [set(layer) for layer in self.layers], self.total, 0
            else:
                self.start(best)
                vain += 1
        self.start(best)

    def _cheap_pair(self, used: Sequence[int], chance: random.Random) -> tuple[int, int]:
        """Two layers that cost little more as one; not always the same two."""
        pairs = []
        some = used if len(used) <= 40 else sorted(chance.sample(used, 40))
        for i, a in enumerate(some):
            for b in some[i + 1 :]:
                joined = self._price(self.size[a] + self.size[b], self.weight[a] + self.weight[b])
                pairs.append((joined - self.cost[a] - self.cost[b], a, b))
        self.evaluations += len(pairs)
        pairs.sort()
        _, a, b = pairs[min(int(chance.expovariate(0.5)), len(pairs) - 1)]
        return a, b

    def _part(self, empty: int, chance: random.Random) -> None:
        """Move a part of a layer into an empty one: where that saves much."""
        options = []
        for k in range(self.limit):
            if len(self.layers[k]) < 2:
                continue
            row = sorted(self.layers[k], key=self._ratio)
            size, weight = 0.0, 0.0
            saved, at = -math.inf, 1
            for i, n in enumerate(row[:-1], start=1):
                size += self.sizes[n]
                weight += self.own[n]
                rest = max(0.0, self.weight[k] - weight)
                gain = (
                    self.cost[k]
                    - self._price(size, weight)
                    - self._price(self.size[k] - size, rest)
                )
                if gain > saved:
                    saved, at = gain, i
            self.evaluations += len(row)
            options.append((-saved, k, row[:at]))
        if not options:
            return
        options.sort()
        _, k, part = options[min(int(chance.expovariate(0.7)), len(options) - 1)]
        for n in part:
            self._take(n)
            self._put(n, empty)
        self._weigh(k)
        self._weigh(empty)

    def _ratio(self, n: int) -> tuple[float, int]:
        return (self.own[n] / self.sizes[n] if self.sizes[n] else math.inf, n)
