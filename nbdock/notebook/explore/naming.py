"""How the Python that an explorer shows calls what is explored.

>>> code_of("redis:7", "image"), code_of(["a", "b"], "images"), code_of(object(), "image")
('"redis:7"', '["a", "b"]', 'image')
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence

from IPython.core.getipython import get_ipython

__all__ = ["code_of"]

_LONGEST = 120


def code_of(value: object, otherwise: str) -> str:
    """The name that something has in the notebook; text as text; lists and mappings of such.

    Parameters
    ----------
    otherwise
        What stands for what has no name.
    """
    return _code(value) or otherwise


def _code(value: object) -> str:
    if isinstance(value, str | os.PathLike):
        path = os.fspath(value)
        return json.dumps(path, ensure_ascii=False) if isinstance(path, str) else repr(path)
    shell = get_ipython()
    for name, known in (dict(shell.user_ns) if shell else {}).items():
        if known is value and not name.startswith("_"):
            return str(name)
    text = ""
    if isinstance(value, Mapping):
        pairs = [(_code(str(name)), _code(each)) for name, each in value.items()]
        if all(code for _, code in pairs):
            text = "{" + ", ".join(f"{name}: {code}" for name, code in pairs) + "}"
    elif isinstance(value, Sequence):
        parts = [_code(each) for each in value]
        text = f"[{', '.join(parts)}]" if all(parts) else ""
    return text if len(text) <= _LONGEST else ""
