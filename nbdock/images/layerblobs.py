"""The same layer, uncompressed or compressed: whichever form is asked for, made once.

A layer is one tar (its diff ID); registries and layouts hold it compressed. Both forms are blobs,
and the cache remembers which belongs to which.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import BinaryIO

from nbdock import settings
from nbdock.content import BlobStore, LayerCache, compressor, open_decompressed
from nbdock.errors import DigestMismatchError
from nbdock.oci import Descriptor, Digest, MediaType

__all__ = ["ensure_compressed", "ensure_uncompressed", "keep_tar"]

_TAR_END_BYTES = 1024


def ensure_uncompressed(store: BlobStore, descriptor: Descriptor, diff_id: Digest) -> Descriptor:
    """The layer's tar as a blob of the store, decompressed and verified if it was not there yet.

    Raises
    ------
    DigestMismatchError
        The blob does not hold the tar that the image's configuration promises.
    """
    if descriptor.digest == diff_id:
        if not store.has(diff_id):
            store.open(diff_id).close()  # raises the store's own error
    elif not _is_whole(store, diff_id):
        with store.open(descriptor.digest) as blob:
            keep_tar(store, blob, diff_id, what=f"The layer {descriptor.digest}")
        with LayerCache(store) as cache:
            cache.put_diff_id(descriptor.digest, diff_id)
    return Descriptor(MediaType.OCI_LAYER, diff_id, store.size_of(diff_id))


def _is_whole(store: BlobStore, diff_id: Digest) -> bool:
    """Whether the store has a tar, and with its end: nothing says what its size should be.

    A power cut may take the end of a file that nobody waited for (see `nbdock.content`).
    """
    if not store.has(diff_id):
        return False
    with store.open(diff_id) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        end = os.pread(file.fileno(), _TAR_END_BYTES, max(0, size_bytes - _TAR_END_BYTES))
    return len(end) == _TAR_END_BYTES and not any(end)


def keep_tar(
    store: BlobStore, blob: BinaryIO | Iterable[bytes | memoryview], diff_id: Digest, *, what: str
) -> None:
    """Put a layer's tar into the store, decompressed if it is compressed, and verified.

    Raises
    ------
    DigestMismatchError
        It is not the tar that the image's configuration promises; nothing was kept.
    """
    with store.writer() as writer:
        ratio = settings.current().decompression_ratio_limit
        stream = open_decompressed(blob, limit_ratio=ratio)
        while piece := stream.read(1 << 20):
            writer.write(piece)
        try:
            writer.commit(expected=diff_id)
        except DigestMismatchError as error:
            raise DigestMismatchError(
                f"{what} unpacks to {error.actual}, but the image's configuration says {diff_id}.",
                digest=str(diff_id),
                actual=error.actual,
                hint="The image is damaged or was tampered with; fetch or save it again.",
            ) from error


def ensure_compressed(
    store: BlobStore, cache: LayerCache, layer: Descriptor, diff_id: Digest, algorithm: str
) -> Descriptor:
    """The layer compressed with ``"gzip"`` or ``"zstd"``, as a blob of the store."""
    known = cache.compressed(diff_id, algorithm)
    if known is not None and store.has(known.digest, known.size_bytes):
        return known
    plain = ensure_uncompressed(store, layer, diff_id)
    with store.open(plain.digest) as source, store.writer() as writer:
        with compressor(algorithm, writer.write) as stream:
            while piece := source.read(1 << 20):
                stream.write(piece)
            stream.finish()
        digest, size_bytes = writer.commit()
    media_type = MediaType.OCI_LAYER_GZIP if algorithm == "gzip" else MediaType.OCI_LAYER_ZSTD
    made = Descriptor(media_type, digest, size_bytes)
    cache.put_compressed(diff_id, algorithm, made)
    cache.put_diff_id(digest, diff_id)
    return made
