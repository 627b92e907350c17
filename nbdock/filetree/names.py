r"""Judges the names in an archive and brings them to the form that entries have.

A name may begin with ``/`` or ``./`` and have ``.`` or empty parts: they are dropped, as every
unpacker drops them. A ``..`` part could lead outside, and no honest tool writes one into a layer,
so it is refused wherever it stands, and so are names with a NUL byte and empty names. Any other
byte is allowed. Nothing is ever looked up on the host.

    >>> normal_name(b"./usr//bin/./sh"), normal_name(b"/"), normal_name(b"a\xff\n/")
    (b'usr/bin/sh', b'', b'a\xff\n')
"""

from __future__ import annotations

import os

from nbdock.errors import UnsafePathError

__all__ = ["normal_name"]


def normal_name(name: bytes, *, offset: int | None = None) -> bytes:
    """The path of an entry: relative, without ``.`` and empty parts; ``b""`` for the root.

    Raises
    ------
    UnsafePathError
        An empty name, a NUL byte, or a ``..`` part; `offset` is told to the reader.
    """
    path = name[2:] if name[:2] == b"./" else name
    if path[-1:] == b"/":
        path = path[:-1]
    # Nearly every name is in order by now; whatever has "/." or "//" or begins with "." or "/",
    # hidden files among them, takes the slow way.
    if b"/." not in path and b"//" not in path and path[:1] not in b"./" and b"\0" not in path:
        return path
    if not name:
        raise UnsafePathError("A name in the archive is empty.", path=name, offset=offset)
    if b"\0" in name:
        raise UnsafePathError(
            f"The name {os.fsdecode(name)!r} in the archive has a NUL byte.",
            path=name, offset=offset,
        )  # fmt: skip
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise UnsafePathError(
            f"The name {os.fsdecode(name)!r} in the archive leads outside of it.",
            path=name,
            offset=offset,
            hint="Do not trust this archive: an honest tool writes no '..' into a layer.",
        )
    return b"/".join(parts)
