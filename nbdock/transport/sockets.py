"""Connections of our own below httpx, from which a body goes straight to where it is written.

The event loop waits for the bytes; a worker receives, hashes and writes what is there, some
megabytes at a time, and holds no thread while the network is slow.

    stream = answer.extensions["network_stream"]           # a SocketStream
    async for count in stream.pour(blob.write, 250_000_000, timeout_s=30):
        progress(count)
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import select
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, TypeVar

import httpcore

from nbdock.concurrency import in_worker

__all__ = ["SocketBackend", "SocketStream"]

T = TypeVar("T")

_BUFFER_BYTES = 1 << 20
"""Large enough for few calls, each of which finds its code and data thrown out of the core's cache
by the bytes; small enough to stay in a cache of all cores until it is written and hashed."""

_TURN_BYTES = 4 << 20
"""After how much a worker goes on with the next transfer."""


class SocketBackend(httpcore.AsyncNetworkBackend):
    """Connects to addresses; names are resolved by who knows which addresses are allowed."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> SocketStream:
        """Connect to an IP address."""
        connected = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            connected.setblocking(False)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for option in socket_options or ():
                connected.setsockopt(*option)
            if local_address is not None:
                connected.bind((local_address, 0))
            async with asyncio.timeout(timeout):
                await asyncio.get_running_loop().sock_connect(connected, (host, port))
        except BaseException as error:
            connected.close()
            if isinstance(error, TimeoutError):
                raise httpcore.ConnectTimeout(f"no connection in {timeout} seconds") from error
            if isinstance(error, OSError):
                raise httpcore.ConnectError(str(error)) from error
            raise
        return SocketStream(connected)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class SocketStream(httpcore.AsyncNetworkStream):
    """A connection, with TLS or without; its socket does not block."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """The next bytes; none at the end."""
        try:
            receive = functools.partial(self._socket.recv, max_bytes)
            return await self._when_ready(receive, timeout)
        except TimeoutError as error:
            raise httpcore.ReadTimeout from error
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Send all of `buffer`."""
        view = memoryview(buffer)
        try:
            while view:
                send = functools.partial(self._socket.send, view)
                view = view[await self._when_ready(send, timeout, is_sending=True) :]
        except TimeoutError as error:
            raise httpcore.WriteTimeout from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> SocketStream:
        """Go on with TLS."""
        try:
            secured = ssl_context.wrap_socket(
                self._socket, do_handshake_on_connect=False, server_hostname=server_hostname
            )
            self._socket = secured
            await self._when_ready(secured.do_handshake, timeout)
        except BaseException as error:
            self._socket.close()
            if isinstance(error, TimeoutError):
                raise httpcore.ConnectTimeout("no TLS in time") from error
            if isinstance(error, OSError):
                raise httpcore.ConnectError(str(error)) from error
            raise
        return self

    async def pour(
        self,
        write: Callable[[memoryview], object],
        count_bytes: int,
        *,
        timeout_s: float | None,
        first: bytes | bytearray = b"",
    ) -> AsyncIterator[int]:
        """Give the next bytes to `write`, in a worker; yields how many each time.

        It ends when `count_bytes` have come, or the peer ends them before. `first` are those of
        them that were received already.

        Raises
        ------
        httpcore.ReadError, httpcore.ReadTimeout
            The connection broke, or was silent for `timeout_s`.
        """
        buffer = memoryview(bytearray(max(min(_BUFFER_BYTES, count_bytes), len(first))))
        buffer[: len(first)] = first
        held = len(first)
        while count_bytes:
            most = min(count_bytes, max(_TURN_BYTES, held))
            came, must_wait = await in_worker(self._receive, write, most, buffer, held)
            held = 0
            count_bytes -= came
            if came:
                yield came
            elif not must_wait:
                return
            if must_wait:
                try:
                    await self._wait(timeout_s)
                except TimeoutError as error:
                    raise httpcore.ReadTimeout from error

    def _receive(
        self,
        write: Callable[[memoryview], object],
        most_bytes: int,
        buffer: memoryview,
        held_bytes: int,
    ) -> tuple[int, bool]:
        """Write what is there; how much it was, and whether it must be waited for more. Blocking.

        Nothing without waiting is the end. `held_bytes` of it are in the buffer.
        """
        came = filled = held_bytes
        try:
            while came < most_bytes:
                if filled == len(buffer):
                    filled = 0
                    write(buffer)
                try:
                    space = buffer[filled : filled + most_bytes - came]
                    count = self._socket.recv_into(space)
                except (BlockingIOError, ssl.SSLWantReadError):
                    return came, True
                except OSError as error:
                    raise httpcore.ReadError(str(error)) from error
                if not count:
                    return came, False
                came += count
                filled += count
            return came, False
        finally:
            if filled:
                write(buffer[:filled])

    async def _when_ready(
        self, action: Callable[[], T], timeout_s: float | None, *, is_sending: bool = False
    ) -> T:
        """What `action` gives once the socket is ready for it."""
        # A peer that is always faster than we are must not have the loop for itself.
        await asyncio.sleep(0)
        while True:
            try:
                return action()
            except ssl.SSLWantReadError:
                must_send = False
            except ssl.SSLWantWriteError:
                must_send = True
            except BlockingIOError:
                must_send = is_sending
            await self._wait(timeout_s, to_send=must_send)

    async def _wait(self, timeout_s: float | None, *, to_send: bool = False) -> None:
        """Until the socket is ready, or the time is over (TimeoutError)."""
        loop = asyncio.get_running_loop()
        watch, unwatch = (
            (loop.add_writer, loop.remove_writer) if to_send
            else (loop.add_reader, loop.remove_reader)
        )  # fmt: skip
        ready = loop.create_future()
        number = self._socket.fileno()
        watch(number, _done, ready)
        try:
            async with asyncio.timeout(timeout_s):
                await ready
        finally:
            unwatch(number)

    async def aclose(self) -> None:
        """Close the connection."""
        self._socket.close()

    def get_extra_info(self, info: str) -> Any:
        """What httpcore asks: whether an idle connection was closed, and what TLS agreed on."""
        if info == "is_readable":
            if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
                return True
            poll = select.poll()
            with contextlib.suppress(OSError, ValueError):
                poll.register(self._socket.fileno(), select.POLLIN)
                return bool(poll.poll(0))
            return True
        if info == "ssl_object":
            return self._socket if isinstance(self._socket, ssl.SSLSocket) else None
        if info == "socket":
            return self._socket
        return None


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
