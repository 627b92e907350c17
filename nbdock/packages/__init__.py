"""Where files come from: packages, package sets, closures."""

from nbdock.packages.apt import AptPackage, AptPackageSet, apt
from nbdock.packages.closure import Closure, resolve_closure
from nbdock.packages.dpkgrecords import (
    InstalledPackage,
    installed_from_records,
    records_closure,
)
from nbdock.packages.local import directory
from nbdock.packages.package import Package, PackageSet, Progress
from nbdock.packages.texts import script, text_file

__all__ = [  # noqa: RUF022, in order of importance
    "Package",
    "PackageSet",
    "Closure",
    "resolve_closure",
    "apt",
    "directory",
    "text_file",
    "script",
    "AptPackageSet",
    "AptPackage",
    "InstalledPackage",
    "installed_from_records",
    "records_closure",
    "Progress",
]
