"""What an image says of one of its entries, as text and numbers to be shown.

facts = facts_of(tree, row)
facts.kind, facts.size_bytes, facts.waste
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING

from nbdock.tables.imagefiles import CHANGES
from nbdock.tables.layerentries import KINDS, Kind
from nbdock.tables.waste import WASTE_REASONS

if TYPE_CHECKING:
    from nbdock.tables.filetrees import FileTree

__all__ = ["FileFacts", "facts_of"]


@dataclasses.dataclass(frozen=True)
class FileFacts:
    """One entry of a layer; as in `file_table` but for what is said here.

    Attributes
    ----------
    row
        Its row there.
    uname, gname
        The names of its owners, as the layer has them; empty if it has none.
    devices
        Major and minor number of a device.
    xattrs
        Its extended attributes, as JSON, values in hexadecimal; empty if there are none.
    waste
        Why it is of no use (as in `waste_table`); empty for what is of use.
    by_path, by_layer
        What made it waste.
    """

    row: int
    path: str
    kind: str
    mode: int
    uid: int
    gid: int
    uname: str
    gname: str
    size_bytes: int
    mtime: dt.datetime | None
    link_target: str
    devices: tuple[int, int] | None
    xattrs: str
    digest: str
    layer: int
    change: str
    visible: bool
    waste: str
    by_path: str
    by_layer: int


def facts_of(tree: FileTree, row: int) -> FileFacts:
    """All that there is to say of one entry of an image."""
    files = tree.files

    def text(name: str) -> str:
        value = files.column(name)[row].as_py()
        return value.decode("utf-8", "backslashreplace") if value else ""

    def path(of: int) -> str:
        found: bytes = files.column("path")[of].as_py()
        return "/" + found.decode("utf-8", "backslashreplace")

    kind, change, by = int(files.kinds[row]), int(files.changes[row]), int(tree.wasted_by[row])
    reason = int(tree.waste_reason[row])
    digest = files.column("digest")[row].as_py()
    mtime = files.column("mtime")[row]
    target = text("link_target")
    is_device = KINDS[kind].endswith("device")
    return FileFacts(
        row=row,
        path=path(row),
        kind=KINDS[kind],
        mode=files.column("mode")[row].as_py(),
        uid=files.column("uid")[row].as_py(),
        gid=files.column("gid")[row].as_py(),
        uname=text("uname"),
        gname=text("gname"),
        size_bytes=int(files.sizes[row]),
        mtime=mtime.as_py() if mtime.is_valid else None,
        link_target="/" + target if kind == Kind.HARDLINK else target,
        devices=(
            (files.column("device_major")[row].as_py(), files.column("device_minor")[row].as_py())
            if is_device
            else None
        ),
        xattrs=files.column("xattrs")[row].as_py() or "",
        digest=f"sha256:{digest.hex()}" if digest else "",
        layer=int(files.layer[row]),
        change=CHANGES[change] if change >= 0 else "",
        visible=bool(files.laid.visible[row]),
        waste=WASTE_REASONS[reason] if reason >= 0 else "",
        by_path=path(by) if by >= 0 else "",
        by_layer=int(files.layer[by]) if by >= 0 else -1,
    )
