"""Which part of a cell's arguments an error is about, where the error itself cannot know it.

A package that cannot be built, a store path that no cache has, a file that is not there: what
raises the error knows the thing, not where the cell names it. It is looked for among the arguments.

>>> from nbdock.errors import ImageNotFoundError
>>> blamed({"fromImage": "/a.tar"}, ImageNotFoundError("There is no file '/a.tar'."))
('fromImage',)
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from nbdock.errors import NbdockError
from nbdock.packages import Package

__all__ = ["blamed", "indices"]

Path = tuple[str | int, ...]


def blamed(arguments: Mapping[str, Any], error: NbdockError) -> Path | None:
    """The names and indices that lead to what an error is about; None if that is not clear."""
    parts = list(_parts(arguments, ()))
    if wanted := getattr(error, "package", ""):
        packages = [(path, value) for path, value in parts if isinstance(value, Package)]
        found = [path for path, value in packages if wanted in _names(value)]
        # What the only package needs is there for its sake.
        if not found and len(packages) == 1:
            found = [packages[0][0]]
        return found[0] if found else None
    for path, value in parts:
        if isinstance(value, str | os.PathLike):
            text = os.fspath(value)
            if isinstance(text, str) and "/" in text and repr(text) in error.message:
                return path
    return None


def indices(argument: str, message: str) -> tuple[int, ...]:
    """The place in a list that a message begins with.

    >>> indices("layering_pipeline", "layeringPipeline[1][0] is no name."), indices("tag", "No.")
    ((1, 0), ())
    """
    # An argument has two spellings, Python's and a cell's.
    found = re.match(r"(\w+)((?:\[\d+\])+)", message)
    if found and found[1].lower() in (argument.lower(), argument.replace("_", "").lower()):
        return tuple(map(int, re.findall(r"\d+", found[2])))
    return ()


def _names(package: Package) -> set[str]:
    """What errors may call a package."""
    # Not getattr: an attribute of nixpkgs would have Nix look for one of that name.
    known = vars(package)
    attribute = tuple(known.get("attribute", ()))
    paths = {str(path) for choice in known.get("choices", ()) for path in choice.paths}
    return {package.name, ".".join(attribute), *attribute[-1:], *paths}


def _parts(value: object, path: Path) -> Iterator[tuple[Path, object]]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _parts(part, (*path, name))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _parts(part, (*path, index))
    else:
        yield path, value
