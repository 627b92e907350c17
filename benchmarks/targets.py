"""What benchmarks are held to: each figure beside its target, printed and written down.

    targets = Targets("registry", peer="skopeo 1.9.3")
    targets.at_most("pull of 100 layers, times skopeo's wall time", [0.75, 0.78, 0.81], 0.8)
    raise SystemExit(0 if targets.hold else 1)

Of several runs the median is judged, and the table shows from where to where they went. `run.py`
gathers what all benchmarks say in one table.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
from collections.abc import Sequence
from types import TracebackType

__all__ = ["RESULTS", "Targets", "absent", "needs"]

RESULTS = "NBDOCK_BENCH_RESULTS"
"""The environment's name of a file to write results to, one JSON object per line."""


class Targets:
    """The targets of one benchmark, and what it is compared with."""

    def __init__(self, benchmark: str, *, peer: str = "") -> None:
        self._benchmark = benchmark
        self._peer = peer
        self.hold = True

    def at_most(
        self, what: str, values: float | Sequence[float], limit: float, unit: str = ""
    ) -> None:
        """Say that a value, or the median of several runs', is to be no more than a limit."""
        self._say(what, values, "at most", limit, unit)

    def at_least(
        self, what: str, values: float | Sequence[float], limit: float, unit: str = ""
    ) -> None:
        """Say that a value, or the median of several runs', is to be no less than a limit."""
        self._say(what, values, "at least", limit, unit)

    def that(self, what: str, holds: bool) -> None:
        """Say that something is to be so."""
        self._write(what, "yes" if holds else "no", "", "yes", holds)

    def _say(
        self, what: str, values: float | Sequence[float], bound: str, limit: float, unit: str
    ) -> None:
        several = list(values) if isinstance(values, Sequence) else [values]
        value = statistics.median(several)
        unit = unit and f" {unit}"
        holds = value <= limit if bound == "at most" else value >= limit
        spread = ""
        if len(several) > 1:
            spread = f"{_number(min(several))} to {_number(max(several))} in {len(several)} runs"
        self._write(what, f"{_number(value)}{unit}", spread, f"{bound} {limit:g}{unit}", holds)

    def _write(self, what: str, figure: str, spread: str, target: str, holds: bool) -> None:
        holds = bool(holds)  # and not numpy's
        self.hold &= holds
        told = f"{figure} ({spread})" if spread else figure
        print(f"  {'holds' if holds else 'DOES NOT HOLD'}: {what}: {told} (target: {target})")
        _tell(
            {"benchmark": self._benchmark, "peer": self._peer, "what": what, "figure": figure,
             "spread": spread, "target": target, "holds": holds}
        )  # fmt: skip


def needs(*programs: str) -> None:
    """End this benchmark where a program is not installed that it cannot do without.

    It is then absent from the table, which says why; it has not failed.
    """
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        absent(f"{' and '.join(missing)} {are} not installed (`make components` does it, as root)")
        raise SystemExit(0)


def absent(why: str) -> None:
    """Say in the table what is not measured on this machine, and why."""
    _tell({"absent": why})
    print(f"Not measured: {why}.", file=sys.stderr)


def _number(value: float) -> str:
    size = abs(value)
    return f"{value:,.{0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 else 3}f}"


def _tell(row: dict[str, object]) -> None:
    """Write a line for `run.py`, if it listens."""
    if place := os.environ.get(RESULTS):
        with open(place, "a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _say_failure(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    _tell({"failure": f"{kind.__name__}: {error}"[:300]})
    sys.__excepthook__(kind, error, trace)


sys.excepthook = _say_failure
