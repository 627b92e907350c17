"""A manifest as it came from a registry, verified, and the choice of one from an index."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from nbdock.errors import (
    DigestMismatchError,
    InvalidDigestError,
    InvalidManifestError,
    PlatformNotFoundError,
    SizeMismatchError,
    UnsupportedManifestError,
)
from nbdock.oci import (
    Descriptor,
    Digest,
    Index,
    Manifest,
    MediaType,
    Platform,
    Reference,
    parse_manifest,
)

__all__ = ["ACCEPTED", "FetchedManifest", "check_described", "choose", "verified"]

ACCEPTED = ", ".join(
    [
        MediaType.OCI_INDEX,
        MediaType.OCI_MANIFEST,
        MediaType.DOCKER_MANIFEST_LIST,
        MediaType.DOCKER_MANIFEST,
    ]
)
"""The ``Accept`` header; without one, registries may answer with schema 1."""

_SCHEMA1 = (MediaType.DOCKER_SCHEMA1, MediaType.DOCKER_SCHEMA1_SIGNED)
_ARM_VARIANTS = ("v8", "v7", "v6", "v5")


@dataclasses.dataclass(frozen=True, slots=True)
class FetchedManifest:
    """A manifest or index, with its exact bytes.

    Attributes
    ----------
    reference
        What was asked for, with the digest of what came.
    manifest
        What it says.
    data
        Its bytes, whose digest was verified.
    descriptor
        Its media type, digest and size; from an index, with the platform that stands there.
    index
        The index that it was chosen from; None if there was none.
    """

    reference: Reference
    manifest: Manifest | Index
    data: bytes = dataclasses.field(repr=False)
    descriptor: Descriptor
    index: FetchedManifest | None = dataclasses.field(default=None, repr=False)


def verified(
    data: bytes, media_type: str, reference: Reference, *, announced: str = "", where: str
) -> FetchedManifest:
    """The manifest that a registry sent for `reference`.

    Parameters
    ----------
    media_type
        The ``Content-Type``.
    announced
        The ``Docker-Content-Digest``, if any: checked too, so that a proxy that garbles bytes is
        found out even when a tag was asked for.
    where
        The URL, for errors.

    Raises
    ------
    DigestMismatchError
        The bytes do not have the digest asked for, or the one announced.
    InvalidManifestError, UnsupportedManifestError
        It is no manifest, or one of Docker's schema 1.
    """
    kind = media_type.partition(";")[0].strip().lower()
    if kind in _SCHEMA1:
        raise _schema1(reference)
    expected = reference.digest or _computable(announced)
    digest = Digest.of(data, algorithm=expected.algorithm if expected else "sha256")
    if expected and digest != expected:
        raise DigestMismatchError(
            f"The manifest at {where} is {digest}, not {expected} as "
            f"{'asked for' if reference.digest else 'announced'}.",
            digest=str(expected),
            actual=str(digest),
            hint="The registry's copy is damaged or was replaced; it was not used.",
        )
    try:
        manifest = parse_manifest(data, media_type)
    except InvalidManifestError as error:
        if "schema 1" in error.message:
            raise _schema1(reference) from error
        raise InvalidManifestError(
            f"The manifest of {reference}: {error.message}",
            path=error.path,
            value=error.value,
            hint=error.hint,
        ) from error
    descriptor = Descriptor(manifest.media_type, digest, len(data))
    return FetchedManifest(reference.with_digest(digest), manifest, data, descriptor)


def choose(fetched: FetchedManifest, platform: Platform) -> Descriptor:
    """The descriptor for a platform among those of an index.

    The first that matches wins. An arm of an older version will do if the one asked for is not
    there, as everywhere; so will an only image whose platform the index does not say.

    Raises
    ------
    PlatformNotFoundError
        There is none; `available` is what there is.
    """
    index = fetched.manifest
    assert isinstance(index, Index)
    for wanted in _acceptable(platform):
        found = index.find(wanted)
        if found is not None:
            return found
    images = list(index.images())
    if len(images) == 1 and images[0].platform is None:
        return images[0]
    available = tuple(dict.fromkeys(str(d.platform.normalised()) for d in images if d.platform))
    raise PlatformNotFoundError(
        f"{_as_asked(fetched.reference)} is not there for {platform}.",
        available=available,
        hint=f"It is there for {', '.join(available)}." if available else "It holds no images.",
    )


def _as_asked(reference: Reference) -> Reference:
    """A reference with its tag, if it has one: the digest is what the tag stood for."""
    return reference.with_digest(None) if reference.tag else reference


def _acceptable(platform: Platform) -> Iterator[Platform]:
    yield platform
    wanted = platform.normalised()
    if wanted.architecture == "arm" and wanted.variant in _ARM_VARIANTS:
        for variant in _ARM_VARIANTS[_ARM_VARIANTS.index(wanted.variant) + 1 :]:
            yield dataclasses.replace(wanted, variant=variant)


def check_described(fetched: FetchedManifest, descriptor: Descriptor) -> None:
    """Compare a manifest with the descriptor that led to it; its digest was compared already.

    Raises
    ------
    SizeMismatchError, InvalidManifestError
        Its size or media type is not the descriptor's.
    """
    actual = fetched.descriptor
    if actual.size_bytes != descriptor.size_bytes:
        raise SizeMismatchError(
            f"The manifest {descriptor.digest} of {fetched.reference} has {actual.size_bytes} "
            f"bytes, not {descriptor.size_bytes} as its index says.",
            expected_bytes=descriptor.size_bytes,
            actual_bytes=actual.size_bytes,
            digest=str(descriptor.digest),
            hint="The image is damaged; have it pushed again.",
        )
    if actual.media_type != descriptor.media_type:
        raise InvalidManifestError(
            f"The manifest {descriptor.digest} of {fetched.reference} is {actual.media_type!r}, "
            f"not {descriptor.media_type!r} as its index says.",
            value=actual.media_type,
            hint="Somebody may want two programs to see two images; do not use it.",
        )


def _computable(text: str) -> Digest | None:
    try:
        digest = Digest.parse(text)
    except InvalidDigestError:
        return None
    return digest if digest.is_computable else None


def _schema1(reference: Reference) -> UnsupportedManifestError:
    return UnsupportedManifestError(
        f"{reference} is an image of Docker's schema 1, which stores no configuration.",
        hint="Have it pushed again: Docker has written schema 2 since 2016.",
    )
