"""Something loaded once, whichever threads and event loops ask for it.

The loading runs on nbdock's own loop, never on the asker's: a cell that looks a name up blocks the
notebook's loop, and would wait forever for a load that a build had begun there.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from nbdock import concurrency
from nbdock.packages.package import Progress

__all__ = ["LoadOnce"]

T = TypeVar("T")


class LoadOnce(Generic[T]):
    """A value that is loaded when first asked for.

    Guarantees: one load at a time, shared by all who wait; a load that fails is tried again by the
    next who asks; a load that nobody waits for any more is cancelled, and has ended before the
    last one's cancellation goes on.

    Parameters
    ----------
    load
        Loads the value, and says how far it is; called on nbdock's own loop.
    """

    def __init__(self, load: Callable[[Progress], Awaitable[T]]) -> None:
        self._load = load
        self._listeners: list[Progress] = []
        self._value: T | None = None
        self._guard = threading.Lock()
        self._attempt: _Attempt[T] | None = None

    async def get(self, progress: Progress | None = None) -> T:
        """The value; `progress` is told how far the load is, whoever began it."""
        if self._value is not None:
            return self._value
        if progress is None:
            return await self._awaited()
        self._listeners.append(progress)
        try:
            return await self._awaited()
        finally:
            self._listeners.remove(progress)

    def _report(self, what: str, done_bytes: int, all_bytes: int) -> None:
        for listener in tuple(self._listeners):
            listener(what, done_bytes, all_bytes)

    async def _awaited(self) -> T:
        with self._guard:
            if self._attempt is None:
                self._attempt = _Attempt(functools.partial(self._load, self._report))
            attempt = self._attempt
            attempt.waiting += 1
        try:
            self._value = await asyncio.shield(asyncio.wrap_future(attempt.future))
        finally:
            with self._guard:
                attempt.waiting -= 1
                done = attempt.future.done()
                abandoned = not attempt.waiting and not done
                if self._attempt is attempt and (abandoned or done):
                    self._attempt = None
            if abandoned:
                await attempt.stop()
        return self._value

    def get_now(self) -> T:
        """The value, for plain code. Not to be called on nbdock's own loop before it is loaded."""
        return self._value if self._value is not None else concurrency.run(self.get())


class _Attempt(Generic[T]):
    """One load, and how many wait for it."""

    def __init__(self, load: Callable[[], Awaitable[T]]) -> None:
        self.waiting = 0
        self.future = concurrency.start(self._run(load))

    async def _run(self, load: Callable[[], Awaitable[T]]) -> T:
        self._task = asyncio.ensure_future(load())
        return await self._task

    async def stop(self) -> None:
        """Cancel the load and see it cleaned up."""
        await asyncio.wrap_future(concurrency.start(self._stop()))

    async def _stop(self) -> None:
        # On the same loop as `_run`, and after its first step: loops keep the order.
        self._task.cancel()
        await asyncio.wait([self._task])
