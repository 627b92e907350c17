"""Following the frames of a zstd stream from outside the decoder.

The binding's stream reader returns what it has when its input ends, and does not tell whether a
frame was still open: a truncated layer would look whole. The format (RFC 8878) makes the frames
easy to follow without decoding: every block begins with its own size.

    >>> frames = ZstdFrames()
    >>> frames.feed(bytes.fromhex("28b52ffd2000010000"))
    >>> frames.between_frames
    True
"""

from __future__ import annotations

__all__ = ["ZstdFrames"]

_MAGIC = 0xFD2FB528
_SKIPPABLE = 0x184D2A50
_RLE = 1


class ZstdFrames:
    """Where in the structure of a zstd stream the bytes fed so far end.

    Says nothing about validity: that is the decoder's part. After bytes that begin no frame, it
    stays `between_frames` for ever, since the decoder refuses those itself.
    """

    def __init__(self) -> None:
        self._step = self._magic
        self._want = 4
        self._held = b""
        self._skip = 0
        self._has_checksum = False
        self._lost = False

    @property
    def between_frames(self) -> bool:
        """Whether the stream may end here."""
        return self._lost or (self._step == self._magic and not self._held and not self._skip)

    def feed(self, data: bytes) -> None:
        """Follow `data`."""
        position, length = 0, len(data)
        while position < length and not self._lost:
            if self._skip:
                skipped = min(self._skip, length - position)
                self._skip -= skipped
                position += skipped
                continue
            wanted = self._want - len(self._held)
            self._held += data[position : position + wanted]
            position += wanted
            if len(self._held) == self._want:
                held, self._held = self._held, b""
                self._step(held)

    def _expect(self, step: object, want: int, skip: int = 0) -> None:
        self._step, self._want, self._skip = step, want, skip  # type: ignore[assignment]

    def _magic(self, held: bytes) -> None:
        magic = int.from_bytes(held, "little")
        if magic == _MAGIC:
            self._expect(self._header, 1)
        elif magic & ~0xF == _SKIPPABLE:
            self._expect(self._skippable, 4)
        else:
            self._lost = True

    def _skippable(self, held: bytes) -> None:
        self._expect(self._magic, 4, skip=int.from_bytes(held, "little"))

    def _header(self, held: bytes) -> None:
        flags = held[0]
        single_segment = bool(flags & 0x20)
        size_length = (int(single_segment), 2, 4, 8)[flags >> 6]
        dictionary_length = (0, 1, 2, 4)[flags & 3]
        self._has_checksum = bool(flags & 4)
        rest = size_length + dictionary_length + (not single_segment)
        self._expect(self._block, 3, skip=rest)

    def _block(self, held: bytes) -> None:
        header = int.from_bytes(held, "little")
        size = 1 if header >> 1 & 3 == _RLE else header >> 3
        if header & 1:
            self._expect(self._magic, 4, skip=size + 4 * self._has_checksum)
        else:
            self._expect(self._block, 3, skip=size)
