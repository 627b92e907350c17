"""Names of a package that are imported when they are first used.

A room's ``__init__`` says in which module each of its names lives, and who uses one of them does
not wait for all: a process that builds from directories imports nothing of APT, Nix or HTTP.

    __getattr__, __dir__ = names_of(__name__, {"layers": "layer_table", "files": "file_table"})

Type checkers read the same imports under ``if TYPE_CHECKING``.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["names_of"]


def names_of(
    package: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The ``__getattr__`` and ``__dir__`` of a package.

    Parameters
    ----------
    package
        Its name: ``__name__``.
    modules
        Its modules by their names in it (``"nix.local"`` is one further down), each with what the
        package offers of it, separated by blanks; its own name stands for the module itself.

    Returns
    -------
    tuple
        The two functions. A name that there is not is an `AttributeError` with the nearest one.
    """
    homes = {name: module for module, names in modules.items() for name in names.split()}

    def get(name: str) -> Any:
        module = homes.get(name)
        if module is None:
            from nbdock.errors import nearest

            close = nearest(name, homes, count=1)
            advice = f" Did you mean {close[0]}?" if close else ""
            raise AttributeError(f"{package} has no {name!r}.{advice}")
        found = importlib.import_module(f"{package}.{module}")
        value = found if name == module else getattr(found, name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted(homes)

    return get, names
