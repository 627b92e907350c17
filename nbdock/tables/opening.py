"""The images that tables of files are about, in the store: loaded, pulled or already there.

(image,) = open_images(["redis.tar"], platform=None, tls_verify=True, progress=None)
"""

from __future__ import annotations

from collections.abc import Sequence

from nbdock.concurrency import run
from nbdock.images import Image, load_image, pull_image
from nbdock.oci import Platform, Reference
from nbdock.packages import Progress
from nbdock.showing import watched_plain
from nbdock.tables.subjects import EngineImage, Subject, expect_platform, to_subject

__all__ = ["open_image", "open_images"]


def open_images(
    images: Sequence[Subject],
    *,
    platform: str | Platform | None = None,
    tls_verify: bool = True,
    progress: Progress | None = None,
) -> list[Image]:
    """Take images into the store, whatever they are given as (see `to_subject`)."""
    subjects = [to_subject(image) for image in images]
    wanted = expect_platform(platform)

    async def fetch() -> dict[Reference | EngineImage | str, Image]:
        found: dict[Reference | EngineImage | str, Image] = {}
        for subject in subjects:
            if isinstance(subject, Image) or subject in found:
                continue
            if isinstance(subject, Reference):
                found[subject] = await pull_image(
                    str(subject), platform=wanted, tls_verify=tls_verify, progress=progress
                )
            else:
                text = subject.name if isinstance(subject, EngineImage) else subject
                found[subject] = await load_image(text, progress=progress)
        return found

    # Images that are here need no core, so that tables of them can be made anywhere.
    is_here = all(isinstance(subject, Image) for subject in subjects)
    known = {} if is_here else run(fetch())
    return [s if isinstance(s, Image) else known[s] for s in subjects]


@watched_plain("Opened")
def open_image(
    image: Subject,
    *,
    platform: str | Platform | None = None,
    tls_verify: bool = True,
    progress: Progress | None = None,
) -> Image:
    """The same for one image."""
    return open_images([image], platform=platform, tls_verify=tls_verify, progress=progress)[0]
