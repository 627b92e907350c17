"""`plan_fleet`: which packages share a layer in many images at once.

fleet = await nbdock.plan_fleet({"web": [apt.nginx], "db": [apt.postgresql]}, max_layers=20)
fleet.table()
await nbdock.build_layered_image(
    "web", contents=[apt.nginx], max_layers=20, layering=fleet.planner("web")
)
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

from nbdock.calling import checked
from nbdock.concurrency import gather_limited, in_worker
from nbdock.errors import ArgumentError
from nbdock.images.arguments import Contents, expect
from nbdock.images.planning import closure
from nbdock.layering import FleetPlan, check_layer_limit, fleet_plan
from nbdock.packages import ChangeHistory, Closure, Progress, changelog_history
from nbdock.showing import watched

__all__ = ["plan_fleet"]

_AT_A_TIME = 4


@checked
@watched("Planned")
async def plan_fleet(
    contents: Mapping[str, Contents | Closure],
    *,
    max_layers: int | None = None,
    history: ChangeHistory | None = None,
    allow_unused: bool = False,
    layer_cost_bytes: int | None = None,
    progress: Progress | None = None,
) -> FleetPlan:
    """One partition of the packages of many images, for few stored and few pulled bytes.

    Parameters
    ----------
    contents
        What each image is to hold, by a name for the image: as for `build_layered_image`, or a
        closure.
    max_layers
        How many layers each image has at most, the top one included: 100 by default, 125 at most.
    history
        When packages changed. By default what the changelogs of Debian packages say; those that
        are not here are fetched for it.
    allow_unused
        Whether an image may get a layer with packages that it does not need, where that is cheaper.
    layer_cost_bytes
        What pulling one more layer costs besides its bytes; by default the setting of this name.
        Bytes.
    progress
        Told of changelogs that are fetched and read.

    Returns
    -------
    FleetPlan
        ``plans[name]`` is the plan of an image, ``planner(name)`` what its build takes as
        `layering`. Layers that images share are built to the same bytes.

    Raises
    ------
    ArgumentError
        There are no images.
    LayerLimitError
        `max_layers` is out of range.
    PackageError, TransportError
        Contents that cannot be found or resolved, or a changelog that cannot be fetched.
    """
    expect("contents", contents, Mapping, what="names of images with their contents")
    expect("history", history, ChangeHistory, type(None), what="a ChangeHistory, as of history_of")
    if not contents:
        raise ArgumentError("A fleet has at least one image.", argument="contents")
    room = check_layer_limit(max_layers, 0)
    closures = await gather_limited(
        (functools.partial(closure, each) for each in contents.values()), _AT_A_TIME
    )
    if history is None:
        packages = {p.key: p for one in closures for p in one.packages}
        history = await changelog_history(packages.values(), progress=progress)
    return await in_worker(
        fleet_plan, dict(zip(contents, closures, strict=True)), room, history,
        allow_unused=allow_unused, layer_cost_bytes=layer_cost_bytes,
    )  # fmt: skip
