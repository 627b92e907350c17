"""What registries answer when they refuse, as our errors.

The body is ``{"errors": [{"code": ..., "message": ..., "detail": ...}]}`` by the specification, a
page of some proxy in practice, and anything at all from a hostile server: what is shown of it is
short, on one line, and has no control characters.

    >>> said(b'{"errors": [{"code": "NAME_UNKNOWN", "message": "no such repository"}]}')
    (('NAME_UNKNOWN',), 'no such repository')
"""

from __future__ import annotations

import json
import logging
import re

from nbdock.errors import AuthenticationError, NbdockError, RegistryError
from nbdock.transport import Response, redacted

__all__ = ["Warnings", "is_missing", "printable", "refusal", "said"]

_log = logging.getLogger(__name__)

_BODY_LIMIT_BYTES = 64 << 10
_SHOWN_CHARACTERS = 300
_CODE = re.compile(r"[A-Z0-9_]{1,64}")
_WARNING = re.compile(r'\b299 +\S+ +"((?:[^"\\]|\\.){1,1000})"')
_WARNINGS_LIMIT = 20


def printable(text: str, limit: int = _SHOWN_CHARACTERS) -> str:
    r"""A stranger's text for one line of a terminal or a notebook.

    >>> printable("a\n\x1b[31mb", 80)
    'a [31mb'
    """
    line = "".join(c if c.isprintable() else " " for c in text[: limit * 4])
    line = " ".join(line.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def said(body: bytes) -> tuple[tuple[str, ...], str]:
    """The codes and the first message in the body of a refusal; empty if it has none."""
    try:
        document = json.loads(body)
        errors = document.get("errors") or []
        codes = tuple(
            error["code"] for error in errors[:10]
            if isinstance(error.get("code"), str) and _CODE.fullmatch(error["code"])
        )  # fmt: skip
        messages = [m for e in errors[:10] if isinstance(m := e.get("message"), str) and m]
        # Token servers say it in other fields.
        messages += [m for k in ("details", "message", "error_description", "error")
                     if isinstance(m := document.get(k), str) and m]  # fmt: skip
    except (ValueError, TypeError, AttributeError, RecursionError):
        return (), ""
    return codes, printable(messages[0]) if messages else ""


def is_missing(error: RegistryError) -> bool:
    """Whether the registry does not have what it was asked for, by its own word.

    A token server that is not where the registry says answers 404 too.
    """
    return error.status == 404 and not isinstance(error, AuthenticationError)


async def refusal(
    response: Response, what: str, *, kind: type[RegistryError] | None = None, login: str = ""
) -> RegistryError:
    """The error for an answer that is not the one wanted.

    Parameters
    ----------
    what
        What was asked for, as in "the tags of docker.io/library/redis".
    kind
        The error's class; default: `AuthenticationError` for 401 and 403, else `RegistryError`.
    login
        Which login was used, as a sentence.
    """
    try:
        body = await response.read(_BODY_LIMIT_BYTES)
    except NbdockError:
        body = b""
    codes, message = said(body)
    status = response.status
    if status in {401, 403} and kind is None:
        kind = AuthenticationError
    hint = login if kind is AuthenticationError else None
    shown = message or ", ".join(codes)
    return (kind or RegistryError)(
        f"{redacted(response.url)} answered {status} to the request for {what}"
        f"{f': {shown}' if shown else ''}.".replace("..", "."),
        status=status,
        codes=codes,
        url=redacted(response.url),
        hint=hint,
    )


class Warnings:
    """The ``Warning`` headers of registries (RFC 7234, code 299), each logged once."""

    def __init__(self) -> None:
        self.seen: dict[str, None] = {}

    def note(self, response: Response, host: str) -> None:
        """Log what has not been said before."""
        header = response.headers.get("warning")
        if not header:
            return
        for match in _WARNING.finditer(header[:8192]):
            text = printable(re.sub(r"\\(.)", r"\1", match[1]))
            if text not in self.seen and len(self.seen) < _WARNINGS_LIMIT:
                self.seen[text] = None
                _log.warning("%s: %s", host, text)
