"""Images into a registry: `Image.push`, and `push_index` for several platforms.

    pushed = await redis.push("localhost:5000/team/redis:1")
    await nbdock.push_index([amd64, arm64], "localhost:5000/team/redis:2")

Blobs go first, several at a time: each is compressed if it must be (once: the store keeps it, the
same bytes on every machine), looked for, mounted from a repository that is known to have it, or
uploaded. Manifests go when all they name is there, and what the tag stands for goes last: a push
that is interrupted leaves nothing that could be pulled.

An image that came compressed from somewhere is pushed as it is, so its digest stays; one that was
built is compressed with gzip, as all tools can read it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING

from nbdock import settings
from nbdock.calling import checked
from nbdock.concurrency import gather_limited, in_worker
from nbdock.content import BlobStore, Codec, LayerCache, codec_named
from nbdock.errors import ArgumentTypeError, InvalidReferenceError
from nbdock.images.arguments import expect
from nbdock.images.blobsources import remember_sources, sources_of
from nbdock.images.image import Image, ImageLayer
from nbdock.images.layerblobs import ensure_compressed, ensure_uncompressed
from nbdock.oci import (
    Descriptor,
    Digest,
    Index,
    Manifest,
    MediaType,
    Platform,
    Reference,
    compression_of,
    is_foreign_layer,
    to_docker,
    to_oci,
)
from nbdock.packages import Progress, Tally
from nbdock.showing import watched

if TYPE_CHECKING:
    from nbdock.images.multiplatform import MultiPlatformImage
    from nbdock.registry import RegistryClient

__all__ = ["push_everything", "push_image", "push_index"]


async def push_image(
    image: Image,
    reference: str | Reference,
    *,
    compression: str | None = None,
    tls_verify: bool = True,
    progress: Progress | None = None,
) -> Reference:
    """Push one image; see `Image.push`."""
    target = _target(reference)
    codec = _codec(compression)
    async with _push(target, tls_verify, progress) as push:
        return await push.finish(await push.image(image, codec))


@checked
@watched("Pushed")
async def push_index(
    images: Sequence[Image],
    reference: str | Reference,
    *,
    compression: str | None = None,
    tls_verify: bool = True,
    progress: Progress | None = None,
) -> Reference:
    """Push images for several platforms under one name, so that each machine pulls its own.

    Parameters
    ----------
    images
        One for each platform, which their configurations tell.
    reference
        ``registry/repository:tag``; without a tag it is ``latest``.
    compression, tls_verify, progress
        As for `Image.push`.

    Returns
    -------
    Reference
        The name with the digest of the index.

    Raises
    ------
    ArgumentTypeError
        No images, or two for one platform.
    RegistryError, TransportError
        The registry refuses, or cannot be reached. The name stands for what it did before.
    """
    target = _target(reference)
    codec = _codec(compression)
    expect("images", images, list, tuple, what="a list of images")
    platforms: dict[Platform, Image] = {}
    for image in images:
        expect("images", image, Image, what="a list of images")
        platform = image.config.platform.normalised()
        if platform in platforms:
            raise ArgumentTypeError(
                f"{image} and {platforms[platform]} are both for {platform}.",
                argument="images",
                hint="An index has one image for each platform.",
            )
        platforms[platform] = image
    if not platforms:
        raise ArgumentTypeError("An index of no images is of no use.", argument="images")
    async with _push(target, tls_verify, progress) as push:
        entries: list[Descriptor] = []
        for image in images:
            manifest = await push.image(image, codec)
            await push.manifest(manifest)
            entries.append(manifest.descriptor(platform=image.config.platform))
        is_docker = all(entry.media_type == MediaType.DOCKER_MANIFEST for entry in entries)
        kind = MediaType.DOCKER_MANIFEST_LIST if is_docker else MediaType.OCI_INDEX
        index = Index(tuple(entries), media_type=kind)
        return await push.finish(index)


async def push_everything(
    image: MultiPlatformImage,
    reference: str | Reference,
    *,
    tls_verify: bool = True,
    progress: Progress | None = None,
) -> Reference:
    """Push an index and all it names, as they are; see `MultiPlatformImage.push`."""
    target = _target(reference)
    async with _push(target, tls_verify, progress) as push:
        for _, found in image.everything():
            if isinstance(found, Manifest):
                await push.blobs(image.store, (*found.layers, found.config))
            await push.manifest(found)
        return await push.finish(image.index)


@contextlib.asynccontextmanager
async def _push(
    target: Reference, tls_verify: bool, progress: Progress | None
) -> AsyncIterator[_Push]:
    # Imported here: builds do without it.
    from nbdock.registry import RegistryClient

    expect("tls_verify", tls_verify, bool, what="true or false")
    async with RegistryClient(tls_verify=tls_verify) as client:
        yield _Push(client, target, progress)


class _Push:
    """What one operation pushes to one repository; its progress adds up, no blob goes twice."""

    def __init__(
        self, client: RegistryClient, target: Reference, progress: Progress | None
    ) -> None:
        self._client = client
        self._target = target
        self._tally = Tally(f"Pushing {target.familiar()}", progress, total_bytes=0)
        self._pushed: set[Digest] = set()

    async def image(self, image: Image, codec: Codec | None) -> Manifest:
        """Push an image's layers and configuration; the manifest that names them there."""
        # A layer that an image has twice is made and pushed once.
        layers = {layer.diff_id: layer for layer in image.layers}
        made = await self._blobs(
            image.store,
            [functools.partial(_in_form, image, layer, codec) for layer in layers.values()],
        )
        await self.blobs(image.store, [image.manifest.config])
        by_diff_id = dict(zip(layers, made, strict=True))
        return _manifest_of(
            image.manifest, tuple(by_diff_id[layer.diff_id] for layer in image.layers)
        )

    async def blobs(self, store: BlobStore, descriptors: Sequence[Descriptor]) -> None:
        """Push blobs as they are in the store."""
        unique = {descriptor.digest: descriptor for descriptor in descriptors}.values()
        await self._blobs(store, [functools.partial(_itself, each) for each in unique])

    async def _blobs(
        self, store: BlobStore, make: Sequence[Callable[[], Descriptor]]
    ) -> list[Descriptor]:
        """Push what some blocking functions make, each as soon as it is made."""

        async def one(make: Callable[[], Descriptor]) -> Descriptor:
            descriptor = await in_worker(make)
            await self._blob(store, descriptor)
            return descriptor

        made = await gather_limited(
            [functools.partial(one, each) for each in make],
            limit=settings.current().registry_blobs,
        )
        await in_worker(remember_sources, store, self._target, [each.digest for each in made])
        return made

    async def _blob(self, store: BlobStore, descriptor: Descriptor) -> None:
        if descriptor.digest in self._pushed:
            return
        if is_foreign_layer(descriptor.media_type) and descriptor.urls:
            return  # its owner does not want it anywhere else
        target = self._target
        known = await in_worker(sources_of, store, descriptor.digest)
        self._tally.expect(descriptor.size_bytes)
        part = self._tally.part(descriptor.digest.hex[:12], descriptor.size_bytes)
        how = await self._client.push_blob(
            target, descriptor, store, mount_from=known, progress=part
        )
        part.end(how.value)
        self._pushed.add(descriptor.digest)

    async def manifest(self, manifest: Manifest | Index) -> None:
        """Push a manifest without a tag: all it names is there by now."""
        untagged = self._target.with_tag(None)
        await self._client.push_manifest(untagged, manifest.to_bytes(), manifest.media_type)

    async def finish(self, manifest: Manifest | Index) -> Reference:
        """Push what the tag is to stand for."""
        pushed = await self._client.push_manifest(
            self._target, manifest.to_bytes(), manifest.media_type
        )
        return self._target.with_digest(pushed.digest)


