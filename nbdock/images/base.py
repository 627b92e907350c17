"""The base that an image is built on: any form of it, in the store that is built in."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nbdock.calling import argument_name
from nbdock.concurrency import in_worker
from nbdock.content import BlobStore
from nbdock.errors import ArgumentTypeError
from nbdock.images.image import Image

if TYPE_CHECKING:
    from nbdock.oci import Digest

__all__ = ["base_image", "layers_below"]


async def base_image(
    source: object, *, name: str | None = None, tag: str | None = None, store: BlobStore
) -> Image | None:
    """``fromImage`` as an image of `store`; None for an image from scratch.

    Parameters
    ----------
    source
        An image, the path of an archive or a layout, the name of an engine's image, or None.
    name, tag
        ``fromImageName`` and ``fromImageTag``: which image of an archive is meant.
    """
    if source is None:
        return None
    if isinstance(source, Image):
        if source.store.home != store.home:
            await in_worker(_copy, source, store)
        return Image(store, source.descriptor, source.name, source.tag)
    if isinstance(source, str | os.PathLike):
        from nbdock.images.loading import load_image

        return await load_image(source, name=name, tag=tag, store=store)
    raise ArgumentTypeError(
        f"{argument_name('from_image')} takes an image or the path of one, "
        f"not a {type(source).__name__}.",
        argument="from_image",
        hint="For example the name that a cell gave its image with -o, or "
        'nbdock.load_image("base.tar").',
    )


def _copy(image: Image, store: BlobStore) -> None:
    digests: list[Digest] = [
        blob.digest for blob in (*image.manifest.layers, image.manifest.config)
    ]
    for digest in (*digests, image.digest):
        if not store.has(digest):
            with image.store.open(digest) as source, store.writer() as writer:
                while piece := source.read(1 << 20):
                    writer.write(piece)
                writer.commit(expected=digest)


def layers_below(base: Image | None) -> list[str]:
    """The diff IDs of a base, lowest first: what a layer on it depends on."""
    return [str(diff_id) for diff_id in base.config.diff_ids] if base else []
