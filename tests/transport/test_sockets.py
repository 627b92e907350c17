"""nbdock's own connections, where they differ from httpx's."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import httpcore
import pytest

from nbdock.transport.sockets import SocketBackend, SocketStream


@pytest.fixture
async def peer() -> AsyncIterator[tuple[SocketStream, socket.socket]]:
    """A stream, and the other end of its connection (which blocks)."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = await SocketBackend().connect_tcp(*listener.getsockname(), timeout=240)
        other, _ = listener.accept()
        with other:
            yield stream, other
        await stream.aclose()


async def test_nobody_there() -> None:
    with pytest.raises(httpcore.ConnectError):
        await SocketBackend().connect_tcp("127.0.0.1", 1, timeout=240)
    with pytest.raises(httpcore.ConnectError):
        await SocketBackend().connect_tcp("::1", 1, timeout=240)


async def test_a_host_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        backend = SocketBackend()
        open_ones = []
        with pytest.raises(httpcore.ConnectTimeout):
            for _ in range(10):
                open_ones.append(await backend.connect_tcp(*listener.getsockname(), timeout=0.05))  # noqa: PERF401
        for stream in open_ones:
            await stream.aclose()


async def test_silence(peer: tuple[SocketStream, socket.socket]) -> None:
    stream, _ = peer
    with pytest.raises(httpcore.ReadTimeout):
        await stream.read(10, timeout=0.01)
    with pytest.raises(httpcore.ReadTimeout):
        async for _ in stream.pour(lambda data: None, 10, timeout_s=0.01):
            pass
    with pytest.raises(httpcore.WriteTimeout):
        await stream.write(bytes(64 << 20), timeout=0.01)


async def test_a_peer_that_never_finishes_tls(
    peer: tuple[SocketStream, socket.socket],
) -> None:
    import ssl

    stream, _ = peer
    with pytest.raises(httpcore.ConnectTimeout):
        await stream.start_tls(ssl.create_default_context(), "x", timeout=0.01)


async def test_pouring_ends_where_it_should(peer: tuple[SocketStream, socket.socket]) -> None:
    stream, other = peer
    other.sendall(b"0123456789")
    poured = bytearray()
    async for _ in stream.pour(poured.extend, 4, timeout_s=240):
        pass
    assert poured == b"0123"
    assert await stream.read(100, timeout=240) == b"456789"


async def test_a_peer_that_ends_early(peer: tuple[SocketStream, socket.socket]) -> None:
    stream, other = peer
    other.sendall(b"0123")
    other.shutdown(socket.SHUT_WR)
    poured = bytearray()
    counts = [count async for count in stream.pour(poured.extend, 100, timeout_s=240)]
    assert poured == b"0123"
    assert sum(counts) == 4
    assert await stream.read(10) == b""
    assert stream.get_extra_info("is_readable")


async def test_what_cannot_be_written_stops_it(peer: tuple[SocketStream, socket.socket]) -> None:
    stream, other = peer
    other.sendall(b"0123")

    def full(data: memoryview) -> None:
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        async for _ in stream.pour(full, 100, timeout_s=240):
            pass


async def test_a_slow_network_holds_no_worker(
    peer: tuple[SocketStream, socket.socket],
) -> None:
    """Ten times as many transfers wait as there are workers, and work goes on."""
    from nbdock.concurrency import in_worker

    async def pour(stream: SocketStream) -> None:
        async for _ in stream.pour(lambda data: None, 1, timeout_s=1000):
            pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = listener.getsockname()
        streams = [await SocketBackend().connect_tcp(*place) for _ in range(80)]
        others = [listener.accept()[0] for _ in streams]
        tasks = [asyncio.ensure_future(pour(stream)) for stream in streams]
        assert await asyncio.wait_for(in_worker(lambda: "done"), 240) == "done"
        assert not any(task.done() for task in tasks)
        for other in others:
            other.sendall(b"x")
        await asyncio.gather(*tasks)
        for stream, other in zip(streams, others, strict=True):
            await stream.aclose()
            other.close()
