"""`explore_sharing`: what images have in common, and what a host that has one pulls for another.

explorer = nbdock.explore_sharing(["redis:7", "redis:8", "valkey:8"])
explorer.select("redis:7", "redis:8")       # what both have, and what is to be pulled
explorer.selection                          # the same for the cell that was clicked on
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nbdock.calling import checked
from nbdock.errors import ArgumentError, nearest
from nbdock.notebook.explore.frontend import Explorer, Twin
from nbdock.notebook.explore.naming import code_of
from nbdock.notebook.explore.sharingmodel import BY, SharingModel
from nbdock.notebook.explore.sharingpicture import MEASURES, sharing_svg, without_prefix
from nbdock.notebook.views import Cell, Column, View, plural, share, shortened
from nbdock.oci import Platform
from nbdock.packages import Progress
from nbdock.showing import watched_plain
from nbdock.units import bytes_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SharingExplorer", "explore_sharing"]

_DRAWN = 100
"""Of more images the picture would have cells that nobody can hit. Count."""
_TITLES = 20
_PAGE = 780
"""What JupyterLab has room for beside its file browser. Pixels."""
_ROWS = 60


@checked
@watched_plain("Read")
def explore_sharing(
    images: Sequence[Any],
    *,
    by: str = "layer",
    platform: str | Platform | None = None,
    tls_verify: bool = True,
    progress: Progress | None = None,
) -> SharingExplorer:
    """Explore what images share: a heat map of bytes, and what is behind each number.

    Parameters
    ----------
    images
        As for `sharing_table`; by layer, those in a registry are not pulled.
    by
        What to begin with: ``"layer"``, ``"package"`` or ``"file"``.
    platform, tls_verify, progress
        As for `sharing_table`.

    Raises
    ------
    ArgumentTypeError
        Something that is no image, or an unknown `by`.

    Examples
    --------
    >>> import nbdock
    >>> file = nbdock.text_file("etc/motd", "hello")
    >>> build = nbdock.build_layered_image
    >>> images = [nbdock.concurrency.run(build(n, tag="1", contents=[file])) for n in "ab"]
    >>> explorer = explore_sharing(images)
    >>> explorer
    <SharingExplorer of 2 images by layer>
    >>> list(explorer.select("a:1", "b:1")["held"].unique())
    ['both']
    """
    model = SharingModel(images, platform=platform, tls_verify=tls_verify, progress=progress)
    model.shared(by)
    model.things(by)
    model.forget_progress()
    return SharingExplorer(model, by=by, code=code_of(images, "images"))


class SharingExplorer(Explorer):
    """What `explore_sharing` gives.

    Attributes
    ----------
    model
        The images, and what they share.
    """

    name: ClassVar[str] = "sharing"

    def __init__(self, model: SharingModel, *, by: str = "layer", code: str = "images") -> None:
        super().__init__()
        self.model = model
        self._by = by
        self._measure = "missing"
        self._code = code
        self._chosen: tuple[str, str] | None = None

    def __repr__(self) -> str:
        return f"<SharingExplorer of {plural(len(self.model.images), 'image')} by {self._by}>"

    @property
    def by(self) -> str:
        """What is shared: ``"layer"``, ``"package"`` or ``"file"``."""
        return self._by

    @property
    def matrix(self) -> pd.DataFrame:
        """Bytes that two images both have: `sharing_matrix` of them."""
        return self.model.shared(self._by)

    @property
    def table(self) -> pd.DataFrame:
        """The images: see `SharingModel.table`."""
        return self.model.table(self._by)

    @property
    def selection(self) -> pd.DataFrame:
        """What is behind the selected cell (see `select`); with none selected, no rows."""
        if self._chosen is None:
            first = self.model.names(self._by)[:1] * 2
            return self.model.between(self._by, *first).iloc[:0] if first else self.table
        return self.model.between(self._by, *self._chosen)

    def select(self, has: str, wants: str) -> pd.DataFrame:
        """Select a cell: what a host that has one image shares of another, and what it must pull.

        Returns
        -------
        pandas.DataFrame
            See `SharingModel.between`.
        """
        found = self.model.between(self._by, has, wants)
        self._chosen = (has, wants)
        return found

    @property
    def python(self) -> str:
        """The Python that gives what is selected, or the whole matrix."""
        by, measure = f"by={json.dumps(self._by)}", f"measure={json.dumps(self._measure)}"
        if self._chosen is None:
            return f"nbdock.sharing_matrix({self._code}, {by}, {measure})"
        has, wants = (json.dumps(name, ensure_ascii=False) for name in self._chosen)
        return f"nbdock.explore_sharing({self._code}, {by}).select({has}, {wants})"

    # What the view asks

    def start(self) -> Mapping[str, Any]:
        """What the view is drawn with."""
        return {
            "label": f"What {plural(len(self.model.images), 'image')} share",
            "by": self._by, "code": self.python,
        }  # fmt: skip

    def answer_picture(self, question: Any) -> dict[str, Any]:
        """The heat map, and the numbers in it."""
        by, measure = str(question["by"]), str(question["measure"])
        _expect("by", by, BY)
        _expect("measure", measure, MEASURES)
        if by != self._by:
            self._chosen = None
        matrix = self.model.shared(by)
        self._by, self._measure = by, measure
        shared = matrix.to_numpy()
        names, table = self.model.names(by), self.model.table(by)
        order = self.model.order(by) if question.get("alike", True) else list(range(len(names)))
        return {
            "svg": sharing_svg(
                names, shared, order=order[:_DRAWN], measure=measure,
                width=float(question.get("width", 960)), titles=False,
                is_live=True,
            ),
            "names": names, "short": without_prefix(names)[0], "shared": shared.tolist(),
            "order": order[:_DRAWN],
            "images": [
                {"size": size, "only": only}
                for size, only in zip(
                    table["size_bytes"].tolist(), table["only_here_bytes"].tolist(), strict=True
                )
            ],
            "code": self.python,
        }  # fmt: skip

    def answer_cell(self, question: Any) -> dict[str, Any]:
        """What is behind a cell, the largest first."""
        names = self.model.names(self._by)
        rows = self.select(names[int(question["has"])], names[int(question["wants"])])
        found: dict[str, Any] = {"code": self.python, "count": len(rows)}
        for kind in ("missing", "both", "kept"):
            part = rows[rows["held"] == kind]
            found[kind] = {
                "count": len(part), "bytes": int(part["size_bytes"].sum()),
                "rows": [
                    {"key": key, "name": name, "size": size, "images": images}
                    for key, name, size, images in zip(
                        part.index[:_ROWS].tolist(), part["name"].tolist(),
                        part["size_bytes"].tolist(), part["images"].tolist(), strict=False,
                    )
                ],
            }  # fmt: skip
        return found

    def answer_none(self, _question: Any) -> dict[str, Any]:
        """Have no cell selected."""
        self._chosen = None
        return {"code": self.python}

    # What a notebook keeps

    def twin(self) -> Twin:
        """The heat map of what is to be pulled, and the images as a table."""
        matrix = self.matrix
        names, order = self.model.names(self._by), self.model.order(self._by)
        table = self.table
        total = max(int(table["size_bytes"].max()), 1) if len(table) else 1
        rows = [
            (
                Cell(names[i]), bytes_text(int(table["size_bytes"].iloc[i])),
                share(int(table["size_bytes"].iloc[i]), total),
                bytes_text(int(table["only_here_bytes"].iloc[i])),
                bytes_text(int(table["shared_bytes"].iloc[i])),
                *_after(table, i),
            )
            for i in order
        ]  # fmt: skip
        view = View(
            "Sharing",
            f" by {self._by}",
            facts=(plural(len(names), "image"),),
            columns=(
                Column("image"), Column("size", number=True), Column("of the largest"),
                Column("only here", number=True), Column("in others too", number=True),
                Column("nearest"), Column("then to pull", number=True),
            ),
            rows=shortened(
                rows,
                lambda n: (plural(len(rows) - n, "more image"), "", "", "", "", "", ""),
            ),
            note=self.python,
        )  # fmt: skip
        picture = sharing_svg(
            names,
            matrix.to_numpy(),
            order=order[:_DRAWN],
            titles=len(names) <= _TITLES,
            width=_PAGE,
        )
        return Twin(view.text(), f'<div style="overflow:auto">{picture}</div>{view.html()}')


def _after(table: pd.DataFrame, i: int) -> tuple[str, str]:
    """The image after which the least is to be pulled, and how much."""
    missing = table["missing_bytes"].iloc[i]
    import pandas as pd

    if pd.isna(missing):
        return "", ""
    return str(table["nearest"].iloc[i]), bytes_text(int(missing))


def _expect(argument: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        close = nearest(value, known, count=1)
        raise ArgumentError(
            f"There is no {argument}={value!r:.40}.",
            argument=argument,
            hint=f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(known)}.",
        )
