"""What would be built, without building it: the closure of contents, and a plan of its layers."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence

from nbdock.calling import argument_name, checked
from nbdock.concurrency import in_worker
from nbdock.errors import ArgumentError
from nbdock.images.arguments import Contents, to_packages
from nbdock.layering import (
    ImageRoot,
    LayerPlan,
    Strategy,
    check_layer_limit,
    order_layers,
    planner_of,
)
from nbdock.packages import Closure, Package, resolve_closure
from nbdock.showing import watched

__all__ = ["closure", "image_roots", "part_of", "plan_closure", "plan_layers", "to_planner"]


@checked
@watched("Resolved")
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


@checked
@watched("Planned")
async def plan_layers(
    contents: Contents, *, max_layers: int | None = None, strategy: Strategy = "popularity"
) -> LayerPlan:
    """Which packages would share a layer of `build_layered_image`; nothing is fetched or read.

    Parameters
    ----------
    contents
        As for `build_layered_image`.
    max_layers
        How many layers at most, the top one included: 100 by default, 125 at most.
    strategy
        The planner: a name of `planners` (``"popularity"``, ``"auto"``), the operations of a
        pipeline, or a function of a closure and a limit that gives a list of lists of packages.
        For ``"auto"`` a small top layer is assumed; a build knows how large its own is.

    Raises
    ------
    ArgumentError
        No such planner, a pipeline that is wrong, or a function whose plan is none.
    LayerLimitError
        `max_layers` is out of range.
    """
    planner = await in_worker(planner_of, strategy)
    room = check_layer_limit(max_layers, 0)
    return await in_worker(plan_closure, await closure(contents), room, planner)


def to_planner(layering: object, layering_pipeline: object) -> Callable[[Closure, int], LayerPlan]:
    """The planner that the arguments of a build ask for; without any, the popularity contest.

    Raises
    ------
    ArgumentError
        Both are given, or one of them is no planner.
    """
    if layering is not None and layering_pipeline is not None:
        pipeline = argument_name("layering_pipeline")
        raise ArgumentError(
            f"layering and {pipeline} both say which packages share a layer; both were given.",
            argument="layering_pipeline",
            hint="Keep one: layering takes pipelines too.",
        )
    if layering_pipeline is not None:
        return planner_of(layering_pipeline, argument="layering_pipeline")
    return planner_of("popularity" if layering is None else layering, argument="layering")


def plan_closure(
    packages: Closure, room: int, planner: Callable[[Closure, int], LayerPlan]
) -> LayerPlan:
    """The plan for a closure that may take `room` layers, winners above losers."""
    return order_layers(planner(packages, room), packages.overrides)


def part_of(closure: Closure, packages: Sequence[Package]) -> Closure:
    """The closure of some of its packages alone, as if they needed no others."""
    if len(packages) == len(closure):
        return closure
    keys = {p.key for p in packages}
    references = {
        key: tuple(target for target in closure.references.get(key, ()) if target in keys)
        for key in keys
    }
    roots = tuple(key for key in closure.roots if key in keys)
    return dataclasses.replace(
        closure, packages=tuple(packages), references=references, roots=roots
    )


def image_roots(
    *,
    contents: Iterable[Package],
    configured: Iterable[Package],
    config: object,
    architecture: str,
    top_layer_bytes: int,
) -> tuple[ImageRoot, ImageRoot]:
    """The two store paths of nixpkgs that refer to an image's packages, with the sizes they have.

    They are the directory of the top layer (its tar and a file with the digest) and the JSON file
    of the configuration. With them the planner ``"auto"`` gives the layers that nixpkgs gives.

    Parameters
    ----------
    contents
        What the top layer's symlinks lead to.
    configured
        What the configuration names.
    config
        The configuration as it was given, plain values only.
    architecture
        Of the image.
    top_layer_bytes
        Size of the top layer's tar.
    """
    value = {"architecture": architecture, "config": config or {}, "os": "linux"}
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str
    ).encode("utf-8", "surrogateescape")
    return (
        ImageRoot(544 + _padded(top_layer_bytes), tuple(p.key for p in contents)),
        ImageRoot(112 + _padded(len(text)), tuple(p.key for p in configured)),
    )


def _padded(length: int) -> int:
    """What a text of so many bytes takes in a NAR, where all lengths are multiples of 8."""
    return length + -length % 8
