"""The order of versions in nixpkgs: that of ``builtins.compareVersions``.

>>> sorted(["1.10", "1.9", "1.9pre2", "1.9-rc1", "1.9a", "1.9.1"], key=version_key)
['1.9pre2', '1.9', '1.9a', '1.9-rc1', '1.9.1', '1.10']
"""

from __future__ import annotations

import re

__all__ = ["VersionKey", "version_key"]

VersionKey = tuple[tuple[int, int, str], ...]

_COMPONENT = re.compile(r"[0-9]+|[^0-9.-]+")
_PRE, _END, _WORD, _NUMBER = range(4)
# Longer numbers are words to Nix, which reads them as integers of 32 bits.
_NUMBER_LIMIT = 1 << 31


def version_key(version: str) -> VersionKey:
    """What versions are compared by: the later version has the greater key.

    A version is made of numbers and words; dots and dashes only separate them. Numbers come after
    words, the end stands between ``pre`` and any other word.
    """
    parts: list[tuple[int, int, str]] = []
    for component in _COMPONENT.findall(version):
        if component == "pre":
            parts.append((_PRE, 0, ""))
        elif component[0] in "0123456789" and int(component) < _NUMBER_LIMIT:
            parts.append((_NUMBER, int(component), ""))
        else:
            parts.append((_WORD, 0, component))
    return (*parts, (_END, 0, ""))
