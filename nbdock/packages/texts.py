"""Packages of one file each, from text: `text_file` and `script`.

They are nixpkgs' ``writeTextDir`` and ``writeScriptBin`` for images without a Nix store: the file
belongs to root and has the time of one second past the epoch, so that the same text gives the same
bytes everywhere. With ``store=True`` they are in the Nix store, as those of nixpkgs are.

    contents = [nbdock.script("hello", "echo hello"), nbdock.text_file("etc/motd", "welcome")]

A package whose place a cell puts into the text (``"exec ${pkgs.redis}/bin/redis-server"``) gets
into the image too.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence

from nbdock.calling import checked
from nbdock.errors import ArgumentTypeError
from nbdock.filetree import BytesContent, Entry, EntryKind
from nbdock.packages.files import named_packages
from nbdock.packages.package import Package

__all__ = ["TextPackage", "script", "text_file"]

_MTIME = 1


class TextPackage(Package):
    """A package of one file, at `path` in an image. Made by `text_file` and `script`."""

    version = ""
    root = "/"

    def __init__(
        self, name: str, path: bytes, data: bytes, mode: int, needs: tuple[Package, ...] = ()
    ) -> None:
        self.name = name
        self.needs = needs
        self._path = path
        self._data = data
        self._mode = mode
        # The places of what it needs stand in the text; but of two equal texts one may have lost
        # what was put into it, and they must not be taken for one package.
        places = [[need.name, need.root] for need in needs]
        facts = json.dumps([name, os.fsdecode(path), mode, *places]).encode() + b"\0"
        self._key = "text:" + hashlib.sha256(facts + data).hexdigest()

    @property
    def key(self) -> str:
        """The identity of name, place, mode and text."""
        return self._key

    @property
    def size_bytes(self) -> int:
        """Bytes of the text in UTF-8."""
        return len(self._data)

    def entries(self) -> Iterator[Entry]:
        """The directories that the file stands in, and the file."""
        parts = self._path.split(b"/")
        for count in range(1, len(parts)):
            yield Entry(
                b"/".join(parts[:count]), EntryKind.DIRECTORY, mode=0o755,
                mtime=_MTIME, uname="root", gname="root",
            )  # fmt: skip
        yield Entry(
            self._path, EntryKind.FILE, mode=self._mode, mtime=_MTIME, uname="root", gname="root",
            size_bytes=len(self._data), content=BytesContent(self._data),
        )  # fmt: skip


@checked
def text_file(
    path: str,
    text: str | bytes,
    *,
    name: str | None = None,
    mode: int = 0o644,
    needs: Sequence[Package] = (),
    store: bool = False,
) -> Package:
    r"""A package of one text file.

    Parameters
    ----------
    path
        Where the file stands in an image, from its root; a ``/`` at the beginning may be left out.
    text
        What is in it, written as UTF-8, exactly as it is; bytes are taken too.
    name
        The package's name; by default the last part of `path`.
    mode
        Permission bits; in the store only whether the file can be executed.
    needs
        Packages that must be in an image with it. Those that a cell put into the text are anyway;
        a Python f-string forgets what was put into it.
    store
        Whether the file stands below a path of the Nix store that is named after its content,
        instead of ``/``.

    Raises
    ------
    ArgumentTypeError
        A path that leads out of the image or names no file, or an argument of a wrong type.

    Examples
    --------
    >>> motd = text_file("etc/motd", "welcome\n")
    >>> [entry.path for entry in motd.entries()]
    [b'etc', b'etc/motd']
    >>> motd.name, motd.size_bytes
    ('motd', 8)
    """
    place = _checked_path(path)
    if isinstance(text, str):
        try:
            data = text.encode()
        except UnicodeEncodeError as error:
            raise ArgumentTypeError(
                f"The text of {path!r} has a character that is not Unicode text, at {error.start}.",
                argument="text",
                hint="Give bytes to write bytes.",
            ) from None
    elif isinstance(text, bytes):
        data = text
    else:
        raise ArgumentTypeError(
            f"The text of {path!r} must be a string, not {type(text).__name__}.", argument="text"
        )
    if isinstance(mode, bool) or not isinstance(mode, int) or not 0 <= mode <= 0o7777:
        raise ArgumentTypeError(
            f"The mode of {path!r} must be permission bits from 0 to 0o7777, not {mode!r}.",
            argument="mode",
            hint="0o644 is what files have, 0o755 what programs have.",
        )
    package = TextPackage(
        checked_name(name) if name is not None else place.rpartition("/")[2],
        place.encode("utf-8", "surrogateescape"), data, mode, _all_needs([text], needs),
    )  # fmt: skip
    if not store:
        return package
    from nbdock.packages.nix import stored

    return stored(package.name, package.entries(), needs=package.needs)


@checked
def script(
    name: str,
    text: str,
    *,
    interpreter: str = "/bin/sh",
    needs: Sequence[Package] = (),
    store: bool = False,
) -> Package:
    r"""A package of one program, ``/bin/<name>``, with the mode 0755.

    Parameters
    ----------
    name
        The program's name.
    text
        The script. One that begins with ``#!`` is taken as it is, any other gets a ``#!`` line.
    interpreter
        What the ``#!`` line names; it has to be in the image too.
    needs, store
        As for `text_file`.

    Raises
    ------
    ArgumentTypeError
        A name with a ``/`` in it, or an interpreter that is not an absolute path.

    Examples
    --------
    >>> hello = script("hello", "echo hello")
    >>> *_, program = hello.entries()
    >>> program.path, oct(program.mode), program.read()
    (b'bin/hello', '0o755', b'#!/bin/sh\necho hello')
    >>> f"{hello}/bin/hello"
    '/bin/hello'
    """
    checked_name(name)
    if not isinstance(text, str):
        raise ArgumentTypeError(
            f"The text of the script {name!r} must be a string, not {type(text).__name__}.",
            argument="text",
        )
    every = _all_needs([text], needs)
    if not text.startswith("#!"):
        if not interpreter.startswith("/") or "\n" in interpreter:
            raise ArgumentTypeError(
                f"The interpreter of the script {name!r} must be an absolute path, "
                f"not {interpreter!r}.",
                argument="interpreter",
                hint='For example "/usr/bin/python3", or "/usr/bin/env python3".',
            )
        every = _all_needs([interpreter, text], needs)
        text = f"#!{interpreter}\n{text}"
    return text_file(f"bin/{name}", text, name=name, mode=0o755, needs=every, store=store)


def _all_needs(texts: Sequence[str | bytes], needs: Sequence[Package]) -> tuple[Package, ...]:
    """The packages that were put into texts, and those that were named."""
    if not isinstance(needs, Sequence) or not all(isinstance(p, Package) for p in needs):
        raise ArgumentTypeError(
            f"needs must be a list of packages, not {needs!r:.60}.",
            argument="needs",
            hint="For example needs=[apt.bash].",
        )
    put_in = named_packages(text for text in texts if isinstance(text, str))
    return tuple(dict.fromkeys([*put_in, *needs]))


def checked_name(name: str) -> str:
    """The name of a package, which may stand in a file name; ArgumentTypeError if it may not."""
    if not isinstance(name, str) or not name or name in (".", "..") or not _is_plain(name, "/"):
        raise ArgumentTypeError(
            f"{name!r} cannot be the name of a package.",
            argument="name",
            hint="A name is text without slashes and control characters.",
        )
    return name


def _is_plain(text: str, refused: str = "") -> bool:
    return not any(c in refused or ord(c) < 32 or ord(c) == 127 for c in text)


def _checked_path(path: str) -> str:
    """A path in an image without its first slash."""
    if not isinstance(path, str):
        raise ArgumentTypeError(f"A path in an image must be text, not {path!r}.", argument="path")
    place = path.removeprefix("/")
    if not _is_plain(place) or any(part in ("", ".", "..") for part in place.split("/")):
        raise ArgumentTypeError(
            f"{path!r} cannot be the path of a file in an image.",
            argument="path",
            hint='Give the path from the root of the image, such as "etc/motd", without "..".',
        )
    return place
