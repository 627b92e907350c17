"""Writing images to a file: a docker-archive, an OCI archive, or an OCI layout directory.

Nothing is visible under the final name before it is whole: bytes go to a temporary name beside it,
which is renamed at the end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import secrets
import shutil
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nbdock import settings
from nbdock.concurrency import gather_limited, in_stoppable_worker, in_worker
from nbdock.content import (
    BlobStore,
    LayerCache,
    compressor,
    storage_error,
)
from nbdock.errors import ContentError
from nbdock.images import skopeoarchive
from nbdock.images.archive import (
    RECORD_BYTES,
    ArchiveMember,
    archive_pieces,
    archive_size_bytes,
    write_archive,
)
from nbdock.images.layerblobs import ensure_compressed, ensure_uncompressed
from nbdock.images.saveformats import SaveFormat, choose_format, refuse_other_format
from nbdock.oci import ArchiveManifest, Descriptor, Digest, Index, Manifest, MediaType
from nbdock.packages import Progress

if TYPE_CHECKING:
    from nbdock.images.image import Image, ImageLayer

__all__ = [
    "check_destination",
    "docker_archive_members",
    "layer_member",
    "save_images",
    "skopeo_archive_members",
    "written_whole",
]


async def save_images(
    images: Sequence[Image],
    path: Path,
    *,
    format: str | None = None,  # noqa: A002
    compression: str | None = None,
    flavor: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Save images of one store as one archive (see `Image.save`); in skopeo's flavor only one."""
    choice = choose_format(path, format, compression, flavor)
    async with written_whole(path, layout=choice.format == "oci") as (place, temporary):
        if choice.format == "oci":
            await _write_layout(images, choice, temporary)
        else:
            await _write_file(images, choice, temporary, progress)
    return place


def check_destination(path: str | os.PathLike[str]) -> Path:
    """The absolute path of what is to be saved, if it can be saved there.

    Who builds first and saves then asks this before building.

    Raises
    ------
    ContentError
        There is no directory to save it in.
    ArgumentTypeError
        Its ending stands for a format that images have not.
    """
    refuse_other_format(Path(path))
    return _place(path)


def _place(path: str | os.PathLike[str]) -> Path:
    path = Path(os.path.abspath(Path(path).expanduser()))
    if not path.parent.is_dir():
        raise ContentError(
            f"There is no directory {str(path.parent)!r} to save {path.name!r} in.",
            path=str(path),
            hint="Make it first, or choose another path.",
        )
    return path


@contextlib.asynccontextmanager
async def written_whole(path: Path, *, layout: bool = False) -> AsyncIterator[tuple[Path, Path]]:
    """The absolute path, and a temporary one that takes its place when the block has ended well.

    Parameters
    ----------
    layout
        A directory is written, which may take the place of another OCI layout only.

    Raises
    ------
    ContentError, StorageFullError
        The place cannot be written to; also for an `OSError` of the block.
    """
    path = _place(path)
    if not layout and path.is_dir():
        raise ContentError(f"{str(path)!r} is a directory.", path=str(path),
                           hint="Choose the name of a file in it.")  # fmt: skip
    if layout and path.exists() and not _replaceable(path):
        raise ContentError(
            f"{str(path)!r} is there already and is not an OCI layout.",
            path=str(path),
            hint="Choose another path, or remove it first.",
        )
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    try:
        yield path, temporary
        await in_worker(_replace_directory if layout else os.replace, temporary, path)
    except OSError as error:
        elsewhere = "Choose another place."
        raise storage_error(error, "save the image", path, elsewhere=elsewhere) from error
    finally:
        await in_worker(_discard, temporary)


def _replaceable(path: Path) -> bool:
    return path.is_dir() and ((path / "oci-layout").is_file() or not any(path.iterdir()))


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _replace_directory(new: Path, path: Path) -> None:
    old = new.with_suffix(".old")
    if path.exists():
        os.rename(path, old)
    try:
        os.rename(new, path)
    except OSError:
        if old.exists():
            os.rename(old, path)
        raise
    _discard(old)


async def _write_file(
    images: Sequence[Image], choice: SaveFormat, temporary: Path, progress: Progress | None
) -> None:
    store = images[0].store
    record_bytes = RECORD_BYTES
    if choice.format == "oci-archive":
        members, compression = await oci_members(images, choice.compression), "none"
    elif choice.flavor == "skopeo":
        members = await skopeo_archive_members(images[0], images[0].reference)
        record_bytes, compression = skopeoarchive.RECORD_BYTES, choice.compression or "none"
    else:
        members, compression = await docker_archive_members(images), choice.compression or "none"
    if compression == "none":
        await write_archive(store, members, temporary, record_bytes=record_bytes)
    else:
        stop = threading.Event()
        await in_stoppable_worker(
            stop, _write_compressed, store, members, compression, temporary, progress, stop,
            record_bytes=record_bytes,
        )  # fmt: skip


def _write_compressed(
    store: BlobStore,
    members: Sequence[ArchiveMember],
    compression: str,
    path: Path,
    progress: Progress | None,
    stop: threading.Event,
    *,
    record_bytes: int,
) -> None:
    total = archive_size_bytes(members, record_bytes=record_bytes)
    done = 0
    with (
        open(path, "xb") as sink,  # buffered, for it writes all or fails: a raw file may not
        compressor(compression, sink.write) as stream,
    ):
        for piece in archive_pieces(store, members, record_bytes=record_bytes):
            stream.write(piece)
            done += len(piece)
            if stop.is_set():
                return
            if progress:
                progress("Compressing", done, total)
        stream.finish()


