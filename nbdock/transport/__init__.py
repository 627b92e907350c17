"""Bytes over HTTP for every room above: the one httpx seam."""

from typing import TYPE_CHECKING, Any

from nbdock.transport.attempts import Attempts
from nbdock.transport.download import Downloaded, Requests, TransferProgress, Witness, download
from nbdock.transport.redacted import origin_of, redacted
from nbdock.transport.response import Fetched, Response
from nbdock.transport.transport import Authorize, Transport, basic_authorization

if TYPE_CHECKING:
    from nbdock.transport.guarded import Guard
    from nbdock.transport.unixsocket import UnixSocket

__all__ = [  # noqa: RUF022 (by importance)
    "Transport",
    "Response",
    "Fetched",
    "Downloaded",
    "download",
    "Requests",
    "Witness",
    "Attempts",
    "Authorize",
    "TransferProgress",
    "Guard",
    "UnixSocket",
    "basic_authorization",
    "redacted",
    "origin_of",
]


def __getattr__(name: str) -> Any:
    # Their modules import httpx, which `import nbdock` must not wait for.
    if name == "UnixSocket":
        from nbdock.transport.unixsocket import UnixSocket

        return UnixSocket
    if name == "Guard":
        from nbdock.transport.guarded import Guard

        return Guard
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
