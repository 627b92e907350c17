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
import functools
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from nbdock import settings
from nbdock.concurrency import in_worker
from nbdock.content import BlobStore, LayerCache, detect, open_decompressed
from nbdock.errors import (
    ArchiveError,
    DigestMismatchError,
    ImageNotFoundError,
    InvalidManifestError,
    SizeMismatchError,
)
from nbdock.filetree import Entry, EntryKind, FileContent, read_tar
from nbdock.images.image import Image
from nbdock.oci import (
    ArchiveManifest,
    Descriptor,
    Digest,
    ImageConfig,
    Index,
    Manifest,
    MediaType,
    Platform,
    compression_of,
    parse_manifest,
)
from nbdock.packages import Progress

__all__ = ["load_image"]

_REFERENCE_NAME = "org.opencontainers.image.ref.name"
_CONTAINERD_NAME = "io.containerd.image.name"


async def load_image(
    source: str | os.PathLike[str],
    *,
    name: str | None = None,
    tag: str | None = None,
    engine: str | None = None,
    store: BlobStore | None = None,
    progress: Progress | None = None,
) -> Image:
    """Take an image into the store.

    Parameters
    ----------
    source
        The path of a docker-archive (``docker save``, ``podman save``, nbdock), an OCI archive or
        an OCI layout directory, compressed or not; or the name of an image in a running engine.
    name, tag
        Which image, if the archive holds several: by default the first.
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
    """
    store = store or BlobStore.default()
    path = Path(os.path.abspath(os.path.expanduser(os.fspath(source))))
    if path.exists():
        return await in_worker(_from_path, path, store, name, tag, progress)
    text = os.fspath(source)
    if text.endswith((".tar", ".gz", ".tgz", ".zst")) or text.startswith(("/", ".", "~")):
        raise ImageNotFoundError(f"There is no file {str(path)!r}.", hint="Check the path.")
    from nbdock.images.engine import export_from_engine

    with tempfile.TemporaryFile(dir=store.home / "tmp") as file:
        await export_from_engine(text, engine, file.fileno())
        file.seek(0)
        return await in_worker(_from_file, file, store, name, tag, progress, text)


def _from_path(
    path: Path, store: BlobStore, name: str | None, tag: str | None, progress: Progress | None
) -> Image:
    if path.is_dir():
        return _choose(_Layout(_Directory(path)), store, name, tag, progress, str(path))
    facts = path.stat()
    recall_key = (
        f"{path}\0{facts.st_dev}\0{facts.st_ino}\0{facts.st_size}\0{facts.st_mtime_ns}"
        f"\0{facts.st_ctime_ns}\0{name}\0{tag}"
    )
    with LayerCache(store) as cache:
        known = cache.recall("archive", recall_key)
        if known is not None and (image := _remembered(known, store)) is not None:
            return image
        with open(path, "rb") as file:
            image = _from_file(file, store, name, tag, progress, str(path))
        text = f"{image.digest}\n{image.name}\n{image.tag}"
        cache.remember("archive", recall_key, text.encode())
    return image


def _remembered(known: bytes, store: BlobStore) -> Image | None:
    """An image that was loaded from the same file before, if all of it is still in the store."""
    digest, name, tag = known.decode().split("\n")
    manifest_digest = Digest.parse(digest)
    if not store.has(manifest_digest):
        return None
    descriptor = Descriptor(MediaType.OCI_MANIFEST, manifest_digest, store.size_of(manifest_digest))
    image = Image(store, descriptor, name, tag)
    blobs = (*image.manifest.layers, image.manifest.config)
    return image if all(store.has(b.digest, b.size_bytes) for b in blobs) else None


def _from_file(
    file: BinaryIO,
    store: BlobStore,
    name: str | None,
    tag: str | None,
    progress: Progress | None,
    where: str,
) -> Image:
    start = file.read(16)
    file.seek(0)
    if detect(start) == "none":
        return _from_tar(file, store, name, tag, progress, where)
    with tempfile.TemporaryFile(dir=store.home / "tmp") as plain:
        done, total = 0, os.fstat(file.fileno()).st_size
        ratio = settings.current().decompression_ratio_limit
        stream = open_decompressed(file, limit_ratio=ratio)
        while piece := stream.read(1 << 20):
            plain.write(piece)
            done = file.tell()
            if progress:
                progress("Reading the archive", min(done, total), total)
        plain.seek(0)
        return _from_tar(plain, store, name, tag, progress, where)


