"""Building .debs by hand, also such as dpkg-deb would never write."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import zstandard

CONTROL = """\
Package: hello
Version: 2.10-3
Architecture: amd64
Maintainer: Someone <someone@example.org>
Description: says hello
 and nothing else
"""

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
    ".bz2": bz2.compress,
    ".lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
}


def ar(*members: tuple[str, bytes], size: dict[str, int] | None = None) -> bytes:
    """An ar archive; `size` replaces what the headers say."""
    out = bytearray(b"!<arch>\n")
    for name, data in members:
        says = (size or {}).get(name, len(data))
        out += f"{name:16}{1:<12}{0:<6}{0:<6}{'100644':8}{says:<10}`\n".encode() + data
        out += b"\n" * (len(data) % 2)
    return bytes(out)


def info(name: str, **fields: object) -> tarfile.TarInfo:
    """A member of a tar: a directory if the name ends with a slash, else by its fields."""
    member = tarfile.TarInfo(name.rstrip("/"))
    member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
    member.mode = 0o755 if name.endswith("/") else 0o644
    member.mtime = 1_600_000_000
    member.uname = member.gname = "root"
    for field, value in fields.items():
        setattr(member, field, value)
    if member.linkname and member.type == tarfile.REGTYPE:
        member.type = tarfile.SYMTYPE
        member.mode = 0o777
    return member


def tar(members: Iterable[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """A tar as dpkg-deb writes it; PAX headers only where a member has some."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member, data in members:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def control_tar(control: str | None = CONTROL, md5sums: bytes | None = b"") -> bytes:
    """A control.tar with a control and an md5sums file; None leaves one out."""
    members = [(info("./"), b"")]
    if control is not None:
        members.append((info("./control"), control.encode()))
    members.append((info("./postinst", mode=0o755), b"#!/bin/sh\n"))
    if md5sums is not None:
        members.append((info("./md5sums"), md5sums))
    return tar(members)


def deb(
    data: Iterable[tuple[tarfile.TarInfo, bytes]] = (), *, control: bytes | None = None,
    suffix: str = ".xz",
) -> bytes:  # fmt: skip
    """A whole .deb of these files."""
    compress = COMPRESS[suffix]
    return ar(
        ("debian-binary", b"2.0\n"),
        ("control.tar" + suffix, compress(control_tar() if control is None else control)),
        ("data.tar" + suffix, compress(tar(data))),
    )


def write(directory: Path, data: bytes, name: str = "hello.deb") -> Path:
    path = directory / name
    path.write_bytes(data)
    return path
