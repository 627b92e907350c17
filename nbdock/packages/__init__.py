"""Where files come from: packages, package sets, closures.

All but what every package is comes when something of it is first used: who pulls an image needs
no package sets.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nbdock.packages.package import Package, PackageSet, Progress
from nbdock.packages.tally import Tally

if TYPE_CHECKING:
    from nbdock.packages.closure import Closure, realise, resolve_closure
    from nbdock.packages.debian import (
        DPKG_HELPERS,
        AptPackage,
        AptPackageSet,
        AptSearchResult,
        InstalledPackage,
        Upload,
        apt,
        changelog_history,
        dpkg_database,
        installed_from_records,
        read_uploads,
        records_closure,
    )
    from nbdock.packages.environment import (
        bin_sh,
        ca_certificates,
        fake_nss,
        shadow_setup,
        usr_bin_env,
    )
    from nbdock.packages.history import ChangeHistory
    from nbdock.packages.local import directory
    from nbdock.packages.nix import (
        LocalStore,
        PathInfo,
        StorePackage,
        StorePath,
        default_nixpkgs,
        format_hash,
        nar_hash,
        nixpkgs,
        parse_hash,
        registration_entries,
        store_path,
    )
    from nbdock.packages.nix.cache.channelversions import ChannelVersion, channel_versions
    from nbdock.packages.nix.local.shell import NixShell, nix_shell
    from nbdock.packages.requirements import REQUIREMENTS, apt_finding
    from nbdock.packages.texts import script, text_file

__all__ = [  # noqa: RUF022, in order of importance
    "Package",
    "PackageSet",
    "Closure",
    "ChangeHistory",
    "resolve_closure",
    "realise",
    "apt",
    "nixpkgs",
    "default_nixpkgs",
    "directory",
    "text_file",
    "script",
    "store_path",
    "shadow_setup",
    "fake_nss",
    "bin_sh",
    "usr_bin_env",
    "ca_certificates",
    "AptPackageSet",
    "AptPackage",
    "AptSearchResult",
    "InstalledPackage",
    "installed_from_records",
    "records_closure",
    "changelog_history",
    "read_uploads",
    "Upload",
    "channel_versions",
    "ChannelVersion",
    "dpkg_database",
    "DPKG_HELPERS",
    "LocalStore",
    "StorePackage",
    "StorePath",
    "PathInfo",
    "registration_entries",
    "nar_hash",
    "parse_hash",
    "format_hash",
    "NixShell",
    "nix_shell",
    "Progress",
    "Tally",
    "REQUIREMENTS",
    "apt_finding",
]

_ENVIRONMENT = {"shadow_setup", "fake_nss", "bin_sh", "usr_bin_env", "ca_certificates"}
_NIX = {
    "nixpkgs",
    "default_nixpkgs",
    "LocalStore",
    "store_path",
    "StorePackage",
    "StorePath",
    "PathInfo",
    "registration_entries",
    "nar_hash",
    "parse_hash",
    "format_hash",
}
_SHELL = {"NixShell", "nix_shell"}
_CHANNEL = {"ChannelVersion", "channel_versions"}
_REQUIREMENTS = {"REQUIREMENTS", "apt_finding"}
_CLOSURE = {"Closure", "realise", "resolve_closure"}
_TEXTS = {"script", "text_file"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"nbdock.packages has no {name!r}.")
    rooms = {
        "nix": _NIX, "nix.local.shell": _SHELL, "nix.cache.channelversions": _CHANNEL,
        "environment": _ENVIRONMENT, "requirements": _REQUIREMENTS, "closure": _CLOSURE,
        "history": {"ChangeHistory"}, "local": {"directory"}, "texts": _TEXTS,
    }  # fmt: skip
    room = next((room for room, names in rooms.items() if name in names), "debian")
    return getattr(importlib.import_module(f"nbdock.packages.{room}"), name)
