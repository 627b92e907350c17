"""`layer_table`: the layers of images as a DataFrame.

>>> import nbdock
>>> motd = nbdock.text_file("etc/motd", "hello")
>>> image = nbdock.concurrency.run(nbdock.build_layered_image("motd", contents=motd))
>>> nbdock.layer_table(image)[["size_bytes", "contents"]]
          size_bytes               contents
position
0              10240                 [motd]
1              10240  [nothing at the root]

Of an image in a registry it needs the manifest and the configuration only, and of many it reads
them together:

    layers = nbdock.layer_table([f"docker.io/library/redis:{n}" for n in (6, 7, 8)])
    layers.groupby("digest").size_bytes.agg(["size", "first"])    # what they share
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nbdock.concurrency import run
from nbdock.errors import InvalidManifestError, NbdockError, PlatformNotFoundError
from nbdock.images import Image, ImageLayer, layers_of, load_image
from nbdock.oci import Digest, Platform, Reference
from nbdock.packages import Progress
from nbdock.tables.imagefiles import read_files
from nbdock.tables.layerentries import Kind
from nbdock.tables.marking import table_function
from nbdock.tables.opening import open_images
from nbdock.tables.packages import packages_of
from nbdock.tables.remote import RemoteImage, open_registries
from nbdock.tables.subjects import EngineImage, Subject, expect_platform, to_subject
from nbdock.tables.waste import waste_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["layer_table", "layers_of_all"]


@table_function
def layer_table(
    image: Subject | Sequence[Subject],
    *,
    details: bool = False,
    platform: str | Platform | None = None,
    tls_verify: bool = True,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """The layers of one image or of several, lowest first.

    Parameters
    ----------
    image
        An image; a name in a registry (``redis:7``), of which no layers are fetched; the path of
        an archive or a layout; an image of a running engine (``docker-daemon:redis:7``); or a list
        of such.
    details
        Also what is in the layers, which are read for it, and fetched first if need be.
    platform
        Which image of an index in a registry: ``"linux/arm64"``. By default the one for this
        machine, or the only one.
    tls_verify
        False accepts any certificate, and a registry without TLS.
    progress
        Called with what is being done, how much is done, and how much there is.

    Returns
    -------
    pandas.DataFrame
        Indexed by ``position`` (from 0, the lowest); for a list by ``image``, as it was given, and
        ``position``. The columns are

        - ``diff_id``: digest of the uncompressed tar,
        - ``digest``: digest of the blob as the image holds it,
        - ``media_type``: of that blob,
        - ``size_bytes``: bytes of that blob,
        - ``uncompressed_bytes``: bytes of the tar, as far as it is known here: no document says it,
        - ``contents``: names of the packages or store paths in it, as its history tells, or the
          one remark that stands there instead (``links at the root``),
        - ``created_by``, ``comment``: the rest of its history,

        and with `details`

        - ``files``: how many entries it has, but for directories and whiteouts,
        - ``packages``: how many packages it brings (see `package_table`),
        - ``wasted_bytes``: bytes of its files that are of no use (see `waste_table`),
        - ``images``: how many images have it, of those given and of those that have a name in
          the store.

    Raises
    ------
    ArgumentTypeError
        Something that is no image.
    ImageNotFoundError, ManifestNotFoundError, PlatformNotFoundError
        There is no such image; the hint names what there is.
    AuthenticationError, RegistryError, TransportError
        The registry refuses, or cannot be reached.
    """
    import pandas as pd

    several = isinstance(image, Sequence) and not isinstance(image, str)
    given: list[Subject] = list(image) if several else [image]  # type: ignore[list-item, arg-type]
    opened: list[Image] = []
    if details:
        opened = open_images(given, platform=platform, tls_verify=tls_verify, progress=progress)
    subjects: Sequence[Image | Reference | EngineImage | str]
    subjects = opened if details else [to_subject(value) for value in given]
    asked = expect_platform(platform)
    found = [_rows(each) for each in _fetched(subjects, asked, tls_verify, progress)]
    rows = [row for rows in found for row in rows]
    table = _table(rows)
    if details:
        table = table.assign(**_details(opened, progress))
    positions = [layer.position for layer, _ in rows]
    if not several:
        return table.set_axis(pd.RangeIndex(len(rows), name="position"))
    names = [str(value) for value, rows in zip(given, found, strict=True) for _ in rows]
    index = [pd.Index(names, dtype="str"), pd.Index(positions, dtype="int64")]
    return table.set_axis(pd.MultiIndex.from_arrays(index, names=["image", "position"]))


def _details(images: Sequence[Image], progress: Progress | None) -> dict[str, npt.NDArray[Any]]:
    """What is in the layers of images, column by column."""
    users: dict[Digest, set[Digest]] = {}
    for image in (*images, *_stored(images)):
        for layer in image.layers:
            users.setdefault(layer.diff_id, set()).add(image.digest)
    columns: dict[str, list[npt.NDArray[Any]]] = {}
    for image in images:
        count = len(image.layers)
        files = read_files(image, progress=progress)
        is_file = (files.kinds != Kind.DIRECTORY) & (files.kinds < Kind.WHITEOUT)
        wasted = waste_of(files).rows
        brought = list(packages_of(image, progress=progress)[1].values())
        of_image = {
            "files": np.bincount(files.layer[is_file], minlength=count),
            "packages": np.bincount(np.array(brought, np.int64), minlength=count),
            # Sums of weights are floats, exact below 2 ** 53.
            "wasted_bytes": np.bincount(files.layer[wasted], files.sizes[wasted], count),
            "images": np.array([len(users[layer.diff_id]) for layer in image.layers]),
        }
        for name, values in of_image.items():
            columns.setdefault(name, []).append(values.astype(np.int64))
    nothing = np.empty(0, np.int64)
    return {
        name: np.concatenate([nothing, *columns.get(name, [])])
        for name in ("files", "packages", "wasted_bytes", "images")
    }


def _stored(images: Sequence[Image]) -> Iterator[Image]:
    """The images that have names in the stores of some, as far as they are whole."""
    for store in {image.store.home: image.store for image in images}.values():
        for stored in store.images():
            image = Image(store, stored.descriptor, stored.name)
            try:
                image.layers  # noqa: B018 - read here, where it may fail
            except NbdockError:
                continue
            yield image


def layers_of_all(
    images: Sequence[Subject],
    *,
    platform: str | Platform | None = None,
    tls_verify: bool = True,
    progress: Progress | None = None,
) -> list[list[ImageLayer]]:
    """The layers of images; of those in a registry from their documents alone."""
    asked = expect_platform(platform)
    subjects = [to_subject(image) for image in images]
    found = _fetched(subjects, asked, tls_verify, progress)
    return [[layer for layer, _ in _rows(each)] for each in found]


Row = tuple[ImageLayer, int | None]
"""A layer, and the bytes of its tar if they are known."""


def _fetched(
    subjects: Sequence[Image | Reference | EngineImage | str],
    platform: Platform | None,
    tls_verify: bool,
    progress: Progress | None,
) -> list[Image | tuple[Reference, RemoteImage]]:
    """The images, or what registries say of them."""

    async def fetch() -> dict[object, Image | tuple[Reference, RemoteImage]]:
        found: dict[object, Image | tuple[Reference, RemoteImage]] = {}
        references = list(dict.fromkeys(s for s in subjects if isinstance(s, Reference)))
        if references:
            async with open_registries(tls_verify=tls_verify, progress=progress) as registries:
                images = await registries.images(references, platform=platform or Platform.host())
            for reference, image in zip(references, images, strict=True):
                if platform:
                    _expect_of_platform(reference, image, platform)
            found |= {r: (r, image) for r, image in zip(references, images, strict=True)}
        for path in dict.fromkeys(s for s in subjects if isinstance(s, str)):
            found[path] = await load_image(path, progress=progress)
        for engine_image in dict.fromkeys(s for s in subjects if isinstance(s, EngineImage)):
            found[engine_image] = await load_image(engine_image.name, progress=progress)
        return found

    # Images that are here need no core, so that tables of them can be made anywhere.
    is_here = all(isinstance(subject, Image) for subject in subjects)
    known = {} if is_here else run(fetch())
    return [s if isinstance(s, Image) else known[s] for s in subjects]


def _expect_of_platform(reference: Reference, image: RemoteImage, platform: Platform) -> None:
    """Refuse an image of another platform, as pulling it would; of an index one was chosen."""
    if reference.digest or image.manifest is None or image.config is None:
        return
    actual = image.config.platform
    is_alone = image.descriptor and image.descriptor.media_type == image.manifest.media_type
    if is_alone and not actual.matches(platform):
        raise PlatformNotFoundError(
            f"{reference} is not there for {platform}.",
            available=(str(actual),),
            hint=f"It is there for {actual}.",
        )


def _rows(found: Image | tuple[Reference, RemoteImage]) -> list[Row]:
    return _local_rows(found) if isinstance(found, Image) else _remote_rows(*found)


def _remote_rows(reference: Reference, image: RemoteImage) -> list[Row]:
    assert image.manifest is not None
    if image.config is None:
        raise InvalidManifestError(
            f"{reference} is not an image: its configuration is of the media type "
            f"{image.manifest.config.media_type[:120]!r}.",
            value=str(reference),
            hint="It is an artifact, such as a chart or a signature.",
        )
    return [
        (layer, _size_if_plain(layer))
        for layer in layers_of(image.manifest, image.config, str(reference))
    ]


def _local_rows(image: Image) -> list[Row]:
    def size(layer: ImageLayer) -> int | None:
        store = image.store
        return store.size_of(layer.diff_id) if store.has(layer.diff_id) else _size_if_plain(layer)

    return [(layer, size(layer)) for layer in image.layers]


def _size_if_plain(layer: ImageLayer) -> int | None:
    is_plain = layer.descriptor.digest == layer.diff_id
    return layer.descriptor.size_bytes if is_plain else None


def _contents(layer: ImageLayer) -> list[str]:
    return list(layer.contents) or [layer.remark] * bool(layer.remark)


def _table(rows: Sequence[Row]) -> pd.DataFrame:
    import pandas as pd

    layers = [layer for layer, _ in rows]
    return pd.DataFrame(
        {
            "diff_id": pd.Series([str(layer.diff_id) for layer in layers], dtype="str"),
            "digest": pd.Series([str(layer.descriptor.digest) for layer in layers], dtype="str"),
            "media_type": pd.Series(
                [layer.descriptor.media_type for layer in layers], dtype="category"
            ),
            "size_bytes": pd.Series(
                [layer.descriptor.size_bytes for layer in layers], dtype="int64"
            ),
            "uncompressed_bytes": pd.Series([size for _, size in rows], dtype="Int64"),
            "contents": pd.Series([_contents(layer) for layer in layers], dtype="object"),
            "created_by": pd.Series([layer.created_by for layer in layers], dtype="str"),
            "comment": pd.Series([layer.comment for layer in layers], dtype="str"),
        }
    )
