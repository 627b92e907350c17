"""What planners sort packages by, and the graph they plan on.

The order of packages decides bytes: of two plans with the same packages in each layer, one whose
layer lists them in another order gives another tar, another digest, and nothing to share. nixpkgs
sorts store paths in three ways, and all three are needed to make its layers:

    /nix/store/aaa-zlib-1.3
    by_path           /nix/store/aaa-zlib-1.3       what Nix lists first; equally large ones
    name_then_hash    (zlib-1.3, /nix/store/aaa)    within a layer of `auto`
    hash_last         zlib-1.3-/nix/store/aaa       equally popular ones

They differ more than it seems: by `hash_last`, ``gtk+-3`` stands before ``gtk-3``. Packages that
stand at ``/`` have no path to be sorted by; they go by name, version and key.
"""

from __future__ import annotations

from collections.abc import Sequence

from nbdock.errors import PackageError
from nbdock.packages import Closure, Package

__all__ = ["by_path", "edges_between", "hash_last", "name_then_hash"]

Key = tuple[str, ...]


def by_path(package: Package) -> Key:
    """By the whole path, the hash first; ``/`` before any store."""
    return (package.root, *package.sort_key, package.key)


def name_then_hash(package: Package) -> Key:
    """By what follows the first dash of the path, then by what precedes it."""
    hash_part, dash, name = package.root.partition("-")
    if not dash:
        return (*package.sort_key, package.key)
    return (name, "", hash_part, package.key)


def hash_last(package: Package) -> Key:
    """By the path with what precedes its first dash moved to the end, as one text."""
    hash_part, dash, name = package.root.partition("-")
    if not dash:
        return (*package.sort_key, package.key)
    return (f"{name}-{hash_part}", "", "", package.key)


def edges_between(closure: Closure, packages: Sequence[Package]) -> list[list[int]]:
    """For each of the packages, the places among them of what it refers to.

    Parameters
    ----------
    closure
        What the packages are the closure of.
    packages
        All its packages, in the planner's order.

    Raises
    ------
    PackageError
        A package refers to one that is not in the closure.
    """
    place = {p.key: i for i, p in enumerate(packages)}
    try:
        return [[place[key] for key in closure.references.get(p.key, ())] for p in packages]
    except KeyError as error:
        raise PackageError(
            f"The closure is not closed: a package refers to {error.args[0]!r}, not in it.",
            package=str(error.args[0]),
            hint="Make closures with resolve_closure() or a package set's closure().",
        ) from None
