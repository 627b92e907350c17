"""``%%runAsRoot`` and ``runAsRoot`` in cells: the line, the script, its log, where it failed."""

from __future__ import annotations

import asyncio
import inspect

import pytest
from IPython.core.completer import provisionalcompleter

import nbdock
from nbdock.errors import CommandError
from nbdock.notebook import building
from nbdock.notebook.flags import BuildFlags, RunFlags, parse_run

BASE = '%%buildImage -o base\nname = "base"; tag = "1"; contents = [ (textFile "etc/motd" "hi") ];'
FLAGS = [
    "--background", "--disk-size", "--load", "--memory", "--name", "--output", "--push", "--save",
    "--tag", "-o",
]  # fmt: skip


class Runs:
    """Stands in for `run_as_root`: keeps what it is given, and does what the test says."""

    def __init__(self) -> None:
        self.given: list[tuple] = []
        self.error: Exception | None = None
        self.waits = False

    async def __call__(self, image, script, *, progress, on_log, **given):
        self.given.append((image, script, given))
        progress("Running as root", 0, 0)
        on_log("\x1b[1mhello\x1b[0m <b>")
        await asyncio.sleep(0.3)
        while self.waits:
            await asyncio.sleep(0.01)
        if self.error:
            raise self.error
        return image


@pytest.fixture
def runs(cells, monkeypatch) -> Runs:
    # What it stands for takes what it is given.
    names = inspect.signature(nbdock.run_as_root).parameters
    assert {"name", "tag", "disk_size", "build_vm_memory_size", "progress", "on_log"} <= set(names)
    runs = Runs()
    monkeypatch.setattr(building, "run_as_root", runs)
    cells.run(BASE)
    return runs


def test_the_cell_is_the_script(cells, runs, capsys) -> None:
    script = "groupadd -r redis\necho \"${PATH}\" $base {x} ''not Nix''\n"
    image = cells.value(f"%%runAsRoot base -o changed --tag two\n{script}")
    [(base, given, arguments)] = runs.given
    assert base is cells.names["base"]
    assert given == script
    assert arguments == {"tag": "two"}
    assert cells.names["changed"] is image


def test_flags() -> None:
    assert parse_run("redis") == RunFlags("redis", {}, BuildFlags())
    line = '"my images/x.tar" --disk-size 64 --memory 256 --name n -o y --load'
    arguments = {"name": "n", "disk_size": 64, "build_vm_memory_size": 256}
    build = BuildFlags(output="y", load=True)
    assert parse_run(line) == RunFlags("my images/x.tar", arguments, build)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("bas", "no image 'bas' in this notebook. Did you mean base?"),
        ("qqqqqq", "no image 'qqqqqq' in this notebook. Images in this notebook: base."),
        ("number", "number is no image but a int."),
        ("job", "job is still being built; wait for it with await job."),
        ("", "takes an image, for example %%runAsRoot redis -o changed"),
        ("base other", "has no flag 'other'. It takes one image"),
        ("base --tagg x", "has no flag '--tagg'. Did you mean --tag?"),
        ("base --memory much", "argument --memory: invalid int value: 'much'"),
        ("base --dry-run", "has no flag '--dry-run'."),
        ("base --push ::", "--push: "),
    ],
)
def test_what_is_wrong_in_the_line(cells, runs, capsys, line, told) -> None:
    cells.names["number"] = 1
    runs.waits = line == "job"
    if runs.waits:
        cells.run("%%runAsRoot base --background -o job\ntrue")
    error = cells.run(f"%%runAsRoot {line}\ntrue").error_in_exec
    assert told in str(error)
    runs.waits = False


def test_an_image_that_is_only_a_file(cells, runs, tmp_path) -> None:
    runs.error = CommandError("x", exit_code=1)
    cells.error(f"%%runAsRoot {tmp_path}/x.tar\ntrue")
    cells.names["path"] = tmp_path / "y.tar"
    cells.error("%%runAsRoot path\ntrue")
    assert [given[0] for given in runs.given] == [f"{tmp_path}/x.tar", f"{tmp_path}/y.tar"]


