"""Which packages share a layer: planners and layer plans."""

from nbdock.layering.order import check_layer_limit, order_layers
from nbdock.layering.plan import LayerPlan, LayerRow
from nbdock.layering.popularity import popularity, popularity_plan

__all__ = [  # noqa: RUF022 - in order of importance
    "LayerPlan",
    "popularity_plan",
    "order_layers",
    "check_layer_limit",
    "popularity",
    "LayerRow",
]  # fmt: skip
