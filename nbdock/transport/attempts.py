"""How often a transfer that broke is taken up again, and when it is given up."""

from __future__ import annotations

import time

from nbdock import settings
from nbdock.errors import ConnectionFailedError, HttpStatusError, UntrustedCertificateError
from nbdock.transport.pauses import HostPauses, retry_after_s
from nbdock.transport.redacted import origin_of, redacted
from nbdock.transport.response import Response

__all__ = ["Attempts"]


class Attempts:
    """How often one transfer may still be taken up again; raises when it may not."""

    def __init__(
        self, url: str, pauses: HostPauses, limits: settings.Settings, retries: int | None = None
    ) -> None:
        self.url = redacted(url)
        self.count = 0
        self._retries = limits.retries if retries is None else retries
        self._pauses = pauses
        self._limits = limits

    def progressed(self) -> None:
        """Much arrived since the last failure: start counting anew."""
        self.count = 0

    def again(self) -> bool:
        """Note another kind of failure; whether the transfer may be taken up once more."""
        if self.count >= self._retries:
            return False
        self._pauses.extend(origin_of(self.url)[1], attempt=self.count)
        self.count += 1
        return True

    def broke(self, error: ConnectionFailedError) -> None:
        """Note a broken connection; raises `error` if it was the last attempt."""
        if isinstance(error, UntrustedCertificateError) or not self.again():
            raise error

    def refused(self, response: Response) -> None:
        """Note a status that asks to come back later; raises if it was the last attempt."""
        asked_s = retry_after_s(response.headers.get("retry-after"), now_s=time.time())
        limit_s = self._limits.retry_after_limit_s
        if asked_s is not None and asked_s > limit_s:
            raise HttpStatusError(
                f"{redacted(response.url)} answered {response.status} and asks to wait "
                f"{asked_s:.0f} seconds.",
                status=response.status,
                url=redacted(response.url),
                hint=f"Try again later. The longest wait is the setting retry_after_limit_s "
                f"({limit_s:.0f} seconds).",
            )
        if self.count >= self._retries:
            raise HttpStatusError(
                f"{redacted(response.url)} answered {response.status} {self.count + 1} times.",
                status=response.status,
                url=redacted(response.url),
                hint="The server is overloaded or broken; try again later.",
            )
        self._pauses.extend(origin_of(response.url)[1], attempt=self.count, asked_s=asked_s)
        self.count += 1
