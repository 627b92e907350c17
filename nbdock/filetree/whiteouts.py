"""Whiteouts: the entries of a layer that say what the layers below lose.

By the OCI image specification an entry ``.wh.NAME`` hides its sibling ``NAME`` of lower layers, and
``.wh..wh..opq`` hides all of them; neither touches what its own layer holds. Other names that begin
with ``.wh..wh.`` are the bookkeeping of the AUFS file system and mean nothing. What kind of
entry a whiteout is does not matter, AUFS made them hardlinks. No real name can begin with ``.wh.``.

    >>> parse_whiteout(b"etc/.wh.motd")
    Whiteout(kind=<WhiteoutKind.NAME: 'name'>, path=b'etc/motd')
    >>> parse_whiteout(b"etc/motd") is None
    True
"""

from __future__ import annotations

import dataclasses
import enum
import os

from nbdock.errors import UnsafePathError
from nbdock.filetree.entry import BytesContent, Entry, EntryKind

__all__ = ["Whiteout", "WhiteoutKind", "opaque_entry", "parse_whiteout", "whiteout_entry"]

_PREFIX = b".wh."
_RESERVED = b".wh..wh."
_OPAQUE = b".wh..wh..opq"


class WhiteoutKind(enum.Enum):
    """What a whiteout hides."""

    NAME = "name"
    """`path`, with all that is below it."""
    OPAQUE = "opaque"
    """All that is below the directory `path`, but not the directory."""
    RESERVED = "reserved"
    """Nothing: bookkeeping of AUFS at `path`."""


@dataclasses.dataclass(frozen=True, slots=True)
class Whiteout:
    """What an entry says about lower layers."""

    kind: WhiteoutKind
    path: bytes


def parse_whiteout(path: bytes) -> Whiteout | None:
    """What the path of an entry says about lower layers; None if it is an ordinary path.

    Raises
    ------
    UnsafePathError
        ``.wh.`` with no name, or with ``.`` or ``..`` as the name, or as the name of a directory.
    """
    if _PREFIX not in path:
        return None
    directory, _, name = path.rpartition(b"/")
    if directory[:4] == _PREFIX or b"/" + _PREFIX in directory:
        above = b"/" + directory
        if above.find(b"/" + _PREFIX) == above.find(b"/" + _RESERVED):
            return Whiteout(WhiteoutKind.RESERVED, path)
        raise UnsafePathError(
            f"{os.fsdecode(path)!r} in a layer stands below a whiteout.", path=path
        )
    if not name.startswith(_PREFIX):
        return None
    if name == _OPAQUE:
        return Whiteout(WhiteoutKind.OPAQUE, directory)
    if name.startswith(_RESERVED):
        return Whiteout(WhiteoutKind.RESERVED, path)
    hidden = name[len(_PREFIX) :]
    if hidden in (b"", b".", b".."):
        raise UnsafePathError(f"{os.fsdecode(path)!r} in a layer hides no name.", path=path)
    return Whiteout(WhiteoutKind.NAME, directory + b"/" + hidden if directory else hidden)


def whiteout_entry(path: bytes, *, mtime: int = 0) -> Entry:
    """The entry that hides `path` of lower layers.

    >>> whiteout_entry(b"etc/motd").path
    b'etc/.wh.motd'
    """
    directory, slash, name = path.rpartition(b"/")
    return _empty(directory + slash + _PREFIX + name, mtime)


def opaque_entry(directory: bytes, *, mtime: int = 0) -> Entry:
    """The entry that hides all that lower layers have in a directory.

    >>> opaque_entry(b"etc").path
    b'etc/.wh..wh..opq'
    """
    return _empty(directory + b"/" + _OPAQUE if directory else _OPAQUE, mtime)


def _empty(path: bytes, mtime: int) -> Entry:
    return Entry(path, EntryKind.FILE, 0o600, mtime=mtime, content=BytesContent(b""))
