"""What Nix knows of a store path (`PathInfo`), and a store path as a package (`StorePackage`).

The database of a store, the narinfo of a binary cache and a tree that was hashed here all say the
same things, so they all give a `PathInfo`, and the rest of nbdock need not know which it was.
"""

from __future__ import annotations

import dataclasses

from nbdock.oci import Digest
from nbdock.packages.nix.storepath import StorePath, split_name
from nbdock.packages.package import Package

__all__ = ["PathInfo", "StorePackage"]


@dataclasses.dataclass(frozen=True, slots=True)
class PathInfo:
    """What is known of a valid store path.

    Attributes
    ----------
    path
        The store path.
    nar_hash
        Digest (SHA-256) of its NAR, which is the identity of its content.
    nar_size_bytes
        Length of its NAR.
    references
        The store paths that it refers to, itself included if it does, sorted.
    deriver
        The derivation it was built by, if known.
    signatures
        ``key-name:base64`` each, as the store or the cache has them.
    content_address
        Nix's ``CA`` field (``fixed:r:sha256:...``, ``text:sha256:...``), or the empty text.
    """

    path: StorePath
    nar_hash: Digest
    nar_size_bytes: int
    references: tuple[StorePath, ...] = ()
    deriver: StorePath | None = None
    signatures: tuple[str, ...] = ()
    content_address: str = ""


class StorePackage(Package):
    """A store path as a package that stands in the image where it stands in the store.

    Where the content comes from is a subclass's matter: a store on this machine, a binary cache,
    or a tree that nbdock gave a store path.
    """

    def __init__(self, info: PathInfo) -> None:
        self.info = info
        self.name, self.version = split_name(info.path.name)
        self.root = str(info.path)

    @property
    def store_path(self) -> StorePath:
        """Where it stands."""
        return self.info.path

    @property
    def key(self) -> str:
        """The store path and the hash of its content: one path may be built with other bytes."""
        return f"nix:{self.info.path}:{self.info.nar_hash}"

    @property
    def size_bytes(self) -> int:
        """Length of its NAR: what Nix and nixpkgs' planners call its size."""
        return self.info.nar_size_bytes

    @property
    def sort_key(self) -> tuple[str, str, str]:
        """By name with the hash last, as nixpkgs breaks ties."""
        return (self.info.path.name, "", self.info.path.hash_part)
