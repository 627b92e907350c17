"""The notebook of the manual runs from top to bottom, with Nix and without it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from support.nix import Nix, NixCache

ROOT = Path(__file__).parent.parent.parent
NOTEBOOK = ROOT / "notebooks/dockertools-manual.ipynb"
MANUAL = ROOT / "tests/nixlang/manual"
WITHOUT_NIX = """\
pkgs = nbdock.nixpkgs(cache={0.url!r}, channel={0.channel_url!r}, trusted_keys=[{0.public_key!r}])
"""


@pytest.fixture(autouse=True)
def _home(apt_home: Path) -> None:
    """A store of its own for every test; the guests that they begin with are shared."""


def run(notebook: Path, directory: Path, environment: dict[str, str]) -> nbformat.NotebookNode:
    done = subprocess.run(
        [sys.executable, ROOT / "notebooks/run.py", notebook, "--directory", directory],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "hello.tar.gz" in done.stdout
    return nbformat.read(directory / notebook.name, 4)


def check(executed: nbformat.NotebookNode, hello: str) -> None:
    """Look at what the cells showed."""
    cells = {cell.id: cell for cell in executed.cells}
    shown = {
        name: "".join(
            str(output.get("text", "")) + str(output.get("data", {}).get("text/plain", ""))
            for output in cell.get("outputs", ())
        )
        for name, cell in cells.items()
    }
    assert "redis:latest" in shown["build-redis"]
    assert "glibc" in shown["build-layered"]
    assert f"/bin/hello -> {hello}/bin/hello" in shown["links"]
    assert "shadow-basic" in shown["shadow-as-root"]
    assert "Redis server v=" in shown["run-redis"]


def test_with_the_local_nix(nix: Nix, tmp_path: Path) -> None:
    check(run(NOTEBOOK, tmp_path, dict(nix.environment)), nix.build("hello"))


def test_without_nix(nix: Nix, nix_cache: NixCache, tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, 4)
    place = next(i for i, cell in enumerate(notebook.cells) if cell.id == "load")
    line = nbformat.v4.new_code_cell(WITHOUT_NIX.format(nix_cache))
    notebook.cells.insert(place + 1, line)
    copy = tmp_path / "copy" / NOTEBOOK.name
    copy.parent.mkdir()
    nbformat.write(notebook, copy)
    bare = tmp_path / "bin"
    bare.mkdir()
    for program in ("sh", "bash", "env"):
        (bare / program).symlink_to(shutil.which(program) or program)
    check(run(copy, tmp_path / "out", {"PATH": f"{bare}"}), nix.build("hello"))


def test_examples_are_the_manuals_own() -> None:
    cells = [cell.source for cell in nbformat.read(NOTEBOOK, 4).cells if cell.cell_type == "code"]
    for example in sorted(MANUAL.glob("*.nix")):
        # Pulling images is not in this version.
        if example.stem != "pull_image":
            text = example.read_text("utf-8").strip()
            assert any(source.endswith(text) for source in cells), example.stem


def test_is_committed_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(NOTEBOOK.parent))
    from committing import refusals

    notebook = nbformat.read(NOTEBOOK, 4)
    nbformat.validate(notebook)
    assert refusals(notebook) == []
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
