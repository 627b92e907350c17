"""The planners by name, and a plan by whatever says how: a name, a pipeline, or a function.

    >>> planners()
    <Planners: popularity, auto, history, size, chunked, pipeline>
    >>> planners()["popularity"].description
    'What many need gets a layer of its own.'

A function needs no registration; what it gives is checked:

    def one_each(closure, limit):
        return [[package] for package in closure.packages]

    await nbdock.plan_layers(contents, strategy=one_each)
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import importlib
import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from nbdock.calling import argument_name
from nbdock.errors import ArgumentError, ArgumentTypeError, nearest
from nbdock.layering.order import check_room
from nbdock.layering.plan import LayerPlan
from nbdock.layering.popularity import popularity_plan
from nbdock.packages import Closure, Package

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Planner", "Planners", "Strategy", "planner_of", "planners"]

_Plan: TypeAlias = Callable[[Closure, int], LayerPlan]
Strategy: TypeAlias = "str | os.PathLike[str] | Sequence[object] | Callable[[Closure, int], object]"
"""How packages are put into layers: a planner's name, the operations of a pipeline, a function."""


@dataclasses.dataclass(frozen=True)
class Planner:
    """A planner: called with a closure and a limit, it gives a `LayerPlan`.

    Attributes
    ----------
    name
        What it is called in ``layering = "..."`` and ``strategy="..."``.
    description
        What it does, as one sentence.
    plan
        The function.
    """

    name: str
    description: str
    plan: _Plan

    def __call__(self, closure: Closure, limit: int) -> LayerPlan:
        """The plan for a closure with at most `limit` layers."""
        return self.plan(closure, limit)


class Planners(Mapping[str, Planner]):
    """Planners by name."""

    def __init__(self, *planners: Planner) -> None:
        self._planners = {planner.name: planner for planner in planners}

    def __getitem__(self, name: str) -> Planner:
        return self._planners[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._planners)

    def __len__(self) -> int:
        return len(self._planners)

    def __repr__(self) -> str:
        return f"<Planners: {', '.join(self)}>"

    def table(self) -> pd.DataFrame:
        """The planners as a DataFrame with the column ``description``, indexed by ``name``."""
        import pandas as pd

        rows = [[planner.name, planner.description] for planner in self.values()]
        return pd.DataFrame(rows, columns=["name", "description"]).set_index("name")


def _of(module: str, name: str) -> _Plan:
    """The planner in a module of this room, which is imported when it plans: a build uses one."""

    def plan(closure: Closure, limit: int) -> LayerPlan:
        planner = getattr(importlib.import_module(f"nbdock.layering.{module}"), name)
        return cast("_Plan", planner)(closure, limit)

    return plan


_PLANNERS = Planners(
    Planner(
        "popularity",
        "What many need gets a layer of its own.",
        popularity_plan,
    ),
    Planner(
        "auto",
        "The largest apart, each with what only it needs.",
        _of("auto", "auto_plan"),
    ),
    Planner(
        "history",
        "What changes seldom apart from what changes often, by the dates of changes.",
        _of("history", "history_plan"),
    ),
    Planner(
        "size",
        "The largest sources apart, as apko does it.",
        _of("size", "size_plan"),
    ),
    Planner(
        "chunked",
        "By outliers in size and in how often packages change, as ostree-rs-ext does it.",
        _of("chunked", "chunked_plan"),
    ),
    Planner(
        "pipeline",
        "A list of operations; by itself: popularity.",
        _of("pipeline", "pipeline_plan"),
    ),
)


def planners() -> Planners:
    """The planners by name.

    Examples
    --------
    >>> list(planners())
    ['popularity', 'auto', 'history', 'size', 'chunked', 'pipeline']
    """
    return _PLANNERS


