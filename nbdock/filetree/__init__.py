"""What a layer holds: entries, tar reading and writing, whiteouts, overlaying, differences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbdock.filetree.bytesource import ByteSource, FileSource, RangeContent, StreamSource
from nbdock.filetree.differences import Difference, DifferenceKind, differences
from nbdock.filetree.entry import (
    NO_XATTRS,
    BytesContent,
    Content,
    Entry,
    EntryKind,
    FileContent,
)
from nbdock.filetree.hostdir import (
    DirectoryListing,
    fingerprint_directory,
    list_directory,
    scan_directory,
)
from nbdock.filetree.hostwalks import Fact, Walk, walk_all
from nbdock.filetree.overlay import Tree, overlay
from nbdock.filetree.tarheader import HeaderEncoder, TarPolicy
from nbdock.filetree.tarwriter import RECORD_BYTES, Sink, TarWriter, tar_bytes, write_tar
from nbdock.filetree.whiteouts import (
    Whiteout,
    WhiteoutKind,
    opaque_entry,
    parse_whiteout,
    whiteout_entry,
)
from nbdock.later import names_of

if TYPE_CHECKING:
    from nbdock.filetree.squashing import squash
    from nbdock.filetree.tarreader import read_tar

__all__ = [  # noqa: RUF022, in order of importance
    "Entry",
    "EntryKind",
    "Content",
    "BytesContent",
    "FileContent",
    "RangeContent",
    "NO_XATTRS",
    "read_tar",
    "write_tar",
    "tar_bytes",
    "TarWriter",
    "TarPolicy",
    "HeaderEncoder",
    "scan_directory",
    "list_directory",
    "fingerprint_directory",
    "walk_all",
    "Walk",
    "Fact",
    "DirectoryListing",
    "overlay",
    "Tree",
    "squash",
    "differences",
    "Difference",
    "DifferenceKind",
    "parse_whiteout",
    "whiteout_entry",
    "opaque_entry",
    "Whiteout",
    "WhiteoutKind",
    "ByteSource",
    "FileSource",
    "StreamSource",
    "Sink",
    "RECORD_BYTES",
]  # fmt: skip

__getattr__, _ = names_of(
    __name__,
    {
        "squashing": "squash",
        "tarreader": "read_tar",
    },
)
