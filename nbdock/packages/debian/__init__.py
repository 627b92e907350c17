"""Debian and Ubuntu packages, from the package sources that APT knows: found, resolved, fetched.

The way of the data: `configuration`, `sources` and `preferences` say where to look; `release` and
`signatures` say whom to trust; `index` holds what there is; `resolver` chooses; `fetching` brings
the .debs; `deb` reads one as a stream of entries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbdock.later import names_of

if TYPE_CHECKING:
    from nbdock.packages.debian.changelog import Upload
    from nbdock.packages.debian.dpkgdatabase import DPKG_HELPERS, dpkg_database
    from nbdock.packages.debian.dpkgrecords import (
        InstalledPackage,
        installed_from_records,
        records_closure,
    )
    from nbdock.packages.debian.mergedusr import merged_usr_links
    from nbdock.packages.debian.opening import apt
    from nbdock.packages.debian.package_set import AptPackage, AptPackageSet, AptSearchResult
    from nbdock.packages.debian.uploads import changelog_history, read_uploads

__all__ = [  # noqa: RUF022, in order of importance
    "apt",
    "AptPackageSet",
    "AptPackage",
    "AptSearchResult",
    "InstalledPackage",
    "installed_from_records",
    "records_closure",
    "changelog_history",
    "read_uploads",
    "Upload",
    "merged_usr_links",
    "dpkg_database",
    "DPKG_HELPERS",
]

__getattr__, __dir__ = names_of(
    __name__,
    {
        "changelog": "Upload",
        "dpkgdatabase": "DPKG_HELPERS dpkg_database",
        "dpkgrecords": "InstalledPackage installed_from_records records_closure",
        "mergedusr": "merged_usr_links",
        "opening": "apt",
        "package_set": "AptPackage AptPackageSet AptSearchResult",
        "uploads": "changelog_history read_uploads",
    },
)
