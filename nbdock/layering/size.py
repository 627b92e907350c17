"""apko's planner: the largest sources get a layer of their own.

Packages of one source share a layer, since they change together; so do packages of which one may
overwrite the other's files. Such groups are sorted by installed size, the largest first. All but
the last of the layers that there may be hold a group each, the last one holds all the rest. Within
a layer packages are sorted by name.

apko (`pkg/build/layers.go`) calls this its strategy ``origin`` and suggests about ten layers. The
top layer, for what belongs to no package, is not counted in its budget; nor is it here.

    size_plan(closure, 9)       # the eight largest groups, and all other packages
"""

from __future__ import annotations

from collections.abc import Iterable

from nbdock.layering.graph import components
from nbdock.layering.order import check_room
from nbdock.layering.plan import LayerPlan
from nbdock.packages import Closure, Package

__all__ = ["size_plan"]


def size_plan(closure: Closure, limit: int) -> LayerPlan:
    """The plan of apko's layering by origin.

    Layers descend by size. Of groups that are equally large, the one comes first whose last name
    does.

    Parameters
    ----------
    closure
        The packages to be planned. Where apko looks at ``replaces``, `Closure.overrides` counts.
    limit
        How many layers packages may take, as `check_layer_limit` returns it. Count.

    Raises
    ------
    LayerLimitError
        `limit` is below one.

    Examples
    --------
    >>> from nbdock.packages import text_file
    >>> texts = [text_file(f"etc/{name}", name * length) for name, length in
    ...          [("a", 1), ("b", 30), ("c", 9), ("d", 2)]]
    >>> packages = Closure(tuple(texts), {p.key: () for p in texts}, ())
    >>> [[p.name for p in layer] for layer in size_plan(packages, 3).layers]
    [['b'], ['c'], ['a', 'd']]
    """
    check_room(limit)
    groups = sorted(_groups(closure), key=_largest_first)
    if len(groups) > limit:
        rest = [package for group in groups[limit - 1 :] for package in group]
        groups = [*groups[: limit - 1], rest]
    layers = (tuple(sorted(group, key=lambda p: p.sort_key)) for group in groups)
    return LayerPlan(tuple(layers), limit, "size")


def _groups(closure: Closure) -> Iterable[list[Package]]:
    """Packages that are of one source, or may overwrite each other's files."""
    packages = sorted(closure.packages, key=lambda p: p.sort_key)
    place = {p.key: i for i, p in enumerate(packages)}
    edges: list[set[int]] = [set() for _ in packages]
    first: dict[str, int] = {}
    for i, package in enumerate(packages):
        other = first.setdefault(package.source, i)
        edges[i].add(other)
        edges[other].add(i)
    for winner, loser in closure.overrides:
        if winner in place and loser in place:
            edges[place[winner]].add(place[loser])
            edges[place[loser]].add(place[winner])
    return [[packages[i] for i in group] for group in components(edges)]


def _largest_first(group: list[Package]) -> tuple[int, tuple[str, str, str]]:
    return (-sum(p.size_bytes for p in group), max(p.sort_key for p in group))
