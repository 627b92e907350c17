"""A .deb as a stream of entries: nothing is unpacked, and neither root nor dpkg is needed.

The entries of the data tar pass through as they stand there, with owners, setuid bits, capabilities
and hard links; on a merged-/usr system what stands under ``bin``, ``lib`` and the like is placed
under ``usr`` (`mergedusr`). Last comes the record by which scanners know that the package is there:
``var/lib/dpkg/status.d/<name>`` with the control stanza, and ``<name>.md5sums``, as in distroless
images. A .deb without the latter gets it computed, as dpkg does when it unpacks one.

    for entry in deb_entries("hello_2.10-3_amd64.deb"):
        print(entry.path, oct(entry.mode))
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Iterator

from nbdock.errors import ArchiveError
from nbdock.filetree import BytesContent, Content, Entry, EntryKind, read_tar
from nbdock.packages.debian.control import control_field, read_control
from nbdock.packages.debian.debmembers import deb_members, member_content
from nbdock.packages.debian.mergedusr import merge_usr

__all__ = ["deb_entries", "deb_key"]

_VERSION = 1
"""Raised whenever the same .deb would give other entries than before."""

_STATUS_D = b"var/lib/dpkg/status.d"


def deb_key(sha256: str, *, merged_usr: bool = True) -> str:
    """The key (`Package.key`) of what `deb_entries` makes of a .deb with this digest (hex).

    Examples
    --------
    >>> deb_key("9f86d081884c7d65")
    'deb:1:usr:9f86d081884c7d65'
    """
    return f"deb:{_VERSION}:{'usr' if merged_usr else 'split'}:{sha256}"


def deb_entries(path: str | os.PathLike[str], *, merged_usr: bool = True) -> Iterator[Entry]:
    """The entries of a .deb, as they stand in an image, in the .deb's own order.

    The archive's entry for the root itself is left out, since dpkg leaves a directory that is
    there as it is, and directories that the archive does not mention come before what is in them
    (mode 0755, owner 0). The package's record comes last.

    Parameters
    ----------
    path
        The .deb. It stays open until the iterator ends or is closed.
    merged_usr
        Place ``bin/x`` at ``usr/bin/x`` and so on, for images where ``/bin`` is a link.

    Yields
    ------
    Entry
        The content of a file can be read once, before the next entry is asked for.

    Raises
    ------
    ArchiveError
        The file cannot be read, is not a .deb (deb(5)), or breaks the rules that dpkg checks;
        its subclasses say how.
    """
    where = os.path.basename(os.fspath(path))
    try:
        file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed below, after the last entry
    except OSError as error:
        raise ArchiveError(
            f"The package {where!r} cannot be read: {error.strerror}.",
            hint="Fetch it again.",
        ) from error
    with file:
        try:
            control, data = deb_members(file)
            told = read_control(file, control, only=(b"md5sums",))
            mtime = told.mtime
            md5sums = told.files[b"md5sums"].data if told.files else None
            entries = read_tar(member_content(file, data))
            sums: list[bytes] = []
            if md5sums is None:
                entries = _summed(entries, sums)
            if merged_usr:
                entries = merge_usr(entries)
            seen: dict[bytes, EntryKind] = {b"": EntryKind.DIRECTORY}
            yield from _placed(entries, mtime, seen)
            if md5sums is None:
                md5sums = b"".join(sums)
            yield from _placed(_record(told.stanza, md5sums, mtime), mtime, seen)
        except ArchiveError as error:
            if where not in error.message:
                error.message = f"{where}: {error.message}"
            raise


def _record(stanza: bytes, md5sums: bytes, mtime: int) -> Iterator[Entry]:
    """What scanners read (syft and trivy know both files; distroless images have them)."""
    place = _STATUS_D + b"/" + control_field(stanza, b"Package")
    for path, data in ((place, stanza), (place + b".md5sums", md5sums)):
        yield Entry(
            path, EntryKind.FILE, mode=0o644, mtime=mtime, uname="root", gname="root",
            size_bytes=len(data), content=BytesContent(data),
        )  # fmt: skip


def _placed(entries: Iterable[Entry], mtime: int, seen: dict[bytes, EntryKind]) -> Iterator[Entry]:
    """The entries, each place once, with the directories that they stand in before them."""
    for entry in entries:
        path = entry.path
        parent = path.rpartition(b"/")[0]
        if seen.get(parent) is not EntryKind.DIRECTORY:
            yield from _parents(parent, mtime, seen)
        if path in seen:
            if entry.kind is EntryKind.DIRECTORY is seen[path]:
                continue
            raise ArchiveError(
                f"It has two entries at {os.fsdecode(path)!r}.",
                hint="Where /bin is a link to usr/bin, bin/x and usr/bin/x are one place.",
            )
        seen[path] = entry.kind
        yield entry


def _parents(path: bytes, mtime: int, seen: dict[bytes, EntryKind]) -> Iterator[Entry]:
    parts = path.split(b"/")
    known = len(seen)
    for count in range(1, len(parts) + 1):
        parent = b"/".join(parts[:count])
        kind = seen.setdefault(parent, EntryKind.DIRECTORY)
        if len(seen) > known:
            known = len(seen)
            yield Entry(
                parent, EntryKind.DIRECTORY, mode=0o755, mtime=mtime, uname="root", gname="root"
            )
        elif kind not in (EntryKind.DIRECTORY, EntryKind.SYMLINK):
            raise ArchiveError(
                f"It has an entry in {os.fsdecode(parent)!r}, which is a {kind.value}."
            )


class _SummedContent:
    """Content that is summed as it is read; what the reader leaves is read by `hexdigest`."""

    __slots__ = ("_md5", "_pieces")

    def __init__(self, content: Content) -> None:
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._pieces = self._read(content)

    def _read(self, content: Content) -> Iterator[bytes | memoryview]:
        for piece in content.chunks():
            self._md5.update(piece)
            yield piece

    def chunks(self) -> Iterator[bytes | memoryview]:
        """The pieces of the content, once."""
        return self._pieces

    def hexdigest(self) -> bytes:
        for _ in self._pieces:
            pass
        return self._md5.hexdigest().encode()


def _summed(entries: Iterable[Entry], sums: list[bytes]) -> Iterator[Entry]:
    """The entries; `sums` gets a line of an md5sums file for each file, by its own path."""
    known: dict[bytes, bytes] = {}
    for entry in entries:
        if entry.kind is EntryKind.FILE and entry.content is not None:
            content = _SummedContent(entry.content)
            yield dataclasses.replace(entry, content=content)
            known[entry.path] = content.hexdigest()
        else:
            yield entry
            if entry.kind is not EntryKind.HARDLINK or entry.linkname not in known:
                continue
            known[entry.path] = known[entry.linkname]
        sums.append(known[entry.path] + b"  " + entry.path + b"\n")
