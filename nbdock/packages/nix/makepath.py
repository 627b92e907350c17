"""Computes the store path that content gets, as Nix does, without Nix.

The hash in a store path is that of a line of text, which says what kind of object it is, the hash
of its content, the directory of the store, and the name. What is in a store by its content has
therefore one path everywhere, and can be given it here.

>>> str(text_path("greeting", b"hello"))
'/nix/store/5akl8zsmda0yrr63v4khwgskih2g2hsh-greeting'
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from nbdock.errors import InvalidDigestError
from nbdock.oci import Digest
from nbdock.packages.nix.base32 import HASH_SIZES_BYTES, encode, format_hash, parse_hash
from nbdock.packages.nix.storepath import STORE_DIR, StorePath

__all__ = [  # noqa: RUF022, in order of importance
    "source_path",
    "fixed_path",
    "text_path",
    "content_address",
    "content_addressed_path",
]

_HASH_PART_BYTES = 20


def source_path(
    name: str,
    nar_hash: Digest,
    *,
    references: Iterable[StorePath] = (),
    self_reference: bool = False,
    store_dir: str = STORE_DIR,
) -> StorePath:
    """The path of a tree by the hash of its NAR: what ``nix-store --add`` gives it.

    Parameters
    ----------
    name
        What stands after the hash.
    nar_hash
        SHA-256.
    references, self_reference
        The store paths that the tree refers to, without its own, and whether it refers to itself
        too. Then `nar_hash` is that of the NAR with its own hash part zeroed. A path that was
        only copied into the store has none.

    Raises
    ------
    InvalidStorePathError
        No store path can have that name.
    InvalidDigestError
        Another algorithm than SHA-256, which only `fixed_path` takes.
    """
    if nar_hash.algorithm != "sha256":
        raise InvalidDigestError(
            f"The NAR of a source is named by its SHA-256, not by {nar_hash.algorithm}.",
            value=str(nar_hash),
            hint="fixed_path(..., recursive=True) takes other algorithms.",
        )
    kind = _kind("source", references, store_dir)
    if self_reference:
        kind += ":self"
    return _store_path(kind, nar_hash, name, store_dir)


def fixed_path(
    name: str, digest: Digest, *, recursive: bool = False, store_dir: str = STORE_DIR
) -> StorePath:
    """The path of a fixed output: what ``nix-store --add-fixed`` gives it.

    Parameters
    ----------
    digest
        Hash of the file, or of its NAR if `recursive`: md5, sha1, sha256 or sha512.
    recursive
        Whether it is a tree (``outputHashMode = "recursive"``) or a single file.
    """
    if digest.algorithm not in HASH_SIZES_BYTES:
        raise InvalidDigestError(
            f"Nix names no fixed output by {digest.algorithm}.", value=str(digest),
            hint=f"It knows: {', '.join(HASH_SIZES_BYTES)}.",
        )  # fmt: skip
    if recursive and digest.algorithm == "sha256":
        return source_path(name, digest, store_dir=store_dir)
    facts = f"fixed:out:{'r:' if recursive else ''}{format_hash(digest, 'hex')}:"
    return _store_path("output:out", Digest.sha256(facts.encode()), name, store_dir)


def text_path(
    name: str,
    text: bytes | Digest,
    *,
    references: Iterable[StorePath] = (),
    store_dir: str = STORE_DIR,
) -> StorePath:
    """The path of a text file: what ``builtins.toFile`` gives it, and derivations have.

    Parameters
    ----------
    text
        The text, or its SHA-256.
    references
        The store paths that it refers to.
    """
    digest = text if isinstance(text, Digest) else Digest.sha256(text)
    return _store_path(_kind("text", references, store_dir), digest, name, store_dir)


def content_address(digest: Digest, *, recursive: bool = True, text: bool = False) -> str:
    """Nix's ``CA`` field for content that has a path of `source_path`, `fixed_path`, `text_path`.

    >>> content_address(Digest.sha256(b""))
    'fixed:r:sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73'
    """
    kind = "text:" if text else "fixed:r:" if recursive else "fixed:"
    return kind + format_hash(digest)


def content_addressed_path(
    name: str,
    address: str,
    *,
    references: Sequence[StorePath] = (),
    self_reference: bool = False,
    store_dir: str = STORE_DIR,
) -> StorePath | None:
    """The path that content of this ``CA`` field must have; None if it cannot have such a field.

    A path whose field leads to itself needs no signature: its hash is its proof.

    Raises
    ------
    InvalidDigestError
        There is no hash in the field.
    """
    method, _, rest = address.partition(":")
    if method == "text" and not self_reference:
        digest = parse_hash(rest, algorithm="sha256")
        return text_path(name, digest, references=references, store_dir=store_dir)
    if method != "fixed":
        return None
    recursive = rest.startswith("r:")
    digest = parse_hash(rest.removeprefix("r:"))
    if recursive and digest.algorithm == "sha256":
        return source_path(
            name, digest, references=references, self_reference=self_reference, store_dir=store_dir
        )
    if references or self_reference:
        return None
    return fixed_path(name, digest, recursive=recursive, store_dir=store_dir)


def _kind(kind: str, references: Iterable[StorePath], store_dir: str) -> str:
    sorted_ones = sorted({f"{store_dir}/{path.base_name}" for path in references})
    return ":".join([kind, *sorted_ones])


def _store_path(kind: str, digest: Digest, name: str, store_dir: str) -> StorePath:
    line = f"{kind}:{format_hash(digest, 'hex')}:{store_dir}:{name}"
    # The 32 bytes are folded into 20: those that are left over are XORed onto the first.
    folded = bytearray(_HASH_PART_BYTES)
    for index, byte in enumerate(hashlib.sha256(line.encode(errors="replace")).digest()):
        folded[index % _HASH_PART_BYTES] ^= byte
    return StorePath(encode(bytes(folded)), name, store_dir)
