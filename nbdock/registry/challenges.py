"""What a ``WWW-Authenticate`` header asks for (RFC 9110, 11.6.1).

    >>> parse('Bearer realm="https://auth.test/token",service="r", Basic realm="x"')[0]
    Challenge(scheme='bearer', parameters={'realm': 'https://auth.test/token', 'service': 'r'})

The header is a stranger's: it is read from left to right in one pass, to a bounded length, and
what follows a fault is not read. Nothing in it is believed yet; where a realm may be is judged by
`nbdock.registry.destinations`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

__all__ = ["Challenge", "parse"]

_LIMIT_CHARACTERS = 16 << 10
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BLANKS = re.compile(r"[ \t]*")
_BETWEEN = re.compile(r"[ \t,]*")
_EQUALS = re.compile(r"[ \t]*=[ \t]*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
# A whole word such as Negotiate's; "=" only at its end.
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))")


@dataclasses.dataclass(frozen=True, slots=True)
class Challenge:
    """A scheme (in lower case) and its parameters (their names in lower case)."""

    scheme: str
    parameters: Mapping[str, str]


def parse(header: str) -> tuple[Challenge, ...]:
    """The challenges of a header, in its order; of a parameter given twice the first counts."""
    text = header[:_LIMIT_CHARACTERS]
    found: list[Challenge] = []
    parameters: dict[str, str] = {}
    at = 0
    while True:
        at = _skip(_BETWEEN, text, at)
        word = _TOKEN.match(text, at)
        if word is None:
            return tuple(found)
        equals = _EQUALS.match(text, word.end())
        if equals is None:
            parameters = {}
            found.append(Challenge(word[0].lower(), parameters))
            at = word.end()
            # Its one long word, if it has that instead of parameters.
            blanks = _skip(_BLANKS, text, at)
            token68 = _TOKEN68.match(text, blanks) if blanks > at else None
            if token68 is not None:
                at = token68.end()
            continue
        value = _QUOTED.match(text, equals.end())
        plain = value or _TOKEN.match(text, equals.end())
        if plain is None or not found:
            return tuple(found)
        said = re.sub(r"\\(.)", r"\1", value[1]) if value else plain[0]
        parameters.setdefault(word[0].lower(), said)
        at = plain.end()


def _skip(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at
