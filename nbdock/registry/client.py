"""The client: references to bytes, and back.

    async with RegistryClient() as client:
        redis = await client.manifest(Reference.parse("redis:7"), platform=Platform.host())
        for layer in redis.manifest.layers:
            await client.pull_blob(redis.reference, layer, BlobStore.default())

It speaks the OCI's distribution specification 1.1, and so Docker's registry API v2.
"""

from __future__ import annotations

import contextlib
import functools
from types import TracebackType
from typing import Self

from nbdock.concurrency import gather_limited
from nbdock.content import BlobStore
from nbdock.errors import (
    InvalidManifestError,
    ManifestNotFoundError,
    NbdockError,
    RegistryError,
    nearest,
)
from nbdock.oci import Descriptor, Index, Platform, Reference
from nbdock.registry import blobs, listing
from nbdock.registry.answers import Warnings
from nbdock.registry.fetched import FetchedManifest, check_described, choose
from nbdock.registry.host import RegistryHost
from nbdock.registry.places import is_this_machine
from nbdock.registry.repository import Repository
from nbdock.transport import TransferProgress, Transport

__all__ = ["RegistryClient"]

_MAX_NESTING = 4


class RegistryClient:
    """Registries as one operation needs them; owns its connections, and closes them when left."""

    def __init__(self, *, tls_verify: bool = True) -> None:
        self._tls_verify = tls_verify
        self._hosts: dict[str, RegistryHost] = {}
        self._owned = contextlib.AsyncExitStack()
        self._warnings = Warnings()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hosts.clear()
        await self._owned.__aexit__(kind, error, trace)

    # Reading

    async def manifest(
        self,
        reference: Reference,
        *,
        platform: Platform | None = None,
        store: BlobStore | None = None,
    ) -> FetchedManifest:
        """The manifest or index that a reference stands for, its digest verified.

        Parameters
        ----------
        reference
            Without tag and digest it means ``latest``; a digest wins over a tag.
        platform
            If it is an index: choose the manifest for this platform.
        store
            Where what came is put, and where manifests are looked for by their digests first: one
            that is there costs no request.

        Raises
        ------
        ManifestNotFoundError
            There is none; the hint names the nearest tags.
        PlatformNotFoundError
            It is not there for the platform; `available` is what it is there for.
        DigestMismatchError, SizeMismatchError
            The bytes are not those that were asked for.
        InvalidManifestError, UnsupportedManifestError
            It is no manifest, or one of a kind that nbdock cannot use.
        AuthenticationError, RegistryError, TransportError
            The registry refuses, or cannot be reached.
        """
        repository = await self._repository(reference)
        try:
            fetched = await repository.manifest(reference.with_default_tag(), store=store)
        except RegistryError as error:
            if error.status != 404:
                raise
            raise await self._not_found(repository, reference, error) from error
        index = None
        for _ in range(_MAX_NESTING):
            if platform is None or not isinstance(fetched.manifest, Index):
                return fetched
            index = index or fetched
            chosen = choose(fetched, platform)
            fetched = await self._described(repository, reference, chosen, index, store)
        raise InvalidManifestError(
            f"{reference} is an index of indexes, more than {_MAX_NESTING} deep.",
            value=str(reference),
        )

    async def manifests(
        self, index: FetchedManifest, *, store: BlobStore | None = None
    ) -> list[FetchedManifest]:
        """Everything that an index names, in its order, as its descriptors say: see `manifest`."""
        if not isinstance(index.manifest, Index):
            return []
        reference = index.reference
        repository = await self._repository(reference)
        return await gather_limited(
            [
                functools.partial(self._described, repository, reference, named, index, store)
                for named in index.manifest.manifests
            ],
            limit=repository.host.limits.registry_blobs,
        )

    async def _described(
        self, repository: Repository, reference: Reference, chosen: Descriptor,
        index: FetchedManifest, store: BlobStore | None,
    ) -> FetchedManifest:  # fmt: skip
        wanted = reference.with_digest(chosen.digest)
        fetched = await repository.manifest(wanted, store=store)
        check_described(fetched, chosen)
        return FetchedManifest(fetched.reference, fetched.manifest, fetched.data, chosen, index)

    async def _not_found(
        self, repository: Repository, reference: Reference, error: RegistryError
    ) -> ManifestNotFoundError:
        hint = f"The registry said: {error.message}"
        if reference.digest is None:
            with contextlib.suppress(NbdockError):
                known = await listing.tags(repository)
                close = nearest(reference.tag or "latest", known)
                shown = ", ".join(close or known[-5:])
                hint = f"Did you mean {shown}?" if close else f"Some of its tags: {shown}."
        return ManifestNotFoundError(
            f"There is no {reference.with_default_tag()} in the registry.",
            status=error.status,
            codes=error.codes,
            url=error.url,
            hint=hint,
        )

    async def blob_bytes(
        self, reference: Reference, descriptor: Descriptor, *, limit_bytes: int | None = None
    ) -> bytes:
        """The bytes of a small blob (an image's configuration), verified.

        Parameters
        ----------
        reference
            Any image of the repository.
        limit_bytes
            The largest that is read; default: the setting `json_limit_bytes`.

        Raises
        ------
        DigestMismatchError, SizeMismatchError
            The bytes are not the descriptor's, or too many.
        AuthenticationError, RegistryError, TransportError
            The registry refuses, or cannot be reached.
        """
        repository = await self._repository(reference)
        limit_bytes = limit_bytes or repository.host.limits.json_limit_bytes
        return await blobs.blob_bytes(repository, descriptor, limit_bytes)

    async def pull_blob(
        self,
        reference: Reference,
        descriptor: Descriptor,
        store: BlobStore,
        *,
        progress: TransferProgress | None = None,
    ) -> None:
        """Put a blob into the store, unless it is there.

        What an interrupted or killed process fetched of it is taken up again. If another task or
        process is fetching it, this waits for that.

        Parameters
        ----------
        reference
            Any image of the repository.
        progress
            Told (bytes there, bytes in all), last when both are the same.

        Raises
        ------
        DigestMismatchError, SizeMismatchError
            The bytes are not the descriptor's. Nothing is left.
        StorageFullError
            The disk is full. Nothing is left.
        AuthenticationError, RegistryError, TransportError
            The registry refuses, or cannot be reached. What has arrived is kept for the next time.
        """
        repository = await self._repository(reference)
        await blobs.pull_blob(repository, descriptor, store, progress)

    async def tags(self, reference: Reference) -> tuple[str, ...]:
        """All tags of a reference's repository, in the registry's order.

        Raises
        ------
        ManifestNotFoundError
            There is no such repository.
        AuthenticationError, RegistryError, TransportError
            The registry refuses, or cannot be reached.
        """
        repository = await self._repository(reference)
        try:
            return await listing.tags(repository)
        except RegistryError as error:
            if error.status != 404:
                raise
            raise ManifestNotFoundError(
                f"There is no {reference.name} in the registry.",
                status=error.status,
                codes=error.codes,
                url=error.url,
            ) from error

    # Hosts

    async def _repository(self, reference: Reference) -> Repository:
        return Repository(await self._host(reference.registry), reference.repository,
                          reference.name)  # fmt: skip

    async def _host(self, name: str) -> RegistryHost:
        host = self._hosts.get(name)
        if host is None:
            host = RegistryHost(
                name,
                transport=Transport(),
                allow_http=is_this_machine(name) or not self._tls_verify,
                warnings=self._warnings,
            )
            self._hosts[name] = host
            await self._owned.enter_async_context(host)
        return host
