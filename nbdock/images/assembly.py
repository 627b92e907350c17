"""From layers that are in the store to an image: its configuration, manifest, tag and name."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Sequence

from nbdock.content import LayerRecord
from nbdock.images.image import Image
from nbdock.images.request import BuildRequest
from nbdock.layering import LayerPlan
from nbdock.oci import (
    Descriptor,
    History,
    ImageConfig,
    Manifest,
    MediaType,
    Platform,
    merge_env,
    to_oci,
)
from nbdock.packages import Closure

__all__ = ["MadeLayer", "assemble", "platform_of"]

_log = logging.getLogger(__name__)

_BASE32 = "0123456789abcdfghijklmnpqrsvwxyz"  # Nix's digits: those that spell no words


@dataclasses.dataclass(frozen=True)
class MadeLayer:
    """A layer that was made for this image, and what its history says."""

    record: LayerRecord
    comment: str


def assemble(
    request: BuildRequest,
    base: Image | None,
    made: Sequence[MadeLayer],
    plan: LayerPlan,
    closure: Closure,
) -> Image:
    """The configuration, the manifest and the name of an image whose layers are in the store."""
    platform = request.platform or platform_of(base, closure)
    env = merge_env(base.config.config.env if base else (), request.config.env)
    config = ImageConfig(
        platform.architecture, platform.os, variant=platform.variant,
        created=request.created,
        config=dataclasses.replace(request.config, env=env),
        diff_ids=(*(base.config.diff_ids if base else ()), *(m.record.diff_id for m in made)),
        history=(
            *(_base_history(base) if base else ()),
            *(
                History(created=request.created, created_by="nbdock", comment=m.comment or None)
                for m in made
            ),
        ),
    )  # fmt: skip
    data = config.to_bytes()
    layers = [
        *(_as_oci(blob) for blob in (base.manifest.layers if base else ())),
        *(Descriptor(MediaType.OCI_LAYER, m.record.diff_id, m.record.size_bytes) for m in made),
    ]
    manifest = Manifest(
        config=Descriptor(MediaType.OCI_CONFIG, request.store.add(data), len(data)),
        layers=tuple(layers),
    )
    request.store.add(manifest.to_bytes())
    tag = request.tag or _tag_of(request.name, data)
    image = Image(
        request.store, manifest.descriptor(), request.name, tag,
        plan=plan, closure=closure, arguments=request.arguments,
    )  # fmt: skip
    request.store.set_image(image.reference, image.descriptor)
    _log.info("Built %s: %d layers, %s", image.reference, len(layers), image.digest)
    return image


def _as_oci(blob: Descriptor) -> Descriptor:
    return dataclasses.replace(blob, media_type=to_oci(blob.media_type))


def _base_history(base: Image) -> Sequence[History]:
    """The base's history, one step for each layer at least: tools refuse any other count."""
    config = base.config
    if sum(not step.empty_layer for step in config.history) == len(config.diff_ids):
        return config.history
    return [History(created=config.created, comment="a layer of the base") for _ in config.diff_ids]


def platform_of(base: Image | None, closure: Closure) -> Platform:
    """What an image is for that is made of these."""
    if base is not None:
        config = base.config
        return Platform(config.os, config.architecture, config.variant)
    words = {p.package_set.architecture for p in closure.packages if p.package_set is not None}
    known = sorted(word for word in words if word)
    return Platform.parse(f"linux/{known[0]}") if known else Platform.host()


def _tag_of(name: str, config: bytes) -> str:
    """A tag that says what went in: 160 bits in Nix's digits, as the hash of a store path is."""
    number = int.from_bytes(hashlib.sha256(name.encode() + b"\0" + config).digest()[:20], "big")
    return "".join(_BASE32[number >> shift & 31] for shift in range(155, -1, -5))
