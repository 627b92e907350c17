"""Descriptors: how one piece of content points at another.

>>> layer = Descriptor.of(b"bytes of a layer", MediaType.OCI_LAYER)
>>> layer.size_bytes, layer.digest.short
(16, '8a0cfb7214e2')
>>> Descriptor.from_json(layer.to_json()) == layer
True
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Final

from nbdock.errors import InvalidDigestError, InvalidManifestError
from nbdock.oci.digest import Digest
from nbdock.oci.document import MAX_SIZE_BYTES, Node
from nbdock.oci.frozen import FrozenMap, freeze
from nbdock.oci.media_types import MediaType
from nbdock.oci.platforms import Platform

__all__ = ["EMPTY_DESCRIPTOR", "Descriptor", "digest_at"]

_NO_ANNOTATIONS: FrozenMap[str] = FrozenMap()
_NO_EXTRA: FrozenMap[Any] = FrozenMap()
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][\w!#$&^.+-]{0,126}/[A-Za-z0-9][\w!#$&^.+-]{0,126}"
                         r"(?:[ \t]*;[ -~]*)?", re.ASCII)  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class Descriptor:
    """Media type, digest and size of content, and what a document says about it besides.

    Attributes
    ----------
    media_type
        What the content is; any type, known to nbdock or not.
    digest, size_bytes
        Which bytes they are, and how many. Check both before using the bytes.
    annotations
        Text by key (``org.opencontainers.image.ref.name``).
    platform
        What an image in an index runs on.
    urls
        Where else the bytes may be (foreign layers).
    data
        The bytes themselves, embedded.
    artifact_type
        The type of the artifact that a manifest describes.
    extra
        Fields of a parsed document that nbdock does not know, in their order.
    """

    media_type: str
    digest: Digest
    size_bytes: int
    _: dataclasses.KW_ONLY
    annotations: Mapping[str, str] = _NO_ANNOTATIONS
    platform: Platform | None = None
    urls: tuple[str, ...] = ()
    data: bytes | None = None
    artifact_type: str | None = None
    extra: Mapping[str, Any] = _NO_EXTRA

    def __post_init__(self) -> None:
        if not _MEDIA_TYPE.fullmatch(self.media_type):
            raise InvalidManifestError(
                f"A descriptor's media type must be type/subtype, not {self.media_type[:80]!r}.",
                value=self.media_type,
            )
        if not 0 <= self.size_bytes <= MAX_SIZE_BYTES:
            raise InvalidManifestError(
                f"A descriptor's size must be from 0 to {MAX_SIZE_BYTES}, not {self.size_bytes}.",
                value=str(self.size_bytes),
            )
        object.__setattr__(self, "annotations", freeze(self.annotations))
        object.__setattr__(self, "urls", tuple(self.urls))
        object.__setattr__(self, "extra", freeze(self.extra))

    @classmethod
    def of(cls, data: bytes, media_type: str) -> Descriptor:
        """The descriptor of bytes that are at hand."""
        return cls(media_type, Digest.of(data), len(data))

    @classmethod
    def from_json(cls, node: Node | Mapping[str, Any]) -> Descriptor:
        """The descriptor that stands in a document.

        Raises
        ------
        InvalidManifestError
            A field is missing or wrong; the message has its JSON path.
        """
        fields = Node.of(node, "descriptor").fields()
        media_type = fields.required("mediaType")
        if not _MEDIA_TYPE.fullmatch(media_type.string()):
            raise media_type.fault(f"{media_type.string()[:80]!r} is not a media type.")
        digest = digest_at(fields.required("digest"))
        size_bytes = fields.required("size").integer(minimum=0)
        platform = fields.get("platform")
        data = fields.get("data")
        return cls(
            media_type.string(),
            digest,
            size_bytes,
            annotations=fields.string_map("annotations"),
            platform=Platform.from_json(platform) if platform else None,
            urls=fields.strings("urls"),
            data=_embedded(data, digest, size_bytes) if data else None,
            artifact_type=fields.text_or_none("artifactType"),
            extra=fields.extra(),
        )

    def to_json(self) -> dict[str, Any]:
        """The object that stands in a document: fixed order, empty fields left out."""
        document: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size_bytes,
        }
        if self.urls:
            document["urls"] = self.urls
        if self.annotations:
            document["annotations"] = self.annotations
        if self.data is not None:
            document["data"] = base64.b64encode(self.data).decode("ascii")
        if self.platform:
            document["platform"] = self.platform.to_json()
        if self.artifact_type is not None:
            document["artifactType"] = self.artifact_type
        return document | dict(self.extra)

    @property
    def is_attestation(self) -> bool:
        """Whether it is provenance or an SBOM that BuildKit put into an index, not an image."""
        return self.annotations.get("vnd.docker.reference.type") == "attestation-manifest"


def digest_at(node: Node) -> Digest:
    """The digest that stands in a document."""
    text = node.string()
    try:
        return Digest.parse(text)
    except InvalidDigestError as error:
        raise node.fault(error.message, hint=error.hint) from None


def _embedded(node: Node, digest: Digest, size_bytes: int) -> bytes:
    try:
        data = base64.b64decode(node.string(), validate=True)
    except (binascii.Error, ValueError):
        raise node.fault("the embedded content is not base64.") from None
    if len(data) != size_bytes:
        raise node.fault(f"the embedded content has {len(data)} bytes, not {size_bytes}.")
    if digest.is_computable and Digest.of(data, algorithm=digest.algorithm) != digest:
        raise node.fault("the embedded content does not have the descriptor's digest.")
    return data


EMPTY_DESCRIPTOR: Final = dataclasses.replace(Descriptor.of(b"{}", MediaType.OCI_EMPTY), data=b"{}")
"""The content ``{}``: what an artifact has in place of a configuration."""
