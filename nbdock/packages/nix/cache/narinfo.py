"""Narinfos: what a binary cache says of one store path, and where its NAR is.

It is a short text, a field on each line. A cache, or whoever stands between, may write what it
likes into it, so that everything is checked here: the path is the one that was asked for, the
references are store paths of the same store, the NAR's address stays inside the cache. Whether it
is true is another matter: see `nbdock.packages.nix.cache.signatures`.

>>> path = StorePath.parse("/nix/store/h1zb1padqbbb7jicsvkmrym3r6snphxg-hello-2.10")
>>> narinfo = parse_narinfo(b'''StorePath: /nix/store/h1zb1padqbbb7jicsvkmrym3r6snphxg-hello-2.10
... URL: nar/1b8m.nar.xz
... Compression: xz
... NarHash: sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s
... NarSize: 206104
... References: h1zb1padqbbb7jicsvkmrym3r6snphxg-hello-2.10
... ''', path, cache="https://cache.example.org")
>>> narinfo.url, narinfo.info.nar_size_bytes, narinfo.info.references == (path,)
('nar/1b8m.nar.xz', 206104, True)
"""

from __future__ import annotations

import dataclasses
import re
from urllib.parse import unquote

from nbdock.errors import BinaryCacheError, InvalidDigestError, InvalidStorePathError
from nbdock.oci import Digest
from nbdock.packages.nix.base32 import parse_hash
from nbdock.packages.nix.storepackage import PathInfo
from nbdock.packages.nix.storepath import StorePath

__all__ = ["NarInfo", "parse_narinfo"]

_FIELDS = frozenset({
    "StorePath", "URL", "Compression", "FileHash", "FileSize", "NarHash", "NarSize", "References",
    "Deriver", "Sig", "CA",
})  # fmt: skip
_NUMBER = re.compile(r"[0-9]{1,18}")
_SIGNATURES_MOST = 100
_URL_CHARACTERS_MOST = 2000


@dataclasses.dataclass(frozen=True, slots=True)
class NarInfo:
    """What a cache says of a store path.

    Attributes
    ----------
    info
        What any store would say of it.
    url
        Where its NAR is, relative to the cache.
    compression
        What the NAR is compressed with, by Nix's name: ``xz``, ``zstd``, ``none``, ...
    file_hash, file_size_bytes
        Of the NAR as it is compressed; None if the cache does not say. No signature covers them.
    """

    info: PathInfo
    url: str
    compression: str
    file_hash: Digest | None = None
    file_size_bytes: int | None = None


def parse_narinfo(text: bytes, path: StorePath, *, cache: str) -> NarInfo:
    """The narinfo of a store path.

    Parameters
    ----------
    text
        The file, already bounded in length.
    path
        The store path that was asked for.
    cache
        Where it comes from, for messages.

    Raises
    ------
    BinaryCacheError
        It is no narinfo, or not of this path; the message says why.
    """
    try:
        return _parsed(text, path)
    except (_FaultError, InvalidDigestError, InvalidStorePathError) as error:
        reason = error.message if not isinstance(error, _FaultError) else str(error)
        raise BinaryCacheError(
            f"The binary cache {cache} describes {path} wrongly: {reason}",
            package=str(path),
            cache=cache,
            hint="Nothing of it was used. Another cache may have the path too.",
        ) from error


class _FaultError(ValueError):
    """What is wrong, as a sentence."""


def _parsed(text: bytes, path: StorePath) -> NarInfo:
    fields, signatures = _fields(text)
    for name in ("StorePath", "URL", "NarHash", "NarSize"):
        if not fields.get(name):
            raise _FaultError(f"it has no {name}.")
    if fields["StorePath"] != str(path):
        raise _FaultError(f"it is about {_shown(fields['StorePath'])}.")
    references = {
        StorePath.parse(f"{path.store_dir}/{name}", store_dir=path.store_dir)
        for name in fields.get("References", "").split()
    }
    deriver = fields.get("Deriver", "")
    nar_hash = parse_hash(fields["NarHash"], algorithm="sha256")
    nar_size_bytes = _number("NarSize", fields["NarSize"])
    if not nar_size_bytes:
        raise _FaultError("its NarSize is 0, and no NAR is empty.")
    info = PathInfo(
        path=path,
        nar_hash=nar_hash,
        nar_size_bytes=nar_size_bytes,
        references=tuple(sorted(references)),
        deriver=StorePath.parse(f"{path.store_dir}/{deriver}", store_dir=path.store_dir)
        if deriver not in {"", "unknown-deriver"}
        else None,
        signatures=tuple(signatures),
        content_address=fields.get("CA", ""),
    )
    # A narinfo that does not say means bzip2, which was the only one once.
    compression = fields.get("Compression", "") or "bzip2"
    if compression == "none":
        if _hash(fields) not in {None, nar_hash} or _size(fields) not in {None, nar_size_bytes}:
            raise _FaultError("its NAR is not compressed, but another file than the NAR.")
        return NarInfo(info, _url(fields["URL"]), compression, nar_hash, nar_size_bytes)
    return NarInfo(info, _url(fields["URL"]), compression, _hash(fields), _size(fields))


def _fields(text: bytes) -> tuple[dict[str, str], list[str]]:
    try:
        lines = text.decode("ascii").removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        raise _FaultError("it is not text.") from None
    fields: dict[str, str] = {}
    signatures: list[str] = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise _FaultError(f"it has the line {_shown(line)}, which is no field.")
        value = value.strip()
        if name == "Sig":
            signatures.append(value)
            if len(signatures) > _SIGNATURES_MOST:
                raise _FaultError(f"it has more than {_SIGNATURES_MOST} signatures.")
        elif name in _FIELDS:
            if name in fields:
                raise _FaultError(f"it has two fields {name}.")
            fields[name] = value
    return fields, signatures


def _shown(text: str) -> str:
    return repr(text if len(text) <= 120 else f"{text[:117]}...")


def _number(name: str, text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise _FaultError(f"its {name} is {_shown(text)}, which is no size.")
    return int(text)


def _hash(fields: dict[str, str]) -> Digest | None:
    text = fields.get("FileHash", "")
    return parse_hash(text, algorithm="sha256") if text else None


def _size(fields: dict[str, str]) -> int | None:
    # Some caches make files as they are asked for, and write 0 for what they do not know.
    return _number("FileSize", fields.get("FileSize") or "0") or None


def _url(text: str) -> str:
    """The NAR's address, which must be below the cache's own."""
    parts = [unquote(part) for part in text.partition("?")[0].split("/")]
    if (
        len(text) > _URL_CHARACTERS_MOST
        or not text.isprintable()
        or any(character in text for character in " \\#")
        # A scheme leads elsewhere, and so does a slash at the beginning (an empty part).
        or ":" in parts[0]
        or any(p in {"", ".", ".."} or not p.isprintable() or set(p) & {"/", "\\"} for p in parts)
    ):
        raise _FaultError(f"its URL, {_shown(text)}, is not one inside the cache.")
    return text
