"""A registry of thousands of small images, scanned by threads and by two Dask workers.

The registry is Debian's docker-registry on loopback, filled by writing into its storage. Both scans
must give the same tables, a scan that is killed in the middle must go on where it was, and no
process may take a gigabyte.

    python benchmarks/fleet.py [--images 2000] [--packages]
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

PROGRAM = """
import os, signal, sys
from nbdock.tables import fleet_table

def die(what, done, total):
    if done >= total // 2:
        os.kill(os.getpid(), signal.SIGKILL)

fleet_table(open(sys.argv[2]).read().split(), directory=sys.argv[1], progress=die)
"""


def main() -> None:
    """Print how long the scans take, and what they took."""
    import distributed
    import pandas as pd
    from support.fleets import fill
    from support.registry import docker_registry

    from nbdock.tables import fleet_table

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--packages", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, docker_registry(Path(scratch, "r")) as registry:
        count = arguments.images
        filled = fill(registry.storage, images=count, layers=max(8, count // 7))
        names = [f"{registry.host}/{name}" for name in filled.names]
        os.environ["NBDOCK_HOME"] = f"{scratch}/home-1"
        begun, cpu = time.perf_counter(), time.process_time()
        one = fleet_table(names, directory=f"{scratch}/a", packages=arguments.packages)
        print(
            f"threads: {count} images in {time.perf_counter() - begun:.1f} s "
            f"(CPU {time.process_time() - cpu:.1f} s), peak {_peak_mebibytes():.0f} MiB"
        )
        os.environ["NBDOCK_HOME"] = f"{scratch}/home-2"
        with (
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, dashboard_address=None
            ) as c,
            c.get_client() as client,
        ):
            begun = time.perf_counter()
            two = fleet_table(
                names, client=client, directory=f"{scratch}/b", packages=arguments.packages
            )
            took = time.perf_counter() - begun
            peak = max(client.run(_peak_mebibytes).values())
        print(f"two Dask workers: {took:.1f} s, peak {peak:.0f} MiB each")
        for kind in one.parts:
            pd.testing.assert_frame_equal(one.table(kind), two.table(kind))
        print("the tables are equal:", {kind: len(one.table(kind)) for kind in one.parts})

        os.environ["NBDOCK_HOME"] = f"{scratch}/home-3"
        Path(scratch, "names").write_text("\n".join(names))
        command = [sys.executable, "-c", PROGRAM, f"{scratch}/c", f"{scratch}/names"]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
        done = len(os.listdir(f"{scratch}/c/images"))
        os.environ["NBDOCK_HOME"] = f"{scratch}/home-4"
        before = registry.count("GET .*/manifests/")
        three = fleet_table(names, directory=f"{scratch}/c")
        again = registry.count("GET .*/manifests/") - before
        print(f"killed after {done} batches: {again} of {count} manifests were fetched after it")
        assert again == count - 50 * done
        pd.testing.assert_frame_equal(one.table("layers"), three.table("layers"))


def _peak_mebibytes() -> float:
    # Not what getrusage says, which begins with that of the process it was forked from.
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:")) / 1024


if __name__ == "__main__":
    main()
