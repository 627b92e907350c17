"""Jobs in notebooks: what is shown while they run, what is kept, the button that stops them."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading

import pytest
from support.front_end import WIDGET, FrontEnd, is_display, state

from nbdock.errors import NbdockError
from nbdock.jobs import Job
from nbdock.notebook.joblook import heading, job_bundle, plain_line

PATIENCE_S = 240

# What is shown of a line


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("", ""),
        ("Setting up redis-server (5:7.0.15) ...", "Setting up redis-server (5:7.0.15) ..."),
        ("\x1b[1;31merror\x1b[0m: no", "error: no"),
        ("\x1b]0;title\x07text\x1b]8;;http://x\x1b\\link", "textlink"),
        ("\x1b[2K\x1b[1Gagain", "again"),
        ("\x1b(Bcharset\x1b=", "charset"),
        ("cut off \x1b[3", "cut off "),
        ("\x9b31mone byte", "one byte"),
        ("10 %\r50 %\r100 %", "100 %"),
        ("100 %\r", "100 %"),
        ("\r\r", ""),
        ("spinn|\b/\b-", "spinn-"),
        ("a\tb", "a       b"),
        ("bell\x07 nul\x00 del\x7f", "bell� nul� del�"),
        ("evil\u202etxt.exe", "evil�txt.exe"),
        ("bad \udcff byte", "bad � byte"),
        ("größe 大 ✓", "größe 大 ✓"),
        ("x" * 5000, "x" * 1000 + "…"),
    ],
)
def test_a_line_of_a_log_is_shown_as_a_terminal_leaves_it(line, shown) -> None:
    assert plain_line(line) == shown


def test_a_hostile_line_takes_no_time() -> None:
    for line in (
        "a\b" * 200_000,
        "\b" * 200_000,
        "\x1b[" * 200_000,
        "\x1b]" + "0" * 500_000,
        "\r" * 10**6,
    ):
        assert len(plain_line(line)) <= 1001


# What a notebook keeps


def ended(work, name="redis", **kwargs) -> Job:
    job = Job(name, work, **kwargs)
    with contextlib.suppress(Exception, asyncio.CancelledError):
        job.result(PATIENCE_S)
    return job


async def builds(report) -> int:
    for i in range(150):
        report.log(f"<b>{i}</b> & more")
    report.summary = "Built, saved as x.tar"
    return 42


async def fails(report) -> None:
    report.log("Looking for <script>")
    raise NbdockError("There is no <b>.", hint="Make one & try again.")


def test_a_job_that_is_done() -> None:
    bundle = job_bundle(ended(builds), result={"text/plain": "42", "text/html": "<i>42</i>"})
    assert re.fullmatch(r"✓ redis: Built, saved as x\.tar in 0\.\d s\.\n\n42", bundle["text/plain"])
    html = bundle["text/html"]
    assert "Log: the last 100 of 150 lines" in html
    assert "<details>" in html  # folded
    assert "&lt;b&gt;149&lt;/b&gt; &amp; more" in html
    assert "&lt;b&gt;49&lt;" not in html
    assert "<i>42</i>" in html


def test_a_job_that_failed(cells) -> None:
    job = ended(fails)
    bundle = job_bundle(job)
    text = bundle["text/plain"]
    assert re.match(
        r"✗ redis: failed after 0\.\d s\.\n\nLooking for <script>\n\nNbdockError: ", text
    )
    assert text.endswith("NbdockError: There is no <b>.\n\nMake one & try again.")
    assert "\x1b" not in text
    html = bundle["text/html"]
    assert "<details open>" in html
    assert "NbdockError: There is no &lt;b&gt;." in html
    assert "<script" not in html
    # Below a cell that waits, the cell shows the error.
    assert "NbdockError" not in job_bundle(job, named=False)["text/html"]
    assert heading(job, named=False).startswith("Failed after 0.")


def test_a_job_that_failed_by_what_is_not_ours(cells) -> None:
    async def divides(report) -> float:
        return 1 / 0

    assert "ZeroDivisionError: division by zero" in job_bundle(ended(divides))["text/html"]


def test_what_is_kept_is_bounded() -> None:
    async def floods(report) -> None:
        for _ in range(20_000):
            report.log("x" * 5000)

    bundle = job_bundle(ended(floods))
    assert len(bundle["text/html"]) < 150_000
    assert "the last 100 of 20,000 lines" in bundle["text/html"]


def test_a_running_job_in_text() -> None:
    go = threading.Event()

    async def waits(report) -> None:
        report("Running as root", 0, 0)
        report.log("Booting")
        while not go.is_set():
            await asyncio.sleep(0.01)

    job = Job("redis", waits)
    while not len(job.log):
        pass
    text = job_bundle(job)["text/plain"]
    assert re.match(
        r"▶ redis: Running as root … 0\.\d s\n\nBooting\n\nStop it with \.cancel\(\)", text
    )
    job.cancel()
    assert heading(job).startswith(("▶ redis: Cancelling … ", "■ redis: cancelled after "))
    go.set()


# In a real kernel

FAKE = """
import asyncio, threading, nbdock
from nbdock.notebook.jobdisplay import run_job
go = threading.Event()
async def work(report, fail=False):
    report("Running as root", 1, 2)
    report.log("Booting the machine")
    try:
        while not go.is_set():
            await asyncio.sleep(0.02)
    finally:
        cleaned.set()
    report.summary = "Built"
    return "made"
