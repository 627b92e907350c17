"""`registry_table` and `index_table`: what is in a registry, from manifests alone.

    nbdock.registry_table("docker.io/library/redis", tags="7*")
    nbdock.index_table("redis:7")

No layer is fetched, so a hundred images are compared in seconds.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nbdock.concurrency import run
from nbdock.oci import Platform, Reference
from nbdock.packages import Progress
from nbdock.tables.marking import table_function
from nbdock.tables.remote import RemoteImage, open_registries
from nbdock.tables.subjects import expect_platform, expect_reference

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["index_table", "registry_table"]


@table_function
def registry_table(
    reference: str | Reference,
    *,
    tags: str | Sequence[str] | None = None,
    platform: str | Platform | None = None,
    tls_verify: bool = True,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """The tags of a repository, and what they stand for.

    Parameters
    ----------
    reference
        The repository: ``redis``, ``registry.example/team/app``. With a tag, only that one.
    tags
        Which tags: a pattern such as ``"7*"``, or a list of patterns. By default all.
    platform
        Which image of an index the size is that of: ``"linux/arm64"``. By default the one for this
        machine, or the first if there is none.
    tls_verify
        False accepts any certificate, and a registry without TLS.
    progress
        Called with what is being done, how many are done, and how many there are.

    Returns
    -------
    pandas.DataFrame
        Indexed by ``tag``, sorted as people count (``1.9`` before ``1.10``), with the columns

        - ``platforms``: what it is there for, as a list,
        - ``platform``: which of them the next columns are about; empty for what is no image,
        - ``created``: when it was made, in UTC,
        - ``layers``: how many it has,
        - ``size_bytes``: bytes of its layers as they are in the registry, mostly compressed,
        - ``digest``: what the tag stands for: an index, or the manifest of one image,
        - ``media_type``: of that.

        What a damaged or incomplete image does not say is missing; digest and media type are empty
        if there is nothing behind a tag.

    Raises
    ------
    ManifestNotFoundError
        There is no such repository.
    AuthenticationError, RegistryError, TransportError
        The registry refuses, or cannot be reached.
    """
    import pandas as pd

    where = expect_reference(reference)
    chosen = expect_platform(platform)
    patterns = [tags] if isinstance(tags, str) else tags

    async def read() -> tuple[list[str], list[RemoteImage]]:
        async with open_registries(tls_verify=tls_verify, progress=progress) as registries:
            if where.digest is not None or (where.tag is not None and patterns is None):
                names = [where.tag or ""]
                wanted = [where]
            else:
                found = await registries.tags(where)
                names = sorted((tag for tag in found if _is_wanted(tag, patterns)), key=_in_order)
                wanted = [where.with_tag(name) for name in names]
            return names, await registries.images(wanted, platform=chosen, lenient=True)

    names, images = run(read())
    table = _documents(images)
    platforms = pd.Series([list(image.platforms) for image in images], dtype="object")
    table.insert(0, "platforms", platforms)
    return table.set_axis(pd.Index(names, name="tag", dtype="str"))


def _is_wanted(tag: str, patterns: Sequence[str] | None) -> bool:
    return patterns is None or any(fnmatch.fnmatchcase(tag, pattern) for pattern in patterns)


def _in_order(tag: str) -> tuple[object, ...]:
    """What tags are sorted by: texts as texts, and the numbers between them as numbers."""
    texts_and_numbers = re.split(r"([0-9]+)", tag)
    return (*(int(x) if i % 2 else x for i, x in enumerate(texts_and_numbers)), tag)


@table_function
def index_table(
    reference: str | Reference, *, tls_verify: bool = True, progress: Progress | None = None
) -> pd.DataFrame:
    """The images behind one name, one for each platform.

    Parameters
    ----------
    reference
        ``redis:7``; without tag and digest it means ``latest``.
    tls_verify, progress
        As for `registry_table`.

    Returns
    -------
    pandas.DataFrame
        Indexed by ``position`` in the index, attestations left out; for a name that stands for one
        image, that one. The columns are

        - ``platform``: as the index says,
        - ``created``, ``layers``, ``size_bytes``: as in `registry_table`,
        - ``digest``: of the image's manifest,
        - ``media_type``: of that.

    Raises
    ------
    ManifestNotFoundError
        There is no such image; the hint names the nearest tags.
    AuthenticationError, RegistryError, TransportError
        The registry refuses, or cannot be reached.
    """
    import pandas as pd

    where = expect_reference(reference)

    async def read() -> list[RemoteImage]:
        async with open_registries(tls_verify=tls_verify, progress=progress) as registries:
            return await registries.index(where)

    images = run(read())
    table = _documents(images)
    table["platform"] = pd.Series([(*i.platforms, "")[0] for i in images], dtype="str")
    return table.set_axis(pd.RangeIndex(len(images), name="position"))


def _documents(images: Sequence[RemoteImage]) -> pd.DataFrame:
    """The columns that both tables have."""
    import pandas as pd

    described = [image.descriptor for image in images]
    configs = [image.config for image in images]
    manifests = [image.manifest for image in images]
    # Images that are made reproducibly are of the year 1970, or even 1: no nanoseconds.
    created = [config.created_at if config else None for config in configs]
    return pd.DataFrame(
        {
            "platform": pd.Series(
                [str(c.platform.normalised()) if c else "" for c in configs], dtype="str"
            ),
            "created": pd.Series(created, dtype="datetime64[us, UTC]"),
            "layers": pd.Series([len(m.layers) if m else None for m in manifests], dtype="Int64"),
            "size_bytes": pd.Series(
                [sum(b.size_bytes for b in m.layers) if m else None for m in manifests],
                dtype="Int64",
            ),
            "digest": pd.Series([str(d.digest) if d else "" for d in described], dtype="str"),
            "media_type": pd.Series(
                [d.media_type if d else "" for d in described], dtype="category"
            ),
        }
    )
