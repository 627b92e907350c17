"""A closure as a picture (script-free SVG) and as Mermaid's text.

closure_svg(ClosureModel.of(closure))
closure_mermaid(closure)                # JupyterLab draws it; so do GitHub and GitLab
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from nbdock.notebook.explore.closuremodel import ClosureModel, line_path
from nbdock.notebook.explore.layered import ROW
from nbdock.notebook.explore.svg import PALETTE, escaped
from nbdock.units import bytes_text

__all__ = ["Mermaid", "closure_mermaid", "closure_svg"]

_MERMAID_EDGES, _MERMAID_CHARACTERS = 500, 50_000
"""What Mermaid draws by default; of more it shows an error."""

_ACCENT: Final = PALETTE[0]


def closure_svg(model: ClosureModel, *, titles: bool = True) -> str:
    """The graph of a closure, what needs left of what is needed.

    Parameters
    ----------
    model
        The closure.
    titles
        Whether packages say more under the mouse; a live view says it itself.
    """
    drawing = model.drawing
    largest = max((int(n["size_bytes"]) for _, n in model.graph.nodes(data=True)), default=0)
    place = {name: i for i, name in enumerate(model.names)}
    width, height = drawing.width + 2, drawing.height + 2
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" '
        f'aria-label="{escaped(_summary(model))}" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="-1 -1 {width:.0f} {height:.0f}" font-family="sans-serif" font-size="11" '
        'style="max-width:none">'
    )
    parts = [
        head,
        '<g class="nbdock-closure-lines" fill="none" stroke="currentColor" stroke-opacity=".28">',
    ]
    # Trunks are shared: what several lines have in common is drawn once.
    strokes = dict.fromkeys(piece for line in drawing.lines for piece in _pieces(line_path(line)))
    parts.append(f'<path d="{"".join(strokes)}"/></g>')
    for box in drawing.boxes:
        if len(box.members) > 1:
            parts.append(
                f'<rect x="{box.x:.0f}" y="{box.y:.1f}" width="{box.width:.0f}" '
                f'height="{box.height:.1f}" rx="5" fill="currentColor" fill-opacity=".06" '
                'stroke="currentColor" stroke-dasharray="3 2" stroke-opacity=".6">'
                f"<title>{_escaped(_cycle(box.members))}</title></rect>"
            )
        pad = (box.height - ROW * len(box.members)) / 2
        for row, name in enumerate(box.members):
            parts.append(
                _node(
                    model, name, place[name], box.x + pad, box.y + pad + row * ROW,
                    box.width - 2 * pad, largest, titles=titles,
                )
            )  # fmt: skip
    return "".join([*parts, "</svg>"])


def _node(
    model: ClosureModel, name: str, number: int, x: float, y: float, width: float, largest: int,
    *, titles: bool,
) -> str:  # fmt: skip
    size = int(model.graph.nodes[name]["size_bytes"])
    bar = width * size / largest if largest else 0.0
    is_root = name in model.roots
    title = f"<title>{_escaped(_told(model, name))}</title>" if titles else ""
    weight = ' font-weight="bold"' if is_root else ""
    return (
        f'<g data-i="{number}" data-at="{x:.0f} {y:.1f}" data-height="{ROW:.0f}" '
        f'transform="translate({x:.0f} {y:.1f})">{title}'
        f'<rect y="1" width="{width:.0f}" height="{ROW - 2:.0f}" rx="3" fill="{_ACCENT}" '
        f'fill-opacity=".13" stroke="{"currentColor" if is_root else _ACCENT}" '
        f'stroke-opacity=".8"/>'
        f'<rect y="{ROW - 4:.0f}" x="1" width="{max(bar - 2, 0):.1f}" height="2.5" '
        f'fill="{_ACCENT}"/>'
        f'<text x="6" y="13.5" fill="currentColor"{weight}>{_escaped(name)}</text>'
        f'<text x="{width - 6:.0f}" y="13.5" fill="currentColor" fill-opacity=".75" '
        f'text-anchor="end" font-size="10">{bytes_text(size)}</text></g>'
    )


def _pieces(path: str) -> list[str]:
    """A path as its strokes, each of which can be drawn alone."""
    found = []
    last = ""
    for piece in re.findall(r"[MHC][^MHC]*", path):
        if piece[0] == "M":
            last = piece[1:]
        elif piece[0] == "H":
            found.append(f"M{last}{piece}")
            last = f"{piece[1:]} {last.split()[1]}"
        else:
            found.append(f"M{last}{piece}")
            last = " ".join(piece.split()[-2:])
    return found


def _summary(model: ClosureModel) -> str:
    graph = model.graph
    return (
        f"Dependency graph of {len(graph)} packages, {graph.number_of_edges()} dependencies, "
        f"{bytes_text(model.size_bytes)}; asked for: {', '.join(model.roots[:6])}"
    )


def _told(model: ClosureModel, name: str) -> str:
    graph = model.graph
    node = graph.nodes[name]
    return (
        f"{name} {node['version']}\n{bytes_text(node['size_bytes'])}, with all it needs "
        f"{bytes_text(model.closure_sizes[name])}\n"
        f"needs {graph.out_degree(name)}, needed by {graph.in_degree(name)}\n"
        + " \u2192 ".join(model.why(name))
    )


def _cycle(members: Sequence[str]) -> str:
    return f"They need each other: {', '.join(members)}"


def _escaped(text: str) -> str:
    return "\n".join(map(escaped, text.split("\n")))


class Mermaid(str):
    """Text in Mermaid's language, which JupyterLab draws."""

    __slots__ = ()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/vnd.mermaid": str(self), "text/plain": str(self)}


