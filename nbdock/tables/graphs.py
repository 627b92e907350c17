"""`closure_graph`: packages and what they need, as a networkx graph.

>>> import nbdock
>>> motd = nbdock.text_file("etc/motd", "hello")
>>> nbdock.closure_graph([motd]).nodes(data=True)
NodeDataView({'motd': {'version': '', 'size_bytes': 5, 'manager': '', 'layer': None}})
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nbdock.calling import checked
from nbdock.concurrency import run
from nbdock.images import closure
from nbdock.oci import Platform
from nbdock.packages import Closure, Package, Progress
from nbdock.showing import watched_plain
from nbdock.tables.opening import open_image
from nbdock.tables.packages import manager_of, packages_of
from nbdock.tables.subjects import Subject

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["closure_graph"]


@checked
@watched_plain("Read")
def closure_graph(
    x: Subject | Closure | Package | Sequence[Package],
    *,
    platform: str | Platform | None = None,
    tls_verify: bool = True,
    progress: Progress | None = None,
) -> nx.DiGraph[str]:
    """Packages, and an edge from each to what it needs directly.

    Parameters
    ----------
    x
        A closure; packages, which are resolved; or an image, as for `package_table`.
    platform, tls_verify, progress
        As for `file_table`.

    Returns
    -------
    networkx.DiGraph
        Nodes are names; where several packages have one name, those are ``name version``, or
        their places. Each has ``version``, ``size_bytes``, ``manager`` and ``layer`` (None if it
        is in none).

    Raises
    ------
    ArgumentTypeError, PackageError
        Something else, or packages that cannot be resolved.
    """
    import networkx as nx

    layers: dict[str, int] = {}
    if isinstance(x, Closure):
        found = x
    elif isinstance(x, Package) or (isinstance(x, Sequence) and not isinstance(x, str)):
        found = run(closure([x] if isinstance(x, Package) else list(x)))
    else:
        image = open_image(x, platform=platform, tls_verify=tls_verify, progress=progress)
        found, layers = packages_of(image, progress=progress)
    names = _names(found.packages)
    graph: nx.DiGraph[str] = nx.DiGraph()
    for package in found.packages:
        graph.add_node(
            names[package.key],
            version=package.version,
            size_bytes=package.size_bytes,
            manager=manager_of(package),
            layer=layers.get(package.key),
        )
    for key, needed in found.references.items():
        graph.add_edges_from((names[key], names[other]) for other in needed)
    return graph


def _names(packages: Sequence[Package]) -> dict[str, str]:
    """A name for each package, by key, that no other has."""

    def forms(package: Package) -> tuple[str, ...]:
        name, version, place = package.name, package.version, package.root
        return name, f"{name} {version}", place, f"{manager_of(package)} {name}", package.key

    names: dict[str, str] = {}
    left = list(packages)
    for form in range(5):
        users: dict[str, list[Package]] = {}
        for package in left:
            users.setdefault(forms(package)[form], []).append(package)
        taken = set(names.values())
        for name, those in users.items():
            if len(those) == 1 and name not in taken and name != "/":
                names[those[0].key] = name
        left = [package for package in left if package.key not in names]
    return names
