"""Walks many directories of the host, with a second process where that is quicker.

Asking the kernel is nearly all the work, a Python process asks one question at a time, and threads
only pass that turn to each other. So `walk_all` shares directories with a process that runs nothing
but `hostwalk`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     os.makedirs(place + "/etc/apt")
    ...     [path for path, _ in Walk.of(os.fsencode(place)).facts()]
    [b'', b'etc', b'etc/apt']
"""

from __future__ import annotations

import contextlib
import marshal
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from nbdock.filetree import hostwalk
from nbdock.filetree.hostwalk import FACT, walk

__all__ = ["Fact", "Walk", "walk_all"]

_ALONE_S = 0.015
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

    @classmethod
    def of(cls, root: bytes) -> Walk:
        """Walk a directory (or take a single file), in this process.

        Raises
        ------
        OSError
            A name cannot be read; `filename` is its path.
        """
        return cls(*walk(root))

    def facts(self) -> Iterator[tuple[bytes, Fact]]:
        """The paths, relative to the directory (itself ``b""``), and what was said of them."""
        record, length, offset = self.record, FACT.size, 0
        unpack, end_of_name = FACT.unpack_from, record.index
        while offset < len(record):
            end = end_of_name(0, offset + length)
            yield record[offset + length : end], Fact(*unpack(record, offset))
            offset = end + 1


def walk_all(roots: Sequence[bytes]) -> list[Walk | OSError]:
    """Walk many directories, with a second process where that is quicker.

    Returns
    -------
    list
        For each root what `Walk.of` returns or raises.
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
                found.append(Walk.of(root))
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
        if sys.executable and os.path.isfile(hostwalk.__file__) and (os.cpu_count() or 1) > 1:
            with contextlib.suppress(OSError):
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", hostwalk.__file__],
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
