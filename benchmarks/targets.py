"""What benchmarks are held to: each figure beside its target, printed and written down.

    targets = Targets("registry", peer="skopeo 1.9.3")
    targets.at_most("pull of 100 layers, times skopeo's wall time", 0.78, 0.8)
    raise SystemExit(0 if targets.hold else 1)

`run.py` gathers what all of them say in one table.
"""

from __future__ import annotations

import json
import os
import sys
from types import TracebackType

__all__ = ["RESULTS", "Targets"]

RESULTS = "NBDOCK_BENCH_RESULTS"
"""The environment's name of a file to write results to, one JSON object per line."""


class Targets:
    """The targets of one benchmark, and what it is compared with."""

    def __init__(self, benchmark: str, *, peer: str = "") -> None:
        self._benchmark = benchmark
        self._peer = peer
        self.hold = True

    def at_most(self, what: str, value: float, limit: float, unit: str = "") -> None:
        """Say that a value is to be no more than a limit."""
        self._say(what, value, f"at most {limit:g}{unit and ' '}{unit}", unit, value <= limit)

    def at_least(self, what: str, value: float, limit: float, unit: str = "") -> None:
        """Say that a value is to be no less than a limit."""
        self._say(what, value, f"at least {limit:g}{unit and ' '}{unit}", unit, value >= limit)

    def that(self, what: str, holds: bool) -> None:
        """Say that something is to be so."""
        self._write(what, "yes" if holds else "no", "yes", holds)

    def _say(self, what: str, value: float, target: str, unit: str, holds: bool) -> None:
        digits = (
            0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 3
        )
        self._write(what, f"{value:,.{digits}f}{unit and ' '}{unit}", target, holds)

    def _write(self, what: str, figure: str, target: str, holds: bool) -> None:
        holds = bool(holds)  # and not numpy's
        self.hold &= holds
        print(f"  {'holds' if holds else 'DOES NOT HOLD'}: {what}: {figure} (target: {target})")
        _tell(
            {"benchmark": self._benchmark, "peer": self._peer, "what": what, "figure": figure,
             "target": target, "holds": holds}
        )  # fmt: skip


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
