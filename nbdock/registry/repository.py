"""One repository at one host: the registry itself, or a mirror of it."""

from __future__ import annotations

import dataclasses

from nbdock.oci import Reference
from nbdock.registry.fetched import ACCEPTED, FetchedManifest, verified
from nbdock.registry.host import RegistryHost
from nbdock.registry.scopes import scopes_for
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

    def scopes(self, actions: str, *, mount_from: str = "") -> frozenset[str]:
        """What a token must allow for ``"pull"`` or ``"pull,push"``."""
        return scopes_for(self.path, actions, mount_from=mount_from)

    async def manifest(self, reference: Reference) -> FetchedManifest:
        """The manifest or index that a reference's digest or tag stands for, verified."""
        wanted = str(reference.digest or reference.tag or "latest")
        answer = await self.host.fetch(
            "GET",
            await self.url(f"manifests/{wanted}"),
            limit_bytes=self.host.limits.registry_manifest_limit_bytes,
            what=f"the manifest of {reference}",
            scopes=self.scopes("pull"),
            headers={"Accept": ACCEPTED},
        )
        return verified(
            answer.body,
            answer.headers.get("content-type", ""),
            reference,
            announced=answer.headers.get("docker-content-digest", ""),
            where=redacted(answer.url),
        )
