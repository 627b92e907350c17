"""Entries of trees, in few words: a regular file with its content, a directory, a symlink.

    [folder("etc"), file("etc/motd", b"hello", 0o600, uid=7), symlink("lib", "usr/lib")]

Paths are texts or bytes; all that is not given is as `Entry` has it.
"""

from __future__ import annotations

import os
from typing import Any

from nbdock.filetree import BytesContent, Entry, EntryKind

__all__ = ["file", "folder", "symlink"]


def file(path: str | bytes, data: str | bytes = b"", mode: int = 0o644, **fields: Any) -> Entry:
    """A regular file."""
    held = os.fsencode(data)
    content = BytesContent(held)
    return Entry(
        os.fsencode(path), EntryKind.FILE, mode, size_bytes=len(held), content=content, **fields
    )


def folder(path: str | bytes, mode: int = 0o755, **fields: Any) -> Entry:
    """A directory."""
    return Entry(os.fsencode(path), EntryKind.DIRECTORY, mode, **fields)


def symlink(path: str | bytes, target: str | bytes) -> Entry:
    """A symlink."""
    return Entry(os.fsencode(path), EntryKind.SYMLINK, 0o777, linkname=os.fsencode(target))
