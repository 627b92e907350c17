"""A stream of bytes as lines, however it is cut and however long they are: `Lines`."""

from __future__ import annotations

__all__ = ["Lines"]


class Lines:
    r"""Cuts a stream into lines of a bounded length, whatever comes.

    >>> lines = Lines(limit_bytes=4)
    >>> lines.feed(b"ab"), lines.feed(b"c\ndefgh\n"), lines.rest()
    ([], [b'abc', b'defg', b'h'], b'')
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._begun = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are whole now, without their ends."""
        *whole, self._begun = (self._begun + data).split(b"\n")
        found = [piece for line in whole for piece in self._pieces(line)]
        while len(self._begun) > self._limit:
            found.append(self._begun[: self._limit])
            self._begun = self._begun[self._limit :]
        return found

    def rest(self) -> bytes:
        """The line that has not ended."""
        return self._begun

    def _pieces(self, line: bytes) -> list[bytes]:
        starts = range(0, len(line) or 1, self._limit)
        return [line[start : start + self._limit] for start in starts]
