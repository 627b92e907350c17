"""`export_image`: an image as one flat root file system, a tar that ``docker import`` takes.

The layers are overlaid by name (see `filetree.overlay`), as engines on an overlay file system do:
whiteouts and opaque directories take effect, what a layer puts below a lower layer's symlink hides
the symlink, a second name of a file stays one whatever happens to the first. Owners, modes, times,
extended attributes and devices are the layers' own. Only the headers of the layers are read to know
the tree; contents go straight from the places where they lie in the layers' tars into the new one,
so nothing is unpacked, no root is needed, and a large file costs no memory.

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
import os
import tempfile
import threading
from pathlib import Path

from nbdock.concurrency import in_stoppable_worker, in_worker
from nbdock.content import BlobStore
from nbdock.errors import ArgumentTypeError, UnavailableError
from nbdock.filetree import TarWriter, Tree
from nbdock.images.arguments import checked, expect
from nbdock.images.base import base_image
from nbdock.images.image import Image
from nbdock.images.saving import written_whole
from nbdock.images.tree import image_tree
from nbdock.packages import Progress
from nbdock.showing import watched

__all__ = ["RootFilesystem", "export_image"]


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
        Paths and entries; contents are read from the image's store when asked for.
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
        ContentError
            The place cannot be written to.
        StorageFullError
            No room; an existing file is as it was.
        """
        place = Path(path if path is not None else f"{self.name}.tar")
        async with written_whole(place) as (place, temporary):
            stop = threading.Event()
            await in_stoppable_worker(stop, self._write, temporary, stop, progress)
        return place

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
            tar.write(self.tree.entries(), prefix=b"./")
            tar.finish()


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
        Of the virtual machine that dockerTools needs for this. Not used. MiB.
    in_vm
        Let a virtual machine overlay the layers. Not built yet; the result is the same without.
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
    UnavailableError
        `in_vm` was given.
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
    expect("disk_size", disk_size, int, what="a number of MiB")
    expect("in_vm", in_vm, bool, what="true or false")
    if in_vm:
        raise UnavailableError(
            "inVm needs a virtual machine, which this version of nbdock does not have yet.",
            argument="in_vm",
            hint="Leave it out: the files are the same without.",
        )
    image = await base_image(
        from_image, name=from_image_name, tag=from_image_tag, store=store or BlobStore.default()
    )
    if image is None:
        raise ArgumentTypeError(
            "fromImage is null: there is nothing to export.",
            argument="from_image",
            hint='Give an image, for example nbdock.load_image("base.tar").',
        )
    if progress:
        progress("Reading layers", 0, 0)
    tree = await in_worker(image_tree, image)
    called = (name or image.name or image.id.hex).rpartition("/")[2]
    return RootFilesystem(called.removesuffix(".tar"), image, tree)
