"""The layers of an image as disks for a virtual machine: each made once, and kept.

A layer goes from its blob, decompressed and verified, into a disk that guests mount. Both are
there from then on, so the next machine with this layer only opens a file.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from nbdock import settings
from nbdock.concurrency import gather_limited, in_worker
from nbdock.content import BlobStore, LayerRecord
from nbdock.errors import UnavailableError
from nbdock.filetree import Tree, overlay
from nbdock.images.image import Image
from nbdock.images.layerblobs import ensure_uncompressed
from nbdock.oci import Descriptor, Digest, MediaType, Platform
from nbdock.packages import Progress
from nbdock.vm import LayerDisk, layer_disk

__all__ = ["check_platform", "image_disks", "record_disks"]


async def image_disks(
    image: Image | None, *, progress: Progress | None = None
) -> tuple[LayerDisk, ...]:
    """The disks of an image's layers, lowest first; a layer that is there twice counts once.

    Raises
    ------
    DigestMismatchError
        A layer is not what the image's configuration promises.
    ArchiveError, LayerDiskError
        A layer cannot be made into a disk.
    """
    if image is None:
        return ()
    layers = [(layer.descriptor, layer.diff_id) for layer in image.layers]
    return await _disks(image.store, layers, progress, image)


async def record_disks(
    store: BlobStore, records: Sequence[LayerRecord], *, progress: Progress | None = None
) -> tuple[LayerDisk, ...]:
    """The disks of layers that were made here, lowest first."""
    blobs = [Descriptor(MediaType.OCI_LAYER, r.diff_id, r.size_bytes) for r in records]
    return await _disks(store, [(blob, blob.digest) for blob in blobs], progress)


async def _disks(
    store: BlobStore,
    layers: Sequence[tuple[Descriptor, Digest]],
    progress: Progress | None,
    image: Image | None = None,
) -> tuple[LayerDisk, ...]:
    # Of one that is there several times the last counts: it lies over what the others show.
    last = {diff_id: place for place, (_, diff_id) in enumerate(layers)}
    kept = sorted(last.values())
    if progress and kept:
        progress("Making disks of layers", 0, 0)

    def below(place: int) -> Tree:
        return overlay(image.layer_entries(at) for at in range(place)) if image else overlay([])

    async def make(place: int) -> LayerDisk:
        descriptor, diff_id = layers[place]
        blob = await in_worker(ensure_uncompressed, store, descriptor, diff_id)
        path = store.path_of(blob.digest)
        return await layer_disk(diff_id, path, below=functools.partial(below, place))

    work = [functools.partial(make, place) for place in kept]
    return tuple(await gather_limited(work, limit=settings.current().workers))


def check_platform(platform: Platform, what: str) -> None:
    """Refuse to run what this machine's processor does not understand.

    Raises
    ------
    UnavailableError
        The platform is of another architecture, or not Linux.
    """
    host = Platform.host()
    if (platform.os, platform.architecture) != (host.os, host.architecture):
        raise UnavailableError(
            f"{what} is for {platform}, and this machine runs programs for {host} only.",
            argument="architecture",
            hint="Run it on such a machine, or take the image for this one.",
        )
