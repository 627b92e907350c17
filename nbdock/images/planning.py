"""What would be built, without building it: the closure of contents, and a plan of its layers."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from nbdock.calling import argument_name, checked
from nbdock.concurrency import in_worker
from nbdock.errors import ArgumentError
from nbdock.images.arguments import Contents, expect, to_packages
from nbdock.images.image import Image
from nbdock.images.layer import in_store
from nbdock.layering import (
    LayerPlan,
    Strategy,
    check_layer_limit,
    order_layers,
    planner_of,
    planners,
)
from nbdock.packages import (
    ChangeHistory,
    Closure,
    Package,
    Progress,
    resolve_closure,
)
from nbdock.showing import watched

if TYPE_CHECKING:
    from nbdock.layering import ImageRoot, Previous

__all__ = [
    "closure",
    "image_roots",
    "informed",
    "part_of",
    "plan_closure",
    "plan_layers",
    "store_part",
    "to_planner",
    "without_store",
]

Plan: TypeAlias = Callable[[Closure, int], LayerPlan]


@checked
@watched("Resolved")
async def closure(contents: Contents | Closure) -> Closure:
    """The packages that contents stand for, with all they need.

    Parameters
    ----------
    contents
        Packages and paths of directories, one or a list; a closure is its own.

    Raises
    ------
    PackageError
        Contents that cannot be found or resolved.

    Examples
    --------
    >>> import nbdock
    >>> motd, issue = nbdock.text_file("etc/motd", "hello"), nbdock.text_file("etc/issue", "hi")
    >>> found = nbdock.concurrency.run(nbdock.closure([motd, issue]))
    >>> sorted(package.name for package in found.packages)
    ['issue', 'motd']
    >>> nbdock.concurrency.run(nbdock.plan_layers(found, max_layers=3))
    <LayerPlan popularity: 2 packages in 2 layers>
    """
    if isinstance(contents, Closure):
        return contents
    return await resolve_closure(to_packages("contents", contents))


@checked
@watched("Planned")
async def plan_layers(
    contents: Contents | Closure,
    *,
    max_layers: int | None = None,
    strategy: Strategy = "popularity",
    history: ChangeHistory | None = None,
    previous: Image | LayerPlan | None = None,
    layer_cost_bytes: int | None = None,
    progress: Progress | None = None,
) -> LayerPlan:
    """Which packages would share a layer of `build_layered_image`.

    Nothing is fetched or read for it, unless the planner is to go by changelogs.

    Parameters
    ----------
    contents
        As for `build_layered_image`, or a closure.
    max_layers
        How many layers at most, the top one included: 100 by default, 125 at most.
    strategy
        The planner: a name of `planners` (``"popularity"``, ``"auto"``), the operations of a
        pipeline, or a function of a closure and a limit that gives a list of lists of packages.
        For ``"auto"`` a small top layer is assumed; a build knows how large its own is.
    history
        For ``"history"`` and ``"chunked"``: when packages changed. By default what the changelogs
        of Debian packages say; those that are not here are fetched for it.
    previous
        For ``"history"``: the image that is being rebuilt, or its plan. Its layers stay as they
        are unless moving packages saves more than pulling them anew costs.
    layer_cost_bytes
        For ``"history"``: what pulling one more layer costs besides its bytes; by default the
        setting of this name. Bytes.
    progress
        Told of changelogs that are fetched and read.

    Raises
    ------
    ArgumentError
        No such planner, a pipeline that is wrong, a function whose plan is none, or `history`,
        `previous` or `layer_cost_bytes` for a planner that does not look at them.
    LayerLimitError
        `max_layers` is out of range.
    PackageError, TransportError
        Contents that cannot be found or resolved, or a changelog that cannot be fetched.
    """
    planner = await in_worker(planner_of, strategy)
    room = check_layer_limit(max_layers, 0)
    packages = await closure(contents)
    planner = await informed(
        planner, packages, history=history, previous=previous, layer_cost_bytes=layer_cost_bytes,
        progress=progress,
    )  # fmt: skip
    return await in_worker(plan_closure, packages, room, planner)


async def informed(
    planner: Plan,
    packages: Closure,
    *,
    history: ChangeHistory | None,
    previous: Image | LayerPlan | None,
    layer_cost_bytes: int | None,
    progress: Progress | None = None,
) -> Plan:
    """The planner with what it goes by besides the packages, if it goes by anything.

    Raises
    ------
    ArgumentError
        It does not go by what was given.
    """
    expect("history", history, ChangeHistory, type(None), what="a ChangeHistory, as of history_of")
    expect("previous", previous, Image, LayerPlan, type(None), what="an image or a LayerPlan")
    expect("layer_cost_bytes", layer_cost_bytes, int, type(None), what="a number of bytes")
    by_history, chunked = planner is planners()["history"], planner is planners()["chunked"]
    if not by_history:
        given: dict[str, object] = {"previous": previous, "layer_cost_bytes": layer_cost_bytes}
        if not chunked:
            given["history"] = history
        for name, value in given.items():
            if value is not None:
                raise ArgumentError(
                    f"The planner that was chosen does not look at {argument_name(name)}.",
                    argument=name,
                    hint='The planner "history" does.',
                )
        if not chunked:
            return planner
    from nbdock.layering import HistoryPlanner, chunked_plan
    from nbdock.packages import changelog_history

    if history is None:
        history = await changelog_history(packages.packages, progress=progress)
    if chunked:
        return functools.partial(chunked_plan, history=history)
    return HistoryPlanner(
        history,
        previous=_previous(previous) if isinstance(previous, Image) else previous,
        layer_cost_bytes=layer_cost_bytes,
    )


def _previous(image: Image) -> Previous:
    """The plan that an image was built by, as far as it is known."""
    return image.plan or [layer.contents for layer in image.layers if layer.contents]


def to_planner(layering: object, layering_pipeline: object) -> Plan:
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


def plan_closure(packages: Closure, room: int, planner: Plan) -> LayerPlan:
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


def without_store(closure: Closure) -> tuple[Package, ...]:
    """The packages that stand in no store."""
    return tuple(p for p in closure.packages if not in_store(p))


def store_part(closure: Closure) -> Closure:
    """What commands see whose root directory is not the image: packages in a store."""
    return part_of(closure, [p for p in closure.packages if in_store(p)])


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
    from nbdock.layering import ImageRoot

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
