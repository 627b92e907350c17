"""pandas tables of layers and packages, of what is in registries, and of what a machine has."""

from nbdock.tables.checkup import CheckedPart, check_parts, doctor
from nbdock.tables.comparing import compare_table
from nbdock.tables.files import file_table
from nbdock.tables.graphs import closure_graph
from nbdock.tables.layers import layer_table
from nbdock.tables.packages import package_table
from nbdock.tables.registries import index_table, registry_table
from nbdock.tables.reproducing import reproducibility_table
from nbdock.tables.sharing import sharing_matrix, sharing_table
from nbdock.tables.waste import Efficiency, efficiency, waste_table

__all__ = [
    "CheckedPart",
    "Efficiency",
    "check_parts",
    "closure_graph",
    "compare_table",
    "doctor",
    "efficiency",
    "file_table",
    "index_table",
    "layer_table",
    "package_table",
    "registry_table",
    "reproducibility_table",
    "sharing_matrix",
    "sharing_table",
    "waste_table",
]
