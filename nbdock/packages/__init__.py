"""Where files come from: packages, package sets, closures."""

from nbdock.packages.closure import Closure, resolve_closure
from nbdock.packages.dpkgrecords import (
    InstalledPackage,
    installed_from_records,
    records_closure,
)
from nbdock.packages.package import Package, PackageSet, Progress
from nbdock.packages.texts import script, text_file

__all__ = [
    "Closure",
    "InstalledPackage",
    "installed_from_records",
    "records_closure",
    "Package",
    "PackageSet",
    "Progress",
    "resolve_closure",
    "script",
    "text_file",
]
