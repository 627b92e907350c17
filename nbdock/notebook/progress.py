"""The progress line of a cell: a display that changes in place, or a terminal's line.

The browser is never flooded: it changes at most ten times a second. See `nbdock.progress`.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from IPython.core.getipython import get_ipython
from IPython.display import DisplayHandle

from nbdock.notebook.errors import quietly
from nbdock.packages import Progress
from nbdock.progress import ProgressLine, ProgressOutput, TerminalOutput, run_shown
from nbdock.units import seconds_text

__all__ = ["line_bundle", "run_with_progress", "updates_displays"]

T = TypeVar("T")


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


def updates_displays() -> bool:
    """Whether this shell can change what it has shown: a kernel can, a terminal cannot."""
    return getattr(get_ipython(), "kernel", None) is not None


def run_with_progress(
    work: Callable[[Progress], Coroutine[Any, Any, T]],
    *,
    done: Callable[[T], str],
    always: bool = False,
) -> T:
    """Run the core's work for a cell, as `nbdock.progress.run_shown` does.

    An interrupt shows what it stopped, not where in nbdock's code it came.
    """
    line = ProgressLine()
    output: ProgressOutput = _NotebookOutput() if updates_displays() else TerminalOutput()
    try:
        return run_shown(work, done=done, output=output, always=always, line=line)
    except KeyboardInterrupt as interrupt:
        took = seconds_text(line.elapsed_s)
        quietly(interrupt, f"stopped after {took}; nothing was left half-done.")
        raise


def line_bundle(text: str) -> dict[str, str]:
    """A line of text as a notebook shows it."""
    style = (
        "font-family:var(--jp-code-font-family,monospace);font-size:var(--jp-code-font-size,13px);"
        "white-space:pre-wrap"
    )
    return {"text/plain": text, "text/html": f'<span style="{style}">{html.escape(text)}</span>'}
