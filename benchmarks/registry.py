"""How fast nbdock pulls and pushes, as ratios against skopeo, measured in one run on one machine.

A registry on loopback (Debian's docker-registry, plain http) has two images of 1 GB
(`registry_corpus.py`): one of 100 layers, one of 4.

    pull         into an empty store, against ``skopeo copy docker:// oci:``
    up to date   the same pull again, by tag: the registry is asked what the tag stands for
    push         what was pulled, to an empty registry, against ``skopeo copy oci: docker://``

Every measurement is a process of its own, and stands whole: Python's start and the imports count.
The time inside (after ``from nbdock import pull_image``) is given too. Peers and nbdock go in turn;
what stands is the median. All files are in memory (`--scratch` says otherwise), so that no disk is
part of it, and each measurement finds memory that was in use a moment ago (`memory.py`).

    python benchmarks/registry.py --runs 5
    python benchmarks/registry.py --ahead      # on a machine that others use too (needs root)
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import memory
import registry_corpus
from targets import Targets, needs

NEEDED_BYTES = 6 << 30
RATIO = 0.8
UP_TO_DATE_S = 0.1
PEAK_MB = 150
DEADLINE_S = 300.0


# ---- one measurement, in a process of its own ----------------------------------------------------


def _peak_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM")


def measure_here(what: str, reference: str) -> None:
    """Pull or push in this process, and print the figures as JSON."""
    from nbdock import Image, pull_image

    async def push(image: Image) -> None:
        await image.push(reference)

    again_s = 0.0
    if what == "push":
        from nbdock.content import BlobStore

        store = BlobStore.default()
        (stored,) = store.images()
        image = Image(store, stored.descriptor, "bench", "1")
        started = time.perf_counter()
        asyncio.run(push(image))
    else:
        started = time.perf_counter()
        asyncio.run(pull_image(reference))
    inside_s = time.perf_counter() - started
    if what == "up-to-date":
        started = time.perf_counter()
        asyncio.run(pull_image(reference))
        again_s = time.perf_counter() - started
    spent = os.times()
    figures = {
        "inside": inside_s,
        "again": again_s,
        "cpu": spent.user + spent.system,
        "peak_bytes": _peak_bytes(),
    }
    print(json.dumps(figures))


# ---- the run -------------------------------------------------------------------------------------


@contextlib.contextmanager
def serving(storage: Path) -> Iterator[str]:
    """Run a registry that keeps its files in `storage`; its host and port."""
    storage.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = storage.with_suffix(".json")
    document = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(storage)},
            "maintenance": {"uploadpurging": {"enabled": False}},
        },
        "http": {"addr": f"127.0.0.1:{port}", "secret": "bench"},
    }
    config.write_text(json.dumps(document))
    with subprocess.Popen(
        ["docker-registry", "serve", config],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            for _ in range(200):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.05)
            else:
                raise RuntimeError("docker-registry did not start")
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()


class Run:
    """Interleaved measurements and what they gave."""

    def __init__(self, scratch: Path) -> None:
        self.figures: dict[str, list[dict[str, float]]] = {}
        self._scratch = scratch

    def _note(self, name: str, figures: dict[str, float]) -> None:
        self.figures.setdefault(name, []).append(figures)
        inside = f" ({figures['inside']:.3f} s inside)" if "inside" in figures else ""
        print(
            f"  {name:24s} {figures['whole']:7.3f} s{inside}, {figures['cpu']:.2f} s of CPU",
            file=sys.stderr, flush=True,
        )  # fmt: skip

    def _timed(self, command: list[str], environment: dict[str, str]) -> dict[str, float]:
        memory.touch(self._scratch)
        before, started = os.times(), time.perf_counter()
        done = subprocess.run(
            command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True,
            check=False, timeout=DEADLINE_S,
        )  # fmt: skip
        whole_s, after = time.perf_counter() - started, os.times()
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed")
        cpu_s = after.children_user + after.children_system
        cpu_s -= before.children_user + before.children_system
        own = json.loads(done.stdout) if done.stdout.startswith("{") else {}
        return {**own, "whole": whole_s, "cpu": cpu_s}

    def skopeo(self, name: str, source: str, target: str) -> None:
        command = ["skopeo", "copy", "--quiet", "--src-tls-verify=false"]
        command += ["--dest-tls-verify=false", source, target]
        self._note(name, self._timed(command, {}))

    def nbdock(self, name: str, what: str, reference: str, home: Path) -> None:
        command = [sys.executable, __file__, "--one", what, reference]
        # PYTHONDONTWRITEBYTECODE would make every process compile nbdock anew.
        environment = {"NBDOCK_HOME": str(home), "PYTHONDONTWRITEBYTECODE": ""}
        self._note(name, self._timed(command, environment))

    def values(self, name: str, figure: str = "whole") -> list[float]:
        return [figures[figure] for figures in self.figures[name]]

    def median(self, name: str, figure: str = "whole") -> float:
        return statistics.median(self.values(name, figure))

    def peak_mb(self, name: str) -> float:
        return max(figures["peak_bytes"] for figures in self.figures[name]) / 1e6


def _measure(run: Run, source: str, scratch: Path, image: str, parts: set[str]) -> None:
    """Pull and push one image by both, once."""
    layout, home, empty = scratch / "layout", scratch / "home", scratch / "empty"
    reference = f"{source}/bench/{image}:1"
    try:
        run.skopeo(f"{image}: skopeo pull", f"docker://{reference}", f"oci:{layout}:bench")
        run.nbdock(f"{image}: nbdock pull", "pull", reference, home)
        run.nbdock(f"{image}: nbdock up to date", "up-to-date", reference, home)
        if "push" in parts:
            with serving(empty) as target:
                name = f"{image}: skopeo push"
                run.skopeo(name, f"oci:{layout}:bench", f"docker://{target}/bench/{image}:1")
            shutil.rmtree(empty)
            with serving(empty) as target:
                run.nbdock(f"{image}: nbdock push", "push", f"{target}/bench/{image}:1", home)
    finally:
        for folder in (layout, home, empty):
            shutil.rmtree(folder, ignore_errors=True)


def _report(run: Run, images: list[registry_corpus.BenchImage], parts: set[str]) -> bool:
    """Print the figures and ratios; whether every target holds."""
    targets = Targets("registry", peer=_version("skopeo", "--version"))
    for image in images:
        print(f"\n{image.layer_count} layers, {image.size_bytes / 1e9:.2f} GB")
        for what in ("pull", "push") if "push" in parts else ("pull",):
            peer, own = f"{image.name}: skopeo {what}", f"{image.name}: nbdock {what}"
            whole, inside = run.median(own), run.median(own, "inside")
            theirs, peak = run.median(peer), run.peak_mb(own)
            print(
                f"{what}: skopeo {theirs:.2f} s; nbdock {whole:.2f} s as a process, {inside:.2f} s "
                f"in one; CPU {run.median(peer, 'cpu'):.2f} s and {run.median(own, 'cpu'):.2f} s"
            )
            this = f"{what}, {image.layer_count} layers"
            print(f"  without Python's start {inside / theirs:.2f} times skopeo's wall time")
            ratios = [a / b for a, b in zip(run.values(own), run.values(peer), strict=True)]
            targets.at_most(f"{this}, times skopeo's wall time", ratios, RATIO)
            targets.at_most(f"{this}, peak memory", peak, PEAK_MB, "MB")
        name = f"{image.name}: nbdock up to date"
        print(
            f"up to date: {run.median(name):.2f} s as a process, "
            f"{run.median(name, 'inside'):.3f} s in one (imports httpx)"
        )
        again = run.values(name, "again")
        targets.at_most(f"up to date, {image.layer_count} layers", again, UP_TO_DATE_S, "s")
    return targets.hold


def _go_ahead() -> None:
    """Let this session's processes go before all others; the kernel groups them by session."""
    os.setsid()
    Path("/proc/self/autogroup").write_text("-20")


