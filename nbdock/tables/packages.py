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

from nbdock.images import Image
from nbdock.layering import LayerPlan, popularity
from nbdock.oci import Platform
from nbdock.packages import Closure, Package, Progress
from nbdock.tables.marking import table_function
from nbdock.tables.opening import open_image
from nbdock.tables.records import MANAGERS, FoundPackage, found_packages
from nbdock.tables.subjects import Subject

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["manager_of", "package_table", "packages_of"]


@table_function
def package_table(
    x: Subject | Closure,
    *,
    platform: str | Platform | None = None,
    tls_verify: bool = True,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """The packages in an image, or of a closure.

    Of an image that this process built, they are those it was built from; of any other, and of a
    base, those that its layers have: by the records of dpkg, apk and rpm, by the store paths that
    are there (what they need is known only if Nix's database is), and Python distributions.

    Parameters
    ----------
    x
        An image, as for `file_table`; or a closure.
    platform, tls_verify, progress
        As for `file_table`.

    Returns
    -------
    pandas.DataFrame
        Indexed by ``package``, sorted by name, with the columns

        - ``manager``: dpkg, apk, rpm, nix, python, or none,
        - ``version``: as the package set or the record says,
        - ``size_bytes``: bytes of its files, as the record says (dpkg counts whole kibibytes),
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
        image = open_image(x, platform=platform, tls_verify=tls_verify, progress=progress)
        closure, layer_of = packages_of(image, progress=progress)
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
            "manager": pd.Categorical([manager_of(p) for p in packages], pd.Index(MANAGERS)),
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


def packages_of(
    image: Image, *, progress: Progress | None = None
) -> tuple[Closure, dict[str, int]]:
    """The packages of an image, and the layer of each (by key)."""
    if image.closure is None or image.plan is None:
        return found_packages(image, progress=progress)
    below = len(image.layers) - _layers_of(image.plan)
    layer_of = {
        package.key: below + position
        for position, layer in enumerate(image.plan.layers)
        for package in layer
    }
    if below <= 0:
        return image.closure, layer_of
    found, its_layers = found_packages(image, progress=progress)
    built = {(p.name, p.version) for p in image.closure.packages}
    built |= {(p.root, "") for p in image.closure.packages if p.root != "/"}
    others = [p for p in found.packages if not {(p.name, p.version), (p.root, "")} & built]
    known = {p.key for p in others}
    references = {
        key: tuple(needed for needed in needs if needed in known)
        for key, needs in found.references.items()
        if key in known
    }
    packages = sorted((*image.closure.packages, *others), key=lambda p: p.sort_key)
    closure = Closure(
        tuple(packages), {**references, **image.closure.references}, image.closure.roots
    )
    return closure, {**{key: its_layers[key] for key in known}, **layer_of}


def manager_of(package: Package) -> str:
    """Who installs a package: one of `MANAGERS`."""
    if isinstance(package, FoundPackage):
        return package.told.manager
    if package.root.startswith("/nix/store/"):
        return "nix"
    return "dpkg" if type(package).__name__ == "AptPackage" else ""


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
