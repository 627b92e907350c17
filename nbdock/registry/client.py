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
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self

from nbdock import settings
from nbdock.concurrency import gather_limited
from nbdock.content import BlobStore, LayerCheck
from nbdock.errors import (
    ArgumentTypeError,
    ContentError,
    InvalidManifestError,
    ManifestNotFoundError,
    NbdockError,
    RegistryError,
    RepositoryNotFoundError,
    TransportError,
    nearest,
)
from nbdock.oci import Descriptor, Digest, Index, Platform, Reference, parse_manifest
from nbdock.registry import blobs, listing, referrers, uploads
from nbdock.registry.answers import is_missing
from nbdock.registry.credentials import Credentials
from nbdock.registry.destinations import Destinations
from nbdock.registry.fetched import FetchedManifest, check_described, choose
from nbdock.registry.hosts import Hosts
from nbdock.registry.trust import Trust
from nbdock.registry.uploads import Delivery
from nbdock.transport import TransferProgress

__all__ = ["RegistryClient"]

_MAX_NESTING = 4


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
        self._hosts = Hosts(
            credentials or Credentials.default(),
            functools.partial(Trust.of, insecure=insecure, tls_verify=tls_verify, ca_file=ca_file),
            mirrors=mirrors,
            places=_places,
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What registries warned of so far; each is also logged, once."""
        return tuple(self._hosts.warnings.seen)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._hosts.close()

    # Reading

    async def manifest(
        self,
        reference: Reference,
        *,
        platform: Platform | None = None,
        store: BlobStore | None = None,
        may_be_there: bool = False,
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
        may_be_there
            Whether `store` may well have what a tag stands for: then the registry is first asked
            what that is (HEAD), which is quicker and, at Docker Hub, counts as no pull.

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
            fetched = await self._hosts.first(
                asked,
                lambda where: where.manifest(asked, store=store, may_be_there=may_be_there),
                may_miss=True,
            )
        except RegistryError as error:
            if not is_missing(error):
                raise
            if isinstance(error.__cause__, TransportError):
                told = f"There is no {asked} in the mirror of {asked.registry}."
                raise _missing(ManifestNotFoundError, told, error, error.hint) from error
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

    async def describe(self, reference: Reference) -> Descriptor:
        """What a reference stands for now, without fetching it where the registry can say.

        That is quicker, and Docker Hub does not count it as a pull. The digest is the registry's
        word: fetching the manifest by it verifies it.

        Raises
        ------
        NbdockError
            As `manifest` does.
        """
        asked = reference.with_default_tag()
        described = await self._hosts.first(asked, lambda where: where.describe(asked))
        return described or (await self.manifest(asked)).descriptor

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
        fetched = await self._hosts.first(wanted, lambda where: where.manifest(wanted, store=store))
        check_described(fetched, chosen)
        return dataclasses.replace(fetched, descriptor=chosen, index=index)

    async def _not_found(self, reference: Reference, error: RegistryError) -> ManifestNotFoundError:
        hint = f"The registry said: {error.message}"
        try:
            known = await self.tags(reference)
        except NbdockError as unlisted:
            known = ()
            # Not every registry lists tags: one that only answers 404 may have the repository.
            said = (*error.codes, *getattr(unlisted, "codes", ()))
            if isinstance(unlisted, RepositoryNotFoundError) and "NAME_UNKNOWN" in said:
                unlisted.hint = hint
                return unlisted
        if known and reference.digest is not None:
            hint = f"The repository is there, and has tags such as {', '.join(known[-5:])}."
        elif known:
            close = nearest(reference.tag or "latest", known)
            shown = ", ".join(close or known[-5:])
            hint = f"Did you mean {shown}?" if close else f"Some of its tags: {shown}."
        return _missing(
            ManifestNotFoundError, f"There is no {reference} in the registry.", error, hint
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
        return await self._hosts.first(
            reference, lambda where: blobs.blob_bytes(where, descriptor, limit)
        )

    async def pull_blob(
        self,
        reference: Reference,
        descriptor: Descriptor,
        store: BlobStore,
        *,
        check: LayerCheck | None = None,
        progress: TransferProgress | None = None,
    ) -> None:
        """Put a blob into the store, unless it is there.

        What an interrupted or killed process fetched of it is taken up again. If another task or
        process is fetching it, this waits for that.

        Parameters
        ----------
        reference
            Any image of the repository.
        check
            Of a compressed layer: whether it holds the right tar, which is looked at as the bytes
            come, or, if the blob is there and was never checked, in the store.
        progress
            Told (bytes there, bytes in all), last when both are the same.

        Raises
        ------
        DigestMismatchError, SizeMismatchError
            The bytes are not the descriptor's, or not the tar of `check`. Nothing is left.
        ArchiveError
            `check` could not decompress it. Nothing is left.
        StorageFullError
            The disk is full. Nothing is left.
        AuthenticationError, RegistryError, TransportError
            The registry refuses, or cannot be reached. What has arrived is kept for the next time.
        """
        await blobs.pull_blob(
            self._hosts, reference, descriptor, store, check=check, progress=progress
        )

    async def tags(self, reference: Reference) -> tuple[str, ...]:
        """All tags of a reference's repository, in the registry's order.

        Raises
        ------
        RepositoryNotFoundError
            There is no such repository.
        AuthenticationError, RegistryError, TransportError
            The registry refuses, or cannot be reached.
        """
        try:
            return await self._hosts.first(reference, listing.tags)
        except RegistryError as error:
            if not is_missing(error):
                raise
            told = f"There is no {reference.name} in the registry."
            raise _missing(RepositoryNotFoundError, told, error, error.hint) from error

    async def referrers(self, reference: Reference, artifact_type: str | None = None) -> Index:
        """What refers to an image: signatures, SBOMs and the like, as an index of descriptors.

        A mirror that knows of some is believed; whether there are none, only the registry itself
        can say.

        Parameters
        ----------
        reference
            With the image's digest.
        artifact_type
            Only what is of this type.

        Raises
        ------
        AuthenticationError, RegistryError, TransportError
            The registry refuses, or cannot be reached.
        """
        digest = reference.digest
        if digest is None:
            raise ArgumentTypeError(
                f"{reference} has no digest, and what refers to an image names its digest.",
                argument="reference",
                hint="Fetch its manifest first: what that gives has a reference with the digest.",
            )
        return await self._hosts.first(
            reference, lambda where: referrers.referrers(where, digest, artifact_type)
        )

    # Writing: to the registry itself, never to a mirror

    async def has_blob(self, reference: Reference, digest: Digest) -> bool:
        """Whether the repository has a blob, asked with the right to push."""
        repository = await self._hosts.repository(reference)
        return await uploads.has_blob(repository, digest, repository.access("pull,push"))

    async def push_blob(
        self,
        reference: Reference,
        descriptor: Descriptor,
        store: BlobStore,
        *,
        mount_from: Iterable[Reference] = (),
        progress: TransferProgress | None = None,
    ) -> Delivery:
        """Put a blob of the store into the repository, unless it is there.

        Parameters
        ----------
        reference
            Any image of the repository.
        mount_from
            Images whose repositories have the blob; those of the same registry can hand it over
            without its bytes being sent.
        progress
            Told (bytes there, bytes in all), last when both are the same.

        Returns
        -------
        Delivery
            How it came there: ``SENT``, ``MOUNTED``, or it ``EXISTED``.

        Raises
        ------
        UploadError
            The registry does not take it.
        UnsafeDestinationError
            The registry wants it to be sent to a place that it has no business with.
        BlobNotFoundError, SizeMismatchError
            The store does not have it, or not as the descriptor says.
        AuthenticationError, RegistryError, TransportError
            The registry refuses, or cannot be reached.
        """
        repository = await self._hosts.repository(reference)
        others = dict.fromkeys(
            other.repository for other in mount_from if other.registry == reference.registry
        )
        return await uploads.push_blob(repository, descriptor, store, list(others), progress)

    async def push_manifest(self, reference: Reference, data: bytes, media_type: str) -> Descriptor:
        """Put a manifest or index there: under the reference's tag, else under its digest.

        What it names must be there already. One with a ``subject`` is found by `referrers`
        afterwards, whether the registry knows of that or not.

        Raises
        ------
        UploadError
            The registry does not take it, or keeps something else.
        AuthenticationError, RegistryError, TransportError
            The registry refuses, or cannot be reached.
        """
        repository = await self._hosts.repository(reference)
        document = parse_manifest(data, media_type)
        descriptor = Descriptor.of(data, media_type)
        name = reference.tag or str(descriptor.digest)
        answer = await repository.put_manifest(name, data, media_type)
        if document.subject is not None and "oci-subject" not in answer.headers:
            await referrers.add_referrer(repository, document)
        return descriptor

    async def delete_manifest(self, reference: Reference) -> None:
        """Delete a manifest and all its tags, or, without a digest, one tag only.

        Many registries delete by digest only, or not at all. What refers to an image is no longer
        in the list of `referrers` afterwards, whether the registry keeps that itself or not.

        Raises
        ------
        ManifestNotFoundError
            It is not there.
        AuthenticationError, RegistryError, TransportError
            The registry refuses, or cannot be reached.
        """
        reference = reference.with_default_tag()
        name = reference.digest or reference.tag
        repository = await self._hosts.repository(reference)
        try:
            subject = None
            if reference.digest is not None:
                # What it refers to, it can no longer be asked afterwards; and one that cannot be
                # read can be deleted all the same.
                with contextlib.suppress(InvalidManifestError, ContentError, RegistryError):
                    subject = (await repository.manifest(reference)).manifest.subject
            await repository.delete(f"manifests/{name}", str(reference))
            if subject is not None and reference.digest is not None:
                await referrers.remove_referrer(repository, subject.digest, reference.digest)
        except RegistryError as error:
            if is_missing(error):
                told = f"There is no {reference} in the registry."
                raise _missing(ManifestNotFoundError, told, error) from error
            if reference.digest is None and error.status in {400, 405}:
                error.hint = "It may not delete tags: give the digest, which deletes all its tags."
            raise

    async def delete_blob(self, reference: Reference, digest: Digest) -> None:
        """Delete a blob from the repository.

        Raises
        ------
        AuthenticationError, RegistryError, TransportError
            The registry refuses, does not have it, or cannot be reached.
        """
        repository = await self._hosts.repository(reference)
        await repository.delete(f"blobs/{digest}", f"the blob {digest} of {reference.name}")


def _missing(
    kind: type[ManifestNotFoundError], message: str, error: RegistryError, hint: str | None = None
) -> ManifestNotFoundError:
    return kind(message, status=error.status, codes=error.codes, url=error.url, hint=hint)
