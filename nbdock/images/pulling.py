"""`pull_image`: an image of a registry in the store, and dockerTools' `pullImage`.

mysql = await pull_image("mysql", image_tag="8")

What is checked, and when. The configuration against the manifest, before any layer is fetched; each
blob's size and digest, and each layer's diff ID, while its bytes come, before it is in the store.
For the diff ID a layer is decompressed and hashed, once in the life of a store. With the setting
`pull_verifies_diff_ids` False that waits until something reads the layer.

A pull by digest of an image that is here asks the registry for nothing; one by tag asks what the
tag stands for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from nbdock import settings
from nbdock.calling import checked
from nbdock.concurrency import gather_limited, in_worker
from nbdock.content import BlobStore, LayerCache, LayerCheck
from nbdock.errors import (
    ContentError,
    DigestMismatchError,
    InvalidManifestError,
    NbdockError,
    PlatformNotFoundError,
)
from nbdock.images.arguments import expect
from nbdock.images.blobsources import remember_sources
from nbdock.images.image import Image
from nbdock.images.multiplatform import MultiPlatformImage
from nbdock.images.pins import check_pin, parse_pin
from nbdock.images.pullrequest import PullRequest, blame
from nbdock.oci import (
    Descriptor,
    Digest,
    ImageConfig,
    Index,
    Manifest,
    Platform,
    Reference,
    compression_of,
    is_config,
)
from nbdock.packages import Progress, Tally
from nbdock.showing import watched

if TYPE_CHECKING:
    from nbdock.registry import FetchedManifest, RegistryClient

__all__ = ["fetch_image", "pull_image"]

_MAX_NESTING = 4
_DO_NOT_USE = "The image is damaged or was tampered with; do not use it."


@checked
@watched("Pulled")
async def pull_image(
    image_name: str,
    *,
    image_digest: str | Digest | None = None,
    image_tag: str | None = None,
    sha256: str | None = None,
    hash: str | None = None,  # noqa: A002 - dockerTools' name
    os: str = "linux",
    arch: str | None = None,
    variant: str | None = None,
    final_image_name: str | None = None,
    final_image_tag: str | None = None,
    tls_verify: bool = True,
    name: str | None = None,
    platform: str | Platform | None = None,
    store: BlobStore | None = None,
    progress: Progress | None = None,
) -> Image:
    """Pull an image from a registry, Docker Hub by default.

    Parameters
    ----------
    image_name
        ``mysql``, ``nixos/nix``, ``registry.example/team/app``; it may have a tag or digest.
    image_digest
        Which image: the digest of its manifest, or of an index. It wins over a tag.
    image_tag
        Which image, by a name that may move: by default ``latest``.
    sha256, hash
        The checksum that the image must have, as `prefetch_image` and ``nix-prefetch-docker`` say
        it: that of the docker-archive which skopeo makes of it under its final name. In Nix's
        base 32, hexadecimal or SRI. Without it the digest decides alone.
    os, arch, variant
        Which image of an index: Docker's or the kernel's names. By default Linux on this machine's
        architecture.
    final_image_name, final_image_tag
        What the image is called here: by default `image_name` and its tag, or ``latest``.
    tls_verify
        False accepts any certificate, and a registry without TLS.
    name
        What dockerTools calls the file; taken for its cells' sake.
    platform
        In place of `os`, `arch` and `variant`: ``"linux/arm64"``. ``"all"`` pulls the images for
        all platforms with their index.
    store
        Where to put it; by default the store under `settings.home`.
    progress
        Called with what is being done, bytes done and bytes in all.

    Returns
    -------
    Image
        With ``platform="all"``, where there is an index, a `MultiPlatformImage`: the image for
        this machine (the first, if there is none), which has the others.

    Raises
    ------
    ArgumentTypeError
        An argument that means nothing, or contradicts another.
    ManifestNotFoundError, PlatformNotFoundError
        There is no such image; the hint names what there is.
    AuthenticationError, RegistryError, TransportError
        The registry refuses, or cannot be reached.
    DigestMismatchError, SizeMismatchError, InvalidManifestError
        What came is not what the documents say, or what was pinned.
    ArchiveError
        A layer does not decompress, or expands beyond all measure.
    """
    arguments = {key: value for key, value in locals().items() if value is not None}
    request = PullRequest.of(
        image_name, image_digest=image_digest, image_tag=image_tag, os=os, arch=arch,
        variant=variant, platform=platform, final_image_name=final_image_name,
        final_image_tag=final_image_tag,
    )  # fmt: skip
    expect("tls_verify", tls_verify, bool, what="true or false")
    if name is not None:
        expect("name", name, str, what="a string")
    pin = parse_pin(sha256, hash)
    store = store or BlobStore.default()
    for local in ("store", "progress"):
        arguments.pop(local, None)
    try:
        image, _ = await fetch_image(
            request, store, every=platform == "all", tls_verify=tls_verify, progress=progress
        )
    except NbdockError as error:
        blame(error, arguments)
        raise
    if pin is not None:
        if progress is not None:
            progress("Computing the checksum", 0, 0)
        await check_pin(image, pin, argument="hash" if sha256 is None else "sha256")
    named = image.index_descriptor if isinstance(image, MultiPlatformImage) else image.descriptor
    await in_worker(store.set_image, image.reference, named)
    return dataclasses.replace(image, arguments=arguments)


async def fetch_image(
    request: PullRequest,
    store: BlobStore,
    *,
    every: bool = False,
    tls_verify: bool = True,
    progress: Progress | None = None,
) -> tuple[Image, FetchedManifest]:
    """Put an image into the store, or with `every` all of its index.

    Returns
    -------
    tuple
        The image, and what the reference stood for: its manifest, or the index.
    """
    # Imported here: builds do without it.
    from nbdock.registry import RegistryClient

    reference = request.reference
    if progress is not None:
        progress(f"Pulling {reference.familiar()}", 0, 0)
    was_pulled = await in_worker(store.get_image, f"{request.name}:{request.tag}") is not None
    async with RegistryClient(tls_verify=tls_verify) as client:
        if not every:
            found = await client.manifest(
                reference, platform=request.platform, store=store, may_be_there=was_pulled
            )
            await _fetch_contents(client, [found], request, store, progress)
            return _image(found, request, store), found.index or found
        top = await client.manifest(reference, store=store, may_be_there=was_pulled)
        if not isinstance(top.manifest, Index):
            await _fetch_contents(client, [top], request, store, progress)
            return _image(top, request, store), top
        manifests = await _fetch_manifests(client, top, store)
        await _fetch_contents(client, manifests, request, store, progress)
    bare = [m for m in manifests if _is_image(m)]
    if not bare:
        raise PlatformNotFoundError(f"{top.reference} holds no images.")
    mine = next((m for m in bare if _is_for(m, request.platform)), bare[0])
    image = _image(mine, request, store)
    return MultiPlatformImage(
        store, image.descriptor, image.name, image.tag, index_descriptor=top.descriptor
    ), top


def _is_image(fetched: FetchedManifest) -> bool:
    return (
        isinstance(fetched.manifest, Manifest)
        and is_config(fetched.manifest.config.media_type)
        and not fetched.descriptor.is_attestation
    )


def _is_for(fetched: FetchedManifest, platform: Platform) -> bool:
    own = fetched.descriptor.platform
    return own is not None and own.matches(platform)


def _image(found: FetchedManifest, request: PullRequest, store: BlobStore) -> Image:
    described = found.descriptor
    descriptor = Descriptor(described.media_type, described.digest, described.size_bytes)
    return Image(store, descriptor, request.name, request.tag)


async def _fetch_manifests(
    client: RegistryClient, index: FetchedManifest, store: BlobStore, *, depth: int = 1
) -> list[FetchedManifest]:
    """Every manifest that an index leads to, attestations too."""
    if depth > _MAX_NESTING:
        raise InvalidManifestError(
            f"{index.reference} is in an index of indexes, more than {_MAX_NESTING} deep.",
            value=str(index.reference),
        )
    found: list[FetchedManifest] = []
    for one in await client.manifests(index, store=store):
        if isinstance(one.manifest, Index):
            found += await _fetch_manifests(client, one, store, depth=depth + 1)
        else:
            found.append(one)
    return found


async def _fetch_contents(
    client: RegistryClient,
    manifests: Sequence[FetchedManifest],
    request: PullRequest,
    store: BlobStore,
    progress: Progress | None,
) -> None:
    """Put what manifests name into the store, and check that it fits together."""
    reference = request.reference
    layers: dict[Digest, Descriptor] = {}
    configs: list[Digest] = []
    for one in manifests:
        assert isinstance(one.manifest, Manifest)
        if len(manifests) == 1 or _is_image(one):
            _check_readable(one, one.manifest)
        layers |= {layer.digest: layer for layer in one.manifest.layers}
        configs.append(one.manifest.config.digest)
    limit = settings.current().registry_blobs
    described = await gather_limited(
        [functools.partial(_check_config, client, one, request, store) for one in manifests],
        limit=limit,
    )
    missing = [d for d in layers.values() if not store.has(d.digest, d.size_bytes)]
    what = f"Pulling {reference.familiar()}"
    tally = Tally(what, progress, total_bytes=sum(layer.size_bytes for layer in missing))
    parts = {digest: tally.part(digest.hex[:12], d.size_bytes) for digest, d in layers.items()}
    for digest in layers.keys() - {layer.digest for layer in missing}:
        parts[digest].end("exists already")
    with LayerCache(store) as cache:
        checks = await in_worker(_layer_checks, cache, reference, described)
        wanted = {layer.digest for layer in missing} | checks.keys()
        await gather_limited(
            [
                functools.partial(
                    client.pull_blob, reference, layer, store,
                    check=checks.get(layer.digest),
                    progress=parts[layer.digest] if layer in missing else None,
                )
                # The largest first: at the end, none is waited for alone.
                for layer in sorted(layers.values(), key=lambda layer: -layer.size_bytes)
                if layer.digest in wanted
            ],
            limit=limit,
        )  # fmt: skip
    digests = [*layers, *configs]
    await in_worker(remember_sources, store, reference, digests)


def _check_readable(fetched: FetchedManifest, manifest: Manifest) -> None:
    """That it is an image with layers that can be read, before anything large is fetched."""
    if not is_config(manifest.config.media_type):
        raise InvalidManifestError(
            f"{fetched.reference} is not an image: its configuration is of the media type "
            f"{manifest.config.media_type[:120]!r}.",
            value=manifest.config.media_type,
            hint="It is an artifact, such as a chart or a signature.",
        )
    for layer in manifest.layers:
        compression_of(layer.media_type)


def _layer_checks(
    cache: LayerCache, reference: Reference, described: Iterable[Mapping[Digest, Digest]]
) -> dict[Digest, LayerCheck]:
    """What compressed layers must be checked for, of those that never were. Blocking.

    `described` has the diff IDs by the layers' digests, from each configuration.
    """
    diff_ids: dict[Digest, Digest] = {}
    for layer, diff_id in itertools.chain.from_iterable(each.items() for each in described):
        if diff_ids.setdefault(layer, diff_id) != diff_id:
            raise DigestMismatchError(
                f"{reference}: the layer {layer} unpacks to {diff_ids[layer]}, says one "
                f"configuration, and to {diff_id}, says another.",
                digest=str(diff_ids[layer]),
                actual=str(diff_id),
                hint=_DO_NOT_USE,
            )
    if not settings.current().pull_verifies_diff_ids:
        return {}
    known = cache.diff_ids(diff_ids)
    return {
        layer: LayerCheck(cache, layer, diff_id)
        for layer, diff_id in diff_ids.items()
        if known.get(layer) != diff_id
    }


async def _check_config(
    client: RegistryClient, fetched: FetchedManifest, request: PullRequest, store: BlobStore
) -> dict[Digest, Digest]:
    """Put an image's configuration into the store, and compare it with the manifest.

    What comes back are the diff IDs of its compressed layers, by the layers' digests.
    """
    manifest = fetched.manifest
    assert isinstance(manifest, Manifest)
    descriptor = manifest.config
    data = b""
    if store.has(descriptor.digest, descriptor.size_bytes):
        # One that was damaged since is fetched again.
        with contextlib.suppress(ContentError):
            data = await in_worker(store.read, descriptor.digest)
    if not data:
        data = await client.blob_bytes(request.reference, descriptor)
        await in_worker(store.add, data, algorithm=descriptor.digest.algorithm)
    if not _is_image(fetched):
        return {}
    config = ImageConfig.parse(data, descriptor.media_type)
    if len(config.diff_ids) != len(manifest.layers):
        raise InvalidManifestError(
            f"{fetched.reference}: the manifest has {len(manifest.layers)} layers, "
            f"the configuration {len(config.diff_ids)}.",
            value=str(fetched.descriptor.digest),
        )
    compressed: dict[Digest, Digest] = {}
    for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=True):
        if layer.digest == diff_id:
            continue
        is_other = compressed.setdefault(layer.digest, diff_id) != diff_id
        if is_other or compression_of(layer.media_type) == "none":
            state = "there twice" if is_other else "not compressed"
            raise DigestMismatchError(
                f"{fetched.reference}: the layer {layer.digest} is {state}, but the "
                f"configuration says that it is {diff_id}.",
                digest=str(diff_id),
                actual=str(layer.digest),
                hint=_DO_NOT_USE,
            )
    asked = request.reference.digest is None and request.is_platform_given
    if asked and fetched.index is None and not config.platform.matches(request.platform):
        raise PlatformNotFoundError(
            f"{fetched.reference} is not there for {request.platform}.",
            available=(str(config.platform),),
            hint=f"It is there for {config.platform}.",
        )
    return compressed
