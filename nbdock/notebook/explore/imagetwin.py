"""What stands where an image cannot be explored: on GitHub, in print, without a kernel.

Plain tables of the layers, of the directories that take the room and of what is wasted, and a
treemap without scripts. It is bounded: an image of a million files gives no more than one of a
thousand.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

import numpy as np

from nbdock.notebook.explore.frontend import Twin
from nbdock.notebook.explore.imagetiles import Tile, tiles_of
from nbdock.notebook.explore.shades import Shading
from nbdock.notebook.explore.svg import FILL_OPACITY, OTHERS, Drawing, colour, fitted, width_of
from nbdock.notebook.explore.treemap import Box
from nbdock.notebook.views import Cell, Column, View, plural, share, shortened
from nbdock.tables import FileFilter, FileTree, facts_of
from nbdock.units import bytes_text

__all__ = ["image_twin"]

_WIDTH, _HEIGHT, _LEGEND = 720.0, 260.0, 24.0
_TILES = 120
_ROWS = 10
_LONGEST = 100
_ALL = FileFilter()
_SIZES = (Column("size", number=True), Column("share"))


def image_twin(
    title: str,
    facts: Sequence[str],
    layers: Sequence[dict[str, Any]],
    tree: FileTree,
    shading: Shading,
    code: str,
) -> Twin:
    """The static twin of an explorer.

    Parameters
    ----------
    title, facts
        The heading.
    layers
        As `ImageExplorer.layers` gives them.
    tree, shading
        The image's files, and how they are coloured.
    code
        How Python says the image.
    """
    views = [
        View(title, facts=facts, columns=_LAYER_COLUMNS, rows=_layer_rows(layers)),
        View(
            "Largest directories",
            columns=(Column("directory", code=True), *_SIZES, Column("files", number=True)),
            rows=_directory_rows(tree),
        ),
        _waste_view(tree, code),
    ]
    shown = [view for view in views if view.rows or view.facts]
    note = f"nbdock.explore({code}) in a notebook"
    html = [view.html() for view in shown]
    if tree.size(_ALL):
        html.insert(1, f"<div>{_treemap(title, tree, shading)}</div>")
    return Twin(
        "\n\n".join([*(view.text() for view in shown), note]),
        f"<div>{''.join(html)}</div>",
    )


_LAYER_COLUMNS = (
    Column("layer", number=True), *_SIZES, Column("files", number=True),
    Column("wasted", number=True), Column("made by"),
)  # fmt: skip


def _layer_rows(layers: Sequence[dict[str, Any]]) -> Sequence[Sequence[str | Cell]]:
    total = sum(layer["size_bytes"] for layer in layers)
    rows: list[Sequence[str | Cell]] = [
        (
            str(layer["position"]), bytes_text(layer["size_bytes"]),
            share(layer["size_bytes"], total), f"{layer['files']:,}",
            bytes_text(layer["wasted_bytes"]) if layer["wasted_bytes"] else "",
            Cell(_clipped(layer["text"]), title=layer["text"][:300], muted=True),
        )
        for layer in layers
    ]  # fmt: skip

    def rest(shown: int) -> Sequence[str | Cell]:
        left = layers[shown:]
        size = sum(layer["size_bytes"] for layer in left)
        advice = f"{plural(len(left), 'more layer')}: nbdock.layer_table(image)"
        files = f"{sum(layer['files'] for layer in left):,}"
        return ("\u2026", bytes_text(size), share(size, total), files, "", Cell(advice, muted=True))

    return shortened(rows, rest)


def _directory_rows(tree: FileTree) -> list[Sequence[str | Cell]]:
    total = tree.size(_ALL)
    found = sorted(_largest(tree), key=lambda node: -tree.size(_ALL, node))[:_ROWS]
    rows: list[Sequence[str | Cell]] = []
    for node in found:
        size = tree.size(_ALL, node)
        path = "/" + tree.path(node).decode("utf-8", "backslashreplace")
        count = f"{tree.count(_ALL, node):,}"
        rows.append((Cell(_clipped(path), title=path[:300]), bytes_text(size),
                     share(size, total), count))  # fmt: skip
    return rows if total else []


def _largest(tree: FileTree) -> list[int]:
    """Directories beside each other that take the most room.

    The largest is divided again and again; one stays whole if none in it takes a fifth of it.
    """
    total = tree.size(_ALL)
    found: list[int] = []
    queue = [(-total, 0)]
    while queue and len(found) + len(queue) < _ROWS:
        size, node = heapq.heappop(queue)
        items = tree.contents(_ALL, node)
        inner = items.take(items.is_directory & (items.sizes >= -size / 5))
        if not len(inner):
            found.append(node)
            continue
        small = items.take(items.is_directory & (items.sizes >= total / 50))
        for at, bytes_ in zip(small.nodes.tolist(), small.sizes.tolist(), strict=True):
            heapq.heappush(queue, (-bytes_, at))
    return [*found, *(node for _, node in queue)]


def _waste_view(tree: FileTree, code: str) -> View:
    files, waste = tree.files, tree.waste
    order = np.lexsort((waste.rows, -files.sizes[waste.rows]))[:_ROWS]
    rows: list[Sequence[str | Cell]] = []
    for row in waste.rows[order].tolist():
        facts = facts_of(tree, row)
        by = f"{facts.by_path} in layer {facts.by_layer}"
        rows.append((
            Cell(_clipped(facts.path), title=facts.path[:300]), bytes_text(facts.size_bytes),
            str(facts.layer), facts.waste, Cell(_clipped(by), title=by[:300], muted=True),
        ))  # fmt: skip
    more = len(waste.rows) - len(rows)
    return View(
        "Waste",
        columns=(
            Column("path", code=True), Column("size", number=True), Column("layer", number=True),
            Column("reason", whole=True), Column("by"),
        ),
        rows=rows,
        note=f"\u2026 {plural(more, 'more file')}: nbdock.waste_table({code})" if more > 0 else "",
    )  # fmt: skip


def _treemap(title: str, tree: FileTree, shading: Shading) -> str:
    tiles = tiles_of(tree, _ALL, 0, Box(0, 0, _WIDTH, _HEIGHT), shading.of, limit=_TILES, deepest=4)
    picture = Drawing(
        _WIDTH, _HEIGHT + _LEGEND, f"What takes the room in {title}, coloured by {shading.kind}"
    )
    for tile in tiles:
        _draw(picture, tile, tree, shading)
    x = 0.0
    for code in sorted(
        {t.shade for t in tiles if not t.is_parent and shading.colour(t.shade) >= 0}
    ):
        name = shading.name(code)
        if x + 20 + width_of(name, 10) > _WIDTH:
            break
        picture.rect(x, _HEIGHT + 8, 10, 10, fill=colour(shading.colour(code)), opacity=0.8)
        picture.text(x + 14, _HEIGHT + 17, name, size=10)
        x += 28 + width_of(name, 10)
    return str(picture)


def _draw(picture: Drawing, tile: Tile, tree: FileTree, shading: Shading) -> None:
    box = tile.box
    if tile.node < 0:
        name, path = "", plural(tile.count, "smaller file")
    else:
        path = "/" + tree.path(tile.node).decode("utf-8", "backslashreplace")
        name = tile.name.decode("utf-8", "backslashreplace") + "/" * tile.is_directory
    where = f", {shading.name(tile.shade)}" if tile.shade >= 0 else ""
    gap = 0.5
    picture.rect(
        box.x + gap, box.y + gap, max(0.0, box.width - 2 * gap), max(0.0, box.height - 2 * gap),
        fill=OTHERS if tile.is_parent else colour(shading.colour(tile.shade)),
        # Those that hold others lie on each other.
        opacity=0.06 if tile.is_parent else FILL_OPACITY,
        stroke="currentColor" if tile.is_parent else "",
        title=f"{_clipped(path)}: {bytes_text(tile.size_bytes)}{where}",
    )  # fmt: skip
    if box.height >= 13 and box.width >= 24:
        label = fitted(name, box.width - 7, 10)
        picture.text(box.x + 4, box.y + 11, label, size=10, bold=tile.is_parent)


def _clipped(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "\u2026"
