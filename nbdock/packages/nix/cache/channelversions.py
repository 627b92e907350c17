"""What a channel had on the day of its list: versions by the names of packages.

versions = await channel_versions("https://releases.nixos.org/nixos/23.11/.../store-paths.xz")
versions["hello"]       # ChannelVersion(version='2.12.1', hash_parts=frozenset({...}))
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping

from nbdock.concurrency import in_worker
from nbdock.packages.nix.cache.channel import Channel
from nbdock.packages.nix.cache.channellist import StorePathList
from nbdock.packages.nix.cache.versions import version_key
from nbdock.packages.nix.storepath import split_name
from nbdock.packages.package import Progress

__all__ = ["ChannelVersion", "channel_versions"]


@dataclasses.dataclass(frozen=True, slots=True)
class ChannelVersion:
    """A package of a channel.

    Attributes
    ----------
    version
        The newest, where there are several.
    hash_parts
        Of all its store paths: its outputs, systems and versions. They change with whatever it
        was built from, so a rebuild is a change too.
    """

    version: str
    hash_parts: frozenset[str]


async def channel_versions(
    source: str | os.PathLike[str], *, progress: Progress | None = None
) -> Mapping[str, ChannelVersion]:
    """The packages in a channel's list of store paths, by their names.

    Parameters
    ----------
    source
        As for `Channel`: mostly the URL or path of a ``store-paths.xz``.

    Raises
    ------
    SourceConfigurationError, TransportError
        There is no such list, or it cannot be had.
    """
    listed = await Channel(source).load(progress=progress)
    return await in_worker(_versions, listed)


def _versions(listed: StorePathList) -> dict[str, ChannelVersion]:
    versions: dict[str, set[str]] = {}
    hashes: dict[str, set[str]] = {}
    for line in listed.data.decode().splitlines():
        full_name, _, hash_part = line.partition(" ")
        name, version = split_name(full_name)
        versions.setdefault(name, set()).add(version)
        hashes.setdefault(name, set()).add(hash_part)
    return {
        name: ChannelVersion(_newest(found), frozenset(hashes[name]))
        for name, found in versions.items()
    }


def _newest(versions: Iterable[str]) -> str:
    """The newest version, without the name of an output behind it."""
    known = sorted(versions, key=len)
    plain = [v for v in known if not any(v.startswith(f"{other}-") for other in known if other)]
    return max(plain, key=lambda version: (version_key(version), version))
