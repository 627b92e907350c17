"""What refers to an image: signatures, SBOMs, whatever has it as its ``subject``.

Registries that know the referrers API keep the list themselves. For those that do not, the
specification has a tag made of the image's digest that stands for the list, an index; who pushes a
referrer adds it there.

    >>> fallback_tag(Digest.of(b""))
    'sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from urllib.parse import quote

from nbdock.errors import RegistryError
from nbdock.oci import Descriptor, Digest, Index, Manifest, Reference
from nbdock.registry.answers import is_missing
from nbdock.registry.listing import next_page
from nbdock.registry.repository import Repository
from nbdock.transport import redacted

__all__ = ["add_referrer", "fallback_tag", "referrers", "remove_referrer"]


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
    if host.is_mirror and not found:
        # A mirror need not have what the registry has; of what refers to an image it would then
        # say that there is nothing, such as no signature.
        raise RegistryError(f"{host.name} has nothing that refers to {digest}.", status=404)
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
    kind = document.artifact_type
    if kind is None and isinstance(document, Manifest):
        kind = document.config.media_type
    new = dataclasses.replace(
        document.descriptor(), artifact_type=kind, annotations=document.annotations
    )

    def with_it(listed: tuple[Descriptor, ...]) -> tuple[Descriptor, ...]:
        is_there = any(descriptor.digest == new.digest for descriptor in listed)
        return listed if is_there else (*listed, new)

    await _edit(repository, document.subject.digest, with_it)


async def remove_referrer(repository: Repository, subject: Digest, digest: Digest) -> None:
    """Remove a manifest, just deleted, from its subject's list, if the registry keeps none."""
    answer = await repository.host.fetch(
        "GET", await repository.url(f"referrers/{subject}"),
        limit_bytes=repository.host.limits.registry_manifest_limit_bytes,
        what=f"what refers to {subject} in {repository.name}",
        access=repository.access("pull"), statuses={200, 404},
    )  # fmt: skip
    if answer.status == 404:
        await _edit(
            repository, subject, lambda listed: tuple(d for d in listed if d.digest != digest)
        )


async def _edit(
    repository: Repository,
    subject: Digest,
    change: Callable[[tuple[Descriptor, ...]], tuple[Descriptor, ...]],
) -> None:
    """Change the list under the fallback tag.

    Registries have no way to say "only if nobody changed it meanwhile", so the list is read again
    after it was written, and whoever finds that another's replaced theirs changes that one. An
    edit is lost only to one that reads before it and writes after it was seen to be there.
    """
    for _ in range(repository.host.limits.retries + 1):
        index = await _fallback(repository, subject) or Index()
        listed = change(index.manifests)
        if listed == index.manifests:
            return
        changed = dataclasses.replace(index, manifests=listed)
        await repository.put_manifest(fallback_tag(subject), changed.to_bytes(), changed.media_type)
    raise RegistryError(
        f"Somebody else keeps changing the list of what refers to {subject} in {repository.name}.",
        hint="Try again when they are done.",
    )
