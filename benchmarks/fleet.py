"""A registry of thousands of small images: scanned by threads, by two Dask workers, and killed.

The registry is Debian's docker-registry on loopback, filled by writing into its storage. Both ways
to scan must give the same tables, and no process may take a gigabyte. A third scan gets a SIGKILL
from outside while its batches come in; taken up again, with nothing but the finished parts to go
by, it must give the same tables too, and fetch no manifest of a finished batch again: the
registry's access log says so.

    python benchmarks/fleet.py [--images 2000] [--packages]
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from targets import Targets, needs

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

BATCH = 50
MOST_MEBIBYTES = 1000.0

PROGRAM = """
import sys
from nbdock.tables import fleet_table

fleet_table(open(sys.argv[2]).read().split(), directory=sys.argv[1], packages=sys.argv[3] == "True")
"""


def main() -> int:
    """Print how long the scans take, and whether what is asked for holds; 1 if it does not."""
    import distributed
    import pandas as pd
    from support.fleets import fill
    from support.registry import docker_registry

    from nbdock.tables import Fleet, fleet_table

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--packages", action="store_true", help="read the layers, too")
    arguments = parser.parse_args()
    needs("docker-registry")
    count, packages = arguments.images, arguments.packages
    targets = Targets("fleet", peer="a scan that nothing interrupts")

    def is_same(one: Fleet, other: Fleet) -> bool:
        for kind in one.parts:
            pd.testing.assert_frame_equal(one.table(kind), other.table(kind))
        return True

    with tempfile.TemporaryDirectory() as scratch, docker_registry(Path(scratch, "r")) as registry:
        filled = fill(registry.storage, images=count, layers=max(8, count // 7))
        names = [f"{registry.host}/{name}" for name in filled.names]

        def scan(number: int, **how: Any) -> Fleet:
            # A home of its own: nothing but the parts in the directory can spare a request.
            os.environ["NBDOCK_HOME"] = f"{scratch}/home-{number}"
            return fleet_table(names, packages=packages, batch_size=BATCH, **how)

        with _timed(f"threads, {count} images"):
            one = scan(1, directory=f"{scratch}/a")
        with (
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, dashboard_address=None
            ) as cluster,
            cluster.get_client() as client,
        ):
            with _timed("two Dask workers"):
                two = scan(2, client=client, directory=f"{scratch}/b")
            of_workers = max(client.run(_peak_mebibytes).values())
        rows = " and ".join(f"{len(one.table(kind)):,} {kind}" for kind in one.parts)
        targets.that(f"threads and workers give the same tables of {rows}", is_same(one, two))

        os.environ["NBDOCK_HOME"] = f"{scratch}/home-3"
        start = len(registry.requests)
        done = _killed_in_the_middle(scratch, names, packages, registry, start)
        killed = len(registry.requests)
        before = _manifests(registry.requests[start:killed])
        with _timed(f"going on after {len(done)} of {-(-count // BATCH)} batches"):
            three = scan(4, directory=f"{scratch}/c")
        again = _manifests(registry.requests[killed:])
        targets.that("the resumed scan gives the same tables", is_same(one, three))
        found = one.table("images")
        finished = found.digest[found.image.isin(_images_of(scratch, done))]
        assert len(finished) == BATCH * len(done)
        targets.that(
            f"none of the {len(finished)} manifests of finished batches fetched again",
            not any(again[digest] for digest in finished),
        )
        others = set(found.digest) - set(finished)
        targets.that(
            f"each of the other {len(others)} manifests fetched once after the kill "
            f"({sum(before[d] for d in others)} had been before it)",
            all(again[digest] == 1 for digest in others),
        )
        targets.at_most("memory of this process", _peak_mebibytes(), MOST_MEBIBYTES, "MiB")
        targets.at_most("memory of a Dask worker", of_workers, MOST_MEBIBYTES, "MiB")
    return int(not targets.hold)


def _killed_in_the_middle(
    scratch: str, names: list[str], packages: bool, registry: Any, start: int
) -> set[str]:
    """Scan in another process, kill it in the middle of a batch; the parts that are there."""
    Path(scratch, "names").write_text("\n".join(names))
    middle = len(names) // 2 + BATCH // 2
    command = [sys.executable, "-c", PROGRAM, f"{scratch}/c", f"{scratch}/names", str(packages)]
    with subprocess.Popen(command) as process:
        while process.poll() is None and _manifests(registry.log.lines[start:]).total() < middle:
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    done = {path.name for path in Path(scratch, "c", "images").iterdir()}
    assert 0 < len(done) < len(names) // BATCH
    return done


def _images_of(scratch: str, parts: set[str]) -> set[str]:
    """The images of these parts."""
    import pyarrow.parquet as pq

    tables = (pq.read_table(f"{scratch}/c/images/{name}", columns=["image"]) for name in parts)
    return {image for table in tables for image in table["image"].to_pylist()}


def _manifests(requests: list[str]) -> collections.Counter[str]:
    """How often the manifest of each digest was fetched."""
    found = (re.search(r"GET \S+/manifests/(sha256:\w+)", line) for line in requests)
    return collections.Counter(match[1] for match in found if match)


@contextlib.contextmanager
def _timed(what: str) -> Iterator[None]:
    begun, spent = time.perf_counter(), time.process_time()
    yield
    print(
        f"{what}: {time.perf_counter() - begun:.1f} s, "
        f"{time.process_time() - spent:.1f} s CPU of this process"
    )


def _peak_mebibytes() -> float:
    # Not what getrusage says, which begins with that of the process it was forked from.
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:")) / 1024


if __name__ == "__main__":
    sys.exit(main())
