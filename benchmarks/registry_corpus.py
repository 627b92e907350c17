"""What the registry benchmark moves: two images of 1 GB each, as OCI layouts, made once.

Below the benchmark directory (`bench/`, not in git):

    registry/many/    about 100 layers, from a few kB to 180 MB, as images of packages have them
    registry/few/     4 layers of 250 MB

Layers are gzip that hardly compresses (one file of noise each): pulling and pushing do not look
inside, so their bytes are all that counts. They are the same bytes on every machine.

    python benchmarks/registry_corpus.py --directory bench
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import hashlib
import io
import json
import random
import shutil
import sys
import tarfile
from pathlib import Path

IMAGE_BYTES = 1_000_000_000

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


@dataclasses.dataclass(frozen=True)
class BenchImage:
    """One of the images: its layout is tagged ``bench``."""

    name: str
    layout: Path
    layer_count: int
    size_bytes: int


def _sizes() -> dict[str, list[int]]:
    """The layers' sizes in bytes by image: many small ones and a few large ones, or four."""
    chance = random.Random(4)
    weights = [chance.lognormvariate(0.0, 1.6) for _ in range(100)]
    unit = IMAGE_BYTES / sum(weights)
    return {
        "many": [max(2_000, int(weight * unit)) for weight in weights],
        "few": [IMAGE_BYTES // 4] * 4,
    }


def _layer(name: str, size_bytes: int) -> tuple[bytes, str]:
    """A layer of about `size_bytes`, compressed, and the digest of its tar."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo(f"opt/{name}")
        member.size = size_bytes
        archive.addfile(member, io.BytesIO(random.Random(name).randbytes(size_bytes)))
    data = tar.getvalue()
    # Stored, not deflated: it is noise.
    return gzip.compress(data, 0, mtime=0), f"sha256:{hashlib.sha256(data).hexdigest()}"


def _make(layout: Path, name: str, sizes: list[int]) -> None:
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, media_type: str) -> dict[str, str | int]:
        found = hashlib.sha256(data).hexdigest()
        (blobs / found).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{found}", "size": len(data)}

    layers, diff_ids = [], []
    for number, size_bytes in enumerate(sizes):
        data, diff_id = _layer(f"{name}-{number}", size_bytes)
        layers.append(put(data, _LAYER))
        diff_ids.append(diff_id)
    config = {
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }  # fmt: skip
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": put(json.dumps(config).encode(), _CONFIG),
        "layers": layers,
    }
    entry = put(json.dumps(manifest).encode(), _MANIFEST)
    entry["annotations"] = {"org.opencontainers.image.ref.name": "bench"}  # type: ignore[assignment]
    index = {"schemaVersion": 2, "manifests": [entry]}
    (layout / "index.json").write_text(json.dumps(index))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def prepare(directory: Path) -> dict[str, BenchImage]:
    """Make what is missing below `directory`; the images by their names."""
    found = {}
    for name, sizes in _sizes().items():
        layout = directory.resolve() / "registry" / name
        if not layout.exists():
            print(f"making an image of {len(sizes)} layers, 1 GB ...", file=sys.stderr, flush=True)
            partial = layout.with_name(f".{name}")
            shutil.rmtree(partial, ignore_errors=True)
            _make(partial, name, sizes)
            partial.rename(layout)
        size_bytes = sum(blob.stat().st_size for blob in (layout / "blobs/sha256").iterdir())
        found[name] = BenchImage(name, layout, len(sizes), size_bytes)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", type=Path, default=Path("bench"))
    for image in prepare(parser.parse_args().directory).values():
        print(f"{image.name}: {image.layer_count} layers, {image.size_bytes / 1e9:.3f} GB")
