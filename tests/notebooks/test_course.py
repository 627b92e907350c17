"""The lessons: committed executed and fit to be, and each runs with its exercises solved."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from support.components import require

ROOT = Path(__file__).parent.parent.parent
NOTEBOOKS = ROOT / "notebooks"
LESSONS = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
LINK = re.compile(r"\]\((?!\w+:)([^)#]+)")
V4 = nbformat.v4

lessons = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


@pytest.fixture(autouse=True)
def beside_the_lessons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(NOTEBOOKS))


def tagged(notebook: nbformat.NotebookNode, tag: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", ())]


def shown(cell: nbformat.NotebookNode) -> str:
    return "".join(
        str(output.get("text", "")) + str(output.get("data", {}).get("text/plain", ""))
        for output in cell.outputs
    )


def execute(path: Path, directory: Path) -> nbformat.NotebookNode:
    done = subprocess.run(
        [sys.executable, NOTEBOOKS / "run.py", path, "--directory", directory],
        # What a slow machine shows besides, such as "Read in 2.1 s", is no result.
        env={**os.environ, "NBDOCK_PROGRESS_DELAY_S": "3600"}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return nbformat.read(directory / path.name, 4)


def test_there_are_lessons() -> None:
    assert len(LESSONS) >= 10


@lessons
def test_is_committed_executed(path: Path) -> None:
    from committing import refusals

    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    assert refusals(notebook) == []
    assert "widgets" not in notebook.metadata
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    counts = [cell.execution_count for cell in code]
    assert counts == list(range(1, len(code) + 1)), "python notebooks/run.py --write it"
    for exercise in tagged(notebook, "exercise"):
        assert exercise.source.endswith("..."), "an answer is committed"
        assert exercise.metadata["nbdock"]["solution"]
    assert all(shown(cell).startswith("Not answered yet.") for cell in tagged(notebook, "check"))


@lessons
def test_links_lead_somewhere(path: Path) -> None:
    notebook = nbformat.read(path, 4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for link in LINK.findall(text):
        assert (NOTEBOOKS / link).exists(), link


@lessons
@pytest.mark.usefixtures("apt_home")
def test_runs_with_its_exercises_solved(path: Path, tmp_path: Path) -> None:
    if path.stem.startswith("04"):
        require("qemu-system-x86_64")
    notebook = nbformat.read(path, 4)
    for exercise in tagged(notebook, "exercise"):
        exercise.source = exercise.metadata["nbdock"]["solution"]
    solved = tmp_path / "solved" / path.name
    solved.parent.mkdir()
    nbformat.write(notebook, solved)
    executed = execute(solved, tmp_path / "work")
    checks = tagged(executed, "check")
    assert [shown(cell) for cell in checks] == ["✓ Right."] * len(checks)


def test_checks_say_how_it_is_and_cells_that_cannot_run_show_what_was_recorded(
    tmp_path: Path,
) -> None:
    """In a course of its own, so that it has a lesson with a recorded result."""
    course = tmp_path / "course"
    course.mkdir()
    for name in ("run.py", "course.py", "committing.py"):
        shutil.copyfile(NOTEBOOKS / name, course / name)
    lesson = V4.new_notebook(
        metadata={"nbdock": {"recorded": "2026-01-02"}},
        cells=[
            V4.new_code_cell("import pandas as pd\nfrom course import check, needs"),
            V4.new_code_cell("needs('no-such-program', package='nowhere')"),
            V4.new_code_cell(
                "%%no_such_magic\nof no use",
                metadata={"tags": ["recorded"]},
                outputs=[
                    V4.new_output("stream", text="said\n"),
                    V4.new_output("execute_result", data={"text/plain": "42"}, execution_count=9),
                ],
            ),
            V4.new_code_cell("check(..., 1, hint='Begin.')"),
            V4.new_code_cell("check(pd.Series([1, 2]), pd.Series([1, 2]))"),
            V4.new_code_cell("check(pd.Series([1, 2]), pd.Series([1, 3]), wrong='Look again.')"),
            V4.new_code_cell("check(None, lambda answer: len(answer) == 1)"),
            V4.new_code_cell("needs('QEMU parts')", metadata={"tags": ["recorded"]}),
        ],
    )
    path = course / "lesson.ipynb"
    nbformat.write(lesson, path)
    done = subprocess.run(
        [sys.executable, course / "run.py", path, "--directory", tmp_path / "work"],
        env={**os.environ, "PYTHONPATH": str(course)}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    _, needed, replayed, *checks, never_run = nbformat.read(tmp_path / "work/lesson.ipynb", 4).cells
    assert shown(needed).startswith("no-such-program: missing here")
    assert re.search(r"install\b.* nowhere", shown(needed)) or "pacman -S nowhere" in shown(needed)
    assert shown(replayed) == "Recorded on 2026-01-02; no-such-program is missing here.said\n42"
    assert [shown(cell) for cell in checks] == [
        "Not answered yet. Begin.",
        "✓ Right.",
        "✗ Not yet. Look again.",
        "✗ Not yet. TypeError: object of type 'NoneType' has no len()",
    ]
    assert shown(never_run) == "Not run: no-such-program is missing here."
