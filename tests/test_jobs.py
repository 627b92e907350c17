"""Jobs: what they say is kept, who waits and who cancels, and the end of the process."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nbdock
from nbdock.concurrency import run
from nbdock.jobs import Job, JobCancelledError, JobState, Log, when_awaited

PATIENCE_S = 240


class Work:
    """Waits until it is let go; notes that it was cancelled and has cleaned up."""

    def __init__(self, result: object = 42) -> None:
        self.begun, self.go, self.cleaned = (threading.Event() for _ in range(3))
        self.result = result

    async def __call__(self, report) -> object:
        report("Waiting", 1, 2)
        self.begun.set()
        try:
            while not self.go.is_set():
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            await asyncio.sleep(0.05)  # clean-up that takes a while
            self.cleaned.set()
            raise
        return self.result


def test_a_job_gives_what_it_makes() -> None:
    work = Work()
    job = Job("x", work)
    assert work.begun.wait(PATIENCE_S)
    assert (job.state, job.error, repr(job)) == (JobState.RUNNING, None, "<Job x: running>")
    assert "Waiting  " in job.progress()
    with pytest.raises(TimeoutError):
        job.result(timeout_s=0.01)
    work.go.set()
    assert job.result(PATIENCE_S) == 42
    assert job.state is JobState.DONE
    assert job.elapsed_s == job.elapsed_s > 0


async def test_a_job_is_awaited_by_many_on_any_loop() -> None:
    work = Work()
    job = Job("x", work)
    waiters = [asyncio.ensure_future(_value(job)) for _ in range(3)]
    await asyncio.sleep(0)
    work.go.set()
    assert await asyncio.gather(*waiters) == [42, 42, 42]
    assert await job == 42
    assert await asyncio.to_thread(run, _value(job)) == 42


async def _value(job: Job[object]) -> object:
    return await job


async def test_a_job_that_fails_raises_what_stopped_it() -> None:
    fail = Job("x", _fails)
    with pytest.raises(ValueError, match="no"):
        await fail
    with pytest.raises(ValueError, match="no"):
        fail.result()
    assert isinstance(fail.error, ValueError)


async def test_awaiting_what_was_cancelled() -> None:
    job = Job("x", Work())
    job.cancel()
    with pytest.raises(JobCancelledError, match="'x' was cancelled after 0"):
        await job
    assert job.error is None


async def _fails(report) -> None:
    raise ValueError("no")


async def test_who_is_cancelled_while_awaiting_cancels_the_job_and_sees_it_clean_up() -> None:
    work = Work()
    job = Job("x", work)
    await asyncio.to_thread(work.begun.wait, PATIENCE_S)
    # Not `wait_for`, which on Python 3.11 would do with a subclass of CancelledError.
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await job
    assert work.cleaned.is_set()
    assert job.state is JobState.CANCELLED


async def test_a_second_cancellation_ends_the_waiting() -> None:
    stuck, begun = threading.Event(), threading.Event()

    async def work(report) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            while not stuck.is_set():
                await asyncio.sleep(0.01)

    job = Job("x", work)
    await asyncio.to_thread(begun.wait, PATIENCE_S)
    waiter = asyncio.ensure_future(_value(job))
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.sleep(0.02)
    assert not waiter.done()
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert job.state is JobState.RUNNING
    stuck.set()
    with pytest.raises(asyncio.CancelledError):
        job.result(PATIENCE_S)


def test_cancelling_waits_for_nobody_and_is_done_when_cleaned_up() -> None:
    work = Work()
    job = Job("x", work)
    assert work.begun.wait(PATIENCE_S)
    job.cancel()
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        job.result(PATIENCE_S)
    assert work.cleaned.is_set()
    assert job.state is JobState.CANCELLED
    job.cancel()  # harmless


def test_cancelling_what_is_done_changes_nothing() -> None:
    work = Work()
    work.go.set()
    job = Job("x", work)
    assert job.result(PATIENCE_S) == 42
    job.cancel()
    assert job.state is JobState.DONE


def test_watchers_see_the_end_and_the_last_line() -> None:
    seen: list[tuple[str, list[str]]] = []
    ended = threading.Event()

    def look() -> None:
        seen.append((job.state.value, list(job.log)))
        if job.state is not JobState.RUNNING:
            ended.set()

    lines = threading.Event()

    async def work(report) -> None:
        await asyncio.to_thread(lines.wait, PATIENCE_S)
        for i in range(20_000):
            report.log(f"line {i}")

    job = Job("x", work)
    job.watch(look)
    job.watch(lambda: 1 / 0)  # its failure is logged and stops nobody else
    lines.set()
    assert ended.wait(PATIENCE_S)
    assert seen[-1][0] == "done"
    assert seen[-1][1][-1] == "line 19999"
    assert job.log.total == 20_000
    # Throttled: not a call a line.
    assert len(seen) <= 4 * job.elapsed_s + 4


def test_who_begins_to_watch_after_the_end_is_still_told() -> None:
    job = Job("x", _nothing)
    job.result(PATIENCE_S)
    told = threading.Event()
    job.watch(told.set)
    assert told.wait(PATIENCE_S)


async def _nothing(report) -> None:
    pass


async def test_awaiting_is_told() -> None:
    told: list[Job] = []
    when_awaited(told.append)
    try:
        job = Job("x", _nothing)
        assert told == []
        await job
        assert told == [job]
    finally:
        when_awaited(None)
    await job
    assert told == [job]


# The log


@given(lines=st.lists(st.text(max_size=30)))
def test_the_log_keeps_the_last_lines(lines) -> None:
    nbdock.configure(job_log_lines=5, job_log_limit_bytes=60)
    try:
        log = Log()
    finally:
        nbdock.configure(job_log_lines=None, job_log_limit_bytes=None)
    for line in lines:
        log.append(line)
    kept = list(log)
    assert log.total == len(lines)
    assert len(kept) == len(log) <= 5
    assert bool(kept) == bool(lines)
    whole = [line.rstrip("\r\n") for line in lines][len(lines) - len(kept) :]
    for line, original in zip(kept, whole, strict=True):
        assert line == original or (line.endswith("…") and original.startswith(line[:-1]))
    assert sum(len(line.encode("utf-8", "surrogatepass")) for line in kept) <= 60 or len(kept) == 1
    before, tail = log.tail(2)
    assert list(tail) == kept[-2:]
    assert before == log.total - len(tail)
    assert str(log) == "\n".join(kept)


# The end of the process, and of the object


ENDING = """
import asyncio, sys
import nbdock
async def work(report):
    try:
        # In a worker thread, which Python 3.12.0 to 3.12.2 could not start at the end any more.
        await nbdock.concurrency.in_worker(print, "begun", flush=True)
        await asyncio.Event().wait()
    finally:
        # Clean-up may need nbdock's worker threads.
        await nbdock.concurrency.in_worker(print, "cleaned up", flush=True)
async def fail(report):
    raise ValueError("nobody asked")
failed = nbdock.Job("y", fail)
job = nbdock.Job("x", work)
while not job._task or failed.state.value == "running": pass
asyncio.run(asyncio.sleep(0.05))
"""


FORK = """import os
if (pid := os.fork()) == 0:
    os._exit(len(nbdock.jobs._running))  # it has none to wait for
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


@pytest.mark.parametrize("end", ["", "sys.exit(0)", FORK])
def test_the_end_of_the_process_cancels_jobs(end) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ENDING + end],
        capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "begun\ncleaned up\n"
    # Nobody looked at what failed: nothing is said of it either.
    assert done.stderr == ""


def test_a_job_that_nobody_holds_goes() -> None:
    job = Job("x", _nothing)
    job.watch(lambda: None)
    job.result(PATIENCE_S)
    gone = weakref.ref(job)
    run(asyncio.sleep(0))
    del job
    for _ in range(500):
        gc.collect()
        if gone() is None:
            break
        run(asyncio.sleep(0.01))
    assert gone() is None
