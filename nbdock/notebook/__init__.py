"""Magics, the display of results and errors, progress, completion.

`load` is what ``%load_ext nbdock`` runs, `unload` undoes it.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import nbdock
from nbdock.notebook import completion, display, errors
from nbdock.notebook.jobs import Job, JobState
from nbdock.notebook.magics import BuildMagics
from nbdock.notebook.names import BUILDERS, default_apt

__all__ = ["Job", "JobState", "load", "unload"]


_given: WeakKeyDictionary[Any, dict[str, object]] = WeakKeyDictionary()
"""The names that each shell got; those it had already are not among them."""


def load(shell: Any) -> None:
    """Give a shell the magics and the looks; ``nbdock`` and ``apt``, if those names are free."""
    shell.register_magics(BuildMagics)
    display.install(shell)
    errors.install()
    completion.install(shell)
    names = {"nbdock": nbdock, "apt": default_apt()}
    free = {name: value for name, value in names.items() if name not in shell.user_ns}
    shell.push(free, interactive=False)
    _given.setdefault(shell, {}).update(free)


def unload(shell: Any) -> None:
    """Take from a shell what `load` gave it."""
    manager = shell.magics_manager
    for magic in BUILDERS:
        manager.magics["cell"].pop(magic, None)
    manager.magics["line"].pop("prefetchImage", None)
    registered = manager.registry.pop(BuildMagics.__name__, None)
    if registered in shell.configurables:
        shell.configurables.remove(registered)
    display.remove(shell)
    errors.remove()
    completion.remove(shell)
    # Only what still is what was given: a name that the notebook bound anew is its own.
    shell.drop_by_id(_given.pop(shell, {}))
