"""Who vouches for a store path: Nix's signatures over what a narinfo says.

A signature covers the path, the hash and the size of its NAR, and its references (the
*fingerprint*); where the NAR lies and how it is compressed is nobody's promise, so the NAR's own
hash is what counts once it is here. A path that is named after its content (``CA``) needs no
signature: the path itself is the promise, and its content must keep it (`contentaddress`).

>>> keys = TrustedKeys(["cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="])
>>> keys.names
('cache.nixos.org-1',)
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from nbdock.errors import ArgumentTypeError, SignatureError
from nbdock.packages.nix.base32 import format_hash
from nbdock.packages.nix.cache.contentaddress import names_its_content
from nbdock.packages.nix.storepackage import PathInfo

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

__all__ = ["TrustedKeys", "fingerprint"]

_KEY_BYTES = 32


def fingerprint(info: PathInfo) -> bytes:
    """What is signed: ``1;path;hash;size;references``, as Nix writes it."""
    references = ",".join(str(path) for path in sorted(info.references))
    nar_hash = format_hash(info.nar_hash)
    return f"1;{info.path};{nar_hash};{info.nar_size_bytes};{references}".encode()


class TrustedKeys:
    """The public keys whose signatures count.

    Parameters
    ----------
    keys
        ``name:base64`` each, as ``nix-store --generate-binary-cache-key`` writes public keys.

    Raises
    ------
    ArgumentTypeError
        One of them is no public key.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys: dict[str, set[bytes]] = {}
        self._loaded: dict[bytes, Ed25519PublicKey] = {}
        for text in keys:
            name, key = _split(text)
            if not name or key is None or len(key) != _KEY_BYTES:
                secret = key is not None and len(key) == 2 * _KEY_BYTES
                raise ArgumentTypeError(
                    "A trusted key has the length of a secret key."
                    if secret
                    else f"{text!r} is not a public key of a binary cache.",
                    argument="trusted_keys",
                    hint="A public key is a name, a colon and 32 bytes in base 64, such as "
                    "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=.",
                )
            self._keys.setdefault(name, set()).add(key)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the keys, sorted."""
        return tuple(sorted(self._keys))

    @property
    def mark(self) -> str:
        """Tells these keys from all others."""
        listed = sorted((name, key.hex()) for name, keys in self._keys.items() for key in keys)
        return hashlib.sha256(repr(listed).encode()).hexdigest()

    def __repr__(self) -> str:
        return f"<TrustedKeys {', '.join(self.names) or 'none'}>"

    def vouch(self, info: PathInfo, *, cache: str) -> bool:
        """Make sure that somebody vouches for `info`. Signatures by unknown keys say nothing.

        Parameters
        ----------
        cache
            Where it comes from, for messages.

        Returns
        -------
        bool
            True: a trusted key signed it. False: its path is the one that content of its ``CA``
            field has, so that the content vouches for itself, once it is here and checked.

        Raises
        ------
        SignatureError
            No trusted key signed it, or the only signatures by such keys are wrong.
        """
        signed = fingerprint(info)
        wrong: list[str] = []
        unknown: list[str] = []
        for text in info.signatures:
            name, signature = _split(text)
            if name not in self._keys:
                unknown.append(name)
            elif signature is not None and self._is_by(name, signature, signed):
                return True
            else:
                wrong.append(name)
        if names_its_content(info):
            return False
        if wrong:
            reason = f"what it gives is not what the key {_names(wrong)} signed"
            hint = "It was damaged or tampered with; nothing of it was used."
        elif unknown:
            reason = f"it is signed by {_names(unknown)} only, and trusted are " + (
                _names(self.names) if self._keys else "no keys"
            )
            hint = "If you trust the signer, add its public key: nixpkgs(trusted_keys=[...])."
        else:
            reason = "it is not signed"
            hint = (
                f"Trusted keys are {_names(self.names)}; `nix store sign` signs it."
                if self._keys
                else "Name the keys to trust: nixpkgs(trusted_keys=[...])."
            )
        raise SignatureError(
            f"{info.path} from the binary cache {cache} is refused: {reason}.",
            package=str(info.path),
            hint=hint,
        )

    def _is_by(self, name: str, signature: bytes, signed: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        for data in self._keys[name]:
            key = self._loaded.get(data)
            if key is None:
                key = self._loaded[data] = Ed25519PublicKey.from_public_bytes(data)
            try:
                key.verify(signature, signed)
            except InvalidSignature:
                continue
            return True
        return False


def _split(text: str) -> tuple[str, bytes | None]:
    """Name and bytes of ``name:base64``; no bytes if it is not in base 64."""
    name, _, encoded = text.strip().partition(":")
    try:
        return name, base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return name, None


def _names(names: Iterable[str]) -> str:
    # A cache writes the names: they are kept short, and cannot write control characters.
    return ", ".join(ascii(name[:60])[1:-1] or "(no name)" for name in dict.fromkeys(names))
