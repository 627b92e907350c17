"""Closures for tests of planners: packages without content, and graphs drawn by hypothesis."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from hypothesis import strategies as st

from nbdock.filetree import Entry
from nbdock.packages import Closure, Package


@dataclasses.dataclass(eq=False, repr=False)
class Stub(Package):
    """A package that is only a name, a place, a size and a source."""

    name: str
    version: str = ""
    root: str = "/"
    at: str = ""
    bytes: int = 0
    built_from: str = ""

    @property
    def source(self) -> str:
        return self.built_from or self.name

    @property
    def key(self) -> str:
        return self.at or self.name

    @property
    def size_bytes(self) -> int:
        return self.bytes

    def entries(self) -> Iterator[Entry]:
        return iter(())


def stub_in_store(base_name: str, size_bytes: int = 0) -> Stub:
    """A store path; sorted as `StorePackage` is."""
    path = f"/nix/store/{base_name}"
    return Stub(base_name.partition("-")[2], root=path, at=path, bytes=size_bytes)


def closure(
    references: Mapping[str, Sequence[str]], overrides: tuple[tuple[str, str], ...] = ()
) -> Closure:
    """Packages at ``/`` that refer to each other by name."""
    names = dict.fromkeys([*references, *(t for ts in references.values() for t in ts)])
    return Closure(
        tuple(Stub(n) for n in names),
        {n: tuple(references.get(n, ())) for n in names},
        tuple(names),
        overrides,
    )


@st.composite
def graphs(draw: st.DrawFn, acyclic: bool) -> dict[str, list[str]]:
    """Up to nine names with what each refers to."""
    n = draw(st.integers(1, 9))
    pairs = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1))
    edges = draw(st.sets(pairs, max_size=24))
    if acyclic:
        edges = {(min(e), max(e)) for e in edges if e[0] != e[1]}
    # Names run against the numbers for some, so that no order of names is the order of the graph.
    name = draw(st.permutations([f"p{i}" for i in range(n)]))
    return {name[i]: [name[b] for a, b in sorted(edges) if a == i] for i in range(n)}


@st.composite
def closures(draw: st.DrawFn) -> Closure:
    """Packages at ``/`` and in a store, of many sizes, with cycles; also none at all."""
    if not draw(st.integers(0, 12)):
        return Closure((), {}, ())
    graph = draw(graphs(acyclic=False))
    hashes = draw(st.permutations([f"{i:032}" for i in range(len(graph))]))
    at_root = draw(st.sets(st.sampled_from(sorted(graph))))
    sizes = st.sampled_from([0, 1, 96, 96, 112, 5000, 1 << 30])
    packages = {}
    for name, hash_part in zip(graph, hashes, strict=True):
        if name in at_root:
            packages[name] = Stub(name, at=f"stub:{name}", bytes=draw(sizes))
        else:
            packages[name] = stub_in_store(f"{hash_part}-{name}", draw(sizes))
    return Closure(
        tuple(sorted(packages.values(), key=lambda p: p.sort_key)),
        {
            packages[n].key: tuple(sorted({packages[t].key for t in targets} - {packages[n].key}))
            for n, targets in graph.items()
        },
        tuple(packages[n].key for n in draw(st.permutations(sorted(graph)))),
    )
