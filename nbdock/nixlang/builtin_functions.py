"""The functions of the language itself: `toString`, `map`, `builtins.attrNames`, ...

Those that read files, fetch, or depend on the machine are refused, each with its reason. As in Nix,
few have plain names and the rest stand in `builtins`; unlike in Nix, a name that nothing else
defines is sought there too.
"""

from __future__ import annotations

import functools
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from nbdock.nixlang import builtin_collections, builtin_scalars
from nbdock.nixlang.builtin_support import (
    FUNCTIONS,
)
from nbdock.nixlang.trampoline import Steps
from nbdock.nixlang.values import (
    AttributeSet,
    Builtin,
    Fault,
    capital,
)

if TYPE_CHECKING:
    from nbdock.nixlang.evaluation import Evaluator

__all__ = ["builtin_names"]

_GLOBAL = frozenset(
    ("abort", "baseNameOf", "dirOf", "isNull", "map", "removeAttrs", "throw", "toString", "import")
)
_MODULES = (builtin_scalars, builtin_collections)  # Importing them fills `FUNCTIONS`.


@functools.cache
def builtin_names() -> tuple[dict[str, Any], dict[str, Any]]:
    """The names that are always there, and those that are there if nothing else has them."""
    everything: dict[str, Any] = {"true": True, "false": False, "null": None, "nixVersion": "2.8"}
    everything.update(FUNCTIONS)
    for names, reason in _REFUSED.items():
        for name in names.split():
            everything[name] = Builtin(name, 1, functools.partial(_refuse, name, reason))
    builtins = AttributeSet.of(everything)
    always = {name: everything[name] for name in (*_GLOBAL, "true", "false", "null")}
    return {**always, "builtins": builtins}, everything


_REFUSED = {
    "import scopedImport": "cells read no files; write the expression in the cell, or bind the "
    "value to a name in Python",
    "readFile readDir pathExists findFile path filterSource hashFile": "cells read no files; "
    "read them in Python and use the name here",
    "fetchurl fetchTarball fetchGit fetchMercurial fetchTree getFlake": "cells fetch nothing; "
    "use a package set, or fetch in Python",
    "getEnv currentTime currentSystem storePath storeDir nixPath": "a cell's value does not "
    "depend on the machine it runs on; use os.environ and the like in Python",
    "derivation derivationStrict toFile exec importNative": "cells build nothing by themselves",
    "match split": "regular expressions are Python's part: bind the result to a name there",
}  # fmt: skip


def _refuse(name: str, reason: str, evaluator: Evaluator, argument: Any) -> Steps:
    value = yield evaluator.force(argument)
    # `import <nixpkgs>`, where the search path leads to something that Python provides.
    if name == "import" and not isinstance(value, str | PurePath):
        return value
    raise Fault(f"`{name}` does not work in a cell", f"{capital(reason)}.")