def _from_tar(
    file: BinaryIO,
    store: BlobStore,
    name: str | None,
    tag: str | None,
    progress: Progress | None,
    where: str,
) -> Image:
    archive = _Archive(file, where)
    if archive.find("manifest.json"):
        return _choose(_DockerArchive(archive), store, name, tag, progress, where)
    if archive.find("index.json"):
        return _choose(_Layout(archive), store, name, tag, progress, where)
    names = sorted(archive.names)[:4]
    raise ArchiveError(
        f"{where!r} is a tar, but not an image: it has neither manifest.json nor index.json.",
        hint=f"It begins with {', '.join(names)}." if names else "It is empty.",
    )


class _Source(Protocol):
    where: str

    def find(self, name: str) -> Entry | None: ...


class _Archive:
    """The members of a tar by name; links are followed by name, inside the archive only."""

    def __init__(self, file: BinaryIO, where: str) -> None:
        self.where = where
        self._members: dict[bytes, Entry] = {
            entry.path: entry for entry in read_tar(file, random_access=True)
        }

    @property
    def names(self) -> Iterator[str]:
        return (os.fsdecode(path) for path in self._members)

    def find(self, name: str) -> Entry | None:
        path = os.path.normpath(name).encode("utf-8", "surrogateescape")
        for _ in range(8):
            entry = self._members.get(path)
            if entry is None or entry.kind is EntryKind.FILE:
                return entry
            if entry.kind is EntryKind.HARDLINK:
                return entry.target
            if entry.kind is not EntryKind.SYMLINK:
                return None
            path = os.path.normpath(os.path.join(os.path.dirname(path), entry.linkname))
        return None


class _Directory:
    """The files of an OCI layout on the host; only names made of digests are looked for."""

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        self._path = path

    def find(self, name: str) -> Entry | None:
        place = self._path / name
        try:
            size = place.stat().st_size
        except OSError:
            return None
        content = FileContent(os.fsencode(place), size)
        return Entry(name.encode(), EntryKind.FILE, size_bytes=size, content=content)


def _document(source: _Source, name: str) -> bytes:
    entry = source.find(name)
    limit = settings.current().json_limit_bytes
    if entry is None:
        raise ArchiveError(
            f"{source.where!r} has no {name}, which the image needs.",
            hint="The archive is incomplete; save it again.",
        )
    if entry.size_bytes > limit:
        raise InvalidManifestError(
            f"{name} in {source.where!r} has {entry.size_bytes} bytes; {limit} are allowed.",
            value=name,
        )
    return entry.read()


@dataclasses.dataclass(frozen=True)
class _Found:
    """An image in an archive: what it is called, and how to take it into the store."""

    names: tuple[str, ...]
    take: Callable[[BlobStore, Progress | None], Descriptor]


class _Images(Protocol):
    def found(self) -> Iterator[_Found]: ...


def _choose(
    images: _Images,
    store: BlobStore,
    name: str | None,
    tag: str | None,
    progress: Progress | None,
    where: str,
) -> Image:
    found = list(images.found())
    available = tuple(itertools.chain.from_iterable(f.names for f in found))
    for one in found:
        for full in one.names or ("",):
            its_name, its_tag = _split(full)
            if (name is None or its_name == name) and (tag is None or its_tag == tag):
                descriptor = one.take(store, progress)
                image = Image(store, descriptor, its_name, its_tag)
                if image.reference:
                    store.set_image(image.reference, descriptor)
                return image
    if not found:
        raise ImageNotFoundError(f"{where!r} holds no image.")
    wanted = f"{name or '*'}:{tag or '*'}"
    raise ImageNotFoundError(
        f"{where!r} holds no image {wanted}.",
        available=available,
        hint=f"It holds {', '.join(available)}." if available else "Its image has no name.",
    )


def _split(full: str) -> tuple[str, str]:
    name, _, tag = full.rpartition(":")
    return (name, tag) if name and "/" not in tag else (full, "")


