"""How fast commands run as root in a virtual machine, and against libguestfs, in one run.

A base image of 150 MB and 7,000 files, and on it a script that makes a directory for a user:

    first     nothing is there: the base's disk is made, a guest boots and is kept
    cold      the base's disk is there, and no snapshot: a guest boots and is kept
    warm      a guest begins with the snapshot; the second script of a process
    at once   four different scripts in one process, warm

against ``guestfish -a /dev/null run``, which boots libguestfs' own guest and runs nothing in it,
with the same QEMU without KVM (`LIBGUESTFS_BACKEND=direct`, force_tcg). Where nbdock finds a KVM
that is worth using, libguestfs may use it as well.

Every measurement is a process of its own, timed inside (after the imports); peers and nbdock go in
turn, and what stands is the median, with the quickest beside it. The time of the processor counts
all processes, QEMU too: where others use the machine, it says more than the clock.

    python benchmarks/vm.py --runs 5
    python benchmarks/vm.py --large          # a base of 1 GB in 24 layers, without the targets
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from targets import Targets, absent, needs

FILES = 7_000
BYTES = 150 << 20
AT_ONCE = 4
LARGE_BYTES = 1 << 30
LARGE_LAYERS = 24

START_S = 0.4
WARM_S = 1.2
COLD_S = 3.5
RATIO = 8.0


def _cpu_s() -> float:
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in spent)


# ---- the base ------------------------------------------------------------------------------------


def make_tree(tree: Path) -> None:
    """A root file system with a shell, and files."""
    busybox = shutil.which("busybox")
    assert busybox is not None
    (tree / "bin").mkdir(parents=True)
    (tree / "etc").mkdir()
    (tree / "usr").mkdir()
    shutil.copy(busybox, tree / "bin" / "busybox")
    for applet in ("sh", "mkdir", "chown"):
        (tree / "bin" / applet).symlink_to("busybox")
    (tree / "etc" / "passwd").write_text(
        "root:x:0:0::/root:/bin/sh\nredis:x:100:101::/data:/bin/sh\n"
    )
    make_files(tree / "usr", FILES, BYTES)


def make_files(folder: Path, count: int, size_bytes: int) -> None:
    """Files of which half would compress; always the same."""
    chance = random.Random(5)
    for number in range(count):
        inner = folder / f"{number % 97:02}"
        inner.mkdir(parents=True, exist_ok=True)
        size = size_bytes // count
        data = chance.randbytes(size // 2) + b"an everyday line of text\n" * (size // 50)
        (inner / f"file-{number}").write_bytes(data)


def prepare(bench: Path, *, large: bool) -> None:
    """The base image, in a store of its own."""
    import nbdock

    if (bench / "base").exists():
        return
    shutil.rmtree(bench, ignore_errors=True)
    make_tree(bench / "tree")
    contents = nbdock.directory(bench / "tree")
    image = asyncio.run(nbdock.build_image("base", tag="1", contents=contents))
    for number in range(1, LARGE_LAYERS) if large else ():
        folder = bench / f"layer-{number}"
        more = (LARGE_BYTES - BYTES) // (LARGE_LAYERS - 1)
        make_files(folder / "srv" / str(number), FILES // 10, more)
        image = asyncio.run(
            nbdock.build_image(
                "base", tag="1", from_image=image, contents=nbdock.directory(folder)
            )
        )  # fmt: skip
        shutil.rmtree(folder)
    (bench / "base").write_text(str(image.digest))


# ---- one measurement, in a process of its own ----------------------------------------------------


def measure_here(what: str) -> None:
    """Run scripts in this process, and print the figures as JSON."""
    from nbdock import Image, run_as_root
    from nbdock.content import BlobStore
    from nbdock.vm import tasks

    times: list[dict[str, Any]] = []
    task_result = tasks.GuestResult

    def noted(**facts: Any) -> Any:
        times.append(facts)
        return task_result(**facts)

    # What a guest's job took by parts is not among what the caller of run_as_root gets.
    tasks.GuestResult = noted  # type: ignore[assignment, misc]
    store = BlobStore.default()
    digest = (store.home.parent / "base").read_text()
    stored = next(each for each in store.images() if str(each.descriptor.digest) == digest)
    base = Image(store, stored.descriptor, "base", "1")

    async def script() -> None:
        # No script is run twice on one base: each is another.
        text = f"mkdir /data\nchown redis /data\n# {os.urandom(8).hex()}\n"
        await run_as_root(base, text)

    async def at_once() -> None:
        await asyncio.gather(*(script() for _ in range(AT_ONCE)))

    if what in ("warm", "at once"):
        begin = time.perf_counter()
        asyncio.run(script())
        before_s = time.perf_counter() - begin
        times.clear()
    else:
        before_s = 0.0
    cpu, begin = _cpu_s(), time.perf_counter()
    asyncio.run(at_once() if what == "at once" else script())
    wall = time.perf_counter() - begin
    print(
        json.dumps(
            {
                "wall": wall,
                "cpu": _cpu_s() - cpu,
                "before": before_s,
                "taken": statistics.median(each["times"]["taken"] for each in times),
                "start": statistics.median(each["times"]["started"] for each in times),
                "warm": [each["warm"] for each in times],
                "accelerator": str(times[0]["accelerator"]),
            }
        )
    )


# ---- the run -------------------------------------------------------------------------------------


class Run:
    """The measurements so far, by name."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.found: dict[str, list[dict[str, Any]]] = {}

    def nbdock(self, what: str) -> None:
        """Measure nbdock; what is to be made anew is removed before."""
        for folder in {"first": ("snapshots", "layers"), "cold": ("snapshots",)}.get(what, ()):
            shutil.rmtree(self.home / "vm" / folder, ignore_errors=True)
        done = subprocess.run(
            [sys.executable, __file__, "--measure", what],
            env={**os.environ, "NBDOCK_HOME": str(self.home)},
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        self._add(what, json.loads(done.stdout.splitlines()[-1]))

    def guestfish(self) -> None:
        """Measure libguestfs."""
        environment = {**os.environ, "LIBGUESTFS_BACKEND": "direct"}
        environment["LIBGUESTFS_BACKEND_SETTINGS"] = "force_tcg"
        cpu, begin = _cpu_s(), time.perf_counter()
        subprocess.run(["guestfish", "-a", "/dev/null", "run"], env=environment, check=True)
        wall = time.perf_counter() - begin
        self._add("guestfish", {"wall": wall, "cpu": _cpu_s() - cpu})

    def _add(self, what: str, figures: dict[str, Any]) -> None:
        self.found.setdefault(what, []).append(figures)
        shown = {k: round(v, 2) for k, v in figures.items() if isinstance(v, float)}
        print(f"  {what}: {shown}", file=sys.stderr, flush=True)

    def all(self, what: str, figure: str = "wall") -> list[float]:
        """Of every run."""
        return [each[figure] for each in self.found[what]]

    def of(self, what: str, figure: str = "wall") -> float:
        """The median."""
        return statistics.median(self.all(what, figure))

    def best(self, what: str, figure: str = "wall") -> float:
        """The quickest."""
        return min(each[figure] for each in self.found[what])


def _version(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return ""
    return subprocess.check_output(command, text=True).strip()


def report(run: Run, *, large: bool) -> bool:
    """Print the figures and ratios; whether every target holds. A large base has no targets."""
    targets = Targets("vm", peer=_version("guestfish", "--version"))
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} processors")
    print(f"nbdock uses {run.found['warm'][0]['accelerator']}")
    for what, rows in run.found.items():
        print(
            f"{what:10} {run.of(what):6.2f} s  (quickest {run.best(what):.2f}, "
            f"processor {run.of(what, 'cpu'):.2f} s, n={len(rows)})"
        )
    for what in ("warm", "at once"):
        if not all(all(row["warm"]) for row in run.found[what]):
            targets.that(f"{what}: all of them were warm", False)
    start, warm = run.of("warm", "start"), run.of("warm")
    print(f"commands begin after {start:.2f} s (quickest {run.best('warm', 'start'):.2f})")
    if not large:
        targets.at_most("the guest has its job, warm", run.all("warm", "taken"), START_S, "s")
        targets.at_most("a script on a base of 150 MB, warm", run.all("warm"), WARM_S, "s")
        targets.at_most("the same, cold", run.all("cold"), COLD_S, "s")
    if "guestfish" in run.found:
        pairs = zip(run.all("guestfish"), run.all("warm"), strict=True)
        ratios = [theirs / own for theirs, own in pairs]
        if large:
            print(f"      {statistics.median(ratios):.1f} times as fast as guestfish")
        else:
            targets.at_least("the warm script, times as fast as guestfish", ratios, RATIO)
        work = run.of("guestfish", "cpu") / run.of("warm", "cpu")
        print(f"      and {work:.1f} times less time of the processor")
    print(f"      the first script of a process: {run.of('warm', 'before'):.2f} s")
    print(f"      {AT_ONCE} at once: {run.of('at once') / warm:.1f} times as long as one")
    return targets.hold


def main() -> None:
    parser = argparse.ArgumentParser(description="Virtual machines: time and ratios.")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--directory", type=Path, default=Path("bench"))
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure_here(options.measure)
        return
    needs("busybox", f"qemu-system-{platform.machine()}")
    bench = options.directory.resolve() / ("vm-large" if options.large else "vm")
    home = bench / "home"
    os.environ["NBDOCK_HOME"] = str(home)
    prepare(bench, large=options.large)
    run = Run(home)
    has_peer = shutil.which("guestfish") is not None
    if has_peer:
        # Its first call of all makes the guest; what is compared is the next ones.
        run.guestfish()
        run.found.clear()
    else:
        absent("the comparison: guestfish is not installed (apt-get install libguestfs-tools)")
    run.nbdock("first")
    for _ in range(options.runs):
        run.nbdock("cold")
        run.nbdock("warm")
        if has_peer:
            run.guestfish()
        run.nbdock("at once")
    sys.exit(not report(run, large=options.large))


if __name__ == "__main__":
    main()
