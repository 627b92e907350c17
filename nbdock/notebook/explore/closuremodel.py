"""What `explore_closure` knows: packages, what needs what and why, and the picture of it.

model = ClosureModel.of(closure)
model.why("libc6")              # ['postgresql', 'libpq5', 'libc6']
closure_svg(model)
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nbdock.concurrency import run
from nbdock.errors import ArgumentError, nearest
from nbdock.images import Image, closure
from nbdock.notebook.explore.layered import Drawing, Line, layered
from nbdock.notebook.explore.svg import width_of
from nbdock.packages import Closure, Package
from nbdock.tables import closure_graph
from nbdock.units import bytes_text

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd

__all__ = ["ClosureModel", "line_path"]


@dataclasses.dataclass(frozen=True, eq=False)
class ClosureModel:
    """A graph of packages, and what was asked for.

    Attributes
    ----------
    graph
        As `closure_graph` gives it.
    roots
        The nodes that were asked for; where that is not known, those that nothing else needs.
    """

    graph: nx.DiGraph[str]
    roots: tuple[str, ...]

    @classmethod
    def of(cls, x: Any, **options: Any) -> ClosureModel:
        """Of whatever `closure_graph` takes, with its options."""
        if isinstance(x, Package) or (isinstance(x, Sequence) and not isinstance(x, str)):
            x = run(closure([x] if isinstance(x, Package) else list(x)))
        graph = closure_graph(x, **options)
        asked: list[str] = []
        if isinstance(x, Closure):
            names = {p.key: name for p, name in zip(x.packages, graph, strict=True)}
            asked = [names[key] for key in x.roots]
        elif isinstance(x, Image) and x.closure is not None:
            asked = [x.closure[key].name for key in x.closure.roots]
        return cls(graph, _roots(graph, [name for name in asked if name in graph]))

    @functools.cached_property
    def names(self) -> list[str]:
        """The nodes, in the order of the graph."""
        return list(self.graph)

    @functools.cached_property
    def because(self) -> dict[str, str | None]:
        """For each node the one before it on a shortest way from a root; None for a root."""
        found: dict[str, str | None] = dict.fromkeys(self.roots)
        edge = list(self.roots)
        while edge:
            after = []
            for node in edge:
                for needed in self.graph.successors(node):
                    if needed not in found:
                        found[needed] = node
                        after.append(needed)
            edge = after
        return found

    def why(self, name: str) -> list[str]:
        """A shortest chain from what was asked for to a package, both included.

        Raises
        ------
        ArgumentError
            There is no such package.
        """
        self.check([name])
        chain = [name]
        while (before := self.because[chain[-1]]) is not None:
            chain.append(before)
        return chain[::-1]

    def check(self, names: Sequence[str]) -> None:
        """Refuse names of no package."""
        for name in names:
            if name not in self.graph:
                close = nearest(str(name), self.names, count=1)
                raise ArgumentError(
                    f"There is no package {name!r:.60} in the closure.",
                    argument="name",
                    hint=f"Did you mean {close[0]!r}?" if close else "See .table.index.",
                )

    @functools.cached_property
    def closure_sizes(self) -> dict[str, int]:
        """Bytes of each package with all that it needs, each counted once."""
        import networkx as nx

        sizes = [int(self.graph.nodes[name]["size_bytes"]) for name in self.names]
        place = {name: i for i, name in enumerate(self.names)}
        condensed: Any = nx.condensation(self.graph)
        masks: dict[int, int] = {}
        totals: dict[str, int] = {}
        for group in reversed(list(nx.topological_sort(condensed))):
            mask = 0
            for name in condensed.nodes[group]["members"]:
                mask |= 1 << place[name]
            for needed in condensed.successors(group):
                mask |= masks[needed]
            masks[group] = mask
            bits = f"{mask:b}"[::-1]
            total = sum(size for size, bit in zip(sizes, bits, strict=False) if bit == "1")
            totals.update(dict.fromkeys(condensed.nodes[group]["members"], total))
        return totals

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """The packages as a DataFrame, indexed by ``package`` (the nodes of the graph).

        Columns: ``version``, ``size_bytes``, ``closure_size_bytes`` (with all that it needs),
        ``needs`` and ``needed_by`` (how many directly), ``why`` (a shortest chain from what was
        asked for), ``layer`` (<NA> where it is in none).
        """
        import pandas as pd

        graph, names = self.graph, self.names
        nodes = [graph.nodes[name] for name in names]
        return pd.DataFrame(
            {
                "version": pd.Series([node["version"] for node in nodes], dtype="str"),
                "size_bytes": pd.Series([node["size_bytes"] for node in nodes], dtype="int64"),
                "closure_size_bytes": pd.Series(
                    [self.closure_sizes[name] for name in names], dtype="int64"
                ),
                "needs": pd.Series([graph.out_degree(name) for name in names], dtype="int64"),
                "needed_by": pd.Series([graph.in_degree(name) for name in names], dtype="int64"),
                "why": pd.Series([" \u2192 ".join(self.why(n)) for n in names], dtype="str"),
                "layer": pd.Series([node["layer"] for node in nodes], dtype="Int64"),
            }
        ).set_axis(pd.Index(names, name="package", dtype="str"))

    @functools.cached_property
    def drawing(self) -> Drawing[str]:
        """Where the packages stand in the picture."""

        def width(name: str) -> float:
            size = bytes_text(self.graph.nodes[name]["size_bytes"])
            # Twelve and a gap between the two; the names of what was asked for are bold.
            letters = width_of(name, 11) * (1.08 if name in self.roots else 1.0)
            return 24.0 + letters + width_of(size, 10)

        return layered(self.graph, width_of=width)

    @property
    def size_bytes(self) -> int:
        """Bytes of all packages."""
        return sum(int(node["size_bytes"]) for _, node in self.graph.nodes(data=True))


def _roots(graph: nx.DiGraph[str], asked: Sequence[str]) -> tuple[str, ...]:
    """What was asked for, and one of every group that is needed by nothing else and was not."""
    import networkx as nx

    condensed: Any = nx.condensation(graph)
    roots = list(dict.fromkeys(asked))
    for group in condensed:
        members = condensed.nodes[group]["members"]
        if not condensed.in_degree(group) and not members & set(roots):
            roots.append(min(members))
    return tuple(roots)


def line_path(line: Line) -> str:
    """A line as the data of an SVG path: level where it passes boxes, curved between columns."""
    (x, y), *rest = line.points
    parts = [f"M{x:.0f} {y:.1f}"]
    for next_x, next_y in rest:
        if next_y == y:
            parts.append(f"H{next_x:.0f}")
        else:
            middle = (x + next_x) / 2
            parts.append(
                f"C{middle:.0f} {y:.1f} {middle:.0f} {next_y:.1f} {next_x:.0f} {next_y:.1f}"
            )
        x, y = next_x, next_y
    return "".join(parts)
