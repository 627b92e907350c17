"""One thing in a layer: a file, directory, link or device, with a way to read its content.

Everything that can fill a layer is an iterator of entries: a directory on the host, a .deb, a NAR,
a tar. Owners, setuid bits and devices survive because nothing is ever unpacked.

    >>> from nbdock.filetree import BytesContent, Entry, EntryKind
    >>> hello = Entry(b"etc/motd", EntryKind.FILE, content=BytesContent(b"hi"), size_bytes=2)
    >>> hello.read()
    b'hi'
"""

from __future__ import annotations

import dataclasses
import enum
import os
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from nbdock.errors import ArchiveError, SizeMismatchError

__all__ = ["NO_XATTRS", "BytesContent", "Content", "Entry", "EntryKind", "FileContent"]

NO_XATTRS: Mapping[str, bytes] = MappingProxyType({})
"""The extended attributes of nearly every entry: none."""


# A name that was listed as a file may be a symlink or a FIFO by now: neither follow nor wait.
_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class EntryKind(enum.Enum):
    """What an entry is."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    HARDLINK = "hardlink"
    CHARACTER_DEVICE = "character device"
    BLOCK_DEVICE = "block device"
    FIFO = "fifo"


class Content(Protocol):
    """The bytes of a file entry."""

    def chunks(self) -> Iterator[bytes | memoryview]:
        """The bytes, piece by piece; a piece is valid only until the next one is asked for."""
        ...


class _EntryDraft:
    """An entry while its attributes are set (see `Entry.__new__`): the same slots, not frozen."""

    __slots__ = (
        "content", "device_major", "device_minor", "gid", "gname", "kind", "linkname", "mode",
        "mtime", "path", "size_bytes", "target", "uid", "uname", "xattrs",
    )  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True, init=False)
class Entry:
    """A file, directory, link or device of a tree.

    Attributes
    ----------
    path
        Any bytes but NUL, relative to the tree, parts joined by ``/``; no leading ``/`` or ``./``,
        no ``.``, ``..`` or empty parts. ``b""`` is the root of the tree itself.
    mode
        Permission bits with setuid, setgid and sticky (``0o7777``); the kind is not in it.
    size_bytes
        Length of the content of a file; 0 for everything else.
    mtime
        Seconds since the epoch.
    linkname
        What a symlink points to, as it stands in it; the path of a hardlink's target, as `path`.
    xattrs
        Extended attributes by full name (``security.capability``).
    content
        How to read a file's bytes. What comes from a stream can be read once, before the next
        entry is asked for.
    target
        The file that a hardlink is a second name of, bound when the hardlink was parsed: what
        happens to the target's path later does not change what this name holds.
    """

    path: bytes
    kind: EntryKind
    mode: int
    uid: int
    gid: int
    size_bytes: int
    mtime: int | float
    uname: str
    gname: str
    linkname: bytes
    device_major: int
    device_minor: int
    xattrs: Mapping[str, bytes] = dataclasses.field(hash=False)
    content: Content | None = dataclasses.field(hash=False)
    target: Entry | None

    def __new__(  # noqa: D102
        cls,
        path: bytes,
        kind: EntryKind,
        mode: int = 0o644,
        uid: int = 0,
        gid: int = 0,
        size_bytes: int = 0,
        mtime: int | float = 0,
        uname: str = "",
        gname: str = "",
        linkname: bytes = b"",
        device_major: int = 0,
        device_minor: int = 0,
        xattrs: Mapping[str, bytes] = NO_XATTRS,
        content: Content | None = None,
        target: Entry | None = None,
    ) -> Entry:
        # The __init__ of a frozen dataclass calls object.__setattr__ once per field, which costs
        # four times as much as the rest of a directory's listing. A draft with the same slots
        # takes plain assignments and then becomes an Entry.
        self: Any = object.__new__(_EntryDraft)
        self.path = path
        self.kind = kind
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.size_bytes = size_bytes
        self.mtime = mtime
        self.uname = uname
        self.gname = gname
        self.linkname = linkname
        self.device_major = device_major
        self.device_minor = device_minor
        self.xattrs = xattrs
        self.content = content
        self.target = target
        self.__class__ = cls
        return self  # type: ignore[no-any-return]

    def __reduce__(self) -> tuple[Any, ...]:
        # A mapping proxy cannot be pickled: a dict, or None for the default, stands for it.
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        fields["xattrs"] = dict(self.xattrs) or None
        return Entry._restored, (fields,)

    @staticmethod
    def _restored(fields: dict[str, Any]) -> Entry:
        fields["xattrs"] = fields["xattrs"] or NO_XATTRS
        return Entry(**fields)

    def read(self) -> bytes:
        """The whole content of a file, for files known to be small."""
        if self.content is None:
            raise ArchiveError(f"{os.fsdecode(self.path)!r} is a {self.kind.value}: no content.")
        # A piece may be a view of a buffer that the next piece overwrites.
        return b"".join(map(bytes, self.content.chunks()))


@dataclasses.dataclass(frozen=True, slots=True)
class BytesContent:
    """Content that is in memory."""

    data: bytes

    def chunks(self) -> Iterator[bytes]:
        """The data, in one piece."""
        yield self.data


@dataclasses.dataclass(frozen=True, slots=True)
class FileContent:
    """The content of a file on the host, read when asked for, in pieces of a bounded size."""

    path: bytes
    size_bytes: int

    def chunks(self) -> Iterator[memoryview]:
        """The first `size_bytes` bytes of the file.

        Raises
        ------
        SizeMismatchError
            The file has become shorter or longer since it was listed.
        ArchiveError
            The file cannot be read.
        """
        left = self.size_bytes
        # One byte more than is due: a file that has grown shows itself by it.
        buffer = memoryview(bytearray(min(left, 1 << 20) + 1))
        descriptor = self.open()
        try:
            while True:
                try:
                    count = os.readv(descriptor, (buffer[: left + 1],))
                except OSError as error:
                    raise self.unreadable(error) from error
                if not count or count > left:
                    break
                left -= count
                yield buffer[:count]
        finally:
            os.close(descriptor)
        if left or count:
            raise self.changed(left, longer=count > left)

    def open(self) -> int:
        """A descriptor of the file, for the caller to close; a symlink is not followed.

        Raises
        ------
        ArchiveError
            The file cannot be opened.
        """
        try:
            return os.open(self.path, _OPEN_FLAGS)
        except OSError as error:
            raise self.unreadable(error) from error

    def unreadable(self, error: OSError) -> ArchiveError:
        """The error that says that the host does not let us read the file."""
        return ArchiveError(
            f"{os.fsdecode(self.path)!r} cannot be read: {error.strerror}.",
            hint="Run the cell again when nothing writes to the directory."
            if isinstance(error, FileNotFoundError)
            else "Make it readable for this user, or leave it out.",
        )

    def changed(self, left: int, *, longer: bool) -> SizeMismatchError:
        """The error that says that the file has another size now; `left` bytes were not there."""
        return SizeMismatchError(
            f"{os.fsdecode(self.path)!r} changed while it was read: "
            f"{self.size_bytes} bytes when listed, now {'more' if longer else 'fewer'}.",
            expected_bytes=self.size_bytes,
            actual_bytes=self.size_bytes + 1 if longer else self.size_bytes - left,
            path=os.fsdecode(self.path),
            hint="Run the cell again when nothing writes to the directory.",
        )
