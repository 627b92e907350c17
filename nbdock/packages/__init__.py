"""Where files come from: packages, package sets, closures.

The rooms of single package sets are imported when something of theirs is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbdock.packages.closure import Closure, resolve_closure
from nbdock.packages.local import directory
from nbdock.packages.package import Package, PackageSet, Progress
from nbdock.packages.texts import script, text_file

if TYPE_CHECKING:
    from nbdock.packages.debian import (
        AptPackage,
        AptPackageSet,
        AptSearchResult,
        InstalledPackage,
        apt,
        installed_from_records,
        records_closure,
    )

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
    "AptSearchResult",
    "InstalledPackage",
    "installed_from_records",
    "records_closure",
    "Progress",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"nbdock.packages has no {name!r}.")
    from nbdock.packages import debian

    return getattr(debian, name)
