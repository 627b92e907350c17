"""Finding and removing the blobs that nothing refers to any more.

    unused_blobs(store, unused_s=7 * 86400)       # what could go
    collect(store, unused_s=7 * 86400)            # remove it

A blob is in use while an image's name leads to it: by the index, by manifests and configurations.
But whoever makes an image has its blobs before its name, and a notebook holds images whose names
went to others. So what was used lately stays, and with it all that such a document refers to. When
a blob was used is its file's time of change: that of its writing, set anew when somebody asks for
it a good while later (`BlobStore.has`, `open`).

Between looking at a blob and removing it, nobody can come to use it: removing is done under the
lock that changing names takes too, and touching takes it shared. Whoever touches a blob knows
afterwards whether it is there. The kernel frees the lock of a process that is killed; each blob
was removed or was not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import stat
import time
from collections.abc import Iterator, Mapping

from nbdock import settings
from nbdock.content.faults import storage_error
from nbdock.content.index import ImageIndex
from nbdock.content.store import BlobStore
from nbdock.errors import InvalidDigestError
from nbdock.oci import Digest

__all__ = ["UnusedBlob", "collect", "unused_blobs"]

_AT_A_TIME = 200
"""After how many removals others that wait for the lock have their turn."""


@dataclasses.dataclass(frozen=True, slots=True)
class UnusedBlob:
    """A blob that no image refers to."""

    digest: Digest
    size_bytes: int
    used_at_s: float
    """When it was last used, to half of `settings.prune_grace_s`. Seconds since 1970."""


def unused_blobs(store: BlobStore, *, unused_s: float = 0.0) -> tuple[UnusedBlob, ...]:
    """The blobs that no image refers to and nobody has used for a time, sorted by digest.

    Parameters
    ----------
    unused_s
        For how long; at least `settings.prune_grace_s`. Seconds.

    Raises
    ------
    ContentError
        Which images there are cannot be read.
    """
    return _Collector(store, unused_s).unused()


def collect(store: BlobStore, *, unused_s: float = 0.0) -> tuple[UnusedBlob, ...]:
    """Remove what `unused_blobs` gives; what was removed.

    Any number of processes may use the store, and collect, at the same time.

    Raises
    ------
    ContentError
        Which images there are cannot be read, or a blob cannot be removed. What was removed before
        stays so.
    """
    return _Collector(store, unused_s).collect()


class _Collector:
    def __init__(self, store: BlobStore, unused_s: float) -> None:
        limits = settings.current()
        home = os.fspath(store.home)
        self._blobs = os.path.join(home, "blobs")
        self._index = ImageIndex(
            home, os.path.join(home, "tmp"), limit_bytes=limits.json_limit_bytes
        )
        self._document_bytes = max(limits.json_limit_bytes, limits.registry_manifest_limit_bytes)
        self._before_s = time.time() - max(unused_s, limits.prune_grace_s)

    def unused(self) -> tuple[UnusedBlob, ...]:
        files = dict(self._files())
        fresh = {name for name, found in files.items() if found.st_mtime >= self._before_s}
        live = self._reached(self._index.digests() | fresh, files)
        unused = []
        for name in sorted(files.keys() - live):
            # What is no blob is somebody else's.
            with contextlib.suppress(InvalidDigestError):
                found = files[name]
                unused.append(UnusedBlob(Digest.parse(name), found.st_size, found.st_mtime))
        return tuple(unused)

    def collect(self) -> tuple[UnusedBlob, ...]:
        removed: list[UnusedBlob] = []
        while True:
            with self._index.locked():
                batch = self.unused()[:_AT_A_TIME]
                for blob in batch:
                    path = self._path(str(blob.digest))
                    try:
                        os.unlink(path)
                    except FileNotFoundError:
                        continue
                    except OSError as error:
                        raise storage_error(error, "delete a blob", path) from error
                    removed.append(blob)
            if len(batch) < _AT_A_TIME:
                return tuple(removed)

    def _path(self, name: str) -> str:
        return os.path.join(self._blobs, *name.split(":", 1))

    def _files(self) -> Iterator[tuple[str, os.stat_result]]:
        """Every file among the blobs, by its digest as text."""
        for algorithm in os.listdir(self._blobs):
            with (
                contextlib.suppress(NotADirectoryError),
                os.scandir(os.path.join(self._blobs, algorithm)) as entries,
            ):
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):
                        found = entry.stat(follow_symlinks=False)
                        if stat.S_ISREG(found.st_mode):
                            yield f"{algorithm}:{entry.name}", found

    def _reached(self, roots: set[str], files: Mapping[str, os.stat_result]) -> set[str]:
        """These digests, and all that documents among them lead to."""
        reached, ahead = set(roots), list(roots)
        while ahead:
            name = ahead.pop()
            if name in files and files[name].st_size <= self._document_bytes:
                new = self._named_in(name) - reached
                reached |= new
                ahead += new
        return reached

    def _named_in(self, name: str) -> set[str]:
        """The digests in a document; none if it is none."""
        try:
            with open(self._path(name), "rb", buffering=0) as file:
                first = file.read(1)
                document = json.loads(first + file.read()) if first == b"{" else None
        except (OSError, ValueError, RecursionError):
            return set()
        return _digests_in(document)


def _digests_in(document: object) -> set[str]:
    """Every ``digest`` in a document, wherever in it: of a kind not known here, too."""
    found: set[str] = set()
    ahead = [document]
    while ahead:
        part = ahead.pop()
        if isinstance(part, dict):
            digest = part.get("digest")
            if isinstance(digest, str):
                found.add(digest)
            ahead += part.values()
        elif isinstance(part, list):
            ahead += part
    return found
