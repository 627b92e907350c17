"""What differs between two trees: names that came, went, or changed, and in what.

>>> from nbdock.filetree import BytesContent, Entry, EntryKind, overlay
>>> def motd(text):
...     content = BytesContent(text)
...     return Entry(b"motd", EntryKind.FILE, size_bytes=len(text), content=content)
>>> [(d.kind.value, d.path, d.fields) for d in differences(
...     overlay([[motd(b"hi")]]), overlay([[motd(b"ho")]]))]
[('changed', b'motd', ('content',))]
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Collection, Iterator

from nbdock.filetree.entry import Content, Entry, EntryKind
from nbdock.filetree.overlay import Tree

__all__ = ["Difference", "DifferenceKind", "differences"]

_FIELDS = (
    "kind", "mode", "uid", "gid", "uname", "gname", "size_bytes", "mtime", "linkname",
    "device_major", "device_minor", "xattrs",
)  # fmt: skip


class DifferenceKind(enum.Enum):
    """How a path differs."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """A path that differs.

    Attributes
    ----------
    old, new
        What it holds in either tree, hardlinks resolved; None where it is missing.
    fields
        For a change: the attributes of `Entry` that differ, ``content`` among them.
    """

    kind: DifferenceKind
    path: bytes
    old: Entry | None = None
    new: Entry | None = None
    fields: tuple[str, ...] = ()


def differences(
    old: Tree, new: Tree, *, ignore: Collection[str] = (), read_content: bool = True
) -> Iterator[Difference]:
    """What differs, in the order of the trees; what was removed stands before what was added.

    Parameters
    ----------
    ignore
        Attributes of `Entry` that may differ (``mtime``).
    read_content
        Read files of the same size to compare them. Otherwise a file counts as changed in its
        content only if its size is another.
    """
    fields = [field for field in _FIELDS if field not in ignore]
    compare = read_content and "content" not in ignore
    for path in sorted({*old, *new}, key=lambda path: path.split(b"/")):
        if path not in new:
            yield Difference(DifferenceKind.REMOVED, path, old=old.resolved(path))
            continue
        if path not in old:
            yield Difference(DifferenceKind.ADDED, path, new=new.resolved(path))
            continue
        before, after = old.resolved(path), new.resolved(path)
        if before is after:
            continue
        changed = [name for name in fields if getattr(before, name) != getattr(after, name)]
        if (
            before.kind is EntryKind.FILE
            and after.kind is EntryKind.FILE
            and "content" not in ignore
            and (
                before.size_bytes != after.size_bytes
                or (compare and not _same(before.content, after.content))
            )
        ):
            changed.append("content")
        if changed:
            yield Difference(DifferenceKind.CHANGED, path, before, after, tuple(changed))


def _same(one: Content | None, other: Content | None) -> bool:
    if one is other or one == other:
        return True
    if one is None or other is None:
        return not b"".join((one or other).chunks())  # type: ignore[union-attr]
    mine, theirs = filter(len, one.chunks()), filter(len, other.chunks())
    left = right = memoryview(b"")
    while True:
        left = left or memoryview(next(mine, b""))
        right = right or memoryview(next(theirs, b""))
        count = min(len(left), len(right))
        if not count:
            return not left and not right
        if left[:count] != right[:count]:
            return False
        left, right = left[count:], right[count:]
