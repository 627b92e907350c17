"""One partition for many images: `fleet_plan` and the `FleetPlan` that it gives.

Images that are planned one by one share what happens to be cut alike. Here packages are grouped by
the set of images that hold them, a group being what all its images can share without a byte that
one of them does not use; each group is cut into layers by history, and how many layers which
group gets is decided for all images together. Where an image would have more groups than layers,
two groups become one for the images that hold both: their packages then lie in another layer for
these images than for others, so that some are stored twice; or, if that is allowed and costs less,
all images of both groups get the joined layers, with bytes that some of them do not use.

What is made small is what a registry stores and what those who run the images pull, from the first
day until `plan_horizon_rebuilds` rebuilds later:

    of a layer of S bytes with a chance of p, in u images:  S * (1 + u) * (1 + rebuilds * p)

    fleet = fleet_plan({"web": web, "jobs": jobs}, 19, history)
    fleet.planner("web")        # a strategy for plan_layers and build_layered_image
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from nbdock import settings
from nbdock.errors import ArgumentError, LayerLimitError, nearest
from nbdock.layering.fleetsearch import FleetSearch
from nbdock.layering.history import NO_HISTORY, ChangeModel
from nbdock.layering.order import check_room, order_layers
from nbdock.layering.plan import LayerPlan
from nbdock.packages import ChangeHistory, Closure, Package

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FleetPlan", "FleetPlanner", "FleetRow", "fleet_plan"]

Layer: TypeAlias = tuple[Package, ...]


@dataclasses.dataclass(frozen=True)
class FleetRow:
    """One layer of a fleet, as a row of its table.

    Attributes
    ----------
    images
        Names of the images that have it.
    packages
        How many packages share the layer. Count.
    size_bytes
        Bytes of their files when installed.
    unused_bytes
        How many of them are of packages that an image has only because of the layer, summed over
        the images. Bytes.
    chance
        How likely it is to change before the next rebuild.
    names
        Names of the packages, in the order in which they are written.
    """

    images: tuple[str, ...]
    packages: int
    size_bytes: int
    unused_bytes: int
    chance: float
    names: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class FleetPlan:
    """Plans of several images that share layers wherever that is good for all of them.

    Attributes
    ----------
    plans
        The plan of each image, by its name.
    stored_bytes
        Bytes of all layers, each counted once: what a registry stores of the packages.
    pulled_bytes
        What the users of all images are expected to pull per rebuild, one of each image. Bytes.
    unused_bytes
        Bytes of packages in images that do not need them, summed over the images.
    """

    plans: Mapping[str, LayerPlan]
    stored_bytes: int
    pulled_bytes: float
    unused_bytes: int
    _rows: tuple[FleetRow, ...] = dataclasses.field(repr=False)
    _unused: Mapping[str, frozenset[str]] = dataclasses.field(repr=False)

    def __repr__(self) -> str:
        layers = f"{len(self._rows)} layers in {sum(map(len, self.plans.values()))} places"
        return f"<FleetPlan of {len(self.plans)} images: {layers}>"

    def __getitem__(self, name: str) -> LayerPlan:
        return self.plans[name]

    def planner(self, name: str) -> FleetPlanner:
        """The planner that gives an image its layers: a `strategy` or `layering` for its build.

        Raises
        ------
        ArgumentError
            The fleet has no image of this name.
        """
        if name not in self.plans:
            close = nearest(name, self.plans, count=1)
            raise ArgumentError(
                f"The fleet has no image {name!r:.60}.",
                argument="name",
                hint=f"Did you mean {close[0]}?" if close else f"Images: {', '.join(self.plans)}.",
            )
        return FleetPlanner(self.plans[name], self._unused.get(name, frozenset()))

    def rows(self) -> tuple[FleetRow, ...]:
        """The layers as plain values, those of most images first; what `table` shows."""
        return self._rows

    def table(self) -> pd.DataFrame:
        """The layers as a DataFrame with the columns of `FleetRow`, indexed by ``layer``."""
        import pandas as pd

        columns = [field.name for field in dataclasses.fields(FleetRow)]
        values = [[getattr(row, name) for name in columns] for row in self._rows]
        return pd.DataFrame(values, columns=columns).rename_axis("layer")


@dataclasses.dataclass(frozen=True)
class FleetPlanner:
    """The part of a fleet's plan for one image, as a planner.

    Packages that came in another version since lie where the earlier version did. Those that are
    new share a layer of their own, or the topmost one when there is no room.
    """

    plan: LayerPlan
    unused: frozenset[str] = frozenset()
    """Keys of the packages that the image has only because of its layers."""

    name = "fleet"

    def __call__(self, closure: Closure, limit: int) -> LayerPlan:
        """The plan for the closure of the image.

        Raises
        ------
        LayerLimitError
            The fleet was planned with more layers than there may be.
        """
        check_room(limit)
        if len(self.plan) > limit:
            raise LayerLimitError(
                f"The fleet's plan has {len(self.plan)} layers of packages for this image, "
                f"and there may be {limit}.",
                argument="max_layers",
                hint="Plan the fleet with as few layers.",
            )
        known = {p.key for layer in self.plan.layers for p in layer}
        unplanned = {p.key: p for p in closure.packages if p.key not in known}
        later: dict[str, list[Package]] = {}
        for package in unplanned.values():
            later.setdefault(package.name, []).append(package)
        layers: list[Layer] = []
        for planned_layer in self.plan.layers:
            layer: list[Package] = []
            for package in planned_layer:
                if package.key in closure.by_key or package.key in self.unused:
                    layer.append(closure.by_key.get(package.key, package))
                elif later.get(package.name):
                    now = later[package.name].pop(0)
                    layer.append(now)
                    del unplanned[now.key]
            if any(p.key in closure.by_key for p in layer):
                layers.append(tuple(layer))
        if unplanned:
            new = tuple(sorted(unplanned.values(), key=lambda p: p.sort_key))
            if len(layers) < limit:
                layers.append(new)
            else:
                layers[-1] += new
        return LayerPlan(tuple(layers), limit, "fleet")


def fleet_plan(
    closures: Mapping[str, Closure],
    limit: int | Mapping[str, int],
    history: ChangeHistory | None = None,
    *,
    allow_unused: bool = False,
    layer_cost_bytes: float | None = None,
    horizon_rebuilds: int | None = None,
) -> FleetPlan:
    """One partition of the packages of many images.

    Parameters
    ----------
    closures
        The packages of each image, by its name.
    limit
        How many layers packages may take in each image, as `check_layer_limit` returns it: one
        number for all, or one for each. Count.
    history
        When packages changed; without it any package is as likely to change as another.
    allow_unused
        Whether an image may get a layer with packages that it does not need, where that is cheaper.
    layer_cost_bytes
        What a layer more costs each time it is pulled; by default the setting of this name. Bytes.
    horizon_rebuilds
        For how many rebuilds stored and pulled bytes are counted; by default the setting
        `plan_horizon_rebuilds`. Count.

    Raises
    ------
    LayerLimitError
        A limit is below one.

    Examples
    --------
    >>> from nbdock.packages import text_file
    >>> a, b, both = (text_file(f"etc/{name}", name * 100) for name in ("a", "b", "both"))
    >>> def closure(*packages):
    ...     return Closure(packages, {p.key: () for p in packages}, ())
    >>> images = {"one": closure(a, both), "two": closure(b, both)}
    >>> fleet = fleet_plan(images, 9, layer_cost_bytes=0)
    >>> fleet
    <FleetPlan of 2 images: 3 layers in 4 places>
    >>> fleet.stored_bytes == a.size_bytes + b.size_bytes + both.size_bytes
    True
    """
    names = sorted(closures)
    limits = {name: limit if isinstance(limit, int) else limit[name] for name in names}
    for room in limits.values():
        check_room(room)
    filled = {name: closures[name] for name in names if closures[name].packages}
    packages = {p.key: p for name in names for p in closures[name].packages}
    model = ChangeModel.of(packages.values(), history or NO_HISTORY, layer_cost_bytes)
    horizon = horizon_rebuilds or settings.current().plan_horizon_rebuilds
    search = FleetSearch(packages, filled, limits, model, horizon, allow_unused=allow_unused)
    counts = search.best()
    layers = [
        (block[0], _winners_first(layer, search.pairs))
        for block, count in counts.items()
        for layer in search.layers_of(block, count)
    ]
    # What most images have is lowest, in the same order in all of them; then what seldom changes.
    layers.sort(
        key=lambda item: (
            -len(item[0]), sorted(item[0]), model.chance(item[1]), [p.sort_key for p in item[1]],
        )
    )  # fmt: skip
    plans: dict[str, LayerPlan] = {}
    for name in closures:
        own = tuple(layer for images, layer in layers if name in images)
        plans[name] = order_layers(LayerPlan(own, limits[name], "fleet"), closures[name].overrides)
    return _summary(plans, closures, model)


def _winners_first(layer: Layer, pairs: Iterable[tuple[str, str]]) -> Layer:
    return order_layers(LayerPlan((layer,), 1, "fleet"), pairs).layers[0]


def _summary(
    plans: Mapping[str, LayerPlan], closures: Mapping[str, Closure], model: ChangeModel
) -> FleetPlan:
    images: dict[tuple[str, ...], list[str]] = {}
    layers: dict[tuple[str, ...], Layer] = {}
    for name, plan in plans.items():
        for layer in plan.layers:
            key = tuple(p.key for p in layer)
            layers[key] = layer
            images.setdefault(key, []).append(name)
    unused = {
        name: frozenset(
            p.key for layer in plan.layers for p in layer if p.key not in closures[name].by_key
        )
        for name, plan in plans.items()
    }
    rows = [
        FleetRow(
            tuple(sorted(images[key])), len(layer), sum(p.size_bytes for p in layer),
            sum(p.size_bytes for p in layer for name in images[key] if p.key in unused[name]),
            model.chance(layer), tuple(p.name for p in layer),
        )
        for key, layer in layers.items()
    ]  # fmt: skip
    rows.sort(key=lambda row: (-len(row.images), row.images, row.chance, row.names))
    return FleetPlan(
        plans,
        stored_bytes=sum(row.size_bytes for row in rows),
        pulled_bytes=sum(row.size_bytes * row.chance * len(row.images) for row in rows),
        unused_bytes=sum(row.unused_bytes for row in rows),
        _rows=tuple(rows),
        _unused=unused,
    )
