"""How packages, sets of packages and planners look under a cell.

A package that is only a name so far is looked up for that: who shows one wants to know what it is.
Should that fail, what went wrong stands in its place, as showing a value must not fail.
"""

from __future__ import annotations

import re

from nbdock.errors import NbdockError
from nbdock.layering import Planners
from nbdock.notebook.views import Column, View
from nbdock.packages import Package, PackageSet
from nbdock.units import bytes_text

__all__ = ["package_set_view", "package_view", "planners_view"]

_REPR = re.compile(r"<\w+ ?(.*)>", re.DOTALL)


def package_view(package: Package) -> View:
    """Name, version, place and size of a package, as far as they are known."""
    try:
        place = str(package)
        name, version, size_bytes = package.name, package.version, package.size_bytes
    except NbdockError as error:
        return View(package.name, note=" ".join(filter(None, (error.message, error.hint))))
    facts = [bytes_text(size_bytes)] if size_bytes else []
    whence = package.package_set
    if whence is not None and whence.distribution:
        facts.append(f"a package of {whence.distribution}")
    needs = "await nbdock.closure(package) is the package with all it needs" if whence else ""
    return View(name, f" {version}" if version else "", facts=facts, code=place, note=needs)


def package_set_view(packages: PackageSet) -> View:
    """Where the packages of a set are from, and how to get at them. Loads nothing."""
    described = _REPR.fullmatch(repr(packages))
    ways = ['packages["name"]', "packages.name", "Tab completes names"]
    if hasattr(type(packages), "search"):
        ways.insert(2, 'packages.search("word")')
    return View(
        f"Packages of {packages.distribution}" if packages.distribution else "Packages",
        f" from {described[1]}" if described and described[1] else "",
        note="; ".join(ways),
    )


def planners_view(planners: Planners) -> View:
    """The planners, what each does, and how a cell chooses one."""
    return View(
        "Planners",
        columns=(Column("name", code=True, whole=True), Column("what it does")),
        rows=[(name, planner.description) for name, planner in planners.items()],
        note='layering = "auto"; in a cell, or a function of a closure and a limit. '
        "A pipeline is given as layeringPipeline = [ ... ];",
    )
