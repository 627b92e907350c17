"""One `Transport` per operation: requests with retries, redirects and proxies, and what comes back.

Why httpx is wrapped at all: its retries cover only connecting, its redirects carry credentials over
an upgrade to https, its default timeout is for a whole request, and its errors quote URLs with
everything in them. Here, every request

- is asked again after broken connections, 408, 429 and 5xx, with a backoff that all transfers from
  a host share and that obeys ``Retry-After``;
- follows a bounded number of redirects, never from https to http, and takes ``Authorization`` to no
  other origin than the one it was given for;
- fails only after `settings.silence_timeout_s` of silence, however long it takes in all;
- raises the error tree's errors, whose URLs hold no credentials.

Proxies come from the environment (``http_proxy``, ``no_proxy``, ...) and from `proxies`,
which wins.

    async with Transport() as transport:
        manifest = await transport.get_bytes(url, limit_bytes=4 << 20)
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import logging
import os
import ssl
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import urljoin

from nbdock import settings
from nbdock.errors import ConnectionFailedError, TransportError
from nbdock.oci import Digest
from nbdock.transport.attempts import Attempts
from nbdock.transport.authorities import plain_context, usual_context
from nbdock.transport.download import Downloaded, TransferProgress, download
from nbdock.transport.pauses import HostPauses
from nbdock.transport.redacted import origin_of, redacted, split_credentials
from nbdock.transport.response import Fetched, Response, connection_error, status_error

if TYPE_CHECKING:
    import httpx

    from nbdock.transport.guarded import Guard

__all__ = ["Authorize", "Transport"]

_log = logging.getLogger(__name__)

Authorize = Callable[[str], str | None]
"""Gives the ``Authorization`` header for a URL, or None; asked anew for every redirect's target."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_PRIVATE_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


