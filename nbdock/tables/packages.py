"""`package_table`: the packages of an image or a closure as a DataFrame.

>>> import nbdock
>>> files = [nbdock.text_file("etc/motd", "hello"), nbdock.text_file("etc/issue", "hi")]
>>> closure = nbdock.concurrency.run(nbdock.closure(files))
>>> nbdock.package_table(closure)[["size_bytes", "popularity"]]
         size_bytes  popularity
package
issue             2           1
motd              5           1
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbdock.images import Image, installed_closure
from nbdock.layering import LayerPlan, popularity
from nbdock.packages import Closure
from nbdock.tables.subjects import expect_image

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["package_table"]


def package_table(x: Image | Closure) -> pd.DataFrame:
    """The packages in an image, or of a closure.

    Parameters
    ----------
    x
        An image (one that was not built by this process is read: what dpkg's records in it say)
        or a closure.

    Returns
    -------
    pandas.DataFrame
        Indexed by ``package``, sorted by name, with the columns

        - ``version``: as the package set says,
        - ``size_bytes``: bytes of its files,
        - ``closure_size_bytes``: the same with all that it needs, directly or not,
        - ``references``: how many packages it needs directly,
        - ``referrers``: how many need it directly,
        - ``popularity``: its count in dockerTools' contest (exact; beyond 64 bits as floats),
        - ``layer``: position of its layer in the image; <NA> for a closure.
    """
    import pandas as pd

    if isinstance(x, Closure):
        closure, layer_of = x, dict[str, int]()
    else:
        closure, layer_of = _of_image(expect_image(x))
    counts = {package.key: count for package, count in popularity(closure)}
    reached = _closure_sizes(closure)
    referrers = dict.fromkeys(closure.by_key, 0)
    for references in closure.references.values():
        for key in references:
            referrers[key] += 1
    packages = closure.packages
    numbers = [counts[p.key] for p in packages]
    small = all(number < 1 << 63 for number in numbers)
    return pd.DataFrame(
        {
            "version": pd.Series([p.version for p in packages], dtype="str"),
            "size_bytes": pd.Series([p.size_bytes for p in packages], dtype="int64"),
            "closure_size_bytes": pd.Series([reached[p.key] for p in packages], dtype="int64"),
            "references": pd.Series(
                [len(closure.references.get(p.key, ())) for p in packages], dtype="int64"
            ),
            "referrers": pd.Series([referrers[p.key] for p in packages], dtype="int64"),
            "popularity": pd.Series(numbers, dtype="int64" if small else "float64"),
            "layer": pd.Series([layer_of.get(p.key) for p in packages], dtype="Int64"),
        }
    ).set_axis(pd.Index([p.name for p in packages], name="package", dtype="str"))


def _of_image(image: Image) -> tuple[Closure, dict[str, int]]:
    if image.closure is None or image.plan is None:
        return installed_closure(image)
    below = len(image.layers) - _layers_of(image.plan)
    return image.closure, {
        package.key: below + position
        for position, layer in enumerate(image.plan.layers)
        for package in layer
    }


def _layers_of(plan: LayerPlan) -> int:
    """How many layers the build put on the base: those of the plan, and a layered image's top."""
    return len(plan) + (plan.planner != "single")


def _closure_sizes(closure: Closure) -> dict[str, int]:
    """Bytes of each package with all that it reaches; cycles are counted once."""
    bits = {package.key: 1 << i for i, package in enumerate(closure.packages)}
    sizes = [package.size_bytes for package in closure.packages]
    totals = {}
    for package in closure.packages:
        seen, queue = bits[package.key], [package.key]
        total = package.size_bytes
        while queue:
            for key in closure.references.get(queue.pop(), ()):
                if not seen & bits[key]:
                    seen |= bits[key]
                    total += sizes[bits[key].bit_length() - 1]
                    queue.append(key)
        totals[package.key] = total
    return totals
