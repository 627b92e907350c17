"""Images in an OCI layout: ``index.json``, which leads to manifests, and blobs by their digests."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence

from nbdock.content import BlobStore
from nbdock.errors import (
    ArchiveError,
    DigestMismatchError,
    InvalidManifestError,
    SizeMismatchError,
)
from nbdock.filetree import Entry
from nbdock.images.imagesource import FoundImage, ImageSource, document, store_layer
from nbdock.oci import (
    Descriptor,
    Digest,
    ImageConfig,
    Index,
    Manifest,
    Platform,
    compression_of,
    is_config,
    parse_manifest,
)
from nbdock.packages import Progress

__all__ = ["OciLayout"]

_REFERENCE_NAME = "org.opencontainers.image.ref.name"
_MAX_NESTING = 4
_CONTAINERD_NAME = "io.containerd.image.name"


class OciLayout:
    """The images of an OCI layout. Manifests and blobs go into the store as they are."""

    def __init__(self, source: ImageSource) -> None:
        self._source = source

    def found(self) -> Iterator[FoundImage]:
        """The images: those for this machine first, in indexes too."""
        index = Index.parse(document(self._source, "index.json"))
        yield from self._within(index, depth=0, names=())

    def _within(
        self, index: Index, *, depth: int, names: tuple[str, ...], top: Descriptor | None = None
    ) -> Iterator[FoundImage]:
        for descriptor in self._for_platform(index.manifests):
            own = _names(descriptor.annotations) or names
            data = self._blob_document(descriptor)
            inner = parse_manifest(data, descriptor.media_type)
            if isinstance(inner, Manifest):
                whole = functools.partial(self._take_index, top) if top is not None else None
                yield FoundImage(own, functools.partial(self._take, inner, descriptor, data), whole)
            elif depth < _MAX_NESTING:
                if depth == 0:
                    top = descriptor if self._is_whole(inner, depth=1) else None
                yield from self._within(inner, depth=depth + 1, names=own, top=top)
            else:
                raise InvalidManifestError(
                    f"{self._source.where!r} holds indexes in indexes, more than four deep.",
                    value=str(descriptor.digest),
                )

    def _is_whole(self, index: Index, *, depth: int) -> bool:
        """Whether everything that an index names is in the archive."""
        for descriptor in index.manifests:
            if depth > _MAX_NESTING or not self._source.find(_blob_name(descriptor.digest)):
                return False
            inner = parse_manifest(self._blob_document(descriptor), descriptor.media_type)
            if isinstance(inner, Index) and not self._is_whole(inner, depth=depth + 1):
                return False
        return True

    def _take_index(
        self, descriptor: Descriptor, store: BlobStore, progress: Progress | None
    ) -> Descriptor:
        """Take an index that is whole, and all that it leads to."""
        data = self._blob_document(descriptor)
        index = Index.parse(data, descriptor.media_type)
        for named in index.manifests:
            inner_data = self._blob_document(named)
            inner = parse_manifest(inner_data, named.media_type)
            if isinstance(inner, Index):
                self._take_index(named, store, progress)
            elif is_config(inner.config.media_type) and not named.is_attestation:
                self._take(inner, named, inner_data, store, progress)
            else:
                for blob in (*inner.layers, inner.config):
                    self._blob(blob, store)
                store.add(inner_data)
        store.add(data)
        return Descriptor(descriptor.media_type, descriptor.digest, len(data))

    def _for_platform(self, manifests: Sequence[Descriptor]) -> Sequence[Descriptor]:
        """Those for this machine first, and of platforms only what is really there."""
        here = Platform.host()
        present = [m for m in manifests if self._source.find(_blob_name(m.digest))]
        real = [m for m in present if m.platform is None or m.platform.os != "unknown"]
        return sorted(real, key=lambda m: m.platform is not None and not here.matches(m.platform))

    def _blob_document(self, descriptor: Descriptor) -> bytes:
        data = document(self._source, _blob_name(descriptor.digest))
        actual = Digest.of(data, algorithm=descriptor.digest.algorithm)
        if actual != descriptor.digest:
            raise DigestMismatchError(
                f"{self._source.where!r}: the document {descriptor.digest} is {actual}.",
                digest=str(descriptor.digest),
                actual=str(actual),
                hint="The archive is damaged or was tampered with; save it again.",
            )
        return data

    def _take(
        self,
        manifest: Manifest,
        descriptor: Descriptor,
        data: bytes,
        store: BlobStore,
        progress: Progress | None,
    ) -> Descriptor:
        config_data = self._blob_document(manifest.config)
        config = ImageConfig.parse(config_data)
        if len(config.diff_ids) != len(manifest.layers):
            raise InvalidManifestError(
                f"{self._source.where!r}: the manifest has {len(manifest.layers)} layers, "
                f"the configuration {len(config.diff_ids)}.",
                value=str(descriptor.digest),
            )
        for position, (layer, diff_id) in enumerate(
            zip(manifest.layers, config.diff_ids, strict=True)
        ):
            if progress:
                progress("Reading layers", position, len(manifest.layers))
            self._layer(layer, diff_id, store)
        store.add(config_data)
        store.add(data)
        return Descriptor(descriptor.media_type, descriptor.digest, len(data))

    def _layer(self, layer: Descriptor, diff_id: Digest, store: BlobStore) -> None:
        if store.has(layer.digest, layer.size_bytes) and store.has(diff_id):
            return
        if compression_of(layer.media_type) != "none":
            self._blob(layer, store)
        name = _blob_name(layer.digest)
        store_layer(self._entry(layer), diff_id, store, f"{name} in {self._source.where!r}")

    def _blob(self, blob: Descriptor, store: BlobStore) -> None:
        """Take a blob as it is."""
        content = self._entry(blob).content
        assert content is not None
        with store.writer(algorithm=blob.digest.algorithm) as writer:
            for piece in content.chunks():
                writer.write(piece)
            writer.commit(expected=blob.digest)

    def _entry(self, blob: Descriptor) -> Entry:
        """A blob in the archive, which must be there and of its size."""
        name = _blob_name(blob.digest)
        entry = self._source.find(name)
        if entry is None or entry.content is None:
            raise ArchiveError(
                f"{self._source.where!r} has no {name}, which its manifest names.",
                hint="The archive is incomplete; save it again.",
            )
        if entry.size_bytes != blob.size_bytes:
            raise SizeMismatchError(
                f"{name} in {self._source.where!r} has {entry.size_bytes} bytes, "
                f"the manifest says {blob.size_bytes}.",
                expected_bytes=blob.size_bytes,
                actual_bytes=entry.size_bytes,
                digest=str(blob.digest),
            )
        return entry


def _blob_name(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _names(annotations: Mapping[str, str]) -> tuple[str, ...]:
    if name := annotations.get(_CONTAINERD_NAME):
        return (name,)
    tag = annotations.get(_REFERENCE_NAME, "")
    # A layout's reference is a tag by itself in some tools' layouts, a whole name in others'.
    return (tag,) if tag else ()
