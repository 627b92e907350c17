"""`sharing_table` and `sharing_matrix`: what images have in common, and what a pull would bring.

nbdock.sharing_table(["redis:7", "redis:8"])                     # layers; nothing is pulled
nbdock.sharing_matrix(images, by="file", measure="missing")      # bytes that a host still needs
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from nbdock.errors import ArgumentTypeError, nearest
from nbdock.images import Image, ImageLayer
from nbdock.oci import Platform
from nbdock.packages import Progress
from nbdock.tables.arrowtext import to_digests, to_paths
from nbdock.tables.imagefiles import read_files
from nbdock.tables.layerentries import Kind
from nbdock.tables.layers import layers_of_all
from nbdock.tables.marking import table_function
from nbdock.tables.opening import open_images
from nbdock.tables.packages import manager_of, packages_of
from nbdock.tables.subjects import Subject

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["sharing_matrix", "sharing_table"]

_WHAT: Final = ("layer", "package", "file")
_MEASURES: Final = ("shared", "missing")
_AT_A_TIME = 1 << 16


@dataclasses.dataclass(frozen=True)
class _Things:
    """What images have: for each thing of each image one place in the arrays.

    Attributes
    ----------
    keys, names
        Of the distinct things: what tells them apart, and what people call them.
    image, thing, size_bytes
        Which image has which thing, and its bytes there.
    """

    keys: Sequence[str]
    names: Sequence[str]
    image: npt.NDArray[np.int64]
    thing: npt.NDArray[np.int64]
    size_bytes: npt.NDArray[np.int64]

    @classmethod
    def of(cls, images: Iterable[Iterable[tuple[str, str, int]]]) -> _Things:
        """From the key, name and bytes of each thing of each image."""
        places: dict[str, int] = {}
        names: list[str] = []
        found: dict[tuple[int, int], int] = {}
        for number, things in enumerate(images):
            for key, name, size in things:
                place = places.setdefault(key, len(places))
                if place == len(names):
                    names.append(name)
                found.setdefault((number, place), size)
        pairs = np.array(list(found), np.int64).reshape(-1, 2)
        sizes = np.array(list(found.values()), np.int64)
        return cls(list(places), names, pairs[:, 0], pairs[:, 1], sizes)


@table_function
def sharing_table(
    images: Sequence[Subject],
    *,
    by: str = "layer",
    platform: str | Platform | None = None,
    tls_verify: bool = True,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """The layers, packages or file contents of images, and which images have each.

    Parameters
    ----------
    images
        Images, as for `file_table`. With ``by="layer"``, those in a registry are not pulled.
    by
        ``"layer"``: layers by diff ID, in bytes as they are transferred; ``"package"``: packages by
        name and version; ``"file"``: contents of the files in all layers.
    platform, tls_verify, progress
        As for `file_table`.

    Returns
    -------
    pandas.DataFrame
        Indexed by what tells the things apart (``diff_id``, ``package`` or ``digest``), what
        sharing saves most first, with the columns

        - ``name``: what made the layer, the package's name, or a path of the content,
        - ``size_bytes``: bytes of one,
        - ``images``: how many images have it,
        - ``saved_bytes``: bytes that sharing saves: one copy in place of one for each image,
        - ``in_images``: the images that have it, as they were given, as a list.

        So ``table[table.images == 1].explode("in_images").groupby("in_images").size_bytes.sum()``
        is what each image has for itself.

    Raises
    ------
    ArgumentTypeError
        Something that is no image, or an unknown `by`.
    """
    import pandas as pd

    labels = [str(image) for image in _expect(images)]
    things = _things(images, by, platform, tls_verify, progress)
    count = len(things.keys)
    users = np.bincount(things.thing, minlength=count)
    sizes = np.zeros(count, np.int64)
    np.maximum.at(sizes, things.thing, things.size_bytes)
    grouped = np.split(
        things.image[np.argsort(things.thing, kind="stable")], np.cumsum(users)[:-1]
    ) if count else []  # fmt: skip
    index_name = {"layer": "diff_id", "package": "package", "file": "digest"}[by]
    table = pd.DataFrame(
        {
            "name": pd.Series(list(things.names), dtype="str"),
            "size_bytes": sizes,
            "images": users.astype(np.int64),
            "saved_bytes": sizes * (users - 1),
            "in_images": pd.Series(
                [[labels[i] for i in group.tolist()] for group in grouped], dtype="object"
            ),
        }
    ).set_axis(pd.Index(list(things.keys), name=index_name, dtype="str"))
    return table.sort_values(["saved_bytes", "size_bytes"], ascending=False, kind="stable")


@table_function
def sharing_matrix(
    images: Sequence[Subject],
    *,
    by: str = "layer",
    measure: str = "shared",
    platform: str | Platform | None = None,
    tls_verify: bool = True,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """How many bytes of each image (column) a host that has another one (row) has already.

    Parameters
    ----------
    images, by, platform, tls_verify, progress
        As for `sharing_table`.
    measure
        ``"shared"``: bytes that both have; ``"missing"``: bytes that the host must still pull.

    Returns
    -------
    pandas.DataFrame
        Square, in bytes; the index is named ``has``, the columns ``wants``. On the diagonal of
        shared bytes is what each image has in all, a thing that it has twice counted once.
    """
    import pandas as pd

    if measure not in _MEASURES:
        raise _unknown("measure", measure, _MEASURES)
    labels = [str(image) for image in _expect(images)]
    things = _things(images, by, platform, tls_verify, progress)
    # Sums below 2 ** 53 are exact as floats, and only floats are multiplied fast.
    shared = np.zeros((len(labels), len(labels)))
    order = np.argsort(things.thing, kind="stable")
    image, thing, size = things.image[order], things.thing[order], things.size_bytes[order]
    for first in range(0, len(things.keys), _AT_A_TIME):
        start, end = np.searchsorted(thing, [first, first + _AT_A_TIME])
        held = np.zeros((len(labels), _AT_A_TIME))
        there = (image[start:end], thing[start:end] - first)
        held[there] = size[start:end]
        shared += (held > 0).astype(float) @ held.T
    result = shared if measure == "shared" else np.diag(shared)[np.newaxis, :] - shared
    return pd.DataFrame(
        result.astype(np.int64),
        index=pd.Index(labels, name="has", dtype="str"),
        columns=pd.Index(labels, name="wants", dtype="str"),
    )


def _expect(images: Sequence[Subject]) -> Sequence[Subject]:
    if isinstance(images, str | bytes | Image) or not isinstance(images, Sequence):
        raise ArgumentTypeError(
            f"Sharing is between images: give a list, not {images!r:.60}.",
            argument="images",
        )
    return images


def _unknown(argument: str, value: object, known: Sequence[str]) -> ArgumentTypeError:
    close = nearest(str(value), known)
    return ArgumentTypeError(
        f"There is no {argument}={value!r}.",
        argument=argument,
        hint=f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(known)}.",
    )


def _things(
    images: Sequence[Subject],
    by: str,
    platform: str | Platform | None,
    tls_verify: bool,
    progress: Progress | None,
) -> _Things:
    if by not in _WHAT:
        raise _unknown("by", by, _WHAT)
    if by == "layer":
        found = layers_of_all(images, platform=platform, tls_verify=tls_verify, progress=progress)
        return _Things.of(
            [(str(x.diff_id), _made_by(x), x.descriptor.size_bytes) for x in layers]
            for layers in found
        )
    opened = open_images(images, platform=platform, tls_verify=tls_verify, progress=progress)
    if by == "package":
        return _Things.of(_packages(image, progress) for image in opened)
    return _contents(opened, progress)


def _made_by(layer: ImageLayer) -> str:
    """What made a layer: its packages, a command, or a remark."""
    return ", ".join(layer.contents) or layer.remark or layer.created_by


def _packages(image: Image, progress: Progress | None) -> list[tuple[str, str, int]]:
    found = []
    for package in packages_of(image, progress=progress)[0].packages:
        manager = manager_of(package)
        words = (package.root,) if manager == "nix" else (manager, package.name, package.version)
        found.append((" ".join(filter(None, words)), package.name, package.size_bytes))
    return found


def _contents(images: Sequence[Image], progress: Progress | None) -> _Things:
    """The contents of files, by arrays: there may be millions."""
    import pyarrow as pa
    import pyarrow.compute as pc

    digests, paths, sizes, owners = [], [], [], []
    for number, image in enumerate(images):
        files = read_files(image, progress=progress)
        rows = np.flatnonzero((files.kinds == Kind.FILE) & (files.sizes > 0))
        sums = files.column("digest").take(pa.array(rows))
        codes = pc.dictionary_encode(sums).indices.to_numpy()
        rows = rows[np.unique(codes, return_index=True)[1]] if len(rows) else rows
        digests.append(files.column("digest").take(pa.array(rows)))
        paths.append(files.column("path").take(pa.array(rows)))
        sizes.append(files.sizes[rows])
        owners.append(np.full(len(rows), number, np.int64))
    if not digests:
        return _Things.of([])
    encoded = pc.dictionary_encode(pa.concat_arrays(digests))
    thing = encoded.indices.to_numpy().astype(np.int64)
    first = np.unique(thing, return_index=True)[1]
    names = to_paths(pa.concat_arrays(paths).take(pa.array(first)))
    return _Things(
        to_digests(encoded.dictionary).to_pylist(), names.to_pylist(),
        np.concatenate(owners), thing, np.concatenate(sizes),
    )  # fmt: skip
