"""What a script changed, as the entries of a layer.

A guest sends the directory that its overlay file system wrote to, as a tar. The kernel says there
by devices and attributes what OCI says by names: a character device 0:0 hides what lower layers
have under its name, ``trusted.overlay.opaque`` all that they have in a directory. Everything else
is what it is, with owners, modes, extended attributes, hardlinks, devices and any name. Times are
all set to one: when a script ran must not be seen in what it made. Sockets are not there, as no
tar can hold them, and marks of the file system (immutable files) neither; two names of one FIFO or
device become two of them, as GNU tar has it.

    for entry in read_changes(result.tar_path, created=315532800, without=[b"proc", b"dev"]):
        print(entry.path)           # b'etc', b'etc/.wh.motd', b'etc/passwd', ...
"""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from nbdock import settings
from nbdock.errors import ArchiveError, VmError
from nbdock.filetree import (
    NO_XATTRS,
    Entry,
    EntryKind,
    opaque_entry,
    overlay,
    read_tar,
    whiteout_entry,
)

__all__ = ["read_changes"]

_OWN: Final = "trusted.overlay."
_OPAQUE: Final = "trusted.overlay.opaque"
_ELSEWHERE: Final = ("redirect", "metacopy", "whiteout")
"""Marks of file systems that keep a directory, a content or a whiteout in another way."""


def read_changes(
    tar_path: str | os.PathLike[str],
    *,
    created: int,
    without: Iterable[bytes] = (),
) -> Iterator[Entry]:
    """The entries of the layer that an overlay's upper directory is.

    Parameters
    ----------
    tar_path
        The tar of that directory, with all extended attributes. Contents are read from it when
        asked for: it must stay until the layer is written.
    created
        The time of every entry. Seconds since the epoch.
    without
        Paths that do not appear, nor what is below them: mount points, and what was put there for
        the script only. A directory in which nothing but such things changed goes with them.

    Yields
    ------
    Entry
        Sorted, each path once, a directory's whiteouts among what is in it. Directories that the
        kernel copied because something below them changed are there, as they were; the root if it
        is not any more what guests begin with: of mode 0755, owned by root. Of the names of one
        file the first is the file.

    Raises
    ------
    VmError
        A script made what no layer can hold: a name that begins with ``.wh.``, or files that are
        larger together than the setting `vm_changes_limit_bytes` (mostly holes, then).
    ArchiveError
        The tar is damaged, leads outside, or is not of an upper directory that stands alone.
    """
    own: list[Entry] = []
    marks: list[Entry] = []
    emptied: set[bytes] = set()
    unseen = frozenset(path.strip(b"/") for path in without)
    left = limit = settings.current().vm_changes_limit_bytes
    for entry in read_tar(os.fspath(tar_path)):
        path = entry.path
        if (above := _unseen(path, unseen)) is not None:
            emptied.add(above)
            continue
        if b"/.wh." in b"/" + path:
            raise VmError(
                f"The script made {os.fsdecode(path)!r}: no layer can hold names that begin with "
                "'.wh.', as they say what a layer removes.",
                hint="Have the script give it another name, or remove it.",
            )
        left -= entry.size_bytes
        if left < 0:
            raise VmError(
                f"The files that the script made have more than {limit} bytes with "
                f"{os.fsdecode(path)!r}, which has {entry.size_bytes}.",
                hint="Layers hold no holes: all bytes of a sparse file count. Remove or truncate "
                "it in the script, or raise the setting vm_changes_limit_bytes.",
            )
        if _is_whiteout(entry):
            marks.append(whiteout_entry(path, mtime=created))
            continue
        if _is_opaque(entry):
            marks.append(opaque_entry(path, mtime=created))
        own.append(entry)
    made: dict[bytes, Entry] = {}
    for entry in _sorted(own, marks, emptied):
        if entry.path or not _is_new_root(entry):
            # A second name is bound to the first as it is in the layer, not as it was in the tar.
            made[entry.path] = dataclasses.replace(
                entry, mtime=created, uname="", gname="", xattrs=_kept(entry.xattrs),
                target=made.get(entry.linkname) if entry.kind is EntryKind.HARDLINK else None,
            )  # fmt: skip
            yield made[entry.path]


def _unseen(path: bytes, unseen: frozenset[bytes]) -> bytes | None:
    """The directory that holds the unseen thing that a path is in or below, if it is."""
    end = 0
    while unseen and end >= 0:
        end = path.find(b"/", end + 1)
        if (start := path[:end] if end >= 0 else path) in unseen:
            return start.rpartition(b"/")[0]
    return None


def _is_whiteout(entry: Entry) -> bool:
    return (
        entry.kind is EntryKind.CHARACTER_DEVICE
        and not entry.device_major
        and not entry.device_minor
    )


def _is_opaque(entry: Entry) -> bool:
    """Whether a directory hides what lower layers have in it.

    Raises
    ------
    ArchiveError
        It is marked as what a plain upper directory has not: the changes would not be whole.
    """
    for name in entry.xattrs:
        if name.startswith(_OWN) and name[len(_OWN) :] in _ELSEWHERE:
            raise ArchiveError(
                f"{os.fsdecode(entry.path)!r} in what a guest changed has the attribute {name}: "
                "it does not hold what it stands for.",
                hint="The guest's overlay file system must do without redirect_dir and metacopy.",
            )
    value = entry.xattrs.get(_OPAQUE)
    if value is not None and (value != b"y" or entry.kind is not EntryKind.DIRECTORY):
        raise ArchiveError(
            f"{os.fsdecode(entry.path)!r} in what a guest changed has the attribute {_OPAQUE} with "
            f"the unknown value {value!r}."
        )
    return value is not None


def _sorted(own: list[Entry], marks: list[Entry], emptied: set[bytes]) -> list[Entry]:
    """All entries in order, without directories in which only unseen things were."""
    tree = overlay([own])
    entries = {entry.path: entry for entry in [*tree.entries(), *marks]}
    count = Counter(path.rpartition(b"/")[0] for path in entries)
    for path in emptied:
        while path in entries and path and not count[path]:
            del entries[path]
            path = path.rpartition(b"/")[0]
            count[path] -= 1
    return [entries[path] for path in sorted(entries, key=lambda path: path.split(b"/"))]


def _is_new_root(entry: Entry) -> bool:
    return (entry.mode, entry.uid, entry.gid) == (0o755, 0, 0) and not _kept(entry.xattrs)


def _kept(xattrs: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Extended attributes without those that the overlay file system keeps for itself."""
    if any(name.startswith(_OWN) for name in xattrs):
        return {k: v for k, v in xattrs.items() if not k.startswith(_OWN)} or NO_XATTRS
    return xattrs
