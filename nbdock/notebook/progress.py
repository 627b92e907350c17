"""The progress of a cell: one display that changes in place, or a terminal's lines.

The browser is never flooded: it changes at most ten times a second. See `nbdock.showing`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from IPython.core.getipython import get_ipython
from IPython.display import DisplayHandle

from nbdock.jobs import Log
from nbdock.notebook.errors import quietly
from nbdock.notebook.joblook import line_bundle, plain_line, with_log
from nbdock.packages import Progress
from nbdock.progress import ProgressLine
from nbdock.showing import ProgressOutput, TerminalOutput, run_shown
from nbdock.units import seconds_text

__all__ = ["cell_output", "run_with_progress", "updates_displays"]

T = TypeVar("T")


class _NotebookOutput:
    """A display of the cell, updated in place."""

    def __init__(self) -> None:
        self._handle: DisplayHandle | None = None
        self._shown: dict[str, str] = {}
        self._log = Log()

    def show(self, line: ProgressLine) -> None:
        self._show(with_log(line_bundle("\n".join(line.lines())), self._log, is_open=True))

    def say(self, text: str) -> None:
        self._log.append(text)  # `show` is on its way

    def end(self, text: str) -> None:
        self._show(with_log(line_bundle(text), self._log, is_open=False))

    def _show(self, bundle: dict[str, str]) -> None:
        if self._handle is None:
            self._handle = DisplayHandle()
            self._handle.display(bundle, raw=True)
        elif bundle != self._shown:
            self._handle.update(bundle, raw=True)
        self._shown = bundle

    def interrupted(self, error: BaseException, after_s: float) -> None:
        _tell(error, after_s)


class _ConsoleOutput(TerminalOutput):
    """IPython in a terminal."""

    def say(self, text: str) -> None:
        super().say(plain_line(text))

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
