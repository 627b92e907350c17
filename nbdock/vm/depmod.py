"""What ``depmod`` writes when a kernel is installed, for a kernel that is not installed.

A kernel's package holds modules, but not the files that say what they need. Every module says that
of itself, in the section ``.modinfo`` of its ELF file.

    >>> print(Dependencies({"kernel/fs/ext4/ext4.ko": {"depends": ["mbcache,jbd2"]},
    ...     "kernel/fs/mbcache.ko": {}, "kernel/fs/jbd2/jbd2.ko": {}}).modules_dep(), end="")
    kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko kernel/fs/mbcache.ko
    kernel/fs/jbd2/jbd2.ko:
    kernel/fs/mbcache.ko:
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence

from nbdock.errors import GuestPartError
from nbdock.vm.modules import module_name

__all__ = ["Dependencies", "ModuleFacts", "module_facts"]

ModuleFacts = Mapping[str, Sequence[str]]
"""What a module says of itself: ``depends``, ``softdep``, ``alias``, ..., each any number of times.
"""

_HEADER_BYTES = 64


def module_facts(module: bytes, name: str = "") -> ModuleFacts:
    """Read the section ``.modinfo`` of a module (ELF, 64 bits, as the kernel's build makes it).

    Raises
    ------
    GuestPartError
        It is not a module.
    """
    facts: dict[str, list[str]] = {}
    try:
        for text in _section(module, b".modinfo").split(b"\0"):
            key, _, value = text.decode("utf-8", "replace").partition("=")
            facts.setdefault(key, []).append(value)
    except (struct.error, ValueError) as error:
        raise GuestPartError(f"{name or 'A file'} is not a kernel module: {error}.") from error
    return facts


def _section(elf: bytes, wanted: bytes) -> bytes:
    if elf[:5] != b"\x7fELF\x02" or len(elf) < _HEADER_BYTES:
        raise ValueError("no ELF file of 64 bits")
    order = "<" if elf[5] == 1 else ">"
    (table,) = struct.unpack_from(f"{order}Q", elf, 0x28)
    size, count, names_number = struct.unpack_from(f"{order}3H", elf, 0x3A)
    if names_number >= count:
        raise ValueError("its sections have no names")

    def header(number: int) -> tuple[int, int, int]:
        name, offset, length = struct.unpack_from(f"{order}I20xQQ", elf, table + number * size)
        return name, offset, length

    _, names, _ = header(names_number)
    for number in range(count):
        name, offset, length = header(number)
        start = names + name
        if elf[start : start + len(wanted) + 1] == wanted + b"\0":
            if offset + length > len(elf):
                raise ValueError("it ends too early")
            return elf[offset : offset + length]
    raise ValueError("it has no section .modinfo")


class Dependencies:
    """The files of a kernel's directory, from its modules' facts by their paths in it."""

    def __init__(self, modules: Mapping[str, ModuleFacts]) -> None:
        self._modules = dict(sorted(modules.items()))

    def modules_dep(self) -> str:
        """``modules.dep``: what each module needs, the first to be loaded last."""
        by_name = {module_name(path): path for path in self._modules}
        lines = []
        for path, facts in self._modules.items():
            needs = [module_name(n) for n in ",".join(facts.get("depends", ())).split(",") if n]
            paths = [by_name[name] for name in reversed(needs) if name in by_name]
            lines.append(" ".join([f"{path}:", *paths]) + "\n")
        return "".join(lines)

    def modules_softdep(self) -> str:
        """``modules.softdep``: what modules want beside that."""
        return "".join(f"softdep {name} {text}\n" for name, text in self._all("softdep"))

    def modules_alias(self) -> str:
        """``modules.alias``: what modules are also called."""
        return "".join(f"alias {text} {name}\n" for name, text in self._all("alias"))

    def _all(self, key: str) -> Iterator[tuple[str, str]]:
        for path, facts in self._modules.items():
            for text in facts.get(key, ()):
                yield module_name(path), text
