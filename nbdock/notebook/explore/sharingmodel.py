"""What `explore_sharing` knows: what images have in common, by layer, package or file.

model = SharingModel(["redis:7", "redis:8"])
model.shared("layer")           # bytes that both have, as `sharing_matrix` gives them
model.order("layer")            # what is alike beside each other
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from nbdock.errors import ArgumentError, nearest
from nbdock.tables import sharing_matrix, sharing_table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BY", "SharingModel", "alike"]

BY: Final = ("layer", "package", "file")


class SharingModel:
    """Images, and what they share; each question is answered once.

    Parameters
    ----------
    images
        As for `sharing_table`.
    **options
        Its other options.
    """

    def __init__(self, images: Sequence[Any], **options: Any) -> None:
        self.images = images
        self._options = options
        self._matrices: dict[str, pd.DataFrame] = {}
        self._things: dict[str, pd.DataFrame] = {}

    def forget_progress(self) -> None:
        """Show no more how reading goes: who asked for that is served."""
        self._options["progress"] = None

    def shared(self, by: str) -> pd.DataFrame:
        """Bytes that two images both have: `sharing_matrix` of them."""
        if by not in self._matrices:
            self._matrices[by] = sharing_matrix(self.images, by=by, **self._options)
        return self._matrices[by]

    def things(self, by: str) -> pd.DataFrame:
        """What the images have: `sharing_table` of them."""
        if by not in self._things:
            self._things[by] = sharing_table(self.images, by=by, **self._options)
        return self._things[by]

    def names(self, by: str) -> list[str]:
        """The images, as they were given."""
        return [str(name) for name in self.shared(by).index]

    def order(self, by: str) -> list[int]:
        """The images by number, what is alike beside each other."""
        shared = self.shared(by).to_numpy().astype(float)
        sizes = np.diag(shared)
        both = sizes[:, np.newaxis] + sizes[np.newaxis, :]
        return alike(np.divide(2 * shared, both, out=np.zeros_like(shared), where=both > 0))

    def table(self, by: str) -> pd.DataFrame:
        """The images as a DataFrame, indexed by ``image``, in the order given.

        Columns, in bytes but for the last two: ``size_bytes``, ``only_here_bytes`` (nobody else
        has it), ``shared_bytes`` (somebody else has it too), ``nearest`` (the image after which
        the least has to be pulled) and ``missing_bytes`` (that least).
        """
        import pandas as pd

        matrix = self.shared(by)
        names = self.names(by)
        shared = matrix.to_numpy()
        sizes = np.diag(shared)
        things = self.things(by)
        alone = things[things["images"] == 1]
        owners = alone["in_images"].map(lambda images: images[0])
        only = alone["size_bytes"].groupby(owners.to_numpy()).sum()
        missing = sizes[np.newaxis, :] - shared
        np.fill_diagonal(missing, np.iinfo(np.int64).max)
        best = missing.argmin(axis=0) if len(names) > 1 else np.zeros(len(names), np.int64)
        single = len(names) < 2
        here = np.array([int(only.get(name, 0)) for name in names], np.int64)
        return pd.DataFrame(
            {
                "size_bytes": sizes.astype(np.int64),
                "only_here_bytes": here,
                "shared_bytes": sizes.astype(np.int64) - here,
                "nearest": pd.Series([None if single else names[i] for i in best], dtype="str"),
                "missing_bytes": pd.Series(
                    [None if single else int(missing[i, j]) for j, i in enumerate(best)],
                    dtype="Int64",
                ),
            }
        ).set_axis(pd.Index(names, name="image", dtype="str"))

    def between(self, by: str, has: str, wants: str) -> pd.DataFrame:
        """What one or the other of two images has.

        Returns
        -------
        pandas.DataFrame
            The rows of `sharing_table` that are in one of them, with ``held`` as first column:
            ``both``; ``missing``, what a host that has `has` must pull for `wants`; or ``kept``,
            what it has and `wants` does not need. Of one image alone: ``both`` is what others have
            too, ``missing`` what nobody else has.
        """
        import pandas as pd

        for name in (has, wants):
            if name not in self.names(by):
                close = nearest(str(name), self.names(by), count=1)
                raise ArgumentError(
                    f"{name!r:.80} is not among the images.",
                    argument="has" if name == has else "wants",
                    hint=f"Did you mean {close[0]!r}?" if close else "They are in .table.index.",
                )
        things = self.things(by)
        held = []
        for images, users in zip(things["in_images"], things["images"], strict=True):
            there, needed = has in images, wants in images
            if has == wants:
                held.append(("both" if users > 1 else "missing") if there else "")
            else:
                held.append(_HELD[there, needed])
        rows = [i for i, kind in enumerate(held) if kind]
        kinds = pd.Categorical([held[i] for i in rows], pd.Index(_KINDS, dtype="str"))
        found = things.iloc[rows].assign(held=kinds)
        first = ["held", *(name for name in things.columns)]
        return found[first].sort_values(
            ["held", "size_bytes"], ascending=[True, False], kind="stable"
        )


_KINDS: Final = ("missing", "both", "kept")
_HELD: Final = {
    (True, True): "both",
    (False, True): "missing",
    (True, False): "kept",
    (False, False): "",
}


def alike(similarity: npt.NDArray[np.float64]) -> list[int]:
    """An order in which what is alike stands together: clusters, joined at their nearest ends.

    Average linkage; of the four ways to join two clusters the one whose ends are most alike.
    Deterministic: of equals, the first.

    >>> import numpy as np
    >>> alike(np.array([[1, 0, 0.9], [0, 1, 0.1], [0.9, 0.1, 1]]))
    [0, 2, 1]
    """
    clusters = [[i] for i in range(len(similarity))]
    link = similarity.astype(float).copy()
    np.fill_diagonal(link, -1.0)
    while len(clusters) > 1:
        a, b = sorted(divmod(int(link.argmax()), len(clusters)))
        first, second = clusters[a], clusters[b]
        ways = [
            (first, second), (first, second[::-1]), (first[::-1], second),
            (first[::-1], second[::-1]),
        ]  # fmt: skip
        left, right = max(ways, key=lambda way: float(similarity[way[0][-1], way[1][0]]))
        weights = (len(first), len(second))
        merged = (link[a] * weights[0] + link[b] * weights[1]) / sum(weights)
        link[a], link[:, a] = merged, merged
        link[a, a] = -1.0
        link = np.delete(np.delete(link, b, axis=0), b, axis=1)
        clusters[a] = left + right
        del clusters[b]
    order = clusters[0] if clusters else []
    return order[::-1] if order and order[0] > order[-1] else order
