"""Progress as one line of text: appears after two seconds, ends as one summary line.

Work reports from any thread; only the waiting thread shows anything, at most ten times a second.
Notebooks show the line in their own way (`nbdock.notebook`), terminals write it over itself:

    Downloading packages  ████████████░░░░░░░░░░░░  12 MB of 24 MB, 3.1 s
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from nbdock import settings
from nbdock.concurrency import run
from nbdock.units import bytes_text, seconds_text

__all__ = ["ProgressLine", "ProgressOutput", "TerminalOutput", "run_shown"]

T = TypeVar("T")

_BAR_WIDTH = 24


class ProgressLine:
    """What is being done, how much of it, and since when. `report` may be called by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started_s = time.monotonic()
        self._state = ("Working", 0, 0)

    def report(self, what: str, done: int, total: int) -> None:
        """Take note of progress: a phrase, bytes done, bytes in all (0: unknown)."""
        with self._lock:
            self._state = (what, done, total)

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
        filled = _BAR_WIDTH * max(0, min(done, total)) // total
        bar = "\u2588" * filled + "\u2591" * (_BAR_WIDTH - filled)
        amounts = (
            f"{bytes_text(done)} of {bytes_text(total)}" if total > 4096 else f"{done} of {total}"
        )
        return f"{what}  {bar}  {amounts}, {seconds_text(self.elapsed_s)}"


class ProgressOutput(Protocol):
    """Where a line is shown that can be changed."""

    def show(self, text: str) -> None:
        """Show this in place of what was shown."""
        ...

    def end(self, text: str) -> None:
        """Show this, and leave it there."""
        ...


class TerminalOutput:
    """A line of standard error, written over itself; only the last where that is no terminal."""

    def show(self, text: str, end: str = "") -> None:
        """Show this in place of what was shown."""
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K{text}{end}")
            sys.stderr.flush()

    def end(self, text: str) -> None:
        """Show this, and leave it there."""
        if sys.stderr.isatty():
            self.show(text, "\n")
        else:
            sys.stderr.write(f"{text}\n")


def run_shown(
    work: Callable[[Callable[[str, int, int], None]], Coroutine[Any, Any, T]],
    *,
    done: Callable[[T], str],
    output: ProgressOutput,
    always: bool = False,
    line: ProgressLine | None = None,
) -> T:
    """Run the core's work and show how it goes; an interrupt cancels it and waits for its clean-up.

    Parameters
    ----------
    work
        Given what it reports progress to, makes the coroutine.
    done
        The beginning of the summary line: what was done.
    output
        Where the line is shown.
    always
        Show the summary line even if the work was too short to show progress.
    line
        What the work reports to.
    """
    line = line or ProgressLine()
    delay_s = settings.current().progress_delay_s
    shown = False

    def show() -> None:
        nonlocal shown
        if line.elapsed_s >= delay_s:
            # First: an interrupt may come while it is being shown, and then the line needs its end.
            shown = True
            output.show(line.text())

    try:
        result = run(work(line.report), while_waiting=show)
    except BaseException as error:
        if shown:
            verb = "Failed" if isinstance(error, Exception) else "Stopped"
            output.end(f"{verb} after {seconds_text(line.elapsed_s)}.")
        raise
    if shown or always:
        output.end(f"{done(result)} in {seconds_text(line.elapsed_s)}.")
    return result
