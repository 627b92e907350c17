"""The progress line of a cell: appears after two seconds, ends as one summary line.

Work reports from any thread; only the waiting thread of the cell shows anything, at most ten times
a second, so the browser is never flooded. In a terminal the line is written over itself.

    Downloading packages  ████████████░░░░░░░░░░░░  12 MB of 24 MB, 3.1 s
"""

from __future__ import annotations

import html
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from IPython.core.getipython import get_ipython
from IPython.display import DisplayHandle

from nbdock import settings
from nbdock.concurrency import run
from nbdock.notebook.errors import quietly
from nbdock.notebook.units import bytes_text, seconds_text
from nbdock.packages import Progress

__all__ = ["ProgressLine", "line_bundle", "run_with_progress", "updates_displays"]

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


class _Output(Protocol):
    """A line that can be changed."""

    def show(self, text: str) -> None: ...

    def end(self, text: str) -> None: ...


class _NotebookOutput:
    """A display of the cell, updated in place."""

    def __init__(self) -> None:
        self._handle: DisplayHandle | None = None
        self._shown = ""

    def show(self, text: str) -> None:
        if self._handle is None:
            self._handle = DisplayHandle()
            self._handle.display(line_bundle(text), raw=True)
        elif text != self._shown:
            self._handle.update(line_bundle(text), raw=True)
        self._shown = text

    end = show


class _TerminalOutput:
    """A line of standard error, written over itself; nothing where that is not a terminal."""

    def show(self, text: str, end: str = "") -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K{text}{end}")
            sys.stderr.flush()

    def end(self, text: str) -> None:
        if sys.stderr.isatty():
            self.show(text, "\n")
        else:
            sys.stderr.write(f"{text}\n")


def updates_displays() -> bool:
    """Whether this shell can change what it has shown: a kernel can, a terminal cannot."""
    return getattr(get_ipython(), "kernel", None) is not None


def run_with_progress(
    work: Callable[[Progress], Coroutine[Any, Any, T]],
    *,
    done: Callable[[T], str],
    always: bool = False,
) -> T:
    """Run the core's work for a cell; an interrupt cancels it and waits until it is cleaned up.

    Parameters
    ----------
    work
        Given what it reports progress to, makes the coroutine.
    done
        The beginning of the summary line: what was done.
    always
        Show the summary line even if the work was too short to show progress.
    """
    line = ProgressLine()
    output: _Output = _NotebookOutput() if updates_displays() else _TerminalOutput()
    delay_s = settings.current().progress_delay_s
    shown = False

    def show() -> None:
        nonlocal shown
        if line.elapsed_s >= delay_s:
            output.show(line.text())
            shown = True

    try:
        result = run(work(line.report), while_waiting=show)
    except BaseException as error:
        took = seconds_text(line.elapsed_s)
        if shown:
            verb = "Failed" if isinstance(error, Exception) else "Stopped"
            output.end(f"{verb} after {took}.")
        if isinstance(error, KeyboardInterrupt):
            quietly(error, f"stopped after {took}; nothing was left half-done.")
        raise
    if shown or always:
        output.end(f"{done(result)} in {seconds_text(line.elapsed_s)}.")
    return result


def line_bundle(text: str) -> dict[str, str]:
    """A line of text as a notebook shows it."""
    style = (
        "font-family:var(--jp-code-font-family,monospace);font-size:var(--jp-code-font-size,13px);"
        "white-space:pre-wrap"
    )
    return {"text/plain": text, "text/html": f'<span style="{style}">{html.escape(text)}</span>'}
