"""What would be built, without building it: the closure of contents, and a plan of its layers."""

from __future__ import annotations

from nbdock.errors import ArgumentTypeError
from nbdock.images.arguments import Contents, expect, to_packages
from nbdock.layering import LayerPlan, check_layer_limit, order_layers, popularity_plan
from nbdock.packages import Closure, resolve_closure

__all__ = ["closure", "plan_closure", "plan_layers"]


async def closure(contents: Contents) -> Closure:
    """The packages that contents stand for, with all they need.

    Parameters
    ----------
    contents
        Packages and paths of directories, one or a list.

    Raises
    ------
    PackageError
        Contents that cannot be found or resolved.
    """
    return await resolve_closure(to_packages("contents", contents))


async def plan_layers(
    contents: Contents, *, max_layers: int | None = None, strategy: str = "popularity"
) -> LayerPlan:
    """Which packages would share a layer of `build_layered_image`; nothing is fetched or read.

    Parameters
    ----------
    contents
        As for `build_layered_image`.
    max_layers
        How many layers at most, the top one included: 100 by default, 125 at most.
    strategy
        The planner: ``"popularity"``.
    """
    expect("strategy", strategy, str, what="the name of a planner")
    if strategy != "popularity":
        raise ArgumentTypeError(
            f"There is no planner {strategy!r}.", argument="strategy", hint='Use "popularity".'
        )
    room = check_layer_limit(max_layers, 0)
    return plan_closure(await closure(contents), room)


def plan_closure(packages: Closure, room: int) -> LayerPlan:
    """The plan for a closure that may take `room` layers, winners above losers."""
    return order_layers(popularity_plan(packages, room), packages.overrides)
