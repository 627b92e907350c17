"""ostree-rs-ext's planner: by size and by how often packages change, judged by outliers.

What `lib/src/chunking.rs` of ostree-rs-ext does, with its numbers:

- Fewer packages than layers: each has its own. Fewer than four layers: one holds all.
- One layer is reserved for packages that later images will have besides (an image has no empty
  layers, so here it is only not used), one is for all small packages: those of at most half of the
  median of sizes less two median absolute deviations.
- Of the other layers, 60% are for large packages, one each: those of at least the median plus two
  median absolute deviations, the largest first.
- What remains is sorted by how often it changes and put into up to nine classes: often, medium and
  rarely, by two standard deviations from the mean, and large, medium and small in the same way.
  The classes are cut into layers of equally many packages, and when these are too many, pairs of
  neighbours are joined, from the end.

How often a package changes is how often it did in the year before the history's end. Without a
history nothing is known to have changed, so that only sizes count.

    chunked_plan(closure, 63, history=history)
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence

from nbdock.layering.order import check_room
from nbdock.layering.plan import LayerPlan
from nbdock.packages import ChangeHistory, Closure, Package

__all__ = ["chunked_plan"]

LEAST_LAYERS = 4
"""Of fewer layers the plan makes one. Count."""

THRESHOLD = 2
"""How many deviations make an outlier."""

_DAYS = 365

_Layers = list[list[Package]]


def chunked_plan(
    closure: Closure, limit: int, *, history: ChangeHistory | None = None
) -> LayerPlan:
    """The plan of ostree-rs-ext's chunking, for an image that has no predecessor.

    Parameters
    ----------
    closure
        The packages to be planned.
    limit
        How many layers packages may take, as `check_layer_limit` returns it. Count.
    history
        When packages changed.

    Raises
    ------
    LayerLimitError
        `limit` is below one.

    Examples
    --------
    >>> from nbdock.packages import text_file
    >>> sizes = [40, 40, 44, 48, 52, 900, 4000]
    >>> texts = [text_file(f"etc/{i}", "x" * size) for i, size in enumerate(sizes)]
    >>> packages = Closure(tuple(texts), {p.key: () for p in texts}, ())
    >>> [[p.name for p in layer] for layer in chunked_plan(packages, 5).layers]
    [['6'], ['5'], ['4', '3', '2'], ['0', '1']]
    """
    check_room(limit)
    packages = sorted(closure.packages, key=lambda p: (-p.size_bytes, p.sort_key))
    if limit < LEAST_LAYERS:
        layers = [packages]
    elif len(packages) < limit:
        layers = [[package] for package in packages]
    else:
        layers = _packed(packages, limit, _frequencies(packages, history))
    return LayerPlan(tuple(tuple(layer) for layer in layers if layer), limit, "chunked")


def _frequencies(packages: Sequence[Package], history: ChangeHistory | None) -> dict[str, int]:
    """How often each package changed in the last year, by its key."""
    if history is None:
        return dict.fromkeys((p.key for p in packages), 0)
    changes = history.since(history.end - dt.timedelta(days=_DAYS)).changes
    return {p.key: len(changes.get(p.name, ())) for p in packages}


def _packed(packages: Sequence[Package], limit: int, frequency: Mapping[str, int]) -> _Layers:
    for_large = (limit - 2) * 3 // 5
    for_others = limit - 2 - for_large
    sizes = [p.size_bytes for p in packages]
    middle, deviation = _median_and_deviation(sizes)
    large = [p for p in packages if p.size_bytes >= middle + THRESHOLD * deviation]
    small_limit = abs(middle - THRESHOLD * deviation) / 2
    others = [p for p in packages if p.size_bytes < middle + THRESHOLD * deviation]
    small = [p for p in others if p.size_bytes <= small_limit]
    others = large[for_large:] + [p for p in others if p.size_bytes > small_limit]
    each = max(1, (len(packages) - for_large - len(small)) // for_others)
    layers = [[p] for p in large[:for_large]]
    if small:
        layers.append(small)
    for group in _classes(others, frequency):
        layers += [group[i : i + each] for i in range(0, len(group), each)]
    _join(layers, first=1 + for_large, most=limit - 1)
    return layers


def _classes(packages: Sequence[Package], frequency: Mapping[str, int]) -> _Layers:
    """Packages by how often they change and how large they are: often first, large first."""
    ordered = sorted(packages, key=lambda p: frequency[p.key])
    often = _limits([frequency[p.key] for p in ordered])
    large = _limits([p.size_bytes for p in ordered])
    classes: dict[tuple[int, int], list[Package]] = {}
    for package in ordered:
        # In the order of the names that the original gives its classes: 3hf, 4mf, 5lf; hs, ls, ms.
        by_frequency = (0, 2, 1)[_class(frequency[package.key], often)]
        by_size = _class(package.size_bytes, large)
        classes.setdefault((by_frequency, by_size), []).append(package)
    return [classes[key] for key in sorted(classes)]


def _class(value: float, limits: tuple[float, float]) -> int:
    """0 for much, 1 for little, 2 for what lies between."""
    low, high = limits
    return 0 if value >= high else 1 if value <= low else 2


def _limits(values: Sequence[int]) -> tuple[float, float]:
    """Below and above which a value is an outlier, by mean and standard deviation."""
    if not values:
        return 0.0, 0.0
    mean = sum(values) / len(values)
    deviation = math.sqrt(sum((mean - value) ** 2 for value in values) / len(values))
    return abs(mean - THRESHOLD * deviation) / 2, mean + THRESHOLD * deviation


def _median_and_deviation(values: Sequence[int]) -> tuple[float, float]:
    """The median, and the median of the distances from it."""
    middle = _median(sorted(values))
    return middle, _median(sorted(abs(value - middle) for value in values))


def _median(ordered: Sequence[float]) -> float:
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _join(layers: _Layers, *, first: int, most: int) -> None:
    """Join pairs from the end until there are at most so many layers.

    As in the original a joined pair is put back one place too late, behind the layer after it.
    """
    while len(layers) > most:
        for i in reversed(range(first, len(layers) - 1, 2)):
            if len(layers) <= most:
                break
            pair = layers[i - 1] + layers[i]
            del layers[i - 1 : i + 1]
            layers.insert(i, pair)
