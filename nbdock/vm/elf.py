"""What a program needs to run: its interpreter and its libraries, as its ELF file says.

Read, not run (as ``ldd`` would): the program may come from a package, or be for another machine.
"""

from __future__ import annotations

import dataclasses
import struct

from nbdock.errors import GuestPartError

__all__ = ["Linkage", "linkage"]

_LOAD, _DYNAMIC, _INTERPRETER = 1, 2, 3
_NEEDED, _STRINGS = 1, 5


@dataclasses.dataclass(frozen=True)
class Linkage:
    """How a program is linked: the path of its interpreter (empty: static), names of libraries."""

    interpreter: str
    needed: tuple[str, ...]


def linkage(elf: bytes, name: str = "") -> Linkage:
    """Read how a program or library is linked (ELF, 64 bits).

    Raises
    ------
    GuestPartError
        It is no such file.
    """
    try:
        return _linkage(elf)
    except (struct.error, ValueError) as error:
        raise GuestPartError(f"{name or 'A file'} is not a program: {error}.") from error


def _linkage(elf: bytes) -> Linkage:
    if elf[:5] != b"\x7fELF\x02":
        raise ValueError("no ELF file of 64 bits")
    order = "<" if elf[5:6] == b"\x01" else ">"
    (table,) = struct.unpack_from(f"{order}Q", elf, 0x20)
    size, count = struct.unpack_from(f"{order}2H", elf, 0x36)
    # kind, flags, offset in the file, address, physical address, bytes in the file
    segments = [
        struct.unpack_from(f"{order}2I4Q", elf, table + number * size) for number in range(count)
    ]
    interpreter = ""
    wanted: list[int] = []
    strings = 0
    for kind, _, offset, _, _, length in segments:
        if kind == _INTERPRETER:
            interpreter = _text(elf, offset)
        elif kind == _DYNAMIC:
            for place in range(offset, min(offset + length, len(elf) - 15), 16):
                tag, value = struct.unpack_from(f"{order}2Q", elf, place)
                if tag == _NEEDED:
                    wanted.append(value)
                elif tag == _STRINGS:
                    strings = value
    if not wanted:
        return Linkage(interpreter, ())
    for kind, _, offset, address, _, length in segments:
        if kind == _LOAD and address <= strings < address + length:
            start = offset + strings - address
            return Linkage(interpreter, tuple(_text(elf, start + place) for place in wanted))
    raise ValueError("its libraries have no names")


def _text(elf: bytes, start: int) -> str:
    end = elf.find(b"\0", start)
    if end < 0:
        raise ValueError("it ends too early")
    return elf[start:end].decode("utf-8", "replace")