cleaned = threading.Event()
"""


@pytest.fixture
def front(kernel) -> FrontEnd:
    kernel.run(FAKE)
    return FrontEnd(kernel)


def test_the_button_stops_a_job_while_its_cell_runs(kernel, front) -> None:
    request = kernel.send("run_job('redis', work)")
    opened = front.until(lambda m: state(m) is not None)
    comm = opened["content"]["comm_id"]
    shown = front.until(is_display)
    assert set(shown["content"]["data"]) == {"text/plain", "text/html", WIDGET}
    assert shown["content"]["data"][WIDGET]["model_id"] == comm
    assert state(opened)["lines"] == ["Booting the machine"]
    assert not state(opened)["reachable"]  # no button that may be a lie
    front.draw(comm)
    front.send(comm, {"type": "cancel"})
    messages = list(kernel.messages(request))
    [error] = [m["content"] for m in messages if m["msg_type"] == "error"]
    assert error["ename"] == "KeyboardInterrupt"
    assert "cancelled after" in "".join(error["traceback"])
    # What stays needs no kernel; the widget has gone.
    last = [m for m in messages if is_display(m)][-1]["content"]["data"]
    assert set(last) == {"text/plain", "text/html"}
    assert re.fullmatch(r"Cancelled after [\d.]+ s\.", last["text/plain"])
    assert [m["content"]["comm_id"] for m in messages if m["msg_type"] == "comm_close"] == [comm]
    kernel.run("assert cleaned.is_set()")


def test_a_front_end_that_cannot_be_heard_is_shown_text(kernel, front) -> None:
    """No subshell: the message waits for the end of the cell, and no button is shown."""
    request = kernel.send("run_job('redis', work)")
    comm = front.until(lambda m: state(m) is not None)["content"]["comm_id"]
    front.send(comm, {"type": "here"}, over_subshell=False)
    shown = front.until(lambda m: is_display(m) and WIDGET not in m["content"]["data"])
    assert "Booting the machine" in shown["content"]["data"]["text/html"]
    kernel.manager.interrupt_kernel()
    [error] = [m["content"] for m in kernel.messages(request) if m["msg_type"] == "error"]
    assert "stopped after" in "".join(error["traceback"])
    kernel.run("assert cleaned.is_set()")


def test_each_view_of_a_job_follows_it_to_its_end(kernel, front) -> None:
    kernel.run("job = nbdock.Job('redis', work)")
    kernel.send("job")
    first = front.until(is_display)["content"]["transient"]["display_id"]
    kernel.send("job")
    second = front.until(is_display)["content"]["transient"]["display_id"]
    assert first != second
    kernel.send("go.set()")
    seen: dict[str, str] = {}
    while set(seen) != {first, second}:
        message = front.until(lambda m: m["msg_type"] == "update_display_data")["content"]
        if "✓" in message["data"]["text/plain"]:
            seen[message["transient"]["display_id"]] = message["data"]["text/plain"]
    assert all(re.fullmatch(r"✓ redis: Built in [\d.]+ s\.\n\n'made'", t) for t in seen.values())
    # And one that comes later shows how it ended, at once.
    [late] = [m for m in kernel.run("job") if is_display(m)]
    assert late["content"]["data"]["text/plain"] == seen[first]


def test_a_job_that_is_awaited_is_shown_and_interrupted(kernel, front) -> None:
    request = kernel.send("await nbdock.Job('redis', work)")
    front.until(is_display)
    kernel.manager.interrupt_kernel()
    [error] = [m["content"] for m in kernel.messages(request) if m["msg_type"] == "error"]
    assert error["ename"] == "CancelledError"
    [shown] = error["traceback"]
    assert "The job 'redis' was cancelled after " in shown
    kernel.run("assert cleaned.is_set()")


def test_what_is_quick_shows_nothing(kernel, front) -> None:
    messages = kernel.run("go.set()\nrun_job('redis', work)")
    assert [m["msg_type"] for m in messages if "comm" in m["msg_type"] or is_display(m)] == []
    messages = kernel.run("await nbdock.Job('redis', work)")
    assert [m["msg_type"] for m in messages if "comm" in m["msg_type"] or is_display(m)] == []
