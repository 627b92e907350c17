"""How fast nbdock builds, as ratios against named peers, measured in one run on one machine.

    store paths, cold    nbdock with an empty NBDOCK_HOME, to an uncompressed docker-archive,
                         against the two-pass streamer of nixpkgs (`two_pass.py`)
    store paths, warm    nbdock again with nothing changed, to a ready Image, against the same
    .debs, cold          nbdock from a local APT repository, nothing cached, against
                         ``dpkg-deb --fsys-tarfile | sha256sum`` over the same files, two at a time
    one large file       nbdock's peak memory for a file of 1 GB

Every measurement is a process of its own, timed inside (after ``from nbdock import
build_layered_image, directory``), peers and nbdock in turn; what stands is the median. What is
read is in the page cache, what is written stays in memory (`--scratch` says otherwise), and each
finds memory that was in use a moment ago (`memory.py`).

    python benchmarks/build.py --runs 3
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import corpus
import memory
import two_pass
from targets import Targets, needs

MAX_LAYERS = 100
LARGE_FILE_BYTES = 1 << 30
NEEDED_BYTES = 6 << 30


# ---- one measurement, in a process of its own ----------------------------------------------------


def _peak_memory_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM")


def _cpu_seconds() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def _two_pass(bench: Path, output: Path) -> None:
    two_pass.build(sorted((bench / "store").iterdir()), output, max_layers=MAX_LAYERS)


async def _build_store_paths(bench: Path) -> Any:
    import nbdock

    paths = sorted((bench / "store").iterdir())
    contents = [nbdock.directory(path, root=f"/nix/store/{path.name}") for path in paths]
    return await nbdock.build_layered_image(name="bench", contents=contents, max_layers=MAX_LAYERS)


def _store_paths_archive(bench: Path, output: Path) -> None:
    async def run() -> None:
        image = await _build_store_paths(bench)
        await image.save(output, format="docker-archive", compression="none")

    asyncio.run(run())


def _store_paths_image(bench: Path, _output: Path) -> None:
    asyncio.run(_build_store_paths(bench))


def _debs_image(bench: Path, _output: Path) -> None:
    import nbdock

    repository = bench / "repository"
    packages = nbdock.apt(
        mirror=repository.as_uri(), suite="bench", components=["main"],
        keyring=repository / "keyring.gpg",
    )  # fmt: skip
    names = sorted({deb.name.split("_")[0] for deb in (bench / "debs").glob("*.deb")})
    contents = [packages[name] for name in names]
    asyncio.run(nbdock.build_layered_image(name="bench", contents=contents, max_layers=MAX_LAYERS))


def _debs_dpkg(bench: Path, _output: Path) -> None:
    command = "find \"$0\" -name '*.deb' -print0 | xargs -0 -n1 -P2 sh -c "
    command += "'dpkg-deb --fsys-tarfile \"$0\" | sha256sum' >/dev/null"
    subprocess.run(["sh", "-c", command, bench / "debs"], check=True)


def _large_file_image(bench: Path, _output: Path) -> None:
    import nbdock

    folder = nbdock.directory(bench / "large", root="/nix/store/large")
    asyncio.run(nbdock.build_layered_image(name="large", contents=[folder]))


MEASUREMENTS: dict[str, Callable[[Path, Path], None]] = {
    "two-pass": _two_pass,
    "nbdock-cold": _store_paths_archive,
    "nbdock-warm": _store_paths_image,
    "dpkg-deb": _debs_dpkg,
    "nbdock-debs": _debs_image,
    "nbdock-large": _large_file_image,
}


def measure_here(name: str, bench: Path, output: Path) -> None:
    """Run one measurement in this process and print its figures as JSON."""
    if name.startswith("nbdock"):
        # Imports are measured by import_time.py; names are imported when they are first asked for.
        from nbdock import build_layered_image, directory  # noqa: F401
    output.unlink(missing_ok=True)
    started, cpu_before = time.perf_counter(), _cpu_seconds()
    MEASUREMENTS[name](bench, output)
    figures = {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": _cpu_seconds() - cpu_before,
        "peak_bytes": _peak_memory_bytes(),
    }
    if name == "nbdock-warm":
        started = time.perf_counter()
        MEASUREMENTS[name](bench, output)
        figures["again_seconds"] = time.perf_counter() - started
    output.unlink(missing_ok=True)
    print(json.dumps(figures))


# ---- the run -------------------------------------------------------------------------------------


class Run:
    """Interleaved measurements and what they gave."""

    def __init__(self, bench: Path, scratch: Path) -> None:
        self.bench = bench
        self.scratch = scratch
        self.figures: dict[str, list[dict[str, float]]] = {}
        self.warm_home = Path(tempfile.mkdtemp(prefix="home-warm-", dir=scratch))

    def measure(self, name: str, *, home: Path | None = None, keep: bool = True) -> None:
        """One process; without `home`, an empty NBDOCK_HOME that is removed afterwards."""
        own = home or Path(tempfile.mkdtemp(prefix="home-", dir=self.scratch))
        for part in ("store", "debs"):
            _read_all(self.bench / part)
        memory.touch(self.scratch)
        try:
            done = subprocess.run(
                [sys.executable, __file__, "--directory", self.bench, "--scratch", self.scratch,
                 "--one", name],
                # PYTHONDONTWRITEBYTECODE would make every process compile nbdock anew.
                env={**os.environ, "NBDOCK_HOME": str(own), "PYTHONDONTWRITEBYTECODE": ""},
                stdout=subprocess.PIPE, text=True,
                check=False,
            )  # fmt: skip
        finally:
            if home is None:
                shutil.rmtree(own)
        if done.returncode:
            raise RuntimeError(f"the measurement {name} failed")
        figures = json.loads(done.stdout.splitlines()[-1])
        print(
            f"  {name:13s} {figures['seconds']:8.3f} s ({figures['cpu_seconds']:.3f} s of CPU)",
            file=sys.stderr,
            flush=True,
        )
        if keep:
            self.figures.setdefault(name, []).append(figures)

    def values(self, name: str, figure: str = "seconds") -> list[float]:
        return [figures[figure] for figures in self.figures[name]]

    def median(self, name: str, figure: str = "seconds") -> float:
        return statistics.median(self.values(name, figure))

    def ratios(self, one: str, other: str, figure: str = "seconds") -> list[float]:
        """Of what was measured in turn, each with the one beside it."""
        pairs = zip(self.values(one, figure), self.values(other, figure), strict=True)
        return [a / b for a, b in pairs]

    def peak_mb(self, name: str) -> float:
        return max(figures["peak_bytes"] for figures in self.figures[name]) / 1e6


def _version(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).splitlines()[0]


def _report(run: Run, parts: set[str]) -> bool:
    """Print the figures and ratios; whether every target holds."""
    targets = Targets(
        "build", peer=f"a two-pass tarfile streamer; {_version('dpkg-deb', '--version')}"
    )
    peer = run.median("two-pass") if "two-pass" in run.figures else 0.0
    if peer:
        print(f"two-pass tarfile streamer      {peer:8.2f} s   {run.peak_mb('two-pass'):6.0f} MB")
    if "store" in parts:
        cold, warm = run.median("nbdock-cold"), run.median("nbdock-warm")
        again = run.median("nbdock-warm", "again_seconds")
        print(
            f"nbdock, cold, archive saved    {cold:8.2f} s   {run.peak_mb('nbdock-cold'):6.0f} MB"
        )
        targets.at_least(
            "cold build, times as fast as the streamer", run.ratios("two-pass", "nbdock-cold"), 5
        )
        cpu = statistics.median(run.ratios("two-pass", "nbdock-cold", "cpu_seconds"))
        print(f"  times less of the processor: {cpu:.2f}")
        print(
            f"nbdock, warm, ready Image      {warm:8.3f} s   {run.peak_mb('nbdock-warm'):6.0f} MB"
        )
        print(f"  once more in the same process {again:7.3f} s")
        targets.at_most("warm build", run.values("nbdock-warm"), 0.3, "s")
        targets.at_least(
            "warm build, times as fast as the streamer", run.ratios("two-pass", "nbdock-warm"), 50
        )
        targets.at_most("peak memory, cold", run.peak_mb("nbdock-cold"), 200, "MB")
    if "debs" in parts:
        unpacked, debs = run.median("dpkg-deb"), run.median("nbdock-debs")
        print(f"dpkg-deb | sha256sum, two at a time {unpacked:.2f} s")
        print(
            f"nbdock from the .debs, cold    {debs:8.2f} s   {run.peak_mb('nbdock-debs'):6.0f} MB"
        )
        targets.at_most(
            "from .debs, times dpkg-deb | sha256sum", run.ratios("nbdock-debs", "dpkg-deb"), 1.2
        )
        targets.at_most("peak memory, from .debs", run.peak_mb("nbdock-debs"), 200, "MB")
    if "large" in parts:
        peak = run.peak_mb("nbdock-large")
        print(
            f"nbdock, one file of 1 GB       {run.median('nbdock-large'):8.2f} s   {peak:6.0f} MB"
        )
        targets.at_most("peak memory, a file of 1 GB", peak, 200, "MB")
    return targets.hold


def _read_all(root: Path) -> None:
    """Bring a tree into the page cache, so that no side pays for the disk."""
    buffer = bytearray(1 << 20)
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                with open(path, "rb", buffering=0) as file:
                    while file.readinto(buffer):
                        pass


def _measure(run: Run, parts: set[str], runs: int) -> None:
    """Measure each in turn, `runs` times."""
    if "store" in parts:
        run.measure("nbdock-warm", home=run.warm_home, keep=False)
    for _ in range(runs):
        if parts & {"peer", "store"}:
            run.measure("two-pass")
        if "store" in parts:
            run.measure("nbdock-cold")
            run.measure("nbdock-warm", home=run.warm_home)
        if "debs" in parts:
            run.measure("dpkg-deb")
            run.measure("nbdock-debs")
    if "large" in parts:
        large = run.bench / "large"
        large.mkdir(exist_ok=True)
        try:
            with (large / "file").open("wb") as file:
                file.truncate(LARGE_FILE_BYTES)
            run.measure("nbdock-large")
        finally:
            shutil.rmtree(large)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", type=Path, default=Path(__file__).parent.parent / "bench")
    parser.add_argument("--scratch", type=Path, help="where images are built to")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--part", action="append", choices=["peer", "store", "debs", "large"])
    parser.add_argument("--one", choices=MEASUREMENTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    bench = options.directory.resolve()
    if options.one:
        measure_here(options.one, bench, options.scratch / f"{options.one}.tar")
        return
    parts = set(options.part or ["store", "debs", "large"])
    needs("apt-get", "dpkg-deb", "apt-ftparchive", "gpg")
    found = corpus.prepare(bench)
    debs_bytes = sum(deb.stat().st_size for deb in found.debs)
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.release()}")
    print(f"{_version('dpkg-deb', '--version')}; {_version('sha256sum', '--version')}")
    print(
        f"{len(found.debs)} packages, {found.entry_count:,} entries, "
        f"{found.size_bytes / 1e9:.2f} GB, {MAX_LAYERS} layers; {debs_bytes / 1e6:.0f} MB as .debs"
    )
    with tempfile.TemporaryDirectory(
        prefix="nbdock-bench-", dir=options.scratch or memory.in_memory(NEEDED_BYTES)
    ) as t:
        run = Run(bench, Path(t))
        _measure(run, parts, options.runs)
    print()
    if not _report(run, parts):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
