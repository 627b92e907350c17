"""Walks directories of the host: what `lstat` says of every name, as one run of bytes.

Asking the kernel is nearly all the work, a Python process asks one question at a time, and threads
only pass that turn to each other. So `walk_all` shares many directories with a second process: this
very file, run as a program. It imports nothing but the standard library, to start in a hundredth
of a second.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     os.makedirs(place + "/etc/apt")
    ...     [path for path, _ in walk(os.fsencode(place)).facts()]
    [b'', b'etc', b'etc/apt']
"""

from __future__ import annotations

import contextlib
import marshal
import os
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import NamedTuple

__all__ = ["Fact", "Walk", "walk", "walk_all"]

_KINDS = frozenset({
    stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO,
})  # fmt: skip
_FACT = struct.Struct("<IIIqqqQQQ")
_pack = _FACT.pack
_by_path = itemgetter(0)
_ENCODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()

_ALONE_S = 0.03
"""How long to walk before a second process is worth its start. Seconds."""


class Fact(NamedTuple):
    """What `lstat` said of one name."""

    mode: int
    uid: int
    gid: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int
    device_number: int


class Walk(NamedTuple):
    """A directory as it was found.

    Attributes
    ----------
    record
        Every path with its facts, depth-first, names sorted as bytes; two directories with the
        same record have the same names, kinds, modes, owners, sizes, times and inodes.
    skipped
        Sockets, which no archive can hold.
    started_ns, newest_ns
        When the walk began; the latest time of change that it met. Nanoseconds since the epoch.
    size_bytes, entry_count, file_count
        Of all files together; of everything; of files.
    """

    record: bytes
    skipped: tuple[bytes, ...]
    started_ns: int
    newest_ns: int
    size_bytes: int
    entry_count: int
    file_count: int

    def facts(self) -> Iterator[tuple[bytes, Fact]]:
        """The paths, relative to the directory (itself ``b""``), and what was said of them."""
        record, length, offset = self.record, _FACT.size, 0
        unpack, end_of_name = _FACT.unpack_from, record.index
        while offset < len(record):
            end = end_of_name(0, offset + length)
            yield record[offset + length : end], Fact(*unpack(record, offset))
            offset = end + 1


def walk(root: bytes) -> Walk:
    """Walk a directory (or take a single file). A symlink is followed only if ``/`` ends the path.

    Raises
    ------
    OSError
        A name cannot be read; `filename` is its path.
    """
    started_ns = time.time_ns()
    base = root.rstrip(b"/") + b"/"
    pieces: list[bytes] = []
    skipped: list[bytes] = []
    add, pack = pieces.append, _pack
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
    return Walk(b"".join(pieces), tuple(skipped), started_ns, newest_ns, size_bytes, entries, files)


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
    found.sort(key=_by_path)
    return iter(found)


def walk_all(roots: Sequence[bytes]) -> list[Walk | OSError]:
    """Walk many directories, with a second process where that is quicker.

    Returns
    -------
    list
        For each root what `walk` returns or raises.
    """
    found: list[Walk | OSError] = []
    started_s = time.monotonic()
    helper: _Helper | None = None
    with contextlib.ExitStack() as cleanup:
        for position, root in enumerate(roots):
            theirs = helper.found.get(position) if helper is not None else None
            if theirs is not None:
                found.append(theirs)
                continue
            try:
                found.append(walk(root))
            except OSError as error:
                found.append(error)
            left = len(roots) - position - 1
            if helper is None and left > 1 and time.monotonic() - started_s > _ALONE_S:
                # It comes from the other end, and is stopped where the two meet.
                helper = cleanup.enter_context(_Helper(roots, position + 1))
    return found


class _Helper:
    """The second process: walks roots from the last one to that at `first`."""

    def __init__(self, roots: Sequence[bytes], first: int) -> None:
        self.found: dict[int, Walk] = {}
        self._positions = range(len(roots) - 1, first - 1, -1)
        self._request = b"\0".join(roots[p] for p in self._positions)

    def __enter__(self) -> _Helper:
        self._process: subprocess.Popen[bytes] | None = None
        if sys.executable and os.path.isfile(__file__) and (os.cpu_count() or 1) > 1:
            with contextlib.suppress(OSError):
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", __file__],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                )  # fmt: skip
        if self._process is not None:
            self._thread = threading.Thread(target=self._read, args=(self._process,), daemon=True)
            self._thread.start()
        return self

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        """Take what it finds. Whatever goes wrong with it, the walks are made here instead."""
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with process.stdin as request:
                request.write(self._request)
            for position in self._positions:
                self.found[position] = Walk(*marshal.load(process.stdout))  # noqa: S302 - our own
        except (OSError, ValueError, EOFError, TypeError):
            pass

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._thread.join()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process.wait()


def _main() -> None:
    """Walk the roots that standard input names; the first that cannot be walked ends it."""
    for root in sys.stdin.buffer.read().split(b"\0"):
        marshal.dump(tuple(walk(root)), sys.stdout.buffer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _main()
