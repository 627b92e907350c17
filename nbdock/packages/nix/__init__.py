"""Packages of Nix: from a store on this machine, a binary cache, or given a store path here."""

from nbdock.packages.nix.storepackage import PathInfo, StorePackage
from nbdock.packages.nix.storepath import STORE_DIR, StorePath, split_name

__all__ = [  # noqa: RUF022, in order of importance
    "StorePackage",
    "StorePath",
    "PathInfo",
    "STORE_DIR",
    "split_name",
]
