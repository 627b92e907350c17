"""What planners' layers would have cost those who pull an image: out of sample, on real packages.

Six images of the packages that the machine's own sources have. What changed before the split is
what planners may know; after it, the images are rebuilt every week, and each layer that holds a
package that changed is pulled again. Packages are installed bytes; the ideal pulls the changed
packages alone.

    python benchmarks/replay.py [--split 2025-03-01] [--images pandas] [--planners auto,history]

It prints the megabytes pulled, each planner's ratio to the best of the published ones and to the
ideal, and whether the conditions hold: at 5 to 20 layers 30% less than the best published planner
wherever that pulls more than 1.6 times the ideal, nowhere 2% more than it, and at 20 layers at most
1.35 times the ideal.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

import pandas as pd
from targets import Targets

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


def main() -> int:
    """Print the tables, and whether what is asked for holds; 1 if it does not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--split", default="2025-03-01")
    parser.add_argument("--images", default=",".join(IMAGES))
    parser.add_argument("--planners", default=",".join((*PUBLISHED, "history")))
    arguments = parser.parse_args()
    apt = nbdock.apt()
    targets = Targets("replay", peer="the planners popularity, auto, size and chunked")
    for name in arguments.images.split(","):
        packages = nbdock.concurrency.run(nbdock.closure([apt[p] for p in IMAGES[name]]))
        _show(name, packages, arguments.planners.split(","), arguments.split, targets)
    return int(not targets.hold)


def _show(
    name: str, packages: Closure, planners: Sequence[str], split: str, targets: Targets
) -> None:
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
    for budget, mine in pulled[planners[-1]].items():
        best, ideal = published[budget], pulled["ideal"][budget]
        what = f"{name}, {budget} layers, bytes pulled, times"
        is_far = 5 <= budget <= 20 and best > 1.6 * ideal
        targets.at_most(
            f"{what} the best published planner's", mine / best, 0.7 if is_far else 1.02
        )
        if budget == 20:
            targets.at_most(f"{what} the ideal", mine / ideal, 1.35)


if __name__ == "__main__":
    sys.exit(main())
