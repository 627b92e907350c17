"""Image configurations: how an image runs, what its layers hold, how it came to be.

    >>> config = ImageConfig("amd64", diff_ids=(Digest.of(b"a layer's tar"),))
    >>> ImageConfig.parse(config.to_bytes()) == config
    True
    >>> len(config.chain_ids)
    1

The digest of a configuration is the image's ID. A parsed one that was not changed gives its own
bytes back; a new or changed one is written compactly in the specification's order.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Mapping
from typing import Any

from nbdock.errors import InvalidManifestError
from nbdock.oci.container import ContainerConfig
from nbdock.oci.descriptor import Descriptor, digest_at
from nbdock.oci.digest import Digest
from nbdock.oci.document import Fields, Node, dump, load
from nbdock.oci.frozen import FrozenMap, freeze
from nbdock.oci.media_types import MediaType, is_config
from nbdock.oci.platforms import Platform

__all__ = ["History", "ImageConfig"]

_EMPTY: FrozenMap[Any] = FrozenMap()
_NO_CONFIG = ContainerConfig()
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,30}))?"
    r"(?:[Zz]|([+-])(\d\d):(\d\d))",
    re.ASCII,
)


def _moment(text: str) -> dt.datetime | None:
    """The moment that an RFC 3339 text means, cut to microseconds; None if it means none."""
    match = _TIME.fullmatch(text)
    if not match:
        return None
    fraction = int((match[7] or "0")[:6].ljust(6, "0"))
    offset = dt.timedelta(hours=int(match[9] or 0), minutes=int(match[10] or 0))
    year, month, day, hour, minute, second = (int(match[group]) for group in range(1, 7))
    try:
        zone = dt.timezone(-offset if match[8] == "-" else offset) if offset else dt.UTC
        return dt.datetime(year, month, day, hour, minute, second, fraction, tzinfo=zone)
    except ValueError:
        return None


def _time(fields: Fields) -> str | None:
    node = fields.get("created")
    if node is None:
        return None
    text = node.string()
    if _moment(text) is None:
        raise node.fault(
            f"{text[:60]!r} is not a time.", hint="Times look like 1970-01-01T00:00:01Z (RFC 3339)."
        )
    return text


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One step of how an image came to be.

    Attributes
    ----------
    created
        When, as RFC 3339 text.
    created_by, comment, author
        The command, a remark, and whose it was.
    empty_layer
        True if the step made no layer (``ENV``, ``CMD``).
    """

    created: str | None = None
    created_by: str | None = None
    author: str | None = None
    comment: str | None = None
    empty_layer: bool = False
    extra: Mapping[str, Any] = _EMPTY

    def __post_init__(self) -> None:
        object.__setattr__(self, "extra", freeze(self.extra))

    @classmethod
    def from_json(cls, node: Node | Mapping[str, Any]) -> History:
        """The step that stands in a configuration."""
        fields = Node.of(node, "history").fields()
        empty_layer = fields.get("empty_layer")
        return cls(
            created=_time(fields),
            created_by=fields.text_or_none("created_by"),
            author=fields.text_or_none("author"),
            comment=fields.text_or_none("comment"),
            empty_layer=empty_layer.boolean() if empty_layer else False,
            extra=fields.extra(),
        )

    def to_json(self) -> dict[str, Any]:
        """The object that stands in a configuration; what is not given is left out."""
        document: dict[str, Any] = {}
        for name in ("created", "created_by", "author", "comment"):
            if getattr(self, name) is not None:
                document[name] = getattr(self, name)
        if self.empty_layer:
            document["empty_layer"] = True
        return document | dict(self.extra)


