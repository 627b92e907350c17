r"""Where something stands in a cell: offsets become lines and columns that people count.

Lines and columns count from 1, columns in characters (not bytes), lines as `str.splitlines`
divides them, so that they fit `CellError.source_line`.

    >>> Source("a = 1;\nb = é;").place(11, 12)
    Place(line=2, column=5, end_line=2, end_column=6)
"""

from __future__ import annotations

import bisect
import dataclasses

__all__ = ["Place", "Source"]


@dataclasses.dataclass(frozen=True)
class Place:
    """A stretch of a cell's text; the end is the column after the last character."""

    line: int
    column: int
    end_line: int
    end_column: int


class Source:
    """The text of a cell, which knows the line and column of every offset in it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._starts = [0]
        for line in text.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        if len(self._starts) > 1 and not text.endswith(_line_ends):
            self._starts.pop()

    def line_and_column(self, offset: int) -> tuple[int, int]:
        """The line and the column, from 1, of the character at an offset."""
        offset = max(0, min(offset, len(self.text)))
        line = bisect.bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def place(self, start: int, end: int) -> Place:
        """The place of the characters from `start` up to `end`."""
        return Place(*self.line_and_column(start), *self.line_and_column(max(start, end)))


# What `str.splitlines` divides lines at.
_line_ends = tuple("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")
