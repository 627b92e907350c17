"""HTTP over a Unix socket: how engines on this machine are spoken to.

>>> from nbdock.transport import UnixSocket
>>> UnixSocket("/var/run/docker.sock")
<UnixSocket /var/run/docker.sock>
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from nbdock import settings
from nbdock.errors import ConnectionFailedError, HttpStatusError
from nbdock.transport.authorities import plain_context
from nbdock.transport.http import httpx

__all__ = ["UnixSocket"]

_ERROR_LIMIT_BYTES = 1 << 16


class UnixSocket:
    """An HTTP server behind a socket file. Opens a connection per request; holds nothing."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"<UnixSocket {self.path}>"

    @contextlib.asynccontextmanager
    async def _response(
        self, method: str, target: str, body: AsyncIterator[bytes] | None
    ) -> AsyncIterator[httpx.Response]:
        silence_s = settings.current().silence_timeout_s
        # An engine unpacks before it answers, so only connecting and sending are bounded.
        timeout = httpx.Timeout(silence_s, read=None)
        headers = {"content-type": "application/x-tar"} if body is not None else {}
        transport = httpx.AsyncHTTPTransport(uds=self.path, verify=plain_context())
        try:
            async with (
                httpx.AsyncClient(transport=transport, timeout=timeout, trust_env=False) as client,
                client.stream(
                    method, f"http://engine{target}", content=body, headers=headers
                ) as response,
            ):
                if response.is_error:
                    text = b""
                    async for piece in response.aiter_bytes():
                        text += piece
                        if len(text) > _ERROR_LIMIT_BYTES:
                            break
                    raise HttpStatusError(
                        text.decode(errors="replace").strip()[:2000] or response.reason_phrase,
                        status=response.status_code,
                        url=target,
                    )
                yield response
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise ConnectionFailedError(
                f"The socket {self.path} does not answer: {reason}.", url=target
            ) from error

    async def get(self, target: str) -> bytes:
        """The whole body of a small answer."""
        async with self._response("GET", target, None) as response:
            return await _read_limited(response)

    async def post(self, target: str, body: AsyncIterator[bytes]) -> bytes:
        """Send a body as it is made; the whole body of the answer."""
        async with self._response("POST", target, body) as response:
            return await _read_limited(response)

    @contextlib.asynccontextmanager
    async def stream(self, target: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """The pieces of a large answer: ``async with socket.stream(...) as pieces``."""
        async with self._response("GET", target, None) as response:
            yield response.aiter_bytes(1 << 20)


async def _read_limited(response: httpx.Response) -> bytes:
    limit = settings.current().json_limit_bytes
    data = bytearray()
    async for piece in response.aiter_bytes():
        data += piece
        if len(data) > limit:
            raise ConnectionFailedError(
                f"An engine answered with more than {limit} bytes.", url=str(response.url.path)
            )
    return bytes(data)
