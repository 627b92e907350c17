"""The TLS contexts that certificates are verified with, if nothing else is said."""

from __future__ import annotations

import contextlib
import functools
import os
import ssl

__all__ = ["plain_context", "usual_context"]


def usual_context(ca_file: str | os.PathLike[str] | None) -> ssl.SSLContext:
    """The authorities to trust: 40 ms to read, so again only when their file has changed."""
    if ca_file is None:
        own, named = None, [os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")]
    else:
        own, named = os.fspath(ca_file), []
    defaults = ssl.get_default_verify_paths()
    stamps: list[object] = [*named]
    for path in (own, *named, defaults.openssl_cafile, defaults.openssl_capath):
        with contextlib.suppress(OSError):
            facts = os.stat(path or "")
            stamps.append((facts.st_ino, facts.st_size, facts.st_mtime_ns))
    return _read(own, *stamps)


@functools.lru_cache(maxsize=8)
def _read(ca_file: str | None, *_facts: object) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)


def plain_context() -> ssl.SSLContext:
    """For who talks plain http, and must give httpx a context: one that trusts nobody."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
