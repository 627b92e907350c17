"""The body of an answer that nobody has begun to read, taken from below httpx.

    if (body := UnreadBody.of(response)) is not None:
        async for count in body.pour(blob.write, timeout_s=30):
            progress(count)

httpx hands a body on in pieces of 64 kB, each copied four times and carried through a dozen
generators: five seconds of processor time per gigabyte, where receiving, hashing and writing take
two. So httpx reads the head of an answer, and what follows goes from our own connection straight to
where it is written.

The connection is used again afterwards, as the next layer's: on a long way, beginning anew costs
several round trips. For that, h11 is told that the body has come. It has no public way to be told,
nor has httpx one to reach it. Where their names are others than those that we know, `of` gives
None, and the body is read through httpx: more slowly, but as well.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from nbdock.transport.sockets import SocketStream

if TYPE_CHECKING:
    import httpx

__all__ = ["UnreadBody"]


class UnreadBody:
    """A body of a known length, on one of our connections.

    Attributes
    ----------
    left_bytes
        How much of it was not written yet.
    """

    def __init__(self, stream: SocketStream, protocol: Any) -> None:
        self._stream = stream
        self._protocol = protocol
        self.left_bytes: int = protocol._reader._remaining  # noqa: SLF001

    @classmethod
    def of(cls, response: httpx.Response) -> UnreadBody | None:
        """The body of an answer; None if it must be read through httpx."""
        stream = response.extensions.get("network_stream")
        if not isinstance(stream, SocketStream):
            return None
        body: Any = response.stream
        try:
            # httpx's stream, its transport's, the pool's, and at last the connection's own.
            connection = body._stream._httpcore_stream._stream._connection  # noqa: SLF001
            return cls(stream, connection._h11_state)  # noqa: SLF001
        except AttributeError:
            # Also where the length is not known: then h11's reader has no such attribute.
            return None

    async def pour(
        self, write: Callable[[memoryview], object], *, timeout_s: float | None
    ) -> AsyncIterator[int]:
        """Give the body to `write`, in a worker; yields the counts of bytes.

        It ends early if the peer does: then bytes are left.

        Raises
        ------
        httpcore.ReadError, httpcore.ReadTimeout
            The connection broke, or was silent for `timeout_s`.
        """
        # What came together with the head, if anything did.
        event = self._protocol.next_event() if self.left_bytes else None
        first: bytes = getattr(event, "data", b"")
        counts = self._stream.pour(write, self.left_bytes, timeout_s=timeout_s, first=first)
        async for count in counts:
            self.left_bytes -= count
            yield count
        # What was not asked for, and came all the same, must not be taken for the next answer.
        if not self.left_bytes and not self._protocol.trailing_data[0]:
            self._protocol._reader._remaining = 0  # noqa: SLF001
            self._protocol.next_event()  # the end, after which the connection is free
