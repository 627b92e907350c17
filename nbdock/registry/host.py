"""One registry: where it is, how it is spoken to, and everything that is asked of it.

A host owns a `Transport` of its own, so that what is trusted for one registry (a certificate
authority, plain http, where it may lead) is trusted for no other.

- The scheme. https; where plain http is allowed (a registry on this machine, or one that the user
  says is insecure), the server is asked once over https, and spoken to over http if it does not
  know TLS. A certificate that is not trusted is an error, never a reason for http.
- Authorization goes to this registry's own origin only. A 401 is answered with what its challenge
  asks for, at any request, so a token that expires in the middle of a pull is replaced.

    async with RegistryHost("docker.io", authorizer=...) as hub:
        answer = await hub.fetch("GET", "/v2/", limit_bytes=1 << 16, what="its version")
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterable, AsyncIterator, Collection, Mapping
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import urljoin

from nbdock import settings
from nbdock.errors import (
    ConnectionFailedError,
    HttpStatusError,
    TransportError,
    UntrustedCertificateError,
)
from nbdock.registry.answers import Warnings, refusal
from nbdock.transport import Attempts, Response, Transport, origin_of, redacted

__all__ = ["DOCKER_HUB", "Answer", "Authorizer", "BlobRequests", "RegistryHost", "api_address"]

DOCKER_HUB = "docker.io"
_HUB_ADDRESS = "registry-1.docker.io"
_NO_SCOPES: frozenset[str] = frozenset()
_REPEATABLE = (type(None), bytes)


def api_address(registry: str) -> str:
    """Host and port where a registry's API is; only Docker Hub's is elsewhere than its name."""
    return _HUB_ADDRESS if registry == DOCKER_HUB else registry


class Authorizer(Protocol):
    """What gives a registry's requests their ``Authorization``."""

    async def header(self, scopes: frozenset[str]) -> str | None:
        """The header for requests that need these scopes; None: none, as far as is known."""
        ...

    async def challenged(self, challenge: str, scopes: frozenset[str], used: str | None) -> bool:
        """Take in a ``WWW-Authenticate``; whether it makes sense to ask again.

        `used` is the header of the request that was refused.
        """
        ...

    @property
    def login_hint(self) -> str:
        """Which login is used, as a sentence for errors."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """A small answer, read to its end."""

    body: bytes
    headers: Mapping[str, str]
    status: int
    url: str


class RegistryHost:
    """One registry, named as in a reference (``docker.io``, ``localhost:5000``).

    Parameters
    ----------
    transport
        What it is spoken to with; entered and left with the host.
    authorizer
        Where its tokens come from; None: requests go without.
    allow_http
        Whether it may be spoken to without TLS.
    """

    def __init__(
        self,
        name: str,
        *,
        transport: Transport,
        authorizer: Authorizer | None = None,
        allow_http: bool = False,
        warnings: Warnings | None = None,
    ) -> None:
        self.name = name
        self.transport = transport
        self._authorizer = authorizer
        self._allow_http = allow_http
        self._warnings = warnings or Warnings()
        self._base = ""
        self._finding_base = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await self.transport.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.transport.__aexit__(kind, error, trace)

    @property
    def limits(self) -> settings.Settings:
        """The settings in force."""
        return self.transport.limits

    async def base(self) -> str:
        """The URL of the API's root, such as ``https://registry-1.docker.io``."""
        if not self._base:
            async with self._finding_base:
                if not self._base:
                    self._base = f"{await self._scheme()}://{api_address(self.name)}"
        return self._base

    async def _scheme(self) -> str:
        if not self._allow_http:
            return "https"
        place = f"://{api_address(self.name)}/v2/"
        try:
            await self._knock(f"https{place}", retries=0)
        except UntrustedCertificateError:
            raise
        except ConnectionFailedError as no_tls:
            try:
                status = await self._knock(f"http{place}")
            except ConnectionFailedError as error:
                raise error from no_tls
            # What servers of https answer to http; then TLS only broke off by chance.
            return "https" if status == 400 else "http"
        return "https"

    async def _knock(self, url: str, *, retries: int | None = None) -> int:
        attempts = self.transport.attempts(url, retries=retries)
        try:
            async with self.transport.stream("GET", url, attempts=attempts) as response:
                return response.status
        except HttpStatusError as error:
            return error.status

    @contextlib.asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        what: str,
        scopes: frozenset[str] = _NO_SCOPES,
        headers: Mapping[str, str] | None = None,
        content: bytes | AsyncIterable[bytes] | None = None,
        attempts: Attempts | None = None,
        statuses: Collection[int] = (200,),
    ) -> AsyncIterator[Response]:
        """Send a request; the answer with its body unread, if its status is one of `statuses`.

        Parameters
        ----------
        url
            A path of this registry, or a whole URL. Only at the registry itself does it get
            an authorization.
        what
            What is asked for, for errors: "the tags of docker.io/library/redis".
        scopes
            What a token must allow: ``repository:library/redis:pull``.

        Raises
        ------
        AuthenticationError, RegistryError
            Any other status.
        TransportError
            See `Transport.stream`.
        """
        base = await self.base()
        url = urljoin(f"{base}/", url)
        home = origin_of(base)
        is_home = origin_of(url) == home
        for is_last in (False, False, True):
            own = dict(headers or {})
            used = None
            if is_home and self._authorizer is not None:
                used = await self._authorizer.header(scopes)
                if used is not None:
                    own["Authorization"] = used
            async with self.transport.stream(
                method, url, headers=own, content=content, attempts=attempts
            ) as response:
                self._warnings.note(response, self.name)
                if response.status in statuses:
                    yield response
                    return
                if (
                    response.status == 401
                    and not is_last
                    and self._authorizer is not None
                    and isinstance(content, _REPEATABLE)
                    # Not the challenge of a place that the registry redirected to.
                    and origin_of(response.url) == home
                    and await self._authorizer.challenged(
                        response.headers.get("www-authenticate", ""), scopes, used
                    )
                ):
                    continue
                login = self._authorizer.login_hint if self._authorizer and is_home else ""
                raise await refusal(response, what, login=login)

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        limit_bytes: int,
        what: str,
        scopes: frozenset[str] = _NO_SCOPES,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        statuses: Collection[int] = (200,),
    ) -> Answer:
        """Send a request whose answer is small, and read it; see `stream`."""
        attempts = self.transport.attempts(urljoin(f"{await self.base()}/", url))
        while True:
            async with self.stream(
                method, url, what=what, scopes=scopes, headers=headers, content=content,
                attempts=attempts, statuses=statuses,
            ) as response:  # fmt: skip
                try:
                    body = b"" if method == "HEAD" else await response.read(limit_bytes)
                except ConnectionFailedError as error:
                    if method not in {"GET", "HEAD"}:
                        raise
                    attempts.broke(error)
                    continue
                except TransportError as error:
                    raise TransportError(
                        f"The answer to the request for {what} is longer than {limit_bytes:,} "
                        "bytes.",
                        url=redacted(response.url),
                        hint="A registry does not send so much; is this one?",
                    ) from error
                return Answer(body, response.headers, response.status, response.url)


@dataclasses.dataclass(frozen=True, slots=True)
class BlobRequests:
    """A host as `transport.download` asks: every range request gets a token that is valid then."""

    host: RegistryHost
    scopes: frozenset[str]
    what: str

    @property
    def limits(self) -> settings.Settings:
        """The settings in force."""
        return self.host.limits

    def attempts(self, url: str) -> Attempts:
        """The retries of one transfer."""
        return self.host.transport.attempts(url)

    def stream(
        self, method: str, url: str, *, headers: Mapping[str, str], attempts: Attempts
    ) -> contextlib.AbstractAsyncContextManager[Response]:
        """Send a request for the blob, or for a range of it."""
        return self.host.stream(
            method, url, what=self.what, scopes=self.scopes, headers=headers, attempts=attempts,
            statuses=(200, 206, 416),
        )  # fmt: skip
