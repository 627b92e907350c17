"""Who signed a Release file: OpenPGP signatures checked with Sequoia, without any installed tool.

Sequoia (its Python binding comes as a wheel) is used rather than gpgv because a notebook's machine
may have neither GnuPG nor root, because it refuses what gpgv still lets pass (SHA-1 signatures),
and because it hands back the very bytes that it checked. Only those are ever used: text before,
between or after signed parts, which fooled readers that searched the file themselves, is refused.

One valid signature by an accepted key is enough, as for APT: archives sign with old and new keys.

    >>> verify_clearsigned(b"Origin: Debian", ())
    Traceback (most recent call last):
      ...
    nbdock.errors.SignatureError: The file is not signed.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbdock.errors import SignatureError, SourceConfigurationError, UnavailableError

if TYPE_CHECKING:
    from pysequoia import Cert

__all__ = ["SignedText", "read_keys", "signed_part", "verify_clearsigned", "verify_detached"]

_ARMOUR = re.compile(
    rb"-----BEGIN PGP (?P<kind>[A-Z ]+)-----\r?\n.*?\n-----END PGP (?P=kind)-----", re.DOTALL
)
_CLEARSIGNED = re.compile(
    rb"""\A -----BEGIN\ PGP\ SIGNED\ MESSAGE-----[ \t]*\r?\n
         (?:Hash:[^\n]*\n)*
         [ \t]*\r?\n
         (?P<text>(?:(?!-(?!\ ))[^\n]*\n)*)
         (?:-----BEGIN\ PGP\ SIGNATURE-----[ \t]*\r?\n
            (?:(?!-----)[^\n]*\n)*
            -----END\ PGP\ SIGNATURE-----\s*)+ \Z""",
    re.DOTALL | re.VERBOSE,
)


@dataclasses.dataclass(frozen=True, slots=True)
class SignedText:
    """What was signed, and by which keys (fingerprints in capitals)."""

    text: bytes
    signers: tuple[str, ...]


def _sequoia() -> Any:
    try:
        import pysequoia
    except ImportError as error:
        raise UnavailableError(
            "Package sources are signed, and pysequoia, which checks signatures, is not installed.",
            hint="pip install pysequoia",
        ) from error
    return pysequoia


def read_keys(data: bytes, path: str = "") -> list[Cert]:
    """The keys of a keyring: binary, or any number of armoured blocks.

    Raises
    ------
    SourceConfigurationError
        There are none in `data`, or it is damaged.
    """
    sequoia = _sequoia()
    blocks: list[bytes] = [match[0] + b"\n" for match in _ARMOUR.finditer(data)] or [data]
    found: list[Cert] = []
    try:
        for block in blocks:
            found += sequoia.Cert.split_bytes(block)
    except Exception as error:
        raise SourceConfigurationError(
            f"{path or 'The key'} is not an OpenPGP keyring: {_first_line(error)}.", path=path
        ) from error
    if not found:
        raise SourceConfigurationError(f"{path or 'The key'} holds no OpenPGP key.", path=path)
    return found


def read_keyring(path: str) -> bytes:
    """The bytes of a keyring file.

    Raises
    ------
    SourceConfigurationError
        There is no such file.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SourceConfigurationError(
            f"The keyring {path} cannot be read: {error.strerror}.",
            path=path,
            hint="Install the archive's keyring, or name another (Signed-By, keyring=).",
        ) from error


def signed_part(data: bytes) -> bytes | None:
    """The text of a clearsigned file, unchecked; None if it is not one."""
    match = _CLEARSIGNED.match(data)
    if match is None:
        return None
    return re.sub(rb"(?m)^- ", b"", match["text"])


