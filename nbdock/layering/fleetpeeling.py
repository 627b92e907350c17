"""What images of a fleet share, taken out of plans that each has for itself.

Joining what is shared until every image has few enough layers (`nbdock.layering.fleetsearch`) is
good where there are few images. Ten images hold their packages in dozens of combinations, most of
which are worth no layer. So this goes the other way: each image begins with all its layers for
itself, and layer by layer what several images have in common is taken out and shared, as long as
what is stored less is worth more than the layer that each of them has less for the rest.

    peeled(search)      # how many layers which images have for which packages
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Protocol, TypeAlias

from nbdock.layering.cuts import Cuts
from nbdock.layering.history import ChangeModel
from nbdock.packages import Closure, Package

__all__ = ["Priced", "peeled"]

_STRETCHES = 4
"""Into how many parts, by chance per byte, what images have in common is cut at most. Count."""

_Images: TypeAlias = frozenset[str]
_Keys: TypeAlias = frozenset[str]


class Priced(Protocol):
    """What layers of a fleet cost."""

    packages: Mapping[str, Package]
    closures: Mapping[str, Closure]
    limits: dict[str, int]
    model: ChangeModel

    def price(self, layer: tuple[_Images, _Keys]) -> float:
        """What a layer costs in all."""
        ...

    def prices(self, block: tuple[_Images, _Keys]) -> tuple[float, ...]:
        """What a block costs in all, cut into 1, 2, ... layers."""
        ...

    def stored(self, layer: tuple[_Images, _Keys]) -> float:
        """What a layer costs in the registry alone."""
        ...


def peeled(priced: Priced) -> dict[tuple[_Images, _Keys], int]:
    """The blocks of a fleet, and how many layers each of them has."""
    return _Peeling(priced).counts()


class _Peeling:
    def __init__(self, priced: Priced) -> None:
        self.priced = priced
        self.left = {name: frozenset(c.by_key) for name, c in priced.closures.items()}
        """The packages that each image has for itself."""
        self.room = dict(priced.limits)
        """The layers that each image has for those."""
        self.shared: dict[_Images, tuple[_Keys, int]] = {}
        self._parts: dict[_Keys, tuple[_Keys, ...]] = {}

    def counts(self) -> dict[tuple[_Images, _Keys], int]:
        while (found := self._best()) is not None:
            images, keys = found
            for name in images:
                self.left[name] -= keys
                self.room[name] -= 1
            before, count = self.shared.get(images, (frozenset(), 0))
            self.shared[images] = before | keys, count + 1
        counts = {(images, keys): count for images, (keys, count) in self.shared.items()}
        for name, keys in self.left.items():
            if keys:
                images = frozenset([name])
                before, count = self.shared.get(images, (frozenset(), 0))
                counts[images, keys | before] = min(self.room[name] + count, len(keys | before))
        return counts

    def _best(self) -> tuple[_Images, _Keys] | None:
        """What to share next; None if nothing is worth it any more."""
        options = sorted(
            (
                (-self._most(images, keys), sorted(images), sorted(keys), images, keys)
                for images, keys in self._options()
            ),
            key=lambda option: option[:3],
        )
        most, best = 0.0, None
        for bound, _, _, images, keys in options:
            if -bound <= most:
                break
            if (gain := self._gain(images, keys)) > most * (1 + 1e-9):
                most, best = gain, (images, keys)
        return best

    def _options(self) -> Iterator[tuple[_Images, _Keys]]:
        """For each set of images that hold something in common the parts of it, stablest first."""
        holders: dict[str, set[str]] = {}
        for name, keys in self.left.items():
            for key in keys:
                holders.setdefault(key, set()).add(name)
        for images in {frozenset(names) for names in holders.values() if len(names) > 1}:
            if any(self.room[name] < 1 for name in images):
                continue
            common = frozenset.intersection(*(self.left[name] for name in images))
            for keys in self._prefixes(common):
                yield images, keys

    def _prefixes(self, keys: _Keys) -> tuple[_Keys, ...]:
        """The packages that change least, some more, ..., all of them."""
        if keys not in self._parts:
            model = self.priced.model
            groups = model.groups(self.priced.packages[key] for key in keys)
            things = [model.thing(group) for group in groups]
            weights = [
                math.fsum(-math.log1p(-model.chances[e]) for e in thing.events) for thing in things
            ]
            sizes = [thing.size_bytes for thing in things]
            row = sorted(
                range(len(things)),
                key=lambda n: (weights[n] / sizes[n] if sizes[n] else math.inf, n),
            )
            cuts = Cuts(
                row, [sizes[n] for n in row], [weights[n] for n in row],
                limit=_STRETCHES, extra=model.layer_cost_bytes,
            )  # fmt: skip
            prefixes, prefix = [], frozenset[str]()
            for stretch in reversed(cuts.layers()):
                prefix |= {p.key for n in stretch for p in groups[n]}
                prefixes.append(prefix)
            self._parts[keys] = tuple(prefixes)
        return self._parts[keys]

    def _most(self, images: _Images, keys: _Keys) -> float:
        """What sharing saves at most: nobody pulls less for it."""
        return (len(images) - 1) * self.priced.stored((images, keys))

    def _gain(self, images: _Images, keys: _Keys) -> float:
        saved = -self.priced.price((images, keys))
        for name in sorted(images):
            room, left = self.room[name], self.left[name]
            rest = left - keys
            if rest and room < 2:
                return -math.inf
            one = frozenset([name])
            saved += self.priced.prices((one, left))[room - 1]
            saved -= self.priced.prices((one, rest))[room - 2] if rest else 0.0
        return saved
