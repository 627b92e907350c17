"""Which compression a stream has, and what it is called.

    >>> detect(bytes.fromhex("1f8b0800"))
    'gzip'
    >>> codec_of_name("data.tar.zst"), codec_named("gz")
    ('zstd', 'gzip')

Which libraries do the work, and why. Measured on two cores of an AMD EPYC with 300 MB of
``/usr`` as tar, as ratios within one run (bigger is better):

==============================  ========================================================
gunzip, against ``gzip -dc``    isal 3.4, zlib-ng 2.9, Python's own zlib about 0.7
gzip, against ``pigz -p2 -6``   zlib-ng in blocks on two threads, level 6: 1.9 to 2.3
zstd -d, against ``zstd -dc``   zstandard 1.1, backports.zstd 1.1
zstd -3, against ``zstd -T2``   zstandard 1.0
==============================  ========================================================

isal only decompresses: it would compress fastest, but to bytes that depend on the processor. Under
qemu-user, its levels 0 to 2 gave other bytes on a CPU without SSE 4.2 than with it, and level 3
others again without AVX2. zlib-ng 2.3 gave the same bytes at levels 1 to 9 on all of them
(``qemu64``, ``Nehalem``, ``Haswell``, ``max``), and so did zstandard; a test repeats this.

zstandard carries its own libzstd, the same on every Python. The ``compression.zstd`` of Python 3.14
(backports.zstd before) is as fast, but uses whatever libzstd the interpreter was linked with, with
or without threads: the bytes of a layer would depend on that.

xz and bzip2 are only read (packages use them); the standard library's modules do that.
"""

from __future__ import annotations

import os
from typing import Final, Literal, TypeAlias

from nbdock.errors import ArgumentTypeError, nearest

__all__ = ["Codec", "codec_named", "codec_of_name", "detect"]

Codec: TypeAlias = Literal["none", "gzip", "zstd", "xz", "bzip2"]
"""A compression that nbdock reads; it writes the first three."""

MAGIC_BYTES: Final = 6
"""How many bytes `detect` needs to see."""

_NAMES: Final[dict[str, Codec]] = {
    "none": "none", "": "none", "tar": "none",
    "gzip": "gzip", "gz": "gzip", "tgz": "gzip",
    "zstd": "zstd", "zst": "zstd", "tzst": "zstd",
    "xz": "xz", "txz": "xz",
    "bzip2": "bzip2", "bz2": "bzip2", "tbz": "bzip2", "tbz2": "bzip2",
}  # fmt: skip

_MAGICS: Final[tuple[tuple[bytes, Codec], ...]] = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"BZh", "bzip2"),
)


def detect(head: bytes) -> Codec:
    """The compression of a stream that begins with `head` (`MAGIC_BYTES` bytes or all of it)."""
    for magic, codec in _MAGICS:
        if head.startswith(magic):
            # "BZh" is text too; bzip2 goes on with a block size, and a tar's name seldom does.
            if codec == "bzip2" and not b"1" <= head[3:4] <= b"9":
                continue
            return codec
    # A zstd stream may begin with a frame to skip.
    if head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F:
        return "zstd"
    return "none"


def codec_named(name: str) -> Codec:
    """The codec that `name` means: ``gz`` and ``gzip``, ``zst`` and ``zstd``, ...

    Raises
    ------
    ArgumentTypeError
        No such codec; the hint names the nearest.
    """
    try:
        return _NAMES[name.lower()]
    except (KeyError, AttributeError):
        known = ("none", "gzip", "zstd", "xz", "bzip2")
        close = nearest(str(name), known)
        raise ArgumentTypeError(
            f"There is no compression {name!r}.",
            argument="codec",
            hint=f"Did you mean {close[0]}?" if close else f"There are: {', '.join(known)}.",
        ) from None


def codec_of_name(path: str | os.PathLike[str]) -> Codec:
    """The codec that a file's suffix announces; ``none`` if it announces none."""
    name = os.path.basename(os.fspath(path))
    suffix = name.rpartition(".")[2].lower() if "." in name else ""
    return _NAMES.get(suffix, "none")
