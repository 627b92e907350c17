"""One registry: where it is, how it is spoken to, and everything that is asked of it.

A host owns a `Transport` of its own, so that what is trusted for one registry (a certificate
authority, plain http, where it may lead) is trusted for no other.

- The scheme. https; where plain http is allowed (a registry on this machine, or one that the user
  says is insecure), the server is asked once which of both it speaks. A certificate that is not
  trusted is an error, never a reason for http.
- Authorization goes to this registry's own origin only. A 401 is answered with what its challenge
  asks for, at any request, so a token that expires in the middle of a pull is replaced.

    async with RegistryHost("docker.io", credentials=..., trust=...) as hub:
        answer = await hub.fetch("GET", "/v2/", limit_bytes=1 << 16, what="its version")
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterable, AsyncIterator, Callable, Collection, Mapping
from types import TracebackType
from typing import Self
from urllib.parse import urljoin, urlsplit

from nbdock import settings
from nbdock.errors import (
    ConnectionFailedError,
    HttpStatusError,
    RegistryError,
    TransportError,
    UnsafeDestinationError,
    UntrustedCertificateError,
)
from nbdock.registry.answers import Warnings, printable, refusal
from nbdock.registry.authfiles import DOCKER_HUB
from nbdock.registry.authorization import Authorization
from nbdock.registry.credentials import Credentials
from nbdock.registry.destinations import Destinations, is_this_machine
from nbdock.registry.scopes import NOTHING, Access
from nbdock.registry.trust import Trust
from nbdock.transport import Attempts, Response, Transport, origin_of, redacted

__all__ = ["Answer", "BlobRequests", "RegistryHost", "api_address"]

_HUB_ADDRESS = "registry-1.docker.io"


def api_address(registry: str) -> str:
    """Host and port where a registry's API is; only Docker Hub's is elsewhere than its name."""
    return _HUB_ADDRESS if registry == DOCKER_HUB else registry


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
    credentials
        Where its login comes from.
    trust
        How it may be spoken to.
    is_mirror
        Whether it stands in for the registry that was named.
    places
        Judges where it leads; default: by the address that it has.
    """

    def __init__(
        self,
        name: str,
        *,
        credentials: Credentials,
        trust: Trust,
        warnings: Warnings,
        is_mirror: bool = False,
        places: Callable[[str], Destinations] | None = None,
    ) -> None:
        self.name = name
        self.is_mirror = is_mirror
        address = urlsplit(f"//{api_address(name)}").hostname or ""
        trusted = settings.current().registry_trusted_hosts
        self.destinations = places(address) if places else Destinations(address, trusted=trusted)
        # What is on this machine is not behind a proxy, whatever the environment says.
        bracketed = f"[{address}]" if ":" in address else address
        direct = {f"all://{bracketed}": None} if is_this_machine(name) else None
        self.transport = Transport(
            guard=self.destinations, tls=trust.context(), proxies=direct,
            connections=max(settings.current().connections, settings.current().registry_blobs),
        )  # fmt: skip
        self._authorization = Authorization(
            name, credentials=credentials, transport=self.transport,
            destinations=self.destinations, base=lambda: self._base, is_mirror=is_mirror,
        )  # fmt: skip
        self._allow_http = trust.allow_http
        self._warnings = warnings
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
        # http first: it needs no certificates to be read, tells a server of https nothing, and
        # that answers 400 or hangs up.
        try:
            return await self._knock(f"http{place}", retries=0)
        except ConnectionFailedError as no_http:
            if is_this_machine(self.name) and _is_refused(no_http):
                # Whoever listened for https would have it at this port too.
                no_http.hint = "Is the registry running?"
                raise
            try:
                return await self._knock(f"https{place}", retries=0)
            except UntrustedCertificateError:
                raise
            except ConnectionFailedError:
                # Nobody there, or the connection broke by chance.
                with contextlib.suppress(ConnectionFailedError):
                    return await self._knock(f"http{place}")
                raise no_http from None

    async def _knock(self, url: str, *, retries: int | None = None) -> str:
        """The scheme of a server that answers, after redirects; notes if it wants a login."""
        attempts = self.transport.attempts(url, retries=retries)
        try:
            async with self.transport.stream("GET", url, attempts=attempts) as response:
                scheme = origin_of(response.url)[0]
                if response.status == 400 and scheme == "http":
                    return "https"
                if response.status == 401 and origin_of(response.url) == origin_of(url):
                    challenge = response.headers.get("www-authenticate", "")
                    await self._authorization.challenged(challenge, NOTHING, None)
                await _read_up(response)
                return scheme
        except HttpStatusError:
            return origin_of(url)[0]

    @contextlib.asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        what: str,
        access: Access = NOTHING,
        headers: Mapping[str, str] | None = None,
        content: bytes | Callable[[], AsyncIterable[bytes]] | None = None,
        attempts: Attempts | None = None,
        follow: bool = True,
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
        access
            What it needs to be allowed.
        content
            A body, or what makes one that is sent as it is made.
        follow
            Whether redirects are followed; else they are answers.

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
            used = await self._authorization.header(access) if is_home else None
            if used is not None:
                own["Authorization"] = used
            async with self.transport.stream(
                method, url, headers=own, content=content() if callable(content) else content,
                attempts=attempts, follow=follow,
            ) as response:  # fmt: skip
                self._check_headers(response)
                self._warnings.note(response, self.name)
                if response.status in statuses:
                    yield response
                    return
                # Not the challenge of a place that the registry redirected to.
                is_answerable = is_home and origin_of(response.url) == home
                challenge = response.headers.get("www-authenticate", "")
                if (
                    (response.status == 401 or "insufficient_scope" in challenge)
                    and is_answerable
                    and not is_last
                    and await self._authorization.challenged(challenge, access, used)
                ):
                    await _read_up(response)
                    continue
                login = self._authorization.login_hint(access) if is_answerable else ""
                raise await refusal(response, what, login=login)

    def _check_headers(self, response: Response) -> None:
        limit_bytes = self.limits.registry_header_limit_bytes
        size_bytes = sum(len(name) + len(value) + 4 for name, value in response.headers.items())
        if size_bytes > limit_bytes:
            raise RegistryError(
                f"{redacted(response.url)} answered with {size_bytes:,} bytes of headers; "
                f"{limit_bytes:,} are the most.",
                status=response.status,
                url=redacted(response.url),
            )

    def led_to(self, location: str, start: str = "") -> str:
        """A URL of which this registry says that data are to be asked for or sent there, judged.

        Parameters
        ----------
        location
            The URL; it may be relative to `start`.

        Raises
        ------
        UnsafeDestinationError
            It has no business there.
        """
        try:
            url = urljoin(start, location)
            home, parts = urlsplit(self._base), urlsplit(url)
        except ValueError:
            raise UnsafeDestinationError(
                f"The registry {self.name} leads to {printable(location, 80)!r}, which is no "
                "address."
            ) from None
        if (home.scheme, parts.scheme) == ("https", "http") and parts.hostname == home.hostname:
            # A registry that does not know of the TLS before it: by http it would not be reached.
            url = parts._replace(scheme=home.scheme, netloc=home.netloc).geturl()
        self.destinations.check_secret(url, self._base)
        return url.partition("#")[0]

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        limit_bytes: int,
        what: str,
        access: Access = NOTHING,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        statuses: Collection[int] = (200,),
    ) -> Answer:
        """Send a request whose answer is small, and read it; see `stream`."""
        attempts = self.transport.attempts(urljoin(f"{await self.base()}/", url))
        while True:
            async with self.stream(
                method, url, what=what, access=access, headers=headers, content=content,
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


def _is_refused(error: BaseException) -> bool:
    """Whether nobody listens there."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ConnectionRefusedError):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


async def _read_up(response: Response) -> None:
    """Read what is left of a small answer, so that its connection can be used again."""
    with contextlib.suppress(TransportError):
        await response.read(64 << 10)


@dataclasses.dataclass(frozen=True, slots=True)
class BlobRequests:
    """A host as `transport.download` asks: every range request gets a token that is valid then."""

    host: RegistryHost
    access: Access
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
            method, url, what=self.what, access=self.access, headers=headers, attempts=attempts,
            statuses=(200, 206, 416),
        )  # fmt: skip
