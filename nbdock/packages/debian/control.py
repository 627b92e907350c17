r"""The control archive of a .deb: its stanza, and the files that dpkg keeps for the package.

with open("hello_2.10-3_amd64.deb", "rb") as file:
    control, _ = deb_members(file)
    read_control(file, control).stanza      # b'Package: hello\nVersion: 2.10-3\n...'
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping
from typing import BinaryIO

from nbdock import settings
from nbdock.errors import ArchiveError
from nbdock.filetree import EntryKind, read_tar
from nbdock.packages.debian.debmembers import Member, member_content

__all__ = ["Control", "ControlFile", "control_field", "read_control"]

_NAME = re.compile(rb"[a-z0-9][a-z0-9+.-]*")


@dataclasses.dataclass(frozen=True)
class ControlFile:
    """A file of the control archive, such as ``postinst``: content, permission bits and time."""

    data: bytes
    mode: int
    mtime: int


@dataclasses.dataclass(frozen=True)
class Control:
    """What the control archive holds.

    Attributes
    ----------
    stanza
        Its one stanza, without a Status field, which only dpkg may set.
    mtime
        The time of the stanza. Seconds since the epoch.
    files
        The other files by name.
    """

    stanza: bytes
    mtime: int
    files: Mapping[bytes, ControlFile]


def read_control(
    file: BinaryIO, member: Member, *, only: Collection[bytes] | None = None
) -> Control:
    """Read the control archive of a .deb.

    Parameters
    ----------
    only
        The files that are read besides the stanza; by default all.

    Raises
    ------
    ArchiveError
        It is damaged, too large, or has no stanza or more than one.
    """
    limit = settings.current().deb_control_limit_bytes
    found: dict[bytes, ControlFile] = {}
    total = 0
    for entry in read_tar(member_content(file, member)):
        wanted = only is None or entry.path == b"control" or entry.path in only
        if not wanted or b"/" in entry.path or entry.kind is not EntryKind.FILE:
            continue
        total += entry.size_bytes
        if max(total, entry.size_bytes) > limit:
            raise ArchiveError(
                f"Its {entry.path.decode(errors='replace')} file says {entry.size_bytes} bytes, "
                f"more than the setting deb_control_limit_bytes ({limit}) leaves.",
                offset=member.offset,
            )
        found[entry.path] = ControlFile(entry.read(), entry.mode, int(entry.mtime))
    stanza = found.pop(b"control", None)
    if stanza is None:
        raise ArchiveError("Its control archive has no control file.", offset=member.offset)
    return Control(_stanza(stanza.data), stanza.mtime, found)


def _stanza(control: bytes) -> bytes:
    lines: list[bytes] = []
    skipping = False
    for line in control.strip(b"\n").split(b"\n"):
        if not line.strip():
            raise ArchiveError("Its control file has more than one stanza.")
        if not line.startswith((b" ", b"\t")):
            if b":" not in line and not line.startswith(b"#"):
                raise ArchiveError(f"Its control file has the line {line[:80]!r}, not a field.")
            skipping = line.lower().startswith((b"status:", b"#"))
        if not skipping:
            lines.append(line)
    stanza = b"\n".join(lines) + b"\n"
    name = control_field(stanza, b"Package")
    if not _NAME.fullmatch(name):
        raise ArchiveError(f"Its control file names the package {name[:80]!r}, which is no name.")
    if not control_field(stanza, b"Version"):
        raise ArchiveError("Its control file has no version.")
    return stanza


def control_field(stanza: bytes, name: bytes) -> bytes:
    """The first line of a field of a stanza; empty if it has none."""
    found = re.search(
        rb"^" + name + rb":[ \t]*(.*?)[ \t\r]*$", stanza, re.IGNORECASE | re.MULTILINE
    )
    return found[1] if found else b""
