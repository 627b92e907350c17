"""What one worker does for `fleet_table`: a batch of images, and the parts that it leaves.

    scan_images(Batch(references=("redis:7", "redis:8"), directory="/srv/fleet", ...))

A batch is one Parquet file of each kind, written whole or not at all, named by what the references
stand for. Whoever finds them there need not ask again: a scan that was killed goes on with the
first batch that is not there, and one of images that have changed reads those batches only.

Workers are threads of this process, or of others, maybe on other machines; a batch is all they
need, and it can be pickled.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from nbdock import settings
from nbdock.concurrency import gather_limited, in_thread, in_worker, run
from nbdock.content import BlobStore, TemporaryFile
from nbdock.errors import InvalidManifestError, NbdockError
from nbdock.images import Image, ImageLayer, layers_of
from nbdock.oci import Descriptor, Digest, Platform, Reference
from nbdock.registry import RegistryClient
from nbdock.tables.layerfiles import is_kept
from nbdock.tables.layerindex import StoredLayer, open_layers
from nbdock.tables.packages import manager_of, packages_of
from nbdock.tables.remote import Registries, RemoteImage

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "KINDS",
    "Batch",
    "LayerBatch",
    "part_path",
    "part_schema",
    "read_layers",
    "read_packages",
    "read_part",
    "scan_images",
]

_VERSION = 1
KINDS: Final = ("images", "layers", "packages")


@dataclasses.dataclass(frozen=True)
class Batch:
    """Some images of a scan.

    Attributes
    ----------
    references
        Their names in registries.
    directory
        Where the parts go: the same for all workers.
    platform
        Which image of an index; empty for the worker's own.
    changes
        Settings that differ from a worker's own.
    """

    references: tuple[str, ...]
    directory: str
    platform: str
    tls_verify: bool
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class LayerBatch:
    """Some layers of a scan, each with the name of an image that has it.

    Attributes
    ----------
    layers
        Of each: image, diff ID, digest, media type and bytes of its blob.
    """

    layers: tuple[tuple[str, str, str, str, int], ...]
    tls_verify: bool
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class _Answer:
    """What the registry says of one image, or why it says nothing."""

    reference: str
    digest: Digest | None = None
    image: RemoteImage | None = None
    layers: tuple[ImageLayer, ...] = ()
    error: str = ""


def part_path(directory: str, kind: str, name: str) -> str:
    """Where the part of a batch lies."""
    return os.path.join(directory, kind, f"{name}.parquet")


def part_schema(kind: str) -> pa.Schema:
    """The columns of a kind of parts."""
    import pyarrow as pa

    text, count = pa.string(), pa.int64()
    columns = {
        "images": [
            ("image", text), ("digest", text), ("platform", text),
            ("created", pa.timestamp("us", tz="UTC")), ("layers", count), ("size_bytes", count),
            ("error", text),
        ],
        "layers": [
            ("image", text), ("position", count), ("diff_id", text), ("digest", text),
            ("media_type", text), ("size_bytes", count), ("created_by", text),
        ],
        "packages": [
            ("image", text), ("manager", text), ("package", text), ("version", text),
            ("size_bytes", count), ("layer", count), ("error", text),
        ],
    }  # fmt: skip
    return pa.schema(columns[kind])


# Images


def scan_images(batch: Batch, stop: threading.Event | None = None) -> str:
    """Read the documents of a batch of images, unless its parts are there; the name of these."""
    settings.configure(**batch.changes)
    return run(_scan(batch, stop or threading.Event()))


async def _scan(batch: Batch, stop: threading.Event) -> str:
    async with RegistryClient(tls_verify=batch.tls_verify) as client:
        described = await _each(functools.partial(_describe, client), batch.references, stop)
        name = _name(batch, described)
        paths = [part_path(batch.directory, kind, name) for kind in ("images", "layers")]
        if all(map(os.path.exists, paths)):
            return name
        registries = Registries(client, BlobStore.default(), None)
        platform = Platform.parse(batch.platform) if batch.platform else Platform.host()
        read = functools.partial(_read, registries, platform)
        answers = await _each(read, described, stop)
    # What could not be read now may be read the next time: that makes another name.
    name = _name(batch, answers)
    _write(batch.directory, "layers", name, _layer_rows(answers))
    _write(batch.directory, "images", name, _image_rows(answers))
    return name


def _name(batch: Batch, answers: Sequence[_Answer]) -> str:
    """What the parts are called: made of all that they depend on."""
    marks = [f"{_VERSION} {batch.platform or Platform.host()}"]
    marks += [f"{a.reference} {a.digest} {a.error}" for a in answers]
    return hashlib.sha256("\n".join(marks).encode()).hexdigest()[:40]


async def _each(ask: Any, items: Sequence[Any], stop: threading.Event) -> list[Any]:
    """Ask something of each, several at a time; what fails fails alone."""

    async def one(item: Any) -> Any:
        if stop.is_set():
            raise InterruptedError
        return await ask(item)

    limit = settings.current().connections
    return await gather_limited([functools.partial(one, item) for item in items], limit)


async def _describe(client: RegistryClient, reference: str) -> _Answer:
    try:
        descriptor = await client.describe(Reference.parse(reference))
    except NbdockError as error:
        return _Answer(reference, error=_text(error))
    return _Answer(reference, descriptor.digest)


async def _read(registries: Registries, platform: Platform, asked: _Answer) -> _Answer:
    if asked.digest is None:
        return asked
    try:
        where = Reference.parse(asked.reference).with_tag(None).with_digest(asked.digest)
        image = await registries.read(where, platform=platform)
        if image.manifest is None or image.config is None:
            raise InvalidManifestError(f"{asked.reference} is not an image.", value=asked.reference)
        layers = layers_of(image.manifest, image.config, asked.reference)
    except NbdockError as error:
        return dataclasses.replace(asked, error=_text(error))
    return dataclasses.replace(asked, image=image, layers=layers)


def _text(error: NbdockError) -> str:
    return f"{type(error).__name__}: {error.message}"


def _image_rows(answers: Sequence[_Answer]) -> list[tuple[Any, ...]]:
    rows = []
    for answer in answers:
        image = answer.image
        config = image.config if image else None
        rows.append(
            (
                answer.reference,
                str(image.manifest.descriptor().digest) if image and image.manifest else "",
                str(config.platform.normalised()) if config else "",
                config.created_at if config else None,
                len(answer.layers) if config else None,
                sum(layer.descriptor.size_bytes for layer in answer.layers) if config else None,
                answer.error,
            )
        )  # fmt: skip
    return rows


def _layer_rows(answers: Sequence[_Answer]) -> list[tuple[Any, ...]]:
    return [
        (
            answer.reference, layer.position, str(layer.diff_id), str(layer.descriptor.digest),
            layer.descriptor.media_type, layer.descriptor.size_bytes, layer.created_by,
        )
        for answer in answers
        for layer in answer.layers
    ]  # fmt: skip


def _write(directory: str, kind: str, name: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Write a part, whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    form = part_schema(kind)
    columns = list(zip(*rows, strict=True)) or [()] * len(form)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, form, strict=True)]
    os.makedirs(os.path.join(directory, kind), exist_ok=True)
    with TemporaryFile(os.path.join(directory, "tmp")) as file:
        table = pa.Table.from_arrays(arrays, schema=form)
        pq.write_table(table, file.path, compression="zstd", write_page_checksum=True)
        file.publish(part_path(directory, kind, name), mode=0o644)


# Layers, and packages


def read_layers(batch: LayerBatch, stop: threading.Event | None = None) -> dict[str, str]:
    """Fetch layers and keep what is in them, as `open_layers` does.

    Returns
    -------
    dict of str to str
        Why layers cannot be read, by diff ID.
    """
    settings.configure(**batch.changes)
    return run(_fetch_layers(batch, stop or threading.Event()))


async def _fetch_layers(batch: LayerBatch, stop: threading.Event) -> dict[str, str]:
    store = BlobStore.default()
    failed: dict[str, str] = {}
    async with RegistryClient(tls_verify=batch.tls_verify) as client:
        for image, diff_id, digest, media_type, size_bytes in batch.layers:
            if stop.is_set():
                raise InterruptedError
            layer = StoredLayer(store, Digest.parse(diff_id), Digest.parse(digest), size_bytes)
            blob = Descriptor(media_type, layer.digest, size_bytes)
            try:
                if not await in_worker(is_kept, layer.store, layer.names):
                    await client.pull_blob(Reference.parse(image), blob, store)
                    await in_thread(open_layers, [layer], hashes=False, columns=("path",))
            except NbdockError as error:
                failed[diff_id] = _text(error)
    return failed


def read_packages(
    batch: Batch, name: str, failed: Mapping[str, str], stop: threading.Event | None = None
) -> str:
    """Say which packages the images of a scanned batch have, unless that part is there; its name.

    Parameters
    ----------
    name
        Of the batch's parts.
    failed
        Why layers cannot be read, by diff ID.
    """
    settings.configure(**batch.changes)
    if os.path.exists(part_path(batch.directory, "packages", name)):
        return name
    images = [
        (image["image"], Digest.parse(image["digest"]))
        for image in read_part(batch.directory, "images", name, ["image", "digest"]).to_pylist()
        if image["digest"]
    ]
    rows: list[tuple[Any, ...]] = []
    for image, found in run(_stored(batch, images)).items():
        if stop is not None and stop.is_set():
            raise InterruptedError
        why = found if isinstance(found, str) else next(
            (failed[d] for d in (str(layer.diff_id) for layer in found.layers) if d in failed), ""
        )  # fmt: skip
        if isinstance(found, Image) and not why:
            try:
                rows += _package_rows(image, found)
                continue
            except NbdockError as error:
                why = _text(error)
        rows.append((image, "", "", "", None, None, why))
    # Under another name, the next scan does not take it for done.
    name = f"{name}-incomplete" if any(row[-1] for row in rows) else name
    _write(batch.directory, "packages", name, rows)
    return name


def _package_rows(name: str, image: Image) -> list[tuple[Any, ...]]:
    closure, layer_of = packages_of(image)
    return [
        (name, manager_of(p), p.name, p.version, p.size_bytes, layer_of.get(p.key), "")
        for p in closure.packages
    ]


async def _stored(batch: Batch, images: Sequence[tuple[str, Digest]]) -> dict[str, Image | str]:
    """Handles on images whose documents are in the store, or come there; or why there is none."""
    store = BlobStore.default()
    found: dict[str, Image | str] = {}
    async with RegistryClient(tls_verify=batch.tls_verify) as client:
        registries = Registries(client, store, None)
        for name, digest in images:
            try:
                where = Reference.parse(name).with_tag(None).with_digest(digest)
                manifest = (await registries.read(where)).manifest
                assert manifest is not None
                found[name] = Image(store, manifest.descriptor(), name)
            except NbdockError as error:
                found[name] = _text(error)
    return found


def read_part(
    directory: str, kind: str, name: str, columns: Sequence[str] | None = None
) -> pa.Table:
    """The rows of a part."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(part_path(directory, kind, name), page_checksum_verification=True) as file:
        return file.read(columns)
