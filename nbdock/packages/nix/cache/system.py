"""Which system a store path was built for: what no list, narinfo or NAR says.

A channel's list has a package once for each system, under names that differ only in the hash. Its
programs and libraries know: an ELF or Mach-O header names the processor. So the smallest path of
the closure that has one is looked into, which is a few hundred kilobytes (and remembered: most
closures lead to the same few libraries). What has none in its closure fits every system.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from nbdock.concurrency import in_worker
from nbdock.errors import PackageNotFoundError
from nbdock.filetree import EntryKind
from nbdock.packages.memory import recall, remember
from nbdock.packages.nix.cache.channelnames import Choice
from nbdock.packages.nix.cache.fetching import fetch_nars, nar_path
from nbdock.packages.nix.cache.lookup import CacheLookup, Located
from nbdock.packages.nix.narreader import read_nar
from nbdock.packages.nix.storepath import StorePath

__all__ = ["choose", "header_system"]

_log = logging.getLogger("nbdock.nix")

_SYSTEMS = "nix-system"
_NONE = "-"
_HEADER_BYTES = 20

# e_machine of an ELF header; those of big-endian machines are none that nixpkgs builds for.
_ELF_MACHINES = {
    3: "i686-linux", 21: "powerpc64le-linux", 40: "armv7l-linux", 62: "x86_64-linux",
    183: "aarch64-linux", 243: "riscv64-linux", 258: "loongarch64-linux",
}  # fmt: skip
# Libraries for 32 bits beside those for 64 may be the smallest of a closure.
_ALSO_RUNS = {"x86_64-linux": "i686-linux", "aarch64-linux": "armv7l-linux"}
_MACH_PROCESSORS = {0x01000007: "x86_64-darwin", 0x0100000C: "aarch64-darwin"}


def header_system(head: bytes) -> str:
    """The system that a file is for, by its first 20 bytes; empty if it is no program or library.

    >>> header_system(bytes.fromhex("7f454c46020101000000000000000000 03003e00"))
    'x86_64-linux'
    """
    if len(head) >= _HEADER_BYTES and head.startswith(b"\x7fELF"):
        return _ELF_MACHINES.get(int.from_bytes(head[18:20], "little"), "")
    if head.startswith(b"\xcf\xfa\xed\xfe"):
        return _MACH_PROCESSORS.get(int.from_bytes(head[4:8], "little"), "")
    return ""


async def choose(
    shown: str, found: Sequence[Choice], lookup: CacheLookup, *, system: str
) -> StorePath:
    """The path that is meant: the newest version's that runs on `system`.

    Several paths for the same system were built with other options: the one with the largest
    closure has the most of them.

    Parameters
    ----------
    shown
        What was asked for, for messages.
    found
        See `choices`.
    system
        Nix's name of it.

    Raises
    ------
    PackageNotFoundError
        None of them is for that system, or in a cache.
    """
    seen: set[str] = set()
    for choice in found:
        fitting: list[tuple[bool, int, StorePath]] = []
        for path in choice.paths:
            try:
                closure = await lookup.closure([path])
            except PackageNotFoundError as error:
                if len(found) == len(choice.paths) == 1:
                    raise  # which says what is missing, and what needs it
                _log.info("%s", error)  # deleted, or never built: another one may be there
                continue
            its = await _system_of(closure.values())
            seen.add(its)
            if its in ("", system, _ALSO_RUNS.get(system)):
                size_bytes = sum(one.info.nar_size_bytes for one in closure.values())
                fitting.append((its != system, -size_bytes, path))
        if fitting:
            is_other, size, path = min(fitting)
            alike = [one for one in fitting if one[0] == is_other]
            if len({size for _, size, _ in alike}) > 1:
                _log.warning(
                    "%s could be %s: taking %s, which has the largest closure (%d bytes).",
                    shown, " or ".join(str(p) for *_, p in alike), path, -size,
                )  # fmt: skip
            return path
    systems = ", ".join(sorted(seen - {""}))
    raise PackageNotFoundError(
        f"The binary caches have no {shown} for {system}"
        + (f", only for {systems}." if systems else "."),
        package=shown,
        hint='Say for which system: nixpkgs(system="aarch64-linux"). '
        'A store path always works: pkgs["/nix/store/<hash>-<name>"].',
    )


async def _system_of(closure: Iterable[Located]) -> str:
    """The system of the smallest path that says; always in the same order, whatever is known."""
    ordered = sorted(closure, key=lambda one: (one.info.nar_size_bytes, one.info.path))
    said = await in_worker(recall, _SYSTEMS, [str(one.info.nar_hash) for one in ordered])
    for one in ordered:
        found = said.get(str(one.info.nar_hash), b"").decode("ascii", "replace")
        if not found:
            await fetch_nars([one])
            found = await in_worker(_look_into, one)
        if found != _NONE:
            return found
    return ""


def _look_into(one: Located) -> str:
    path = nar_path(one.info)
    found = _NONE
    if path is not None:
        for entry in read_nar(path):
            if entry.kind is EntryKind.FILE and entry.size_bytes >= _HEADER_BYTES:
                assert entry.content is not None
                head = bytes(next(iter(entry.content.chunks()), b"")[:_HEADER_BYTES])
                if system := header_system(head):
                    found = system
                    break
        remember(_SYSTEMS, {str(one.info.nar_hash): found.encode()})
    return found
