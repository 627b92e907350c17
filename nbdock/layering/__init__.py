"""Which packages share a layer: planners and layer plans.

A planner is a function from a closure and a limit to a `LayerPlan`. `planners` lists them;
`planner_of` takes a name, a pipeline or any function. `HistoryPlanner` is the one that knows when
packages changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbdock.later import names_of
from nbdock.layering.order import check_layer_limit, order_layers
from nbdock.layering.plan import LayerPlan, LayerRow
from nbdock.layering.popularity import popularity, popularity_plan

if TYPE_CHECKING:
    from nbdock.layering.advice import BUDGETS, HARDLY_MORE, LayerAdvice, advise_on, day_between
    from nbdock.layering.auto import ImageRoot, auto_plan
    from nbdock.layering.chunked import chunked_plan
    from nbdock.layering.fleet import FleetPlan, FleetPlanner, FleetRow, fleet_plan
    from nbdock.layering.history import HistoryPlanner, Previous, label_of
    from nbdock.layering.pipeline import Pipeline
    from nbdock.layering.size import size_plan
    from nbdock.layering.strategy import Planner, Planners, Strategy, planner_of, planners

__all__ = [  # noqa: RUF022 - in order of importance
    "LayerPlan",
    "planners",
    "planner_of",
    "Strategy",
    "HistoryPlanner",
    "Previous",
    "fleet_plan",
    "FleetPlan",
    "FleetPlanner",
    "FleetRow",
    "advise_on",
    "LayerAdvice",
    "popularity_plan",
    "auto_plan",
    "size_plan",
    "chunked_plan",
    "Pipeline",
    "ImageRoot",
    "order_layers",
    "check_layer_limit",
    "popularity",
    "label_of",
    "day_between",
    "BUDGETS",
    "HARDLY_MORE",
    "Planner",
    "Planners",
    "LayerRow",
]  # fmt: skip

__getattr__, _ = names_of(
    __name__,
    {
        "advice": "BUDGETS HARDLY_MORE LayerAdvice advise_on day_between",
        "auto": "ImageRoot auto_plan",
        "chunked": "chunked_plan",
        "fleet": "FleetPlan FleetPlanner FleetRow fleet_plan",
        "history": "HistoryPlanner Previous label_of",
        "pipeline": "Pipeline",
        "size": "size_plan",
        "strategy": "Planner Planners Strategy planner_of planners",
    },
)
