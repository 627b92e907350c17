r"""Bytes as text for tables: names, digests.

A name in a layer is any bytes. Those that are UTF-8 stand as they are; in the others each byte that
does not fit stands as ``\xff``. So every name can be shown and filtered, and tables compare by the
bytes, never by the text.

>>> import pyarrow as pa
>>> to_text(pa.array([b"caf\xc3\xa9", b"\xff", None], pa.large_binary())).to_pylist()
['café', '\\xff', None]
>>> to_paths(pa.array([b"etc/motd", b""], pa.large_binary())).to_pylist()
['/etc/motd', '/']
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["to_digests", "to_paths", "to_text"]

_HEX = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), np.uint8).reshape(256, 2)
_PREFIX = np.frombuffer(b"sha256:", np.uint8)


def to_text(data: pa.Array) -> pa.Array:
    """Bytes as text; what is missing stays missing."""
    import pyarrow as pa

    if pa.types.is_dictionary(data.type):
        data = data.cast(data.type.value_type)
    try:
        return data.cast(pa.large_string())
    except pa.ArrowInvalid:
        texts = [
            None if v is None else v.decode("utf-8", "backslashreplace") for v in data.to_pylist()
        ]
        return pa.array(texts, pa.large_string())


def to_paths(data: pa.LargeBinaryArray) -> pa.Array:
    """Paths of a tree as absolute paths."""
    import pyarrow as pa
    import pyarrow.compute as pc

    slash, nothing = (pa.scalar(text, pa.large_binary()) for text in (b"/", b""))
    return to_text(pc.binary_join_element_wise(nothing, data, slash))


def to_digests(data: pa.FixedSizeBinaryArray) -> pa.Array:
    """SHA-256 sums as ``sha256:<hex>``; what is missing stays missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    count = len(data)
    sums = pc.fill_null(data, bytes(32)).buffers()[1]
    text = np.empty((count, len(_PREFIX) + 64), np.uint8)
    text[:, : len(_PREFIX)] = _PREFIX
    if count:
        known = np.frombuffer(sums, np.uint8)[: count * 32].reshape(count, 32)
        text[:, len(_PREFIX) :] = _HEX[known].reshape(count, 64)
    offsets = np.arange(count + 1, dtype=np.int64) * text.shape[1]
    array = pa.LargeStringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(text))
    return pc.if_else(data.is_valid(), array, pa.scalar(None, pa.large_string()))
