"""Copying between open files at memory speed, for archives made of blobs.

>>> import tempfile
>>> with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as target:
...     _ = source.write(b"layer"), source.seek(0)
...     copy_between(source.fileno(), target.fileno(), 5)
5
"""

from __future__ import annotations

import os

__all__ = ["copy_between"]

_STEP_BYTES = 64 << 20


def copy_between(source: int, target: int, size_bytes: int) -> int:
    """Copy `size_bytes` from one open file to another at memory speed; how many there were.

    The kernel copies (or shares, where the file system can): first ``copy_file_range``, which needs
    two plain files, else ``sendfile``, which also feeds pipes and sockets, else a buffer.
    """
    left = size_bytes
    ways = [_by_copy_file_range, _by_sendfile, _by_buffer]
    while left:
        try:
            count = ways[0](source, target, min(left, _STEP_BYTES))
        except (OSError, AttributeError) as error:
            # What the kernel cannot do for this pair of files fails before a byte has moved. Real
            # trouble (a full disk, a closed pipe) comes back from the last way, by its name.
            if len(ways) == 1 or isinstance(error, BlockingIOError | BrokenPipeError):
                raise
            del ways[0]
            continue
        if count == 0:
            if len(ways) > 1:
                del ways[0]
                continue
            break
        left -= count
    return size_bytes - left


def _by_copy_file_range(source: int, target: int, count: int) -> int:
    return os.copy_file_range(source, target, count)


def _by_sendfile(source: int, target: int, count: int) -> int:
    # macOS's sendfile only feeds sockets and always wants an offset: the fallback serves it.
    return os.sendfile(target, source, None, count)


def _by_buffer(source: int, target: int, count: int) -> int:
    data = os.read(source, min(count, 1 << 20))
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(target, rest) :]
    return len(data)
