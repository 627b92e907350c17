"""The arguments that all build functions share, checked before anything is read or fetched."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, cast

from nbdock.content import BlobStore, LayerCache
from nbdock.errors import ArgumentTypeError, InvalidPlatformError
from nbdock.filetree import TarPolicy
from nbdock.images.arguments import Moment, expect, expect_id, to_moment, to_name
from nbdock.images.image import ImageLayer
from nbdock.oci import ContainerConfig, Descriptor, Digest, MediaType, Platform
from nbdock.packages import Progress

__all__ = ["BuildRequest", "to_policy"]

_COMPRESSORS = ("gz", "none", "zstd")
_NOT_ARGUMENTS = ("store", "progress", "on_layer", "on_log")


@dataclasses.dataclass(frozen=True)
class BuildRequest:
    """What is to be built, and where; a ``with`` block closes the layer cache.

    Attributes
    ----------
    name, tag
        Checked; the tag is None if it is to be made from the content.
    created, config, platform
        As values; the platform is None if the base or the contents decide.
    store, cache
        Where blobs are kept, and the layer cache beside it.
    arguments
        Everything that was given, for `Image.build_args`.
    """

    name: str
    tag: str | None
    created: Moment
    config: ContainerConfig
    platform: Platform | None
    store: BlobStore
    cache: LayerCache
    arguments: Mapping[str, object]
    progress_to: Progress | None
    layers_to: Callable[[ImageLayer], object] | None = None
    log_to: Callable[[str], object] | None = None

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> BuildRequest:
        """The request that a build function was called with.

        Parameters
        ----------
        arguments
            All its arguments by name.

        Raises
        ------
        ArgumentError
            The first one that cannot be used.
        """
        name, tag = to_name(arguments["name"], arguments["tag"])
        config = arguments["config"]
        if config is not None:
            expect("config", config, Mapping, what="an attribute set")
        if arguments["compressor"] not in (None, *_COMPRESSORS):
            raise ArgumentTypeError(
                f"There is no compressor {arguments['compressor']!r}.",
                argument="compressor",
                hint='Compressors: "gz", "none", "zstd".',
            )
        expect("extra_commands", arguments["extra_commands"], str, what="a string of commands")
        store = arguments["store"] or BlobStore.default()
        given = {k: v for k, v in arguments.items() if k not in _NOT_ARGUMENTS and _is_given(v)}
        return cls(
            name,
            tag,
            to_moment("created", arguments["created"]),
            ContainerConfig.from_mapping(config or {}),
            _platform(arguments["architecture"], arguments["variant"]),
            store,
            LayerCache(store),
            given,
            arguments["progress"],
            arguments.get("on_layer"),
            arguments.get("on_log"),
        )

    def __enter__(self) -> BuildRequest:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cache.close()

    def progress(self, what: str, done: int = 0, total: int = 0) -> None:
        """Tell whoever asked how far the build is."""
        if self.progress_to:
            self.progress_to(what, done, total)

    def log(self, line: str) -> None:
        """Pass a line on that commands wrote."""
        if self.log_to:
            self.log_to(line)

    def layer_made(self, position: int, diff_id: Digest, size_bytes: int) -> None:
        """Tell whoever asked that a layer of the image is in the store now."""
        if self.layers_to:
            blob = Descriptor(MediaType.OCI_LAYER, diff_id, size_bytes)
            self.layers_to(ImageLayer(position, blob, diff_id))


def _is_given(value: object) -> bool:
    return value is not None and not (isinstance(value, str | tuple) and not value)


def _platform(architecture: object, variant: object) -> Platform | None:
    for argument, value in (("architecture", architecture), ("variant", variant)):
        if value is not None:
            expect(argument, value, str, what="a string or null")
    if architecture is None:
        return None
    text = f"linux/{architecture}" + (f"/{variant}" if variant else "")
    try:
        return Platform.parse(text)
    except InvalidPlatformError as error:
        raise ArgumentTypeError(error.message, argument="architecture", hint=error.hint) from error


def to_policy(mtime: object, uid: object, gid: object, uname: object, gname: object) -> TarPolicy:
    """What is said of files; None leaves a package's own owner."""
    for argument, value in (("uid", uid), ("gid", gid)):
        if value is not None:
            expect_id(argument, value)
    for argument, value in (("uname", uname), ("gname", gname)):
        if value is not None:
            expect(argument, value, str, what="a string")
    return TarPolicy(
        mtime=to_moment("mtime", mtime).seconds,
        uid=cast("int | None", uid), gid=cast("int | None", gid),
        uname=cast("str | None", uname), gname=cast("str | None", gname),
    )  # fmt: skip
