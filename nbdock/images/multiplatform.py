"""An image that is there for several platforms: the one for this machine, and all the others.

redis = await nbdock.pull_image("redis", image_tag="7", platform="all")
redis.layers, [str(image.config.platform) for image in redis.images]
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

from nbdock import settings
from nbdock.calling import checked
from nbdock.errors import ArgumentTypeError, InvalidManifestError
from nbdock.images.image import Image
from nbdock.oci import (
    Descriptor,
    Index,
    Manifest,
    Platform,
    Reference,
    is_config,
    parse_manifest,
)
from nbdock.packages import Progress
from nbdock.showing import watched

__all__ = ["MultiPlatformImage"]

_MAX_NESTING = 4


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class MultiPlatformImage(Image):
    """The image of an index for this machine's platform, with the index and all its images.

    Where one image is wanted (a base, a table, an archive) it is that for this machine; `push`
    pushes the whole index, as it is.

    Attributes
    ----------
    index_descriptor
        Of the index in `store`.
    """

    index_descriptor: Descriptor = dataclasses.field(kw_only=True)

    @functools.cached_property
    def index(self) -> Index:
        """The index, read from the store."""
        limit = settings.current().json_limit_bytes
        data = self.store.read(self.index_descriptor.digest, limit_bytes=limit)
        return Index.parse(data, self.index_descriptor.media_type)

    def everything(self) -> Iterator[tuple[Descriptor, Manifest | Index]]:
        """All that the index leads to, attestations too; what something names comes before it."""
        return self._below(self.index, depth=1)

    def _below(self, index: Index, *, depth: int) -> Iterator[tuple[Descriptor, Manifest | Index]]:
        if depth > _MAX_NESTING:
            raise InvalidManifestError(
                f"{self} is an index of indexes, more than {_MAX_NESTING} deep.", value=str(self)
            )
        limit = settings.current().json_limit_bytes
        for descriptor in index.manifests:
            data = self.store.read(descriptor.digest, limit_bytes=limit)
            found = parse_manifest(data, descriptor.media_type)
            if isinstance(found, Index):
                yield from self._below(found, depth=depth + 1)
            yield descriptor, found

    @functools.cached_property
    def images(self) -> tuple[Image, ...]:
        """One for each platform, in the order of the index."""
        return tuple(
            Image(self.store, descriptor, self.name, self.tag, arguments=self.arguments)
            for descriptor, found in self.everything()
            if isinstance(found, Manifest)
            and is_config(found.config.media_type)
            and not descriptor.is_attestation
        )

    @property
    def platforms(self) -> tuple[Platform, ...]:
        """What the images are for, in their order."""
        return tuple(image.config.platform for image in self.images)

    @checked
    @watched("Pushed")
    async def push(
        self,
        reference: str | Reference,
        *,
        compression: str | None = None,
        tls_verify: bool = True,
        progress: Progress | None = None,
    ) -> Reference:
        """Push the index and all its images, as they are: the digest stays (see `Image.push`).

        Raises
        ------
        ArgumentTypeError
            Also for a `compression`, which would make other images of them.
        """
        from nbdock.images.pushing import push_everything

        if compression is not None:
            raise ArgumentTypeError(
                "An index is pushed as it is, not compressed anew.",
                argument="compression",
                hint=f"nbdock.push_index(image.images, ..., compression={compression!r}) "
                "makes a new one.",
            )
        return await push_everything(self, reference, tls_verify=tls_verify, progress=progress)
