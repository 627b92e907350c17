"""The peer: a two-pass streamer as nixpkgs' streamLayeredImage runs it, on `tarfile`.

A layer's name in the archive is its digest and the archive's header holds its size, so nixpkgs
writes each layer twice: once into a sink that hashes and counts, once through a pipe into the
archive. Nothing is kept between builds. Same layer format (``/nix`` and ``/nix/store`` first,
absolute names, root:root, one second past the epoch), same archive, same order.

    python benchmarks/two_pass.py bench/store out.tar
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import tarfile
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

CREATED = "1970-01-01T00:00:01+00:00"


class HashingSink:
    """A file to nowhere that knows the digest and size of what went into it."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.size_bytes += len(data)
        return len(data)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def _neutral(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mtime = 1
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry


def write_layer(sink: object, store_paths: Iterable[Path]) -> None:
    """Write the store paths as one layer, every entry in sorted order."""
    with tarfile.open(fileobj=sink, mode="w|") as layer:  # type: ignore[call-overload]
        for parent in ("/nix", "/nix/store"):
            entry = _neutral(tarfile.TarInfo(parent))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            layer.addfile(entry)
        for store_path in store_paths:
            below = sorted(store_path.rglob("*"))
            for path in (store_path, *below):
                entry = _neutral(layer.gettarinfo(os.fspath(path)))
                entry.name = f"/nix/store/{path.relative_to(store_path.parent)}"
                if entry.islnk():  # nixpkgs stores hard links as files
                    entry.type, entry.linkname = tarfile.REGTYPE, ""
                    entry.size = path.lstat().st_size
                if entry.isreg():
                    with path.open("rb") as content:
                        layer.addfile(entry, content)
                else:
                    layer.addfile(entry)


def _add_layer(archive: tarfile.TarFile, store_paths: Sequence[Path]) -> str:
    sink = HashingSink()
    write_layer(sink, store_paths)
    entry = tarfile.TarInfo(f"{sink.hexdigest()}/layer.tar")
    entry.size = sink.size_bytes
    read_end, write_end = os.pipe()

    def produce() -> None:
        with open(write_end, "wb") as pipe:
            write_layer(pipe, store_paths)

    producer = threading.Thread(target=produce)
    with open(read_end, "rb") as pipe:
        producer.start()
        archive.addfile(entry, pipe)
        producer.join()
    return sink.hexdigest()


def build(store_paths: Sequence[Path], output: Path, *, max_layers: int = 100) -> list[str]:
    """Write an uncompressed docker-archive; the layers' diff IDs in hex."""
    alone = max_layers - 2
    groups = [[path] for path in store_paths[:alone]]
    if store_paths[alone:]:
        groups.append(list(store_paths[alone:]))
    with output.open("wb") as file, tarfile.open(fileobj=file, mode="w|") as archive:
        digests = [_add_layer(archive, group) for group in groups]
        config = json.dumps(
            {
                "created": CREATED,
                "architecture": "amd64",
                "os": "linux",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{d}" for d in digests]},
                "history": [{"created": CREATED} for _ in digests],
            },
            indent=4,
        ).encode()
        name = f"{hashlib.sha256(config).hexdigest()}.json"
        layers = [f"{digest}/layer.tar" for digest in digests]
        manifest = json.dumps([{"Config": name, "RepoTags": ["bench:1"], "Layers": layers}])
        for member, content in ((name, config), ("manifest.json", manifest.encode())):
            entry = tarfile.TarInfo(member)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return digests


if __name__ == "__main__":
    build(sorted(Path(sys.argv[1]).iterdir()), Path(sys.argv[2]))
