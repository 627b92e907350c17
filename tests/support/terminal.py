"""What a terminal shows after it was written to, as far as nbdock's progress needs one.

>>> screen("one\\ntwo\\x1b[1A\\r\\x1b[Jthree\\n")
['three', '']
"""

from __future__ import annotations

import io
import re

__all__ = ["Terminal", "screen"]

_PIECE = re.compile(r"\x1b\[(?P<up>\d+)A|\x1b\[J(?P<erase>)|\n(?P<down>)|\r(?P<home>)|(?P<text>.)")


class Terminal(io.StringIO):
    """A standard error that is a terminal."""

    def isatty(self) -> bool:
        return True


def screen(written: str) -> list[str]:
    """The lines that stand there, without the blanks at their ends."""
    lines: list[str] = [""]
    row = column = 0
    for piece in _PIECE.finditer(written):
        match piece.lastgroup:
            case "up":
                row -= int(piece["up"])
                assert row >= 0, "above the top"
            case "erase":
                lines[row] = lines[row][:column]
                del lines[row + 1 :]
            case "down":
                row, column = row + 1, 0
                lines += [""] * (row + 1 - len(lines))
            case "home":
                column = 0
            case _:
                line = lines[row].ljust(column)
                lines[row] = line[:column] + piece["text"] + line[column + 1 :]
                column += 1
    return [line.rstrip() for line in lines]
