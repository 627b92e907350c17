"""Run all benchmarks, and write what they say into one table: benchmarks/RESULTS.md.

    python benchmarks/run.py                 # all of them; half an hour on two cores
    python benchmarks/run.py plan registry
    python benchmarks/run.py --smallest --results try.md    # whether they run, not how fast

Every figure but absolute times is a ratio to a peer that was measured in the same run. A benchmark
that fails says so in the table, and the others run all the same.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from targets import RESULTS

HERE = Path(__file__).resolve().parent
SMALLEST = {
    "import_time": (),
    "plan": ("--runs", "1"),
    "build": ("--runs", "1", "--part", "debs"),
    "registry": ("--runs", "1", "--image", "few", "--part", "pull"),
    "vm": ("--runs", "1"),
    "tables": ("--runs", "1", "--no-million"),
    "replay": ("--planners", "popularity,history"),
    "fleet": ("--images", "400"),
}
"""The benchmarks, and the options with which each takes the least time."""


def main() -> int:
    """Run them; 1 if a target does not hold or a benchmark fails."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    known = [name for name in SMALLEST if (HERE / f"{name}.py").exists()]
    parser.add_argument("benchmarks", nargs="*", choices=[*known, []], help="default: all")
    parser.add_argument("--results", type=Path, default=HERE / "RESULTS.md")
    parser.add_argument("--smallest", action="store_true", help="the least that each can measure")
    options = parser.parse_args()
    head = _head(smallest=options.smallest)
    sections: list[str] = []
    held = said = 0
    for name in options.benchmarks or known:
        print(f"== {name}", flush=True)
        rows, took_s, failure = _run(name, SMALLEST[name] if options.smallest else ())
        sections += [*_section(name, rows, took_s, failure), ""]
        # After each: what was measured is not lost with a later one.
        options.results.write_text("\n".join([*head, *sections]), encoding="utf-8")
        held += sum(row["holds"] for row in rows)
        said += len(rows) + bool(failure)
    print(f"== {held} of {said} targets hold; see {options.results}")
    return int(held < said)


def _run(name: str, options: Sequence[str]) -> tuple[list[dict[str, Any]], float, str]:
    """Run one; its rows, how long it took, and why it failed, if it did."""
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch, "rows")
        place.touch()
        command = [sys.executable, str(HERE / f"{name}.py"), *options]
        environment = {**os.environ, RESULTS: str(place)}
        code = subprocess.run(command, env=environment, cwd=HERE.parent).returncode
        found = [json.loads(line) for line in place.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in found if "failure" not in row]
    failures = [row["failure"] for row in found if "failure" in row]
    # Of a target that does not hold a benchmark says 1.
    if code and not failures and (code != 1 or all(row["holds"] for row in rows)):
        failures = [f"it ended with {code}" if code > 0 else f"it was ended by signal {-code}"]
    return rows, time.monotonic() - began_s, failures[0] if failures else ""


def _head(*, smallest: bool) -> list[str]:
    machine = f"Python {platform.python_version()}, {os.cpu_count()} processors ({_processor()})"
    began, load = dt.datetime.now(dt.UTC), os.getloadavg()[0]
    small = ["In their smallest form: that they run is what this shows.", ""] if smallest else []
    return [
        "# Benchmarks", "",
        f"{began:%Y-%m-%d}, {machine}, {platform.release()}, load {load:.1f} at the start.",
        "Ratios are between what was measured in one run; `make bench` writes this file.", "",
        *small,
    ]  # fmt: skip


def _section(name: str, rows: list[dict[str, Any]], took_s: float, failure: str) -> list[str]:
    peers = "; ".join(dict.fromkeys(row["peer"] for row in rows if row["peer"]))
    lines = [f"## {name}", ""]
    lines += [f"Compared with {peers}.", ""] if peers else []
    lines += [f"Took {took_s:.0f} s.", "", "| what | figure | target | |", "|---|---:|---:|---|"]
    for row in rows:
        mark = "holds" if row["holds"] else "**does not hold**"
        lines.append(f"| {row['what']} | {row['figure']} | {row['target']} | {mark} |")
    if failure:
        told = failure.replace("|", "\\|").replace("\n", " ")
        lines.append(f"| the rest: {told} | - | - | **failed** |")
    return lines


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    sys.exit(main())
