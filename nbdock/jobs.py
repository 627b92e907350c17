"""Work that goes on by itself, can be watched, awaited and cancelled: builds, virtual machines.

A job starts at once on nbdock's own loop, so it needs no loop of its maker, and a notebook that
waits for nothing still gets on. What it says as it goes is kept, bounded, for whoever looks later.

>>> from nbdock.jobs import Job
>>> async def work(report):
...     report("Counting", 1, 1)
...     report.log("one")
...     return 42
>>> job = Job("count", work)
>>> job.result(timeout_s=10), job.state.value, list(job.log)
(42, 'done', ['one'])
"""

from __future__ import annotations

import asyncio
import atexit
import collections
import concurrent.futures
import contextlib
import enum
import logging
import os
import threading
from collections.abc import Callable, Coroutine, Generator, Iterator
from typing import Any, Generic, TypeVar

from nbdock import settings
from nbdock.concurrency import start
from nbdock.progress import ProgressLine
from nbdock.units import seconds_text

__all__ = ["Job", "JobCancelledError", "JobReport", "JobState", "Log", "when_awaited"]

T = TypeVar("T")

_WATCH_INTERVAL_S = 0.25
_EXIT_PATIENCE_S = 4.0
"""How long the end of the process waits for jobs to clean up; Jupyter waits 5 s for a kernel."""

_logger = logging.getLogger(__name__)


class JobState(enum.Enum):
    """Where a job stands."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class JobCancelledError(asyncio.CancelledError):
    """A job was cancelled; to asyncio it is what any cancelled task raises."""


class Log:
    """The last lines of what a job says; the settings say how many. Any thread may add to it.

    `total` counts all lines there were. Iterating gives those that are kept, ``print(job.log)``
    shows them.

    >>> log = Log()
    >>> log.append("Starting")
    >>> log.total, list(log)
    (1, ['Starting'])
    """

    def __init__(self) -> None:
        chosen = settings.current()
        self._most_lines, self._most_bytes = chosen.job_log_lines, chosen.job_log_limit_bytes
        self._lock = threading.Lock()
        self._lines: collections.deque[str] = collections.deque()
        self._size_bytes = 0
        self.total = 0

    def append(self, line: str) -> None:
        """Add a line; the first lines go when there are too many, the end of one too long."""
        line = line.rstrip("\r\n")
        size = _size_bytes(line)
        if size > self._most_bytes:
            # A character has at most four bytes.
            line = line[: max(1, self._most_bytes // 4)] + "\u2026"
            size = _size_bytes(line)
        with self._lock:
            self._lines.append(line)
            self._size_bytes += size
            self.total += 1
            while len(self._lines) > 1 and (
                len(self._lines) > self._most_lines or self._size_bytes > self._most_bytes
            ):
                self._size_bytes -= _size_bytes(self._lines.popleft())

    def tail(self, count: int) -> tuple[int, tuple[str, ...]]:
        """The last lines, at most `count`, and how many there were before them."""
        with self._lock:
            kept = len(self._lines)
            first = max(0, kept - count)
            lines = tuple(self._lines[i] for i in range(first, kept))
            return self.total - len(lines), lines

    def __iter__(self) -> Iterator[str]:
        with self._lock:
            return iter(tuple(self._lines))

    def __len__(self) -> int:
        return len(self._lines)

    def __str__(self) -> str:
        return "\n".join(self)

    def __repr__(self) -> str:
        return f"<Log of {self.total} lines>"


def _size_bytes(line: str) -> int:
    return len(line) if line.isascii() else len(line.encode("utf-8", "surrogatepass"))


class JobReport(ProgressLine):
    """What the work of a job speaks to: called with progress, and `log` with lines of a log.

    Attributes
    ----------
    summary
        What was done in the end, as the beginning of a sentence; the work may set it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lines_said = Log()
        self.summary = "Done"

    def log(self, line: str) -> None:
        """Take note of a line of a log, without its newline."""
        self.lines_said.append(line)


