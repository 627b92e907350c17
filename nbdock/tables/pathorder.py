r"""Paths in the order of a tree: what is below a path is one range of numbers.

>>> import pyarrow as pa
>>> order = PathOrder(pa.array([b"a/b", b"a-b", b"a", b"a/b"], pa.large_binary()))
>>> order.numbers.tolist()
[1, 2, 0, 1]
>>> order.ends([0])
{0: 2}

Sorted with ``/`` as the lowest byte (NUL, which no path has), everything below a directory follows
it at once. So a million paths are sorted once, and from then on a tree is arithmetic on numbers.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["PathOrder"]

_SEPARATOR = b"\0"


class PathOrder:
    """The distinct paths among some, numbered in the order of a tree; ``b""`` is its root.

    Attributes
    ----------
    numbers
        The number of each of the paths that were given.
    count
        How many distinct paths there are.
    """

    def __init__(self, paths: pa.LargeBinaryArray) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        encoded = pc.dictionary_encode(paths)
        distinct = encoded.dictionary
        offsets, data = _buffers(distinct)
        data = data.copy()
        data[data == ord("/")] = 0
        keys = pa.LargeBinaryArray.from_buffers(
            pa.large_binary(), len(distinct), [None, pa.py_buffer(offsets), pa.py_buffer(data)]
        )
        order = pc.array_sort_indices(keys)
        ranks = np.empty(len(keys), np.int64)
        ranks[order.to_numpy()] = np.arange(len(keys))
        self.numbers: npt.NDArray[np.int64] = (
            ranks[encoded.indices.to_numpy()] if len(paths) else np.empty(0, np.int64)
        )
        self.count = len(keys)
        self._offsets, self._data = _buffers(keys.take(order))

    @functools.cached_property
    def _text(self) -> bytes:
        return self._data.tobytes()

    def _key(self, number: int) -> bytes:
        return self._text[self._offsets[number] : self._offsets[number + 1]]

    @functools.cached_property
    def depths(self) -> npt.NDArray[np.int64]:
        """How deep each path is: 0 for the root, 1 for what is in it."""
        before = np.searchsorted(np.flatnonzero(self._data == 0), self._offsets)
        return np.diff(before) + (np.diff(self._offsets) > 0)

    def path(self, number: int) -> bytes:
        """The path that has a number."""
        return self._key(number).replace(_SEPARATOR, b"/")

    def find(self, path: bytes) -> int | None:
        """The number of a path; None if it is not among them."""
        key = path.replace(b"/", _SEPARATOR)
        low, high = 0, self.count
        while low < high:
            middle = (low + high) // 2
            if self._key(middle) < key:
                low = middle + 1
            else:
                high = middle
        return low if low < self.count and self._key(low) == key else None

    def paths(self) -> pa.LargeBinaryArray:
        """All paths, by number."""
        import pyarrow as pa

        data = self._data.copy()
        data[data == 0] = ord("/")
        buffers = [None, pa.py_buffer(self._offsets), pa.py_buffer(data)]
        return pa.LargeBinaryArray.from_buffers(pa.large_binary(), self.count, buffers)

    def names(self, parents: npt.NDArray[np.int64]) -> pa.LargeBinaryArray:
        """The last part of each path, by number, given the number of the path above each."""
        import pyarrow as pa

        lengths = np.diff(self._offsets)
        skipped = np.where(parents >= 0, lengths[parents] + (lengths[parents] > 0), 0)
        steps = np.zeros(len(self._data) + 1, np.int8)
        begin = self._offsets[:-1] + skipped
        some = begin < self._offsets[1:]
        np.add.at(steps, begin[some], 1)
        np.add.at(steps, self._offsets[1:][some], -1)
        data = self._data[np.cumsum(steps[:-1], dtype=np.int8) > 0]
        ends = np.concatenate([[0], np.cumsum(lengths - skipped)])
        buffers = [None, pa.py_buffer(ends), pa.py_buffer(data)]
        return pa.LargeBinaryArray.from_buffers(pa.large_binary(), self.count, buffers)

    def with_others_below(self, among: npt.NDArray[np.bool_]) -> list[int]:
        """The numbers, of those that are true in `among`, that have other paths below them."""
        if self.count < 2:
            return []
        # What is below a path begins with the path that follows it.
        lengths = np.diff(self._offsets)
        fits = among[:-1] & (lengths[1:] > lengths[:-1] + 1)
        candidates = np.flatnonzero(fits)
        places = self._offsets[candidates + 1] + lengths[candidates]
        candidates = candidates[self._data[places] == 0]
        return [
            number
            for number in candidates.tolist()
            if self._key(number + 1).startswith(self._key(number))
        ]

    def ends(self, numbers: Iterable[int]) -> dict[int, int]:
        """For each of some paths the number after the last path below it."""
        return self.walk(numbers, ())[0]

    def walk(
        self, numbers: Iterable[int], above: Iterable[int]
    ) -> tuple[dict[int, int], dict[int, int]]:
        """Where paths end, and of which path of `above` each path is below.

        Parameters
        ----------
        numbers
            Whose ends are asked for.
        above
            Paths whose ends are asked for too; the nearest of them above a path is told.

        Returns
        -------
        tuple
            Ends by number; and by the number of each path below one of `above`, the nearest.
        """
        marked = set(above)
        wanted = sorted(marked.union(numbers))
        ends: dict[int, int] = {}
        nearest: dict[int, int] = {}
        # Open paths: number, what paths below it begin with, the nearest of `above`.
        stack: list[tuple[int, bytes, int]] = []
        asked = set(wanted)
        number = 0
        for start in wanted:
            if start < number:
                continue
            number = start
            while number < self.count:
                key = self._key(number)
                while stack and not key.startswith(stack[-1][1]):
                    ends[stack.pop()[0]] = number
                if not stack and number not in asked:
                    break
                mark = stack[-1][2] if stack else -1
                if mark >= 0:
                    nearest[number] = mark
                if number in asked:
                    prefix = key + _SEPARATOR if key else b""
                    stack.append((number, prefix, number if number in marked else mark))
                number += 1
            while stack and number == self.count:
                ends[stack.pop()[0]] = number
        return ends, nearest


def _buffers(
    array: pa.LargeBinaryArray,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Where each value begins, and the bytes of all."""
    count = len(array)
    _, offsets, data = array.buffers()
    if not count or offsets is None:
        return np.zeros(1, np.int64), np.empty(0, np.uint8)
    places = np.frombuffer(offsets, np.int64)[array.offset : array.offset + count + 1]
    if data is None:
        return places - places[0], np.empty(0, np.uint8)
    return places - places[0], np.frombuffer(data, np.uint8)[places[0] : places[-1]]
