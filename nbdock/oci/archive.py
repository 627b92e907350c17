"""The ``manifest.json`` of an archive that ``docker save`` writes and ``docker load`` reads.

>>> entry = ArchiveManifest("config.json", ("redis:7",), ("layer.tar",))
>>> ArchiveManifest.dump([entry])
b'[{"Config":"config.json","RepoTags":["redis:7"],"Layers":["layer.tar"]}]'
>>> ArchiveManifest.parse(b'[{"Config":"c","RepoTags":null,"Layers":["l"]}]')[0].layers
('l',)
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any

from nbdock.oci.document import Node, load
from nbdock.oci.frozen import FrozenMap, freeze

__all__ = ["ArchiveManifest"]

_NO_EXTRA: FrozenMap[Any] = FrozenMap()


@dataclasses.dataclass(frozen=True, slots=True)
class ArchiveManifest:
    """One image of an archive.

    Attributes
    ----------
    config
        The name of the configuration in the archive.
    repo_tags
        What the image is called, in Docker's short form with a tag; may be empty.
    layers
        The names of its layers in the archive, lowest first.
    parent
        The ID of the image it was built on; rarely given.
    extra
        Fields that nbdock does not know (``LayerSources``), in their order.
    """

    config: str
    repo_tags: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    _: dataclasses.KW_ONLY
    parent: str = ""
    extra: Mapping[str, Any] = _NO_EXTRA

    def __post_init__(self) -> None:
        object.__setattr__(self, "repo_tags", tuple(self.repo_tags))
        object.__setattr__(self, "layers", tuple(self.layers))
        object.__setattr__(self, "extra", freeze(self.extra))

    @classmethod
    def parse(cls, data: bytes) -> tuple[ArchiveManifest, ...]:
        """The images of a ``manifest.json``.

        Raises
        ------
        InvalidManifestError
            It is not a list of images, or a name in it leads out of the archive.
        """
        root = load(data, "the manifest.json of a docker archive")
        if root.value is None:
            raise root.fault("an array should stand, not null.")
        return tuple(cls.from_json(item) for item in root.array())

    @classmethod
    def from_json(cls, node: Node | Mapping[str, Any]) -> ArchiveManifest:
        """One image of a ``manifest.json``."""
        fields = Node.of(node, "archive manifest").fields()
        return cls(
            _name(fields.required("Config")),
            fields.strings("RepoTags"),
            tuple(_name(layer) for layer in fields.required("Layers").array()),
            parent=fields.text("Parent"),
            extra=fields.extra(),
        )

    def to_json(self) -> dict[str, Any]:
        """The object that stands in ``manifest.json``. Without tags it has null, as Docker's."""
        document: dict[str, Any] = {
            "Config": self.config,
            "RepoTags": self.repo_tags or None,
            "Layers": self.layers,
        }
        if self.parent:
            document["Parent"] = self.parent
        return document | dict(self.extra)

    @staticmethod
    def dump(images: Iterable[ArchiveManifest]) -> bytes:
        """A ``manifest.json`` with these images."""
        documents = [image.to_json() for image in images]
        text = json.dumps(
            documents, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=dict
        )
        return text.encode("utf-8")


def _name(node: Node) -> str:
    """The name of a member of the archive, which must stay inside it (CVE-2014-9358)."""
    name = node.string()
    if not name or name.startswith("/") or "\0" in name or ".." in name.split("/"):
        raise node.fault(f"the name {name[:120]!r} leads out of the archive.")
    return name
