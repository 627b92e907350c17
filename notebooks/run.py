"""Run a notebook without a browser: a line per cell, then its layer table and the images it saved.

    python notebooks/run.py notebooks/00-quickstart.ipynb --directory demo

The notebook runs in `--directory`, where the files it saves and its executed copy are left.
The table is the output of the cell tagged ``layer-table``.
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

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from traitlets.config import Config

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


def run(path: Path, directory: Path, private: Path) -> int:
    """Execute the notebook; 0 if every cell succeeded."""
    directory.mkdir(parents=True, exist_ok=True)
    archives_before = {a: a.stat().st_mtime_ns for p in ARCHIVES for a in directory.glob(p)}
    notebook = nbformat.read(path, as_version=4)
    progress = Progress(notebook)
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT_S,
        kernel_name="python3",
        resources={"metadata": {"path": str(directory)}},
        # Unix sockets in our own directory: nobody else on the machine can talk to the kernel.
        config=Config({"KernelManager": {"transport": "ipc", "ip": str(private / "kernel")}}),
        on_cell_execute=progress.start,
        on_cell_executed=progress.end,
    )
    print(f"Running {path.name} ...", flush=True)
    failed = ""
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        failed = _failure(error)
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


def main() -> int:
    parser = argparse.ArgumentParser(description="Run a notebook without a browser.")
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--directory", type=Path, default=Path("demo"))
    options = parser.parse_args()
    directory = options.directory.resolve()
    # A Unix socket's path has at most 107 bytes, so a deep TMPDIR will not do.
    parent = tempfile.gettempdir()
    parent = parent if len(parent) < 24 else "/tmp"  # noqa: S108  (a private directory in it)
    with tempfile.TemporaryDirectory(prefix="nbdock-demo-", dir=parent) as private:
        _isolate(directory, Path(private))
        return run(options.notebook.resolve(), directory, Path(private))


if __name__ == "__main__":
    sys.exit(main())