def basic_authorization(user: str, password: str) -> str:
    """The ``Authorization`` header of HTTP's basic scheme (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Transport:
    """HTTP/1.1 requests of one operation; owns their connections, and closes them all when left.

    Parameters
    ----------
    authorize
        Gives the ``Authorization`` header for a URL. A user and password in a URL win over it.
    proxies
        Proxy URLs (None: direct) by what they are for: ``"http://"``, ``"https://"`` or
        ``"http://host"``. They win over the environment's.
    ca_file
        Certificate authorities to trust instead of the system's; default: the setting `ca_file`.
    tls
        Makes the TLS context instead, when the first connection is opened.
    guard
        Judges where requests and connections go.
    unix_socket
        Talk HTTP over this socket instead of TCP, whatever host a URL names.
    connections
        How many at a time; default: the setting `connections`. Many small answers want more.

    Attributes
    ----------
    limits
        The settings it was made under.

    Examples
    --------
    >>> async def manifest(url):
    ...     async with Transport() as transport:
    ...         return await transport.get_bytes(url, limit_bytes=4 << 20)
    """

    def __init__(
        self,
        *,
        authorize: Authorize | None = None,
        proxies: Mapping[str, str | None] | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        tls: Callable[[], ssl.SSLContext] | None = None,
        guard: Guard | None = None,
        unix_socket: str | os.PathLike[str] | None = None,
        connections: int | None = None,
        _handler: httpx.AsyncBaseTransport | None = None,
        _sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.limits = settings.current()
        if connections is not None:
            self.limits = dataclasses.replace(self.limits, connections=connections)
        self._authorize = authorize
        self._proxies = dict(proxies or {})
        self._ca_file = ca_file if ca_file is not None else self.limits.ca_file
        self._tls = tls
        self._guard = guard
        self._unix_socket = unix_socket
        self._handler = _handler
        self._pauses = HostPauses(_sleep)
        self._clients: dict[str, httpx.AsyncClient] = {}
        self._entered = False

    async def __aenter__(self) -> Self:
        self._entered = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._entered = False
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.aclose()

    @contextlib.asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | AsyncIterable[bytes] | None = None,
        attempts: Attempts | None = None,
        follow: bool = True,
    ) -> AsyncIterator[Response]:
        """Send a request; gives the answer, whatever its status, with its body unread.

        Retries happen until an answer comes; a body that breaks off is the caller's to handle. A
        body that is sent from an iterator is sent once. Without `follow` a redirect is an answer.

        Raises
        ------
        ConnectionFailedError
            No server, or no answer, after all retries.
        HttpStatusError
            The server still asked to come back later after all retries.
        TransportError
            A redirect that must not be followed, or not an HTTP URL.
        """
        attempts = attempts or Attempts(url, self._pauses, self.limits)
        once = content is not None and not isinstance(content, bytes)
        while True:
            try:
                response = await self._follow(method, url, dict(headers or {}), content, follow)
            except ConnectionFailedError as error:
                if once or method not in _REPEATABLE:
                    raise
                attempts.broke(error)
                continue
            try:
                if response.status in _TRY_AGAIN and not once:
                    attempts.refused(response)
                else:
                    yield response
                    return
            finally:
                await response.close()

    async def get_bytes(
        self, url: str, *, limit_bytes: int, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """The body of a small answer.

        Parameters
        ----------
        limit_bytes
            The longest body that is read; a longer one is an error.

        Raises
        ------
        HttpStatusError
            Any status but 200.
        TransportError
            See `stream`; also a body longer than `limit_bytes`.
        """
        fetched = await self.fetch(url, limit_bytes=limit_bytes, headers=headers)
        if fetched is None:
            raise TransportError(f"{redacted(url)} answered 304 unasked.", url=redacted(url))
        return fetched.body

    async def fetch(
        self,
        url: str,
        *,
        limit_bytes: int,
        etag: str = "",
        last_modified: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Fetched | None:
        """Like `get_bytes`, but None if nothing changed since `etag` or `last_modified`."""
        attempts = Attempts(url, self._pauses, self.limits)
        asked = dict(headers or {})
        if etag:
            asked["If-None-Match"] = etag
        if last_modified:
            asked["If-Modified-Since"] = last_modified
        while True:
            async with self.stream("GET", url, headers=asked, attempts=attempts) as response:
                if response.status == 304 and (etag or last_modified):
                    return None
                if response.status != 200:
                    raise await status_error(response)
                try:
                    body = await response.read(limit_bytes)
                except ConnectionFailedError as error:
                    attempts.broke(error)
                    continue
                return Fetched(
                    body,
                    response.url,
                    response.headers.get("etag", ""),
                    response.headers.get("last-modified", ""),
                )

    async def download(
        self,
        url: str,
        destination: str | os.PathLike[str],
        *,
        sha256: str | None = None,
        size_bytes: int | None = None,
        progress: TransferProgress | None = None,
    ) -> Downloaded:
        """Fetch into a file, verified before it appears under its name.

        What a broken transfer left behind is taken up again, in this process (checked with
        ``If-Range``) or, if `sha256` is given, in a later one.

        Parameters
        ----------
        destination
            The file; ``<destination>.part`` beside it holds what has arrived so far.
        sha256, size_bytes
            What the body must be. A different size is refused before it is read.
        progress
            Told (bytes arrived, bytes in all or 0) as they arrive.

        Raises
        ------
        DigestMismatchError, SizeMismatchError
            The body is not what was announced. Nothing is left.
        StorageFullError
            The disk is full. Nothing is left.
        HttpStatusError, ConnectionFailedError, TransportError
            See `stream`.
        """
        expected = None if sha256 is None else Digest("sha256", sha256.lower())
        return await download(self, url, os.fspath(destination), expected, size_bytes, progress)

    def attempts(self, url: str, *, retries: int | None = None) -> Attempts:
        """The retries of one transfer that needs several requests; default: the setting."""
        return Attempts(url, self._pauses, self.limits, retries)

    async def _follow(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        content: bytes | AsyncIterable[bytes] | None,
        follow: bool,
    ) -> Response:
        """Send, and follow redirects if that is wanted."""
        url, login = split_credentials(url)
        home = origin_of(url)
        if login is not None:
            headers["Authorization"] = basic_authorization(*login)
        first = url
        for _ in range(self.limits.redirect_limit + 1):
            origin = origin_of(url)
            own = dict(headers)
            if origin != home:
                own = {k: v for k, v in own.items() if k.lower() not in _PRIVATE_HEADERS}
            if self._guard is not None:
                self._guard.check(url)
            if self._authorize is not None and "authorization" not in map(str.lower, own):
                own |= {"Authorization": value} if (value := self._authorize(url)) else {}
            response = await self._send(method, url, own, content)
            is_redirect = response.status in _REDIRECTS and "location" in response.headers
            if not (is_redirect and follow):
                return response
            await response.close()
            if content is not None and not isinstance(content, bytes):
                raise TransportError(
                    f"{redacted(url)} redirects a body that can be sent only once.",
                    url=redacted(url),
                )
            # A Location's own user part is the server's wish, not ours: dropped.
            try:
                target = urljoin(url, response.headers["location"])
            except ValueError as error:
                raise TransportError(
                    f"{redacted(url)} redirects to what is no URL: {error}.", url=redacted(url)
                ) from error
            target, _login = split_credentials(target)
            if origin[0] == "https" and origin_of(target)[0] == "http":
                raise TransportError(
                    f"{redacted(url)} redirects from https to http ({redacted(target)}).",
                    url=redacted(url),
                    hint="That would send the request unencrypted; it is never followed.",
                )
            if response.status == 303 or (response.status in {301, 302} and method == "POST"):
                method, content = ("HEAD" if method == "HEAD" else "GET"), None
            url = target
        raise TransportError(
            f"{redacted(first)} redirects more than {self.limits.redirect_limit} times.",
            url=redacted(first),
            hint=f"The last address was {redacted(url)}.",
        )

    async def _send(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        content: bytes | AsyncIterable[bytes] | None,
    ) -> Response:
        from nbdock.transport.http import httpx

        scheme, host, _ = origin_of(url)
        await self._pauses.wait(host)
        client = self._open_client(scheme)
        try:
            request = client.build_request(method, url, headers=headers, content=content)
            began_s = time.monotonic()
            response = Response(await client.send(request, stream=True))
        except (httpx.InvalidURL, UnicodeError) as error:
            raise TransportError(
                f"{redacted(url)} is not a URL: {error}.", url=redacted(url)
            ) from error
        except httpx.HTTPError as error:
            raise connection_error(error, url) from error
        if _log.isEnabledFor(logging.DEBUG):
            after_s = time.monotonic() - began_s
            _log.debug("%s %s: %d, %.3f s", method, redacted(url), response.status, after_s)
        return response

    def _open_client(self, scheme: str) -> httpx.AsyncClient:
        """The client for a scheme, made with its first request."""
        if scheme in self._clients:
            return self._clients[scheme]
        if not self._entered:
            raise RuntimeError("a Transport is used inside `async with Transport(...)`")
        from nbdock.transport.http import httpx

        # Not for plain http: reading the authorities' file takes longer than a small request.
        context = plain_context() if scheme == "http" else self._tls_context()
        limits = httpx.Limits(
            max_connections=self.limits.connections,
            max_keepalive_connections=self.limits.connections,
            keepalive_expiry=self.limits.silence_timeout_s,
        )
        handler = self._handler
        if handler is None and self._unix_socket is not None:
            handler = httpx.AsyncHTTPTransport(
                uds=os.fspath(self._unix_socket), limits=limits, verify=context
            )
        mounts: dict[str, httpx.AsyncBaseTransport | None] = {}
        if handler is None:
            for pattern, proxy in self._proxies.items():
                mounts[pattern] = (
                    httpx.AsyncHTTPTransport(verify=context, limits=limits, proxy=proxy)
                    if proxy
                    else None
                )
        try:
            client = httpx.AsyncClient(
                verify=context,
                http1=True,
                http2=False,
                follow_redirects=False,
                limits=limits,
                # Waiting for one of our own connections is not the server's silence.
                timeout=httpx.Timeout(self.limits.silence_timeout_s, pool=None),
                # Digests are of the bytes on the wire; nothing here wants them coded again.
                headers={"User-Agent": "nbdock", "Accept": "*/*", "Accept-Encoding": "identity"},
                transport=handler,
                mounts=mounts or None,
            )
        except (ValueError, httpx.InvalidURL) as error:
            raise TransportError(
                f"A proxy in the environment cannot be used: {error}.",
                hint="Look at http_proxy, https_proxy, all_proxy and no_proxy.",
            ) from error
        if self._guard is not None:
            from nbdock.transport.guarded import guard_connections

            guard_connections(client, self._guard)
        self._clients[scheme] = client
        return client

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is not None:
            return self._tls()
        try:
            return usual_context(self._ca_file)
        except (OSError, ssl.SSLError) as error:
            raise TransportError(
                f"The certificate authorities in {self._ca_file or 'the default place'} "
                f"cannot be read: {error}.",
                hint="ca_file is a file of certificates in PEM form.",
            ) from error
