"""How the async core, worker threads and plain functions meet.

The core is async. Three needs cross that border, and all of them go through here:

- ``run(coroutine)``: plain code (a magic, Tab completion, the command line) waits for the core. One
  daemon thread owns one event loop, started at first use; an interrupt cancels the coroutine, waits
  for it to clean up, and only then raises ``KeyboardInterrupt``.
- ``in_worker(function)``: the core hands hashing, compressing and tarring to threads, never more at
  a time than `settings.workers`.
- ``gather_limited``: many coroutines, a bounded number at a time; the first failure cancels the
  rest, waits for them and is raised alone, never inside an ExceptionGroup.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from nbdock import settings

__all__ = [
    "gather_all",
    "gather_limited",
    "in_stoppable_worker",
    "in_thread",
    "in_worker",
    "is_core",
    "run",
    "start",
    "ticking",
]

T = TypeVar("T")
U = TypeVar("U")
P = ParamSpec("P")

_LOOK_AGAIN_S = 0.5
"""How long to wait for a wake-up that an interrupt may have swallowed. Seconds."""

_here = threading.local()
"""What this thread does while it waits, as `ticking` says."""

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_pool: ThreadPoolExecutor | None = None
_pool_size = 0


def _background_loop() -> asyncio.AbstractEventLoop:
    global _loop
    with _lock:
        if _loop is None or _loop.is_closed():
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="nbdock-loop", daemon=True).start()
            _loop = loop
        return _loop


def is_core() -> bool:
    """Whether this is the thread of the background loop, for which somebody waits elsewhere."""
    return threading.current_thread().name == "nbdock-loop"


def start(coroutine: Coroutine[Any, Any, T]) -> Future[T]:
    """Start a coroutine on the background loop; the future's ``cancel()`` cancels it."""
    return asyncio.run_coroutine_threadsafe(coroutine, _background_loop())


@contextlib.contextmanager
def ticking(tick: Callable[[], object]) -> Iterator[None]:
    """Let this thread call `tick` whenever it waits in `run`, however deep in plain functions."""
    before = getattr(_here, "tick", None)
    _here.tick = tick
    try:
        yield
    finally:
        _here.tick = before


def run(
    coroutine: Coroutine[Any, Any, T],
    *,
    while_waiting: Callable[[], object] | None = None,
    every_s: float = 0.1,
) -> T:
    """Run a coroutine on the background loop and wait for its result.

    `while_waiting` is called in the waiting thread every `every_s` seconds, to show progress; by
    default what `ticking` says.
    Must not be called on the background loop itself (it would wait for itself).
    """
    if is_core():
        coroutine.close()
        raise RuntimeError("nbdock.concurrency.run() was called from the core; await instead")
    while_waiting = while_waiting or getattr(_here, "tick", None)
    loop = _background_loop()
    tasks: list[asyncio.Task[T]] = []
    ended: list[bool] = []
    # A bare lock, released at the end: an interrupt between any two steps leaves it usable, where
    # the locks inside an Event could stay locked for ever.
    wake = threading.Lock()
    wake.acquire()

    def end(*_: object) -> None:
        ended.append(True)
        wake.release()

    def begin() -> None:
        tasks.append(loop.create_task(coroutine))
        tasks[0].add_done_callback(end)

    def cancel() -> None:
        if tasks:
            tasks[0].cancel()
        else:
            # Interrupted before it was handed over: there is nothing to clean up.
            coroutine.close()
            end()

    try:
        # Within the try, for an interrupt may come as soon as the loop has it.
        loop.call_soon_threadsafe(begin)
        while not ended:
            wake.acquire(timeout=every_s if while_waiting else _LOOK_AGAIN_S)
            if while_waiting and not ended:
                while_waiting()
    except BaseException:
        loop.call_soon_threadsafe(cancel)
        # Clean-up has an owner: wait for it, and let a second interrupt stop the waiting.
        while not ended:
            wake.acquire(timeout=_LOOK_AGAIN_S)
        raise
    return tasks[0].result()


def _workers() -> ThreadPoolExecutor:
    global _pool, _pool_size
    size = settings.current().workers
    with _lock:
        if _pool is None or _pool_size != size:
            _pool = ThreadPoolExecutor(size, thread_name_prefix="nbdock-worker")
            _pool_size = size
        return _pool


async def in_worker(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a blocking function in a worker thread.

    A cancelled caller waits until the function has returned, so that nothing it holds (an open
    temporary file, say) outlives the cancellation.
    """
    return await in_stoppable_worker(threading.Event(), function, *args, **kwargs)


async def in_stoppable_worker(
    stop: threading.Event, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
) -> T:
    """As `in_worker`, for functions that take long: `stop` is set when the caller is cancelled.

    The function looks at the event now and then, and returns or raises early.
    """
    return await _in_pool(_workers(), stop, functools.partial(function, *args, **kwargs))


async def in_thread(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """As `in_worker`, beside the workers: for short steps of what goes on while those are busy.

    Also for what may itself wait for the core (`run`), as looking a package up does: a worker that
    waits for the core would be missing to the core.
    """
    return await _in_pool(None, threading.Event(), functools.partial(function, *args, **kwargs))


async def _in_pool(
    pool: ThreadPoolExecutor | None, stop: threading.Event, function: Callable[[], T]
) -> T:
    call = functools.partial(contextvars.copy_context().run, function)
    future = asyncio.get_running_loop().run_in_executor(pool, call)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        stop.set()
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError:
                continue
        future.exception()
        raise


async def gather_all(first: Awaitable[T], second: Awaitable[U]) -> tuple[T, U]:
    """Await two things at once; if one fails, the other is cancelled, waited for, and gone."""
    tasks = (asyncio.ensure_future(first), asyncio.ensure_future(second))
    await _all_or_none(tasks)
    return tasks[0].result(), tasks[1].result()


async def _all_or_none(tasks: Sequence[asyncio.Future[Any]]) -> None:
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


async def gather_limited(awaitables: Iterable[Callable[[], Awaitable[T]]], limit: int) -> list[T]:
    """Call the given functions and await what they return, at most `limit` at a time.

    Results come in the order of the functions. The first failure cancels all others, waits for
    them, and is raised by itself.
    """
    gate = asyncio.Semaphore(limit)

    async def one(make: Callable[[], Awaitable[T]]) -> T:
        async with gate:
            return await make()

    tasks = [asyncio.ensure_future(one(make)) for make in awaitables]
    await _all_or_none(tasks)
    return [task.result() for task in tasks]