def planner_of(strategy: object, *, argument: str = "strategy") -> _Plan:
    """The planner that a name, a pipeline or a function stands for.

    Parameters
    ----------
    strategy
        A planner's name; a pipeline as a list of operations, JSON text or the path of a JSON
        file; or a function of a closure and a limit that gives a `LayerPlan` or a list of lists
        of packages, bottom layer first.
    argument
        What errors call it.

    Returns
    -------
    Callable
        From a closure and a limit to a plan that holds every package of the closure once (less
        what a pipeline removes) in at most `limit` layers.

    Raises
    ------
    ArgumentError
        No such planner, or a pipeline that is wrong.
    """
    if isinstance(strategy, str):
        if strategy in _PLANNERS:
            return _PLANNERS[strategy]
        if not _may_be_pipeline(strategy):
            close = nearest(strategy, _PLANNERS, count=1)
            hint = f'Did you mean "{close[0]}"?' if close else f"Planners: {', '.join(_PLANNERS)}."
            raise ArgumentTypeError(
                f"There is no planner {strategy!r:.60}.", argument=argument, hint=hint
            )
    from nbdock.layering.fleet import FleetPlanner
    from nbdock.layering.history import HistoryPlanner
    from nbdock.layering.pipeline import Pipeline

    if isinstance(strategy, str | os.PathLike | list | tuple):
        return Pipeline(strategy, argument=argument)
    if isinstance(strategy, Planner | Pipeline | HistoryPlanner | FleetPlanner):
        return strategy
    if callable(strategy):
        return functools.partial(_checked, strategy, argument)
    raise ArgumentTypeError(
        f"{argument_name(argument)} must be the name of a planner, a pipeline or a function, "
        f"not {strategy!r:.60}.",
        argument=argument,
        hint=f"Planners: {', '.join(_PLANNERS)}.",
    )


def _may_be_pipeline(text: str) -> bool:
    """Whether a text that names no planner is JSON or the path of a file."""
    return text.lstrip().startswith("[") or "/" in text or text.endswith(".json")


def _checked(
    function: Callable[[Closure, int], object], argument: str, closure: Closure, limit: int
) -> LayerPlan:
    """The plan that a function makes, if it is one."""
    check_room(limit)
    name = getattr(function, "__name__", type(function).__name__)
    result = function(closure, limit)
    if inspect.iscoroutine(result):
        result.close()
        raise ArgumentTypeError(f"The planner {name} must not be async.", argument=argument)
    layers = _layers_of(result, name, argument)
    _check_packages(layers, closure, name, argument)
    if len(layers) > limit:
        raise ArgumentError(
            f"The planner {name} made {len(layers)} layers, and there may be {limit}.",
            argument=argument,
            hint="Its second argument is how many layers it may make.",
        )
    return LayerPlan(layers, limit, result.planner if isinstance(result, LayerPlan) else name)


def _layers_of(result: object, name: str, argument: str) -> tuple[tuple[Package, ...], ...]:
    def refuse(fact: str) -> ArgumentTypeError:
        return ArgumentTypeError(
            f"The planner {name} must give a LayerPlan or a list of lists of packages; {fact}.",
            argument=argument,
            hint="For example [[package] for package in closure.packages].",
        )

    given: Any = result.layers if isinstance(result, LayerPlan) else result
    if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
        raise refuse(f"it gave {given!r:.60}")
    layers = []
    for i, layer in enumerate(given):
        if isinstance(layer, str | Mapping) or not isinstance(layer, Iterable):
            raise refuse(f"its layer {i} is {layer!r:.60}")
        packages = tuple(layer)
        for package in packages:
            if not isinstance(package, Package):
                raise refuse(f"its layer {i} holds {package!r:.60}")
        if not packages:
            raise refuse(f"its layer {i} is empty")
        layers.append(packages)
    return tuple(layers)


def _check_packages(
    layers: Iterable[Iterable[Package]], closure: Closure, name: str, argument: str
) -> None:
    times = collections.Counter(package for layer in layers for package in layer)
    missing = [p for p in closure.packages if p not in times]
    foreign = [p for p in times if p.key not in closure.by_key]
    twice = [p for p, n in times.items() if n > 1]
    for packages, fact in (
        (foreign, "put {} into a layer, which the closure does not hold"),
        (twice, "put {} into a layer more than once"),
        (missing, "left out {}"),
    ):
        if packages:
            shown = ", ".join(str(p) or p.name for p in packages[:3])
            more = f" and {len(packages) - 3} more" if len(packages) > 3 else ""
            raise ArgumentError(
                f"The planner {name} {fact.format(shown + more)}.",
                argument=argument,
                hint="Every package of the closure must be in one layer, once.",
            )
