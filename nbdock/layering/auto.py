"""Today's default planner of dockerTools: large packages apart, each with what only it needs.

It takes the packages by size, the largest first, and makes each the head of a layer. A package is
labelled with the heads it is for: those that need it, unless another head in between does. What
has the same label shares a layer, so a head's own dependencies lie with it, and what two heads
share lies in a layer of its own. It goes on until another head would take more layers than allowed.

In nixpkgs two store paths take part that no layer holds: the image's JSON file, which refers to
the packages named in ``config``, and the top layer, which refers to ``contents``. They are counted
with the layers, and one of them may be a head while there is room. So they are here
(`ImageRoot`): with them, the same packages, sizes and limit give the same layers as in nixpkgs.

What nixpkgs leaves to chance has an order here: layers whose closures are equally large. And a
cycle of references, which Nix does not have, counts as one package.

    plan = auto_plan(closure, 99)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from nbdock.layering.graph import components, members, total
from nbdock.layering.order import check_room
from nbdock.layering.plan import LayerPlan
from nbdock.layering.sorting import by_path, edges_between, name_then_hash
from nbdock.packages import Closure

__all__ = ["ImageRoot", "auto_plan"]

SMALLEST_TOP_LAYER_BYTES = 10_784
"""Size that Nix gives the top layer when its tar takes one record of 10,240 bytes."""


@dataclasses.dataclass(frozen=True)
class ImageRoot:
    """A store path of nixpkgs that refers to packages of an image and lies in none of its layers.

    Attributes
    ----------
    size_bytes
        Length of its NAR: decides when its turn comes.
    references
        Keys of the packages that it refers to.
    """

    size_bytes: int
    references: tuple[str, ...]


def auto_plan(
    closure: Closure, limit: int, *, image_roots: Sequence[ImageRoot] | None = None
) -> LayerPlan:
    """The plan of nixpkgs' automatic layering.

    Layers ascend by the size of their closures. The packages of a layer ascend by name, those of
    one name by hash.

    Parameters
    ----------
    closure
        The packages to be planned.
    limit
        How many layers packages may take, as `check_layer_limit` returns it. Count.
    image_roots
        What else refers to the packages in nixpkgs. By default a small top layer that refers to
        the packages that were asked for, and a JSON file that refers to none.

    Raises
    ------
    LayerLimitError
        `limit` is below one.
    PackageError
        A package refers to one that is not in the closure.
    """
    check_room(limit)
    if image_roots is None:
        image_roots = (ImageRoot(SMALLEST_TOP_LAYER_BYTES, closure.roots), ImageRoot(0, ()))
    packages = sorted(closure.packages, key=by_path)
    place = {p.key: i for i, p in enumerate(packages)}
    edges = edges_between(closure, packages)
    edges += [[place[key] for key in root.references if key in place] for root in image_roots]
    sizes = [p.size_bytes for p in packages] + [root.size_bytes for root in image_roots]

    groups = components(edges)
    group_of = [0] * len(edges)
    for number, group in enumerate(groups):
        for node in group:
            group_of[node] = number
    group_sizes = [sum(sizes[node] for node in group) for group in groups]
    targets = [
        {group_of[t] for node in group for t in edges[node]} - {number}
        for number, group in enumerate(groups)
    ]
    needs, needed_by = _transitive(targets)
    # Of equally large ones, the last by path comes first.
    turns = sorted(range(len(groups)), key=lambda g: (group_sizes[g], groups[g][0]), reverse=True)

    found = []
    for mask in _layers(turns, needs, needed_by, limit):
        inside = members(mask)
        below = mask
        for g in inside:
            below |= needs[g]
        nodes = (n for g in inside for n in groups[g] if n < len(packages))
        layer = sorted((packages[n] for n in nodes), key=name_then_hash)
        if layer:
            order = (total(below, group_sizes), below.bit_count(), name_then_hash(layer[0]))
            found.append((order, tuple(layer)))
    found.sort(key=lambda item: item[0])
    return LayerPlan(tuple(layer for _, layer in found), limit, "auto")


def _transitive(targets: Sequence[set[int]]) -> tuple[list[int], list[int]]:
    """For each node all that it needs, and all that need it, as bits; targets come before it."""
    needs: list[int] = []
    for direct in targets:
        mask = 0
        for t in direct:
            mask |= needs[t] | 1 << t
        needs.append(mask)
    needed_by = [0] * len(targets)
    for node in reversed(range(len(targets))):
        mask = needed_by[node] | 1 << node
        for t in targets[node]:
            needed_by[t] |= mask
    return needs, needed_by


def _layers(
    turns: Sequence[int], needs: Sequence[int], needed_by: Sequence[int], limit: int
) -> list[int]:
    """What shares a label in the end, as bits.

    Labels are sets of heads, as bits too. There are never more labels than layers, so a head is
    taken for all nodes with a label at once; and no head loses its own label, so there are never
    more heads than layers either.
    """
    labels = {0: (1 << len(turns)) - 1} if turns else {}
    for head in turns:
        own = 1 << head
        below, above = needs[head], needed_by[head]
        after = {own: own}
        for label, nodes in labels.items():
            moved = nodes & below
            left = nodes ^ moved
            left ^= left & own
            if left:
                after[label] = after.get(label, 0) | left
            if moved:
                # Heads that need this one reach the nodes through it, so it stands for them;
                # unless a head between it and the nodes stands for it.
                now = label ^ (label & above)
                if not now & below:
                    now |= own
                after[now] = after.get(now, 0) | moved
        if len(after) > limit:
            break
        labels = after
    return list(labels.values())
