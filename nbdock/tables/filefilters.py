r"""Which files of an image are looked at, and the pandas that selects the same of `file_table`.

>>> FileFilter(layer=2, change="added", search="*.so").python("image")
'files = nbdock.file_table(image, layers=3)\nfiles[files.visible & (files.change == "added")
 & files.path.str.lower().str.fullmatch(r"(?:[\\s\\S]*/)?[^/]*\\.so")]'
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from typing import Final

__all__ = ["CHANGES_SHOWN", "FileFilter", "Pattern", "quoted"]

CHANGES_SHOWN: Final = ("added", "modified", "unchanged", "deleted", "wasted")
_GLOB = re.compile(r"[*?]|\[[^\]/]+\]")
_CLASS = re.compile(r"\[(!|\^)?(\]?[^\]/]*)\]")
_SPECIAL = re.compile(r"[\\.^$*+?{}\[\]|()]")


@dataclasses.dataclass(frozen=True)
class Pattern:
    """What is searched for: a part of a path, or a glob.

    Small letters mean capitals, too; a capital means itself. ``*`` and ``?`` stand for anything but
    a slash, ``**`` for anything. A glob without a slash is of names, one that begins with a slash
    of whole paths, any other of the end of paths.
    """

    text: str

    @property
    def ignores_case(self) -> bool:
        """Whether capitals and small letters are the same."""
        return self.text == self.text.lower()

    @property
    def is_glob(self) -> bool:
        """Whether it is more than a part of a path."""
        return _GLOB.search(self.text) is not None

    @property
    def literal(self) -> str:
        """The longest text that every path that matches a glob has in it."""
        return max(re.split(r"\*+|\?|\[!?\^?\]?[^\]/]*\]", self.text), key=len)

    @property
    def is_of_names(self) -> bool:
        """Whether only the last part of a path counts."""
        return self.is_glob and "/" not in self.text and "**" not in self.text

    @property
    def regex(self) -> str:
        """What the whole path matches, the same for Python's `re` and Arrow's RE2."""
        return ("" if self.text.startswith("/") else r"(?:[\s\S]*/)?") + self.name_regex

    @property
    def name_regex(self) -> str:
        """The same without what may stand before it."""
        text, at = self.text, 0
        found: list[str] = []
        while at < len(text):
            if text.startswith("**/", at):
                found.append(r"(?:[\s\S]*/)?")
                at += 3
            elif text.startswith("**", at):
                found.append(r"[\s\S]*")
                at += 2
            elif text[at] == "*":
                found.append("[^/]*")
                at += 1
            elif text[at] == "?":
                found.append("[^/]")
                at += 1
            elif (match := _CLASS.match(text, at)) and match[2]:
                inner = re.sub(r"([\\\[\]^])", r"\\\1", match[2])
                found.append(f"[{'^/' if match[1] else ''}{inner}]")
                at = match.end()
            else:
                found.append(_SPECIAL.sub(r"\\\g<0>", text[at]))
                at += 1
        return "".join(found)

    def python(self) -> str:
        """The condition on ``files.path``."""
        path = "files.path.str.lower()" if self.ignores_case else "files.path"
        if self.is_glob:
            return f"{path}.str.fullmatch({_raw(self.regex)})"
        return f"{path}.str.contains({quoted(self.text)}, regex=False)"


def quoted(text: str) -> str:
    """A string of Python; what would not be seen is escaped."""
    return json.dumps(text, ensure_ascii=False) if text.isprintable() else repr(text)


def _raw(text: str) -> str:
    """A raw string of Python where one can say it."""
    if '"' in text or not text.isprintable() or text.endswith("\\"):
        return repr(text)
    return f'r"{text}"'


@dataclasses.dataclass(frozen=True)
class FileFilter:
    """Which entries of an image are looked at.

    Attributes
    ----------
    layer
        The position of a layer: what a container of the layers up to it sees; None: of all.
    only
        Instead, the entries of that layer alone.
    change
        Only what is added, modified, unchanged, deleted (whiteouts) or wasted; all layers count
        for the last two, or those up to `layer`.
    search
        Only what a `Pattern` finds.
    """

    layer: int | None = None
    only: bool = False
    change: str = ""
    search: str = ""

    @property
    def pattern(self) -> Pattern | None:
        """What is searched for."""
        return Pattern(self.search) if self.search else None

    @property
    def is_seen(self) -> bool:
        """Whether it is about what a container sees."""
        return self.change not in ("deleted", "wasted") and not (
            self.only and self.layer is not None
        )

    def table(self, image: str) -> str:
        """The Python that gives the table of all, of an image that Python calls so."""
        is_cut = self.layer is not None and not self.only
        layers = f", layers={self.layer + 1}" if is_cut and self.layer is not None else ""
        return f"nbdock.file_table({image}{layers})"

    def conditions(self, image: str) -> list[str]:
        """The conditions on ``files``, as pandas has them."""
        found = ["files.visible"] if self.is_seen else []
        if self.only and self.layer is not None:
            found.append(f"(files.layer == {self.layer})")
        if self.change == "wasted":
            found.append(f"files.index.isin(nbdock.waste_table({image}).index)")
        elif self.change:
            found.append(f'(files.change == "{self.change}")')
        if (pattern := self.pattern) is not None:
            found.append(pattern.python())
        return found

    def python(self, image: str, also: Sequence[str] = ()) -> str:
        """The Python that gives the rows; `also` are conditions besides."""
        conditions = [*self.conditions(image), *also]
        # A comparison alone needs no brackets of its own.
        text = conditions[0][1:-1] if len(conditions) == 1 and conditions[0][0] == "(" else (
            " & ".join(conditions)
        )  # fmt: skip
        rows = f"files[{text}]" if text else "files"
        return f"files = {self.table(image)}\n{rows}"
