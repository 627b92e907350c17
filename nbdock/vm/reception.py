"""What a guest sends is written to a file as it comes, and never more than a limit.

reception = Reception(tar, limit_bytes=1 << 30, on_sent=print)
taking = asyncio.create_task(reception.take(channel))
await reception.wait_for(size_bytes)     # when the guest has said how much it was
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from nbdock import settings
from nbdock.concurrency import in_thread
from nbdock.content import TemporaryFile, storage_error
from nbdock.errors import GuestProtocolError
from nbdock.units import bytes_text

__all__ = ["PIECE_BYTES", "Reception"]

PIECE_BYTES: Final = 1 << 18
"""So much is read at a time."""


class Reception:
    """A tar that comes from a guest.

    Parameters
    ----------
    tar
        Where it is written.
    limit_bytes
        More than that is not taken, nor more than the setting `vm_changes_limit_bytes`.
    on_sent
        Called with how many bytes have come.
    """

    def __init__(
        self, tar: TemporaryFile, limit_bytes: int | None, on_sent: Callable[[int], None]
    ) -> None:
        self._tar = tar
        self._setting = settings.current().vm_changes_limit_bytes
        self._limit = self._setting if limit_bytes is None else min(self._setting, limit_bytes)
        self._on_sent = on_sent
        self._received = 0
        self._more = asyncio.Event()

    async def take(self, channel: socket.socket) -> None:
        """Take what comes, until the channel ends or this is cancelled.

        Raises
        ------
        GuestProtocolError
            It is too much.
        StorageFullError, ContentError
            It cannot be written.
        """
        while data := await asyncio.get_running_loop().sock_recv(channel, PIECE_BYTES):
            self._received += len(data)
            if self._received > self._limit:
                raise GuestProtocolError(
                    f"The guest sends more than {bytes_text(self._limit)}.",
                    hint="The setting vm_changes_limit_bytes says how much it may be."
                    if self._limit == self._setting
                    else "That is more than its disk can hold: it does not do what it should.",
                )
            try:
                await in_thread(self._tar.write, data)
            except OSError as error:
                raise storage_error(error, "keep what a guest wrote", self._tar.path) from error
            self._on_sent(self._received)
            self._more.set()

    async def wait_for(self, size_bytes: int) -> None:
        """Return when so many bytes, or more, have been written."""
        while self._received < size_bytes:
            self._more.clear()
            await self._more.wait()

    def check(self, size_bytes: int) -> None:
        """Make sure, when nothing more is taken, that it was exactly so much.

        Raises
        ------
        GuestProtocolError
            It was not.
        """
        if self._received != size_bytes:
            raise GuestProtocolError(
                f"The guest sent {self._received} bytes and says that it sent {size_bytes}."
            )
