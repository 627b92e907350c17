"""The progress line of a cell: appears after two seconds, ends as one summary line.

Work reports from any thread; only the waiting thread of the cell shows anything, at most ten times
a second, so the browser is never flooded.
"""

from __future__ import annotations

import html
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from IPython.display import DisplayHandle

from nbdock import settings
from nbdock.concurrency import run
from nbdock.notebook.units import bytes_text, seconds_text

__all__ = ["ProgressLine", "run_with_progress"]

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
            return f"{what} ... {seconds_text(self.elapsed_s)}"
        filled = _BAR_WIDTH * min(done, total) // total
        bar = "\u2588" * filled + "\u2591" * (_BAR_WIDTH - filled)
        amounts = (
            f"{bytes_text(done)} of {bytes_text(total)}" if total > 4096 else f"{done} of {total}"
        )
        return f"{what}  {bar}  {amounts}, {seconds_text(self.elapsed_s)}"


def run_with_progress(make: Callable[[ProgressLine], Coroutine[Any, Any, T]], *, done: str) -> T:
    """Run the core's work for a cell; an interrupt cancels it and waits until it is cleaned up.

    Parameters
    ----------
    make
        Given the progress line, makes the coroutine.
    done
        What the summary line says was done, for work that took long enough to show progress.
    """
    line = ProgressLine()
    handle: DisplayHandle | None = None

    def show() -> None:
        nonlocal handle
        if line.elapsed_s < settings.current().progress_delay_s:
            return
        if handle is None:
            handle = DisplayHandle()
            handle.display(_bundle(line.text()), raw=True)
        else:
            handle.update(_bundle(line.text()), raw=True)

    try:
        result = run(make(line), while_waiting=show)
    except BaseException:
        if handle is not None:
            handle.update(_bundle(f"Stopped after {seconds_text(line.elapsed_s)}."), raw=True)
        raise
    if handle is not None:
        handle.update(_bundle(f"{done} in {seconds_text(line.elapsed_s)}."), raw=True)
    return result


def _bundle(text: str) -> dict[str, str]:
    style = "font-family:var(--jp-code-font-family,monospace);white-space:pre"
    return {"text/plain": text, "text/html": f'<span style="{style}">{html.escape(text)}</span>'}
