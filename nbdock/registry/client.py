"""The client: references to bytes, and back.

    async with RegistryClient() as client:
        redis = await client.manifest(Reference.parse("redis:7"), platform=Platform.host())
        for layer in redis.manifest.layers:
            await client.pull_blob(redis.reference, layer, BlobStore.default())

It speaks the OCI's distribution specification 1.1, and so Docker's registry API v2.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Self, TypeVar

from nbdock import settings
from nbdock.concurrency import gather_limited
from nbdock.content import BlobStore
from nbdock.errors import (
    DigestMismatchError,
    InvalidManifestError,
    ManifestNotFoundError,
    NbdockError,
    RegistryError,
    SizeMismatchError,
    TransportError,
    nearest,
)
from nbdock.oci import Descriptor, Index, Platform, Reference
from nbdock.registry import blobs, listing
from nbdock.registry.answers import Warnings
from nbdock.registry.credentials import Credentials
from nbdock.registry.destinations import Destinations
from nbdock.registry.fetched import FetchedManifest, check_described, choose
from nbdock.registry.host import RegistryHost
from nbdock.registry.mirrors import Mirror, mirrors_of
from nbdock.registry.repository import Repository
from nbdock.registry.trust import Trust
from nbdock.transport import TransferProgress

__all__ = ["RegistryClient"]

T = TypeVar("T")

_log = logging.getLogger(__name__)
_MAX_NESTING = 4
# What a mirror may do wrong without the pull failing for it.
_MIRROR_FAULTS = (
    RegistryError, TransportError, InvalidManifestError, DigestMismatchError, SizeMismatchError,
)  # fmt: skip


class RegistryClient:
    """Registries as one operation needs them; owns its connections, and closes them when left.

    Parameters
    ----------
    credentials
        Where logins come from; default: the files of Docker and Podman (`Credentials`).
    insecure
        Whether registries may do without TLS, or with a certificate that nobody trusts. Default:
        those on this machine may do without TLS, and those of the setting `registry_insecure` may
        do either.
    tls_verify
        False is the same as `insecure`, by the name that skopeo and `pullImage` give it.
    ca_file
        Certificate authorities (PEM) to trust besides the system's.
    mirrors
        What to ask instead of a registry, by its name: hosts, perhaps with a path; they are asked
        first, in this order. Default: the setting `registry_mirrors`.
    """

    def __init__(
        self,
        *,
        credentials: Credentials | None = None,
        insecure: bool | None = None,
        tls_verify: bool = True,
        ca_file: str | os.PathLike[str] | None = None,
        mirrors: Mapping[str, Sequence[str]] | None = None,
        _places: Callable[[str], Destinations] | None = None,
    ) -> None:
        self._credentials = credentials or Credentials.default()
        self._trust = functools.partial(
            Trust.of, insecure=insecure, tls_verify=tls_verify, ca_file=ca_file
        )
        self._mirrors = mirrors
        self._places = _places
        self._hosts: dict[tuple[str, bool], RegistryHost] = {}
        self._owned = contextlib.AsyncExitStack()
        self._noted = Warnings()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What registries warned of so far; each is also logged, once."""
        return tuple(self._noted.seen)

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
        asked = reference.with_default_tag()
        try:
            fetched = await self._first(asked, lambda where: where.manifest(asked, store=store))
        except RegistryError as error:
            if error.status != 404:
                raise
            raise await self._not_found(asked, error) from error
        index = None
        for _ in range(_MAX_NESTING):
            if platform is None or not isinstance(fetched.manifest, Index):
                return fetched
            index = index or fetched
            fetched = await self._described(choose(fetched, platform), index, store)
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
        return await gather_limited(
            [
                functools.partial(self._described, named, index, store)
                for named in index.manifest.manifests
            ],
            limit=settings.current().registry_blobs,
        )

    async def _described(
        self, chosen: Descriptor, index: FetchedManifest, store: BlobStore | None
    ) -> FetchedManifest:
        """The manifest that a descriptor of an index stands for."""
        wanted = index.reference.with_digest(chosen.digest)
        fetched = await self._first(wanted, lambda where: where.manifest(wanted, store=store))
        check_described(fetched, chosen)
        return dataclasses.replace(fetched, descriptor=chosen, index=index)

    async def _not_found(self, reference: Reference, error: RegistryError) -> ManifestNotFoundError:
        hint = f"The registry said: {error.message}"
        if reference.digest is None:
            with contextlib.suppress(NbdockError):
                known = await listing.tags(await self._repository(reference))
                close = nearest(reference.tag or "latest", known)
                shown = ", ".join(close or known[-5:])
                hint = f"Did you mean {shown}?" if close else f"Some of its tags: {shown}."
        return ManifestNotFoundError(
            f"There is no {reference} in the registry.",
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
        limit = limit_bytes or settings.current().json_limit_bytes
        return await self._first(
            reference, lambda where: blobs.blob_bytes(where, descriptor, limit)
        )

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
        await self._first(
            reference, lambda where: blobs.pull_blob(where, descriptor, store, progress)
        )

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
        """The repository in the registry itself."""
        host = await self._host(reference.registry)
        return Repository(host, reference.repository, reference.name)

    async def _first(self, reference: Reference, ask: Callable[[Repository], Awaitable[T]]) -> T:
        """Ask the mirrors, in their order, and the registry itself if none of them answers well."""
        for mirror in self._mirrors_of(reference.registry):
            try:
                host = await self._host(mirror.registry, mirror)
                path = mirror.repository(reference.repository)
                return await ask(Repository(host, path, reference.name))
            except _MIRROR_FAULTS as error:
                _log.info("The mirror %s of %s: %s", mirror.registry, reference.registry, error)
        return await ask(await self._repository(reference))

    def _mirrors_of(self, registry: str) -> tuple[Mirror, ...]:
        if self._mirrors is None:
            return mirrors_of(registry, settings.current().registry_mirrors)
        return tuple(Mirror.parse(text) for text in self._mirrors.get(registry, ()))

    async def _host(self, name: str, mirror: Mirror | None = None) -> RegistryHost:
        # A registry is another one as a mirror: a login that was given is not for it.
        key = name, mirror is not None
        host = self._hosts.get(key)
        if host is None:
            is_http = mirror is not None and mirror.is_http
            host = self._hosts[key] = RegistryHost(
                name,
                credentials=self._credentials,
                trust=self._trust(name, insecure=True) if is_http else self._trust(name),
                warnings=self._noted,
                is_mirror=mirror is not None,
                places=self._places,
            )
            await self._owned.enter_async_context(host)
        return host
