"""Where the async core, worker threads and plain functions meet."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

import pytest

from nbdock import concurrency


async def test_results_come_in_order_and_no_more_run_than_allowed() -> None:
    running = most = 0

    async def one(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return number

    made = [lambda n=n: one(n) for n in range(20)]
    assert await concurrency.gather_limited(made, 3) == list(range(20))
    assert most == 3


async def test_the_first_failure_comes_alone_after_the_others_have_ended() -> None:
    ended = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("cleaned up")

    async def fails() -> None:
        raise ValueError("first")

    with pytest.raises(ValueError, match="first") as caught:
        await concurrency.gather_limited([waits, waits, fails], 3)
    assert ended == ["cleaned up"] * 2
    assert not isinstance(caught.value, BaseExceptionGroup)
    with pytest.raises(ValueError, match="first"):
        await concurrency.gather_all(waits(), fails())
    assert ended == ["cleaned up"] * 3


async def test_a_cancelled_caller_waits_for_its_thread() -> None:
    stop, entered, left = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        entered.set()
        assert stop.wait(240)
        left.set()

    task = asyncio.ensure_future(concurrency.in_stoppable_worker(stop, work))
    await asyncio.to_thread(entered.wait, 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left.is_set()


def test_plain_code_gets_results_and_errors() -> None:
    async def answer() -> int:
        return 42

    async def fails() -> None:
        raise ValueError("no")

    ticks: list[int] = []
    assert concurrency.run(answer()) == 42
    assert concurrency.run(answer(), while_waiting=lambda: ticks.append(1), every_s=0.001) == 42
    with pytest.raises(ValueError, match="no"):
        concurrency.run(fails())


def test_what_a_thread_does_while_it_waits() -> None:
    ticks: list[str] = []
    elsewhere: list[str] = []

    def waits() -> None:
        concurrency.run(asyncio.sleep(0.25))

    with concurrency.ticking(lambda: ticks.append("outer")):
        with concurrency.ticking(lambda: ticks.append("inner")):
            waits()
            inner = len(ticks)
            other = threading.Thread(target=waits)
            other.start()
            other.join()
            # What another thread waits for is not this one's.
            assert len(ticks) == inner
            concurrency.run(asyncio.sleep(0.25), while_waiting=lambda: elsewhere.append("own"))
        waits()
    assert set(ticks[:inner]) == {"inner"}
    assert set(ticks[inner:]) == {"outer"}
    assert set(elsewhere) == {"own"}
    waits()
    assert set(ticks[inner:]) == {"outer"}


def test_the_core_must_not_wait_for_itself() -> None:
    async def nested() -> None:
        concurrency.run(asyncio.sleep(0))

    with pytest.raises(RuntimeError, match="await instead"):
        concurrency.run(nested())


def test_an_interrupt_cancels_whenever_it_comes() -> None:
    """The loop's thread interrupts at its first step, so the waiting thread may be anywhere."""
    for _ in range(200):
        cancelled = threading.Event()

        async def work(cancelled: threading.Event = cancelled) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        with pytest.raises(KeyboardInterrupt):
            concurrency.run(work())
        assert cancelled.is_set()