async def _each_layer(image: Image, compression: str) -> list[Descriptor]:
    """Every layer in one form, made where it is missing, several at a time."""

    def one(layer: ImageLayer) -> Descriptor:
        if compression == "none":
            return ensure_uncompressed(image.store, layer.descriptor, layer.diff_id)
        with LayerCache(image.store) as cache:
            return ensure_compressed(
                image.store, cache, layer.descriptor, layer.diff_id, compression
            )

    return await gather_limited(
        [functools.partial(in_worker, one, layer) for layer in image.layers],
        limit=settings.current().workers,
    )


async def docker_archive_members(images: Sequence[Image]) -> list[ArchiveMember]:
    """The members of a docker-archive of images: what ``docker load`` takes.

    A layer that stands in several places, in one image or more, stands once in the archive; so
    does a configuration, with all the names that its image has here.
    """
    layer_members: dict[str, ArchiveMember] = {}
    configs: dict[str, bytes] = {}
    manifests: dict[str, ArchiveManifest] = {}
    for image in images:
        layers = await _each_layer(image, "none")
        own = [layer_member(layer) for layer in layers]
        layer_members.update((member.name, member) for member in own)
        config_name = f"{image.id.hex}.json"
        configs[config_name] = image.config.to_bytes()
        known = manifests.get(config_name)
        tags = dict.fromkeys(known.repo_tags if known else ())
        if image.name and image.tag:
            tags[image.reference] = None
        manifests[config_name] = ArchiveManifest(
            config=config_name, repo_tags=tuple(tags), layers=tuple(m.name for m in own)
        )
    return [
        *layer_members.values(),
        *(ArchiveMember.of(name, data) for name, data in configs.items()),
        ArchiveMember.of("manifest.json", ArchiveManifest.dump(manifests.values())),
    ]


def layer_member(layer: Descriptor) -> ArchiveMember:
    """An uncompressed layer as a member of a docker-archive."""
    return ArchiveMember(f"{layer.digest.hex}/layer.tar", layer.size_bytes, blob=layer.digest)


async def skopeo_archive_members(image: Image, name: str) -> list[ArchiveMember]:
    """The members of the docker-archive that skopeo would make of an image under that name."""
    return skopeoarchive.skopeo_members(await _each_layer(image, "none"), image.config, name)


async def oci_members(images: Sequence[Image], compression: str | None) -> list[ArchiveMember]:
    """The files of the OCI layout of images; their layers compressed anew if asked for."""
    entries: list[Descriptor] = []
    documents: dict[str, bytes] = {}
    blobs: dict[Digest, int] = {}
    for image in images:
        manifest, data, descriptor = await _oci_manifest(image, compression)
        annotations = {}
        if image.tag:
            # The layout's reference is the tag; tools that know full names read the other one.
            annotations = {
                "io.containerd.image.name": image.reference,
                "org.opencontainers.image.ref.name": image.tag,
            }
        entries.append(dataclasses.replace(descriptor, annotations=annotations))
        documents[_blob_name(descriptor.digest)] = data
        blobs |= {blob.digest: blob.size_bytes for blob in (*manifest.layers, manifest.config)}
    return [
        ArchiveMember.of("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
        ArchiveMember.of("index.json", Index(manifests=tuple(entries)).to_bytes()),
        *(ArchiveMember.of(name, data) for name, data in documents.items()),
        *(ArchiveMember(_blob_name(digest), size, blob=digest) for digest, size in blobs.items()),
    ]


def _blob_name(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


async def _oci_manifest(
    image: Image, compression: str | None
) -> tuple[Manifest, bytes, Descriptor]:
    """An image's manifest, as it is or with its layers in another form."""
    manifest: Manifest = image.manifest
    if compression is not None:
        layers = await _each_layer(image, compression)
        if tuple(layer.digest for layer in layers) != tuple(b.digest for b in manifest.layers):
            manifest = Manifest(
                config=Descriptor(MediaType.OCI_CONFIG, image.id, manifest.config.size_bytes),
                layers=tuple(layers),
                annotations=manifest.annotations,
            )
            return manifest, manifest.to_bytes(), manifest.descriptor()
    data = image.store.read(image.digest, limit_bytes=settings.current().json_limit_bytes)
    own = image.descriptor
    return manifest, data, Descriptor(own.media_type, own.digest, own.size_bytes)


async def _write_layout(images: Sequence[Image], choice: SaveFormat, directory: Path) -> None:
    members = await oci_members(images, choice.compression)
    store = images[0].store

    def write(member: ArchiveMember) -> None:
        place = directory / member.name
        place.parent.mkdir(parents=True, exist_ok=True)
        with open(place, "xb", buffering=0) as file:
            if member.blob is None:
                file.write(member.data)
            else:
                store.copy_blob_to(member.blob, file.fileno(), size_bytes=member.size_bytes)

    await gather_limited(
        [functools.partial(in_worker, write, member) for member in members],
        limit=settings.current().workers,
    )
