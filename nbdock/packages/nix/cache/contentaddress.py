"""Store paths that are named after their content: the proof is in the path itself.

Nix takes such a path from anywhere, unsigned, but believes it only when the content is there and
has the hash. There are three kinds of ``CA`` field: of a NAR (``fixed:r:sha256:...``, where what
refers to itself is hashed without its own name), of a single file (``fixed:sha256:...``), and of a
text (``text:sha256:...``).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable

from nbdock.errors import DigestMismatchError, InvalidDigestError
from nbdock.filetree import EntryKind
from nbdock.oci import Digest
from nbdock.packages.nix.base32 import parse_hash
from nbdock.packages.nix.makepath import content_addressed_path
from nbdock.packages.nix.narreader import read_nar
from nbdock.packages.nix.storepackage import PathInfo

__all__ = ["check_content", "names_its_content"]


def names_its_content(info: PathInfo) -> bool:
    """Whether its path is the one that content of its ``CA`` field has."""
    if not info.content_address:
        return False
    refers_to_itself = info.path in info.references
    try:
        path = content_addressed_path(
            info.path.name,
            info.content_address,
            references=[path for path in info.references if path != info.path],
            self_reference=refers_to_itself,
            store_dir=info.path.store_dir,
        )
        method, wanted = _method(info)
    except InvalidDigestError:
        return False
    if path != info.path:
        return False
    # Here the two hashes are of the same bytes, so one of them would be a lie.
    is_nar = method == "fixed:r" and wanted.algorithm == "sha256" and not refers_to_itself
    return not is_nar or wanted == info.nar_hash


def check_content(info: PathInfo, nar: Iterable[bytes]) -> None:
    """Make sure that a NAR is the content that its path is named after.

    Parameters
    ----------
    nar
        The NAR in pieces.

    Raises
    ------
    DigestMismatchError
        It is other content.
    ArchiveError
        It is no NAR.
    """
    method, wanted = _method(info)
    hasher = hashlib.new(wanted.algorithm, usedforsecurity=False)
    if method == "fixed:r":
        if info.path in info.references:
            _hash_without(info.path.hash_part.encode(), nar, hasher.update)
        else:
            for piece in nar:
                hasher.update(piece)
    else:
        # A file by itself: of a directory, the root has no content.
        for entry in read_nar(nar):
            if entry.path or entry.kind is not EntryKind.FILE or entry.mode & 0o111:
                hasher.update(b"\0not a plain file")
            if entry.content is not None:
                for chunk in entry.content.chunks():
                    hasher.update(chunk)
    actual = f"{wanted.algorithm}:{hasher.hexdigest()}"
    if actual != str(wanted):
        raise DigestMismatchError(
            f"{info.path} is named after content with the hash {wanted}, but has {actual}.",
            digest=str(wanted),
            actual=actual,
            hint="It is damaged or forged; it was not used.",
        )


def _method(info: PathInfo) -> tuple[str, Digest]:
    method, _, text = info.content_address.rpartition(":")
    # The algorithm stands before the last colon.
    method, _, algorithm = method.rpartition(":")
    return method, parse_hash(f"{algorithm}:{text}")


def _hash_without(name: bytes, nar: Iterable[bytes], update: Callable[[bytes], object]) -> None:
    """Hash what refers to itself: its own hash part as zeros, then the places where it stood."""
    zeros = bytes(len(name))
    pattern = re.compile(re.escape(name))
    places: list[int] = []
    held, offset = b"", 0
    for piece in nar:
        data = held + piece
        places += [offset + match.start() for match in pattern.finditer(data)]
        data = data.replace(name, zeros)
        # The name may begin in this piece and end in the next.
        keep = min(len(data), len(name) - 1)
        update(data[: len(data) - keep])
        held = data[len(data) - keep :]
        offset += len(data) - keep
    update(held)
    for place in places:
        update(b"|%d" % place)
