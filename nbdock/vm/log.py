r"""What a guest's commands write: shown line by line, and none of it kept without a bound.

log = Log(on_line=print, nonce=b"4f1d...")
log.feed(b"hello\nwor")             # prints hello
log.feed(b"ld4f1d...")              # prints world
await log.ended.wait()              # at once: that was all
log.output                          # bytearray(b'hello\nworld'), the last of it
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from nbdock import settings
from nbdock.lines import Lines
from nbdock.units import bytes_text

__all__ = ["Log", "keep_last"]

_LINE_BYTES: Final = 16 << 10


class Log:
    """The log of one job.

    Parameters
    ----------
    on_line
        Called with each line, until there are more than the setting `vm_log_limit_bytes`.
    nonce
        What the guest writes behind all that its commands wrote; they do not know it.

    Attributes
    ----------
    output
        The last of it: the setting `vm_output_bytes`.
    ended
        Set when everything is here.
    """

    def __init__(self, on_line: Callable[[str], None] | None, nonce: bytes) -> None:
        self.output = bytearray()
        self.ended = asyncio.Event()
        self._on_line = on_line
        self._nonce = nonce
        self._lines = Lines(_LINE_BYTES)
        self._limits = settings.current()
        self._shown_bytes = 0

    def feed(self, data: bytes) -> None:
        """Take what has come."""
        nonce = self._nonce
        keep_last(self.output, data, self._limits.vm_output_bytes + len(nonce))
        self._show(self._lines.feed(data))
        if self.output.endswith(nonce):
            del self.output[-len(nonce) :]
            rest = self._lines.rest().removesuffix(nonce)
            self._show([rest] if rest else [])
            self.ended.set()

    def _show(self, lines: Sequence[bytes]) -> None:
        limit = self._limits.vm_log_limit_bytes
        for line in lines:
            if self._on_line is None or self._shown_bytes > limit:
                return
            self._shown_bytes += len(line) + 1
            if self._shown_bytes > limit:
                self._on_line(
                    f"(The log is longer than {bytes_text(limit)}; the rest is not shown.)"
                )
            else:
                self._on_line(line.decode("utf-8", "replace"))


def keep_last(kept: bytearray, data: bytes, limit_bytes: int) -> None:
    """Append, and forget what is further back than so many bytes."""
    kept += data
    del kept[: max(0, len(kept) - limit_bytes)]
