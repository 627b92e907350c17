"""Magics, the display of results and errors, progress, completion.

`load` is what ``%load_ext nbdock`` runs, `unload` undoes it.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary, ref

import nbdock
from nbdock import packages
from nbdock.errors import NbdockError
from nbdock.jobs import Job, JobState
from nbdock.notebook import completion, config, display, errors
from nbdock.notebook.doctor import DoctorMagics
from nbdock.notebook.exploremagics import ExploreMagics
from nbdock.notebook.flags import TABLE_MAGICS
from nbdock.notebook.magics import BuildMagics
from nbdock.notebook.names import BUILDERS, default_apt
from nbdock.notebook.progress import cell_output
from nbdock.notebook.tablemagics import TableMagics
from nbdock.showing import show_calls, show_warnings

__all__ = ["Job", "JobState", "load", "unload"]

_MAGICS = (BuildMagics, TableMagics, ExploreMagics, DoctorMagics)

_given: WeakKeyDictionary[Any, dict[str, object]] = WeakKeyDictionary()
"""The names that each shell got; those it had already are not among them."""
_renewing: WeakKeyDictionary[Any, Callable[..., None]] = WeakKeyDictionary()


def load(shell: Any) -> None:
    """Give a shell the magics and the looks; ``nbdock``, ``apt`` and ``pkgs``, if they are free."""
    shell.register_magics(*_MAGICS)
    config.install(shell)
    display.install(shell)
    errors.install()
    completion.install(shell)
    show_calls(cell_output)
    show_warnings()
    names: dict[str, object] = {"nbdock": nbdock, "apt": default_apt()}
    # A setting that is wrong is told where it is used, not here.
    with contextlib.suppress(NbdockError):
        names["pkgs"] = packages.default_nixpkgs()
    free = {name: value for name, value in names.items() if name not in shell.user_ns}
    shell.push(free, interactive=False)
    _given.setdefault(shell, {}).update(free)
    if shell not in _renewing:
        _renewing[shell] = renew = functools.partial(_renew, ref(shell))
        shell.events.register("pre_run_cell", renew)
        shell.events.register("post_run_cell", errors.name_magic)


def _renew(there: ref[Any], *_: object) -> None:
    """Let ``pkgs`` follow the settings, as long as it is what `load` gave."""
    shell: Any = there()
    given = _given.get(shell, {})
    if "pkgs" in given and shell.user_ns.get("pkgs") is given["pkgs"]:
        with contextlib.suppress(NbdockError):
            given["pkgs"] = packages.default_nixpkgs()
            shell.push({"pkgs": given["pkgs"]}, interactive=False)


def unload(shell: Any) -> None:
    """Take from a shell what `load` gave it."""
    manager = shell.magics_manager
    for magic in (*BUILDERS, "runAsRoot"):
        manager.magics["cell"].pop(magic, None)
    for magic in ("prefetchImage", "nbdock", *TABLE_MAGICS):
        manager.magics["line"].pop(magic, None)
    for magics in _MAGICS:
        registered = manager.registry.pop(magics.__name__, None)
        if registered in shell.configurables:
            shell.configurables.remove(registered)
    config.remove(shell)
    display.remove(shell)
    errors.remove()
    completion.remove(shell)
    show_calls(None)
    show_warnings(wanted=False)
    if (renew := _renewing.pop(shell, None)) is not None:
        shell.events.unregister("pre_run_cell", renew)
        shell.events.unregister("post_run_cell", errors.name_magic)
    # Only what still is what was given: a name that the notebook bound anew is its own.
    shell.drop_by_id(_given.pop(shell, {}))
