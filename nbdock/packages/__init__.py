"""Where files come from: packages, package sets, closures."""

from nbdock.packages.closure import Closure, resolve_closure
from nbdock.packages.package import Package, PackageSet, Progress

__all__ = ["Closure", "Package", "PackageSet", "Progress", "resolve_closure"]
