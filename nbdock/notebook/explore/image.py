"""`explore(image)`: the layers of an image beside its files, and what takes the room.

    explorer = nbdock.explore("redis:7")
    explorer                                  # look, search, click
    explorer.selection                        # the rows of `file_table` that are selected

The view holds nothing but what it shows: lines of the tree, boxes of the treemap and the facts of
one entry are asked for when they are seen (see `FileTree`), so an image of a million files is
explored like one of ten.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nbdock import settings
from nbdock.calling import checked
from nbdock.errors import ArgumentTypeError
from nbdock.images import Image
from nbdock.notebook.display import content_name, layer_step
from nbdock.notebook.explore.frontend import Explorer, Twin
from nbdock.notebook.explore.imagedetails import details_of_directory, details_of_entry
from nbdock.notebook.explore.imagetiles import tiles_of
from nbdock.notebook.explore.imagetwin import image_twin
from nbdock.notebook.explore.naming import code_of
from nbdock.notebook.explore.preview import Preview, preview_of
from nbdock.notebook.explore.shades import Shading, by_layer, by_package
from nbdock.notebook.explore.treemap import Box
from nbdock.notebook.views import plural
from nbdock.oci import Platform, Reference
from nbdock.packages import Progress
from nbdock.tables import (
    CHANGES_SHOWN,
    FileFilter,
    FileTree,
    Items,
    facts_of,
    first_bytes,
    mark,
    open_image,
    quoted,
    read_files,
    table_of,
)
from nbdock.units import bytes_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ImageExplorer", "explore"]

_SHADES = ("layer", "package")
_SORTS = ("name", "size", "count")
_MOST_LINES = 500
_MOST_AT_ONCE = 10_000
_PATHS_IN_CODE = 100
_PREVIEWS_KEPT = 32

Question = Mapping[str, Any]


@checked
def explore(
    image: Image | Reference | str | os.PathLike[str],
    *,
    platform: str | Platform | None = None,
    tls_verify: bool = True,
    progress: Progress | None = None,
) -> ImageExplorer:
    """Explore an image: its layers, the tree of its files, what takes the room, what is wasted.

    Parameters
    ----------
    image
        As for `file_table`: an image, the path of an archive, a name in a registry (``redis:7``),
        or in a running engine (``docker-daemon:redis:7``).
    platform, tls_verify, progress
        As for `file_table`.

    Returns
    -------
    ImageExplorer
        Shown in a notebook, it can be explored; ``.selection`` is what is selected there, as a
        DataFrame of `file_table`'s rows.

    Raises
    ------
    ArgumentTypeError, ImageNotFoundError, ManifestNotFoundError, ArchiveError
        As `file_table`.
    """
    found = open_image(image, platform=platform, tls_verify=tls_verify, progress=progress)
    code = code_of(str(image) if isinstance(image, Reference) else image, "image")
    if platform is not None and not isinstance(image, Image):
        code += f", platform={quoted(str(platform))}"
    if not tls_verify:
        code += ", tls_verify=False"
    title = found.reference or (str(image) if isinstance(image, str | os.PathLike) else "image")
    return ImageExplorer(
        found, FileTree(read_files(found, progress=progress)), title=title, code=code
    )


class ImageExplorer(Explorer):
    """What `explore` gives.

    Attributes
    ----------
    image
        What is explored.
    python
        The Python that gives what is selected, as the view shows it.
    """

    name: ClassVar[str] = "image"

    def __init__(self, image: Image, tree: FileTree, *, title: str, code: str) -> None:
        super().__init__()
        self.image = image
        self._tree = tree
        self._title = title
        self._code = code
        self._selected: tuple[FileFilter, Any] = (FileFilter(), np.empty(0, np.int64))
        self.python = FileFilter().python(code)
        self._shadings = {"layer": by_layer(tree, len(image.layers))}
        self._preview = functools.lru_cache(_PREVIEWS_KEPT)(self._preview_of)

    def __repr__(self) -> str:
        return f"<ImageExplorer {self._title}>"

    @property
    def selection(self) -> pd.DataFrame:
        """What is selected in the view, as rows of `file_table`; of directories, all in them."""
        filter_, rows = self._selected
        table = table_of(self._tree.files, rows)
        if filter_.layer is not None and filter_.is_seen:
            table["visible"] = self._tree.visible(filter_.layer)[rows]
        return mark(table, "file_table")

    def twin(self) -> Twin:
        """What a notebook keeps: layers, the largest directories and waste, and a treemap."""
        return image_twin(
            self._title,
            self._facts(),
            self.layers(),
            self._tree,
            self._shading("layer"),
            self._code,
        )

    # What the view is drawn with

    def start(self) -> dict[str, Any]:
        """The heading and the layers."""
        return {
            "title": self._title,
            "facts": self._facts(),
            "layers": self.layers(),
            "code": FileFilter().python(self._code),
            "changes": list(CHANGES_SHOWN),
            "shades": list(_SHADES),
        }

    def _facts(self) -> list[str]:
        tree = self._tree
        wasted = int(tree.files.sizes[tree.waste.rows].sum())
        total = int(tree.files.sizes.sum())
        everything = FileFilter()
        facts = [
            str(self.image.config.platform),
            plural(len(self.image.layers), "layer"),
            plural(tree.count(everything), "file"),
            f"{bytes_text(tree.size(everything))} seen",
        ]
        if wasted:
            facts.append(f"{bytes_text(wasted)} of {bytes_text(total)} wasted")
        return facts

    @functools.cache  # noqa: B019 - a notebook has few explorers
    def layers(self) -> list[dict[str, Any]]:
        """What is said of each layer, the lowest first."""
        tree, count = self._tree, len(self.image.layers)
        files = tree.files
        counts = np.bincount(files.layer[tree.is_entry], minlength=count)
        sizes = np.bincount(files.layer, files.sizes, minlength=count)
        rows = tree.waste.rows
        wasted = np.bincount(files.layer[rows], files.sizes[rows], minlength=count)
        found = []
        for layer in self.image.layers:
            at = layer.position
            contents = [content_name(name) for name in layer.contents]
            found.append({
                "position": at,
                "text": ", ".join(contents) if contents else layer_step(layer),
                "comment": "" if contents else layer.comment,
                "colour": self._shading("layer").colour(at),
                "digest": str(layer.descriptor.digest),
                "blob_bytes": layer.descriptor.size_bytes,
                "size_bytes": int(sizes[at]),
                "files": int(counts[at]),
                "wasted_bytes": int(wasted[at]),
            })  # fmt: skip
        return found

    # Answers

    def answer_lines(self, question: Question) -> dict[str, Any]:
        """Some lines of the tree, or of what a search finds."""
        filter_ = self._filter(question)
        first = int(question.get("from", 0))
        page = self._tree.page(
            filter_,
            opened=_numbers(question.get("open")),
            sort=_sort(question),
            descending=bool(question.get("descending")),
            first=first,
            last=min(int(question.get("to", 0)), first + _MOST_LINES),
        )
        return {
            "total": page.total,
            "from": first,
            "lines": [self._line(filter_, page.items, i) for i in range(len(page.items))],
            "bytes": self._tree.size(filter_),
            "files": self._tree.count(filter_),
        }

    def _line(self, filter_: FileFilter, items: Items, i: int) -> dict[str, Any]:
        node, row = int(items.nodes[i]), int(items.rows[i])
        is_directory = bool(items.is_directory[i])
        path = _text(self._tree.path(node))
        line: dict[str, Any] = {
            "key": f"n{node}" if is_directory else f"r{row}",
            "name": "/" + path if filter_.search else path.rpartition("/")[2],
            "depth": int(items.depths[i]),
            "size": int(items.sizes[i]),
            "count": int(items.counts[i]),
            "directory": is_directory,
        }
        if row >= 0:
            facts = facts_of(self._tree, row)
            line |= {
                "layer": facts.layer, "kind": facts.kind, "change": facts.change,
                "link": facts.link_target, "waste": "" if is_directory else facts.waste,
            }  # fmt: skip
        return line

    def answer_find(self, question: Question) -> int | None:
        """The next line, from one on, whose name begins so; in the same directory."""
        filter_, text = self._filter(question), str(question["text"]).lower()
        at = int(question.get("at", 0))
        total = self._page(question, filter_, 0, 0).total
        for first, last in ((at, min(total, at + _MOST_AT_ONCE)), (0, min(at, _MOST_AT_ONCE))):
            items = self._page(question, filter_, first, last).items
            for i, node in enumerate(items.nodes.tolist()):
                if _text(self._tree.path(node)).rpartition("/")[2].lower().startswith(text):
                    return first + i
        return None

    def _page(self, question: Question, filter_: FileFilter, first: int, last: int) -> Any:
        return self._tree.page(
            filter_, opened=_numbers(question.get("open")), sort=_sort(question),
            descending=bool(question.get("descending")), first=first, last=last,
        )  # fmt: skip

    def answer_keys(self, question: Question) -> list[str]:
        """The keys of some lines, which are selected together."""
        first, last = int(question["from"]), int(question["to"])
        if last - first > _MOST_AT_ONCE:
            raise ArgumentTypeError(
                f"{last - first:,} lines are too many to be selected one by one.",
                argument="lines",
                hint="Select the directory, or search for what they have in common.",
            )
        items = self._page(question, self._filter(question), first, last).items
        return [
            f"n{node}" if is_directory else f"r{row}"
            for node, row, is_directory in zip(
                items.nodes.tolist(), items.rows.tolist(), items.is_directory.tolist(), strict=True
            )
        ]

    def answer_reveal(self, question: Question) -> dict[str, Any]:
        """Which directories must be open for an item to be seen, and on which line it is then."""
        filter_ = dataclasses.replace(self._filter(question), search="")
        node = self._node(question["key"])
        opened = sorted({*_numbers(question.get("open")), *self._tree.above(node)})
        place = self._tree.place(
            filter_, node, opened=opened, sort=_sort(question),
            descending=bool(question.get("descending")),
        )  # fmt: skip
        return {"open": opened, "line": place}

    def answer_select(self, question: Question) -> dict[str, Any]:
        """Select items; says how much that is, and the Python that gives it."""
        filter_ = self._filter(question)
        keys = list(map(str, question.get("keys", ())))
        rows, self.python = self._chosen(filter_, keys)
        self._selected = (filter_, rows)
        sizes = self._tree.files.sizes[rows]
        return {"rows": len(rows), "bytes": int(sizes.sum()), "code": self.python}

    def _chosen(self, filter_: FileFilter, keys: Sequence[str]) -> tuple[Any, str]:
        tree, none = self._tree, np.empty(0, np.int64)
        if not keys:
            return none, filter_.python(self._code)
        directories = [self._node(key) for key in keys if key[0] == "n"]
        entries = np.array(sorted(self._row(key) for key in keys if key[0] == "r"), np.int64)
        inside = [tree.below(filter_, node) for node in directories]
        rows = np.unique(np.concatenate([none, entries, *inside]))
        nodes = np.unique(tree.node_of[entries])
        if len(nodes) + len(directories) <= _PATHS_IN_CODE:
            # By path, if that gives the same: a path may have several entries.
            named = np.concatenate([none, *(tree.rows_at(int(node)) for node in nodes)])
            simple = FileFilter(filter_.layer, filter_.only)
            for each in (filter_,) if directories else (simple, filter_):
                mask = tree.mask(each)
                found = np.unique(np.concatenate([named[mask[named]], *inside]))
                if np.array_equal(found, rows):
                    return rows, each.python(self._code, [self._condition(directories, nodes)])
        return rows, f"files = {filter_.table(self._code)}\nfiles.loc[{rows.tolist()}]"

    def _condition(self, directories: Sequence[int], nodes: Any) -> str:
        """The paths that are selected, as a condition of pandas."""
        conditions = []
        for node in directories:
            path = "/" + _text(self._tree.path(node))
            below = f"files.path.str.startswith({quoted(path + '/')})"
            conditions.append(f"(files.path == {quoted(path)}) | {below}")
        if len(nodes):
            paths = ", ".join(quoted("/" + _text(self._tree.path(int(node)))) for node in nodes)
            conditions.append(f"files.path.isin([{paths}])")
        text = " | ".join(conditions)
        return f"({text})" if directories else text

    def answer_details(self, question: Question) -> dict[str, Any]:
        """What there is to say of one item."""
        filter_, key = self._filter(question), str(question["key"])
        if key[0] == "r":
            return details_of_entry(self._tree, self._row(key))
        return details_of_directory(self._tree, filter_, self._node(key))

    def answer_preview(self, question: Question) -> dict[str, Any]:
        """The beginning of a file."""
        return dataclasses.asdict(self._preview(self._row(question["key"])))

    def _preview_of(self, row: int) -> Preview:
        limit = settings.current().explore_preview_bytes
        beginning = first_bytes(self.image, self._tree.files, row, limit_bytes=limit)
        held = int(self._tree.files.files[row])
        return preview_of(beginning, int(self._tree.files.sizes[held]))

    def answer_tiles(self, question: Question) -> dict[str, Any]:
        """The treemap of a directory."""
        tree, filter_ = self._tree, self._filter(question)
        node = self._node(question.get("key") or "n0")
        width, height = float(question["width"]), float(question["height"])
        box = Box(0.0, 0.0, max(1.0, min(width, 4000.0)), max(1.0, min(height, 4000.0)))
        shading = self._shading(str(question.get("shade") or "layer"))
        tiles = tiles_of(tree, filter_, node, box, shading.of)
        crumbs = [*tree.above(node), node]
        shades: dict[int, int] = {}
        for tile in tiles:
            if not tile.is_parent and tile.shade >= 0:
                shades[tile.shade] = shades.get(tile.shade, 0) + tile.size_bytes
        return {
            "tiles": [
                {
                    "key": ("" if tile.node < 0 else f"n{tile.node}" if tile.is_directory
                            else f"r{tile.row}"),
                    "name": _text(tile.name),
                    "box": [round(side, 2) for side in dataclasses.astuple(tile.box)],
                    "size": tile.size_bytes, "count": tile.count, "depth": tile.depth,
                    "directory": tile.is_directory, "parent": tile.is_parent,
                    "shade": shading.name(tile.shade), "colour": shading.colour(tile.shade),
                }
                for tile in tiles
            ],
            "crumbs": [
                {"key": f"n{each}", "name": _text(tree.path(each)).rpartition("/")[2] or "/"}
                for each in crumbs
            ],
            "size": tree.size(filter_, node),
            "legend": [
                {"colour": shading.colour(shade), "name": shading.name(shade), "size": size}
                for shade, size in sorted(shades.items(), key=lambda pair: -pair[1])
            ],
        }  # fmt: skip

    def answer_owner(self, question: Question) -> str:
        """The package that a file belongs to; empty if no record says."""
        shading = self._shading("package")
        return shading.name(int(shading.codes[self._row(question["key"])]))

    def _shading(self, kind: str) -> Shading:
        """How files are coloured; made when it is first asked for."""
        if kind not in self._shadings:
            if kind not in _SHADES:
                raise ArgumentTypeError(f"There are no colours by {kind!r:.20}.", argument="shade")
            self._shadings[kind] = by_package(self._tree, self.image)
        return self._shadings[kind]

    # What questions say

    def _filter(self, question: Question) -> FileFilter:
        told = question.get("filter") or {}
        layer, change = told.get("layer"), str(told.get("change") or "")
        if layer is not None and not 0 <= int(layer) < len(self.image.layers):
            raise ArgumentTypeError(f"There is no layer {layer!r:.20}.", argument="layer")
        if change and change not in CHANGES_SHOWN:
            raise ArgumentTypeError(f"There is no change {change!r:.20}.", argument="change")
        return FileFilter(
            layer=None if layer is None else int(layer),
            only=bool(told.get("only")),
            change=change,
            search=str(told.get("search") or "").strip(),
        )

    def _node(self, key: object) -> int:
        text = str(key)
        number = int(text[1:])
        if text[0] == "r":
            return int(self._tree.node_of[self._row(text)])
        if not 0 <= number < len(self._tree.parents):
            raise ArgumentTypeError(f"There is no directory {text!r:.20}.", argument="key")
        return number

    def _row(self, key: object) -> int:
        text = str(key)
        number = int(text[1:])
        if text[0] != "r" or not 0 <= number < len(self._tree.node_of):
            raise ArgumentTypeError(f"There is no entry {key!r:.20}.", argument="key")
        return number


def _numbers(values: Any) -> list[int]:
    return [int(value) for value in values or ()]


def _sort(question: Question) -> str:
    sort = str(question.get("sort") or "name")
    return sort if sort in _SORTS else "name"


def _text(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
