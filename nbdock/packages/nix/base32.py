r"""Nix's base 32, and hashes in the forms in which Nix writes them.

The digits leave out ``e``, ``o``, ``t`` and ``u``; the bytes are one number, little-endian, and its
highest digit stands first. A hash is the same value in each of its forms, so here all of them
become a `Digest`, which knows its algorithm.

>>> encode(bytes(19) + b"\x80")
'h0000000000000000000000000000000'
>>> digest = parse_hash("sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=")
>>> format_hash(digest)
'sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s'
>>> parse_hash(format_hash(digest)) == digest == parse_hash(digest.hex, algorithm="sha256")
True
"""

from __future__ import annotations

import base64
import binascii
from typing import Literal

from nbdock.errors import InvalidDigestError, nearest
from nbdock.oci import Digest

__all__ = ["DIGITS", "HASH_SIZES_BYTES", "decode", "encode", "format_hash", "parse_hash"]

DIGITS = "0123456789abcdfghijklmnpqrsvwxyz"
"""Nix's digits, from 0 to 31."""

HASH_SIZES_BYTES = {"md5": 16, "sha1": 20, "sha256": 32, "sha512": 64}
"""How long the hashes are that Nix knows, by algorithm."""

_PYTHONS_DIGITS = "0123456789abcdefghijklmnopqrstuv"
_TO_PYTHONS = str.maketrans(DIGITS, _PYTHONS_DIGITS)
_ALL = frozenset(DIGITS)
_PAIRS = [first + second for first in DIGITS for second in DIGITS]


def encoded_length(size_bytes: int) -> int:
    """How many digits bytes take."""
    return -(-size_bytes * 8 // 5)


def encode(data: bytes) -> str:
    """Bytes in Nix's base 32."""
    length = encoded_length(len(data))
    number = int.from_bytes(data, "little")
    # Two digits at a time, the highest pair first; one more than is there is a zero.
    pairs = [_PAIRS[number >> 10 * place & 1023] for place in range((length - 1) // 2, -1, -1)]
    return "".join(pairs)[length % 2 :]


def decode(text: str, size_bytes: int) -> bytes:
    """The `size_bytes` bytes that a text in Nix's base 32 stands for.

    Raises
    ------
    InvalidDigestError
        The text has another length, other characters, or stands for a greater number.
    """
    wanted = encoded_length(size_bytes)
    if len(text) != wanted:
        raise _fault(text, f"{size_bytes} bytes are {wanted} digits in base 32, not {len(text)}.")
    if not _ALL.issuperset(text):
        strange = next(c for c in text if c not in _ALL)
        raise _fault(text, f"{strange!r} is not a digit of Nix's base 32.")
    number = int(text.translate(_TO_PYTHONS), 32) if text else 0
    if number >> 8 * size_bytes:
        raise _fault(text, f"its first digit is too great for {size_bytes} bytes.")
    return number.to_bytes(size_bytes, "little")


def parse_hash(text: str, *, algorithm: str | None = None) -> Digest:
    """The hash that a text of Nix is.

    Parameters
    ----------
    text
        ``sha256:`` and the hash in base 32, hexadecimal or base 64; or ``sha256-`` and base 64
        (SRI); or the hash alone if `algorithm` is given.
    algorithm
        ``md5``, ``sha1``, ``sha256`` or ``sha512``: the only one that is taken.

    Raises
    ------
    InvalidDigestError
        It is no such hash, or of another algorithm.
    """
    name, colon, rest = text.partition(":")
    is_sri = False
    if not colon:
        name, dash, rest = text.partition("-")
        is_sri = bool(dash)
        if not dash:
            name, rest = algorithm or "", text
    if not name:
        raise _fault(text, "it does not say its algorithm.", "Write sha256:<hash>.")
    if algorithm is not None and name != algorithm:
        raise _fault(text, f"it is not of the algorithm {algorithm}.")
    size = HASH_SIZES_BYTES.get(name)
    if size is None:
        close = nearest(name, HASH_SIZES_BYTES, count=1)
        raise _fault(
            text, f"Nix knows no algorithm {name[:40]!r}.",
            f"Did you mean {close[0]}?" if close else f"It knows: {', '.join(HASH_SIZES_BYTES)}.",
        )  # fmt: skip
    return Digest(name, _decoded(text, rest, size, is_sri=is_sri).hex())


def format_hash(
    digest: Digest, form: Literal["base32", "hex", "sri"] = "base32", *, prefixed: bool = True
) -> str:
    """A hash as Nix writes it.

    Parameters
    ----------
    form
        ``"base32"``: as in a narinfo; ``"hex"``: as in a store path's preimage; ``"sri"``.
    prefixed
        Whether the algorithm stands before it; always in SRI.
    """
    data = bytes.fromhex(digest.hex)
    if form == "sri":
        return f"{digest.algorithm}-{base64.b64encode(data).decode()}"
    text = digest.hex if form == "hex" else encode(data)
    return f"{digest.algorithm}:{text}" if prefixed else text


def _decoded(text: str, encoded: str, size: int, *, is_sri: bool) -> bytes:
    """The bytes of a hash, whose form its length tells."""
    base64_length = -(-size // 3) * 4
    if len(encoded) == base64_length:
        try:
            data = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise _fault(text, "it is not in base 64.") from None
        if len(data) != size or base64.b64encode(data).decode() != encoded:
            raise _fault(text, "its last digit in base 64 is wrong.")
        return data
    if not is_sri and len(encoded) == 2 * size:
        try:
            return binascii.unhexlify(encoded)
        except (binascii.Error, ValueError):
            raise _fault(text, "it is not hexadecimal.") from None
    if not is_sri and len(encoded) == encoded_length(size):
        return decode(encoded, size)
    lengths = str(base64_length) if is_sri else (
        f"{encoded_length(size)} (base 32), {2 * size} (hexadecimal) or {base64_length} (base 64)"
    )  # fmt: skip
    raise _fault(
        text, f"the hash has {len(encoded)} characters, not {lengths}.", "Copy the whole hash."
    )


def _fault(text: str, reason: str, hint: str | None = None) -> InvalidDigestError:
    shown = text if len(text) <= 100 else text[:97] + "..."
    return InvalidDigestError(f"{shown!r} is not a hash: {reason}", value=text, hint=hint)
