"""What to leave out of a directory: shell patterns of names and of paths.

>>> ignored = Ignored((".git", "*.pyc", "build/cache"))
>>> [path for path in (b"a/.git/config", b"a.pyc", b"build/cache", b"cache") if path in ignored]
[b'a/.git/config', b'a.pyc', b'build/cache']
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from nbdock.errors import ArgumentTypeError

__all__ = ["Ignored"]

_T = TypeVar("_T")


class Ignored:
    """Patterns: one without a slash is for names anywhere, one with a slash for a path.

    What is in a directory that is left out is left out too; the root never is.

    Raises
    ------
    ArgumentTypeError
        Something else than a list of patterns.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        is_list = isinstance(patterns, Sequence) and not isinstance(patterns, str | bytes)
        if not is_list or not all(isinstance(p, str) and p.strip("/") for p in patterns):
            raise ArgumentTypeError(
                f"ignore must be a list of patterns, not {patterns!r}.",
                argument="ignore",
                hint='For example ignore=[".git", "*.pyc"].',
            )
        self.patterns = tuple(p.removeprefix("./").strip("/") for p in patterns)
        self._names = _any_of([p for p in self.patterns if "/" not in p])
        self._paths = _any_of([p for p in self.patterns if "/" in p])

    def __contains__(self, path: bytes) -> bool:
        parts = path.split(b"/") if path else []
        return any(self._matches(b"/".join(parts[:n])) for n in range(1, len(parts) + 1))

    def kept(self, items: Iterable[_T], path_of: Callable[[_T], bytes]) -> Iterator[_T]:
        """The items, of a tree in depth-first order, that are not left out."""
        if not self.patterns:
            yield from items
            return
        skipped: bytes | None = None
        for item in items:
            path = path_of(item)
            if skipped is not None and path.startswith(skipped):
                continue
            if path and self._matches(path):
                skipped = path + b"/"
                continue
            yield item

    def _matches(self, path: bytes) -> bool:
        # Not os.fsdecode: the same patterns leave out the same files in every locale.
        text = path.decode("utf-8", "surrogateescape")
        return bool(self._names.match(text.rpartition("/")[2]) or self._paths.match(text))


def _any_of(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(fnmatch.translate, patterns)) or r"(?!)")
