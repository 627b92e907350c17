"""pandas tables of layers and packages, and of what is in registries."""

from nbdock.tables.layers import layer_table
from nbdock.tables.packages import package_table
from nbdock.tables.registries import index_table, registry_table

__all__ = ["index_table", "layer_table", "package_table", "registry_table"]
