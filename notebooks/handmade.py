"""Layers by hand: lesson 05 as two functions, for lessons that need an image made without care.

    await base.save("careless")
    add_layer("careless", "RUN rm -r /var/cache", entry("var/.wh.cache"))

puts one more layer on the image of an OCI layout, as a step of a Dockerfile does.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path, PurePath
from typing import Any

__all__ = ["add_layer", "entry"]


def entry(
    path: str, content: bytes = b"", *, mode: int = 0o644, uid: int = 0
) -> tuple[tarfile.TarInfo, bytes]:
    """A file for a layer; its name may be that of a whiteout."""
    header = tarfile.TarInfo(path)
    header.size, header.mode, header.uid, header.mtime = len(content), mode, uid, 1
    return header, content


def add_layer(layout: str, command: str, *entries: tuple[tarfile.TarInfo, bytes]) -> None:
    """Put a layer of these entries, and their directories, on top of the image in an OCI layout.

    The image is called what the directory is called.

    Parameters
    ----------
    layout
        The directory, as ``await image.save("NAME")`` writes it.
    command
        What the image's history says of the layer.
    entries
        What `entry` gives.
    """
    blobs = Path(layout, "blobs", "sha256")

    def get(descriptor: dict[str, Any]) -> Any:
        return json.loads((blobs / descriptor["digest"].removeprefix("sha256:")).read_bytes())

    def put(data: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        directories = {parent for header, _ in entries for parent in PurePath(header.name).parents}
        for parent in sorted(directories - {PurePath(".")}):
            header, _ = entry(str(parent), mode=0o755)
            header.type = tarfile.DIRTYPE
            archive.addfile(header)
        for header, content in entries:
            archive.addfile(header, io.BytesIO(content))
    tar = buffer.getvalue()

    index = json.loads(Path(layout, "index.json").read_bytes())
    (named,) = index["manifests"]
    manifest = get(named)
    config = get(manifest["config"])
    config["rootfs"]["diff_ids"].append(f"sha256:{hashlib.sha256(tar).hexdigest()}")
    config.setdefault("history", []).append({"created_by": command})
    manifest["config"] = put(json.dumps(config).encode(), manifest["config"]["mediaType"])
    packed = gzip.compress(tar, compresslevel=1, mtime=0)
    manifest["layers"].append(put(packed, "application/vnd.oci.image.layer.v1.tar+gzip"))
    named |= put(json.dumps(manifest).encode(), named["mediaType"])
    named["annotations"] = {"org.opencontainers.image.ref.name": f"{Path(layout).name}:1"}
    Path(layout, "index.json").write_text(json.dumps(index))
