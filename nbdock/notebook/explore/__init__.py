"""What is explored with the mouse and the keyboard: `explore`, and its kin.

Each is a class with a view in the browser and a static twin (see `frontend`), and says in Python
what it shows.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbdock.notebook.explore.image import ImageExplorer, explore

__all__ = ["ImageExplorer", "explore"]

_MODULES = {"image": ("explore", "ImageExplorer")}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"nbdock.notebook.explore has no {name!r}.")
    return getattr(importlib.import_module(f"nbdock.notebook.explore.{_HOME[name]}"), name)
