"""What the benchmark of tables reads: an image of 1 GB of packages, as an OCI layout, made once.

Below the benchmark directory (`bench/`, not in git):

    tables/image/     the packages of `corpus.py` at /, in gzip layers: the largest have one each

    python benchmarks/tables_corpus.py --directory bench
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import corpus

LAYERS = 30
ENTRIES = 24_000
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclasses.dataclass(frozen=True)
class BenchImage:
    """The image: its layout is tagged ``bench``; `blobs` are its layers, lowest first."""

    layout: Path
    blobs: tuple[Path, ...]
    size_bytes: int
    entry_count: int


def _groups(paths: tuple[Path, ...]) -> list[list[Path]]:
    def size(path: Path) -> int:
        return sum(f.lstat().st_size for f in path.rglob("*") if not f.is_dir())

    ordered = sorted(paths, key=lambda path: (-size(path), path.name))
    return [[path] for path in ordered[: LAYERS - 1]] + [ordered[LAYERS - 1 :]]


def _make(layout: Path, paths: tuple[Path, ...]) -> None:
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, media_type: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    layers, diff_ids = [], []
    for group in _groups(paths):
        # Layers of Docker and others have times of whole seconds, and only one each.
        command = ["tar", "c", "--format=pax",
                   "--pax-option=delete=atime,delete=ctime,delete=mtime",
                   "--sort=name", "--owner=0", "--group=0"]  # fmt: skip
        tar = subprocess.check_output([*command, *(x for p in group for x in ("-C", str(p), "."))])
        layers.append(put(subprocess.check_output(["gzip", "-6n"], input=tar), _LAYER))
        diff_ids.append(f"sha256:{hashlib.sha256(tar).hexdigest()}")
    config = {
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }  # fmt: skip
    manifest = {
        "schemaVersion": 2, "mediaType": _MANIFEST,
        "config": put(json.dumps(config).encode(), _CONFIG), "layers": layers,
    }  # fmt: skip
    entry = put(json.dumps(manifest).encode(), _MANIFEST)
    entry["annotations"] = {"org.opencontainers.image.ref.name": "bench"}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def prepare(directory: Path) -> BenchImage:
    """Make what is missing below `directory`."""
    layout = directory.resolve() / "tables/image"
    if not layout.exists():
        found = corpus.prepare(directory)
        print(f"making an image of {LAYERS} layers, 1 GB ...", file=sys.stderr, flush=True)
        partial = layout.with_name(".image")
        shutil.rmtree(partial, ignore_errors=True)
        _make(partial, found.store_paths)
        partial.rename(layout)
    (entry,) = json.loads((layout / "index.json").read_text())["manifests"]

    def blob(descriptor: dict[str, str]) -> Path:
        return layout / "blobs/sha256" / descriptor["digest"].partition(":")[2]

    blobs = tuple(blob(layer) for layer in json.loads(blob(entry).read_text())["layers"])
    size = count = 0
    for path in blobs:
        with tarfile.open(path) as archive:
            for member in archive:
                size, count = size + member.size, count + 1
    return BenchImage(layout, blobs, size, count)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", type=Path, default=Path("bench"))
    image = prepare(parser.parse_args().directory)
    print(
        f"{len(image.blobs)} layers, {image.entry_count:,} entries, "
        f"{image.size_bytes / 1e9:.2f} GB in files"
    )
