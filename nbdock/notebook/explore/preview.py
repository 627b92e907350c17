r"""The beginning of a file as it may be shown: text as text, anything else in hexadecimal.

>>> preview_of(b"#!/bin/sh\necho hi\n", 18).text
'#!/bin/sh\necho hi\n'
>>> print(preview_of(b"\x7fELF\x02\x01", 6).text)
00000000  7f 45 4c 46 02 01                                 .ELF..
"""

from __future__ import annotations

import codecs
import dataclasses

__all__ = ["Preview", "preview_of"]

_LINES, _LINE_CHARACTERS = 1000, 2000
_HEX_BYTES = 1024


@dataclasses.dataclass(frozen=True)
class Preview:
    """What is shown of a file: ``text``, ``binary`` or ``empty``, and how much of it that is."""

    kind: str
    text: str
    shown_bytes: int
    size_bytes: int


def preview_of(beginning: bytes, size_bytes: int) -> Preview:
    """How a file is shown, given its beginning and its size."""
    if not size_bytes:
        return Preview("empty", "", 0, 0)
    text = _as_text(beginning, is_whole=len(beginning) >= size_bytes)
    if text is None:
        head = beginning[:_HEX_BYTES]
        return Preview("binary", _hexadecimal(head), len(head), size_bytes)
    lines = text.split("\n")
    shown = "\n".join(map(_line, lines[:_LINES]))
    used = len(beginning)
    if len(lines) > _LINES:
        used = len("\n".join(lines[:_LINES]).encode())
    return Preview("text", shown, used, size_bytes)


def _as_text(beginning: bytes, *, is_whole: bool) -> str | None:
    if b"\0" in beginning:
        return None
    try:
        # What is cut off may end within a character.
        text = codecs.getincrementaldecoder("utf-8")().decode(beginning, final=is_whole)
    except UnicodeDecodeError:
        return None
    strange = sum(not c.isprintable() and c not in "\n\r\t\f\x1b\ufeff" for c in text[:4096])
    return None if strange > len(text[:4096]) / 10 else text


def _line(line: str) -> str:
    """A line without characters that would move, hide or reorder others."""
    line = line.removesuffix("\r")
    if len(line) > _LINE_CHARACTERS:
        line = line[:_LINE_CHARACTERS] + "\u2026"
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() or c == "\t" else "\ufffd" for c in line)


def _hexadecimal(data: bytes) -> str:
    lines = []
    for start in range(0, len(data), 16):
        part = data[start : start + 16]
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        pairs = part[:8].hex(" ").ljust(24) + part[8:].hex(" ")
        lines.append(f"{start:08x}  {pairs:<48}  {letters}")
    return "\n".join(lines)
