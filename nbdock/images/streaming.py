"""`stream_layered_image`: the archive of a layered image as bytes, while it is being built.

A docker-archive ends with its configuration and ``manifest.json``, so a layer can go out as soon as
it and those below it are made, while the next ones still are. Layers pass through the store, where
the next build or stream finds them; what a stream holds in memory is one piece. Its bytes are those
that `build_layered_image` and an uncompressed `Image.save` give.

    import sys, nbdock
    async for piece in nbdock.stream_layered_image("redis", contents=[apt.redis_server]):
        sys.stdout.buffer.write(piece)
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

from nbdock.calling import argument_name, checked
from nbdock.concurrency import in_thread
from nbdock.content import BlobStore
from nbdock.errors import ArgumentTypeError, InvalidReferenceError
from nbdock.images.archive import ArchiveMember, archive_end, in_order, member_pieces
from nbdock.images.arguments import expect, to_packages
from nbdock.images.build import build_layered_image
from nbdock.images.image import Image, ImageLayer
from nbdock.images.layerblobs import ensure_uncompressed
from nbdock.images.request import BuildRequest
from nbdock.images.saving import docker_archive_members, layer_member
from nbdock.oci import Reference
from nbdock.packages import Progress
from nbdock.showing import watched

__all__ = ["ImageStream", "stream_layered_image"]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ImageStream:
    """An image that is built when it is asked for: iterated over, saved, loaded or pushed.

    ``async for piece in stream`` gives the bytes of its docker-archive. Each time anew, and fast
    when it was built before: layers that are in the store are not made again. Who stops early
    stops the build; what was made until then stays in the store.

    Attributes
    ----------
    arguments
        All arguments of `build_layered_image`.
    """

    arguments: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What the image will be called."""
        return str(self.arguments["name"])

    @property
    def tag(self) -> str:
        """Its tag; empty if that will be made from the content."""
        return str(self.arguments.get("tag") or "")

    def __repr__(self) -> str:
        return f"<ImageStream {self.name}{self.tag and ':'}{self.tag}>"

    @checked
    @watched("Built")
    async def build(self, *, progress: Progress | None = None) -> Image:
        """The image, in the store."""
        return await build_layered_image(**self._with(progress))

    @checked
    @watched("Saved")
    async def save(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        format: str | None = None,  # noqa: A002 - the public name
        compression: str | None = None,
        progress: Progress | None = None,
    ) -> Path:
        """Build the image and write it to a file or directory, as `Image.save` does.

        Without a path or a compression that says otherwise, the archive is not compressed.
        """
        image = await self.build(progress=progress)
        return await image.save(path, format=format, compression=compression, progress=progress)

    @checked
    @watched("Loaded")
    async def load(self, engine: str | None = None, *, progress: Progress | None = None) -> str:
        """Build the image and put it into a running engine, as `Image.load` does."""
        return await (await self.build(progress=progress)).load(engine, progress=progress)

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
        """Build the image and put it into a registry, as `Image.push` does."""
        image = await self.build(progress=progress)
        return await image.push(
            reference, compression=compression, tls_verify=tls_verify, progress=progress
        )

    def __aiter__(self) -> AsyncGenerator[bytes, None]:
        return self.pieces()

    async def pieces(self, *, progress: Progress | None = None) -> AsyncGenerator[bytes, None]:
        """The archive from front to back, each piece a MiB or less.

        Raises
        ------
        NbdockError
            What `build_layered_image` raises. Arguments are checked before the first byte.
        """
        # Layers that are made, but must wait for those below them.
        made: dict[int, ImageLayer] = {}
        more = asyncio.Event()
        loop = asyncio.get_running_loop()

        def on_layer(layer: ImageLayer) -> None:
            made[layer.position] = layer
            loop.call_soon_threadsafe(more.set)

        build = asyncio.create_task(build_layered_image(**self._with(progress), on_layer=on_layer))
        build.add_done_callback(lambda _: more.set())
        store = self.arguments["store"] or BlobStore.default()
        sent: dict[str, ArchiveMember] = {}
        position = 0
        try:
            while not build.done():
                await more.wait()
                more.clear()
                while (layer := made.pop(position, None)) is not None:
                    position += 1
                    blob = await in_thread(
                        ensure_uncompressed, store, layer.descriptor, layer.diff_id
                    )
                    member = layer_member(blob)
                    if member.name not in sent:
                        sent[member.name] = member
                        async with aclosing(in_order(member_pieces(store, member))) as pieces:
                            async for piece in pieces:
                                yield piece
            # What is left: the top layer, and the documents that name them all.
            members = await docker_archive_members([await build])
            for member in members[len(sent) :]:
                async with aclosing(in_order(member_pieces(store, member))) as pieces:
                    async for piece in pieces:
                        yield piece
            yield archive_end(members)
        finally:
            build.cancel()
            await asyncio.wait([build])
            if not build.cancelled():
                build.exception()  # looked at, so asyncio does not complain that nobody did

    def _with(self, progress: Progress | None) -> dict[str, Any]:
        given = dict(self.arguments)
        return {**given, "progress": progress or given["progress"], "compressor": "none"}


