"""Layers written member by member with `tarfile`, and images made of them in the default store.

image = make_image([tar([file("etc/motd", b"hi")]), tar([whiteout("etc/motd")])])
"""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from collections.abc import Iterable, Mapping
from typing import Any

from nbdock.content import BlobStore
from nbdock.images import Image
from nbdock.oci import Descriptor, Digest, ImageConfig, Manifest, MediaType

Member = tuple[tarfile.TarInfo, bytes]


def member(name: str | bytes, kind: bytes, data: bytes = b"", **facts: Any) -> Member:
    """Anything that a tar can hold; `facts` are attributes of `tarfile.TarInfo`."""
    info = tarfile.TarInfo(name if isinstance(name, str) else os.fsdecode(name))
    info.type, info.size = kind, len(data)
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    for key, value in facts.items():
        setattr(info, key, value)
    return info, data


def file(name: str | bytes, data: bytes = b"", **facts: Any) -> Member:
    return member(name, tarfile.REGTYPE, data, **facts)


def directory(name: str | bytes, **facts: Any) -> Member:
    return member(name, tarfile.DIRTYPE, **facts)


def symlink(name: str, target: str, **facts: Any) -> Member:
    return member(name, tarfile.SYMTYPE, linkname=target, **facts)


def hardlink(name: str, target: str, **facts: Any) -> Member:
    return member(name, tarfile.LNKTYPE, linkname=target, **facts)


def whiteout(name: str) -> Member:
    above, slash, last = name.rpartition("/")
    return file(f"{above}{slash}.wh.{last}")


def opaque(name: str) -> Member:
    return file(f"{name}/.wh..wh..opq")


def tar(members: Iterable[Member]) -> bytes:
    """A tar of the members, in their order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def make_image(
    layers: list[bytes],
    *,
    compressed: bool = False,
    plain: bool = True,
    config: Mapping[str, Any] | None = None,
) -> Image:
    """An image whose layers are in the store, as tars and compressed as asked for."""
    store = BlobStore.default()
    made = []
    for data in layers:
        blob = gzip.compress(data, mtime=0) if compressed else data
        if plain:
            store.add(data)
        kind = MediaType.OCI_LAYER_GZIP if compressed else MediaType.OCI_LAYER
        made.append(Descriptor(kind, store.add(blob), len(blob)))
    diff_ids = tuple(Digest.of(data) for data in layers)
    text = ImageConfig("amd64", "linux", diff_ids=diff_ids, **(config or {})).to_bytes()
    manifest = Manifest(
        config=Descriptor(MediaType.OCI_CONFIG, store.add(text), len(text)), layers=tuple(made)
    )
    store.add(manifest.to_bytes())
    return Image(store, manifest.descriptor(), "x", "1")
