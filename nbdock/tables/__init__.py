"""pandas tables of layers and packages."""

from nbdock.tables.layers import layer_table
from nbdock.tables.packages import package_table

__all__ = ["layer_table", "package_table"]
