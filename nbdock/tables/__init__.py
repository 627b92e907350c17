"""pandas tables of images, of what is in registries, and of what a machine has.

What a table needs (pandas, numpy, Arrow) is imported when the table is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbdock.later import names_of

if TYPE_CHECKING:
    from nbdock.tables.checkup import CheckedPart, check_parts, doctor
    from nbdock.tables.comparing import compare_table
    from nbdock.tables.contents import first_bytes
    from nbdock.tables.filefacts import FileFacts, facts_of
    from nbdock.tables.filefilters import CHANGES_SHOWN, FileFilter, quoted
    from nbdock.tables.files import file_table, table_of
    from nbdock.tables.filetrees import FileTree, Items
    from nbdock.tables.fleets import Fleet, fleet_table
    from nbdock.tables.graphs import closure_graph
    from nbdock.tables.histories import history_of, history_table
    from nbdock.tables.imagefiles import read_files
    from nbdock.tables.layers import layer_table
    from nbdock.tables.marking import MARK, mark
    from nbdock.tables.opening import open_image
    from nbdock.tables.owners import owners_of
    from nbdock.tables.packages import package_table
    from nbdock.tables.registries import index_table, registry_table
    from nbdock.tables.replaying import Advice, advise, replay
    from nbdock.tables.reproducing import reproducibility_table
    from nbdock.tables.sharing import sharing_matrix, sharing_table
    from nbdock.tables.usage import usage_table
    from nbdock.tables.waste import Efficiency, efficiency, waste_table

__all__ = [  # noqa: RUF022, in order of importance
    "layer_table",
    "file_table",
    "package_table",
    "waste_table",
    "efficiency",
    "Efficiency",
    "sharing_table",
    "sharing_matrix",
    "compare_table",
    "reproducibility_table",
    "closure_graph",
    "history_of",
    "history_table",
    "replay",
    "advise",
    "Advice",
    "fleet_table",
    "Fleet",
    "registry_table",
    "index_table",
    "usage_table",
    "doctor",
    "check_parts",
    "CheckedPart",
    "open_image",
    "FileTree",
    "FileFilter",
    "CHANGES_SHOWN",
    "FileFacts",
    "Items",
    "facts_of",
    "owners_of",
    "first_bytes",
    "read_files",
    "table_of",
    "quoted",
    "MARK",
    "mark",
]

__getattr__, __dir__ = names_of(
    __name__,
    {
        "layers": "layer_table",
        "files": "file_table table_of",
        "filetrees": "FileTree Items",
        "filefilters": "FileFilter CHANGES_SHOWN quoted",
        "filefacts": "FileFacts facts_of",
        "imagefiles": "read_files",
        "contents": "first_bytes",
        "owners": "owners_of",
        "packages": "package_table",
        "usage": "usage_table",
        "waste": "waste_table efficiency Efficiency",
        "sharing": "sharing_table sharing_matrix",
        "comparing": "compare_table",
        "reproducing": "reproducibility_table",
        "graphs": "closure_graph",
        "histories": "history_of history_table",
        "fleets": "fleet_table Fleet",
        "replaying": "replay advise Advice",
        "registries": "registry_table index_table",
        "opening": "open_image",
        "marking": "MARK mark",
        "checkup": "doctor check_parts CheckedPart",
    },
)
