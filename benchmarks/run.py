"""Run all benchmarks, and write what they say into one table: benchmarks/RESULTS.md.

    python benchmarks/run.py                 # all of them; a quarter of an hour on two cores
    python benchmarks/run.py plan registry
    python benchmarks/run.py --smallest --results try.md    # whether they run, not how fast

Every figure but absolute times is a ratio to a peer that was measured in the same run. A benchmark
that fails says so in the table, one whose peer is not installed says what is missing, and the
others run all the same. What they build from stays in bench/ for the next run (4 GB); ``make
clean`` removes it.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import datetime as dt
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
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


BUSY = 0.1
"""Of the processors' time, what others may take before the table says that seconds are too many."""


@dataclasses.dataclass(frozen=True)
class Section:
    """What one benchmark said, how long it took, and how busy the machine was with other things."""

    name: str
    rows: list[dict[str, Any]]
    took_s: float
    busy: float
    absent: str = ""
    failure: str = ""


def main() -> int:
    """Run them; 1 if a target does not hold or a benchmark fails."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    known = [name for name in SMALLEST if (HERE / f"{name}.py").exists()]
    parser.add_argument("benchmarks", nargs="*", choices=[*known, []], help="default: all")
    parser.add_argument("--results", type=Path, default=HERE / "RESULTS.md")
    parser.add_argument("--smallest", action="store_true", help="the least that each can measure")
    options = parser.parse_args()
    began = _began()
    sections: list[Section] = []
    for name in options.benchmarks or known:
        print(f"== {name}", flush=True)
        sections.append(_run(name, SMALLEST[name] if options.smallest else ()))
        # After each: what was measured is not lost with a later one.
        lines = [*_head(began, sections, smallest=options.smallest)]
        lines += [line for section in sections for line in _told(section)]
        options.results.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"== {_held(sections)}; see {options.results}")
    return int(any(s.failure or not all(row["holds"] for row in s.rows) for s in sections))


def _run(name: str, options: Sequence[str]) -> Section:
    """Run one."""
    began_s, others_s = time.monotonic(), _others_s()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch, "rows")
        place.touch()
        command = [sys.executable, str(HERE / f"{name}.py"), *options]
        environment = {**os.environ, RESULTS: str(place)}
        code = subprocess.run(command, env=environment, cwd=HERE.parent).returncode
        found = [json.loads(line) for line in place.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in found if "holds" in row]
    absent = [row["absent"] for row in found if "absent" in row]
    failures = [row["failure"] for row in found if "failure" in row]
    # Of a target that does not hold a benchmark says 1.
    if code and not failures and (code != 1 or all(row["holds"] for row in rows)):
        failures = [f"it ended with {code}" if code > 0 else f"it was ended by signal {-code}"]
    took_s = time.monotonic() - began_s
    busy = (_others_s() - others_s) / took_s / (os.cpu_count() or 1)
    return Section(name, rows, took_s, max(busy, 0.0), "; ".join(absent), "".join(failures[:1]))


def _others_s() -> float:
    """What all processes but those that this one has waited for took of the processors. Seconds."""
    fields = Path("/proc/stat").read_text().partition("\n")[0].split()
    user, nice, system, _, _, irq, softirq, steal = map(int, fields[1:9])
    all_s = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    own = resource.getrusage(resource.RUSAGE_CHILDREN)
    return all_s - own.ru_utime - own.ru_stime


def _held(sections: Sequence[Section]) -> str:
    held = sum(row["holds"] for section in sections for row in section.rows)
    said = sum(len(section.rows) + bool(section.failure) for section in sections)
    return f"{held} of {said} targets hold"


def _began() -> str:
    """When, of what, and on what: the line that all figures are to be read with."""
    machine = f"Python {platform.python_version()}, {os.cpu_count()} processors ({_processor()})"
    return (
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {_commit()}, {machine}, Linux {platform.release()}."
    )


def _commit() -> str:
    """The commit that is measured; that there are changes to it, if there are."""
    git = ["git", "-C", str(HERE.parent)]
    try:
        commit = subprocess.check_output([*git, "rev-parse", "--short", "HEAD"], text=True).strip()
        changed = subprocess.check_output(
            [*git, "status", "--porcelain", "--untracked-files=no", "nbdock", "benchmarks/*.py"]
        )
    except (OSError, subprocess.CalledProcessError):
        return "no git checkout"
    return f"commit {commit}{' with changes' if changed else ''}"


def _head(began: str, sections: Sequence[Section], *, smallest: bool) -> Iterator[str]:
    yield from ("# Benchmarks", "", began)
    yield "Ratios are between what was measured in turn in one run; of several runs the median"
    yield from ("counts. `make bench` writes this file.", "")
    if smallest:
        yield from ("In their smallest form: that they run is what this shows.", "")
    busy = max(section.busy for section in sections)
    if busy > BUSY:
        yield f"**The machine was busy:** others took up to {busy:.0%} of its processors, so"
        yield from ("seconds are too many, and ratios less sure.", "")
    yield f"**{_held(sections)}.**"
    for section in sections:
        for row in section.rows:
            if not row["holds"]:
                told = f"{row['what']}: {row['figure']}, and is to be {row['target']}"
                yield f"- {section.name}: {told}"
        if section.absent:
            yield f"- {section.name} was not measured: {section.absent}"
        if section.failure:
            yield f"- {section.name} failed: {_cell(section.failure)}"
    yield ""


def _told(section: Section) -> Iterator[str]:
    """The lines of a section: what is measured, against what, and the table."""
    yield from (f"## {section.name}", "")
    document = ast.get_docstring(ast.parse((HERE / f"{section.name}.py").read_text("utf-8")))
    if document:
        yield from (document.partition("\n\n")[0].replace("``", "`"), "")
    peers = dict.fromkeys(row["peer"].rstrip(".") for row in section.rows if row["peer"])
    if peers:
        yield from (f"Compared with {'; '.join(peers)}.", "")
    meanwhile = f"others took {section.busy:.0%} of the processors meanwhile"
    yield f"Took {section.took_s:.0f} s; {meanwhile}."
    yield from ("", "| what | figure | from, to | target | |", "|---|---:|---|---:|---|")
    for row in section.rows:
        mark = "holds" if row["holds"] else "**does not hold**"
        cells = (row["what"], row["figure"], row["spread"], row["target"], mark)
        yield f"| {' | '.join(map(_cell, cells))} |"
    if section.absent:
        yield f"| {_cell(section.absent)} | | | | absent |"
    if section.failure:
        yield f"| the rest: {_cell(section.failure)} | | | | **failed** |"
    yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    sys.exit(main())
