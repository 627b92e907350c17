"""Merged /usr: ``/bin``, ``/lib`` and the like are links into ``/usr``, and hold nothing.

Debian requires this layout since bookworm, while packages may still carry ``bin/x``. A layer that
held such an entry would put a real directory in the link's place and hide all of ``usr/bin``; so
entries are placed where the link leads before they get into a layer. What they mean stays the
same: targets of hard links move too, and a relative symlink that would lead elsewhere from its
new place is rewritten.

    >>> from nbdock.filetree import Entry, EntryKind
    >>> link = Entry(b"lib/udev/rules", EntryKind.SYMLINK, linkname=b"../../etc/rules")
    >>> [(e.path, e.linkname) for e in merge_usr([link])]
    [(b'usr/lib/udev/rules', b'../../../etc/rules')]
"""

from __future__ import annotations

import dataclasses
import posixpath
from collections.abc import Iterable, Iterator

from nbdock.errors import ArchiveError
from nbdock.filetree import Entry, EntryKind

__all__ = ["merge_usr", "merged_usr_links"]

_ALIASES = (b"bin", b"lib", b"lib32", b"lib64", b"libo32", b"libx32", b"sbin")

# Library directories of each architecture's other ABIs, as debootstrap links them.
_OTHER_ABIS = {
    "all": (),
    "amd64": (b"lib32", b"lib64", b"libx32"),
    "arm64": (),
    "armel": (),
    "armhf": (),
    "i386": (b"lib64", b"libx32"),
    "loong64": (b"lib64",),
    "mips64el": (b"lib32", b"lib64", b"libo32"),
    "mipsel": (b"lib32", b"lib64"),
    "ppc64": (b"lib32", b"lib64"),
    "ppc64el": (b"lib64",),
    "riscv64": (),
    "s390x": (b"lib32",),
    "sparc64": (b"lib32", b"lib64"),
    "x32": (b"lib32", b"lib64", b"libx32"),
}


def merged_usr_links(architecture: str) -> list[Entry]:
    """The links ``bin -> usr/bin`` etc. of a merged-/usr system, sorted by path.

    Parameters
    ----------
    architecture
        Debian's name of it (``amd64``). An unknown one gets every link there is: a link that
        leads nowhere does no harm, a missing one hides the program loader.

    Examples
    --------
    >>> [link.path.decode() for link in merged_usr_links("arm64")]
    ['bin', 'lib', 'sbin']
    """
    names = sorted({b"bin", b"lib", b"sbin", *_OTHER_ABIS.get(architecture, _ALIASES)})
    return [_link(name) for name in names]


def _link(name: bytes) -> Entry:
    return Entry(
        name, EntryKind.SYMLINK, mode=0o777, mtime=1, uname="root", gname="root",
        linkname=b"usr/" + name,
    )  # fmt: skip


def _place(path: bytes) -> bytes:
    """Where a path stands on a merged-/usr system."""
    return b"usr/" + path if path.split(b"/", 1)[0] in _ALIASES else path


def _resolve(path: bytes, target: bytes, *, merged: bool) -> bytes:
    """Where a link at `path` leads: on a merged-/usr system, or on one without any other links."""
    here = [] if target.startswith(b"/") else path.split(b"/")[:-1]
    for part in target.split(b"/"):
        if part == b"..":
            here = here[:-1]
        elif part not in (b"", b"."):
            here.append(part)
            if merged and len(here) == 1 and part in _ALIASES:
                here = [b"usr", part]
    return b"/".join(here)


def merge_usr(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The entries of one tree as they stand on a merged-/usr system, in the same order.

    A top-level link to where its name leads anyway (``bin -> usr/bin``) stays; a link that only
    joined both places (``usr/bin/x -> /bin/x``), and would now name itself, is left out.

    Raises
    ------
    ArchiveError
        ``bin`` or one of the others is something other than a directory or that link.
    """
    moved: dict[bytes, Entry] = {}  # by the old path: what hard links may be bound to
    for entry in entries:
        path = _place(entry.path)
        if entry.path in _ALIASES and entry.kind is not EntryKind.DIRECTORY:
            leads = _resolve(entry.path, entry.linkname, merged=False)
            if entry.kind is not EntryKind.SYMLINK or leads != path:
                raise _not_a_directory(entry)
            yield entry
        elif entry.kind is EntryKind.SYMLINK:
            linkname = _moved_link(entry, path)
            if linkname is not None:
                yield _changed(entry, path, linkname)
        elif entry.kind is EntryKind.HARDLINK:
            linkname = _place(entry.linkname)
            if linkname != path:
                target = entry.target and moved.get(entry.target.path, entry.target)
                yield _changed(entry, path, linkname, target)
        elif path is entry.path:
            yield entry
        else:
            placed = _changed(entry, path, entry.linkname)
            if entry.kind is EntryKind.FILE:
                moved[entry.path] = placed
            yield placed


def _changed(entry: Entry, path: bytes, linkname: bytes, target: Entry | None = None) -> Entry:
    if path == entry.path and linkname == entry.linkname and target is entry.target:
        return entry
    return dataclasses.replace(entry, path=path, linkname=linkname, target=target)


def _moved_link(entry: Entry, path: bytes) -> bytes | None:
    """What a symlink has to say at its place to mean the same; None if it would name itself."""
    named = _resolve(entry.path, entry.linkname, merged=False)
    meant = _place(named)
    if meant == path and named != entry.path:
        return None
    # Text that goes down and up again from another place may pass through what is not there.
    is_sure = path == entry.path or _goes_up_first(entry.linkname)
    if is_sure and _resolve(path, entry.linkname, merged=True) == meant:
        return entry.linkname
    if entry.linkname.startswith(b"/"):
        return b"/" + meant
    return posixpath.relpath(b"/" + meant, b"/" + posixpath.dirname(path))


def _goes_up_first(target: bytes) -> bool:
    """Whether no ``..`` comes after a name."""
    parts = [part for part in target.split(b"/") if part not in (b"", b".")]
    while parts and parts[0] == b"..":
        del parts[0]
    return b".." not in parts


def _not_a_directory(entry: Entry) -> ArchiveError:
    name = entry.path.decode("ascii")
    return ArchiveError(
        f"The package has a {entry.kind.value} at /{name}, which is a link to usr/{name} "
        f"on a merged-/usr system.",
        hint="Turn merged_usr off to take the package as it is.",
    )
