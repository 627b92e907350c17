"""What registries say of images, without their layers: manifests and configurations.

    async with open_registries() as registries:
        redis, mysql = await registries.images([Reference.parse("redis:7"), ...])

All requests of one table go over the same connections, several at a time. What a tag stands for is
asked without fetching it, which Docker Hub does not count as a pull; documents are fetched by their
digests, once, and stay in the store: the next table only asks what the tags stand for by then.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from nbdock import settings
from nbdock.concurrency import gather_limited, in_worker
from nbdock.content import BlobStore
from nbdock.errors import (
    ContentError,
    DigestMismatchError,
    InvalidManifestError,
    ManifestNotFoundError,
    NbdockError,
    PlatformNotFoundError,
    RegistryError,
    SizeMismatchError,
    UnsupportedManifestError,
)
from nbdock.oci import (
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    Platform,
    Reference,
    is_config,
    is_index,
)
from nbdock.packages import Progress
from nbdock.registry import FetchedManifest, RegistryClient

__all__ = ["Registries", "RemoteImage", "open_registries"]

T = TypeVar("T")
U = TypeVar("U")

_log = logging.getLogger(__name__)
_MAX_NESTING = 4
_FAULTS = (
    ManifestNotFoundError, UnsupportedManifestError, PlatformNotFoundError, InvalidManifestError,
    DigestMismatchError, SizeMismatchError,
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class RemoteImage:
    """An image of a registry, as far as its documents tell.

    Attributes
    ----------
    descriptor
        Of what was asked for: a manifest, or an index; None if it is not there.
    platforms
        What it is there for, as ``linux/arm64/v8``.
    manifest, config
        Of the image for the platform that was asked for. Both None if there is none; the
        configuration also for what is no image, such as a chart or a signature.
    """

    descriptor: Descriptor | None = None
    platforms: tuple[str, ...] = ()
    manifest: Manifest | None = None
    config: ImageConfig | None = None


@asynccontextmanager
async def open_registries(
    *, tls_verify: bool = True, progress: Progress | None = None
) -> AsyncIterator[Registries]:
    """The registries for one table; connections are closed when it is left."""
    async with RegistryClient(tls_verify=tls_verify) as client:
        yield Registries(client, BlobStore.default(), progress)


class Registries:
    """Reads the documents of images, each document once."""

    def __init__(self, client: RegistryClient, store: BlobStore, progress: Progress | None) -> None:
        self._client = client
        self._store = store
        self._progress = progress

    async def tags(self, reference: Reference) -> tuple[str, ...]:
        """All tags of a repository, in the registry's order."""
        return await self._client.tags(reference)

    async def images(
        self,
        references: Sequence[Reference],
        *,
        platform: Platform | None = None,
        lenient: bool = False,
    ) -> list[RemoteImage]:
        """What registries say of some images.

        Parameters
        ----------
        platform
            Which image of an index; default: this machine's, else the first there is.
        lenient
            Whether an image that is damaged, missing or for other platforms only says less, in
            place of failing for all.

        Raises
        ------
        NbdockError
            As `RegistryClient.manifest` does.
        """
        described = await self._each(
            "Looking tags up", references, self._client.describe, lenient=lenient
        )
        read = functools.partial(self.read, platform=platform, lenient=lenient)
        wanted = [
            None if descriptor is None else reference.with_tag(None).with_digest(descriptor.digest)
            for reference, descriptor in zip(references, described, strict=True)
        ]
        # Many tags stand for the same image.
        unique = list(dict.fromkeys(reference for reference in wanted if reference is not None))
        found = await self._each("Reading manifests", unique, read, lenient=lenient)
        known = dict(zip(unique, found, strict=True))
        return [
            dataclasses.replace(
                (reference and known[reference]) or RemoteImage(), descriptor=descriptor
            )
            for reference, descriptor in zip(wanted, described, strict=True)
        ]

    async def index(self, reference: Reference) -> list[RemoteImage]:
        """Every image of an index, without attestations; or the image that the reference is."""
        top = await self._client.manifest(reference, store=self._store)
        if not isinstance(top.manifest, Index):
            return [await self._image(top)]
        listed = [each async for each in self._below(top)]
        read = functools.partial(self._listed, top.reference)
        found = await self._each("Reading manifests", listed, read, lenient=True)
        return [
            dataclasses.replace(
                image or RemoteImage(), descriptor=descriptor, platforms=_platforms([descriptor])
            )
            for descriptor, image in zip(listed, found, strict=True)
        ]

    async def read(
        self, reference: Reference, *, platform: Platform | None = None, lenient: bool = False
    ) -> RemoteImage:
        """What the registry says of the manifest or index with the reference's digest.

        Nothing is asked that the store has. Parameters and errors are those of `images`.
        """
        top = await self._client.manifest(reference, store=self._store)
        if not isinstance(top.manifest, Index):
            return await self._image(top)
        platforms = _platforms(list(top.manifest.images()))
        try:
            image = await self._image(await self._chosen(top, top.manifest, platform))
        except NbdockError as error:
            if not (lenient and _is_fault(error)):
                raise
            _log.info("%s: %s", reference, error)
            image = RemoteImage()
        return dataclasses.replace(image, platforms=platforms)

    async def _chosen(
        self, top: FetchedManifest, index: Index, platform: Platform | None
    ) -> FetchedManifest:
        wanted = platform or Platform.host()
        try:
            return await self._client.manifest(top.reference, platform=wanted, store=self._store)
        except PlatformNotFoundError:
            first = next(index.images(), None)
            if platform is not None or first is None or is_index(first.media_type):
                raise
        return await self._client.manifest(
            top.reference.with_digest(first.digest), store=self._store
        )

    async def _below(self, top: FetchedManifest, *, depth: int = 1) -> AsyncIterator[Descriptor]:
        """The descriptors of all images that an index leads to."""
        assert isinstance(top.manifest, Index)
        for descriptor in top.manifest.images():
            if not is_index(descriptor.media_type):
                yield descriptor
                continue
            if depth == _MAX_NESTING:
                raise InvalidManifestError(
                    f"{top.reference} is in an index of indexes, more than {_MAX_NESTING} deep.",
                    value=str(top.reference),
                )
            below = await self._client.manifest(
                top.reference.with_digest(descriptor.digest), store=self._store
            )
            async for each in self._below(below, depth=depth + 1):
                yield each

    async def _listed(self, reference: Reference, descriptor: Descriptor) -> RemoteImage:
        pinned = reference.with_digest(descriptor.digest)
        return await self._image(await self._client.manifest(pinned, store=self._store))

    async def _image(self, fetched: FetchedManifest) -> RemoteImage:
        """What the documents of one image say."""
        manifest, described = fetched.manifest, fetched.descriptor
        assert isinstance(manifest, Manifest)
        if not is_config(manifest.config.media_type):
            return RemoteImage(described, manifest=manifest)
        config = await self._config(fetched.reference, manifest.config)
        platforms = (str(config.platform.normalised()),)
        return RemoteImage(described, platforms, manifest, config)

    async def _config(self, reference: Reference, descriptor: Descriptor) -> ImageConfig:
        data = b""
        if self._store.has(descriptor.digest, descriptor.size_bytes):
            # One that was damaged since is fetched again.
            with suppress(ContentError):
                data = await in_worker(self._store.read, descriptor.digest)
        if not data:
            data = await self._client.blob_bytes(reference, descriptor)
            await in_worker(self._store.add, data, algorithm=descriptor.digest.algorithm)
        return ImageConfig.parse(data, descriptor.media_type)

    async def _each(
        self, what: str, items: Sequence[T], ask: Callable[[T], Awaitable[U]], *, lenient: bool
    ) -> list[U | None]:
        """Ask something of every item, several at a time; None where that fails and may."""
        done = 0

        async def one(item: T) -> U | None:
            nonlocal done
            answer = None
            try:
                answer = await ask(item)
            except NbdockError as error:
                if not (lenient and _is_fault(error)):
                    raise
                _log.info("%s: %s", item, error)
            done += 1
            if self._progress is not None:
                self._progress(what, done, len(items))
            return answer

        limit = settings.current().connections
        return await gather_limited([functools.partial(one, item) for item in items], limit=limit)


def _is_fault(error: NbdockError) -> bool:
    """Whether it is about one image only, and no reason to show none of the others."""
    is_missing = isinstance(error, RegistryError) and error.status == 404
    return is_missing or isinstance(error, _FAULTS)


def _platforms(descriptors: Sequence[Descriptor]) -> tuple[str, ...]:
    """What the images of an index are for, each once, in its order."""
    known = (d.platform.normalised() for d in descriptors if d.platform is not None)
    return tuple(dict.fromkeys(map(str, known)))
