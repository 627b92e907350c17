"""What a layer holds: entries, tar reading and writing, whiteouts, overlaying, differences."""

from nbdock.filetree.entry import (
    NO_XATTRS,
    BytesContent,
    Content,
    Entry,
    EntryKind,
    FileContent,
)
from nbdock.filetree.tarheader import TarPolicy
from nbdock.filetree.tarwriter import RECORD_BYTES, Sink, TarWriter, tar_bytes, write_tar

__all__ = [  # noqa: RUF022, in order of importance
    "Entry",
    "EntryKind",
    "Content",
    "BytesContent",
    "FileContent",
    "NO_XATTRS",
    "write_tar",
    "tar_bytes",
    "TarWriter",
    "TarPolicy",
    "Sink",
    "RECORD_BYTES",
]  # fmt: skip
