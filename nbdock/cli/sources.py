"""Images that commands are given by name: those in nbdock's store before all others.

nbdock build redis.nix          # puts redis:7 into the store
nbdock layers redis:7           # and this is it: no registry is asked
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from nbdock.cli.completion import image_names

if TYPE_CHECKING:
    from nbdock.images import Image
    from nbdock.packages import Progress

__all__ = ["from_store", "open_source"]

_IN_ENGINE = "docker-daemon:"


def from_store(name: str) -> Image | str:
    """The image that has a name in the store; else what was given."""
    if os.path.exists(name) or name not in image_names():
        return name
    from nbdock.content import BlobStore
    from nbdock.errors import NbdockError
    from nbdock.images import Image

    store = BlobStore.default()
    descriptor = store.get_image(name)
    if descriptor is None:
        return name
    before, colon, tag = name.rpartition(":")
    is_tagged = bool(colon) and "/" not in tag
    image = Image(store, descriptor, *((before, tag) if is_tagged else (name, "")))
    try:
        # Not so for an index of several platforms: which of them, its registry or archive says.
        return image if image.manifest else name
    except NbdockError:
        return name


async def open_source(source: str, *, progress: Progress | None, **how: Any) -> Image:
    """What a command reads: an image of the store, an archive, or one of a registry or an engine.

    `how` is for `nbdock.load_image`.
    """
    import nbdock

    image = from_store(source)
    if not isinstance(image, str):
        return image
    return await nbdock.load_image(image.removeprefix(_IN_ENGINE), progress=progress, **how)
