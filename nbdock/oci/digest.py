"""Digests: the name that content has because of its bytes.

    >>> Digest.of(b"hello").short
    '2cf24dba5fb0'
    >>> Digest.parse("sha256:" + "0" * 64).algorithm
    'sha256'

A digest becomes part of file names and URLs, so it is checked before anything else is done with it:
nothing that passes `Digest.parse` can hold a slash, a dot-dot or a blank. The grammar is that of
the OCI image specification (descriptor.md); an algorithm nbdock cannot compute passes, because a
document may mention one, but asking for its `hasher` is an error.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from typing import TYPE_CHECKING, Protocol

from nbdock.errors import InvalidDigestError, nearest

if TYPE_CHECKING:
    from _hashlib import HASH

__all__ = ["Digest", "Hasher"]

_ALGORITHM = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*")
_ENCODED = re.compile(r"[A-Za-z0-9=_-]+")
_HEX = re.compile(r"[0-9a-f]+")

_HEX_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128, "blake3": 64}
_COMPUTABLE = ("sha256", "sha384", "sha512")
# A digest is a file name in an image layout, and file names end at 255 bytes.
_MAX_PART_LENGTH = 255


class Hasher(Protocol):
    """What `hashlib.new` returns, as far as digests need it."""

    @property
    def name(self) -> str:
        """The algorithm."""
        ...

    def hexdigest(self) -> str:
        """The hash of what was fed in so far."""
        ...


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Digest:
    """An algorithm and the hash it gave: ``sha256:2cf2…``.

    Attributes
    ----------
    algorithm
        ``sha256``, ``sha512``, or another name of the specification's grammar.
    hex
        The hash: lowercase hexadecimal for every registered algorithm.
    """

    algorithm: str
    hex: str

    def __post_init__(self) -> None:
        reason, hint = self._fault()
        if reason:
            text = f"{self.algorithm}:{self.hex}"
            raise InvalidDigestError(
                f"{_shown(text)} is not a digest: {reason}", value=text, hint=hint
            )

    def _fault(self) -> tuple[str, str | None]:
        algorithm, encoded = self.algorithm, self.hex
        if not _ALGORITHM.fullmatch(algorithm):
            if algorithm.lower() in _HEX_LENGTHS:
                return "the algorithm is in capitals.", f"Write it as {algorithm.lower()}."
            return "the part before the colon is no name of an algorithm.", "Write sha256:<hex>."
        wanted = _HEX_LENGTHS.get(algorithm)
        if wanted is None:
            if not _ENCODED.fullmatch(encoded):
                return "the part after the colon holds other than letters, digits, =, _ or -.", None
            if len(encoded) > _MAX_PART_LENGTH or len(algorithm) > _MAX_PART_LENGTH:
                return f"it is longer than {_MAX_PART_LENGTH} characters.", None
            return "", None
        if len(encoded) != wanted:
            return (
                f"{algorithm} has {wanted} hexadecimal digits, not {len(encoded)}.",
                "Copy the whole digest; a shortened one does not name content.",
            )
        if not _HEX.fullmatch(encoded):
            if _HEX.fullmatch(encoded.lower()):
                return "the hexadecimal digits are in capitals.", "Write them in lower case."
            return "the part after the colon is not hexadecimal.", None
        return "", None

    @classmethod
    def parse(cls, text: str) -> Digest:
        """The digest that `text` is.

        Raises
        ------
        InvalidDigestError
            `text` is not ``algorithm:hex``; the message says why.

        Examples
        --------
        >>> Digest.parse("sha256:" + "a" * 64).hex[:4]
        'aaaa'
        """
        algorithm, colon, encoded = text.partition(":")
        if not colon:
            hint = "Write sha256:<hex>."
            if _HEX.fullmatch(text) and len(text) == _HEX_LENGTHS["sha256"]:
                hint = f"Write sha256:{text}."
            raise InvalidDigestError(
                f"{_shown(text)} is not a digest: there is no colon in it.", value=text, hint=hint
            )
        return cls(algorithm, encoded)

    @classmethod
    def of(cls, data: bytes | bytearray | memoryview, *, algorithm: str = "sha256") -> Digest:
        """The digest of `data`."""
        return cls(algorithm, _new(algorithm, data).hexdigest())

    @classmethod
    def sha256(cls, data: bytes | bytearray | memoryview) -> Digest:
        """The SHA-256 digest of `data`."""
        return cls.of(data)

    @classmethod
    def of_hasher(cls, hasher: Hasher) -> Digest:
        """The digest of everything that was fed to a `hashlib` object."""
        return cls(hasher.name, hasher.hexdigest())

    def hasher(self) -> HASH:
        """A fresh `hashlib` object of this digest's algorithm, to verify content with.

        Raises
        ------
        InvalidDigestError
            nbdock cannot compute this algorithm.
        """
        return _new(self.algorithm)

    @property
    def is_computable(self) -> bool:
        """Whether content can be verified against this digest here."""
        return self.algorithm in _COMPUTABLE

    @property
    def short(self) -> str:
        """The first 12 characters of the hash, as Docker shows them."""
        return self.hex[:12]

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


def _new(algorithm: str, data: bytes | bytearray | memoryview = b"") -> HASH:
    if algorithm not in _COMPUTABLE:
        close = nearest(algorithm, _COMPUTABLE)
        raise InvalidDigestError(
            f"nbdock cannot compute the digest algorithm {_shown(algorithm)}.",
            value=algorithm,
            hint=f"Did you mean {close[0]}?" if close else f"It can: {', '.join(_COMPUTABLE)}.",
        )
    return hashlib.new(algorithm, data, usedforsecurity=True)
