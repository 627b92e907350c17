"""Magics, the display of results and errors, progress, completion.

`load` is what ``%load_ext nbdock`` runs, `unload` undoes it.
"""

from __future__ import annotations

from typing import Any

import nbdock
from nbdock.notebook import completion, display, errors
from nbdock.notebook.jobs import Job, JobState
from nbdock.notebook.magics import BuildMagics
from nbdock.notebook.names import default_apt

__all__ = ["Job", "JobState", "load", "unload"]


def load(shell: Any) -> None:
    """Give a shell the magics and the looks; ``nbdock`` and ``apt``, if those names are free."""
    shell.register_magics(BuildMagics)
    display.install(shell)
    errors.install()
    completion.install(shell)
    names = {"nbdock": nbdock, "apt": default_apt()}
    shell.push({k: v for k, v in names.items() if k not in shell.user_ns}, interactive=False)


def unload(shell: Any) -> None:
    """Take from a shell what `load` gave it."""
    for magic in ("buildImage", "buildLayeredImage"):
        shell.magics_manager.magics["cell"].pop(magic, None)
    display.remove(shell)
    errors.remove()
    completion.remove(shell)
    if shell.user_ns.get("apt") is default_apt():
        shell.drop_by_id({"apt": default_apt()})
