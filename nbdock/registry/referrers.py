"""What refers to an image: signatures, SBOMs, whatever has it as its ``subject``.

Registries that know the referrers API keep the list themselves. For those that do not, the
specification has a tag made of the image's digest that stands for the list, an index; who pushes a
referrer adds it there.

    >>> fallback_tag(Digest.of(b""))
    'sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
"""

from __future__ import annotations

import dataclasses
from urllib.parse import quote

from nbdock.errors import RegistryError
from nbdock.oci import Descriptor, Digest, Index, Manifest, Reference
from nbdock.registry.answers import is_missing
from nbdock.registry.listing import next_page
from nbdock.registry.repository import Repository
from nbdock.transport import redacted

__all__ = ["add_referrer", "fallback_tag", "referrers"]


def fallback_tag(digest: Digest) -> str:
    """The tag that stands for the list of what refers to an image."""
    return f"{digest.algorithm[:32]}-{digest.hex[:64]}"


async def referrers(
    repository: Repository, digest: Digest, artifact_type: str | None = None
) -> Index:
    """The list of what refers to an image; see `RegistryClient.referrers`."""
    host = repository.host
    query = f"?artifactType={quote(artifact_type, safe='')}" if artifact_type else ""
    url: str | None = await repository.url(f"referrers/{digest}{query}")
    found: list[Descriptor] = []
    pages: set[str] = set()
    while url is not None:
        answer = await host.fetch(
            "GET", url, limit_bytes=host.limits.registry_manifest_limit_bytes,
            what=f"what refers to {digest} in {repository.name}",
            access=repository.access("pull"), statuses={200, 404},
        )  # fmt: skip
        if answer.status == 404:
            index = await _fallback(repository, digest)
            found = list(index.manifests) if index else []
            break
        pages.add(url)
        found += Index.parse(answer.body, answer.headers.get("content-type", "")).manifests
        url = next_page(answer.headers.get("link", ""), answer.url)
        if url in pages or len(found) > host.limits.registry_tags_limit:
            raise RegistryError(
                f"The list of what refers to {digest} has no end.", url=redacted(url or "")
            )
    # Servers need not filter, and say so only in a header; asking twice is the same.
    return Index(
        tuple(d for d in found if artifact_type is None or d.artifact_type == artifact_type)
    )


async def _fallback(repository: Repository, digest: Digest) -> Index | None:
    registry, _, path = repository.name.partition("/")
    try:
        fetched = await repository.manifest(Reference(registry, path, fallback_tag(digest)))
    except RegistryError as error:
        if not is_missing(error):
            raise
        return None
    return fetched.manifest if isinstance(fetched.manifest, Index) else None


async def add_referrer(repository: Repository, document: Manifest | Index) -> None:
    """Add a manifest with a subject, just pushed, to its subject's list under the fallback tag."""
    assert document.subject is not None
    subject = document.subject.digest
    kind = document.artifact_type
    if kind is None and isinstance(document, Manifest):
        kind = document.config.media_type
    new = dataclasses.replace(
        document.descriptor(), artifact_type=kind, annotations=document.annotations
    )
    index = await _fallback(repository, subject) or Index()
    others = tuple(d for d in index.manifests if d.digest != new.digest)
    if len(others) == len(index.manifests):
        changed = dataclasses.replace(index, manifests=(*others, new))
        await repository.put_manifest(fallback_tag(subject), changed.to_bytes(), changed.media_type)
