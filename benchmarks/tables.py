"""How fast nbdock tells what is in an image, against ``tar tvzf``, measured in one run.

    first     `file_table` with content hashes, of layers that were never read
    again     the same in a new process: what was found is kept
    million   an image of 1,000,000 entries in ten layers

The peer lists the names of the layers one after another, and hashes nothing. Every measurement is a
process of its own; what is given is the time of the call, and the whole process with its imports.
Peers and nbdock go in turn; what stands is the median.

    python benchmarks/tables.py --runs 3
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import tables_corpus
from targets import Targets

RATIO = 3.0
AGAIN_S = 0.2
PEAK_MB = 2000
MILLION = 1_000_000


def _peak_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no VmHWM")


def measure_here(layout: str) -> None:
    """Make the table of the layout's only image in this process, and print the figures."""
    import pandas as pd  # noqa: F401 - imports are not what is measured
    import pyarrow.parquet as pq  # noqa: F401

    import nbdock
    import nbdock.tables.files
    from nbdock.content import BlobStore
    from nbdock.oci import Index

    store = BlobStore(layout)
    (descriptor,) = Index.parse((Path(layout) / "index.json").read_bytes()).manifests
    image = nbdock.Image(store, descriptor)
    started, spent = time.perf_counter(), time.process_time()
    table = nbdock.tables.files.file_table(image)
    figures = {
        "seconds": time.perf_counter() - started,
        "cpu": time.process_time() - spent,
        "rows": len(table),
        "hashed": int(table.digest.notna().sum()),
        "peak_mb": _peak_mb(),
    }
    print(json.dumps(figures))


def _measure(layout: Path) -> dict[str, float]:
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, "--here", layout], check=True, capture_output=True, text=True
    )
    return {**json.loads(done.stdout), "process": time.perf_counter() - started}


def _peer(blobs: tuple[Path, ...]) -> tuple[float, float]:
    started, before = time.perf_counter(), os.times()
    for blob in blobs:
        subprocess.run(["tar", "tvzf", blob], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    cpu = after.children_user - before.children_user
    cpu += after.children_system - before.children_system
    return time.perf_counter() - started, cpu


def _million(layout: Path) -> None:
    """Write an image of a million small entries in ten layers, some of them replaced."""
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, kind: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        media_type = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    layers, diff_ids = [], []
    for number in range(10):
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as archive:
            for i in range(MILLION // 10):
                name = f"srv/data/{(i + number * 90_000) % 1000:03}/some-file-{i + number * 90_000}"
                member = tarfile.TarInfo(name)
                content = b"%d" % (i % 1000)
                member.size, member.mtime = len(content), 1_700_000_000 + i
                archive.addfile(member, io.BytesIO(content))
        data = tar.getvalue()
        layers.append(put(gzip.compress(data, 1), "layer.v1.tar+gzip"))
        diff_ids.append(f"sha256:{hashlib.sha256(data).hexdigest()}")
    config = {
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }  # fmt: skip
    manifest = {
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": put(json.dumps(config).encode(), "config.v1+json"), "layers": layers,
    }  # fmt: skip
    entry = put(json.dumps(manifest).encode(), "manifest.v1+json")
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def main() -> int:
    """Measure, print ratios; the exit status says whether the targets are met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", type=Path, default=Path("bench"))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--no-million", action="store_true")
    parser.add_argument("--here", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        measure_here(arguments.here)
        return 0
    image = tables_corpus.prepare(arguments.directory)
    print(
        f"{len(image.blobs)} layers, {image.entry_count:,} entries, {image.size_bytes / 1e9:.2f} GB"
    )
    ratios, cpu_ratios, agains = [], [], []
    with tempfile.TemporaryDirectory(prefix="nbdock-bench-") as scratch:
        layout = Path(scratch) / "image"
        shutil.copytree(image.layout, layout, copy_function=os.link)
        blobs = tuple(layout / "blobs/sha256" / blob.name for blob in image.blobs)
        for _ in range(arguments.runs):
            shutil.rmtree(layout / "tables", ignore_errors=True)
            theirs, their_cpu = _peer(blobs)
            first, again = _measure(layout), _measure(layout)
            assert first["rows"] == image.entry_count, first
            ratios.append(theirs / first["seconds"])
            cpu_ratios.append(their_cpu / first["cpu"])
            agains.append(again["seconds"])
            print(
                f"tar tvzf {theirs:.2f} s (CPU {their_cpu:.2f})   first {first['seconds']:.2f} s "
                f"(CPU {first['cpu']:.2f}, process {first['process']:.2f})   again "
                f"{again['seconds']:.3f} s (process {again['process']:.2f})   "
                f"peak {first['peak_mb']:.0f} MB"
            )
        tar = subprocess.check_output(["tar", "--version"], text=True).splitlines()[0]
        targets = Targets("tables", peer=f"{tar} (tvzf)")
        print(f"times less of the processor: {statistics.median(cpu_ratios):.2f}")
        targets.at_least("files of 1 GB in gzip layers, times as fast", ratios, RATIO)
        targets.at_most("the same again", agains, AGAIN_S, "s")
        if not arguments.no_million:
            many = Path(scratch) / "million"
            _million(many)
            figures = _measure(many)
            assert figures["rows"] == MILLION
            print(f"million: {figures['seconds']:.1f} s, then {_measure(many)['seconds']:.1f} s")
            targets.at_most("peak memory, 1,000,000 entries", figures["peak_mb"], PEAK_MB, "MB")
    return 0 if targets.hold else 1


if __name__ == "__main__":
    raise SystemExit(main())
