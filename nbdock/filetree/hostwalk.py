r"""Walks one directory of the host: what `lstat` says of every name, as one run of bytes.

This file is also a program, the second process of `hostwalks`. It imports next to nothing, to
start in a hundredth of a second.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     os.mkdir(place + "/etc")
    ...     record, *_ = walk(os.fsencode(place))
    >>> record.endswith(b"etc\0")
    True
"""

from __future__ import annotations

import marshal
import os
import stat
import struct
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself would take longer to import than everything else here
    from collections.abc import Iterator

__all__ = ["FACT", "walk"]

FACT = struct.Struct("<IIIqqqQQQ")
"""What stands before each path: mode, uid, gid, size, mtime_ns, ctime_ns, inode, device, and the
device number of a device."""

_KINDS = frozenset(
    (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO)
)
_ENCODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()


def _path_of(found: tuple[bytes, os.stat_result]) -> bytes:
    return found[0]


def walk(root: bytes) -> tuple[bytes, tuple[bytes, ...], int, int, int, int, int]:
    """Walk a directory (or take a single file). A symlink is followed only if ``/`` ends the path.

    Returns
    -------
    tuple
        The fields of `hostwalks.Walk`.

    Raises
    ------
    OSError
        A name cannot be read; `filename` is its path.
    """
    started_ns = time.time_ns()
    base = root.rstrip(b"/") + b"/"
    pieces: list[bytes] = []
    skipped: list[bytes] = []
    add, pack = pieces.append, FACT.pack
    newest_ns = size_bytes = files = entries = 0
    stack: list[Iterator[tuple[bytes, os.stat_result]]] = [iter([(b"", os.lstat(root))])]
    while stack:
        for path, status in stack[-1]:
            mode, size, changed_ns = status.st_mode, status.st_size, status.st_ctime_ns
            kind = mode & 0o170000
            if kind not in _KINDS:
                skipped.append(path)
                continue
            # Facts have a fixed length, and a name ends with a NUL: no two walks make the same
            # bytes.
            add(pack(
                mode, status.st_uid, status.st_gid, size, status.st_mtime_ns, changed_ns,
                status.st_ino, status.st_dev, status.st_rdev,
            ))  # fmt: skip
            add(path)
            add(b"\0")
            entries += 1
            if changed_ns > newest_ns:
                newest_ns = changed_ns
            if kind == 0o100000:
                files += 1
                size_bytes += size
            elif kind == 0o040000:
                if path:
                    stack.append(_names_within(base + path, path + b"/"))
                else:
                    stack.append(_names_within(root, b""))
                break
        else:
            stack.pop()
    record = b"".join(pieces)
    return record, tuple(skipped), started_ns, newest_ns, size_bytes, entries, files


def _names_within(directory: bytes, prefix: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
    """What is directly in a directory, by name; `prefix` and the name make the path.

    Asked through a descriptor, the kernel need not walk the whole path for every name.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with os.scandir(descriptor) as items:
            # The encoding is os.fsencode without its checks: this is the hot line of every build
            # that is warm.
            found = [
                (prefix + i.name.encode(_ENCODING, _ERRORS), i.stat(follow_symlinks=False))
                for i in items
            ]
    finally:
        os.close(descriptor)
    found.sort(key=_path_of)
    return iter(found)


def _main() -> None:
    """Walk the roots that standard input names; the first that cannot be walked ends it."""
    for root in sys.stdin.buffer.read().split(b"\0"):
        marshal.dump(walk(root), sys.stdout.buffer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _main()
