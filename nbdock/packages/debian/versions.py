"""Debian's order of version numbers.

A version is ``[epoch:]upstream[-revision]``; Debian Policy 5.6.12 says how two compare: the epochs
as numbers, then upstream and revision by turns of non-digits (letters before other signs, ``~``
before everything, even the end) and digits (as numbers). Each version becomes a key that Python's
own comparison orders in that way, so sorting and comparing many versions costs one parse each.

    >>> from nbdock.packages.debian import versions
    >>> sorted(["1:0.1", "2.0", "2.0~rc1", "10.0", "2.0-1"], key=versions.version_key)
    ['2.0~rc1', '2.0', '2.0-1', '10.0', '1:0.1']
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable
from typing import Any, TypeAlias

__all__ = ["compare", "satisfies", "version_key"]

VersionKey: TypeAlias = tuple[Any, ...]

_TURN = re.compile("([^0-9]*)([0-9]*)")
_NUMBER_ZERO = (0, "")
_NO_SIGNS = (0,)
_EMPTY_TURN = (_NO_SIGNS, _NUMBER_ZERO)


def _sign_order(sign: str) -> int:
    """Where a sign that is no digit stands: ``~``, the end (0), letters, everything else."""
    if sign == "~":
        return -1
    return ord(sign) if sign.isascii() and sign.isalpha() else ord(sign) + 256


def _number(digits: str) -> tuple[int, str]:
    # Length, then digits: the order of numbers, and no limit on how long a hostile one may be.
    digits = digits.lstrip("0")
    return (len(digits), digits)


def _part_key(text: str) -> VersionKey:
    turns = []
    for signs, digits in _TURN.findall(text):
        order = (*map(_sign_order, signs), 0) if signs else _NO_SIGNS
        turns.append((order, _number(digits)))
    # "1.0", "1." and "1.0" + nothing are the same number; what is left ends in a turn that stands
    # for "no more": after `~`, before any sign.
    while turns and turns[-1] == _EMPTY_TURN:
        turns.pop()
    return (*turns, _EMPTY_TURN)


@functools.lru_cache(maxsize=1 << 16)
def version_key(version: str) -> VersionKey:
    """Return a key that orders versions as dpkg does; equal keys are equal versions.

    Text that is no valid version gets a place too (dpkg itself compares it, with a warning).
    """
    epoch, colon, rest = version.partition(":")
    if not (colon and epoch.isascii() and epoch.isdigit()):
        epoch, rest = "", version
    upstream, hyphen, revision = rest.rpartition("-")
    if not hyphen:
        upstream, revision = rest, ""
    return (_number(epoch), _part_key(upstream), _part_key(revision))


def compare(a: str, b: str) -> int:
    """Compare two versions: -1, 0 or 1 as `a` is earlier than, the same as, or later than `b`.

    Examples
    --------
    >>> compare("1.0~beta", "1.0"), compare("1.0", "1.0-0"), compare("1:1", "9")
    (-1, 0, 1)
    """
    if a == b:
        return 0
    key_a, key_b = version_key(a), version_key(b)
    return (key_a > key_b) - (key_a < key_b)


_RELATIONS: dict[str, Callable[[Any, Any], bool]] = {
    "<<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    ">=": operator.ge,
    ">>": operator.gt,
}


def satisfies(version: str, relation: str, bound: str) -> bool:
    """Say whether `version` is in a relation (``<<``, ``<=``, ``=``, ``>=``, ``>>``) to `bound`.

    Examples
    --------
    >>> satisfies("5:7.0.15-1", ">=", "5:7.0")
    True
    """
    return _RELATIONS[relation](version_key(version), version_key(bound))
