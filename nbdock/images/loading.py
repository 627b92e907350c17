"""`load_image`: images from docker-archives, OCI archives and layouts, and running engines.

Everything that an archive says is checked before the image is there: layers against the diff IDs
of the configuration, blobs against the digests of the manifest, and every name in every layer. An
archive is read by place, never unpacked: a member is found in it by name and streams into the
store.

Docker's archives hold, since version 25, an OCI layout beside ``manifest.json``; Docker's file is
the one that is read then, since it alone names only what is really in the archive.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import tempfile
from pathlib import Path
from typing import BinaryIO

from nbdock import settings
from nbdock.calling import checked
from nbdock.concurrency import in_worker
from nbdock.content import BlobStore, LayerCache, detect, open_decompressed, storage_error
from nbdock.errors import ArchiveError, ArgumentTypeError, ImageNotFoundError
from nbdock.images.dockerarchive import DockerArchive
from nbdock.images.image import Image
from nbdock.images.imagesource import ArchiveSource, DirectorySource, FoundImage, ImageFinder
from nbdock.images.multiplatform import MultiPlatformImage
from nbdock.images.ocilayout import OciLayout
from nbdock.oci import Descriptor, Digest
from nbdock.packages import Progress
from nbdock.showing import watched

__all__ = ["load_image", "load_images"]

_IN_REGISTRY = "docker://"


@checked
@watched("Read")
async def load_image(
    source: str | os.PathLike[str],
    *,
    name: str | None = None,
    tag: str | None = None,
    platform: str | None = None,
    engine: str | None = None,
    store: BlobStore | None = None,
    progress: Progress | None = None,
) -> Image:
    """Take an image into the store.

    Parameters
    ----------
    source
        The path of a docker-archive (``docker save``, ``podman save``, nbdock), an OCI archive or
        an OCI layout directory, compressed or not; the name of an image in a running engine; or
        ``docker://`` and an image of a registry (see `pull_image`).
    name, tag
        Which image, if the archive holds several: by default the first.
    platform
        ``"all"`` takes the images for all platforms, if they stand in an index and are all there;
        what is returned then is a `MultiPlatformImage`, as of `pull_image`. By default, and
        otherwise, it is the image for this machine. For ``docker://`` also a platform.
    engine
        The socket of the engine (see `Image.load`).
    store
        Where to put it; by default the store under `settings.home`.
    progress
        Called with what is being done, bytes done and bytes in all.

    Raises
    ------
    ImageNotFoundError
        No such file or image; `available` names what an archive holds.
    ArchiveError
        A truncated or damaged archive, or names in a layer that lead outside.
    InvalidManifestError
        A manifest or configuration that breaks its specification.
    DigestMismatchError, SizeMismatchError
        Content that is not what the image's documents say.
    StorageFullError, ContentError
        No room in the store, or a file that cannot be read.
    """
    text = os.fspath(source)
    if text.startswith(_IN_REGISTRY):
        from nbdock.images.pulling import pull_image

        return await pull_image(
            text.removeprefix(_IN_REGISTRY), final_image_name=name, final_image_tag=tag,
            platform=platform, store=store, progress=progress,
        )  # fmt: skip
    if platform not in (None, "all"):
        raise ArgumentTypeError(
            f"An archive is loaded for this machine or for all platforms, not for {platform!r}.",
            argument="platform",
            hint='Give "all": of what that returns, `images` has one for each platform.',
        )
    wanted = _Wanted(
        store or BlobStore.default(), name, tag, progress, text, with_index=platform == "all"
    )
    return (await _load(source, engine, wanted))[0]


async def load_images(
    source: str | os.PathLike[str],
    *,
    store: BlobStore | None = None,
    progress: Progress | None = None,
) -> list[Image]:
    """All images of an archive, once for every name; as `load_image` otherwise."""
    wanted = _Wanted(
        store or BlobStore.default(), None, None, progress, os.fspath(source), every=True
    )
    return await _load(source, None, wanted)


async def _load(source: str | os.PathLike[str], engine: str | None, wanted: _Wanted) -> list[Image]:
    path = Path(os.path.abspath(os.path.expanduser(os.fspath(source))))
    text, store = os.fspath(source), wanted.store
    try:
        if path.exists():
            wanted = dataclasses.replace(wanted, where=str(path))
            return await in_worker(_from_path, path, wanted)
        if text.endswith((".tar", ".gz", ".tgz", ".zst")) or text.startswith(("/", ".", "~")):
            raise ImageNotFoundError(f"There is no file {str(path)!r}.", hint="Check the path.")
        from nbdock.images.engine import export_from_engine

        with tempfile.TemporaryFile(dir=store.home / "tmp") as file:
            await export_from_engine(text, engine, file.fileno())
            file.seek(0)
            return await in_worker(_from_file, file, wanted)
    except OSError as error:
        raise storage_error(error, f"load {text!r}", error.filename or store.home) from error


@dataclasses.dataclass(frozen=True)
class _Wanted:
    """Which image is to be taken into which store; `where` says in errors what it is sought in.

    Of those that `name` and `tag` allow it is the first, or `every` one; `with_index` takes those
    for other platforms along.
    """

    store: BlobStore
    name: str | None
    tag: str | None
    progress: Progress | None
    where: str
    every: bool = False
    with_index: bool = False


def _from_path(path: Path, wanted: _Wanted) -> list[Image]:
    if path.is_dir():
        return _choose(OciLayout(DirectorySource(path)), wanted)
    if wanted.every or wanted.with_index:
        with open(path, "rb") as file:
            return _from_file(file, wanted)
    facts = path.stat()
    recall_key = (
        f"{path}\0{facts.st_dev}\0{facts.st_ino}\0{facts.st_size}\0{facts.st_mtime_ns}"
        f"\0{facts.st_ctime_ns}\0{wanted.name}\0{wanted.tag}"
    )
    with LayerCache(wanted.store) as cache:
        known = cache.recall("archive 2", recall_key)
        if known is not None and (image := _remembered(known, wanted.store)) is not None:
            return [image]
        with open(path, "rb") as file:
            image = _from_file(file, wanted)[0]
        text = "\n".join((image.descriptor.media_type, str(image.digest), image.name, image.tag))
        cache.remember("archive 2", recall_key, text.encode())
    return [image]


def _remembered(known: bytes, store: BlobStore) -> Image | None:
    """An image that was loaded from the same file before, if all of it is still in the store."""
    media_type, text, name, tag = known.decode().split("\n")
    digest = Digest.parse(text)
    if not store.has(digest):
        return None
    image = Image(store, Descriptor(media_type, digest, store.size_of(digest)), name, tag)
    blobs = (*image.manifest.layers, image.manifest.config)
    return image if all(store.has(b.digest, b.size_bytes) for b in blobs) else None


def _from_file(file: BinaryIO, wanted: _Wanted) -> list[Image]:
    start = file.read(16)
    file.seek(0)
    if detect(start) == "none":
        return _from_tar(file, wanted)
    with tempfile.TemporaryFile(dir=wanted.store.home / "tmp") as plain:
        total = os.fstat(file.fileno()).st_size
        ratio = settings.current().decompression_ratio_limit
        stream = open_decompressed(file, limit_ratio=ratio)
        while piece := stream.read(1 << 20):
            plain.write(piece)
            if wanted.progress:
                wanted.progress("Reading the archive", min(file.tell(), total), total)
        plain.seek(0)
        return _from_tar(plain, wanted)


def _from_tar(file: BinaryIO, wanted: _Wanted) -> list[Image]:
    try:
        archive = ArchiveSource(file, wanted.where)
    except ArchiveError as error:
        error.message = f"{wanted.where!r} cannot be read: {error.message}"
        raise
    if archive.find("manifest.json"):
        return _choose(DockerArchive(archive), wanted)
    if archive.find("index.json"):
        return _choose(OciLayout(archive), wanted)
    names = sorted(archive.names)[:4]
    raise ArchiveError(
        f"{wanted.where!r} is a tar, but not an image: "
        "it has neither manifest.json nor index.json.",
        hint=f"It begins with {', '.join(names)}." if names else "It is empty.",
    )


def _choose(images: ImageFinder, wanted: _Wanted) -> list[Image]:
    found = list(images.found())
    available = tuple(itertools.chain.from_iterable(f.names for f in found))
    chosen: list[Image] = []
    for one in found:
        for full in one.names or ("",):
            name, tag = _split(full)
            # An index has an image for every platform under one name: the first is meant.
            named = full and any(image.reference == full for image in chosen)
            if wanted.name in (None, name) and wanted.tag in (None, tag) and not named:
                chosen.append(_take(one, name, tag, wanted))
                if not wanted.every:
                    return chosen
    if chosen:
        return chosen
    if not found:
        raise ImageNotFoundError(f"{wanted.where!r} holds no image.")
    raise ImageNotFoundError(
        f"{wanted.where!r} holds no image {wanted.name or '*'}:{wanted.tag or '*'}.",
        available=available,
        hint=f"It holds {', '.join(available)}." if available else "Its image has no name.",
    )


def _take(found: FoundImage, name: str, tag: str, wanted: _Wanted) -> Image:
    store, index = wanted.store, None
    if wanted.with_index and found.take_index is not None:
        index = found.take_index(store, wanted.progress)
    descriptor = found.take(store, wanted.progress)
    image = (
        Image(store, descriptor, name, tag)
        if index is None
        else MultiPlatformImage(store, descriptor, name, tag, index_descriptor=index)
    )
    if image.reference:
        store.set_image(image.reference, index or descriptor)
    return image


def _split(full: str) -> tuple[str, str]:
    name, _, tag = full.rpartition(":")
    return (name, tag) if name and "/" not in tag else (full, "")
