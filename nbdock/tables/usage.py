"""`usage_table`: what takes room on the disk under `settings.home`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from nbdock.calling import checked
from nbdock.content import BlobStore
from nbdock.images import usage
from nbdock.tables.marking import marked

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["usage_table"]


@checked
@marked
def usage_table(*, store: BlobStore | None = None) -> pd.DataFrame:
    """What nbdock keeps on the disk: how much of what, and what of it `prune` would free.

    Parameters
    ----------
    store
        Whose home; by default the store under `settings.home`.

    Returns
    -------
    DataFrame
        Indexed by ``kind``, with the columns

        - ``place``: where below the home,
        - ``file_count``: how many files,
        - ``size_bytes``: bytes on the disk,
        - ``prunable_bytes``: bytes of that which `prune` would free.

    Raises
    ------
    ContentError
        Which images there are cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> table = usage_table(store=BlobStore(tempfile.mkdtemp()))
    >>> table.loc["blobs"].to_dict()
    {'place': 'blobs', 'file_count': 0, 'size_bytes': 0, 'prunable_bytes': 0}
    """
    import pandas as pd

    rows = [dataclasses.astuple(part) for part in usage(store)]
    columns = ["kind", "place", "file_count", "size_bytes", "prunable_bytes"]
    return pd.DataFrame(rows, columns=columns).set_index("kind")