class _DockerArchive:
    def __init__(self, source: _Source) -> None:
        self._source = source

    def found(self) -> Iterator[_Found]:
        data = _document(self._source, "manifest.json")
        for one in ArchiveManifest.parse(data):
            yield _Found(tuple(one.repo_tags), functools.partial(self._take, one))

    def _take(
        self, one: ArchiveManifest, store: BlobStore, progress: Progress | None
    ) -> Descriptor:
        data = _document(self._source, one.config)
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
            _store_tar(entry, diff_id, store, f"{name} in {self._source.where!r}")
        return Descriptor(MediaType.OCI_LAYER, diff_id, store.size_of(diff_id))


def _store_tar(entry: Entry, diff_id: Digest, store: BlobStore, what: str) -> None:
    """Put a layer, decompressed if it is compressed, into the store; its names are checked."""
    assert entry.content is not None
    with store.writer() as writer:
        ratio = settings.current().decompression_ratio_limit
        stream = open_decompressed(entry.content.chunks(), limit_ratio=ratio)
        while piece := stream.read(1 << 20):
            writer.write(piece)
        try:
            writer.commit(expected=diff_id)
        except DigestMismatchError as error:
            raise DigestMismatchError(
                f"{what} is {error.actual}, but the configuration says {diff_id}.",
                digest=str(diff_id),
                actual=error.actual,
                hint="The archive is damaged or was tampered with; save it again.",
            ) from error
    try:
        for _ in read_tar(store.path_of(diff_id)):
            pass
    except ArchiveError:
        # A layer that nothing can read is not kept: the next image would be built on it.
        store.delete(diff_id)
        raise


class _Layout:
    def __init__(self, source: _Source) -> None:
        self._source = source

    def found(self) -> Iterator[_Found]:
        index = Index.parse(_document(self._source, "index.json"))
        yield from self._within(index, depth=0, names=())

    def _within(self, index: Index, *, depth: int, names: tuple[str, ...]) -> Iterator[_Found]:
        for descriptor in self._for_platform(index.manifests):
            own = _names(descriptor.annotations) or names
            data = self._blob_document(descriptor)
            inner = parse_manifest(data, descriptor.media_type)
            if isinstance(inner, Manifest):
                yield _Found(own, functools.partial(self._take, inner, descriptor, data))
            elif depth < 4:
                yield from self._within(inner, depth=depth + 1, names=own)
            else:
                raise InvalidManifestError(
                    f"{self._source.where!r} holds indexes in indexes, more than four deep.",
                    value=str(descriptor.digest),
                )

    def _for_platform(self, manifests: Sequence[Descriptor]) -> Sequence[Descriptor]:
        """Those for this machine first, and of platforms only what is really there."""
        here = Platform.host()
        present = [m for m in manifests if self._source.find(_blob_name(m.digest))]
        real = [m for m in present if m.platform is None or m.platform.os != "unknown"]
        return sorted(real, key=lambda m: m.platform is not None and not here.matches(m.platform))

    def _blob_document(self, descriptor: Descriptor) -> bytes:
        data = _document(self._source, _blob_name(descriptor.digest))
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
        name = _blob_name(layer.digest)
        entry = self._source.find(name)
        if entry is None or entry.content is None:
            raise ArchiveError(
                f"{self._source.where!r} has no {name}, which its manifest names as a layer.",
                hint="The archive is incomplete; save it again.",
            )
        if entry.size_bytes != layer.size_bytes:
            raise SizeMismatchError(
                f"{name} in {self._source.where!r} has {entry.size_bytes} bytes, "
                f"the manifest says {layer.size_bytes}.",
                expected_bytes=layer.size_bytes,
                actual_bytes=entry.size_bytes,
                digest=str(layer.digest),
            )
        if compression_of(layer.media_type) != "none":
            with store.writer(algorithm=layer.digest.algorithm) as writer:
                for piece in entry.content.chunks():
                    writer.write(piece)
                writer.commit(expected=layer.digest)
        _store_tar(entry, diff_id, store, f"{name} in {self._source.where!r}")


def _blob_name(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _names(annotations: Mapping[str, str]) -> tuple[str, ...]:
    if name := annotations.get(_CONTAINERD_NAME):
        return (name,)
    tag = annotations.get(_REFERENCE_NAME, "")
    # A layout's reference is a tag by itself in some tools' layouts, a whole name in others'.
    return (tag,) if tag else ()
