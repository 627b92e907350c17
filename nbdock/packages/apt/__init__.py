"""Debian and Ubuntu packages, from the package sources that APT knows."""

from nbdock.packages.apt.opening import apt
from nbdock.packages.apt.package_set import AptPackage, AptPackageSet, AptSearchResult

__all__ = ["AptPackage", "AptPackageSet", "AptSearchResult", "apt"]