class Job(Generic[T]):
    """Work on the background loop, started at once.

    ``await job`` gives what it makes or raises what stopped it; as with a task of asyncio, who is
    cancelled or interrupted while awaiting it cancels it. ``job.result()`` waits and no more.
    ``cancel()`` stops it, and it cleans up after itself; so does the end of the process.
    Showing it again shows where it stands.

    Attributes
    ----------
    name
        What it is called where it is shown.
    log
        The last lines of what it said.
    report
        How far it is, as the work says it.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[JobReport], Coroutine[Any, Any, T]],
        *,
        on_result: Callable[[T], object] | None = None,
    ) -> None:
        self.name = name
        self.report = JobReport()
        self.log = self.report.lines_said
        self._took_s: float | None = None
        self._task: asyncio.Task[object] | None = None
        self._cancelled = False
        self._future: concurrent.futures.Future[T] = start(self._supervise(work, on_result))

    async def _supervise(
        self,
        work: Callable[[JobReport], Coroutine[Any, Any, T]],
        on_result: Callable[[T], object] | None,
    ) -> T:
        task = self._task = asyncio.current_task()
        assert task is not None
        _running.add(task)
        task.add_done_callback(_running.discard)
        try:
            if self._cancelled:
                raise asyncio.CancelledError
            result = await work(self.report)
            if on_result is not None:
                on_result(result)
            return result
        finally:
            self._took_s = self.report.elapsed_s
            self._task = None

    @property
    def state(self) -> JobState:
        """Where the job stands now."""
        if not self._future.done():
            return JobState.RUNNING
        if self._future.cancelled():
            return JobState.CANCELLED
        return JobState.FAILED if self._future.exception() else JobState.DONE

    @property
    def elapsed_s(self) -> float:
        """Seconds that it has run, or did run."""
        return self.report.elapsed_s if self._took_s is None else self._took_s

    @property
    def error(self) -> BaseException | None:
        """What stopped it, if something did."""
        return self._future.exception() if self.state is JobState.FAILED else None

    @property
    def is_cancelling(self) -> bool:
        """Whether it has been cancelled and is cleaning up."""
        return self._cancelled and not self._future.done()

    @property
    def summary(self) -> str:
        """What was done in the end, as the beginning of a sentence: ``Built``."""
        return self.report.summary

    def progress(self) -> str:
        """What is being done, as a line; and a line for each part of it that has one."""
        if self.is_cancelling:
            return f"Cancelling \u2026 {seconds_text(self.elapsed_s)}"
        return "\n".join(self.report.lines())

    def watch(self, callback: Callable[[], object]) -> None:
        """Call a function four times a second while the job runs, and once when it has ended.

        By the last call all lines of its log are there. It is called on nbdock's own loop, so it
        must be quick.
        """
        start(self._tell(callback))

    async def _tell(self, callback: Callable[[], object]) -> None:
        ended = asyncio.wrap_future(self._future)
        ended.add_done_callback(_look_at)
        running = True
        while running:
            await asyncio.wait([ended], timeout=_WATCH_INTERVAL_S)
            running = not ended.done()
            try:
                callback()
            except Exception:
                _logger.exception("A watcher of the job %r failed", self.name)
                break

    def cancel(self) -> None:
        """Stop it; harmless when it has ended. It is cancelled once it has cleaned up."""
        if self._cancelled:
            return  # a second time would stop the clean-up
        self._cancelled = True
        # The task, not the future that stands for it: that would count as ended at once.
        if (task := self._task) is not None:
            task.get_loop().call_soon_threadsafe(task.cancel)

    def result(self, timeout_s: float | None = None) -> T:
        """Wait for what it makes.

        Raises
        ------
        TimeoutError
            Not done after `timeout_s` seconds; it goes on.
        JobCancelledError
            It was cancelled.
        """
        try:
            return self._future.result(timeout_s)
        except concurrent.futures.CancelledError:
            raise self._cancelled_error() from None

    def __await__(self) -> Generator[Any, None, T]:
        return self._wait().__await__()

    async def _wait(self) -> T:
        if _tell_awaited is not None:
            _tell_awaited(self)
        ended = asyncio.wrap_future(self._future)
        ended.add_done_callback(_look_at)
        try:
            while not ended.done():
                # With a timeout: a kernel sees an interrupt only when its loop wakes up.
                await asyncio.wait([ended], timeout=_WATCH_INTERVAL_S)
        except asyncio.CancelledError:
            # Who waits is cancelled: so is the job, and its clean-up is waited for. Being
            # cancelled once more ends the waiting.
            self.cancel()
            while not ended.done():
                await asyncio.wait([ended], timeout=_WATCH_INTERVAL_S)
            raise _for_who_waits(self._cancelled_error()) from None
        if ended.cancelled():
            raise self._cancelled_error()
        return ended.result()

    def _cancelled_error(self) -> JobCancelledError:
        took = seconds_text(self.elapsed_s)
        return JobCancelledError(f"The job {self.name!r} was cancelled after {took}.")

    def __repr__(self) -> str:
        return f"<Job {self.name}: {self.state.value}>"


def _for_who_waits(stopped: JobCancelledError) -> asyncio.CancelledError:
    """What says so to the task that was cancelled: before Python 3.13, its subclasses are not seen.

    ``asyncio.timeout`` there makes a TimeoutError of this very type alone.
    """
    error = asyncio.CancelledError(*stopped.args)
    # Where a notebook has given jobs a way to be shown, it is shown so too.
    if (render := getattr(stopped, "_render_traceback_", None)) is not None:
        vars(error)["_render_traceback_"] = render
    return error


def _look_at(ended: asyncio.Future[Any]) -> None:
    """Look at an exception, so that asyncio does not complain that nobody did."""
    if not ended.cancelled():
        ended.exception()


_tell_awaited: Callable[[Job[Any]], object] | None = None


def when_awaited(tell: Callable[[Job[Any]], object] | None) -> None:
    """Have a function called with each job that someone begins to await, there; None: no more."""
    global _tell_awaited
    _tell_awaited = tell


_running: set[asyncio.Task[Any]] = set()


def _end() -> None:
    """Cancel the jobs of a process that ends, and let them clean up."""
    if _running:
        with contextlib.suppress(TimeoutError):
            start(_cancel_all()).result(_EXIT_PATIENCE_S)


async def _cancel_all() -> None:
    for task in _running:
        task.cancel()
    await asyncio.wait(_running)


# Before the worker threads are stopped, which jobs may need to clean up: Python calls these in
# reverse, and `concurrent.futures` has registered its own.
getattr(threading, "_register_atexit", atexit.register)(_end)
# The jobs of a process are not those of one forked from it.
os.register_at_fork(after_in_child=_running.clear)
