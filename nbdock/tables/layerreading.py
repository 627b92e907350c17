"""Reads a layer: its blob decompressed, its tar parsed, every content hashed as it streams by.

    table, is_kept = make_table(StoredLayer.of(image.store, layer), True, stop, on_bytes)

Between two contents the tar is parsed in Python, by one thread of a process at a time. Where there
is much to read, `ReadingProcess` has another process read and keep some of the layers; whatever
goes wrong with that, the layer is read here instead.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from nbdock import settings
from nbdock.content import BlobStore, open_decompressed
from nbdock.errors import ArchiveError, NbdockError
from nbdock.filetree import Entry, read_tar
from nbdock.oci import Digest
from nbdock.tables.layerentries import collect
from nbdock.tables.layerfiles import keep

if TYPE_CHECKING:
    import pyarrow as pa

    from nbdock.images import ImageLayer

__all__ = ["ReadingProcess", "StoppedError", "StoredLayer", "make_table"]

# Arrow imports numpy and pandas, if they are there, and here needs neither: half of the start.
_PROGRAM = (
    "import sys; sys.path[:] = {path!r}; sys.modules['numpy'] = None; "
    "from nbdock.tables import layerreading as it; it.main()"
)


@dataclasses.dataclass(frozen=True)
class StoredLayer:
    """A layer, and the store that has its blob.

    Attributes
    ----------
    diff_id, digest
        Of its tar, and of its blob, which may be the tar itself.
    size_bytes
        Of its blob.
    """

    store: BlobStore
    diff_id: Digest
    digest: Digest
    size_bytes: int

    @classmethod
    def of(cls, store: BlobStore, layer: ImageLayer) -> StoredLayer:
        """A layer of an image."""
        blob = layer.descriptor
        return cls(store, layer.diff_id, blob.digest, blob.size_bytes)

    @property
    def names(self) -> tuple[Digest, Digest]:
        """What its table may be kept under: what is in one blob is known for good."""
        return self.diff_id, self.digest


class StoppedError(Exception):
    """Nobody waits for the layer any more."""


def make_table(
    stored: StoredLayer, hashes: bool, stop: threading.Event, on_bytes: Callable[[int], None]
) -> tuple[pa.Table, bool]:
    """Read a layer; its table, and whether that is kept now.

    Raises
    ------
    ArchiveError
        It cannot be read; the message names it.
    StoppedError
        `stop` was set.
    """
    is_plain = stored.store.has(stored.diff_id)
    hashes = hashes or not is_plain
    table = _read(stored, is_plain=is_plain, hashes=hashes, stop=stop, on_bytes=on_bytes)
    name = stored.diff_id if is_plain else stored.digest
    return table, keep(stored.store, name, table, hashes=hashes)


def _read(
    stored: StoredLayer,
    *,
    is_plain: bool,
    hashes: bool,
    stop: threading.Event,
    on_bytes: Callable[[int], None],
) -> pa.Table:
    """Read a layer: its tar if that is in the store (`is_plain`), else its compressed blob."""
    limit = settings.current().layer_contents_limit_bytes
    try:
        if is_plain:
            with stored.store.open(stored.diff_id) as file:
                if not hashes:
                    entries = read_tar(file, random_access=True, content_limit_bytes=limit)
                    return collect(_stoppable(entries, stop), hashes=False)
                pieces = iter(functools.partial(file.read, 1 << 20), b"")
                watched = _watched(pieces, stop, on_bytes, file.tell)
                return collect(read_tar(watched, content_limit_bytes=limit), hashes=True)
        ratio = settings.current().decompression_ratio_limit
        with (
            stored.store.open(stored.digest) as blob,
            open_decompressed(blob, limit_ratio=ratio) as stream,
        ):
            pieces = _watched(stream.pieces(), stop, on_bytes, lambda: stream.compressed_bytes)
            return collect(read_tar(pieces, content_limit_bytes=limit), hashes=hashes)
    except ArchiveError as error:
        error.message = f"The layer {stored.digest} cannot be read: {error.message}"
        raise


def _watched(
    pieces: Iterator[bytes], stop: threading.Event,
    on_bytes: Callable[[int], None], used: Callable[[], int],
) -> Iterator[bytes]:  # fmt: skip
    for piece in pieces:
        if stop.is_set():
            raise StoppedError
        on_bytes(used())
        yield piece


def _stoppable(entries: Iterator[Entry], stop: threading.Event) -> Iterator[Entry]:
    for entry in entries:
        if stop.is_set():
            raise StoppedError
        yield entry


class ReadingProcess:
    """Another process, started when it is first asked for a layer; it ends with the block."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ReadingProcess:
        return self

    def make_table(
        self,
        stored: StoredLayer, hashes: bool, stop: threading.Event, on_bytes: Callable[[int], None],
    ) -> bool:  # fmt: skip
        """Have a layer read and its table kept; whether that went well.

        Raises
        ------
        StoppedError
            `stop` was set.
        """
        try:
            process = self._process = self._process or _start()
            assert process.stdin is not None
            assert process.stdout is not None
            request = [str(stored.store.home), str(stored.diff_id), str(stored.digest), hashes]
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            # It says how far it is after every megabyte, at the end that it is done.
            for line in process.stdout:
                if stop.is_set():
                    raise StoppedError
                if not line[:-1].isdigit():
                    return line == b"kept\n"
                on_bytes(int(line))
        except (OSError, ValueError):
            pass
        return False

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            with contextlib.suppress(OSError):  # what it was not told any more
                self._process.communicate()


def _start() -> subprocess.Popen[bytes]:
    if not sys.executable:
        raise FileNotFoundError("this Python does not know its own path")
    # Modules come from where this process has them, and never from the directory it works in.
    program = _PROGRAM.format(path=[place for place in sys.path if place])
    current = settings.current()
    limits = {
        "NBDOCK_LAYER_CONTENTS_LIMIT_BYTES": str(current.layer_contents_limit_bytes),
        "NBDOCK_DECOMPRESSION_RATIO_LIMIT": str(current.decompression_ratio_limit),
    }
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", program], env={**os.environ, **limits},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def main() -> None:
    """What the other process does: reads the layers that it is asked for, until it is killed."""

    def say(what: object) -> None:
        sys.stdout.buffer.write(b"%s\n" % str(what).encode())
        sys.stdout.buffer.flush()

    gc.disable()  # nothing here is in a cycle, and there are many entries to look through
    for line in sys.stdin.buffer:
        home, diff_id, digest, hashes = json.loads(line)
        layer = StoredLayer(BlobStore(home), Digest.parse(diff_id), Digest.parse(digest), 0)
        try:
            _, is_kept = make_table(layer, hashes, threading.Event(), say)
        except (NbdockError, OSError, ValueError, ArithmeticError, MemoryError):
            is_kept = False
        say("kept" if is_kept else "failed")
