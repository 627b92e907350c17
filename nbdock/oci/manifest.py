"""Manifests and indexes: which configuration and layers make an image, which images make a set.

    >>> config = Descriptor.of(b"{}", MediaType.OCI_CONFIG)
    >>> layer = Descriptor.of(b"tar", MediaType.OCI_LAYER)
    >>> manifest = Manifest(config, (layer,))
    >>> parse_manifest(manifest.to_bytes()) == manifest
    True

A document that was parsed and not changed gives its own bytes back, so its digest stays. A new or
changed one (`dataclasses.replace`) is written compactly, its fields in the specification's order.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from nbdock.errors import InvalidManifestError
from nbdock.oci.descriptor import Descriptor
from nbdock.oci.document import Fields, dump, load
from nbdock.oci.frozen import FrozenMap, freeze
from nbdock.oci.media_types import MediaType, is_index, is_manifest
from nbdock.oci.platforms import Platform

__all__ = ["Index", "Manifest", "parse_manifest"]

_NO_ANNOTATIONS: FrozenMap[str] = FrozenMap()
_NO_EXTRA: FrozenMap[Any] = FrozenMap()
# What servers call JSON when they do not know what it is.
_MEANINGLESS = ("application/json", "application/octet-stream", "text/plain", "text/json")
_SCHEMA1 = (MediaType.DOCKER_SCHEMA1, MediaType.DOCKER_SCHEMA1_SIGNED)


@dataclasses.dataclass(frozen=True, slots=True)
class Manifest:
    """One image: its configuration and its layers, lowest first.

    Attributes
    ----------
    media_type
        `MediaType.OCI_MANIFEST` or `MediaType.DOCKER_MANIFEST`.
    artifact_type, subject
        For what is not an image, or belongs to one (signatures, SBOMs).
    raw
        The bytes it was parsed from; None for a new one.
    """

    config: Descriptor
    layers: tuple[Descriptor, ...] = ()
    _: dataclasses.KW_ONLY
    media_type: str = MediaType.OCI_MANIFEST
    annotations: Mapping[str, str] = _NO_ANNOTATIONS
    artifact_type: str | None = None
    subject: Descriptor | None = None
    extra: Mapping[str, Any] = _NO_EXTRA
    raw: bytes | None = dataclasses.field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not is_manifest(self.media_type):
            raise InvalidManifestError(
                f"A manifest cannot have the media type {self.media_type!r}.", value=self.media_type
            )
        object.__setattr__(self, "layers", tuple(self.layers))
        object.__setattr__(self, "annotations", freeze(self.annotations))
        object.__setattr__(self, "extra", freeze(self.extra))

    @classmethod
    def parse(cls, data: bytes, media_type: str | None = None) -> Manifest:
        """The manifest that `data` is; see `parse_manifest`. An index is an error."""
        return _only(cls, parse_manifest(data, media_type), "an index of several images")

    @property
    def is_docker(self) -> bool:
        """Whether it is of Docker's family (schema 2) rather than the OCI's."""
        return self.media_type == MediaType.DOCKER_MANIFEST

    @property
    def size_bytes(self) -> int:
        """Bytes of the configuration and all layers, as stored."""
        return self.config.size_bytes + sum(layer.size_bytes for layer in self.layers)

    def to_json(self) -> dict[str, Any]:
        """The document: fixed order, empty fields left out."""
        document: dict[str, Any] = {"schemaVersion": 2, "mediaType": self.media_type}
        if self.artifact_type is not None:
            document["artifactType"] = self.artifact_type
        document["config"] = self.config.to_json()
        document["layers"] = [layer.to_json() for layer in self.layers]
        if self.subject:
            document["subject"] = self.subject.to_json()
        if self.annotations:
            document["annotations"] = self.annotations
        return document | dict(self.extra)

    def to_bytes(self) -> bytes:
        """The bytes it was parsed from, else compact JSON."""
        return dump(self.to_json()) if self.raw is None else self.raw

    def descriptor(self, *, platform: Platform | None = None) -> Descriptor:
        """What points at this manifest."""
        descriptor = Descriptor.of(self.to_bytes(), self.media_type)
        return dataclasses.replace(descriptor, platform=platform) if platform else descriptor


@dataclasses.dataclass(frozen=True, slots=True)
class Index:
    """Several images: one for each platform, or whatever an image layout holds.

    Attributes
    ----------
    manifests
        Descriptors of manifests and of further indexes. The first that matches wins.
    media_type
        `MediaType.OCI_INDEX` or `MediaType.DOCKER_MANIFEST_LIST`.
    raw
        The bytes it was parsed from; None for a new one.
    """

    manifests: tuple[Descriptor, ...] = ()
    _: dataclasses.KW_ONLY
    media_type: str = MediaType.OCI_INDEX
    annotations: Mapping[str, str] = _NO_ANNOTATIONS
    artifact_type: str | None = None
    subject: Descriptor | None = None
    extra: Mapping[str, Any] = _NO_EXTRA
    raw: bytes | None = dataclasses.field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not is_index(self.media_type):
            raise InvalidManifestError(
                f"An index cannot have the media type {self.media_type!r}.", value=self.media_type
            )
        object.__setattr__(self, "manifests", tuple(self.manifests))
        object.__setattr__(self, "annotations", freeze(self.annotations))
        object.__setattr__(self, "extra", freeze(self.extra))

    @classmethod
    def parse(cls, data: bytes, media_type: str | None = None) -> Index:
        """The index that `data` is; see `parse_manifest`. A manifest is an error."""
        return _only(cls, parse_manifest(data, media_type), "the manifest of one image")

    def images(self) -> Iterator[Descriptor]:
        """The descriptors of images and further indexes, without attestations."""
        return (d for d in self.manifests if not d.is_attestation)

    def find(self, platform: Platform) -> Descriptor | None:
        """The first image for this platform, or None."""
        return next((d for d in self.images() if d.platform and d.platform.matches(platform)), None)

    def to_json(self) -> dict[str, Any]:
        """The document: fixed order, empty fields left out."""
        document: dict[str, Any] = {"schemaVersion": 2, "mediaType": self.media_type}
        if self.artifact_type is not None:
            document["artifactType"] = self.artifact_type
        document["manifests"] = [manifest.to_json() for manifest in self.manifests]
        if self.subject:
            document["subject"] = self.subject.to_json()
        if self.annotations:
            document["annotations"] = self.annotations
        return document | dict(self.extra)

    def to_bytes(self) -> bytes:
        """The bytes it was parsed from, else compact JSON."""
        return dump(self.to_json()) if self.raw is None else self.raw

    def descriptor(self) -> Descriptor:
        """What points at this index."""
        return Descriptor.of(self.to_bytes(), self.media_type)


_D = TypeVar("_D", Manifest, Index)


def _only(cls: type[_D], found: Manifest | Index, otherwise: str) -> _D:
    if isinstance(found, cls):
        return found
    wanted = "an index" if cls is Index else "a manifest"
    raise InvalidManifestError(f"Not {wanted}: at $, this is {otherwise}.", path="$")


def parse_manifest(data: bytes, media_type: str | None = None) -> Manifest | Index:
    """The manifest or index that `data` is.

    Parameters
    ----------
    data
        The bytes, whose digest was already checked.
    media_type
        What they were announced as (a descriptor's media type, a Content-Type), if known.
        Parameters after ``;`` do not count.

    Raises
    ------
    InvalidManifestError
        The document breaks its specification, or can be taken for two things: its media type is
        not the announced one, or it has the fields of an index and of a manifest
        (CVE-2021-41190). The message has the JSON path of the fault.
    """
    root = load(data, "a manifest")
    fields = root.fields()
    own = fields.get("mediaType")
    announced = (media_type or "").partition(";")[0].strip().lower()
    if announced in _MEANINGLESS:
        announced = ""
    version = fields.required("schemaVersion")
    kind = own.string() if own else announced
    if kind in _SCHEMA1 or (version.value == 1 and not isinstance(version.value, bool)):
        raise version.fault(
            "it is an image of Docker's schema 1, which stores no configuration.",
            hint="Have the registry's owner push the image again; Docker has written schema 2 "
            "since 2016.",
        )
    if version.integer() != 2:
        raise version.fault(f"the version should be 2, not {version.value}.")
    if own and announced and own.string() != announced:
        raise own.fault(
            f"the document says it is {own.string()!r}, but was announced as {announced!r}.",
            hint="Somebody may want two programs to see two images; do not use it.",
        )
    kind = kind or _guess(fields)
    # The fields that would make other programs take the document for something else.
    foreign = ("config", "layers") if is_index(kind) else ("manifests",)
    if not is_index(kind) and not is_manifest(kind):
        where = own or root
        raise where.fault(f"{kind[:120]!r} is neither a manifest nor an index of an image.")
    for name in (*foreign, "fsLayers"):
        node = fields.get(name)
        if node:
            what = "an index" if is_index(kind) else "a manifest"
            raise node.fault(
                f"{what} has no {name!r}: the document could be taken for two things.",
                hint="Somebody may want two programs to see two images; do not use it.",
            )
    found = _index(fields, kind) if is_index(kind) else _manifest(fields, kind)
    object.__setattr__(found, "raw", bytes(data))
    return found


def _guess(fields: Fields) -> str:
    """The media type of a document that does not say: the OCI lets it."""
    if fields.has("manifests"):
        return MediaType.OCI_INDEX
    config = fields.get("config")
    if config and isinstance(config.value, Mapping):
        media_type = config.value.get("mediaType")
        if media_type in (MediaType.DOCKER_CONFIG, MediaType.DOCKER_PLUGIN_CONFIG):
            return MediaType.DOCKER_MANIFEST
    return MediaType.OCI_MANIFEST


def _manifest(fields: Fields, kind: str) -> Manifest:
    subject = fields.get("subject")
    return Manifest(
        Descriptor.from_json(fields.required("config")),
        tuple(Descriptor.from_json(layer) for layer in fields.required("layers").array()),
        media_type=kind,
        annotations=fields.string_map("annotations"),
        artifact_type=fields.text_or_none("artifactType"),
        subject=Descriptor.from_json(subject) if subject else None,
        extra=fields.extra(),
    )


def _index(fields: Fields, kind: str) -> Index:
    subject = fields.get("subject")
    return Index(
        tuple(Descriptor.from_json(entry) for entry in fields.required("manifests").array()),
        media_type=kind,
        annotations=fields.string_map("annotations"),
        artifact_type=fields.text_or_none("artifactType"),
        subject=Descriptor.from_json(subject) if subject else None,
        extra=fields.extra(),
    )
