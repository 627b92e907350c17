"""The blob store: an OCI image layout on disk that every room above reads and writes.

    store = BlobStore.default()
    with store.writer() as blob:
        blob.write(b"...")
        digest, size_bytes = blob.commit()
    store.has(digest, size_bytes)
    store.set_image("redis:latest", descriptor)

It is laid out as the OCI image layout specification says (``oci-layout``, ``blobs/sha256/<hex>``,
``index.json``), so ``skopeo inspect oci:<home>:redis:latest`` works. Blobs are written to ``tmp/``,
checked, and renamed: a blob is there whole or not at all, and several processes and threads may
write at once, even the same blob.

What happens when the power fails. A rename can reach the disk before the bytes do, so a blob
may come back short. Waiting for the disk (``fsync``) after every layer takes 1.5 to 5 times as long
as writing it, for data that can always be built or fetched again. So layers are not synced;
instead `has` takes the size that the descriptor tells, and a blob of another size does not count:
ext4, XFS and btrfs all record a file's new size only once the bytes below it are written. Small
documents (`add`) and the index are synced, and reading a document checks its digest.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from nbdock import settings
from nbdock.content.copying import copy_between
from nbdock.content.damage import BadBlob, problem_of
from nbdock.content.faults import is_read_only, storage_error
from nbdock.content.index import ImageIndex, StoredImage
from nbdock.content.temporary import TemporaryFile, sweep
from nbdock.content.writer import BlobWriter, Written
from nbdock.errors import (
    BlobNotFoundError,
    ContentError,
    DigestMismatchError,
    InvalidDigestError,
    SizeMismatchError,
)
from nbdock.oci import Descriptor, Digest

__all__ = ["BlobStore"]

_LAYOUT_VERSION = "1.0.0"


class BlobStore:
    """Blobs and image names in one directory.

    Guarantees: what `has`, `open` and `read` find was whole and verified when it was put there; no
    operation leaves a part of a file, whatever stops it; any number of processes and threads may
    use one directory together. A store is cheap to make and holds nothing open.

    Parameters
    ----------
    home
        The directory; made if it is not there. A directory that cannot be written serves reading.
        Default: `settings.home`.

    Raises
    ------
    ContentError
        The place cannot be used: a file, not writable and empty, or a layout of another version.
    """

    def __init__(self, home: str | os.PathLike[str] | None = None) -> None:
        current = settings.current()
        chosen = current.home if home is None else home
        self._home = os.path.abspath(os.fspath(chosen))
        self._blobs = os.path.join(self._home, "blobs")
        self._temporary = os.path.join(self._home, "tmp")
        self._fresh_s = current.prune_grace_s / 2
        self._index = ImageIndex(self._home, self._temporary, limit_bytes=current.json_limit_bytes)
        try:
            self._prepare()
        except OSError as error:
            if not (is_read_only(error) and os.path.isdir(self._blobs)):
                raise storage_error(error, "open the image store", self._home) from error

    @classmethod
    def default(cls) -> BlobStore:
        """The store in `settings.home`."""
        return cls()

    def _prepare(self) -> None:
        layout = os.path.join(self._home, "oci-layout")
        version = _layout_version(layout)
        if version is None:
            os.makedirs(os.path.join(self._blobs, "sha256"), exist_ok=True)
            os.makedirs(self._temporary, exist_ok=True)
            with TemporaryFile(self._temporary) as marker:
                marker.write(json.dumps({"imageLayoutVersion": _LAYOUT_VERSION}).encode())
                marker.publish(layout, mode=0o644, durable=True)
        elif version != _LAYOUT_VERSION:
            raise ContentError(
                f"{layout} is not that of an image layout nbdock knows (version: {version}).",
                path=layout,
                hint="Set NBDOCK_HOME to another directory, or move this one away.",
            )
        self._index.create()
        try:
            sweep(self._temporary)
        except FileNotFoundError:
            os.makedirs(self._temporary, exist_ok=True)

    @property
    def home(self) -> Path:
        """The directory of the store."""
        return Path(self._home)

    def __repr__(self) -> str:
        return f"BlobStore({self._home!r})"

    # Blobs

    def _place(self, digest: Digest) -> str:
        return f"{self._blobs}/{digest.algorithm}/{digest.hex}"

    def path_of(self, digest: Digest) -> Path:
        """Where the blob stands, or would stand. The file is read-only: never write to it."""
        return Path(self._place(digest))

    def has(self, digest: Digest, size_bytes: int | None = None) -> bool:
        """Whether the blob is here, and of that size; give the size wherever it is known.

        One that is here stays for `settings.prune_grace_s`, even if no image refers to it.
        """
        place = self._place(digest)
        try:
            found = os.stat(place)
        except OSError:
            return False
        if not stat.S_ISREG(found.st_mode) or size_bytes not in (None, found.st_size):
            return False
        return self._stays(place, found)

    def _stays(self, place: str, found: os.stat_result) -> bool:
        """Whether a blob that was there is; it is not collected soon."""
        return time.time() - found.st_mtime < self._fresh_s or self._index.touch(place)

    def size_of(self, digest: Digest) -> int:
        """The blob's size in bytes.

        Raises
        ------
        BlobNotFoundError
            There is no such blob.
        """
        try:
            return os.stat(self._place(digest)).st_size
        except OSError as error:
            raise self._unreadable(error, digest) from error

    def open(self, digest: Digest) -> BinaryIO:
        """The blob as a seekable file, which the caller closes.

        Raises
        ------
        BlobNotFoundError
            There is no such blob.
        """
        try:
            file = open(self._place(digest), "rb")  # noqa: SIM115 - the caller closes it
        except OSError as error:
            raise self._unreadable(error, digest) from error
        self._stays(self._place(digest), os.fstat(file.fileno()))
        return file

    def read(self, digest: Digest, *, limit_bytes: int | None = None) -> bytes:
        """The whole of a small blob, its digest checked.

        Parameters
        ----------
        limit_bytes
            The largest size accepted. Default: `settings.json_limit_bytes`.

        Raises
        ------
        BlobNotFoundError
            There is no such blob.
        SizeMismatchError
            It is larger than the limit.
        DigestMismatchError
            The file was changed since it was put here.
        """
        limit = settings.current().json_limit_bytes if limit_bytes is None else limit_bytes
        with self.open(digest) as file:
            actual = os.fstat(file.fileno()).st_size
            # Not the limit itself: as many bytes would be set aside, however small the blob.
            data = file.read(min(actual, limit) + 1)
            if len(data) > limit:
                raise SizeMismatchError(
                    f"The blob {digest} has {actual} bytes, more than the {limit} that a document "
                    "may have.",
                    expected_bytes=limit,
                    actual_bytes=actual,
                    digest=str(digest),
                    hint="If it is a document all the same, raise the setting json_limit_bytes.",
                )
        self._check(digest, Digest.of(data, algorithm=digest.algorithm))
        return data

    def add(self, data: bytes | bytearray | memoryview, *, algorithm: str = "sha256") -> Digest:
        """Put a small document into the store; its digest. On the disk when this returns.

        Raises
        ------
        StorageFullError
            The disk is full; nothing is left.
        """
        digest = Digest.of(data, algorithm=algorithm)
        with contextlib.suppress(OSError), open(self._place(digest), "rb") as present:
            if present.read(len(data) + 1) == data:
                return digest
        with self.writer(algorithm=algorithm, durable=True) as blob:
            blob.write(data)
            return blob.commit().digest

    def writer(self, *, algorithm: str = "sha256", durable: bool = False) -> BlobWriter:
        """A blob to be written piece by piece; use it in a ``with`` block.

        Parameters
        ----------
        algorithm
            What the blob is named by: sha256 or sha512.
        durable
            Wait at `commit` until the bytes are on the disk.
        """
        return BlobWriter(self._temporary, self._place, algorithm, durable=durable)

    def copy_blob_to(self, digest: Digest, fd: int, *, size_bytes: int | None = None) -> int:
        """Copy a blob to an open file at its position, in the kernel; the count of bytes.

        Parameters
        ----------
        fd
            A file, pipe or socket in blocking mode. Flush a buffered file object first.
        size_bytes
            The size that the blob is expected to have.

        Raises
        ------
        BlobNotFoundError
            There is no such blob.
        SizeMismatchError
            It is shorter or longer than expected; if it is seen at once, nothing is copied.
        StorageFullError
            The target's disk is full.
        """
        with self.open(digest) as file:
            source = file.fileno()
            actual = os.fstat(source).st_size
            expected = actual if size_bytes is None else size_bytes
            try:
                copied = copy_between(source, fd, actual) if actual == expected else 0
            except OSError as error:
                raise storage_error(error, f"copy {digest} out of", self._home) from error
        if actual != expected or copied != actual:
            raise SizeMismatchError(
                f"The blob {digest} should have {expected} bytes; it has {actual}.",
                expected_bytes=expected,
                actual_bytes=actual,
                digest=str(digest),
                hint="The store was damaged from outside; delete the blob and build again.",
            )
        return copied

    def delete(self, digest: Digest) -> bool:
        """Remove a blob; whether it was there. Who has it open can still read it."""
        try:
            os.unlink(self._place(digest))
        except FileNotFoundError:
            return False
        except OSError as error:
            raise storage_error(error, "delete a blob", self._place(digest)) from error
        return True

    def blobs(self) -> Iterator[Written]:
        """Every blob with its size, sorted by digest."""
        for digest, path in self._files():
            if digest is not None:
                with contextlib.suppress(OSError):
                    yield Written(digest, os.stat(path).st_size)

    def verify(self, digests: Iterable[Digest] | None = None) -> Iterator[BadBlob]:
        """Read blobs again, and yield those that are not what their names say.

        Parameters
        ----------
        digests
            Which to check; one that is missing is bad. Default: every file under ``blobs/``.
        """
        files: Iterable[tuple[Digest | None, str]]
        files = self._files() if digests is None else ((d, self._place(d)) for d in digests)
        for digest, path in files:
            problem = problem_of(digest, path)
            if problem:
                yield BadBlob(Path(path), digest, problem)

    def _files(self) -> Iterator[tuple[Digest | None, str]]:
        for algorithm in _listed(self._blobs):
            for name in _listed(os.path.join(self._blobs, algorithm)):
                path = f"{self._blobs}/{algorithm}/{name}"
                try:
                    yield Digest(algorithm, name), path
                except InvalidDigestError:
                    yield None, path

    def _check(self, digest: Digest, actual: Digest) -> None:
        if actual != digest:
            raise DigestMismatchError(
                f"The blob {digest} was damaged: its bytes are {actual}.",
                digest=str(digest),
                actual=str(actual),
                path=self._place(digest),
                hint="Delete it from the store, and build or fetch the image again.",
            )

    def _unreadable(self, error: OSError, digest: Digest) -> ContentError:
        path = self._place(digest)
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return BlobNotFoundError(
                f"There is no blob {digest} in the store {self._home}.",
                digest=str(digest),
                path=path,
                hint="Build or pull the image again.",
            )
        return ContentError(
            f"Cannot read the blob {digest}: {error.strerror}.", digest=str(digest), path=path
        )

    # Image names

    def set_image(self, name: str, descriptor: Descriptor) -> None:
        """Let `name` stand for the manifest or index that `descriptor` describes.

        Raises
        ------
        InvalidReferenceError
            The name is empty or holds blanks.
        """
        self._index.set(name, descriptor)

    def get_image(self, name: str) -> Descriptor | None:
        """What `name` stands for, as it was set; None if the name is not known."""
        return self._index.get(name)

    def remove_image(self, name: str) -> bool:
        """Forget a name; whether it was known. Its blobs stay."""
        return self._index.remove(name)

    def images(self) -> tuple[StoredImage, ...]:
        """Every named image, in the order in which the names were first set."""
        return self._index.images()


def _layout_version(path: str) -> str | None:
    """What an ``oci-layout`` file says; None if there is no such file."""
    try:
        with open(path, "rb") as file:
            return str(json.loads(file.read(4096))["imageLayoutVersion"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError):
        return "unreadable"


def _listed(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