def verify_clearsigned(
    data: bytes, keys: Sequence[Cert], *, fingerprints: Iterable[str] = ()
) -> SignedText:
    """The signed text of a clearsigned file (RFC 9580, 7).

    Parameters
    ----------
    keys
        The keys that may have signed.
    fingerprints
        Narrows `keys` down: of these or their subkeys; with a final ``!``, of exactly this key.

    Raises
    ------
    SignatureError
        Not signed, damaged, or by no accepted key.
    """
    if not data.lstrip().startswith(b"-----BEGIN PGP SIGNED MESSAGE-----"):
        raise SignatureError("The file is not signed.")
    if signed_part(data) is None:
        raise SignatureError(
            "The file holds more than one signed message, or text beside it.",
            hint="Nothing in such a file can be relied on.",
        )
    sequoia = _sequoia()
    wanted: list[str] = []
    verified = _checked(lambda store: sequoia.verify(bytes=data, store=store), keys, wanted)
    signers = _accepted(verified.valid_sigs, fingerprints, wanted)
    return SignedText(bytes(verified.bytes) + b"\n", signers)


def verify_detached(
    text: bytes, signature: bytes, keys: Sequence[Cert], *, fingerprints: Iterable[str] = ()
) -> SignedText:
    """Check the signatures that stand in a file of their own; like `verify_clearsigned`."""
    wanted: list[str] = []
    last: SignatureError | None = None
    valid: list[Any] = []
    for one in _signatures(signature):
        try:
            verified = _checked(functools.partial(_verify_one, text, one), keys, wanted)
            valid += verified.valid_sigs
        except SignatureError as error:
            last = error
    if not valid:
        raise last or SignatureError("The signature file holds no signature.")
    return SignedText(text, _accepted(valid, fingerprints, wanted))


def _verify_one(text: bytes, signature: Any, store: Callable[[list[str]], Sequence[Cert]]) -> Any:
    return _sequoia().verify(bytes=text, store=store, signature=signature)


def _signatures(data: bytes) -> list[Any]:
    """Every signature of a file, armoured or not."""
    sequoia = _sequoia()
    blocks: list[bytes] = [match[0] + b"\n" for match in _ARMOUR.finditer(data)] or [data]
    found = []
    try:
        for block in blocks:
            for packet in sequoia.packet.PacketPile.from_bytes(block):
                if packet.tag != sequoia.packet.Tag.Signature:
                    continue
                body = bytes(packet.body)
                # A packet of its own again: new format, tag 2, length in 4 bytes (RFC 9580, 4.2).
                framed = b"\xc2\xff" + len(body).to_bytes(4, "big") + body
                found.append(sequoia.Sig.from_bytes(framed))
    except Exception as error:
        raise SignatureError(f"The signature file cannot be read: {_first_line(error)}.") from error
    return found


def _checked(
    verify: Callable[[Callable[[list[str]], Sequence[Cert]]], Any],
    keys: Sequence[Cert],
    wanted: list[str],
) -> Any:
    def store(ids: list[str]) -> Sequence[Cert]:
        wanted.extend(str(one).upper() for one in ids)
        return keys

    try:
        return verify(store)
    except Exception as error:
        known = {fingerprint[-16:] for fingerprint in _fingerprints(keys)}
        by = list(dict.fromkeys(wanted))
        if not by:
            raise SignatureError(f"The signature cannot be read: {_first_line(error)}.") from error
        strangers = not any(one[-16:] in known for one in by)
        raise SignatureError(
            f"No signature is valid (made by {', '.join(by)}).",
            hint="None of the accepted keyrings holds such a key, or the key has expired."
            if strangers
            else "The text was changed after signing, or the key has expired or been revoked.",
        ) from error


def _fingerprints(keys: Sequence[Cert]) -> set[str]:
    return {str(key.fingerprint).upper() for key in keys}


def _accepted(
    valid: Iterable[Any], fingerprints: Iterable[str], wanted: Sequence[str]
) -> tuple[str, ...]:
    """The signers that count; raises if there is none."""
    narrowed = [one.upper().removeprefix("0X") for one in fingerprints]
    signers = []
    for one in valid:
        primary, own = str(one.certificate).upper(), str(one.signing_key).upper()
        if not narrowed or any(
            own == text[:-1] if text.endswith("!") else text in {primary, own} for text in narrowed
        ):
            signers.append(own)
    if not signers:
        raise SignatureError(
            f"The signature is by {', '.join(dict.fromkeys(wanted))}, which is none of the keys "
            f"named ({', '.join(narrowed)}).",
            hint="Look at Signed-By of the source.",
        )
    return tuple(dict.fromkeys(signers))


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
