"""`package_table` against networkx and the planner's own count."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nbdock
from nbdock import concurrency
from nbdock.errors import ArgumentTypeError
from nbdock.filetree import Entry
from nbdock.layering import popularity
from nbdock.packages import Closure, Package

COLUMNS = {
    "manager": "category", "version": "str", "size_bytes": "int64", "closure_size_bytes": "int64",
    "references": "int64", "referrers": "int64", "popularity": "int64", "layer": "Int64",
}  # fmt: skip


@dataclasses.dataclass(eq=False)
class Sized(Package):
    name: str
    size: int
    version: str = "1"
    root: str = "/"

    @property
    def key(self) -> str:
        return f"{self.name}-{self.size}"

    @property
    def size_bytes(self) -> int:
        return self.size

    def entries(self) -> Iterator[Entry]:
        return iter(())


def closure_of(edges: dict[str, list[str]], sizes: dict[str, int]) -> Closure:
    packages = {name: Sized(name, sizes[name]) for name in sorted(edges)}
    return Closure(
        packages=tuple(packages.values()),
        references={
            packages[a].key: tuple(sorted(packages[b].key for b in to)) for a, to in edges.items()
        },
        roots=tuple(p.key for p in packages.values())[:1],
    )


@st.composite
def closures(draw: st.DrawFn) -> Closure:
    """Graphs with cycles, islands and packages that need nothing."""
    names = [f"p{i}" for i in range(draw(st.integers(0, 9)))]
    edges = {
        name: draw(st.lists(st.sampled_from([n for n in names if n != name]), unique=True))
        if len(names) > 1
        else []
        for name in names
    }
    sizes = {name: draw(st.integers(0, 10**12)) for name in names}
    return closure_of(edges, sizes)


@settings(max_examples=60)
@given(closures())
def test_a_closure_against_networkx(closure: Closure) -> None:
    table = nbdock.package_table(closure)
    graph = closure.graph
    assert {n: str(t) for n, t in table.dtypes.items()} == COLUMNS
    assert list(table.index) == [p.name for p in closure.packages]
    assert table["layer"].isna().all()
    counts = {package.name: count for package, count in popularity(closure)}
    for package in closure.packages:
        row = table.loc[package.name]
        reached = nx.descendants(graph, package) | {package}
        assert row["closure_size_bytes"] == sum(p.size_bytes for p in reached)
        assert row["size_bytes"] == package.size_bytes
        assert row["references"] == graph.out_degree(package)
        assert row["referrers"] == graph.in_degree(package)
        assert row["popularity"] == counts[package.name]


def test_an_empty_closure_gives_the_same_columns() -> None:
    table = nbdock.package_table(Closure((), {}, ()))
    assert {n: str(t) for n, t in table.dtypes.items()} == COLUMNS
    assert table.index.name == "package"


def test_counts_beyond_64_bits_are_floats() -> None:
    # A ladder of pairs that each need both of the next pair: the paths double at each rung.
    edges = {}
    for i in range(70):
        for side in "ab":
            edges[f"{i:02}{side}"] = [f"{i + 1:02}a", f"{i + 1:02}b"] if i < 69 else []
    closure = closure_of(edges, dict.fromkeys(edges, 1))
    table = nbdock.package_table(closure)
    largest = max(count for _, count in popularity(closure))
    if largest < 1 << 63:
        pytest.fail("the ladder is too short to test anything")
    assert str(table["popularity"].dtype) == "float64"
    assert table["popularity"].max() == pytest.approx(float(largest))


def test_an_image_built_here_knows_its_layers(nbdock_home) -> None:
    files = [nbdock.text_file(f"etc/{name}", name * 3) for name in ("a", "bb", "ccc")]
    base = concurrency.run(nbdock.build_image("base", contents=nbdock.text_file("base", "x")))
    image = concurrency.run(
        nbdock.build_layered_image("x", from_image=base, contents=files, max_layers=4)
    )
    table = nbdock.package_table(image)
    assert {n: str(t) for n, t in table.dtypes.items()} == COLUMNS
    assert list(table.index) == ["a", "bb", "ccc"]
    layers = nbdock.layer_table(image)
    for name, layer in table["layer"].items():
        assert name in layers.loc[layer, "contents"]


def test_a_single_layer_on_a_base(nbdock_home) -> None:
    base = concurrency.run(nbdock.build_image("base", contents=nbdock.text_file("base", "x")))
    top = concurrency.run(
        nbdock.build_image("x", from_image=base, contents=nbdock.text_file("top", "y"))
    )
    assert nbdock.package_table(top)["layer"].to_dict() == {"top": 1}


STATUS = """Package: libc6
Status: install ok installed
Version: 2.36
Architecture: amd64
Installed-Size: 12
Depends: libgcc-s1

Package: libgcc-s1
Status: install ok installed
Version: 12.2
Architecture: amd64
Installed-Size: 3

Package: redis
Status: install ok installed
Version: 7.0
Architecture: amd64
Installed-Size: 5
Depends: libc6 (>= 2.34)
"""


def test_an_image_loaded_from_an_archive_is_read(nbdock_home, tmp_path) -> None:
    record = nbdock.text_file("var/lib/dpkg/status", STATUS)
    image = concurrency.run(nbdock.build_image("x", contents=record))
    path = concurrency.run(image.save(tmp_path / "x.tar"))
    table = nbdock.package_table(concurrency.run(nbdock.load_image(path)))
    assert {n: str(t) for n, t in table.dtypes.items()} == COLUMNS
    assert table["version"].to_dict() == {"libc6": "2.36", "libgcc-s1": "12.2", "redis": "7.0"}
    assert table["size_bytes"].to_dict() == {"libc6": 12288, "libgcc-s1": 3072, "redis": 5120}
    assert table.loc["redis", "closure_size_bytes"] == 20480
    assert table["layer"].tolist() == [0, 0, 0]
    assert table.loc["libc6", ["references", "referrers"]].tolist() == [1, 1]


def test_an_image_without_packages(nbdock_home, tmp_path) -> None:
    image = concurrency.run(nbdock.build_image("x"))
    assert {n: str(t) for n, t in nbdock.package_table(image).dtypes.items()} == COLUMNS
    path = concurrency.run(image.save(tmp_path / "x.tar"))
    loaded = nbdock.package_table(concurrency.run(nbdock.load_image(path)))
    assert {n: str(t) for n, t in loaded.dtypes.items()} == COLUMNS
    assert len(loaded) == 0


@pytest.mark.parametrize("value", [[], None, 3])
def test_something_else_is_refused(value) -> None:
    with pytest.raises(ArgumentTypeError):
        nbdock.package_table(value)
