"""Run a notebook without a browser: a line per cell, then its layer table and the images it saved.

    python notebooks/run.py notebooks/00-quickstart.ipynb --directory demo

The notebook runs in `--directory`, where the files it saves and its executed copy are left.
The table is the output of the cell tagged ``layer-table``.

    python notebooks/run.py --write notebooks/0*.ipynb

runs each of them in an empty directory, with an empty home, and puts what its cells showed into the
notebook itself, tidied (`committing`). A notebook that fails, or shows what should not be
committed, is left as it is. Package indexes and packages are fetched once for all of them; where
NBDOCK_HOME is set, those that are there are used.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# For addresses in all the world's scripts, of which a notebook has none, jsonschema compiles a
# grammar when it is imported: that would take longer than to import everything else.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

import nbformat  # noqa: E402
from committing import refusals, tidy  # noqa: E402
from nbclient import NotebookClient  # noqa: E402
from nbclient.exceptions import (  # noqa: E402
    CellExecutionError,
    CellTimeoutError,
    DeadKernelError,
)
from traitlets.config import Config  # noqa: E402

CELL_TIMEOUT_S = 900
ARCHIVES = ("*.tar", "*.tar.gz", "*.tar.zst")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def _title(source: str) -> str:
    """Name a cell by its first line that is neither blank nor a comment."""
    lines = [line.strip() for line in source.splitlines()]
    return next((line for line in lines if line and not line.startswith("#")), "")[:60]


class Progress:
    """A line for each code cell: its number, its first line, how long it took."""

    def __init__(self, notebook: Any) -> None:
        self._numbers = {
            cell.id: number
            for number, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), 1)
        }
        self._started = 0.0

    def start(self, cell: Any, cell_index: int) -> None:  # noqa: ARG002  (nbclient names them)
        number = self._numbers.get(cell.id)
        if number is None:
            return
        self._started = time.monotonic()
        print(f"[{number}/{len(self._numbers)}] {_title(cell.source):60s} ", end="", flush=True)

    def end(self, cell: Any, cell_index: int, **_: Any) -> None:  # noqa: ARG002
        if cell.id in self._numbers:
            print(f"{time.monotonic() - self._started:6.1f} s", flush=True)


def _isolate(directory: Path, private: Path) -> None:
    """Keep the user's IPython profile and Jupyter configuration out, and do without a HOME."""
    os.environ["IPYTHONDIR"] = str(private / "ipython")
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        os.environ[name] = str(private / "jupyter")
    # What lessons import stands beside them.
    lessons = str(Path(__file__).resolve().parent)
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [lessons, os.environ.get("PYTHONPATH")])
    )
    home = os.path.expanduser("~")
    if not os.environ.get("NBDOCK_HOME") and not os.access(home, os.W_OK):
        os.environ["NBDOCK_HOME"] = str(directory / "home")


def _layer_table(notebook: Any) -> str:
    for cell in notebook.cells:
        if "layer-table" in cell.metadata.get("tags", ()):
            # The last: what stands before it is progress.
            for output in reversed(cell.outputs):
                if "text/plain" in output.get("data", {}):
                    return str(output.data["text/plain"])
    return ""


def _failure(error: Exception) -> str:
    """Say what the failed cell said, without colours for terminals."""
    if isinstance(error, CellExecutionError):
        return COLOURS.sub("", error.traceback).strip()
    return str(error)


def _execute(notebook: Any, directory: Path, private: Path) -> str:
    """Execute a notebook, a line for each cell; gives what went wrong, if something did."""
    progress = Progress(notebook)
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT_S,
        kernel_name="python3",
        resources={"metadata": {"path": str(directory)}},
        coalesce_streams=True,
        # Unix sockets in our own directory: nobody else on the machine can talk to the kernel.
        config=Config({"KernelManager": {"transport": "ipc", "ip": str(private / "kernel")}}),
        on_cell_execute=progress.start,
        on_cell_executed=progress.end,
    )
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        return _failure(error)
    return ""


def run(path: Path, directory: Path, private: Path) -> int:
    """Execute a notebook for someone who looks on; 0 if every cell succeeded."""
    directory.mkdir(parents=True, exist_ok=True)
    archives_before = {a: a.stat().st_mtime_ns for p in ARCHIVES for a in directory.glob(p)}
    notebook = nbformat.read(path, as_version=4)
    print(f"Running {path.name} ...", flush=True)
    failed = _execute(notebook, directory, private)
    executed = directory / path.name
    nbformat.write(notebook, executed)
    if failed:
        print(f"\n{failed}\n\nThe notebook failed; as far as it came: {executed}", file=sys.stderr)
        return 1

    print(f"\n{_layer_table(notebook)}\n")
    for archive in sorted(a for p in ARCHIVES for a in directory.glob(p)):
        if archives_before.get(archive) != archive.stat().st_mtime_ns:
            print(f"Image:    {archive} ({archive.stat().st_size / 1e6:.1f} MB)")
    print(f"Notebook: {executed}")
    return 0


def write(path: Path, packages: Path, private: Path) -> int:
    """Execute a notebook for committing and put its outputs into its file; 0 if that was done.

    `packages` is an NBDOCK_HOME of which only package indexes and packages are used.
    """
    # What people see first should not depend on the clock: no progress, no "Built in 6.1 s".
    os.environ.update(NBDOCK_PROGRESS_DELAY_S="3600", TZ="UTC", LANG="C.UTF-8")
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory(dir=private) as place:
        directory, home = Path(place, "work"), Path(place, "home")
        for part in ("apt", "downloads"):
            (packages / part).mkdir(parents=True, exist_ok=True)
            home.mkdir(exist_ok=True)
            (home / part).symlink_to(packages / part)
        directory.mkdir()
        os.environ.update(HOME=str(home), NBDOCK_HOME=str(home))
        print(f"Running {path.name} ...", flush=True)
        failed = _execute(notebook, directory, private)
        if not failed:
            tidy(notebook)
            failed = "\n".join(refusals(notebook))
    if failed:
        print(f"\n{failed}\n\n{path} is left as it was.", file=sys.stderr)
        return 1
    nbformat.write(notebook, path)
    print(f"Written: {path} ({path.stat().st_size / 1e3:.0f} kB)\n", flush=True)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Run notebooks without a browser.")
    parser.add_argument("notebooks", type=Path, nargs="+", metavar="NOTEBOOK")
    parser.add_argument("--directory", type=Path, default=Path("demo"))
    parser.add_argument("--write", action="store_true", help="put the outputs into the notebooks")
    options = parser.parse_args()
    directory = options.directory.resolve()
    # A Unix socket's path has at most 107 bytes, so a deep TMPDIR will not do.
    parent = tempfile.gettempdir()
    parent = parent if len(parent) < 24 else "/tmp"  # noqa: S108  (a private directory in it)
    with tempfile.TemporaryDirectory(prefix="nbdock-demo-", dir=parent) as made:
        private = Path(made)
        packages = Path(os.environ.get("NBDOCK_HOME") or private / "packages").resolve()
        _isolate(directory, private)
        paths = [path.resolve() for path in options.notebooks]
        if options.write:
            return max(write(path, packages, private) for path in paths)
        return max(run(path, directory, private) for path in paths)


if __name__ == "__main__":
    sys.exit(main())
