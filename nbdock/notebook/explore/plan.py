"""`explore_plan`: how planners put packages into layers, for every limit, and what is shared then.

explorer = nbdock.explore_plan([apt.postgresql], compare={"redis": [apt.redis]})
explorer.plan                   # the LayerPlan that is shown
explorer.selection              # the packages of the layers that were clicked on
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from nbdock import settings
from nbdock.calling import checked
from nbdock.errors import ArgumentError
from nbdock.layering import LayerPlan
from nbdock.notebook.explore.frontend import Explorer, Twin
from nbdock.notebook.explore.naming import code_of
from nbdock.notebook.explore.planmodel import BY_HISTORY, PlanModel
from nbdock.notebook.explore.planpicture import WIDTH, curve_svg, letter, plan_svg
from nbdock.notebook.views import Column, View, plural, share, shortened
from nbdock.packages import ChangeHistory, Progress
from nbdock.showing import watched_plain
from nbdock.units import bytes_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PlanExplorer", "explore_plan"]

BUDGETS: Final = (3, 5, 7, 10, 14, 20, 28, 40, 60, 100)
"""The limits for packages at which the planners are compared. Count of layers."""

_NAMES = 4


@checked
@watched_plain("Planned")
def explore_plan(
    contents: Any,
    *,
    max_layers: int | None = None,
    strategy: str | None = None,
    compare: Any = (),
    history: Any = None,
    progress: Progress | None = None,
) -> PlanExplorer:
    """Explore which packages would share a layer, by planner and limit; nothing is fetched or read.

    Parameters
    ----------
    contents
        As for `build_layered_image`; or a closure.
    max_layers
        The limit to begin with, the top layer included: 100 by default.
    strategy
        The planner to begin with, by its name: ``"popularity"`` by default, or ``"history"`` where
        there is one.
    compare
        Images, or contents that would be planned in the same way, as a list or a mapping from
        names: layers that they would have too are marked.
    history
        When packages changed: anything that `history_of` takes, or True for what the packages
        themselves tell (their changelogs are read, which fetches them). With it, the planner
        ``history`` is there, and bytes pulled are drawn against the number of layers.
    progress
        Told of changelogs that are fetched and read.

    Raises
    ------
    ArgumentError, LayerLimitError
        No such planner, or a limit out of range.
    PackageError
        Contents that cannot be found or resolved.

    Examples
    --------
    >>> import nbdock
    >>> files = [nbdock.text_file("etc/motd", "hello"), nbdock.text_file("etc/issue", "hi")]
    >>> explorer = explore_plan(files, max_layers=2)
    >>> explorer.plan
    <LayerPlan popularity: 2 packages in 1 layers>
    >>> explorer.table[["layer", "size_bytes"]]
             layer  size_bytes
    package
    issue        0           2
    motd         0           5
    """
    model = PlanModel.of(contents, compare=compare, history=history, progress=progress)
    begin = strategy or ("popularity" if model.history is None else "history")
    model.check(begin)
    return PlanExplorer(
        model,
        max_layers=max_layers,
        strategy=begin,
        curve=None if model.history is None else pulled_by_layers(model),
        code=code_of(contents, "contents"),
        history_code=_history_code(history),
    )


class PlanExplorer(Explorer):
    """Plans of one closure in a notebook.

    Attributes
    ----------
    model
        The closure, the planners, and what is compared with.
    curve
        Bytes pulled over a replayed time: one column per planner, indexed by how many layers
        packages may take; None without a history.
    """

    name = "plan"

    def __init__(
        self, model: PlanModel, *, max_layers: int | None, strategy: str,
        curve: pd.DataFrame | None = None, code: str = "contents", history_code: str = "",
    ) -> None:  # fmt: skip
        super().__init__()
        self.model = model
        self.curve = curve
        self._code = code
        self._history_code = history_code
        self._selected: list[int] = []
        limit = settings.current().max_layers_default if max_layers is None else max_layers
        self._strategy, self._max_layers = strategy, limit
        self.plan: LayerPlan = model.plan(strategy, limit)

    def _set(self, strategy: str, max_layers: int) -> None:
        plan = self.model.plan(strategy, max_layers)
        if self.plan is not plan:
            self._selected = []
        self.plan = plan
        self._strategy, self._max_layers = strategy, max_layers

    def __repr__(self) -> str:
        return f"<PlanExplorer of {plural(len(self.model.closure), 'package')}: {self.plan!r}>"

    @property
    def max_layers(self) -> int:
        """The limit of the plan that is shown, the top layer included."""
        return self._max_layers

    @property
    def strategy(self) -> str:
        """The planner of the plan that is shown."""
        return self._strategy

    @property
    def table(self) -> pd.DataFrame:
        """The packages of the plan that is shown: see `PlanModel.table`."""
        return self.model.table(self.plan)

    @property
    def selection(self) -> pd.DataFrame:
        """The rows of `table` whose layers are selected."""
        table = self.table
        return table[table["layer"].isin(self._selected)]

    def select(self, layers: Sequence[int]) -> None:
        """Select layers of the plan that is shown, by their positions from 0, the bottom."""
        for position in layers:
            if not 0 <= position < len(self.plan):
                raise ArgumentError(
                    f"There is no layer {position}: the plan has {len(self.plan)}.",
                    argument="layers",
                    hint=f"Give positions from 0 to {len(self.plan) - 1}.",
                )
        self._selected = sorted(set(layers))

    @property
    def python(self) -> str:
        """The Python that gives the plan that is shown, or the packages that are selected."""
        chosen = f"max_layers={self._max_layers}, strategy={json.dumps(self._strategy)}"
        by_history = self._strategy in BY_HISTORY
        if not self._selected:
            # By itself it reads the history that explore_plan(history=True) does.
            if by_history and self._history_code:
                chosen += f", history={self._history_code}"
            return f"await nbdock.plan_layers({self._code}, {chosen})"
        if by_history:
            chosen += f", history={self._history_code or True}"
        call = f"nbdock.explore_plan({self._code}, {chosen})"
        return f'{call}.table.query("layer in {self._selected}")'

    @property
    def cell(self) -> str:
        """A cell that builds an image by the plan that is shown."""
        by_history = self._strategy in BY_HISTORY
        return (
            f'%%buildLayeredImage\nname = "image";\ncontents = {self._code};\n'
            f"maxLayers = {self._max_layers};\nlayering = {json.dumps(self._strategy)};"
            + (f"\nhistory = {self._history_code};" if by_history and self._history_code else "")
        )

    # What the view asks

    def start(self) -> Mapping[str, Any]:
        """What the view is drawn with."""
        return {
            "label": f"Plans of {plural(len(self.model.closure), 'package')}",
            "strategy": self._strategy, "max_layers": self._max_layers,
            "least": 2, "most": settings.current().max_layers_limit,
            "strategies": list(self.model.strategies),
            "others": [f"{letter(i)}: {x.name}" for i, x in enumerate(self.model.others)],
            "code": self.python,
        }  # fmt: skip

    def answer_packages(self, _question: Any) -> dict[str, Any]:
        """What the view says of each package, and the curve."""
        place = {p.key: i for i, p in enumerate(self.model.closure.packages)}
        rates = self.model.rates
        return {
            "packages": [
                {
                    "name": p.name, "version": p.version, "size": p.size_bytes,
                    "by": [place[key] for key in self.model.needed_by[p.key]],
                    **({"rate": round(rates[p.name], 4)} if p.name in rates else {}),
                }
                for p in self.model.closure.packages
            ],
            "curve": "" if self.curve is None else curve_svg(self.curve),
        }  # fmt: skip

    def answer_plan(self, question: Any) -> dict[str, Any]:
        """The picture of a plan, which is the one that is shown from now on."""
        self._set(str(question["strategy"]), int(question["max_layers"]))
        return self._picture(int(question.get("width", WIDTH)))

    def answer_ahead(self, question: Any) -> dict[str, Any]:
        """Make a plan that may be asked for next; what it took, in time of the processor."""
        begin = time.thread_time()
        self.model.plan(str(question["strategy"]), int(question["max_layers"]))
        return {"cpu_ms": 1000 * (time.thread_time() - begin)}

    def answer_select(self, question: Any) -> dict[str, Any]:
        """Have layers selected, by their positions."""
        self.select([int(i) for i in question["layers"]])
        return {"code": self.python, "cell": self.cell}

    def _picture(self, width: int) -> dict[str, Any]:
        plan = self.plan
        shared = self.model.shared(plan, self._strategy, self._max_layers)
        return {
            "svg": plan_svg(self.model, plan, shared, width=width, titles=False),
            "facts": [*self._facts(), *self._shared_facts(shared)],
            "shared": [list(by) for by in shared], "selected": self._selected,
            "code": self.python, "cell": self.cell,
        }  # fmt: skip

    def _facts(self) -> list[str]:
        sizes = [row.size_bytes for row in self.plan.rows()]
        return [
            plural(len(self.model.closure), "package"),
            f"{plural(len(sizes), 'layer')} and one on top",
            bytes_text(sum(sizes)),
            f"largest layer {bytes_text(max(sizes, default=0))}",
        ]

    def _shared_facts(self, shared: Sequence[Sequence[int]]) -> list[str]:
        return [
            f"{letter(i)}: {plural(found.layers, 'layer')} shared with {found.name}, "
            f"{bytes_text(found.size_bytes)} of {bytes_text(found.both_bytes)} that both have"
            for i, found in enumerate(self.model.sharing(self.plan, shared))
        ]

    # What a notebook keeps

    def twin(self) -> Twin:
        """The picture and the table of the plan that is shown."""
        plan, model = self.plan, self.model
        shared = model.shared(plan, self._strategy, self._max_layers)
        total = sum(row.size_bytes for row in plan.rows())
        rows = [
            (
                str(row.position), bytes_text(row.size_bytes), share(row.size_bytes, total),
                str(row.packages), _few(row.names), " ".join(letter(i) for i in by),
            )
            for row, by in zip(plan.rows(), shared, strict=True)
        ]  # fmt: skip
        view = View(
            "Plan",
            f" by {plan.planner}, at most {self._max_layers} layers",
            facts=self._facts(),
            columns=(
                Column("layer", number=True), Column("size", number=True), Column("share"),
                Column("packages", number=True), Column("contents"), Column("also in"),
            ),
            rows=shortened(
                rows, lambda n: ("\u2026", "", "", "", f"{plural(len(rows) - n, 'more layer')}", "")
            ),
            note="; ".join([*self._shared_facts(shared), self.python]),
        )  # fmt: skip
        titles = len(model.closure) <= 600
        pictures = plan_svg(model, plan, shared, titles=titles)
        if self.curve is not None:
            pictures += curve_svg(self.curve)
        return Twin(view.text(), f"<div>{pictures}</div>{view.html()}")


def pulled_by_layers(model: PlanModel) -> pd.DataFrame:
    """What each planner's layers would have had people pull, by how many layers there may be.

    Returns
    -------
    pandas.DataFrame
        Bytes over the time after the split of `replay`; one column per planner and ``ideal``,
        indexed by ``budget``: layers for packages, the one on top not counted.
    """
    from nbdock.tables import replay

    budgets = [budget for budget in BUDGETS if budget < settings.current().max_layers_limit]
    table = replay(model.closure, model.history, planners=list(model.strategies), budgets=budgets)
    pulled = table["pulled_bytes"].groupby(["planner", "budget"], observed=True).sum()
    return pulled.unstack("planner")


def _history_code(history: Any) -> str:
    """How a history is given in the Python that is shown; what is read by default is not given."""
    if history is None or isinstance(history, bool):
        return ""
    name = code_of(history, "history")
    return name if isinstance(history, ChangeHistory) else f"nbdock.history_of({name})"


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMES])
    return shown if len(names) <= _NAMES else f"{shown} and {len(names) - _NAMES} more"
