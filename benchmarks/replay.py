"""What planners' layers would have cost those who pull an image: out of sample, on real packages.

Six images of the packages that the machine's own sources have (Debian 12's figures stand in the
issue that asked for this). What changed before the split is what planners may know; after it, the
images are rebuilt every week, and each layer that holds a package that changed is pulled again.
Packages are installed bytes; the ideal pulls the changed packages alone.

    python benchmarks/replay.py [--split 2025-03-01] [--images pandas] [--planners auto,history]

It prints the megabytes pulled, each planner's ratio to the best of the published ones and to the
ideal, and whether the conditions hold: at 5 to 20 layers 30% less than the best published planner
wherever that pulls more than 1.6 times the ideal, nowhere 2% more than it, and at 20 layers at most
1.35 times the ideal.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import pandas as pd

import nbdock
from nbdock.packages import Closure
from nbdock.tables import replay
from nbdock.tables.histories import history_of

IMAGES: dict[str, tuple[str, ...]] = {
    "postgresql": ("postgresql-15",),
    "services": ("redis-server", "nginx", "postgresql", "git", "python3-pandas"),
    "pandas": ("python3-pandas",),
    "node": ("nodejs", "npm"),
    "java": ("default-jre-headless",),
    "toolchain": ("build-essential",),
}
PUBLISHED = ("popularity", "auto", "size", "chunked")
BUDGETS = (5, 10, 20, 40, 100)


def main() -> None:
    """Print the tables, and whether what is asked for holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--split", default="2025-03-01")
    parser.add_argument("--images", default=",".join(IMAGES))
    parser.add_argument("--planners", default=",".join((*PUBLISHED, "history")))
    arguments = parser.parse_args()
    apt = nbdock.apt()
    failed: list[str] = []
    for name in arguments.images.split(","):
        packages = nbdock.concurrency.run(nbdock.closure([apt[p] for p in IMAGES[name]]))
        failed += _show(name, packages, arguments.planners.split(","), arguments.split)
    print("all conditions hold" if not failed else "\n".join(failed))


def _show(name: str, packages: Closure, planners: Sequence[str], split: str) -> list[str]:
    history = history_of(packages)
    begun = time.process_time()
    table = replay(packages, history, planners=planners, budgets=BUDGETS, split=split)
    spent = time.process_time() - begun
    pulled = table.pulled_bytes.groupby(["budget", "planner"], observed=True).sum().unstack()
    published = pulled[[p for p in planners if p in PUBLISHED]].min(axis=1)
    shown = pd.DataFrame(
        {planner: (pulled[planner] / 1e6).round().astype(int) for planner in (*planners, "ideal")}
    )
    shown["of best"] = (pulled[planners[-1]] / published).round(3)
    shown["of ideal"] = (pulled[planners[-1]] / pulled["ideal"]).round(3)
    print(
        f"{name}: {len(packages)} packages, {packages.size_bytes / 1e6:,.0f} MB; "
        f"{history.start} to {history.end}, split {split}; {spent:.1f} s CPU"
    )
    print(shown.to_string(), end="\n\n")
    failed = []
    for budget, mine in pulled[planners[-1]].items():
        best, ideal = published[budget], pulled["ideal"][budget]
        where = f"{name} at {budget} layers: "
        if 5 <= budget <= 20 and best > 1.6 * ideal and mine > 0.7 * best:
            failed.append(f"{where}{mine / best:.2f} of the best published planner (at most 0.7)")
        if mine > 1.02 * best:
            failed.append(f"{where}{mine / best:.3f} of the best published planner (at most 1.02)")
        if budget == 20 and mine > 1.35 * ideal:
            failed.append(f"{where}{mine / ideal:.2f} times the ideal (at most 1.35)")
    return failed


if __name__ == "__main__":
    main()
