"""`export_image`: an image as one flat root file system, a tar that ``docker import`` takes.

The layers are overlaid by name (see `filetree.overlay`), as engines on an overlay file system do:
whiteouts and opaque directories take effect, what a layer puts below a lower layer's symlink hides
the symlink, a second name of a file stays one whatever happens to the first. Owners, modes, times,
extended attributes and devices are the layers' own. Only the headers of the layers are read to know
the tree; contents go straight from the places where they lie in the layers' tars into the new one,
so nothing is unpacked, no root is needed, and a large file costs no memory.

`in_vm` has the kernel of a virtual machine overlay the layers instead, as dockerTools does. The tar
is the same, byte for byte; that is what it is for.

    >>> import nbdock
    >>> image = nbdock.concurrency.run(
    ...     nbdock.build_image("motd", contents=nbdock.text_file("etc/motd", "hello"))
    ... )
    >>> rootfs = nbdock.concurrency.run(nbdock.export_image(image))
    >>> rootfs
    <RootFilesystem motd: 3 entries, 5 bytes>
    >>> rootfs.tree[b"etc/motd"].read()
    b'hello'
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import io
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

from nbdock.calling import checked, renamed
from nbdock.concurrency import in_stoppable_worker, in_worker
from nbdock.content import BlobStore, codec_of_name
from nbdock.errors import ArgumentTypeError
from nbdock.filetree import Entry, EntryKind, TarWriter, Tree, overlay, read_tar
from nbdock.images.arguments import expect, expect_mib
from nbdock.images.base import base_image
from nbdock.images.image import Image
from nbdock.images.saving import check_destination, written_whole
from nbdock.images.tree import image_tree
from nbdock.packages import Progress
from nbdock.showing import watched

__all__ = ["RootFilesystem", "export_image"]

_OVERLAYS = "trusted.overlay."


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class RootFilesystem:
    """The files of an image as a container sees them, and the tar they make.

    Attributes
    ----------
    name
        What the tar is called, without ``.tar``.
    image
        The image whose layers hold the contents.
    tree
        Paths and entries; contents are read when asked for.
    """

    name: str
    image: Image
    tree: Tree

    def __repr__(self) -> str:
        return f"<RootFilesystem {self.name}: {len(self.tree)} entries, {self.size_bytes} bytes>"

    @functools.cached_property
    def size_bytes(self) -> int:
        """Bytes of all files, a file with several names counted once."""
        return self.tree.size_bytes

    @checked
    @watched("Saved")
    async def save(
        self, path: str | os.PathLike[str] | None = None, *, progress: Progress | None = None
    ) -> Path:
        """Write the tar, uncompressed: what ``docker import`` takes.

        Entries stand in the order of their names, below ``./``: one image, the same bytes.

        Parameters
        ----------
        path
            Where to; by default ``NAME.tar`` here. An existing file is replaced once the new one
            is whole.

        Returns
        -------
        pathlib.Path
            The absolute path that was written.

        Raises
        ------
        ArgumentTypeError
            The name's ending stands for another format.
        ContentError
            The place cannot be written to.
        StorageFullError
            No room; an existing file is as it was.
        """
        place = check_destination(path if path is not None else f"{self.name}.tar")
        if codec_of_name(place.name) != "none":
            raise ArgumentTypeError(
                f"A root file system is saved as a tar, uncompressed, and not as {place.name!r}.",
                argument="path",
                hint="Choose a name that ends in .tar.",
            )
        async with written_whole(place) as (place, temporary):
            stop = threading.Event()
            await in_stoppable_worker(stop, self._write, temporary, stop, progress)
        return place

    @checked
    @watched("Loaded")
    async def load(
        self,
        engine: str | None = None,
        *,
        reference: str | None = None,
        progress: Progress | None = None,
    ) -> str:
        """Import the tar into a running engine, as ``docker import`` does.

        Parameters
        ----------
        engine
            A socket, as for `Image.load`.
        reference
            What the engine is to call the new image of one layer; by default `name`.

        Returns
        -------
        str
            The ID that the engine gives it.

        Raises
        ------
        EngineError
            No engine answers, or it refuses the tar.
        """
        from nbdock.images.engine import import_into_engine

        with tempfile.TemporaryDirectory(dir=self.image.store.home / "tmp") as directory:
            path = await self.save(Path(directory) / "rootfs.tar", progress=progress)
            return await import_into_engine(path, reference or self.name.lower(), engine)

    def _write(self, path: Path, stop: threading.Event, progress: Progress | None) -> None:
        total = self.size_bytes if progress else 0
        done = 0
        with open(path, "xb") as file:

            def sink(piece: bytes | memoryview) -> None:
                nonlocal done
                if stop.is_set():
                    raise asyncio.CancelledError
                file.write(piece)
                if progress:
                    done += len(piece)
                    progress("Exporting", min(done, total), total)

            tar = TarWriter(sink)
            tar.write(map(_exported, self.tree.entries()), prefix=b"./")
            tar.finish()


def _exported(entry: Entry) -> Entry:
    """An entry as a file system would give it back, and so as ``docker export`` has it.

    Owners are numbers, times whole seconds, the modes of symlinks mean nothing, and what the
    overlay file system notes for itself is not of the image.
    """
    changes: dict[str, Any] = {}
    if entry.uname or entry.gname:
        changes |= {"uname": "", "gname": ""}
    if type(entry.mtime) is not int:
        changes["mtime"] = int(entry.mtime)
    if entry.xattrs and any(name.startswith(_OVERLAYS) for name in entry.xattrs):
        changes["xattrs"] = {k: v for k, v in entry.xattrs.items() if not k.startswith(_OVERLAYS)}
    if (entry.target or entry).kind is EntryKind.SYMLINK:
        changes["mode"] = 0o777
    return dataclasses.replace(entry, **changes) if changes else entry


@checked
@watched("Flattened")
async def export_image(
    from_image: Image | str | os.PathLike[str],
    *,
    from_image_name: str | None = None,
    from_image_tag: str | None = None,
    name: str | None = None,
    disk_size: int = 1024,
    in_vm: bool = False,
    store: BlobStore | None = None,
    progress: Progress | None = None,
) -> RootFilesystem:
    """Flatten an image: the files of all its layers, as a container sees them.

    Parameters
    ----------
    from_image, from_image_name, from_image_tag
        An `Image`, or the path of an archive and, if it holds several, the name and tag of the
        one that is meant.
    name
        What the tar is called, without ``.tar``; by default as the image.
    disk_size
        Of the virtual machine, if there is one: the disk that holds what it writes. MiB.
    in_vm
        Let a virtual machine overlay the layers. The tar is the same, but that a FIFO or device
        with two names becomes two, and times before 1970 or after 2106 the nearest; it takes
        longer.
    store
        Where an archive is read into; by default the store under `settings.home`.
    progress
        Called with what is being done, bytes done and bytes in all.

    Returns
    -------
    RootFilesystem
        The tree; `RootFilesystem.save` writes the tar.

    Raises
    ------
    ArgumentError
        An argument that is unknown, missing or of the wrong type.
    ImageNotFoundError
        No such image.
    ArchiveError
        A layer that is damaged, has names that lead outside, or hardlinks to nothing.
    UnavailableError, VmError
        With `in_vm`: this machine lacks what it takes, or the virtual machine failed.
    """
    for argument, value in (
        ("from_image_name", from_image_name),
        ("from_image_tag", from_image_tag),
    ):
        if value is not None:
            expect(argument, value, str, what="a string or null")
    if name is not None:
        expect("name", name, str, what="a string or null")
        if not name.rpartition("/")[2].strip("."):
            raise ArgumentTypeError(f"name is no name for a file: {name!r}.", argument="name")
    expect_mib("disk_size", disk_size)
    expect("in_vm", in_vm, bool, what="true or false")
    image = await base_image(
        from_image, name=from_image_name, tag=from_image_tag, store=store or BlobStore.default()
    )
    if image is None:
        raise ArgumentTypeError(
            "No image is given to export.",
            argument="from_image",
            hint='Give an image, for example nbdock.load_image("base.tar").',
        )
    called = (name or image.name or image.id.hex).rpartition("/")[2].removesuffix(".tar")
    if in_vm:
        return await _overlaid_in_vm(image, called, disk_size, progress)
    if progress:
        progress("Reading layers", 0, 0)
    return RootFilesystem(called, image, await in_worker(image_tree, image))


async def _overlaid_in_vm(
    image: Image, name: str, disk_mib: int, progress: Progress | None
) -> RootFilesystem:
    """The files of an image as the kernel of a virtual machine overlays its layers."""
    from nbdock.images.layerdisks import image_disks
    from nbdock.vm import GuestTask, run_guest

    disks = await image_disks(image, progress=progress)
    task = GuestTask(layers=disks, send="tree", disk_mib=disk_mib)
    with renamed(disk_mib="disk_size"):
        async with run_guest(task, progress=progress) as result:
            assert result.tar_path is not None  # nothing is run that could fail
            return RootFilesystem(name, image, await in_worker(_sent_tree, result.tar_path, image))


class _UnnamedFile(io.FileIO):
    """A file that is gone with the last content that lies in it."""

    def __del__(self) -> None:
        self.close()


def _sent_tree(tar_path: str, image: Image) -> Tree:
    """What a guest sent, with the root that the layers have: a guest has one of its own."""
    file = _UnnamedFile(tar_path)
    sent = (entry for entry in read_tar(file, random_access=True) if entry.path)
    for position in reversed(range(len(image.layers))):
        roots = [entry for entry in image.layer_entries(position) if not entry.path]
        if roots:
            return overlay([roots, sent])
    return overlay([sent])
