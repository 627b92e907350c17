"""A build that goes on while the notebook is used: ``%%buildImage --background``.

>>> from nbdock.notebook.jobs import Job
>>> async def work(report):
...     report("Counting", 1, 1)
...     return 42
>>> job = Job("count", work)
>>> job.result(timeout_s=10), job.state.value
(42, 'done')
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import CancelledError, Future
from typing import Any, Generic, TypeVar

from nbdock.concurrency import start
from nbdock.progress import ProgressLine

__all__ = ["Job", "JobState"]

T = TypeVar("T")

_WATCH_INTERVAL_S = 1.0


class JobState(enum.Enum):
    """Where a job stands."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Job(Generic[T]):
    """Work on the background loop, started at once.

    ``await job`` or ``job.result()`` gives what it makes or raises what stopped it; ``cancel()``
    stops it, and it cleans up after itself. Showing it again shows where it stands.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Callable[[str, int, int], None]], Coroutine[Any, Any, T]],
        *,
        on_result: Callable[[T], object] | None = None,
    ) -> None:
        self.name = name
        self._line = ProgressLine()
        self._took_s: float | None = None
        self._task: asyncio.Task[object] | None = None
        self._cancelled = False
        self._future: Future[T] = start(self._supervise(work, on_result))

    async def _supervise(
        self,
        work: Callable[[Callable[[str, int, int], None]], Coroutine[Any, Any, T]],
        on_result: Callable[[T], object] | None,
    ) -> T:
        self._task = asyncio.current_task()
        try:
            if self._cancelled:
                raise asyncio.CancelledError
            result = await work(self._line.report)
            if on_result is not None:
                on_result(result)
            return result
        finally:
            self._took_s = self._line.elapsed_s

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
        return self._line.elapsed_s if self._took_s is None else self._took_s

    @property
    def error(self) -> BaseException | None:
        """What stopped it, if something did."""
        return self._future.exception() if self.state is JobState.FAILED else None

    def progress(self) -> str:
        """What is being done, as a line."""
        return self._line.text()

    def watch(self, callback: Callable[[], object]) -> None:
        """Call a function about once a second while the job runs, and once when it has ended.

        It is called on nbdock's own loop, so it must be quick.
        """
        start(self._tell(callback))

    async def _tell(self, callback: Callable[[], object]) -> None:
        ended = asyncio.wrap_future(self._future)
        running = True
        while running:
            await asyncio.wait([ended], timeout=_WATCH_INTERVAL_S)
            running = not self._future.done()
            callback()
        if ended.done() and not ended.cancelled():
            ended.exception()  # looked at, so asyncio does not complain that nobody did

    def cancel(self) -> None:
        """Stop it; harmless when it has ended. It is cancelled once it has cleaned up."""
        self._cancelled = True
        # The task, not the future that stands for it: that would count as ended at once.
        if self._task is not None:
            self._task.get_loop().call_soon_threadsafe(self._task.cancel)

    def result(self, timeout_s: float | None = None) -> T:
        """Wait for what it makes.

        Raises
        ------
        TimeoutError
            Not done after `timeout_s` seconds; it goes on.
        asyncio.CancelledError
            It was cancelled.
        """
        try:
            return self._future.result(timeout_s)
        except CancelledError as error:
            raise asyncio.CancelledError(f"The job {self.name!r} was cancelled.") from error

    def __await__(self) -> Generator[Any, None, T]:
        # Shielded: who stops waiting does not stop the job.
        return asyncio.shield(asyncio.wrap_future(self._future)).__await__()

    def __repr__(self) -> str:
        return f"<Job {self.name}: {self.state.value}>"
