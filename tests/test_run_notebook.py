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


def _write(tmp_path: Path, *cells: nbformat.NotebookNode) -> subprocess.CompletedProcess[str]:
    nbformat.write(V4.new_notebook(cells=list(cells)), tmp_path / "some.ipynb")
    return subprocess.run(
        [sys.executable, ROOT / "notebooks/run.py", "--write", tmp_path / "some.ipynb"],
        env={**os.environ, "NBDOCK_HOME": f"{tmp_path}/packages"}, cwd=tmp_path,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip


def test_writes_what_cells_show_and_nothing_that_differs_from_run_to_run(tmp_path: Path) -> None:
    done = _write(
        tmp_path,
        V4.new_code_cell("import os, time\nos.listdir(), time.tzname[0]"),
        V4.new_code_cell("import ipywidgets\nipywidgets.IntSlider()"),
        V4.new_code_cell("open('left', 'w').close()"),
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "left").exists()
    notebook = nbformat.read(tmp_path / "some.ipynb", 4)
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert [dict(cell.metadata) for cell in notebook.cells] == [{}, {}, {}]
    first, second, _ = (cell.outputs for cell in notebook.cells)
    assert first[0].data["text/plain"] == "([], 'UTC')"
    assert set(second[0].data) == {"text/plain"}


def test_does_not_write_what_names_the_machine(tmp_path: Path) -> None:
    done = _write(
        tmp_path,
        V4.new_code_cell("import os, sys\nos.getcwd()"),
        V4.new_code_cell("sys.prefix + '/'"),
        V4.new_code_cell("print(object())"),
    )
    assert done.returncode == 1
    for number in range(3):
        assert f"cell {number} shows " in done.stderr
    notebook = nbformat.read(tmp_path / "some.ipynb", 4)
    assert not any(cell.outputs for cell in notebook.cells)
