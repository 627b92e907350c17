"""What comes back: an answer whose body is read on demand, and the errors that answers become."""

from __future__ import annotations

import contextlib
import dataclasses
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING

from nbdock.errors import (
    ConnectionFailedError,
    HttpStatusError,
    TransportError,
    UntrustedCertificateError,
)
from nbdock.transport.redacted import redacted

if TYPE_CHECKING:
    import httpx

__all__ = ["Fetched", "Response", "connection_error", "status_error"]

_EXCERPT_BYTES = 400


@dataclasses.dataclass(frozen=True, slots=True)
class Fetched:
    """A small body with what is needed to ask later whether it changed."""

    body: bytes
    url: str
    etag: str
    last_modified: str


class Response:
    """An answer whose body has not been read yet; valid inside the ``async with`` that made it.

    Attributes
    ----------
    status, headers, url
        `headers` is a mapping without regard to case; `url` is where the redirects ended.
    """

    def __init__(self, raw: httpx.Response) -> None:
        self._raw = raw
        self.status = raw.status_code
        self.headers: Mapping[str, str] = raw.headers
        self.url = str(raw.url)

    @property
    def announced_bytes(self) -> int | None:
        """The ``Content-Length``, if there is a usable one."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdigit() else None

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes over the wire: no content coding is undone, digests are of this.

        Raises
        ------
        ConnectionFailedError
            The body broke off or the server fell silent.
        """
        from nbdock.transport.http import httpx

        try:
            async for chunk in self._raw.aiter_raw():
                yield chunk
        except httpx.HTTPError as error:
            raise connection_error(error, self.url) from error

    @property
    def is_pourable(self) -> bool:
        """Whether `pour` can give the body; nothing may have been read of it."""
        from nbdock.transport.unread import UnreadBody

        return UnreadBody.of(self._raw) is not None

    async def pour(
        self, write: Callable[[memoryview], object], *, timeout_s: float | None
    ) -> AsyncIterator[int]:
        """Give the body to `write`, in a worker; yields the counts of bytes. Faster than `chunks`.

        Parameters
        ----------
        timeout_s
            How long the server may be silent. Seconds.

        Raises
        ------
        ConnectionFailedError
            The body broke off or the server fell silent.
        """
        import httpcore

        from nbdock.transport.unread import UnreadBody

        body = UnreadBody.of(self._raw)
        assert body is not None
        try:
            async for count in body.pour(write, timeout_s=timeout_s):
                yield count
        except (httpcore.NetworkError, httpcore.TimeoutException) as error:
            raise connection_error(error, self.url) from error
        if body.left_bytes:
            raise connection_error(
                httpcore.RemoteProtocolError(f"{body.left_bytes:,} bytes are missing"), self.url
            )

    async def read(self, limit_bytes: int) -> bytes:
        """The whole body.

        Raises
        ------
        TransportError
            It is longer than `limit_bytes`.
        """
        announced = self.announced_bytes
        body = bytearray()
        if announced is None or announced <= limit_bytes:
            async for chunk in self.chunks():
                body += chunk
                if len(body) > limit_bytes:
                    break
            else:
                return bytes(body)
        raise TransportError(
            f"The answer of {redacted(self.url)} is longer than {limit_bytes:,} bytes.",
            url=redacted(self.url),
            hint="Is this the right address?",
        )

    async def close(self) -> None:
        """Give the connection back, or close it if the body was not read to its end."""
        if self._raw.request.method == "HEAD" and not self._raw.is_stream_consumed:
            # It has no body, but only who has read as much gives the connection back.
            with contextlib.suppress(ConnectionFailedError):
                async for _ in self.chunks():
                    pass
        await self._raw.aclose()


def connection_error(error: Exception, url: str) -> ConnectionFailedError:
    """What went wrong below HTTP, as one of our errors; its cause is a TLS error if it was one."""
    shown = redacted(url)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return UntrustedCertificateError(
                f"The certificate of {shown} is not trusted: {cause.verify_message}.",
                url=shown,
                hint="If an authority of your own signed it, name its file with the setting "
                "ca_file.",
            )
        cause = cause.__cause__ or cause.__context__
    kind = type(error).__name__
    what = {
        "ConnectTimeout": "did not answer in time",
        "ReadTimeout": "fell silent",
        "WriteTimeout": "stopped reading",
        "RemoteProtocolError": "broke off its answer",
        "ReadError": "broke off its answer",
        "ProxyError": "cannot be reached through the proxy",
    }.get(kind, "cannot be reached")
    detail = str(error).strip()
    return ConnectionFailedError(
        f"{shown} {what}{f' ({detail})' if detail else ''}.",
        url=shown,
        hint="Check the network, the proxy settings (http_proxy, https_proxy) and the address.",
    )


async def status_error(response: Response) -> HttpStatusError:
    """The error for an answer that is not the one wanted, with the first line of what it says."""
    try:
        said = bytearray()
        async for chunk in response.chunks():
            said += chunk
            if len(said) >= _EXCERPT_BYTES:
                break
    except ConnectionFailedError:
        pass
    text = bytes(said[:_EXCERPT_BYTES]).decode("utf-8", "replace").strip()
    is_page = "html" in response.headers.get("content-type", "") or text.startswith("<")
    line = "" if is_page or not text else text.splitlines()[0]
    hint = {
        401: "The server wants credentials.",
        403: "The server refuses; does it want credentials?",
        404: "There is nothing at this address.",
        407: "The proxy wants credentials.",
    }.get(response.status)
    return HttpStatusError(
        f"{redacted(response.url)} answered {response.status}{f': {line}' if line else ''}.",
        status=response.status,
        url=redacted(response.url),
        hint=hint,
    )
