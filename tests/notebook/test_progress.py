"""How progress looks, in a terminal (a real kernel's is in test_kernel and test_awaiting)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.terminal import Terminal, screen

from nbdock import concurrency
from nbdock.notebook.joblook import line_bundle
from nbdock.notebook.progress import run_with_progress
from nbdock.progress import Part, ProgressLine, part_of
from nbdock.showing import show_calls, watched


@pytest.mark.parametrize(
    ("report", "shown"),
    [
        (("Resolving", 0, 0), "Resolving … 0.0 s"),
        (("Fetching", 5 * 10**6, 10**7), f"Fetching  {'█' * 12}{'░' * 12}  5.0 MB of 10 MB, 0.0 s"),
        (("Layers", 3, 4), f"Layers  {'█' * 18}{'░' * 6}  3 of 4, 0.0 s"),
        (("Too much", 9, 4), f"Too much  {'█' * 24}  9 of 4, 0.0 s"),
        (("Less than none", -9, 4), f"Less than none  {'░' * 24}  -9 of 4, 0.0 s"),
    ],
)  # fmt: skip
def test_the_line(monkeypatch, report, shown) -> None:
    line = ProgressLine()
    monkeypatch.setattr(ProgressLine, "elapsed_s", 0.01)
    line.report(*report)
    assert line.text() == shown
    assert line.lines() == [shown]


class TestParts:
    def test_each_has_a_line(self, monkeypatch) -> None:
        monkeypatch.setattr(ProgressLine, "elapsed_s", 0.01)
        line = ProgressLine()
        line("Pulling", 3 * 10**6, 4 * 10**7)
        there = part_of(line, "Pulling", "there", 2_000)
        done = part_of(line, "Pulling", "done", 10**6)
        half = part_of(line, "Pulling", "half", 4 * 10**6)
        part_of(line, "Pulling", "not yet", 5 * 10**6)
        unknown = part_of(line, "Pulling", "unknown")
        there.end("exists already")
        done(10**6, 10**6)
        half(2 * 10**6, 4 * 10**6)
        unknown(7, 0)
        assert line.lines()[1:] == [
            f"  there    {'█' * 12}  2.0 kB, exists already",
            f"  done     {'█' * 12}  1.0 MB, done",
            f"  half     {'█' * 6}{'░' * 6}  2.0 MB of 4.0 MB",
            f"  not yet  {'░' * 12}  5.0 MB, waiting",
            f"  unknown  {'█' * 12}  7 B",
        ]

    def test_other_work_has_other_parts(self) -> None:
        line = ProgressLine()
        line("Pulling", 0, 0)
        part_of(line, "Pulling", "layer", 5)
        assert len(line.lines()) == 2
        line("Computing the checksum", 0, 0)
        assert len(line.lines()) == 1
        part_of(line, "Pushing", "layer", 5)
        line("Pulling", 0, 0)
        assert len(line.lines()) == 1

    def test_nobody_needs_to_look(self) -> None:
        for progress in (None, lambda what, done, total: None):
            part = part_of(progress, "Pulling", "layer", 5)
            part(5, 5)
            assert part.ended == "done"

    @given(st.lists(st.sampled_from(["waiting", "running", "ended"]), max_size=30))
    def test_there_are_never_too_many_lines(self, states: list[str]) -> None:
        line = ProgressLine()
        line("Pulling", 0, 0)
        for number, state in enumerate(states):
            part = part_of(line, "Pulling", f"{number:02}", 10)
            if state != "waiting":
                part(10 if state == "ended" else 5, 10)
        first, *parts = line.lines()
        assert first.startswith("Pulling")
        if len(states) <= 10:
            assert len(parts) == len(states)
            return
        *shown, rest = parts
        numbers = [int(text[2:4]) for text in shown]
        assert numbers == sorted(set(numbers))
        assert len(numbers) == 10
        # What runs is shown first of all, and what is not shown is counted.
        hidden = [state for number, state in enumerate(states) if number not in numbers]
        if "running" in hidden:
            assert {states[number] for number in numbers} == {"running"}
        told = [f"{hidden.count(s)} {s}" for s in ("ended", "running", "waiting") if s in hidden]
        assert rest == f"  … {len(hidden)} more: {', '.join(told)}"

    def test_bars_have_the_colour_of_the_house_and_say_the_same_as_text(self) -> None:
        bundle = line_bundle("a<b  ██░░  1 of 2\n  layer  ░░  waiting")
        assert bundle["text/plain"] == "a<b  ██░░  1 of 2\n  layer  ░░  waiting"
        assert bundle["text/html"].count("var(--jp-brand-color1,") == 2
        assert "a&lt;b" in bundle["text/html"]


async def work(report) -> int:
    report("Counting", 1, 2)
    part = part_of(report, "Counting", "one", 10)
    part(5, 10)
    await asyncio.sleep(0.25)
    return 42


def on_a_terminal(monkeypatch) -> Terminal:
    """No fixture: pytest sets its own standard error after those."""
    monkeypatch.setenv("NBDOCK_PROGRESS_DELAY_S", "0.05")
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    return terminal


def test_a_terminals_lines_are_written_over_themselves(cells, monkeypatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    assert run_with_progress(work, done=lambda n: f"Counted {n}") == 42
    before, _, after = terminal.getvalue().rpartition("\r\x1b[J")
    assert screen(before.removesuffix("\x1b[1A"))[1] == "  one  ██████░░░░░░  5 B of 10 B"
    assert after.startswith("Counted 42 in 0.")
    assert screen(terminal.getvalue()) == [after.rstrip("\n"), ""]


def test_a_narrow_terminal_breaks_no_line(cells, monkeypatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("LINES", "2")
    run_with_progress(work, done=lambda _: "Counted")
    [_, *shown, _] = terminal.getvalue().split("\r\x1b[J")
    assert shown
    for lines in shown:
        assert max(map(len, lines.splitlines())) < 20
        assert len(lines.splitlines()) == 1


def test_what_is_quick_says_nothing(cells, monkeypatch, capsys) -> None:
    assert run_with_progress(work, done=lambda n: "Counted") == 42
    assert capsys.readouterr() == ("", "")


def test_a_failure_ends_the_line(cells, monkeypatch, capsys) -> None:
    monkeypatch.setenv("NBDOCK_PROGRESS_DELAY_S", "0.05")

    async def fail(report) -> None:
        await asyncio.sleep(0.25)
        raise ValueError

    with pytest.raises(ValueError):
        run_with_progress(fail, done=lambda _: "Done")
    assert capsys.readouterr().err.startswith("Failed after 0.")


class Output:
    def __init__(self) -> None:
        self.said: list[str] = []

    def show(self, line: ProgressLine) -> None:
        self.said.append(line.text())

    def say(self, text: str) -> None:
        self.said.append(text)

    def end(self, text: str) -> None:
        self.said.append(text)

    def interrupted(self, error: BaseException, after_s: float) -> None:
        self.said.append(type(error).__name__)


@watched("Counted")
async def inner(*, progress=None) -> str:
    if progress:
        await work(progress)
    return "told" if progress else "not told"


@watched("Ran")
async def logs(*, progress=None, on_log=None) -> None:
    on_log("\x1b[1mhello\x1b[0m <b>")


@watched("Waited")
async def outer(*, progress=None) -> str:
    # What it calls is its own affair, in tasks too.
    both = await asyncio.gather(inner(), inner())
    if progress:
        await work(progress)
    return ", ".join(both)


class TestWatchedCalls:
    @pytest.fixture
    def outputs(self, monkeypatch) -> Iterator[list[Output]]:
        monkeypatch.setenv("NBDOCK_PROGRESS_DELAY_S", "0.05")
        made: list[Output] = []

        def output() -> Output:
            made.append(Output())
            return made[-1]

        show_calls(output)
        yield made
        show_calls(None)

    async def test_an_awaited_call_is_shown(self, outputs: list[Output]) -> None:
        assert await inner() == "told"
        [output] = outputs
        assert output.said[0].startswith("Counting")
        assert output.said[-1].startswith("Counted in 0.")

    async def test_its_log_is_shown(self, outputs: list[Output]) -> None:
        await logs()
        assert outputs[0].said == ["\x1b[1mhello\x1b[0m <b>"]
        told: list[str] = []
        await logs(on_log=told.append)
        assert told == outputs[0].said
        assert outputs[1].said == []

    async def test_in_a_terminal_a_log_moves_no_cursor(self, cells, capsys) -> None:
        await logs()
        assert capsys.readouterr().err == "hello <b>\n"

    async def test_one_display_for_one_call(self, outputs: list[Output]) -> None:
        assert await outer() == "not told, not told"
        assert len(outputs) == 1
        assert await asyncio.gather(inner(), inner()) == ["told", "told"]
        assert len(outputs) == 3

    async def test_who_says_what_to_report_to_is_shown_nothing(self, outputs) -> None:
        lines: list[tuple[str, int, int]] = []
        assert await inner(progress=lambda *line: lines.append(line)) == "told"
        assert (lines, outputs) == ([("Counting", 1, 2)], [])

    async def test_without_a_notebook_nothing_is_shown(self) -> None:
        assert await inner() == "not told"

    def test_on_the_cores_own_loop_nothing_is_shown(self, outputs) -> None:
        assert concurrency.run(inner()) == "not told"

    @pytest.mark.parametrize(
        ("stop", "said"),
        [
            (lambda task: task.cancel(), ["Stopped after 0.", "CancelledError"]),
            (lambda task: None, ["Failed after 0."]),
        ],
    )
    async def test_the_end_of_what_does_not_end_well(
        self, outputs: list[Output], stop: Callable[[asyncio.Task[None]], object], said: list[str]
    ) -> None:
        fail = asyncio.Event()

        @watched("Done")
        async def call(*, progress=None) -> None:
            await fail.wait()
            raise ValueError

        task = asyncio.create_task(call())
        while not (outputs and outputs[0].said):
            await asyncio.sleep(0)
        fail.set()
        stop(task)
        with contextlib.suppress(asyncio.CancelledError, ValueError):
            await task
        last = outputs[0].said[-len(said) :]
        assert [text[: len(start)] for text, start in zip(last, said, strict=True)] == said
        # The task that showed it is gone as well.
        assert asyncio.all_tasks() == {asyncio.current_task()}


def test_a_part_is_a_function_of_bytes() -> None:
    part = Part("x", 10)
    assert (part.is_running, part.ended) == (False, "")
    part(0, 0)
    assert (part.is_running, part.total_bytes) == (True, 10)
