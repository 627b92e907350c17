"""A small table of each kind, for the types of its columns: of two images with a file in each.

Nothing is fetched for it, and it is made in a home of its own.
"""

from __future__ import annotations

import datetime as dt
import tempfile

import pandas as pd

import nbdock
from nbdock import settings, tables
from nbdock.concurrency import run
from nbdock.tables import registries
from nbdock.tables.fleetscan import part_schema


def sample_tables() -> dict[str, pd.DataFrame]:
    """The tables by the names of the functions that make them; those of a fleet by kind."""
    with tempfile.TemporaryDirectory() as home:
        settings.configure(home=home)
        try:
            return _tables()
        finally:
            settings.configure(home=None)


def _tables() -> dict[str, pd.DataFrame]:
    one, two = (
        run(nbdock.build_layered_image(name, contents=[nbdock.text_file("etc/motd", name)]))
        for name in ("one", "two")
    )
    changes = pd.DataFrame(
        {"package": ["motd"] * 2, "date": [dt.date(2025, 1, 1), dt.date(2025, 6, 1)]}
    )
    # What is in registries cannot be asked for here: a table of nothing has the same types.
    described = registries._documents([])  # noqa: SLF001
    tags = described.set_axis(pd.Index([], name="tag", dtype="str"))
    tags.insert(0, "platforms", pd.Series([], dtype="object"))
    fleet = {
        f"fleet_table {kind}": part_schema(kind).empty_table().to_pandas()
        for kind in ("images", "layers", "packages")
    }
    return {
        "layer_table": nbdock.layer_table(one, details=True),
        "file_table": nbdock.file_table(one),
        "waste_table": nbdock.waste_table(one),
        "package_table": nbdock.package_table(one),
        "sharing_table": nbdock.sharing_table([one, two]),
        "compare_table": nbdock.compare_table(one, two),
        "reproducibility_table": nbdock.reproducibility_table(one, two),
        "registry_table": tags,
        "index_table": described.set_axis(pd.RangeIndex(0, name="position")),
        "history_table": nbdock.history_table(changes),
        "replay": nbdock.replay(
            [nbdock.text_file("etc/motd", "hello")], changes, planners=["popularity"], budgets=[2]
        ),
        "usage_table": nbdock.usage_table(),
        "doctor": tables.doctor(),
        **fleet,
    }
