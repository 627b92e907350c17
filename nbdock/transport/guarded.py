"""Connections only to addresses that a guard has judged.

A check of a name before a request says nothing about the address that the connection is made to a
moment later: who owns the name may answer differently the second time. So the guard stands where
connections are made: it resolves and judges, and the connection goes to what it returned. TLS still
verifies the certificate for the name.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import httpcore

from nbdock.transport.http import httpx
from nbdock.transport.sockets import SocketBackend

__all__ = ["Guard", "guard_connections"]

_NEXT_ADDRESS_S = 3.0
"""How long an address may take to answer when there is another one to try."""


class Guard(Protocol):
    """Judges where requests go; an error that it raises is the request's."""

    def check(self, url: str) -> None:
        """Judge a URL before a request is sent to it, and each target of a redirect."""
        ...

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        """The addresses that a connection to this host may be made to, the best first."""
        ...


def guard_connections(client: httpx.AsyncClient, guard: Guard) -> None:
    """Let a client that has not been used yet connect directly only where `guard` says.

    Connections to proxies are not guarded: it is they who connect to servers.
    """
    # httpx has no public way to say how to connect without losing the environment's proxies.
    pool = getattr(client._transport, "_pool", None)  # noqa: SLF001
    if not isinstance(getattr(pool, "_network_backend", None), httpcore.AsyncNetworkBackend):
        raise RuntimeError(f"httpx {httpx.__version__} does not let connections be guarded")
    pool._network_backend = _Guarded(SocketBackend(), guard)  # type: ignore[union-attr]  # noqa: SLF001


class _Guarded(httpcore.AsyncNetworkBackend):
    def __init__(self, backend: httpcore.AsyncNetworkBackend, guard: Guard) -> None:
        self._backend = backend
        self._guard = guard

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        until = time.monotonic() + (3600.0 if timeout is None else timeout)
        try:
            addresses = await asyncio.wait_for(self._guard.addresses(host, port), timeout)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"the name {host} was not resolved in time") from error
        except (socket.gaierror, UnicodeError) as error:
            raise httpcore.ConnectError(f"the name {host} cannot be resolved: {error}") from error
        options = list(socket_options or ())
        for rest in range(len(addresses) - 1, -1, -1):
            left_s = max(until - time.monotonic(), 0.01)
            try:
                return await self._backend.connect_tcp(
                    addresses[-rest - 1],
                    port,
                    min(left_s, _NEXT_ADDRESS_S) if rest else left_s,
                    local_address,
                    options,
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if not rest:
                    raise
        raise httpcore.ConnectError(f"the name {host} has no address")

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface is httpcore's
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return await self._backend.connect_unix_socket(path, timeout, socket_options)

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)