def closure_mermaid(x: Any, *, sizes: bool = True, **options: Any) -> Mermaid:
    """The dependency graph of packages or of an image, as Mermaid's text.

    Dependencies that others imply are left out, as in the picture of `explore_closure`.

    Parameters
    ----------
    x
        A closure, packages or an image, as for `closure_graph`, whose options this takes too.
    sizes
        Whether the size stands below each name.

    Raises
    ------
    ArgumentError
        It has more dependencies, or is longer, than Mermaid draws.

    Examples
    --------
    >>> import nbdock
    >>> motd = nbdock.text_file("etc/motd", "hello")
    >>> print(closure_mermaid([motd]))
    flowchart LR
      n0(["motd<br>5 B"])
    """
    from nbdock.errors import ArgumentError

    model = x if isinstance(x, ClosureModel) else ClosureModel.of(x, **options)
    text = mermaid_text(model, sizes=sizes)
    if len(text) > _MERMAID_CHARACTERS or len(model.drawing.lines) > _MERMAID_EDGES:
        raise ArgumentError(
            f"Mermaid does not draw so much: {len(model.graph)} packages, "
            f"{len(model.drawing.lines)} lines.",
            argument="x",
            hint="explore_closure() does; or take the closure of fewer packages.",
        )
    return Mermaid(text)


def mermaid_text(model: ClosureModel, *, sizes: bool = True) -> str:
    """The graph in Mermaid's words, however long."""
    number = {name: i for i, name in enumerate(model.names)}
    lines = ["flowchart LR"]
    for name, i in number.items():
        label = _mermaid(name)
        if sizes:
            label += f"<br>{bytes_text(model.graph.nodes[name]['size_bytes'])}"
        shape = f'(["{label}"])' if name in model.roots else f'["{label}"]'
        lines.append(f"  n{i}{shape}")
    boxes = model.drawing.boxes
    for box in boxes:
        if len(box.members) > 1:
            ring = [*box.members, box.members[0]]
            lines.append("  " + " --> ".join(f"n{number[name]}" for name in ring))
    for line in model.drawing.lines:
        source, target = boxes[line.source].members[0], boxes[line.target].members[0]
        lines.append(f"  n{number[source]} --> n{number[target]}")
    return "\n".join(lines)


def _mermaid(text: str) -> str:
    """A text within quotes; what would end it or mark it up becomes Mermaid's code for it."""
    return re.sub(r"[^\w .:+~/@-]", lambda found: f"#{ord(found[0])};", text)
