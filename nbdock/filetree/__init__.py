"""What a layer holds: entries, tar reading and writing, whiteouts, overlaying, differences."""

from nbdock.filetree.entry import BytesContent, Content, Entry, EntryKind, FileContent

__all__ = ["BytesContent", "Content", "Entry", "EntryKind", "FileContent"]
