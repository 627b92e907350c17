"""`layer_table`: the layers of an image as a DataFrame.

>>> import nbdock
>>> motd = nbdock.text_file("etc/motd", "hello")
>>> image = nbdock.concurrency.run(nbdock.build_layered_image("motd", contents=motd))
>>> nbdock.layer_table(image)[["size_bytes", "contents"]]
          size_bytes contents
position
0              10240   [motd]
1              10240       []
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbdock.images import Image
from nbdock.tables.subjects import expect_image

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["layer_table"]


def layer_table(image: Image) -> pd.DataFrame:
    """The layers of an image, lowest first.

    Parameters
    ----------
    image
        An image in the store.

    Returns
    -------
    pandas.DataFrame
        Indexed by ``position`` (from 0, the lowest), with the columns

        - ``diff_id``: digest of the uncompressed tar,
        - ``digest``: digest of the blob as the image holds it,
        - ``media_type``: of that blob,
        - ``size_bytes``: bytes of that blob,
        - ``contents``: names of the packages or store paths in it, as its history tells,
        - ``created_by``, ``comment``: the rest of its history.
    """
    import pandas as pd

    image = expect_image(image)
    columns: dict[str, list[object]] = {
        name: []
        for name in (
            "diff_id", "digest", "media_type", "size_bytes", "contents", "created_by", "comment",
        )
    }  # fmt: skip
    for layer in image.layers:
        columns["diff_id"].append(str(layer.diff_id))
        columns["digest"].append(str(layer.descriptor.digest))
        columns["media_type"].append(layer.descriptor.media_type)
        columns["size_bytes"].append(layer.descriptor.size_bytes)
        columns["contents"].append(list(layer.contents))
        columns["created_by"].append(layer.created_by)
        columns["comment"].append(layer.comment)
    index = pd.RangeIndex(len(image.layers), name="position")
    table = pd.DataFrame(columns, index=index)
    texts = dict.fromkeys(("diff_id", "digest", "created_by", "comment"), "str")
    kinds = {**texts, "size_bytes": "int64", "media_type": "category", "contents": "object"}
    return table.astype(kinds)
