"""`explore_closure`: what needs what, drawn in layers, with search, sizes and the reason for each.

explorer = nbdock.explore_closure([apt.postgresql])
explorer.why("libc6")           # ['postgresql', 'libpq5', 'libc6']
explorer.selection              # the packages that were clicked on, as a DataFrame
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nbdock.calling import checked
from nbdock.notebook.explore.closuremodel import ClosureModel, line_path
from nbdock.notebook.explore.closurepicture import Mermaid, closure_mermaid, closure_svg
from nbdock.notebook.explore.frontend import Explorer, Twin
from nbdock.notebook.explore.naming import code_of
from nbdock.notebook.views import Column, View, plural, share, shortened
from nbdock.oci import Platform
from nbdock.packages import Progress
from nbdock.showing import watched_plain
from nbdock.units import bytes_text

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd

__all__ = ["ClosureExplorer", "explore_closure"]

_MERMAID_SHOWN = 60
"""Of so many packages Mermaid's text is a picture too. Count."""

_DRAWN_IN_TWIN = 400
"""Of more packages a notebook keeps the table alone. Count."""


@checked
@watched_plain("Read")
def explore_closure(
    x: Any,
    *,
    platform: str | Platform | None = None,
    tls_verify: bool = True,
    progress: Progress | None = None,
) -> ClosureExplorer:
    """Explore the dependencies of packages, or of those in an image.

    Packages are drawn in columns, what needs others left of what is needed; those that need each
    other share a box, and dependencies that others imply appear when a package is looked at.

    Parameters
    ----------
    x
        A closure; packages, which are resolved; or an image: as for `closure_graph`.
    platform, tls_verify, progress
        As for `closure_graph`.

    Raises
    ------
    ArgumentTypeError, PackageError
        Something else, or packages that cannot be resolved.

    Examples
    --------
    >>> import nbdock
    >>> explorer = explore_closure([nbdock.text_file("etc/motd", "hello")])
    >>> explorer
    <ClosureExplorer of 1 package>
    >>> explorer.why("motd")
    ['motd']
    """
    model = ClosureModel.of(x, platform=platform, tls_verify=tls_verify, progress=progress)
    return ClosureExplorer(model, code=code_of(x, "x"))


class ClosureExplorer(Explorer):
    """A graph of packages in a notebook.

    Attributes
    ----------
    model
        What is shown.
    """

    name = "closure"

    def __init__(self, model: ClosureModel, *, code: str = "x") -> None:
        super().__init__()
        self.model = model
        self._code = code
        self._selected: list[str] = []

    def __repr__(self) -> str:
        return f"<ClosureExplorer of {plural(len(self.model.graph), 'package')}>"

    @property
    def graph(self) -> nx.DiGraph[str]:
        """The packages and what each needs directly, as `closure_graph` gives them."""
        return self.model.graph

    @property
    def table(self) -> pd.DataFrame:
        """All packages: see `ClosureModel.table`."""
        return self.model.table

    @property
    def selection(self) -> pd.DataFrame:
        """The rows of `table` whose packages are selected, in the order of selecting."""
        return self.model.table.loc[self._selected]

    def select(self, names: Sequence[str]) -> None:
        """Select packages by their names."""
        self.model.check(names)
        self._selected = list(dict.fromkeys(names))

    def why(self, name: str) -> list[str]:
        """A shortest chain from what was asked for to a package, both included."""
        return self.model.why(name)

    def mermaid(self) -> Mermaid:
        """The graph as Mermaid's text: see `closure_mermaid`."""
        return closure_mermaid(self.model)

    @property
    def python(self) -> str:
        """The Python that gives what is selected, or everything."""
        call = f"nbdock.explore_closure({self._code}).table"
        if not self._selected:
            return call
        return f"{call}.loc[{json.dumps(self._selected, ensure_ascii=False)}]"

    # What the view asks

    def start(self) -> Mapping[str, Any]:
        """What the view is drawn with."""
        return {"label": _heading(self.model), "code": self.python}

    def answer_picture(self, _question: Any) -> dict[str, Any]:
        """The picture, and what the view must know of each package and line."""
        model, drawing = self.model, self.model.drawing
        place = {name: i for i, name in enumerate(model.names)}
        nodes = []
        for name in model.names:
            node = model.graph.nodes[name]
            before = model.because[name]
            nodes.append(
                {
                    "name": name, "version": node["version"], "size": int(node["size_bytes"]),
                    "closure": model.closure_sizes[name],
                    "needs": [place[other] for other in model.graph.successors(name)],
                    "because": -1 if before is None else place[before],
                }
            )  # fmt: skip
        lines = {
            f"{place[a]} {place[b]}": line_path(line)
            for line in drawing.lines
            for a in drawing.boxes[line.source].members
            for b in drawing.boxes[line.target].members
        }
        return {
            "svg": closure_svg(model, titles=False), "nodes": nodes, "lines": lines,
            "implied": drawing.implied, "selected": [place[name] for name in self._selected],
        }  # fmt: skip

    def answer_select(self, question: Any) -> dict[str, Any]:
        """Have packages selected, by their numbers."""
        self.select([self.model.names[int(i)] for i in question["nodes"]])
        return {"code": self.python}

    # What a notebook keeps

    def twin(self) -> Twin:
        """The picture, and the largest packages as a table."""
        model = self.model
        total = model.size_bytes
        ranked = sorted(model.names, key=lambda n: (-model.graph.nodes[n]["size_bytes"], n))
        rows = [
            (
                name, model.graph.nodes[name]["version"],
                bytes_text(model.graph.nodes[name]["size_bytes"]),
                share(model.graph.nodes[name]["size_bytes"], total),
                bytes_text(model.closure_sizes[name]), " \u2192 ".join(model.why(name)),
            )
            for name in ranked
        ]  # fmt: skip
        view = View(
            "Closure",
            facts=(plural(len(rows), "package"), bytes_text(total),
                   plural(model.graph.number_of_edges(), "dependency").replace("ys", "ies")),
            columns=(
                Column("package", whole=True), Column("version", whole=True),
                Column("size", number=True), Column("share"),
                Column("with all it needs", number=True), Column("why"),
            ),
            rows=shortened(
                rows, lambda shown: ("\u2026", "", "", "", "", f"{len(rows) - shown:,} more")
            ),
            note=self.python,
        )  # fmt: skip
        picture = closure_svg(model) if 0 < len(rows) <= _DRAWN_IN_TWIN else ""
        return Twin(view.text(), f'<div style="overflow:auto">{picture}</div>{view.html()}')

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        bundle = super()._repr_mimebundle_(include, exclude)
        if 0 < len(self.model.graph) <= _MERMAID_SHOWN:
            bundle["text/vnd.mermaid"] = str(self.mermaid())
        return bundle


def _heading(model: ClosureModel) -> str:
    asked = ", ".join(model.roots[:4]) + (", \u2026" if len(model.roots) > 4 else "")
    return f"What {asked} needs: {plural(len(model.graph), 'package')}"
