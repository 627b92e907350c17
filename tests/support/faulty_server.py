"""An HTTP server on loopback that misbehaves as told: what no good server will do on request.

Each path has a script of behaviours. Every request takes the next one; the last is repeated.

    async with FaultyServer() as server:
        server.script("/blob", answer(503), reset_after(data, 1000), content(data, etag='"1"'))
        await transport.download(server.url("/blob"), ...)
        assert server.requests[1].headers["range"] == ...
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import re
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self


@dataclasses.dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


class Answer:
    """Where a behaviour writes; `send` waits until the bytes are on their way."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.keep_alive = True

    async def head(self, status: int, headers: Mapping[str, str | int] | None = None) -> None:
        lines = [f"HTTP/1.1 {status} X"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        await self.send("\r\n".join([*lines, "", ""]).encode())

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def hang_up(self) -> None:
        """Close as a server that is done does."""
        self.keep_alive = False

    def reset(self) -> None:
        """Close with RST: the peer loses even what it has not read yet."""
        self.keep_alive = False
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


Behaviour = Callable[[Request, Answer], Awaitable[None]]


class FaultyServer:
    """Serves scripts on a free loopback port; remembers every request."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, name: str = "127.0.0.1") -> None:
        self.requests: list[Request] = []
        self._scripts: dict[str, list[Behaviour]] = {}
        self._tls = tls
        self._name = name
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.root: Path | None = None
        self.connections_now = 0
        self.connections_most = 0
        self.connections_made = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accepted, "127.0.0.1", 0, ssl=self._tls, limit=1 << 20
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def url(self, path: str, *, name: str | None = None) -> str:
        scheme = "https" if self._tls else "http"
        return f"{scheme}://{name or self._name}:{self.port}{path}"

    def script(self, path: str, *behaviours: Behaviour) -> None:
        self._scripts[path] = list(behaviours)

    def serve_directory(self, root: Path) -> None:
        """Serve files below `root` properly wherever no script stands."""
        self.root = root

    def paths(self) -> list[str]:
        return [request.path for request in self.requests]

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections_made += 1
        self.connections_now += 1
        self.connections_most = max(self.connections_most, self.connections_now)
        try:
            while (request := await _read_request(reader)) is not None:
                self.requests.append(request)
                answer = Answer(writer)
                await self._behaviour(request)(request, answer)
                if not answer.keep_alive:
                    break
        except (ConnectionError, asyncio.CancelledError, asyncio.IncompleteReadError):
            pass
        finally:
            self.connections_now -= 1
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await writer.wait_closed()

    def _behaviour(self, request: Request) -> Behaviour:
        script = self._scripts.get(request.path)
        if script:
            return script.pop(0) if len(script) > 1 else script[0]
        if self.root is not None:
            file = self.root / request.path.lstrip("/")
            if file.is_file() and ".." not in request.path:
                stamp = file.stat()
                return content(file.read_bytes(), etag=f'"{stamp.st_mtime_ns}-{stamp.st_size}"')
        return answer(404)


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    try:
        start = await reader.readexactly(1)
        if start == b"\x16":
            return None  # TLS: a server without it hangs up
        head = start + await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    method, path, _version = first.split(" ")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, path, headers, body)


def answer(
    status: int, body: bytes = b"", headers: Mapping[str, str | int] | None = None
) -> Behaviour:
    """A status, with headers and a body."""

    async def behave(request: Request, out: Answer) -> None:
        empty = status in {204, 304}
        await out.head(
            status, {**({} if empty else {"Content-Length": len(body)}), **(headers or {})}
        )
        if request.method != "HEAD" and not empty:
            await out.send(body)

    return behave


def content(
    data: bytes, *, etag: str = "", last_modified: str = "", ranges: bool = True
) -> Behaviour:
    """A file as a good server gives it: ranges, If-Range, If-None-Match, If-Modified-Since."""
    marks = {k: v for k, v in (("ETag", etag), ("Last-Modified", last_modified)) if v}

    async def behave(request: Request, out: Answer) -> None:
        asked = request.headers
        if (etag and asked.get("if-none-match") == etag) or (
            last_modified
            and "if-none-match" not in asked
            and asked.get("if-modified-since") == last_modified
        ):
            await answer(304, headers=marks)(request, out)
            return
        wanted = re.fullmatch(r"bytes=(\d+)-", asked.get("range", "")) if ranges else None
        if wanted and asked.get("if-range", etag or last_modified) in {etag, last_modified}:
            start = int(wanted[1])
            if start >= len(data):
                size = {"Content-Range": f"bytes */{len(data)}"}
                await answer(416, headers=size)(request, out)
                return
            place = f"bytes {start}-{len(data) - 1}/{len(data)}"
            await answer(206, data[start:], {**marks, "Content-Range": place})(request, out)
            return
        await answer(200, data, marks)(request, out)

    return behave


def reset_after(data: bytes, count: int, *, etag: str = "") -> Behaviour:
    """Announces all of `data` (from where a range starts), sends `count` bytes of it, resets."""
    return _breaking(data, count, etag, reset=True)


def short(data: bytes, count: int, *, etag: str = "") -> Behaviour:
    """Announces all of `data`, sends `count` bytes of it, closes politely."""
    return _breaking(data, count, etag, reset=False)


def _breaking(data: bytes, count: int, etag: str, *, reset: bool) -> Behaviour:
    async def behave(request: Request, out: Answer) -> None:
        marks = {"ETag": etag} if etag else {}
        wanted = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        start = int(wanted[1]) if wanted else 0
        if wanted:
            marks["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        await out.head(206 if wanted else 200, {"Content-Length": len(data) - start, **marks})
        await out.send(data[start : start + count])
        if reset:
            # Let the client read what was sent: RST would take it back.
            await _drained(out)
            out.reset()
        else:
            out.hang_up()

    return behave


async def _drained(out: Answer) -> None:
    """Wait until the peer's kernel has acknowledged everything."""
    import fcntl
    import termios

    sock = out._writer.get_extra_info("socket")
    while struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0]:
        await asyncio.sleep(0)
    # Acknowledged is not yet read by the application; give its loop some turns.
    for _ in range(50):
        await asyncio.sleep(0)


