"""How a URL is written where people read it: without what only a server should see.

User names, passwords and the query (where signed URLs keep their tokens) leave the text; the host
and the path, which a reader needs, stay.

    >>> redacted("https://me:secret@host/pool/a.deb?token=1#x")
    'https://host/pool/a.deb?…'
"""

from __future__ import annotations

from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from nbdock.errors import TransportError

__all__ = ["Origin", "origin_of", "redacted", "split_credentials"]

Origin = tuple[str, str, int]
"""Scheme, host and port: what credentials belong to."""

_PORTS = {"http": 80, "https": 443}


def _bare_host(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def redacted(url: str) -> str:
    """`url` without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(not a URL)"
    return urlunsplit((parts.scheme, _bare_host(parts), parts.path, "…" if parts.query else "", ""))


def split_credentials(url: str) -> tuple[str, tuple[str, str] | None]:
    """`url` without its user part, and that part as (user, password)."""
    parts = urlsplit(url)
    bare = urlunsplit((parts.scheme, _bare_host(parts), parts.path, parts.query, ""))
    if "@" not in parts.netloc:
        return bare, None
    return bare, (unquote(parts.username or ""), unquote(parts.password or ""))


def origin_of(url: str) -> Origin:
    """Scheme, host and port of an HTTP URL.

    Raises
    ------
    TransportError
        Not an http or https URL with a host.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise TransportError(f"{redacted(url)} is not a URL: {error}.", url=redacted(url)) from None
    scheme = parts.scheme.lower()
    if scheme not in _PORTS or not parts.hostname:
        raise TransportError(
            f"{redacted(url)} is not an http or https URL.",
            url=redacted(url),
            hint="Only http:// and https:// addresses with a host can be fetched.",
        )
    return scheme, parts.hostname.lower(), port or _PORTS[scheme]
