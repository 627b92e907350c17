"""What the colours of a picture of files stand for: layers, or packages.

    shading = by_layer(tree)
    shading.names[shading.of(rows)], shading.colour(shading.of(rows))

There are nine colours that can be told apart, so the nine that bring the most bytes have one each;
all others share grey. A picture says names too, and its legend.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from nbdock.images import Image
from nbdock.notebook.explore.svg import PALETTE
from nbdock.tables import FileTree, owners_of

__all__ = ["Shading", "by_layer", "by_package"]


@dataclasses.dataclass(frozen=True, eq=False)
class Shading:
    """One way to colour files.

    Attributes
    ----------
    kind
        What is told apart: ``layer``, ``package``.
    names
        Of what is told apart.
    codes
        The place of each row's in `names`; -1 for none.
    colours
        The colour of each of `names`, by number; -1 for those that have none of their own.
    """

    kind: str
    names: Sequence[str]
    codes: Any
    sizes: Any
    colours: Sequence[int]

    def of(self, rows: Any) -> int:
        """Whose bytes are the most among some rows; -1: nobody's."""
        codes = self.codes[rows]
        if len(rows) == 1:
            return int(codes[0])
        # What has no name is counted in the first place.
        return int(np.bincount(codes + 1, self.sizes[rows]).argmax()) - 1

    def name(self, code: int) -> str:
        """What a code stands for; empty for nothing."""
        return self.names[code] if code >= 0 else ""

    def colour(self, code: int) -> int:
        """The number of a code's colour; -1 if it has none of its own."""
        return self.colours[code] if code >= 0 else -1


def by_layer(tree: FileTree, count: int) -> Shading:
    """Files coloured by the layer that they are in."""
    names = [f"layer {number}" for number in range(count)]
    return _shading("layer", names, tree.files.layer.astype(np.int64), tree, everything=True)


def by_package(tree: FileTree, image: Image) -> Shading:
    """Files coloured by the package that they belong to; it is found out here, which may take."""
    owners = owners_of(image, tree.files)
    return _shading("package", owners.names, owners.of.astype(np.int64), tree, everything=False)


def _shading(
    kind: str, names: Sequence[str], codes: Any, tree: FileTree, *, everything: bool
) -> Shading:
    sizes = tree.files.sizes
    counted = codes >= 0 if everything else (codes >= 0) & tree.files.laid.visible
    totals = np.bincount(codes[counted], sizes[counted], minlength=len(names))
    colours = np.full(len(names), -1)
    largest = np.argsort(-totals, kind="stable")[: len(PALETTE)]
    colours[largest] = np.arange(len(largest))
    return Shading(kind, names, codes, sizes, colours.tolist())
