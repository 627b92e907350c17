"""Where files come from: packages, package sets, closures.

All but what every package is comes when something of it is first used: who pulls an image needs
no package sets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbdock.later import names_of
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

__getattr__, __dir__ = names_of(
    __name__,
    {
        "package": "Package PackageSet Progress",
        "tally": "Tally",
        "closure": "Closure realise resolve_closure",
        "history": "ChangeHistory",
        "local": "directory",
        "texts": "script text_file",
        "environment": "shadow_setup fake_nss bin_sh usr_bin_env ca_certificates",
        "requirements": "REQUIREMENTS apt_finding",
        "debian": """
            apt AptPackageSet AptPackage AptSearchResult InstalledPackage installed_from_records
            records_closure changelog_history read_uploads Upload dpkg_database DPKG_HELPERS
        """,
        "nix": """
            nixpkgs default_nixpkgs LocalStore store_path StorePackage StorePath PathInfo
            registration_entries nar_hash parse_hash format_hash
        """,
        "nix.local.shell": "NixShell nix_shell",
        "nix.cache.channelversions": "ChannelVersion channel_versions",
    },
)
