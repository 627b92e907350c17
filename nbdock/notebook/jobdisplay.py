"""Jobs under cells: live while they run, and what a notebook keeps of them at the end.

Each time a job is shown it gets a view of its own, which follows it: a widget where one is drawn
and its messages arrive, else a display that is replaced. At the end there is only text and plain
HTML left, which read the same without a kernel.

    run_job("redis", work)  a cell that waits for its work
    show_job(job)           a job that is the value of a cell, and goes on
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from IPython.core.getipython import get_ipython
from IPython.display import DisplayHandle

from nbdock import settings
from nbdock.concurrency import is_core
from nbdock.jobs import Job, JobReport, JobState
from nbdock.notebook.errors import quietly
from nbdock.notebook.joblook import job_bundle, log_lines
from nbdock.notebook.jobwidget import JobWidget, can_widgets
from nbdock.notebook.progress import updates_displays
from nbdock.progress import ProgressLine
from nbdock.showing import TerminalOutput, run_shown
from nbdock.units import seconds_text

__all__ = ["JobDisplay", "not_awaited", "run_job", "show_awaited", "show_job"]

T = TypeVar("T")

_HERE = str(Path(__file__).parent.parent)

_PATIENCE_S = 2.0
"""How long a widget may stay unanswered before it is taken for one that nobody draws."""

_LINES_AT_ONCE = 1000
"""The most lines of a log that are written to a terminal at a time; more would not be read."""


class JobDisplay:
    """One view of a job, from when it is first shown to the job's end.

    Parameters
    ----------
    job
        The job.
    waiting
        Whether the cell waits for it: that shows its result or error itself.
    blocking
        Whether the kernel hears nothing on its main shell meanwhile.
    """

    def __init__(self, job: Job[Any], *, waiting: bool, blocking: bool = False) -> None:
        self._job = job
        self._waiting = waiting
        self._blocking = blocking
        self._lock = threading.Lock()
        # What is shown later, from other threads, still belongs to this cell.
        self._cell = contextvars.copy_context()
        self._handle: DisplayHandle | None = None
        self._widget: JobWidget | None = None
        self._is_drawn = False
        self._since_s = 0.0
        self._is_ended = False

    def begin(self) -> None:
        """Show it, and follow it from now on. More than once is as good as once."""
        with self._lock:
            if self._handle is not None:
                return
            self._handle = DisplayHandle()
            if self._job.state is not JobState.RUNNING:
                self._show(self._final())
                return
            if updates_displays() and can_widgets() and (not self._blocking or _has_subshells()):
                self._widget = JobWidget(self._job, named=not self._waiting)
                self._is_drawn = True
            self._since_s = self._job.elapsed_s
            self._show(self._live())
        if updates_displays():
            self._job.watch(self._follow)

    def end(self) -> None:
        """Show what remains of a job that has ended. More than once is as good as once."""
        if self._job.state is JobState.RUNNING:
            return  # who waited does not any more; it is still followed
        final = self._final()
        with self._lock:
            if self._is_ended:
                return
            self._is_ended = True
            first = self._handle is None
            self._handle = self._handle or DisplayHandle()
            self._show(final, first=first)
            if self._widget is not None:
                self._cell.run(self._widget.close)

    def _follow(self) -> None:
        if self._job.state is not JobState.RUNNING:
            # Showing a result may have to wait for the core, on whose loop this is called.
            threading.Thread(target=self.end, name="nbdock-show", daemon=True).start()
            return
        with self._lock:
            if self._is_ended:
                return
            widget = self._widget
            if widget is not None:
                was_drawn = self._is_drawn
                patient = self._job.elapsed_s - self._since_s < _PATIENCE_S
                self._is_drawn = widget.is_answered or (was_drawn and patient)
                self._cell.run(widget.update)
                if self._is_drawn:
                    if not was_drawn:
                        self._show(self._live(), first=False)
                    return
            self._show(self._live(), first=False)

    def _live(self) -> dict[str, Any]:
        bundle: dict[str, Any] = dict(job_bundle(self._job, named=not self._waiting))
        if self._widget is not None and self._is_drawn:
            bundle.update(self._widget.bundle)
        return bundle

    def _final(self) -> dict[str, Any]:
        result = None
        if not self._waiting and self._job.state is JobState.DONE:
            made = self._job.result()
            shell = get_ipython()
            if made is not None and shell is not None:
                result, _ = shell.display_formatter.format(made, include=_KINDS)
        return job_bundle(self._job, named=not self._waiting, result=result)

    def _show(self, bundle: dict[str, Any], *, first: bool = True) -> None:
        assert self._handle is not None
        self._cell.run(self._handle.display if first else self._handle.update, bundle, raw=True)


_KINDS = {"text/plain", "text/html"}


def _has_subshells() -> bool:
    """Whether the kernel can hear a click while a cell keeps its main shell busy."""
    info = getattr(getattr(get_ipython(), "kernel", None), "kernel_info", {})
    return "kernel subshells" in info.get("supported_features", ())


def show_job(job: Job[Any]) -> None:
    """Show where a job stands; in a notebook the view follows it to its end."""
    JobDisplay(job, waiting=False).begin()


class _Output:
    """Shows the job that a cell waits for: an output for `run_shown`."""

    job: Job[Any] | None = None

    def __init__(self) -> None:
        self._display: JobDisplay | None = None
        self._terminal = TerminalOutput()
        self._lines_shown = 0

    def show(self, _line: ProgressLine) -> None:
        job = self.job
        if job is None:
            return
        if updates_displays():
            self._display = self._display or JobDisplay(job, waiting=True, blocking=True)
            self._display.begin()
        else:
            self._show_log(job)
            self._terminal.show(job.report)

    def _show_log(self, job: Job[Any]) -> None:
        before, lines = log_lines(job.log, _LINES_AT_ONCE)
        if new := lines[max(0, self._lines_shown - before) :]:
            self._terminal.say("\n".join(new))
        self._lines_shown = before + len(lines)

    def end(self, text: str) -> None:
        job = self.job
        if job is None or not updates_displays():
            if job is not None and self._lines_shown:
                self._show_log(job)
            self._terminal.end(text)
        else:
            (self._display or JobDisplay(job, waiting=True)).end()

    def say(self, text: str) -> None:
        pass  # the job keeps its log

    def interrupted(self, error: BaseException, after_s: float) -> None:
        pass


def run_job(
    name: str, work: Callable[[JobReport], Coroutine[Any, Any, T]], *, always: bool = False
) -> T:
    """Do the work of a cell as a job and wait for it; show it if it takes long.

    Parameters
    ----------
    name, work
        As of a `Job`.
    always
        Leave a line that says what was done even if it took no time.

    Raises
    ------
    KeyboardInterrupt
        It was interrupted, or cancelled by its button.
    """
    output = _Output()

    async def wait(_line: ProgressLine) -> T:
        # Begun here, in the core: an interrupt comes before or after, but not in between.
        job = Job(name, work)
        output.job = job
        return await job

    def done(_: T) -> str:
        return output.job.summary if output.job else ""

    try:
        return run_shown(wait, done=done, output=output, always=always)
    except (KeyboardInterrupt, asyncio.CancelledError) as error:
        verb = "stopped" if isinstance(error, KeyboardInterrupt) else "cancelled"
    took = seconds_text(output.job.elapsed_s if output.job else 0.0)
    interrupt = KeyboardInterrupt(f"The job {name!r} was {verb} after {took}.")
    quietly(interrupt, f"{verb} after {took}; nothing was left half-done.")
    raise interrupt


def show_awaited(job: Job[Any]) -> None:
    """Show a job that a cell awaits if that takes long."""
    if is_core() or not updates_displays() or job.state is not JobState.RUNNING:
        return
    display = JobDisplay(job, waiting=True)

    def begin() -> None:
        if job.state is JobState.RUNNING:
            display.begin()

    with contextlib.suppress(RuntimeError):  # a loop of another kind
        asyncio.get_running_loop().call_later(settings.current().progress_delay_s, begin)


def not_awaited(coroutine: Any, printer: Any, cycle: bool) -> None:  # noqa: ARG001 - IPython's
    """Say of what one of nbdock's functions gave that it is still to be awaited."""
    is_ours = coroutine.cr_code.co_filename.startswith(_HERE)
    begun = f"{coroutine.__qualname__}(...) has not begun: write await before it."
    printer.text(begun if is_ours else repr(coroutine))
