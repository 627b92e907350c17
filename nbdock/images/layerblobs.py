"""The same layer, uncompressed or compressed: whichever form is asked for, made once.

A layer is one tar (its diff ID); registries and layouts hold it compressed. Both forms are blobs,
and the cache remembers which belongs to which.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

from nbdock import settings
from nbdock.content import BlobStore, LayerCache, compressor, open_decompressed
from nbdock.errors import DigestMismatchError
from nbdock.oci import Descriptor, Digest, MediaType

__all__ = ["ensure_compressed", "ensure_uncompressed", "keep_tar"]


def ensure_uncompressed(store: BlobStore, descriptor: Descriptor, diff_id: Digest) -> Descriptor:
    """The layer's tar as a blob of the store, decompressed and verified if it was not there yet.

    Raises
    ------
    DigestMismatchError
        The blob does not hold the tar that the image's configuration promises.
    """
    if not store.has(diff_id):
        if descriptor.digest == diff_id:
            store.open(diff_id).close()  # raises the store's own error
        with store.open(descriptor.digest) as blob:
            keep_tar(store, blob, diff_id, what=f"The layer {descriptor.digest}")
    return Descriptor(MediaType.OCI_LAYER, diff_id, store.size_of(diff_id))


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
    return made
