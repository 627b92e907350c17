"""Run all benchmarks, and write what they say into one table: benchmarks/RESULTS.md.

    python benchmarks/run.py                 # all of them; half an hour on two cores
    python benchmarks/run.py plan registry

Every figure but absolute times is a ratio to a peer that was measured in the same run.
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
from pathlib import Path

from targets import RESULTS

BENCHMARKS = ("import_time", "plan", "build", "registry", "vm", "tables", "replay", "fleet")
HERE = Path(__file__).parent
HEADS = ("", "target", "holds")


def main() -> int:
    """Run them; 1 if a target does not hold or a benchmark fails."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    known = [name for name in BENCHMARKS if (HERE / f"{name}.py").exists()]
    parser.add_argument("benchmarks", nargs="*", choices=[*known, []], help="default: all")
    parser.add_argument("--results", type=Path, default=HERE / "RESULTS.md")
    options = parser.parse_args()
    load, began = os.getloadavg()[0], dt.datetime.now(dt.UTC)
    failed = []
    with tempfile.TemporaryDirectory() as scratch:
        rows_file = Path(scratch, "rows")
        rows_file.touch()
        for name in options.benchmarks or known:
            print(f"== {name}", flush=True)
            command = [sys.executable, str(HERE / f"{name}.py")]
            if subprocess.run(command, env={**os.environ, RESULTS: str(rows_file)}).returncode:
                failed.append(name)
        rows = [json.loads(line) for line in rows_file.read_text(encoding="utf-8").splitlines()]
    machine = f"Python {platform.python_version()}, {os.cpu_count()} processors ({_processor()})"
    lines = [
        "# Benchmarks", "",
        f"{began:%Y-%m-%d}, {machine}, {platform.release()}, load {load:.1f} at the start.",
        "Ratios are between what was measured in one run; `make bench` writes this file.", "",
    ]  # fmt: skip
    for name in dict.fromkeys(row["benchmark"] for row in rows):
        mine = [row for row in rows if row["benchmark"] == name]
        peers = "; ".join(dict.fromkeys(row["peer"] for row in mine if row["peer"]))
        lines += [f"## {name}", ""]
        lines += [f"Compared with {peers}.", ""] if peers else []
        lines += ["| what | figure | target | |", "|---|---:|---:|---|"]
        for row in mine:
            mark = "holds" if row["holds"] else "**does not hold**"
            lines.append(f"| {row['what']} | {row['figure']} | {row['target']} | {mark} |")
        lines.append("")
    options.results.write_text("\n".join(lines), encoding="utf-8")
    held = sum(row["holds"] for row in rows)
    print(f"== {held} of {len(rows)} targets hold; see {options.results}")
    return int(bool(failed) or held < len(rows))


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    sys.exit(main())
