"""Bytes at rest: the blob store (an OCI image layout on disk), codecs, the layer cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbdock.content.cache import LayerCache, LayerRecord
from nbdock.content.codecs import Codec, codec_named, codec_of_name, detect
from nbdock.content.compress import Compressor, compressor, default_level, encoder_version
from nbdock.content.faults import storage_error
from nbdock.content.index import StoredImage
from nbdock.content.landing import landing
from nbdock.content.lockfile import only_one, remove_unheld
from nbdock.content.store import BlobStore
from nbdock.content.temporary import TemporaryFile, sweep
from nbdock.content.writer import BlobWriter, Written
from nbdock.later import names_of

if TYPE_CHECKING:
    from nbdock.content.collecting import UnusedBlob, collect, unused_blobs
    from nbdock.content.damage import BadBlob
    from nbdock.content.decompress import DecompressedStream, open_decompressed
    from nbdock.content.layercheck import LayerCheck
    from nbdock.content.requirements import REQUIREMENTS

__all__ = [  # noqa: RUF022  (in order of importance)
    "BlobStore",
    "BlobWriter",
    "Written",
    "landing",
    "only_one",
    "remove_unheld",
    "StoredImage",
    "BadBlob",
    "unused_blobs",
    "collect",
    "UnusedBlob",
    "LayerCache",
    "LayerRecord",
    "LayerCheck",
    "open_decompressed",
    "DecompressedStream",
    "compressor",
    "Compressor",
    "default_level",
    "encoder_version",
    "storage_error",
    "TemporaryFile",
    "sweep",
    "Codec",
    "detect",
    "codec_named",
    "codec_of_name",
    "REQUIREMENTS",
]

__getattr__, _ = names_of(
    __name__,
    {
        "collecting": "UnusedBlob collect unused_blobs",
        "damage": "BadBlob",
        "decompress": "DecompressedStream open_decompressed",
        "layercheck": "LayerCheck",
        "requirements": "REQUIREMENTS",
    },
)
