"""Packages of Nix: from a store on this machine, a binary cache, or given a store path here.

Two package sets, for a machine with Nix (`local`) and without (`cache`); `opening` chooses. What
both are made of stands here: store paths and what is known of them (`storepath`, `storepackage`),
hashes (`base32`), NARs (`narreader`, `narwriter`), the computation of paths (`makepath`), what gets
a path here (`added`, `hosttree`, `madehere`), and the database inside an image (`registration`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbdock.later import names_of

if TYPE_CHECKING:
    from nbdock.packages.nix.added import AddedPackage, store_path
    from nbdock.packages.nix.base32 import format_hash, parse_hash
    from nbdock.packages.nix.local.attributes import NixAttribute
    from nbdock.packages.nix.local.evaluation import NixPackageSet
    from nbdock.packages.nix.local.location import StoreLocation
    from nbdock.packages.nix.local.store import LocalStore, LocalStorePackage
    from nbdock.packages.nix.madehere import MadePackage, stored
    from nbdock.packages.nix.makepath import (
        content_address,
        content_addressed_path,
        fixed_path,
        source_path,
        text_path,
    )
    from nbdock.packages.nix.narreader import read_nar
    from nbdock.packages.nix.narwriter import dump_path, nar_hash, write_nar
    from nbdock.packages.nix.opening import default_nixpkgs, nixpkgs
    from nbdock.packages.nix.registration import registration_entries
    from nbdock.packages.nix.storepackage import PathInfo, StorePackage
    from nbdock.packages.nix.storepath import STORE_DIR, StorePath, split_name

__all__ = [  # noqa: RUF022, in order of importance
    "nixpkgs",
    "default_nixpkgs",
    "store_path",
    "StorePackage",
    "StorePath",
    "PathInfo",
    "AddedPackage",
    "MadePackage",
    "stored",
    "NixPackageSet",
    "NixAttribute",
    "LocalStore",
    "LocalStorePackage",
    "StoreLocation",
    "read_nar",
    "write_nar",
    "nar_hash",
    "dump_path",
    "source_path",
    "fixed_path",
    "text_path",
    "content_address",
    "content_addressed_path",
    "parse_hash",
    "format_hash",
    "registration_entries",
    "STORE_DIR",
    "split_name",
]

__getattr__, __dir__ = names_of(
    __name__,
    {
        "added": "AddedPackage store_path",
        "base32": "format_hash parse_hash",
        "local.attributes": "NixAttribute",
        "local.evaluation": "NixPackageSet",
        "local.location": "StoreLocation",
        "local.store": "LocalStore LocalStorePackage",
        "madehere": "MadePackage stored",
        "makepath": "content_address content_addressed_path fixed_path source_path text_path",
        "narreader": "read_nar",
        "narwriter": "dump_path nar_hash write_nar",
        "opening": "default_nixpkgs nixpkgs",
        "registration": "registration_entries",
        "storepackage": "PathInfo StorePackage",
        "storepath": "STORE_DIR StorePath split_name",
    },
)
