"""Reads NARs, Nix's archives, as entries: strictly, as they pass, in bounded memory.

A NAR says only what Nix keeps of a tree: names, contents, what can be executed, and where symlinks
point. All else is as in a store: modes 0555 and 0444, the time 1, and root as the owner. There is
one NAR for a tree, so whatever another could say in the same place (names that are not sorted,
bytes in the padding, a second "executable") is an error here, as are names that lead outside.

>>> import io
>>> from nbdock.filetree import BytesContent, Entry, EntryKind
>>> from nbdock.packages.nix.narwriter import write_nar
>>> nar = io.BytesIO()
>>> hello = Entry(b"", EntryKind.FILE, size_bytes=2, content=BytesContent(b"hi"))
>>> _ = write_nar([hello], nar.write)
>>> [(entry.path, oct(entry.mode), entry.read()) for entry in read_nar([nar.getvalue()])]
[(b'', '0o444', b'hi')]
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NoReturn

from nbdock.errors import ArchiveError, TruncatedArchiveError, UnsafePathError
from nbdock.filetree import ByteSource, Entry, EntryKind, FileSource, StreamSource

__all__ = ["nar_text", "read_nar"]

PATH_LIMIT_BYTES = 4095
"""The longest path and symlink target; Linux has no longer ones. Bytes."""

_MTIME = 1
_TOKEN_BYTES = 16


def nar_text(text: bytes) -> bytes:
    """A text as it stands in a NAR: its length, the text, and zeros up to a multiple of 8."""
    return len(text).to_bytes(8, "little") + text + bytes(-len(text) % 8)


_OPEN, _CLOSE, _ENTRY = nar_text(b"("), nar_text(b")"), nar_text(b"entry")
_REGULAR, _CONTENTS = nar_text(b"regular"), nar_text(b"contents")
_SYMLINK, _TARGET = nar_text(b"symlink"), nar_text(b"target")
# These two are longer than a token: its 16 bytes tell them from all others, the rest must follow.
_DIRECTORY, _DIRECTORY_REST = nar_text(b"directory")[:16], nar_text(b"directory")[16:]
_EXECUTABLE = nar_text(b"executable")[:16]
_EXECUTABLE_REST = nar_text(b"executable")[16:] + nar_text(b"") + _CONTENTS
_BEGINNING = nar_text(b"nix-archive-1") + _OPEN + nar_text(b"type")
_BEFORE_NAME = _OPEN + nar_text(b"name")
_AFTER_NAME = nar_text(b"node") + _OPEN + nar_text(b"type")


def read_nar(source: BinaryIO | Path | str | bytes | Iterable[bytes]) -> Iterator[Entry]:
    """The entries of a NAR, the root (``b""``) first, the names in a directory sorted as bytes.

    The root may be a directory, a file or a symlink. The source is read to its end: whoever hashes
    the pieces as they are taken has hashed the whole NAR when the last entry was given.

    Parameters
    ----------
    source
        A binary file object, a path, or the NAR in pieces. From a path, contents can be read at any
        time and again; from anything else once, before the next entry is asked for.

    Raises
    ------
    TruncatedArchiveError
        The NAR ends too early, or announces more than there is.
    UnsafePathError
        A name is empty, ``.`` or ``..``, or has a ``/`` or a NUL byte in it.
    ArchiveError
        Anything else that Nix would not have written: unsorted or repeated names, padding that is
        not zero, bytes after the end, a path longer than Linux allows.
    """
    if isinstance(source, Path | str | bytes):
        file = FileSource(os.fsencode(source))
        try:
            yield from _Reader(file).entries()
        finally:
            file.close()
    else:
        yield from _Reader(StreamSource(source)).entries()


class _Reader:
    """The state of one NAR: where it is read from."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source

    def entries(self) -> Iterator[Entry]:
        self._expect(_BEGINNING, hint="It is no NAR; or it is compressed.")
        path = b""
        # What is open, the root first: the directory's path, with a slash, and its last name.
        # A list, and not a call for each, so that no depth is too deep for Python.
        opened: list[tuple[bytes, bytes]] = []
        while True:
            kind = self._token()
            if kind == _DIRECTORY:
                self._expect(_DIRECTORY_REST)
                yield Entry(path, EntryKind.DIRECTORY, mode=0o555, mtime=_MTIME)
                opened.append((path + b"/" if path else b"", b""))
            elif kind == _REGULAR:
                mode, size = self._file_header()
                content = self._source.content(size)
                yield Entry(
                    path, EntryKind.FILE, mode=mode, size_bytes=size, mtime=_MTIME, content=content
                )
                content.close()
                self._expect(bytes(-size % 8) + _CLOSE)
                if opened:
                    self._expect(_CLOSE)
            elif kind == _SYMLINK:
                target = self._symlink_target()
                yield Entry(path, EntryKind.SYMLINK, mode=0o777, mtime=_MTIME, linkname=target)
                if opened:
                    self._expect(_CLOSE)
            else:
                raise self._strange(kind)
            while opened:
                token = self._token()
                if token == _ENTRY:
                    break
                if token != _CLOSE:
                    raise self._strange(token)
                opened.pop()
                if opened:
                    self._expect(_CLOSE)
            else:
                self._end()
                return
            prefix, last_name = opened[-1]
            name = self._name(prefix, last_name)
            opened[-1] = (prefix, name)
            path = prefix + name

    def _token(self) -> bytes:
        """The next 16 bytes, which tell what comes."""
        token = self._source.read(_TOKEN_BYTES)
        if len(token) < _TOKEN_BYTES:
            raise self._truncated()
        return token

    def _expect(self, wanted: bytes, *, hint: str | None = None) -> None:
        found = self._source.read(len(wanted))
        if found != wanted:
            self._refuse(found, wanted, hint)

    def _refuse(self, found: bytes, wanted: bytes, hint: str | None = None) -> NoReturn:
        if wanted.startswith(found):
            raise self._truncated()
        raise self._strange(found, hint)

    def _file_header(self) -> tuple[int, int]:
        """The mode of a file, and its length."""
        mode, token = 0o444, self._token()
        if token == _EXECUTABLE:
            self._expect(_EXECUTABLE_REST)
            mode, token = 0o555, _CONTENTS
        if token != _CONTENTS:
            raise self._strange(token)
        return mode, self._number()

    def _number(self) -> int:
        data = self._source.read(8)
        if len(data) < 8:
            raise self._truncated()
        return int.from_bytes(data, "little")

    def _symlink_target(self) -> bytes:
        self._expect(_TARGET)
        target = self._text(_CLOSE)
        if not target or b"\0" in target:
            raise UnsafePathError(
                f"A symlink in the NAR leads to {os.fsdecode(target)!r}.",
                path=target,
                offset=self._source.offset,
            )
        return target

    def _name(self, prefix: bytes, last_name: bytes) -> bytes:
        """The next name in a directory."""
        offset = self._source.offset
        self._expect(_BEFORE_NAME)
        name = self._text(_AFTER_NAME)
        if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
            raise UnsafePathError(
                f"{os.fsdecode(name)!r} in the NAR is not the name of a file.",
                path=name,
                offset=offset,
                hint="Do not trust this archive: Nix writes no such name.",
            )
        if name <= last_name:
            fault = "twice" if name == last_name else f"after {os.fsdecode(last_name)!r}"
            raise ArchiveError(
                f"The name {os.fsdecode(prefix + name)!r} stands {fault} in the NAR, whose names "
                f"must be sorted.",
                offset=offset,
            )
        if len(prefix) + len(name) > PATH_LIMIT_BYTES:
            raise ArchiveError(
                f"A path in the NAR is longer than {PATH_LIMIT_BYTES} bytes: "
                f"{os.fsdecode(prefix[:80])!r}...",
                offset=offset,
            )
        return name

    def _text(self, following: bytes) -> bytes:
        """A short text, after whose padding `following` must come."""
        offset = self._source.offset
        length = self._number()
        if length > PATH_LIMIT_BYTES:
            raise ArchiveError(
                f"The NAR announces a name of {length} bytes at byte {offset}; "
                f"{PATH_LIMIT_BYTES} are allowed.",
                offset=offset,
            )
        wanted = bytes(-length % 8) + following
        data = self._source.read(length + len(wanted))
        if len(data) < length:
            raise self._truncated()
        if data[length:] != wanted:
            self._refuse(data[length:], wanted)
        return data[:length]

    def _end(self) -> None:
        offset = self._source.offset
        if self._source.read(1):
            raise ArchiveError(f"The NAR goes on after its end at byte {offset}.", offset=offset)

    def _truncated(self) -> TruncatedArchiveError:
        offset = self._source.offset
        return TruncatedArchiveError(
            f"The NAR ends at byte {offset}, before its content does.",
            offset=offset,
            hint="Fetch or write it again.",
        )

    def _strange(self, found: bytes, hint: str | None = None) -> ArchiveError:
        offset = self._source.offset - len(found)
        return ArchiveError(
            f"The NAR has {found[:32]!r} at byte {offset}, where Nix would not have written it.",
            offset=offset,
            hint=hint,
        )
