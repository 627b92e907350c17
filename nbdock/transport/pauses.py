"""When to ask a host again: backoff that all transfers from one host share.

A server that says "429 Too Many Requests" means all of us, so one pause per host stands for every
transfer: the first to be told waits, and so does each other before its next request.

    >>> retry_after_s("120", now_s=0.0)
    120.0
    >>> retry_after_s("Thu, 01 Jan 1970 00:01:00 GMT", now_s=10.0)
    50.0
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime

__all__ = ["HostPauses", "retry_after_s"]

_FIRST_S = 0.25
_LONGEST_S = 30.0


def retry_after_s(text: str | None, *, now_s: float) -> float | None:
    """Seconds that a ``Retry-After`` header asks to wait (RFC 9110, 10.2.3); None: it does not.

    Parameters
    ----------
    text
        The header: a count of seconds or an HTTP date.
    now_s
        The clock, in seconds since the epoch.
    """
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_s)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


class HostPauses:
    """Until when each host wants to be left alone.

    Parameters
    ----------
    sleep
        Waits for seconds; a test gives its own.
    """

    def __init__(self, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        self._until: dict[str, float] = {}
        self._sleep = sleep

    async def wait(self, host: str) -> None:
        """Wait until `host` may be asked again."""
        while (left := self._until.get(host, 0.0) - time.monotonic()) > 0:
            # Taken off before sleeping so that a test's sleep need not take real time; others
            # that come meanwhile wait for the same moment.
            until = self._until[host]
            await self._sleep(left)
            if self._until.get(host) == until:
                del self._until[host]

    def extend(self, host: str, *, attempt: int, asked_s: float | None = None) -> float:
        """Leave `host` alone for what it asked, else for longer with every attempt; the seconds."""
        if asked_s is None:
            # Spread out, so that transfers that broke together do not come back together.
            asked_s = min(_LONGEST_S, _FIRST_S * 2**attempt) * random.uniform(0.5, 1.0)  # noqa: S311
        self._until[host] = max(self._until.get(host, 0.0), time.monotonic() + asked_s)
        return asked_s
