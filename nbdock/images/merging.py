"""`merge_images`: several images in one archive, which ``docker load`` loads all of.

What the images have in common is in the archive once: a layer that several have, a configuration
that has several names. Nothing is unpacked or made anew, so owners, IDs and digests stay.

    >>> import nbdock
    >>> run = nbdock.concurrency.run
    >>> one = run(nbdock.build_image("one", tag="1", contents=nbdock.text_file("a", "x")))
    >>> two = run(nbdock.build_image("two", tag="1", from_image=one))
    >>> run(nbdock.merge_images([one, two]))
    <MergedImages one:1, two:1>
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

from nbdock.calling import checked, is_called_by_cell
from nbdock.concurrency import in_worker
from nbdock.content import BlobStore, detect
from nbdock.errors import ArgumentTypeError
from nbdock.images.base import base_image
from nbdock.images.image import Image
from nbdock.images.loading import load_images
from nbdock.images.streaming import ImageStream
from nbdock.packages import Progress
from nbdock.showing import watched

__all__ = ["MergedImages", "merge_images"]

_COMPRESSORS = {"none": "none", "zstd": "zstd"}


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class MergedImages:
    """Images of one store that go together.

    Attributes
    ----------
    images
        In their order; one with two names is there twice.
    compressor
        ``"gz"``, ``"none"`` or ``"zstd"``: what `save` uses for a path that does not say.
    """

    images: tuple[Image, ...]
    compressor: str = "gz"

    def __repr__(self) -> str:
        return f"<MergedImages {', '.join(map(str, self.images))}>"

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[Image]:
        return iter(self.images)

    @property
    def size_bytes(self) -> int:
        """Bytes of all layers as the images hold them, what they share counted once."""
        blobs = {blob.digest: blob.size_bytes for i in self.images for blob in i.manifest.layers}
        return sum(blobs.values())

    @checked
    @watched("Saved")
    async def save(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        format: str | None = None,  # noqa: A002 - the public name
        compression: str | None = None,
        progress: Progress | None = None,
    ) -> Path:
        """Write all images to one file or directory.

        Parameters
        ----------
        path
            Where to; by default ``docker-images.tar.gz`` here, or with the suffix of `compressor`.
        format, compression
            As for `Image.save`.

        Returns
        -------
        pathlib.Path
            The absolute path that was written.
        """
        from nbdock.images.saveformats import ARCHIVE_SUFFIXES
        from nbdock.images.saving import save_images

        place = Path(
            path if path is not None else f"docker-images{ARCHIVE_SUFFIXES[self.compressor]}"
        )
        return await save_images(
            self.images, place, format=format, compression=compression, progress=progress
        )

    @checked
    @watched("Loaded")
    async def load(
        self, engine: str | None = None, *, progress: Progress | None = None
    ) -> list[str]:
        """Put all images into a running engine (see `Image.load`); what it calls them now."""
        from nbdock.images.engine import load_into_engine

        return await load_into_engine(self.images, engine, progress=progress)


@checked
@watched("Merged")
async def merge_images(
    images: Sequence[Image | MergedImages | str | os.PathLike[str]],
    *,
    store: BlobStore | None = None,
    progress: Progress | None = None,
) -> MergedImages:
    """Put several images together, for one archive.

    Parameters
    ----------
    images
        Images, merged images, and paths of archives, of which all images are taken.
    store
        Where they are put together; by default the store under `settings.home`.
    progress
        Called with what is being done, bytes done and bytes in all.

    Returns
    -------
    MergedImages
        In the order given. Images without a tag stay without. Its archive is compressed as the
        last one given is.

    Raises
    ------
    ArgumentTypeError
        No image, something that is none, or two images of one name.
    ImageNotFoundError, ArchiveError
        An archive that is not there, or damaged.
    """
    if isinstance(images, str | os.PathLike) or not isinstance(images, Sequence):
        raise ArgumentTypeError(
            f"A list of images is needed, not {images!r:.60}.",
            argument="images",
            hint=_example(),
        )
    store = store or BlobStore.default()
    found: list[Image] = []
    compressor = ""
    for position, source in enumerate(images):
        if progress:
            progress("Reading images", position, len(images))
        if isinstance(source, MergedImages):
            found += [await _of_store(image, store) for image in source.images]
            compressor = source.compressor
        elif isinstance(source, str | os.PathLike):
            found += await load_images(source, store=store, progress=progress)
            compressor = await in_worker(_compressor_of, source)
        else:
            found.append(await _of_store(source, store))
            compressor = str(getattr(source, "arguments", {}).get("compressor", "gz"))
    if not found:
        raise ArgumentTypeError("No image is given to merge.", argument="images", hint=_example())
    _refuse_namesakes(found)
    return MergedImages(tuple(found), compressor)


def _example() -> str:
    if is_called_by_cell():
        return "For example [ redis bash ], where a cell gave these names to images with -o."
    return "For example nbdock.merge_images([redis, bash])."


async def _of_store(source: object, store: BlobStore) -> Image:
    if isinstance(source, ImageStream):
        raise ArgumentTypeError(
            f"Images and paths of archives can be merged, not a stream: {source!r:.60}.",
            argument="images",
            hint="A stream is built when it is asked for: image = await stream.build() makes the "
            "image that can be merged; so does %%buildLayeredImage with the same text.",
        )
    if not isinstance(source, Image):
        raise ArgumentTypeError(
            f"Images and paths of archives can be merged, not {source!r:.60}.",
            argument="images",
            hint=_example(),
        )
    return cast("Image", await base_image(source, store=store))


def _compressor_of(path: str | os.PathLike[str]) -> str:
    place = os.path.expanduser(os.fspath(path))
    if not os.path.isfile(place):
        return "gz"
    with open(place, "rb") as file:
        return _COMPRESSORS.get(detect(file.read(16)), "gz")


def _refuse_namesakes(images: Sequence[Image]) -> None:
    known: dict[str, Image] = {}
    for image in images:
        first = known.setdefault(image.reference, image)
        if image.reference and first.id != image.id:
            raise ArgumentTypeError(
                f"Two different images are called {image.reference}; one archive cannot hold both.",
                argument="images",
                hint="Build one of them with another tag.",
            )
