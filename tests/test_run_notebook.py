"""`notebooks/run.py`: what ``make demo`` shows, also of a notebook that fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).parent.parent
V4 = nbformat.v4


def _run(tmp_path: Path, *cells: nbformat.NotebookNode) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "some.ipynb"
    nbformat.write(V4.new_notebook(cells=list(cells)), path)
    return subprocess.run(
        [sys.executable, ROOT / "notebooks/run.py", path, "--directory", tmp_path / "out"],
        env={**os.environ, "HOME": "/nonexistent"}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip


def test_shows_each_cell_the_table_and_the_image(tmp_path: Path) -> None:
    done = _run(
        tmp_path,
        V4.new_markdown_cell("# Text is not counted"),
        V4.new_code_cell("# A comment is not the title\nx = 'the table'"),
        V4.new_code_cell("print('no table'); x", metadata={"tags": ["layer-table"]}),
        V4.new_code_cell("open('image.tar.gz', 'wb').write(b'x').bit_count()"),
    )
    assert done.returncode == 0, done.stderr
    first, second, third = (line for line in done.stdout.splitlines() if line.startswith("["))
    assert first.startswith("[1/3] x = 'the table'")
    assert second.startswith("[2/3] print")
    assert third.endswith(" s")
    assert "\n'the table'\n" in done.stdout
    assert f"Image:    {tmp_path}/out/image.tar.gz (0.0 MB)\n" in done.stdout
    assert nbformat.read(tmp_path / "out/some.ipynb", 4).cells[2].outputs


def test_fails_with_the_error_of_the_cell(tmp_path: Path) -> None:
    done = _run(tmp_path, V4.new_code_cell("1 / 0"), V4.new_code_cell("print('never')"))
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "\x1b" not in done.stderr
    assert "[2/2]" not in done.stdout


def test_quickstart_is_committed_without_outputs() -> None:
    notebook = nbformat.read(ROOT / "notebooks/00-quickstart.ipynb", 4)
    nbformat.validate(notebook)
    assert not [c for c in notebook.cells if c.cell_type == "code" and c.outputs]
