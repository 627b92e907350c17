"""The order of a plan's layers where packages have files at the same place, and how many fit.

Planners look at references only. When the files of one package must be seen instead of another's
(`Closure.overrides`), the winner's layer has to stand above the loser's: engines show the topmost.

    plan = order_layers(popularity_plan(closure, check_layer_limit(100)), closure.overrides)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from nbdock import settings
from nbdock.calling import argument_name
from nbdock.errors import ArgumentTypeError, LayerLimitError
from nbdock.layering.graph import components, stable_order
from nbdock.layering.plan import LayerPlan
from nbdock.packages import Package

__all__ = ["check_layer_limit", "check_room", "order_layers"]


def check_layer_limit(max_layers: int | None = None, base_layers: int = 0) -> int:
    """How many layers packages may take in an image.

    Parameters
    ----------
    max_layers
        Layers of the image in all, base and customisation included; None takes the setting
        ``max_layers_default``. Count.
    base_layers
        Layers that the base image brings. Count.

    Returns
    -------
    int
        What remains after the base and the customisation layer; at least one.

    Raises
    ------
    ArgumentTypeError
        `max_layers` is not a whole number.
    LayerLimitError
        `max_layers` is below 2, above the setting ``max_layers_limit``, or the base leaves no room.

    Examples
    --------
    >>> check_layer_limit(100)
    99
    >>> check_layer_limit(10, base_layers=3)
    6
    """
    now, called = settings.current(), argument_name("max_layers")
    if max_layers is None:
        max_layers = min(now.max_layers_default, now.max_layers_limit)
    if isinstance(max_layers, bool) or not isinstance(max_layers, int):
        raise ArgumentTypeError(
            f"{called} must be a whole number, not {max_layers!r}.",
            argument="max_layers",
            hint=f"Give a number from 2 to {now.max_layers_limit}.",
        )
    if not 2 <= max_layers <= now.max_layers_limit:
        reason = (
            "one layer for packages and one for customisation are the least"
            if max_layers < 2
            else "engines mount no more"
        )
        raise LayerLimitError(
            f"{called} must be from 2 to {now.max_layers_limit}, not {max_layers}: {reason}.",
            argument="max_layers",
            hint=f"Leave {called} out for {now.max_layers_default}.",
        )
    room = max_layers - base_layers - 1
    if room < 1:
        needed = base_layers + 2
        hint = (
            f"Give {called} = {needed} or more."
            if needed <= now.max_layers_limit
            else "Flatten the base image first: it is too tall for anything to go on top."
        )
        raise LayerLimitError(
            f"{called} = {max_layers} leaves no room: the base image has {base_layers} layers, "
            f"and one more for packages and one for customisation are needed.",
            argument="max_layers",
            hint=hint,
        )
    return room


def check_room(limit: int) -> None:
    """Refuse to plan for no layers at all.

    Raises
    ------
    LayerLimitError
        `limit` is below one.
    """
    if limit < 1:
        raise LayerLimitError(
            f"A plan needs at least one layer for packages, not {limit}.",
            argument="max_layers",
            hint=f"Raise {argument_name('max_layers')}.",
        )


def order_layers(plan: LayerPlan, overrides: Iterable[tuple[str, str]]) -> LayerPlan:
    """The plan with every winner above its losers, otherwise in the planner's order.

    For each ``(winner, loser)`` pair of package keys the winner's layer comes later; within one
    layer the winner comes first, since the layer builder keeps the first of two entries at one
    path. Layers that would have to stand above each other become one layer, at the place of the
    lowest. Packages that win over each other within a layer keep the planner's order. Pairs with
    packages outside the plan are ignored: a base image may hold them.

    Examples
    --------
    >>> from nbdock.packages import text_file
    >>> a, b = text_file("etc/a", "1"), text_file("etc/b", "2")
    >>> plan = LayerPlan(((a,), (b,)), 99, "popularity")
    >>> [p.name for layer in order_layers(plan, [(a.key, b.key)]).layers for p in layer]
    ['b', 'a']
    """
    layer_of = {p.key: i for i, layer in enumerate(plan.layers) for p in layer}
    pairs = sorted({(w, s) for w, s in overrides if w in layer_of and s in layer_of and w != s})
    if not pairs:
        return plan
    above: list[set[int]] = [set() for _ in plan.layers]
    for winner, loser in pairs:
        if layer_of[winner] != layer_of[loser]:
            above[layer_of[loser]].add(layer_of[winner])
    # Sorted by their lowest member, merged layers are numbered in the planner's order.
    groups = sorted(components(above))
    group_of = {layer: g for g, group in enumerate(groups) for layer in group}
    order = stable_order(
        len(groups), ((group_of[i], group_of[j]) for i, up in enumerate(above) for j in up)
    )
    merged = (tuple(p for i in groups[g] for p in plan.layers[i]) for g in order)
    return dataclasses.replace(plan, layers=tuple(_winners_first(m, pairs) for m in merged))


def _winners_first(
    layer: tuple[Package, ...], pairs: Iterable[tuple[str, str]]
) -> tuple[Package, ...]:
    place = {p.key: i for i, p in enumerate(layer)}
    inside = [(place[w], place[s]) for w, s in pairs if w in place and s in place]
    return tuple(layer[i] for i in stable_order(len(layer), inside)) if inside else layer
