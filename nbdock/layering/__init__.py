"""Which packages share a layer: planners and layer plans.

A planner is a function from a closure and a limit to a `LayerPlan`. Three are listed by
`planners`; `planner_of` takes a name, a pipeline or any function.
"""

from nbdock.layering.auto import ImageRoot, auto_plan
from nbdock.layering.order import check_layer_limit, order_layers
from nbdock.layering.pipeline import Pipeline
from nbdock.layering.plan import LayerPlan, LayerRow
from nbdock.layering.popularity import popularity, popularity_plan
from nbdock.layering.strategy import Planner, Planners, Strategy, planner_of, planners

__all__ = [  # noqa: RUF022 - in order of importance
    "LayerPlan",
    "planners",
    "planner_of",
    "Strategy",
    "popularity_plan",
    "auto_plan",
    "Pipeline",
    "ImageRoot",
    "order_layers",
    "check_layer_limit",
    "popularity",
    "Planner",
    "Planners",
    "LayerRow",
]  # fmt: skip
