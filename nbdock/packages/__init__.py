"""Where files come from: packages, package sets, closures."""

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
    "directory",
    "text_file",
    "script",
    "InstalledPackage",
    "installed_from_records",
    "records_closure",
    "Progress",
]
