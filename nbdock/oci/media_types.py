"""Media types of both families: what Docker writes and what the OCI specifies.

    >>> compression_of(MediaType.OCI_LAYER_ZSTD), compression_of(MediaType.DOCKER_LAYER_GZIP)
    ('zstd', 'gzip')
    >>> to_oci(MediaType.DOCKER_MANIFEST) == MediaType.OCI_MANIFEST
    True

The families say the same things under different names; a manifest must not mix them, so there is
a translation both ways. A media type that is not listed here is not an error anywhere: documents
may mention any.
"""

from __future__ import annotations

from typing import Final, Literal

from nbdock.errors import InvalidValueError

__all__ = [
    "Compression",
    "MediaType",
    "compression_of",
    "is_config",
    "is_foreign_layer",
    "is_index",
    "is_layer",
    "is_manifest",
    "layer_media_type",
    "to_docker",
    "to_oci",
]  # fmt: skip

Compression = Literal["none", "gzip", "zstd"]
"""How a layer's tar is compressed."""


class MediaType:
    """The media types that nbdock knows, as text."""

    OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
    OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
    OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
    OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
    OCI_LAYER_GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
    OCI_LAYER_ZSTD: Final = "application/vnd.oci.image.layer.v1.tar+zstd"
    OCI_FOREIGN_LAYER: Final = "application/vnd.oci.image.layer.nondistributable.v1.tar"
    OCI_FOREIGN_LAYER_GZIP: Final = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    OCI_FOREIGN_LAYER_ZSTD: Final = "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"
    OCI_EMPTY: Final = "application/vnd.oci.empty.v1+json"
    OCI_ARTIFACT_MANIFEST: Final = "application/vnd.oci.artifact.manifest.v1+json"

    DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
    DOCKER_MANIFEST_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
    DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
    DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"
    DOCKER_LAYER_GZIP: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    DOCKER_LAYER_ZSTD: Final = "application/vnd.docker.image.rootfs.diff.tar.zstd"
    DOCKER_FOREIGN_LAYER: Final = "application/vnd.docker.image.rootfs.foreign.diff.tar"
    DOCKER_FOREIGN_LAYER_GZIP: Final = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    DOCKER_FOREIGN_LAYER_ZSTD: Final = "application/vnd.docker.image.rootfs.foreign.diff.tar.zstd"
    DOCKER_PLUGIN_CONFIG: Final = "application/vnd.docker.plugin.v1+json"
    DOCKER_SCHEMA1: Final = "application/vnd.docker.distribution.manifest.v1+json"
    DOCKER_SCHEMA1_SIGNED: Final = "application/vnd.docker.distribution.manifest.v1+prettyjws"

    IN_TOTO: Final = "application/vnd.in-toto+json"
    """An attestation (provenance, SBOM), where an image would have a layer."""


_LAYERS: Final[dict[str, tuple[str, Compression]]] = {
    # The OCI's name: (Docker's name, compression).
    MediaType.OCI_LAYER: (MediaType.DOCKER_LAYER, "none"),
    MediaType.OCI_LAYER_GZIP: (MediaType.DOCKER_LAYER_GZIP, "gzip"),
    MediaType.OCI_LAYER_ZSTD: (MediaType.DOCKER_LAYER_ZSTD, "zstd"),
    MediaType.OCI_FOREIGN_LAYER: (MediaType.DOCKER_FOREIGN_LAYER, "none"),
    MediaType.OCI_FOREIGN_LAYER_GZIP: (MediaType.DOCKER_FOREIGN_LAYER_GZIP, "gzip"),
    MediaType.OCI_FOREIGN_LAYER_ZSTD: (MediaType.DOCKER_FOREIGN_LAYER_ZSTD, "zstd"),
}
_TO_DOCKER: Final[dict[str, str]] = {
    MediaType.OCI_MANIFEST: MediaType.DOCKER_MANIFEST,
    MediaType.OCI_INDEX: MediaType.DOCKER_MANIFEST_LIST,
    MediaType.OCI_CONFIG: MediaType.DOCKER_CONFIG,
    **{oci: docker for oci, (docker, _) in _LAYERS.items()},
}
_TO_OCI: Final = {docker: oci for oci, docker in _TO_DOCKER.items()}
_COMPRESSIONS: Final[dict[str, Compression]] = {
    name: compression
    for oci, (docker, compression) in _LAYERS.items()
    for name in (oci, docker)
}  # fmt: skip


def is_manifest(media_type: str) -> bool:
    """Whether it is the manifest of one image."""
    return media_type in (MediaType.OCI_MANIFEST, MediaType.DOCKER_MANIFEST)


def is_index(media_type: str) -> bool:
    """Whether it is a list of manifests: an OCI index or a Docker manifest list."""
    return media_type in (MediaType.OCI_INDEX, MediaType.DOCKER_MANIFEST_LIST)


def is_config(media_type: str) -> bool:
    """Whether it is the configuration of an image (not of an artifact or a plugin)."""
    return media_type in (MediaType.OCI_CONFIG, MediaType.DOCKER_CONFIG)


def is_layer(media_type: str) -> bool:
    """Whether it is a layer that nbdock can read, foreign ones included."""
    return media_type in _COMPRESSIONS


def is_foreign_layer(media_type: str) -> bool:
    """Whether it is a layer whose bytes are not in the registry but at the descriptor's URLs."""
    return is_layer(media_type) and (
        ".nondistributable." in media_type or ".foreign." in media_type
    )


def compression_of(media_type: str) -> Compression:
    """How a blob of this media type is compressed; documents are not.

    Raises
    ------
    InvalidValueError
        A layer that nbdock cannot read, such as an encrypted one.
    """
    known = _COMPRESSIONS.get(media_type)
    if known:
        return known
    if media_type.startswith(
        ("application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs.")
    ):
        encrypted = media_type.endswith("+encrypted")
        raise InvalidValueError(
            f"nbdock cannot read layers of the media type {media_type!r}.",
            value=media_type,
            hint="The layer is encrypted; decrypt the image first." if encrypted else None,
        )
    return "none"


def layer_media_type(compression: Compression, *, family: Literal["oci", "docker"] = "oci") -> str:
    """The media type of a layer with this compression."""
    oci = {
        "none": MediaType.OCI_LAYER,
        "gzip": MediaType.OCI_LAYER_GZIP,
        "zstd": MediaType.OCI_LAYER_ZSTD,
    }[compression]
    return oci if family == "oci" else to_docker(oci)


def to_oci(media_type: str) -> str:
    """The OCI's name for one of Docker's types; any other as it is."""
    return _TO_OCI.get(media_type, media_type)


def to_docker(media_type: str) -> str:
    """Docker's name for one of the OCI's types; any other as it is."""
    return _TO_DOCKER.get(media_type, media_type)