def _stream_layered_image(
    name: str, *, repo_tag: str | None = None, **arguments: Any
) -> ImageStream:
    """Describe an image whose archive is made while it is read: `build_layered_image` as a stream.

    Parameters
    ----------
    name, **arguments
        Those of `build_layered_image`, but for `compressor`: a stream is not compressed.
    repo_tag
        ``name:tag`` to call the image in place of `name` and `tag`.

    Returns
    -------
    ImageStream
        ``async for piece in stream``, ``await stream.save(path)``, ``await stream.load()``.
        Nothing is built before that.

    Raises
    ------
    ArgumentError
        An argument that is unknown, missing, or of the wrong type.

    Examples
    --------
    >>> import nbdock
    >>> stream = nbdock.stream_layered_image("motd", contents=nbdock.text_file("etc/motd", "hi"))
    >>> async def count(stream):
    ...     return sum([len(piece) async for piece in stream])
    >>> nbdock.concurrency.run(count(stream))
    30720
    """
    if repo_tag is not None:
        name, arguments["tag"] = _split(repo_tag)
    bound = _BUILD.bind(name, **arguments)
    bound.apply_defaults()
    given = {k: v for k, v in bound.arguments.items() if k != "on_layer"}
    to_packages("contents", given["contents"])
    with BuildRequest.of(given) as request:
        return ImageStream({**given, "name": request.name})


def _split(repo_tag: object) -> tuple[str, str]:
    expect("repo_tag", repo_tag, str, what='a name and a tag such as "redis:7"')
    try:
        reference = Reference.parse(str(repo_tag))
    except InvalidReferenceError as error:
        raise ArgumentTypeError(
            f"{argument_name('repo_tag')} is not a name and a tag: {error.message}",
            argument="repo_tag",
            hint=error.hint,
        ) from error
    if not reference.tag or reference.digest:
        raise ArgumentTypeError(
            f"{argument_name('repo_tag')} should be a name and a tag, not {repo_tag!r}.",
            argument="repo_tag",
            hint='For example "redis:7".',
        )
    return str(repo_tag).rpartition(":")[0], reference.tag


_BUILD = inspect.signature(build_layered_image)
_OWN = inspect.signature(_stream_layered_image)
# What people, completion and cells see: the arguments by their names, not as **arguments.
_stream_layered_image.__signature__ = _OWN.replace(  # type: ignore[attr-defined]
    parameters=[
        _OWN.parameters["name"],
        *(
            p
            for p in _BUILD.parameters.values()
            if p.name not in ("name", "compressor", "on_layer")
        ),
        _OWN.parameters["repo_tag"],
    ]
)
_stream_layered_image.__name__ = _stream_layered_image.__qualname__ = "stream_layered_image"
stream_layered_image = checked(_stream_layered_image)