def _version(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", type=Path, default=Path(__file__).parent.parent / "bench")
    parser.add_argument("--scratch", type=Path, help="where images are pulled to")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--image", action="append", choices=["many", "few"])
    parser.add_argument("--part", action="append", choices=["pull", "push"])
    parser.add_argument("--ahead", action="store_true", help="before all other processes (root)")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measure_here(*options.one)
        return
    if options.ahead and os.fork():
        # A session is made by who leads none.
        raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]))
    if options.ahead:
        _go_ahead()
    parts = set(options.part or ["pull", "push"])
    needs("skopeo", "docker-registry")
    versions = f"{_version('skopeo', '--version')}; {_version('docker-registry', '--version')}"
    corpus = registry_corpus.prepare(options.directory)
    images = [corpus[name] for name in options.image or corpus]
    with tempfile.TemporaryDirectory(
        prefix="nbdock-bench-", dir=options.scratch or memory.in_memory(NEEDED_BYTES)
    ) as t:
        scratch = Path(t)
        run = Run(scratch)
        print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {versions}")
        print(f"In {scratch.parent}; load {os.getloadavg()[0]:.1f} before")
        with serving(scratch / "source") as source:
            for image in images:
                subprocess.run(
                    ["skopeo", "copy", "--quiet", "--dest-tls-verify=false",
                     f"oci:{image.layout}:bench", f"docker://{source}/bench/{image.name}:1"],
                    check=True, timeout=DEADLINE_S,
                )  # fmt: skip
            for _ in range(options.runs):
                for image in images:
                    _measure(run, source, scratch, image.name, parts)
        print(f"load {os.getloadavg()[0]:.1f} after")
    if not _report(run, images, parts):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
