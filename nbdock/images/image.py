"""The handle on an image in the store: cheap to hold, cheap to print, bytes read when asked for.

>>> import nbdock
>>> hi = nbdock.text_file("hi", "x")
>>> image = nbdock.concurrency.run(nbdock.build_image("hello", contents=hi))
>>> image.name, len(image.layers)
('hello', 1)
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from nbdock import settings
from nbdock.calling import checked
from nbdock.concurrency import in_worker
from nbdock.content import BlobStore
from nbdock.errors import InvalidManifestError
from nbdock.images.layerblobs import ensure_uncompressed
from nbdock.oci import (
    Descriptor,
    Digest,
    ImageConfig,
    Manifest,
    Reference,
    parse_manifest,
)
from nbdock.showing import watched

if TYPE_CHECKING:
    from nbdock.filetree import Entry
    from nbdock.images.running import CompletedCommand
    from nbdock.jobs import Job
    from nbdock.layering import LayerPlan
    from nbdock.packages import Closure, Progress

__all__ = ["Image", "ImageLayer", "layers_of"]

_QUOTED = re.compile(r"'([^']*)'")


@dataclasses.dataclass(frozen=True, slots=True)
class ImageLayer:
    """One layer of an image.

    Attributes
    ----------
    position
        From 0, the lowest.
    descriptor
        Media type, digest and size of the blob as the image holds it (it may be compressed).
    diff_id
        Digest of the uncompressed tar.
    created_by, comment
        What the image's history says of it.
    """

    position: int
    descriptor: Descriptor
    diff_id: Digest
    created_by: str = ""
    comment: str = ""

    @property
    def contents(self) -> tuple[str, ...]:
        """Names of the packages or store paths in it, as its history says (nbdock's, nixpkgs')."""
        if self.comment.startswith("packages: "):
            return tuple(self.comment.removeprefix("packages: ").split(" "))
        if self.comment.startswith("store paths: "):
            return tuple(_QUOTED.findall(self.comment))
        return ()

    @property
    def remark(self) -> str:
        """What nbdock or nixpkgs says of it where it names no packages: ``links at the root``."""
        is_said = self.created_by in ("", "nbdock") and not self.contents
        return self.comment if is_said else ""


def layers_of(manifest: Manifest, config: ImageConfig, what: str) -> tuple[ImageLayer, ...]:
    """The layers of the image that these documents describe, lowest first.

    Raises
    ------
    InvalidManifestError
        They do not fit together; the message says so of `what`.
    """
    if len(config.diff_ids) != len(manifest.layers):
        raise InvalidManifestError(
            f"{what}: the manifest has {len(manifest.layers)} layers, "
            f"the configuration {len(config.diff_ids)}.",
            value=what,
        )
    known = zip(manifest.layers, config.diff_ids, config.layer_history, strict=True)
    return tuple(
        ImageLayer(
            position, blob, diff_id, (step and step.created_by) or "", (step and step.comment) or ""
        )
        for position, (blob, diff_id, step) in enumerate(known)
    )


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Image:
    """An image in the store.

    Attributes
    ----------
    name, tag
        What it is called in archives and engines; both may be empty for an unnamed image.
    descriptor
        Of its manifest in `store`.
    plan, closure
        How packages went into layers, and the packages with their dependencies, for an image
        that was built by this process from packages; else None.
    arguments
        What it was built with (``buildArgs`` in dockerTools); empty for a loaded image.
    """

    store: BlobStore
    descriptor: Descriptor
    name: str = ""
    tag: str = ""
    plan: LayerPlan | None = None
    closure: Closure | None = None
    arguments: Mapping[str, object] = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<Image {self.reference or self.digest}>"

    def __str__(self) -> str:
        return self.reference or str(self.digest)

    @property
    def reference(self) -> str:
        """``name:tag``, or the empty text for an unnamed image."""
        return f"{self.name}:{self.tag}" if self.name and self.tag else self.name

    @property
    def image_name(self) -> str:
        """The name, as dockerTools calls it: ``imageName`` in a cell."""
        return self.name

    @property
    def image_tag(self) -> str:
        """The tag, as dockerTools calls it: ``imageTag`` in a cell."""
        return self.tag

    @property
    def digest(self) -> Digest:
        """The digest of the manifest: what registries know the image by."""
        return self.descriptor.digest

    @property
    def id(self) -> Digest:
        """The digest of the configuration: what engines call the image ID."""
        return self.manifest.config.digest

    @property
    def build_args(self) -> Mapping[str, object]:
        """The arguments the image was built with, by their Python names."""
        return MappingProxyType(dict(self.arguments))

    @functools.cached_property
    def manifest(self) -> Manifest:
        """The manifest, read from the store."""
        limit = settings.current().json_limit_bytes
        manifest = parse_manifest(
            self.store.read(self.digest, limit_bytes=limit), self.descriptor.media_type
        )
        if not isinstance(manifest, Manifest):
            raise InvalidManifestError(
                f"{self.digest} is an index of several images, not one image.",
                value=str(self.digest),
            )
        return manifest

    @functools.cached_property
    def config(self) -> ImageConfig:
        """The configuration, read from the store."""
        limit = settings.current().json_limit_bytes
        return ImageConfig.parse(self.store.read(self.manifest.config.digest, limit_bytes=limit))

    @functools.cached_property
    def layers(self) -> tuple[ImageLayer, ...]:
        """The layers, lowest first."""
        return layers_of(self.manifest, self.config, str(self))

    @property
    def size_bytes(self) -> int:
        """Bytes of all layers as the image holds them."""
        return sum(blob.size_bytes for blob in self.manifest.layers)

    def layer_entries(self, position: int) -> Iterator[Entry]:
        """The entries of one layer; contents stay readable. Blocking: for worker threads."""
        layer = self.layers[position]
        tar = ensure_uncompressed(self.store, layer.descriptor, layer.diff_id)
        # Here: who pulls an image does not look into it yet.
        from nbdock.filetree import read_tar

        return read_tar(self.store.path_of(tar.digest))

    @checked
    @watched("Saved")
    async def save(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        format: str | None = None,  # noqa: A002 - the public name
        compression: str | None = None,
        flavor: str | None = None,
        progress: Progress | None = None,
    ) -> Path:
        """Write the image to a file or directory.

        Parameters
        ----------
        path
            Where to; by default ``docker-image-NAME.tar.gz`` here, or with the suffix of the
            compressor the image was built with. An existing file is replaced once the new one is
            whole.
        format
            ``"docker-archive"`` (what ``docker load`` takes), ``"oci-archive"`` or ``"oci"`` (a
            directory). By default an OCI layout for a path without suffix, an OCI archive for
            ``.oci``, ``.oci.tar`` and so on, else a docker-archive.
        compression
            ``"none"``, ``"gz"`` or ``"zstd"``; by default what the suffix says (``.tar``,
            ``.tar.gz``, ``.tgz``, ``.tar.zst``). In OCI formats it is the layers that are
            compressed, by default as the image holds them.
        flavor
            ``"skopeo"``: the docker-archive is, to the byte, the one that ``skopeo copy`` makes of
            the image, whose checksum dockerTools' `pullImage` asks for. By default nbdock's own.

        Returns
        -------
        pathlib.Path
            The absolute path that was written.

        Raises
        ------
        ArgumentTypeError
            Unknown format or compression, or one that contradicts the suffix.
        StorageFullError
            No room; an existing file is as it was.
        """
        from nbdock.images.saving import save_images

        place = Path(path if path is not None else self._archive_name())
        return await save_images(
            [self], place, format=format, compression=compression, flavor=flavor, progress=progress
        )

    def _archive_name(self) -> str:
        """What dockerTools calls the archive of an image of this name."""
        from nbdock.images.saveformats import ARCHIVE_SUFFIXES

        suffix = ARCHIVE_SUFFIXES[str(self.arguments.get("compressor", "gz"))]
        return f"docker-image-{self.name.rpartition('/')[2] or self.id.hex}{suffix}"

    @checked
    @watched("Loaded")
    async def load(self, engine: str | None = None, *, progress: Progress | None = None) -> str:
        """Put the image into a running Docker or Podman engine.

        Parameters
        ----------
        engine
            A socket: a path, or ``unix:///path``. By default ``DOCKER_HOST``, else the first
            socket of Docker or Podman that is there.

        Returns
        -------
        str
            What the engine calls the image now.

        Raises
        ------
        EngineError
            No engine answers, or it refuses the image.
        """
        from nbdock.images.engine import load_into_engine

        return (await load_into_engine([self], engine, progress=progress))[0]

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
        """Put the image into a registry.

        Parameters
        ----------
        reference
            ``registry/repository:tag``; without a tag it is ``latest``.
        compression
            ``"gz"``, ``"zstd"`` or ``"none"`` for layers that are in another form. By default
            layers stay as they are, and uncompressed ones are compressed with gzip; so an image
            that was pulled keeps its digest.
        tls_verify
            False accepts any certificate, and a registry without TLS.
        progress
            Called with what is being done, bytes done and bytes in all as far as they are known.

        Returns
        -------
        Reference
            The name with the digest, which always means this image.

        Raises
        ------
        ArgumentTypeError
            A reference or compression that means nothing.
        AuthenticationError, RegistryError, TransportError
            The registry refuses, or cannot be reached. The name stands for what it did before.
        """
        from nbdock.images.pushing import push_image

        return await push_image(
            self, reference, compression=compression, tls_verify=tls_verify, progress=progress
        )

    @checked
    def run(
        self,
        command: str | Sequence[str] | None = None,
        *,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        working_dir: str | None = None,
        entrypoint: str | Sequence[str] | None = None,
        memory_mib: int = 512,
        disk_mib: int = 1024,
        timeout_s: float | None = None,
    ) -> Job[CompletedCommand]:
        """Run a command in the image's root file system, in a virtual machine without a network.

        Parameters
        ----------
        command
            Name and arguments, in place of the image's ``Cmd``. One text is a line for the image's
            shell, as in a Dockerfile: ``["/bin/sh", "-c", text]``. An ``Entrypoint`` of the image
            stays, and gets all that as its arguments.
        env
            Variables besides the image's ``Env``; of two values of one these count.
        user, working_dir, entrypoint
            In place of ``User``, ``WorkingDir`` and ``Entrypoint``. As in Docker, with another
            entrypoint the image's ``Cmd`` does not count.
        memory_mib, disk_mib
            Of the machine: its memory, and room for what the command writes. MiB.
        timeout_s
            How long the command may run; by default the setting `vm_timeout_s`. Seconds.

        Returns
        -------
        Job[CompletedCommand]
            It runs: ``(await job).output``, ``job.log``, ``job.cancel()``. A command that fails is
            a result too, with its `exit_code`. What it writes is gone with the machine.

        Raises
        ------
        ArgumentError
            There is nothing to run, or an argument of the wrong type. What goes wrong later is
            raised when the job is awaited: `VmError`, `UnavailableError`.

        Examples
        --------
        ::

            (await redis.run(["redis-server", "--version"])).output
        """
        from nbdock.images.running import run_image

        return run_image(
            self, command, env=env, user=user, working_dir=working_dir, entrypoint=entrypoint,
            memory_mib=memory_mib, disk_mib=disk_mib, timeout_s=timeout_s,
        )  # fmt: skip

    @checked
    async def file(self, path: str) -> bytes:
        """The content of a file as a container would see it; parents that are links are followed.

        Raises
        ------
        ContentError
            There is no such file.
        """
        from nbdock.images.tree import read_file

        return await in_worker(read_file, self, path)
