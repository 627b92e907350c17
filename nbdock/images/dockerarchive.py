"""Images in a docker-archive: ``manifest.json`` names configurations and layers in the tar."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from nbdock.content import BlobStore
from nbdock.errors import ArchiveError, InvalidManifestError
from nbdock.images.imagesource import FoundImage, ImageSource, document, store_layer
from nbdock.oci import ArchiveManifest, Descriptor, Digest, ImageConfig, Manifest, MediaType
from nbdock.packages import Progress

__all__ = ["DockerArchive"]


class DockerArchive:
    """The images of a docker-archive. Its layers go into the store uncompressed."""

    def __init__(self, source: ImageSource) -> None:
        self._source = source

    def found(self) -> Iterator[FoundImage]:
        """The images, in the order of ``manifest.json``."""
        data = document(self._source, "manifest.json")
        for one in ArchiveManifest.parse(data):
            yield FoundImage(tuple(one.repo_tags), functools.partial(self._take, one))

    def _take(
        self, one: ArchiveManifest, store: BlobStore, progress: Progress | None
    ) -> Descriptor:
        data = document(self._source, one.config)
        config = ImageConfig.parse(data)
        if len(config.diff_ids) != len(one.layers):
            raise InvalidManifestError(
                f"{self._source.where!r}: manifest.json lists {len(one.layers)} layers, "
                f"the configuration {len(config.diff_ids)}.",
                value=one.config,
            )
        layers = []
        for position, (name, diff_id) in enumerate(zip(one.layers, config.diff_ids, strict=True)):
            if progress:
                progress("Reading layers", position, len(one.layers))
            layers.append(self._layer(name, diff_id, store))
        digest = store.add(data)
        manifest = Manifest(
            config=Descriptor(MediaType.OCI_CONFIG, digest, len(data)), layers=tuple(layers)
        )
        store.add(manifest.to_bytes())
        return manifest.descriptor()

    def _layer(self, name: str, diff_id: Digest, store: BlobStore) -> Descriptor:
        if not store.has(diff_id):
            entry = self._source.find(name)
            if entry is None or entry.content is None:
                raise ArchiveError(
                    f"{self._source.where!r} has no {name}, which manifest.json names as a layer.",
                    hint="The archive is incomplete; save it again.",
                )
            store_layer(entry, diff_id, store, f"{name} in {self._source.where!r}")
        return Descriptor(MediaType.OCI_LAYER, diff_id, store.size_of(diff_id))
