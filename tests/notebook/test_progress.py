"""The progress line, in a terminal (a real kernel's is in test_kernel)."""

from __future__ import annotations

import asyncio
import io

import pytest

from nbdock.notebook.progress import run_with_progress
from nbdock.progress import ProgressLine


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


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def work(report) -> int:
    report("Counting", 1, 2)
    await asyncio.sleep(0.25)
    return 42


def test_a_terminal_line_is_written_over_itself(cells, monkeypatch) -> None:
    monkeypatch.setenv("NBDOCK_PROGRESS_DELAY_S", "0.05")
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    assert run_with_progress(work, done=lambda n: f"Counted {n}") == 42
    written = terminal.getvalue()
    assert "\r\x1b[KCounting  " in written
    assert written.count("\n") == 1
    assert written.rpartition("\r\x1b[K")[2].startswith("Counted 42 in 0.")


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