def test_a_cell_without_a_script(cells, runs, capsys) -> None:
    cells.run("%%runAsRoot base\n\n")
    assert "cell body is empty" in capsys.readouterr().out or not runs.given
    assert runs.given == []


def test_where_the_script_stopped(cells, runs) -> None:
    runs.error = CommandError(
        "The script failed with exit code 1 at line 3 of the script (mkdir /a/b):\nmkdir: no",
        exit_code=1, output="mkdir: no", argument="script", line=3, source_line="mkdir /a/b",
    )  # fmt: skip
    shown = cells.shown("%%runAsRoot base\n#!/bin/sh\necho\n\tmkdir /a/b\nmkdir /a/b\n")
    assert shown.startswith(
        "CommandError: The script failed with exit code 1 (line 3, column 2):\n"
    )
    assert "mkdir: no\n\n  \tmkdir /a/b\n  \t^" in shown


CELL = """%%buildImage -o redis
name = "redis"; fromImage = base;
runAsRoot = ''
  ${shadowSetup}
  mkdir /data
  chown redis /data
  mkdir /data
'';
"""


@pytest.mark.parametrize(
    ("line", "text", "place"),
    [
        # The text that was put in has two lines of its own, so the script's line 4 is the cell's 5.
        (4, "chown redis /data", "(line 5, column 3)"),
        (3, "mkdir /data", "(line 4, column 3)"),
        (5, "mkdir /data", "(line 6, column 3)"),
        # In what was put in: where the argument stands.
        (2, "groupadd x", "(line 2, column "),
    ],
)
def test_where_a_script_in_a_build_cell_stopped(
    cells, runs, monkeypatch, line, text, place
) -> None:
    from nbdock.notebook import reading

    async def build(*, progress, on_log, run_as_root, **given):
        on_log("hello")
        raise CommandError(
            "runAsRoot failed", exit_code=1, argument="run_as_root", line=line, source_line=text
        )

    build.__signature__ = inspect.signature(nbdock.build_image)  # type: ignore[attr-defined]
    monkeypatch.setitem(reading.FUNCTIONS, "buildImage", build)  # type: ignore[arg-type]
    cells.names["shadowSetup"] = "touch /etc/passwd\ngroupadd x"
    assert place in cells.shown(CELL)


def test_the_log_is_written_in_a_terminal(cells, runs, monkeypatch, capsys) -> None:
    monkeypatch.setenv("NBDOCK_PROGRESS_DELAY_S", "0.05")
    cells.value("%%runAsRoot base\ntrue")
    written = capsys.readouterr().err
    assert written.startswith("hello <b>\nRan as root in 0.")
    assert written.count("\n") == 2


def test_a_job_in_the_background(cells, runs) -> None:
    job = cells.value("%%runAsRoot base --background -o x\ntrue")
    assert job.result(240) is cells.names["x"]
    assert list(job.log) == ["\x1b[1mhello\x1b[0m <b>"]
    assert job.summary == "Ran as root"


@pytest.mark.parametrize(
    ("text", "expected"), [("%%runAsRoot ba", ["base"]), ("%%runAsRoot base -", FLAGS)]
)
def test_completion(cells, runs, text, expected) -> None:
    with provisionalcompleter():
        found = cells.shell.Completer.completions(text, len(text))
        assert sorted(c.text for c in found) == expected


def test_help_has_an_example(cells) -> None:
    text = cells.shell.find_cell_magic("runAsRoot").__doc__
    assert "%%runAsRoot redis -o prepared" in text


def test_a_completed_command(cells) -> None:
    from nbdock.images import CompletedCommand

    cells.names["done"] = CompletedCommand(0, "Redis server v=7\n\x1b[31mred\x1b[0m <b>\n")
    data, _ = cells.shell.display_formatter.format(cells.names["done"])
    assert data["text/plain"] == "Exit code 0\n\nRedis server v=7\nred <b>"
    assert "red &lt;b&gt;</pre>" in data["text/html"]
    cells.names["failed"] = CompletedCommand(3, "x\n" * 1000)
    data, _ = cells.shell.display_formatter.format(cells.names["failed"])
    assert data["text/plain"].startswith("Exit code 3 ✗\n\nx\nx\n")
    assert "800 lines before: print(result.output)" in data["text/plain"]
