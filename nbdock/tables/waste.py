"""`waste_table` and `efficiency`: what is in the layers of an image and does nothing for it.

>>> import nbdock
>>> run, text = nbdock.concurrency.run, nbdock.text_file
>>> base = run(nbdock.build_image("base", contents=text("a", "12345")))
>>> image = run(nbdock.build_image("top", from_image=base, contents=text("a", "67890")))
>>> nbdock.waste_table(image)[["path", "size_bytes", "reason"]]
  path  size_bytes       reason
0   /a           5  overwritten
>>> nbdock.efficiency(image).score
0.5
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np

from nbdock.calling import checked
from nbdock.errors import ArgumentTypeError, nearest
from nbdock.oci import Platform
from nbdock.packages import Progress
from nbdock.showing import watched_plain
from nbdock.tables.arrowtext import to_paths
from nbdock.tables.dive import count_like_dive
from nbdock.tables.imagefiles import ImageFiles, codes_of, read_files
from nbdock.tables.layerentries import Kind
from nbdock.tables.marking import table_function
from nbdock.tables.opening import open_image
from nbdock.tables.overlaying import REASONS, Reason, Rows
from nbdock.tables.subjects import Subject

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["WASTE_REASONS", "Efficiency", "Waste", "efficiency", "waste_of", "waste_table"]

WASTE_REASONS: Final = (*REASONS, "metadata only", "duplicate")
_METADATA_ONLY, _DUPLICATE = len(REASONS), len(REASONS) + 1
_METHODS = ("nbdock", "dive")


@dataclasses.dataclass(frozen=True)
class Efficiency:
    """How much of an image's layers is of use.

    Attributes
    ----------
    score
        From 0 to 1: the part that is of use; 1 for an image without files.
    wasted_bytes
        Bytes of files that are of no use.
    total_bytes
        Bytes of the files of all layers, uncompressed.
    user_wasted_percent
        Wasted bytes in percent of what the layers above the lowest hold; 0 if they hold nothing.
    method
        Who counted: ``nbdock`` or ``dive``.
    """

    score: float
    wasted_bytes: int
    total_bytes: int
    user_wasted_percent: float
    method: str


@dataclasses.dataclass(frozen=True)
class Waste:
    """The rows of files of no use, why (a place in `WASTE_REASONS`), and the row that did it."""

    rows: Rows
    reasons: Rows
    by: Rows


def waste_of(files: ImageFiles) -> Waste:
    """Find what is wasted in an image.

    A file is kept while any of its names is seen. Of files that are seen and have the same content
    the lowest is kept.
    """
    kinds, sizes, laid = files.kinds, files.sizes, files.laid
    named = np.flatnonzero((kinds == Kind.FILE) | (kinds == Kind.HARDLINK))
    seen = np.zeros(len(kinds), np.bool_)
    held = files.files[named[laid.visible[named]]]
    seen[held[held >= 0]] = True
    stored = np.flatnonzero((kinds == Kind.FILE) & (sizes > 0))
    contents = codes_of(files.column("digest"))

    hidden = stored[~seen[stored]]
    by = laid.hidden_by[hidden]
    reasons = laid.reason[hidden].astype(np.int64)
    over = (reasons == Reason.OVERWRITTEN) & (by >= 0)
    again = over & (contents[hidden] == contents[by])
    reasons[again] = _METADATA_ONLY

    shown = stored[seen[stored]]
    _, first, inverse = np.unique(contents[shown], return_index=True, return_inverse=True)
    kept = shown[first[inverse]]
    twice = kept != shown
    return Waste(
        np.concatenate([hidden, shown[twice]]),
        np.concatenate([reasons, np.full(int(twice.sum()), _DUPLICATE)]),
        np.concatenate([by, kept[twice]]),
    )


@table_function
def waste_table(
    image: Subject,
    *,
    platform: str | Platform | None = None,
    tls_verify: bool = True,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """The files in an image's layers that are of no use, the largest first.

    Every file of which a container sees no name is wasted, and of those that it sees, every copy
    of a content but the lowest. Empty files waste nothing.

    Parameters
    ----------
    image, platform, tls_verify, progress
        As for `file_table`.

    Returns
    -------
    pandas.DataFrame
        One row for each file, indexed by its row in `file_table`, with the columns

        - ``path``: absolute,
        - ``layer``: position of the layer that holds it,
        - ``size_bytes``: bytes of its content, which are wasted,
        - ``reason``: overwritten (another content stands at its path), metadata only (the same
          content does, with another mode, owner or time), deleted, directory deleted, directory
          emptied (an opaque whiteout), replaced (a file took a directory's place, or the other way
          round), duplicate (the same content is kept at another path),
        - ``by_layer``: position of the layer that made it waste; of a duplicate, the layer of the
          copy that is kept,
        - ``by_path``: the path that did so: its own, that of a directory above it, or of the copy.
    """
    import pandas as pd
    import pyarrow as pa

    found = open_image(image, platform=platform, tls_verify=tls_verify, progress=progress)
    files = read_files(found, progress=progress)
    waste = waste_of(files)
    order = np.lexsort((waste.rows, -files.sizes[waste.rows]))
    rows, by = waste.rows[order], waste.by[order]
    paths = files.column("path")
    texts = pa.table(
        {"path": to_paths(paths.take(pa.array(rows))), "by": to_paths(paths.take(pa.array(by)))}
    ).to_pandas()
    return pd.DataFrame(
        {
            "path": texts["path"],
            "layer": files.layer[rows],
            "size_bytes": files.sizes[rows],
            "reason": pd.Categorical.from_codes(waste.reasons[order], pd.Index(WASTE_REASONS)),
            "by_layer": files.layer[by],
            "by_path": texts["by"],
        }
    ).set_axis(pd.Index(rows), axis=0)


@checked
@watched_plain("Read")
def efficiency(
    image: Subject,
    *,
    method: str = "nbdock",
    platform: str | Platform | None = None,
    tls_verify: bool = True,
    progress: Progress | None = None,
) -> Efficiency:
    """How much of an image's layers is of use.

    Parameters
    ----------
    method
        ``"nbdock"`` counts what `waste_table` lists: also deleted and emptied directories, the same
        content at several paths, changes of a file's metadata; and the copy that is kept is no
        waste. ``"dive"`` gives the numbers that dive prints.
    image, platform, tls_verify, progress
        As for `file_table`.

    Raises
    ------
    ArgumentTypeError
        An unknown method, or something that is no image.
    """
    if method not in _METHODS:
        close = nearest(str(method), _METHODS)
        raise ArgumentTypeError(
            f"There is no method {method!r} of counting.",
            argument="method",
            hint=f"Did you mean {close[0]!r}?" if close else "There are 'nbdock' and 'dive'.",
        )
    found = open_image(image, platform=platform, tls_verify=tls_verify, progress=progress)
    # dive looks at no content.
    files = read_files(found, hashes=method == "nbdock", progress=progress)
    total = int(files.sizes.sum())
    above = int(files.sizes[files.layer > 0].sum())
    if method == "dive":
        count = count_like_dive(files)
        score, wasted = count.score, count.wasted_bytes
    else:
        wasted = int(files.sizes[waste_of(files).rows].sum())
        score = (total - wasted) / total if total else 1.0
    return Efficiency(score, wasted, total, 100 * wasted / above if above else 0.0, method)
