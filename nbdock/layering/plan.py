"""A layer plan: which packages share a layer, bottom layer first.

A plan is a value: planners make it, `order_layers` puts its layers in order, images builds it and
people look at it. The customisation layer on top is not in it; images adds that one.

The order of the packages within a layer is part of the plan: they are written in that order, so it
decides the layer's bytes and digest. The planners that dockerTools has too give its order.

    plan = popularity_plan(closure, 99)
    plan.table()                # a DataFrame: one row per layer, nothing read
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from nbdock.packages import Package

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LayerPlan", "LayerRow"]


@dataclasses.dataclass(frozen=True)
class LayerRow:
    """One layer of a plan, as a row of its table.

    Attributes
    ----------
    position
        Place in the plan, from 0, the bottom.
    packages
        How many packages share the layer. Count.
    size_bytes
        Bytes of their files when installed.
    names
        Names of the packages, in the order in which they are written.
    """

    position: int
    packages: int
    size_bytes: int
    names: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class LayerPlan:
    """Layers of packages, bottom first.

    Attributes
    ----------
    layers
        Each layer's packages, in the order in which they are written; where two have an entry at
        one path, the layer builder keeps the first.
    limit
        The most layers that the planner was allowed to use. Count.
    planner
        Name of the planner; with the packages' keys it says how a layer came about.
    """

    layers: tuple[tuple[Package, ...], ...]
    limit: int
    planner: str

    def __len__(self) -> int:
        return len(self.layers)

    def __repr__(self) -> str:
        packages = sum(map(len, self.layers))
        return f"<LayerPlan {self.planner}: {packages} packages in {len(self.layers)} layers>"

    def rows(self) -> tuple[LayerRow, ...]:
        """The layers as plain values, bottom first; what `table` shows, without pandas."""
        return tuple(
            LayerRow(
                position,
                len(layer),
                sum(p.size_bytes for p in layer),
                tuple(p.name for p in layer),
            )
            for position, layer in enumerate(self.layers)
        )

    def table(self) -> pd.DataFrame:
        """The layers as a DataFrame with the columns of `LayerRow`, indexed by ``position``.

        Examples
        --------
        >>> from nbdock.packages import text_file
        >>> LayerPlan(((text_file("etc/motd", "hi"),),), 99, "popularity").table().to_dict("list")
        {'packages': [1], 'size_bytes': [2], 'names': [('motd',)]}
        """
        import pandas as pd

        columns = [field.name for field in dataclasses.fields(LayerRow)]
        values = [[getattr(row, name) for name in columns] for row in self.rows()]
        return pd.DataFrame(values, columns=columns).set_index("position")
