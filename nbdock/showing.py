"""How progress is shown: after two seconds, at most ten times a second, at the end as one line.

Only who waits shows anything: the thread that waits for the core (`run_shown`), or the task that
awaits a call in a notebook (`watched`). The core knows no notebooks: `show_calls` tells it where
awaited calls show how they go, and by default that is nowhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import inspect
import logging
import shutil
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, ParamSpec, Protocol, TypeVar

from nbdock import settings
from nbdock.concurrency import is_core, run, ticking
from nbdock.progress import ProgressLine, Report
from nbdock.units import seconds_text

__all__ = [
    "ProgressOutput",
    "TerminalOutput",
    "run_shown",
    "show_calls",
    "show_warnings",
    "watched",
    "watched_plain",
]

P = ParamSpec("P")
T = TypeVar("T")

_EVERY_S = 0.1


class ProgressOutput(Protocol):
    """Where lines are shown that can be changed."""

    def show(self, line: ProgressLine) -> None:
        """Show how the work goes, in place of what was shown."""
        ...

    def say(self, text: str) -> None:
        """Show a line of a log, which stays."""
        ...

    def end(self, text: str) -> None:
        """Show this instead, and leave it there."""
        ...

    def interrupted(self, error: BaseException, after_s: float) -> None:
        """The work was stopped by `error`, an interrupt, whether anything was shown or not."""
        ...


class TerminalOutput:
    """Lines of standard error, written over themselves; only the last where that is no terminal."""

    def __init__(self) -> None:
        self._lines = 0

    def show(self, line: ProgressLine) -> None:
        """Show how the work goes, in place of what was shown."""
        if sys.stderr.isatty():
            columns, rows = shutil.get_terminal_size()
            # A line that is broken in two could not be taken back.
            lines = [text[: columns - 1] for text in line.lines()[: max(rows - 1, 1)]]
            self._write("\n".join(lines))
            self._lines = len(lines)

    def _write(self, text: str) -> None:
        up = f"\x1b[{self._lines - 1}A" if self._lines > 1 else ""
        sys.stderr.write(f"{up}\r\x1b[J{text}")
        sys.stderr.flush()

    def say(self, text: str) -> None:
        """Write lines that stay, above those that change."""
        if sys.stderr.isatty():
            self._write(f"{text}\n")
            self._lines = 0
        else:
            sys.stderr.write(f"{text}\n")

    def end(self, text: str) -> None:
        """Show this instead, and leave it there."""
        if sys.stderr.isatty():
            self._write(f"{text}\n")
        else:
            sys.stderr.write(f"{text}\n")
        self._lines = 0

    def interrupted(self, error: BaseException, after_s: float) -> None:
        """Nothing more is said."""


class _Shown:
    """One piece of work on one output: silent at first, then lines, then how it ended."""

    def __init__(self, line: ProgressLine, output: ProgressOutput) -> None:
        self._line = line
        self._output = output
        self._delay_s = settings.current().progress_delay_s
        self._was_shown = False

    def tick(self) -> None:
        if self._line.elapsed_s >= self._delay_s:
            # First: an interrupt may come while it is being shown, and then it needs its end.
            self._was_shown = True
            self._output.show(self._line)

    def done(self, what: str, *, always: bool) -> None:
        if self._was_shown or always:
            self._output.end(f"{what} in {seconds_text(self._line.elapsed_s)}.")

    def failed(self, error: BaseException) -> None:
        after_s = self._line.elapsed_s
        is_interrupt = not isinstance(error, Exception)
        if self._was_shown:
            verb = "Stopped" if is_interrupt else "Failed"
            self._output.end(f"{verb} after {seconds_text(after_s)}.")
        if is_interrupt:
            self._output.interrupted(error, after_s)


def run_shown(
    work: Callable[[ProgressLine], Coroutine[Any, Any, T]],
    *,
    done: Callable[[T], str],
    output: ProgressOutput,
    always: bool = False,
) -> T:
    """Run the core's work and show how it goes; an interrupt cancels it and waits for its clean-up.

    Parameters
    ----------
    work
        Given what it reports progress to, makes the coroutine.
    done
        The beginning of the summary line: what was done.
    output
        Where it is shown.
    always
        Show the summary line even if the work was too short to show progress.
    """
    line = ProgressLine()
    shown = _Shown(line, output)
    try:
        result = run(work(line), while_waiting=shown.tick, every_s=_EVERY_S)
    except BaseException as error:
        shown.failed(error)
        raise
    shown.done(done(result), always=always)
    return result


_output: Callable[[], ProgressOutput] | None = None
_is_watched: contextvars.ContextVar[bool] = contextvars.ContextVar("nbdock_watched", default=False)


def show_calls(output: Callable[[], ProgressOutput] | None) -> None:
    """Give what makes the output of each call that is `watched`; None: they show nothing."""
    global _output
    _output = output


def watched(
    done: str,
) -> Callable[[Callable[P, Coroutine[Any, Any, T]]], Callable[P, Coroutine[Any, Any, T]]]:
    """For async functions: without an argument ``progress``, show how the call goes.

    What the function itself reports is shown if it takes ``progress``, its log if ``on_log``.

    Only for who awaits the function itself: not on the core's own loop, where somebody waits who
    has said what to report to, and not for what a function that is watched calls.

    Parameters
    ----------
    done
        The beginning of the summary line: ``Pulled``.
    """

    def decorate(
        function: Callable[P, Coroutine[Any, Any, T]],
    ) -> Callable[P, Coroutine[Any, Any, T]]:
        takes = inspect.signature(function).parameters

        @functools.wraps(function)
        async def call(*args: P.args, **kwargs: P.kwargs) -> T:
            is_told = kwargs.get("progress") is not None
            if _output is None or is_told or is_core() or _is_watched.get():
                return await function(*args, **kwargs)
            before = _is_watched.set(True)
            output = _output()
            if "on_log" in takes and kwargs.get("on_log") is None:
                kwargs["on_log"] = output.say
            try:
                async with _showing(done, output) as line:
                    if "progress" in takes:
                        kwargs["progress"] = line
                    return await function(*args, **kwargs)
            finally:
                _is_watched.reset(before)

        return call

    return decorate


def watched_plain(done: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """The same for plain functions that take ``progress`` and wait for the core.

    Only in the main thread, which is the one that cells wait for.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            is_told = kwargs.get("progress") is not None or _is_watched.get()
            is_main = threading.current_thread() is threading.main_thread()
            if _output is None or is_told or not is_main:
                return function(*args, **kwargs)
            before = _is_watched.set(True)
            line = ProgressLine()
            shown = _Shown(line, _output())
            kwargs["progress"] = line
            try:
                with ticking(shown.tick):
                    result = function(*args, **kwargs)
            except BaseException as error:
                shown.failed(error)
                raise
            finally:
                _is_watched.reset(before)
            shown.done(done, always=False)
            return result

        return call

    return decorate


class _Warnings(logging.Handler):
    """Warnings on standard error, where nobody has said what becomes of them."""

    def emit(self, record: logging.LogRecord) -> None:
        if not logging.getLogger().handlers:
            sys.stderr.write(f"nbdock: {record.getMessage()}\n")


_warnings = _Warnings(logging.WARNING)


def show_warnings(*, wanted: bool = True) -> None:
    """Show the warnings of nbdock's log, in notebooks and commands; or no longer."""
    logger = logging.getLogger("nbdock")
    logger.addHandler(_warnings) if wanted else logger.removeHandler(_warnings)


@contextlib.asynccontextmanager
async def _showing(done: str, output: ProgressOutput) -> AsyncIterator[Report]:
    line = ProgressLine()
    shown = _Shown(line, output)

    async def tick() -> None:
        while True:
            await asyncio.sleep(_EVERY_S)
            shown.tick()

    ticking = asyncio.create_task(tick())
    try:
        yield line
    except BaseException as error:
        await _stop(ticking)
        shown.failed(error)
        raise
    await _stop(ticking)
    shown.done(done, always=False)


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
