"""What work reports its progress to: a line, and a line for each of its parts.

    Pulling redis:7  ████████████░░░░░░░░░░░░  12 MB of 24 MB, 3.1 s
      7264a8db6415  ████████████  2.0 MB, exists already
      c3d7a4b6b2e1  ██████░░░░░░  10 MB of 20 MB
      4f4fb700ef54  ░░░░░░░░░░░░  2.0 MB, waiting

Everything that takes long takes ``progress``: a function of a phrase, how much is done, and how
much there is to do. A `ProgressLine` is such a function, and can do more: work with parts (the
layers of a pull) gives each a bar with `part_of`, which does nothing where nobody would show it.

Work reports from any thread; what is shown is up to `nbdock.showing`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from nbdock import settings
from nbdock.units import bytes_text, seconds_text

__all__ = ["Part", "ProgressLine", "Report", "part_of"]

Report = Callable[[str, int, int], None]
"""What is being done, how much of it is done, how much there is (bytes, or a few; 0: unknown)."""

_BAR_WIDTH, _PART_BAR_WIDTH = 24, 12
_FEW = 4096


class Part:
    """One part of some work, such as a layer: what it is, and how much of it is done.

    It is a function of bytes done and bytes in all, as transfers report them.
    """

    def __init__(self, label: str, total_bytes: int) -> None:
        self.label = label
        self.done_bytes = 0
        self.total_bytes = total_bytes
        self.is_begun = False
        self._how = ""

    def __call__(self, done_bytes: int, total_bytes: int) -> None:
        """Take note of progress."""
        self.is_begun = True
        self.done_bytes = done_bytes
        self.total_bytes = total_bytes or self.total_bytes

    def end(self, how: str) -> None:
        """Take note that nothing is to be done, and why: ``exists already``, ``mounted``."""
        self._how = how

    @property
    def ended(self) -> str:
        """How it ended; empty if it has not."""
        return self._how or ("done" if 0 < self.total_bytes <= self.done_bytes else "")

    @property
    def is_running(self) -> bool:
        """Whether it has begun, and not ended."""
        return self.is_begun and not self.ended

    def text(self, label_width: int = 0) -> str:
        """The part as a line of plain text."""
        done, total = self.done_bytes, self.total_bytes
        if ended := self.ended:
            done, amounts = total or 1, f"{bytes_text(total)}, {ended}"
        elif not self.is_begun:
            amounts = f"{bytes_text(total)}, waiting" if total else "waiting"
        else:
            amounts = f"{bytes_text(done)} of {bytes_text(total)}" if total else bytes_text(done)
        return f"{self.label.ljust(label_width)}  {_bar(done, total, _PART_BAR_WIDTH)}  {amounts}"


class ProgressLine:
    """What is being done, how much of it, and since when; called by work, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started_s = time.monotonic()
        self._state = ("Working", 0, 0)
        self._parts: tuple[str, list[Part]] = "", []

    def __call__(self, what: str, done: int, total: int) -> None:
        """Take note of progress: a phrase, bytes done, bytes in all (0: unknown)."""
        with self._lock:
            self._state = (what, done, total)

    report = __call__

    def part(self, what: str, label: str, total_bytes: int = 0) -> Part:
        """A part of the work that is reported as `what`; it has a line as long as that goes on."""
        made = Part(label, total_bytes)
        with self._lock:
            if self._parts[0] != what:
                self._parts = what, []
            self._parts[1].append(made)
        return made

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started_s

    def text(self) -> str:
        """The line as plain text."""
        with self._lock:
            what, done, total = self._state
        if total <= 0:
            return f"{what} \u2026 {seconds_text(self.elapsed_s)}"
        amounts = (
            f"{bytes_text(done)} of {bytes_text(total)}" if total > _FEW else f"{done} of {total}"
        )
        bar = _bar(done, total, _BAR_WIDTH)
        return f"{what}  {bar}  {amounts}, {seconds_text(self.elapsed_s)}"

    def lines(self) -> list[str]:
        """The line, and a line for each of its parts: at most `settings.progress_parts`.

        Those that are running come before those that ended, and these before those that wait; they
        stand in the order of the parts.
        """
        with self._lock:
            is_now = self._parts[0] == self._state[0]
            parts = list(self._parts[1]) if is_now else []
        first = self.text()
        limit = settings.current().progress_parts
        # Of those that ended, the last: the first to have ended are out of view by then.
        by_rank = sorted(
            enumerate(parts),
            key=lambda at: (0, at[0]) if at[1].is_running
            else (1, -at[0]) if at[1].ended else (2, at[0]),
        )  # fmt: skip
        shown = [part for _, part in sorted(by_rank[:limit], key=lambda at: at[0])]
        width = max((len(part.label) for part in shown), default=0)
        lines = [first, *(f"  {part.text(width)}" for part in shown)]
        rest = [part for _, part in by_rank[limit:]]
        if rest:
            lines.append(f"  \u2026 {_counted(rest)}")
        return lines


def _counted(parts: list[Part]) -> str:
    """``90 more: 60 ended, 30 waiting``."""
    ended = sum(bool(part.ended) for part in parts)
    running = sum(part.is_running for part in parts)
    counts = {"ended": ended, "running": running, "waiting": len(parts) - ended - running}
    told = ", ".join(f"{count} {how}" for how, count in counts.items() if count)
    return f"{len(parts)} more: {told}"


def _bar(done: int, total: int, width: int) -> str:
    filled = width * max(0, min(done, total)) // total if total > 0 else width * (done > 0)
    return "\u2588" * filled + "\u2591" * (width - filled)


def part_of(progress: Report | None, what: str, label: str, total_bytes: int = 0) -> Part:
    """A part of the work that reports `what` to `progress`, shown if that shows parts."""
    make: Callable[[str, str, int], Part] = getattr(progress, "part", lambda _, *rest: Part(*rest))
    return make(what, label, total_bytes)