@dataclasses.dataclass(frozen=True, slots=True)
class ImageConfig:
    """What an image's configuration says.

    Attributes
    ----------
    architecture, os, variant, os_version, os_features
        What it runs on; `platform` has them together.
    created
        When, as RFC 3339 text (Docker writes nanoseconds); None if not said.
    config
        How a container of it is run.
    diff_ids
        The digests of its layers' uncompressed tars, lowest first.
    history
        How it came to be, oldest first; steps without a layer included.
    media_type
        `MediaType.OCI_CONFIG` or `MediaType.DOCKER_CONFIG`; not part of the document.
    raw
        The bytes it was parsed from; None for a new one.
    """

    architecture: str
    os: str = "linux"
    _: dataclasses.KW_ONLY
    created: str | None = None
    author: str | None = None
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()
    config: ContainerConfig = _NO_CONFIG
    diff_ids: tuple[Digest, ...] = ()
    history: tuple[History, ...] = ()
    media_type: str = dataclasses.field(default=MediaType.OCI_CONFIG, compare=False)
    extra: Mapping[str, Any] = _EMPTY
    rootfs_extra: Mapping[str, Any] = _EMPTY
    raw: bytes | None = dataclasses.field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("os_features", "diff_ids", "history"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("extra", "rootfs_extra"):
            object.__setattr__(self, name, freeze(getattr(self, name)))
        if not is_config(self.media_type):
            raise InvalidManifestError(
                f"A configuration cannot have the media type {self.media_type!r}.",
                value=self.media_type,
            )
        if self.created is not None:
            _time(Node({"created": self.created}, "$", "a configuration").fields())

    @classmethod
    def parse(cls, data: bytes, media_type: str = MediaType.OCI_CONFIG) -> ImageConfig:
        """The configuration that `data` is.

        Parameters
        ----------
        data
            The bytes, whose digest was already checked.
        media_type
            What the manifest's descriptor says they are.

        Raises
        ------
        InvalidManifestError
            The document breaks its specification, or `media_type` is an artifact's; the message
            has the JSON path of the fault.
        """
        if not is_config(media_type):
            raise InvalidManifestError(
                f"Content of the media type {media_type[:120]!r} is not an image's configuration.",
                value=media_type,
                hint="The manifest describes an artifact (a chart, a signature), not an image.",
            )
        fields = load(data, "an image configuration").fields()
        container, rootfs = fields.get("config"), fields.required("rootfs").fields()
        kind = rootfs.required("type")
        if kind.string() != "layers":
            raise kind.fault(f"the type of the root is 'layers', not {kind.string()[:40]!r}.")
        diff_ids, history = rootfs.get("diff_ids"), fields.get("history")
        found = cls(
            fields.required("architecture").string(),
            fields.required("os").string(),
            created=_time(fields),
            author=fields.text_or_none("author"),
            variant=fields.text("variant"),
            os_version=fields.text("os.version"),
            os_features=fields.strings("os.features"),
            config=ContainerConfig.from_json(container) if container else _NO_CONFIG,
            diff_ids=tuple(digest_at(item) for item in diff_ids.array()) if diff_ids else (),
            history=tuple(History.from_json(s) for s in history.array()) if history else (),
            media_type=media_type,
            extra=fields.extra(),
            rootfs_extra=rootfs.extra(),
        )
        object.__setattr__(found, "raw", bytes(data))
        return found

    @property
    def platform(self) -> Platform:
        """What the image runs on."""
        return Platform(
            self.os, self.architecture, self.variant,
            os_version=self.os_version, os_features=self.os_features,
        )  # fmt: skip

    @property
    def created_at(self) -> dt.datetime | None:
        """When it was made, cut to microseconds."""
        return None if self.created is None else _moment(self.created)

    @property
    def chain_ids(self) -> tuple[Digest, ...]:
        """For each layer, the digest that stands for it and all layers below it."""
        chain: list[Digest] = []
        for diff_id in self.diff_ids:
            below = chain[-1] if chain else None
            chain.append(Digest.of(f"{below} {diff_id}".encode()) if below else diff_id)
        return tuple(chain)

    @property
    def layer_history(self) -> tuple[History | None, ...]:
        """For each layer, the step that made it; None where the history does not say."""
        steps = [step for step in self.history if not step.empty_layer]
        if len(steps) != len(self.diff_ids):
            return (None,) * len(self.diff_ids)
        return tuple(steps)

    def to_json(self) -> dict[str, Any]:
        """The document: fixed order, what is not given left out."""
        document: dict[str, Any] = {}
        if self.created is not None:
            document["created"] = self.created
        if self.author is not None:
            document["author"] = self.author
        document["architecture"] = self.architecture
        if self.variant:
            document["variant"] = self.variant
        document["os"] = self.os
        if self.os_version:
            document["os.version"] = self.os_version
        if self.os_features:
            document["os.features"] = self.os_features
        document["config"] = self.config.to_json()
        diff_ids = [str(diff_id) for diff_id in self.diff_ids]
        document["rootfs"] = {"type": "layers", "diff_ids": diff_ids} | dict(self.rootfs_extra)
        if self.history:
            document["history"] = [step.to_json() for step in self.history]
        return document | dict(self.extra)

    def to_bytes(self) -> bytes:
        """The bytes it was parsed from, else compact JSON."""
        return dump(self.to_json()) if self.raw is None else self.raw

    def descriptor(self) -> Descriptor:
        """What a manifest points at this configuration with; its digest is the image's ID."""
        return Descriptor.of(self.to_bytes(), self.media_type)