def _itself(descriptor: Descriptor) -> Descriptor:
    return descriptor


def _in_form(image: Image, layer: ImageLayer, codec: Codec | None) -> Descriptor:
    """A layer as it is to be pushed, in the store. Blocking."""
    descriptor = layer.descriptor
    if is_foreign_layer(descriptor.media_type):
        return descriptor
    present = compression_of(descriptor.media_type)
    wanted = codec or (present if present != "none" else "gzip")
    if present == wanted:
        return descriptor
    if wanted == "none":
        return ensure_uncompressed(image.store, descriptor, layer.diff_id)
    with LayerCache(image.store) as cache:
        return ensure_compressed(image.store, cache, descriptor, layer.diff_id, wanted)


def _manifest_of(manifest: Manifest, layers: tuple[Descriptor, ...]) -> Manifest:
    """The manifest of an image with its layers in this form: itself, if they are in it already."""
    if layers == manifest.layers:
        return manifest
    # Docker's family has no zstd; and a manifest is of one family throughout.
    zstd = any(compression_of(layer.media_type) == "zstd" for layer in layers)
    translate = to_docker if manifest.is_docker and not zstd else to_oci
    return Manifest(
        dataclasses.replace(manifest.config, media_type=translate(manifest.config.media_type)),
        tuple(
            dataclasses.replace(layer, media_type=translate(layer.media_type)) for layer in layers
        ),
        media_type=translate(manifest.media_type),
        annotations=manifest.annotations,
    )


def _target(reference: object) -> Reference:
    if not isinstance(reference, Reference):
        expect("reference", reference, str, what="a reference such as localhost:5000/team/app:1")
        try:
            reference = Reference.parse(str(reference))
        except InvalidReferenceError as error:
            raise ArgumentTypeError(error.message, argument="reference", hint=error.hint) from error
    if reference.digest is not None:
        raise ArgumentTypeError(
            f"{reference} has a digest, which a push only finds out.",
            argument="reference",
            hint=f"Push to {reference.with_digest(None).with_default_tag()}.",
        )
    return reference.with_default_tag()


def _codec(compression: object) -> Codec | None:
    if compression is None:
        return None
    expect("compression", compression, str, what='"gz", "zstd" or "none"')
    codec = codec_named(str(compression))
    if codec not in ("none", "gzip", "zstd"):
        raise ArgumentTypeError(
            f"Layers are not compressed with {codec}.",
            argument="compression",
            hint='Compressions: "gz", "zstd", "none".',
        )
    return codec
