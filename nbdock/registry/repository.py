"""One repository at one host: the registry itself, or a mirror of it."""

from __future__ import annotations

import contextlib
import dataclasses

from nbdock.concurrency import in_worker
from nbdock.content import BlobStore
from nbdock.errors import (
    AuthenticationError,
    ContentError,
    InvalidDigestError,
    RegistryError,
    UploadError,
)
from nbdock.oci import Descriptor, Digest, Reference, is_index, is_manifest
from nbdock.registry.answers import printable
from nbdock.registry.fetched import ACCEPTED, FetchedManifest, verified
from nbdock.registry.host import Answer, RegistryHost
from nbdock.registry.scopes import Access
from nbdock.transport import redacted

__all__ = ["Repository"]


@dataclasses.dataclass(frozen=True, slots=True)
class Repository:
    """Where a repository's manifests and blobs are asked for.

    Attributes
    ----------
    host
        The registry or mirror.
    path
        The repository's name there: ``library/redis``.
    name
        What people call it, wherever it is asked for: ``docker.io/library/redis``.
    """

    host: RegistryHost
    path: str
    name: str

    async def url(self, rest: str) -> str:
        """The URL of something in the repository, such as ``blobs/sha256:...``."""
        return f"{await self.host.base()}/v2/{self.path}/{rest}"

    def access(self, actions: str, *, mount_from: str = "") -> Access:
        """What requests need to be allowed: ``"pull"``, ``"pull,push"`` or ``"delete"``."""
        return Access.to(self.path, actions, mount_from=mount_from)

    async def put_manifest(self, name: str, data: bytes, media_type: str) -> Answer:
        """Put a manifest there under a tag or its digest; what the registry answered."""
        digest = Digest.of(data)
        try:
            answer = await self.host.fetch(
                "PUT",
                await self.url(f"manifests/{name}"),
                limit_bytes=self.host.limits.json_limit_bytes,
                what=f"putting the manifest {self.name}{'@' if ':' in name else ':'}{name} there",
                access=self.access("pull,push"),
                headers={"Content-Type": media_type},
                content=data,
                statuses={200, 201, 202},
            )
        except AuthenticationError:
            raise
        except RegistryError as error:
            raise UploadError(
                error.message, status=error.status, codes=error.codes, url=error.url,
                hint="The registry takes no manifest so large." if error.status == 413 else None,
            ) from error  # fmt: skip
        said = answer.headers.get("docker-content-digest", str(digest))
        if said.startswith("sha256:") and said != str(digest):
            raise UploadError(
                f"The registry keeps the manifest {digest} as {printable(said, 80)}.",
                status=answer.status,
                url=redacted(answer.url),
                hint="Something between here and there changes what is sent.",
            )
        return answer

    async def delete(self, rest: str, what: str) -> None:
        """Delete something in the repository."""
        try:
            await self.host.fetch(
                "DELETE",
                await self.url(rest),
                limit_bytes=self.host.limits.json_limit_bytes,
                what=f"the deletion of {what}",
                access=self.access("delete"),
                statuses={200, 202, 204},
            )
        except RegistryError as error:
            if error.status == 405:
                error.hint = "This registry deletes no such thing; it may have to be allowed there."
            raise

    async def manifest(
        self,
        reference: Reference,
        *,
        store: BlobStore | None = None,
        may_be_there: bool = False,
    ) -> FetchedManifest:
        """The manifest or index that a reference's digest or tag stands for, verified.

        One that `store` has by its digest is not asked for; one that came is in it afterwards. If
        a tag's `may_be_there`, the registry is asked for its digest first.
        """
        if may_be_there and reference.digest is None and store is not None:
            described = None
            # Some registries do not answer HEAD; then GET says what is wrong, if anything is.
            with contextlib.suppress(RegistryError):
                described = await self.describe(reference)
            if described is not None and store.has(described.digest, described.size_bytes):
                reference = reference.with_digest(described.digest)
        if store is not None and reference.digest is not None and store.has(reference.digest):
            # One that was damaged since is fetched again.
            with contextlib.suppress(ContentError):
                data = await in_worker(store.read, reference.digest)
                return verified(data, "", reference, where=str(store.home))
        wanted = str(reference.digest or reference.tag or "latest")
        answer = await self.host.fetch(
            "GET",
            await self.url(f"manifests/{wanted}"),
            limit_bytes=self.host.limits.registry_manifest_limit_bytes,
            what=f"the manifest of {reference}",
            access=self.access("pull"),
            headers={"Accept": ACCEPTED},
        )
        fetched = verified(
            answer.body,
            answer.headers.get("content-type", ""),
            reference,
            announced=answer.headers.get("docker-content-digest", ""),
            where=redacted(answer.url),
        )
        if store is not None:
            algorithm = fetched.descriptor.digest.algorithm
            await in_worker(store.add, fetched.data, algorithm=algorithm)
        return fetched

    async def describe(self, reference: Reference) -> Descriptor | None:
        """What a tag or digest stands for, by the headers alone; None if they do not say."""
        wanted = str(reference.digest or reference.tag or "latest")
        answer = await self.host.fetch(
            "HEAD",
            await self.url(f"manifests/{wanted}"),
            limit_bytes=0,
            what=f"the manifest of {reference}",
            access=self.access("pull"),
            headers={"Accept": ACCEPTED},
            # Not all registries answer HEAD; what is not there, GET explains better.
            statuses={200, 404, 405},
        )
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        size = answer.headers.get("content-length", "")
        if answer.status != 200 or not (is_manifest(kind) or is_index(kind)):
            return None
        try:
            digest = Digest.parse(answer.headers.get("docker-content-digest", ""))
        except InvalidDigestError:
            return None
        if not (digest.is_computable and size.isascii() and size.isdecimal() and len(size) < 20):
            return None
        if reference.digest not in (None, digest):
            return None
        return Descriptor(kind, digest, int(size))
