"""The progress of a cell: one display that changes in place, or a terminal's lines.

The browser is never flooded: it changes at most ten times a second. See `nbdock.showing`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from IPython.core.getipython import get_ipython
from IPython.display import DisplayHandle

from nbdock.notebook.errors import quietly
from nbdock.packages import Progress
from nbdock.progress import ProgressLine
from nbdock.showing import ProgressOutput, TerminalOutput, run_shown
from nbdock.units import seconds_text

__all__ = ["cell_output", "line_bundle", "run_with_progress", "updates_displays"]

T = TypeVar("T")

_BARS = re.compile("[\u2588\u2591]+")
_BAR = "color:var(--jp-brand-color1,#1976d2)"


class _NotebookOutput:
    """A display of the cell, updated in place."""

    def __init__(self) -> None:
        self._handle: DisplayHandle | None = None
        self._shown = ""

    def show(self, line: ProgressLine) -> None:
        self.end("\n".join(line.lines()))

    def end(self, text: str) -> None:
        if self._handle is None:
            self._handle = DisplayHandle()
            self._handle.display(line_bundle(text), raw=True)
        elif text != self._shown:
            self._handle.update(line_bundle(text), raw=True)
        self._shown = text

    def interrupted(self, error: BaseException, after_s: float) -> None:
        _tell(error, after_s)


class _ConsoleOutput(TerminalOutput):
    """IPython in a terminal."""

    def interrupted(self, error: BaseException, after_s: float) -> None:
        _tell(error, after_s)


def _tell(error: BaseException, after_s: float) -> None:
    """Let an interrupt show what it stopped, not where in nbdock's code it came."""
    quietly(error, f"stopped after {seconds_text(after_s)}; nothing was left half-done.")


def updates_displays() -> bool:
    """Whether this shell can change what it has shown: a kernel can, a terminal cannot."""
    return getattr(get_ipython(), "kernel", None) is not None


def cell_output() -> ProgressOutput:
    """Where work of the cell that runs shows how it goes."""
    return _NotebookOutput() if updates_displays() else _ConsoleOutput()


def run_with_progress(
    work: Callable[[Progress], Coroutine[Any, Any, T]],
    *,
    done: Callable[[T], str],
    always: bool = False,
) -> T:
    """Run the core's work for a cell, as `nbdock.showing.run_shown` does."""
    return run_shown(work, done=done, output=cell_output(), always=always)


def line_bundle(text: str) -> dict[str, str]:
    """Lines of text, such as those of a `ProgressLine`, as a notebook shows them."""
    style = (
        "font-family:var(--jp-code-font-family,monospace);font-size:var(--jp-code-font-size,13px);"
        "white-space:pre-wrap"
    )
    shown = _BARS.sub(rf'<span style="{_BAR}" aria-hidden="true">\g<0></span>', html.escape(text))
    return {"text/plain": text, "text/html": f'<span style="{style}">{shown}</span>'}
