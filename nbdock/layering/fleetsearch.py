"""Which images of a fleet share which packages, and how many layers each such group is cut into.

A state of the search is a set of blocks: some images, and the packages that these images have in
layers that they share. It begins with the blocks that waste nothing, the packages by the set of
images that hold them, and joins blocks while images have more of them than layers, or while that
makes the whole cheaper. What a block costs cut into 1, 2, ... layers is known from the dynamic
program of `Cuts`, so a state is weighed by handing out layers to where they save the most.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from nbdock.layering.fleetpeeling import peeled
from nbdock.layering.history import ChangeModel, planned
from nbdock.layering.partition import cost_curve
from nbdock.packages import Closure, Package

__all__ = ["Block", "FleetSearch"]

_CANDIDATES = 16
"""How many ways to join two blocks are weighed in each step, those that add the fewest bytes."""

_BLOCKS = 16
"""From how many blocks joining begins at most: it takes long, and with more of them finds nothing
that taking out what is shared does not. Count."""

_LAYERS = 120
"""With how many layers joining begins, unless the blocks alone are more. Count."""

Block: TypeAlias = tuple[frozenset[str], frozenset[str]]
"""Names of images, and the keys of the packages that they have in layers of their own."""

_State: TypeAlias = frozenset[Block]


class FleetSearch:
    """The search for the best blocks of a fleet, and for how many layers each of them gets.

    Parameters
    ----------
    packages
        All packages, by their keys.
    closures
        Those of each image; none is empty.
    limits
        How many layers each image may have. Count.
    model
        What makes packages change.
    horizon_rebuilds
        For how many rebuilds bytes are counted. Count.
    allow_unused
        Whether images may get packages that they do not need.
    """

    def __init__(
        self,
        packages: Mapping[str, Package],
        closures: Mapping[str, Closure],
        limits: Mapping[str, int],
        model: ChangeModel,
        horizon_rebuilds: int,
        *,
        allow_unused: bool,
    ) -> None:
        self.packages = packages
        self.closures = closures
        self.pairs = sorted({pair for closure in closures.values() for pair in closure.overrides})
        self.limits = {name: limits[name] for name in closures}
        self.model = model
        self.horizon = horizon_rebuilds
        self.allow_unused = allow_unused
        self._curves: dict[tuple[frozenset[str], int], tuple[float, ...]] = {}
        self._sizes: dict[frozenset[str], int] = {}
        self._weighed: dict[_State, tuple[int, float]] = {}
        self._layers: dict[tuple[frozenset[str], int, int], list[tuple[Package, ...]]] = {}
        self._joined_layers: dict[tuple[Block, Block], list[tuple[float, list[Block]]]] = {}
        self._chances: dict[frozenset[str], float] = {}

    def best(self) -> dict[Block, int]:
        """The best blocks that were found, each with the number of its layers."""
        holders: dict[str, set[str]] = {}
        for name, closure in self.closures.items():
            for package in closure.packages:
                holders.setdefault(package.key, set()).add(name)
        shared: dict[frozenset[str], set[str]] = {}
        for key, names in holders.items():
            shared.setdefault(frozenset(names), set()).add(key)
        exact = _state((names, frozenset(keys)) for names, keys in shared.items())
        alone = _state((frozenset([n]), frozenset(c.by_key)) for n, c in self.closures.items())
        found = [self._one_by_one(), peeled(self)]
        if len(exact) <= _BLOCKS:
            found += [self._counts(self._descend(state)) for state in (exact, alone)]
            found.append(self._from_layers(exact))
        # Where images get what they do not need, they may come to have a package twice.
        found = [counts for counts in found if not self._are_doubled(counts)]
        return min(found, key=lambda counts: (self._planned_cost(counts), _order(counts)))

    def _are_doubled(self, blocks: Iterable[Block]) -> bool:
        """Whether an image has a package in two blocks."""
        of_image: dict[str, list[frozenset[str]]] = {}
        for images, keys in blocks:
            for name in images:
                of_image.setdefault(name, []).append(keys)
        return any(
            sum(map(len, parts)) > len(frozenset().union(*parts)) for parts in of_image.values()
        )

    def layers_of(self, block: Block, count: int) -> list[tuple[Package, ...]]:
        """The best layers of a block."""
        images, keys = block
        known = self._layers.get((keys, len(images), count))
        if known is None:
            pairs = [(w, s) for w, s in self.pairs if w in keys and s in keys]
            packages = [self.packages[key] for key in keys]
            known = planned(packages, count, self.model_for(images), pairs, ())
            self._layers[keys, len(images), count] = known
        return known

    def _planned_cost(self, counts: Mapping[Block, int]) -> float:
        return sum(
            self.price((block[0], frozenset(p.key for p in layer)))
            for block, count in sorted(counts.items(), key=lambda item: _block_order(item[0]))
            for layer in self.layers_of(block, count)
        )

    def model_for(self, images: frozenset[str]) -> ChangeModel:
        """The model for the layers of so many images: a request costs them, and no storage."""
        share = len(images) / (1 + len(images))
        return dataclasses.replace(self.model, layer_cost_bytes=self.model.layer_cost_bytes * share)

    def _from_layers(self, exact: _State) -> dict[Block, int]:
        """Blocks cut into more layers than there may be, which are joined one by one."""
        most = {name: 2 * limit for name, limit in self.limits.items()}
        used = self._used(exact)
        while True:
            room = {name: max(most[name], used[name]) for name in most}
            counts = self._handed_out(
                sorted(exact, key=_block_order), dict.fromkeys(exact, 1), per_image=False, room=room
            )
            if sum(counts.values()) <= max(_LAYERS, len(exact)) or most == self.limits:
                break
            most = {n: max(self.limits[n], count * 3 // 4) for n, count in most.items()}
        layers: list[Block] = [
            (block[0], frozenset(p.key for p in layer))
            for block, count in sorted(counts.items(), key=lambda item: _block_order(item[0]))
            for layer in self.layers_of(block, count)
        ]
        left = dict(self.limits)
        for images, _ in layers:
            for name in images:
                left[name] -= 1
        while True:
            best: tuple[float, int, int, list[Block]] | None = None
            for i, one in enumerate(layers):
                for j in range(i + 1, len(layers)):
                    both = one[0] & layers[j][0]
                    saved = sum(left[name] < 0 for name in both)
                    if not both or (not saved and min(left.values()) < 0):
                        continue
                    for added, after in self._joins(one, layers[j]):
                        price = added / saved if saved else added
                        if (saved or price < 0) and (best is None or price < best[0]):
                            best = price, i, j, after
            if best is None:
                break
            _, i, j, after = best
            gone = (layers[i], layers[j])
            for sign, blocks in ((1, gone), (-1, after)):
                for images, _ in blocks:
                    for name in images:
                        left[name] += sign
            layers = [b for n, b in enumerate(layers) if n not in (i, j)] + after
        return _counted(layers)

    def _one_by_one(self) -> dict[Block, int]:
        """Each image planned alone, with what happens to be shared."""
        holders: dict[frozenset[str], set[str]] = {}
        for name, closure in self.closures.items():
            block = frozenset([name]), frozenset(closure.by_key)
            for layer in self.layers_of(block, self.limits[name]):
                holders.setdefault(frozenset(p.key for p in layer), set()).add(name)
        return _counted((frozenset(names), keys) for keys, names in holders.items())

    def _joins(self, one: Block, other: Block) -> Sequence[tuple[float, list[Block]]]:
        """What two layers can become, and how much that adds to the cost."""
        known = self._joined_layers.get((one, other))
        if known is None:
            before = self.price(one) + self.price(other)
            both = one[0] & other[0]
            options = [
                [(both, one[1] | other[1]), (one[0] - both, one[1]), (other[0] - both, other[1])]
            ]
            if self.allow_unused and one[0] != other[0]:
                options.append([(one[0] | other[0], one[1] | other[1])])
            known = []
            for option in options:
                after = [block for block in option if block[0]]
                known.append((sum(map(self.price, after)) - before, after))
            self._joined_layers[one, other] = known
        return known

    def price(self, layer: Block) -> float:
        """What a layer costs in all."""
        images, keys = layer
        size, users = self._size(keys), len(images)
        pulled = (1 + users) * size + users * self.model.layer_cost_bytes
        return (1 + users) * size + self.horizon * self._chance(keys) * pulled

    def _chance(self, keys: frozenset[str]) -> float:
        if keys not in self._chances:
            self._chances[keys] = self.model.chance([self.packages[key] for key in keys])
        return self._chances[keys]

    def prices(self, block: Block) -> tuple[float, ...]:
        """What a block costs in all, cut into 1, 2, ... layers."""
        images, keys = block
        size = (1 + len(images)) * self._size(keys)
        return tuple(size + cost for cost in self._curve(block))

    def stored(self, layer: Block) -> float:
        """What a layer costs in the registry alone."""
        return self._size(layer[1]) * (1 + self.horizon * self._chance(layer[1]))

    def _descend(self, state: _State) -> _State:
        """Join blocks while that is better."""
        while True:
            violations, total = self._weigh(state)
            options = []
            for after in self._joined(state):
                left = self._violations(after)
                if violations and left >= violations:
                    continue
                added = self._bytes(after) - self._bytes(state)
                options.append((added / max(1, violations - left), _order(after), after))
            options.sort(key=lambda option: option[:2])
            weighed = [(self._weigh(after), rank, after)
                       for rank, (_, _, after) in enumerate(options[:_CANDIDATES])]  # fmt: skip
            if not weighed:
                return state
            if violations:
                # None may be possible yet: what counts is the price of each layer that is saved.
                state = min(
                    weighed,
                    key=lambda w: ((w[0][1] - total) / (violations - w[0][0]), w[1]),
                )[2]
                continue
            (_, least), _, after = min(weighed, key=lambda w: w[:2])
            if least >= total * (1 - 1e-9):
                return state
            state = after

    def _joined(self, state: _State) -> Iterator[_State]:
        """What two blocks can become that some images have both of."""
        blocks = sorted(state, key=_block_order)
        over = {name for name, count in self._used(state).items() if count > self.limits[name]}
        for i, (some, keys) in enumerate(blocks):
            for others, more in blocks[i + 1 :]:
                both = some & others
                if not both or (over and not both & over):
                    continue
                rest = state - {(some, keys), (others, more)}
                yield _state(
                    [*rest, (both, keys | more), (some - both, keys), (others - both, more)]
                )
                if self.allow_unused:
                    yield _state([*rest, (some | others, keys | more)])

    def _used(self, state: _State) -> dict[str, int]:
        """How many blocks each image has."""
        used = dict.fromkeys(self.closures, 0)
        for images, _ in state:
            for name in images:
                used[name] += 1
        return used

    def _violations(self, state: _State) -> int:
        used = self._used(state)
        return sum(max(0, count - self.limits[name]) for name, count in used.items())

    def _size(self, keys: frozenset[str]) -> int:
        if keys not in self._sizes:
            self._sizes[keys] = sum(self.packages[key].size_bytes for key in keys)
        return self._sizes[keys]

    def _bytes(self, state: _State) -> int:
        """What is stored and pulled the first time."""
        return sum((1 + len(images)) * self._size(keys) for images, keys in state)

    def _curve(self, block: Block) -> tuple[float, ...]:
        """What a block costs in all rebuilds, cut into 1, 2, ... layers."""
        images, keys = block
        known = self._curves.get((keys, len(images)))
        if known is None:
            model = self.model_for(images)
            groups = model.groups(self.packages[key] for key in keys)
            curve = cost_curve(
                [model.thing(group) for group in groups], model.chances,
                limit=max(self.limits.values()), layer_cost_bytes=model.layer_cost_bytes,
            )  # fmt: skip
            known = tuple(cost * self.horizon * (1 + len(images)) for cost in curve)
            self._curves[keys, len(images)] = known
        return known

    def _weigh(self, state: _State) -> tuple[int, float]:
        """By how many layers images have too many, and what the state costs. Bytes."""
        if state not in self._weighed:
            violations = self._violations(state)
            if violations:
                costs = sum(self._curve(block)[0] for block in sorted(state, key=_block_order))
            else:
                counts = self._counts(state)
                costs = sum(self._curve(block)[count - 1] for block, count in counts.items())
            self._weighed[state] = violations, self._bytes(state) + costs
        return self._weighed[state]

    def _counts(self, state: _State) -> dict[Block, int]:
        """How many layers each block gets: more where that saves the most."""
        blocks = sorted(state, key=_block_order)
        tries = [self._handed_out(blocks, dict.fromkeys(blocks, 1), per_image=each)
                 for each in (False, True)]  # fmt: skip
        best = min(tries, key=self._spent)
        improved = True
        while improved:
            improved = False
            for block in blocks:
                if best[block] == 1:
                    continue
                # One layer less here, and what that makes room for elsewhere.
                other = self._handed_out(
                    blocks, {**best, block: best[block] - 1}, per_image=False, without=block
                )
                if self._spent(other) < self._spent(best) * (1 - 1e-9):
                    best, improved = other, True
        return best

    def _spent(self, counts: Mapping[Block, int]) -> float:
        return sum(self._curve(block)[count - 1] for block, count in counts.items())

    def _handed_out(
        self,
        blocks: Sequence[Block],
        counts: dict[Block, int],
        *,
        per_image: bool,
        without: Block | None = None,
        room: Mapping[str, int] | None = None,
    ) -> dict[Block, int]:
        """Layers that are left, given one by one to the block where they save the most."""
        left = dict(room or self.limits)
        for (images, _), count in counts.items():
            for name in images:
                left[name] -= count
        while True:
            best, chosen, step = 0.0, None, 0
            for block in blocks:
                if block == without:
                    continue
                curve, count = self._curve(block), counts[block]
                free = min(left[name] for name in block[0])
                # Sometimes only several layers more save anything.
                for more in range(1, min(free, 3, len(curve) - count) + 1):
                    gain = (curve[count - 1] - curve[count - 1 + more]) / more
                    if per_image:
                        gain /= len(block[0])
                    if gain > best * (1 + 1e-12):
                        best, chosen, step = gain, block, more
            if chosen is None:
                return counts
            counts[chosen] += step
            for name in chosen[0]:
                left[name] -= step


def _state(blocks: Iterable[Block]) -> _State:
    """The blocks, those of the same images being one."""
    found: dict[frozenset[str], frozenset[str]] = {}
    for images, keys in blocks:
        if images:
            found[images] = found.get(images, frozenset()) | keys
    return frozenset(found.items())


def _counted(layers: Iterable[Block]) -> dict[Block, int]:
    """The blocks that layers make up, and how many layers each has."""
    layers = list(layers)
    numbers = Counter(images for images, _ in layers)
    return {block: numbers[block[0]] for block in _state(layers)}


def _block_order(block: Block) -> tuple[int, list[str], list[str]]:
    images, keys = block
    return -len(images), sorted(images), sorted(keys)


def _order(state: Iterable[Block]) -> list[tuple[int, list[str], list[str]]]:
    return sorted(map(_block_order, state))
