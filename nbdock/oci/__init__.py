"""What an image is: digests, references, platforms, manifests, configs. Values, no I/O.

>>> from nbdock.oci import Reference
>>> str(Reference.parse("redis"))
'docker.io/library/redis'
"""

from nbdock.oci.archive import ArchiveManifest
from nbdock.oci.config import History, ImageConfig
from nbdock.oci.container import ContainerConfig, Healthcheck, merge_env
from nbdock.oci.descriptor import EMPTY_DESCRIPTOR, Descriptor
from nbdock.oci.digest import Digest
from nbdock.oci.document import load as load_json
from nbdock.oci.frozen import FrozenMap
from nbdock.oci.manifest import Index, Manifest, parse_manifest
from nbdock.oci.media_types import (
    Compression,
    MediaType,
    compression_of,
    is_config,
    is_foreign_layer,
    is_index,
    is_layer,
    is_manifest,
    layer_media_type,
    to_docker,
    to_oci,
)
from nbdock.oci.platforms import Platform
from nbdock.oci.reference import Reference

__all__ = [  # noqa: RUF022 - in order of importance
    "Digest",
    "Reference",
    "Platform",
    "Descriptor",
    "Manifest",
    "Index",
    "parse_manifest",
    "ImageConfig",
    "ContainerConfig",
    "History",
    "Healthcheck",
    "merge_env",
    "ArchiveManifest",
    "MediaType",
    "Compression",
    "compression_of",
    "is_layer",
    "is_foreign_layer",
    "is_manifest",
    "is_index",
    "is_config",
    "layer_media_type",
    "to_oci",
    "to_docker",
    "EMPTY_DESCRIPTOR",
    "FrozenMap",
    "load_json",
]
