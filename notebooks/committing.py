"""What a notebook is committed with: its outputs, without what differs from run to run.

tidy(notebook)                    # execution times, widgets' state and versions go
refusals(notebook)                # what must not be committed: paths, hosts and names of a machine
"""

from __future__ import annotations

import datetime as dt
import getpass
import json
import os
import re
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["MOST_BYTES", "refusals", "tidy"]

MOST_BYTES = 400_000
WIDGET = "application/vnd.jupyter.widget-view+json"
ADDRESS = re.compile(r" at 0x[0-9a-f]{6,}")
HOST = re.compile(r"(?:https?|ftp)://(?:[^/@\s]*@)?([\w.-]+)")
# Where a machine's package sources are written.
SOURCES = (
    "/etc/apt/sources.list", "/etc/apt/sources.list.d/*", "/etc/apt/apt.conf.d/*",
    "/etc/pip.conf", "~/.config/pip/pip.conf", "~/.pip/pip.conf",
)  # fmt: skip


def tidy(notebook: Any) -> None:
    """Remove what differs from run to run."""
    notebook.metadata.kernelspec = {
        "display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3",
    }  # fmt: skip
    notebook.metadata.language_info = {"name": "python"}
    notebook.metadata.pop("widgets", None)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if any("recorded" in cell.metadata.get("tags", ()) for cell in code):
        today = dt.datetime.now(dt.UTC).date()
        notebook.metadata.setdefault("nbdock", {})["recorded"] = today.isoformat()
    for cell in code:
        cell.metadata.pop("execution", None)
        for output in cell.outputs:
            # Without the widget's state it cannot be shown; the still picture beside it can.
            output.get("data", {}).pop(WIDGET, None)
        # What is left of a widget without a still picture is its name.
        cell.outputs = [o for o in cell.outputs if o.get("data", True)]


def refusals(notebook: Any) -> list[str]:
    """Say what must not be committed: a line each."""
    found = []
    size = len(json.dumps(notebook, ensure_ascii=False, indent=1).encode())
    if size > MOST_BYTES:
        found.append(f"{size:,} bytes are more than {MOST_BYTES:,}")
    words = _private_words()
    for number, cell in enumerate(notebook.cells):
        shown = json.dumps(cell.get("outputs", []), ensure_ascii=False)
        if '"is_mark"' in shown:
            found.append(f"cell {number} was not run here: what it needs is missing")
        found += [f"cell {number} shows an address in memory"] * bool(ADDRESS.search(shown))
        found += [f"cell {number} shows {word}" for word in words if word in shown]
        expected = "raises-exception" in cell.metadata.get("tags", ())
        for output in cell.get("outputs", []):
            if output["output_type"] == "error" and not expected:
                found.append(f"cell {number} failed: {output['ename']}")
    return found


def _private_words() -> list[str]:
    """Give the places, hosts and names of this machine, which no output should have."""
    places = [
        tempfile.gettempdir(), os.path.expanduser("~"), sys.prefix, os.getcwd(),
        str(Path(__file__).resolve().parent.parent), os.environ.get("NBDOCK_HOME", ""),
    ]  # fmt: skip
    words = {f"{place.rstrip('/')}/" for place in places if len(place) > 3}
    words.update(_hosts())
    if len(name := socket.gethostname()) > 3 and name != "localhost":
        words.add(name)
    if (user := getpass.getuser()) != "root" and len(user) > 3:
        words.add(user)
    return sorted(words)


def _hosts() -> Iterator[str]:
    for pattern in SOURCES:
        path = Path(pattern).expanduser()
        for file in path.parent.glob(path.name) if path.parent.is_dir() else ():
            if file.is_file() and os.access(file, os.R_OK):
                yield from HOST.findall(file.read_text("utf-8", errors="replace"))
    for name, value in os.environ.items():
        if name.lower().endswith(("_proxy", "index_url")):
            yield from HOST.findall(value)
