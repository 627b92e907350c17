"""Bytes at rest: the blob store (an OCI image layout on disk), codecs, the layer cache."""

from nbdock.content.store import BadBlob, BlobStore
from nbdock.content.writer import BlobWriter, Written

from nbdock.content.index import StoredImage  # isort: skip

__all__ = ["BlobStore", "BlobWriter", "Written", "StoredImage", "BadBlob"]  # noqa: RUF022