def chunked(data: bytes, *, piece: int = 1 << 16) -> Behaviour:
    """`data` without a length."""

    async def behave(request: Request, out: Answer) -> None:
        await out.head(200, {"Transfer-Encoding": "chunked"})
        for at in range(0, len(data), piece):
            part = data[at : at + piece]
            await out.send(b"%x\r\n%s\r\n" % (len(part), part))
        await out.send(b"0\r\n\r\n")

    return behave


def endless(piece: bytes = b"\0" * 65536) -> Behaviour:
    """A chunked body that never ends."""

    async def behave(request: Request, out: Answer) -> None:
        await out.head(200, {"Transfer-Encoding": "chunked"})
        while True:
            await out.send(b"%x\r\n%s\r\n" % (len(piece), piece))

    return behave


def slow(data: bytes) -> Behaviour:
    """`data` byte by byte."""

    async def behave(request: Request, out: Answer) -> None:
        await out.head(200, {"Content-Length": len(data)})
        for at in range(len(data)):
            await out.send(data[at : at + 1])
            await asyncio.sleep(0)

    return behave


def silent(after: bytes = b"", *, announced: int = 0) -> Behaviour:
    """Nothing at all, or the first bytes of a body; then silence until the peer goes."""

    async def behave(request: Request, out: Answer) -> None:
        if announced:
            await out.head(200, {"Content-Length": announced})
            await out.send(after)
        await asyncio.Event().wait()

    return behave


def redirect(location: str, status: int = 302) -> Behaviour:
    return answer(status, headers={"Location": location})
