"""Layering pipelines: which packages share a layer, said in operations, as in dockerTools.

    [["split_paths", ["/nix/store/...-python3"]],
     ["over", "rest", ["popularity_contest"]],
     ["flatten"],
     ["limit_layers", 20]]

A pipeline is checked when it is made, before anything is resolved or fetched. The operations are
those of nixpkgs' flatten-references-graph and give the same layers in the same order. What differs:
a part that is not there (`split_paths` makes no empty ones) passes `over` without an error, and
`limit` holds at the end, as if ``["limit_layers" limit]`` stood there.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NoReturn, TypeAlias, TypeGuard, cast

from nbdock.calling import argument_name
from nbdock.errors import ArgumentError, ArgumentTypeError, nearest
from nbdock.layering import operations as op
from nbdock.layering.operations import Graph, Nodes, Value
from nbdock.layering.order import check_room
from nbdock.layering.plan import LayerPlan
from nbdock.packages import Closure, Package

__all__ = ["OPERATIONS", "Pipeline", "pipeline_plan"]

_LONGEST_FILE_BYTES = 1 << 20

Step: TypeAlias = Callable[[Value, Nodes], Value]
_Item: TypeAlias = "str | Package"


class Pipeline:
    """A planner made of operations.

    Parameters
    ----------
    operations
        A list of operations, each a list of a name and arguments; or the same as JSON: its text,
        or the path of a file. Where an operation takes paths, packages may stand too, and strings
        they were put into; packages at ``/`` go by their names.
    argument
        What errors call it, before the place: ``layeringPipeline[2]``.

    Raises
    ------
    ArgumentError
        An operation that does not exist or whose arguments are wrong; says the place.

    Examples
    --------
    >>> from nbdock.packages import Closure, text_file
    >>> a, b, c = (text_file(f"etc/{name}", "") for name in "abc")
    >>> closure = Closure((a, b, c), {a.key: (b.key,)}, (a.key, c.key))
    >>> plan = Pipeline([["subcomponent_out", ["a"]]])(closure, 99)
    >>> [[package.name for package in layer] for layer in plan.layers]
    [['a', 'b'], ['c']]
    """

    def __init__(self, operations: object, *, argument: str = "layering_pipeline") -> None:
        reading = _Reading(argument)
        try:
            loaded = reading.loaded(operations)
            self._steps = reading.steps(loaded, reading.name)
        except RecursionError:
            reading.refuse(reading.name, "is nested too deeply")
        self._names = [operation[0] for operation in cast("Sequence[Sequence[str]]", loaded)]

    def __repr__(self) -> str:
        return f"<Pipeline: {', '.join(self._names) or 'all in one layer'}>"

    def __call__(self, closure: Closure, limit: int) -> LayerPlan:
        """The plan of the pipeline, with at most `limit` layers.

        Packages that it removes (`remove_paths`) are in no layer.

        Raises
        ------
        ArgumentError
            An operation is given what it cannot work on, such as a list where it takes a graph.
        LayerLimitError
            `limit` is below one.
        """
        check_room(limit)
        nodes = Nodes(closure)
        value: Value = nodes.whole
        for step in self._steps:
            value = step(value, nodes)
        graphs: list[Value] = [graph for graph in op.flatten(value) if graph.edges]
        layers = op.flatten(op.limit_layers(graphs, limit))
        return LayerPlan(
            tuple(tuple(nodes.packages[n] for n in graph.edges) for graph in layers if graph.edges),
            limit,
            "pipeline",
        )


class _Reading:
    """Makes steps of operations, checking their arguments; `place` is where one stands."""

    def __init__(self, argument: str) -> None:
        self.argument = argument
        self.name = argument_name(argument)

    def refuse(self, place: str, fact: str, hint: str | None = None) -> NoReturn:
        raise ArgumentError(f"{place} {fact}.", argument=self.argument, hint=hint)

    def loaded(self, operations: object) -> object:
        """The operations, read from JSON if they are a text or a path."""
        if not isinstance(operations, str | os.PathLike):
            return operations
        text = str(os.fspath(operations))
        if not text.lstrip().startswith("["):
            text = self._read(text)
        try:
            return json.loads(text)
        except ValueError as error:
            self.refuse(self.name, f"is not JSON: {error}")

    def _read(self, path: str) -> str:
        try:
            with open(path, "rb", opener=_open_without_waiting) as file:
                status = os.fstat(file.fileno())
                regular = stat.S_ISREG(status.st_mode)
                if not regular or status.st_size > _LONGEST_FILE_BYTES:
                    what = "is too large for one" if regular else "is not a file"
                    self.refuse(self.name, f"cannot be a pipeline: {path!r} {what}")
                return file.read(_LONGEST_FILE_BYTES).decode("utf-8")
        except (OSError, ValueError) as error:
            raise ArgumentError(
                f"{self.name} cannot be read from {path!r}: {error}.",
                argument=self.argument,
                hint='A pipeline is a list such as [["popularity_contest"] ["limit_layers" 20]], '
                "or the path of a JSON file that holds one.",
            ) from error

    def steps(self, operations: object, place: str) -> list[Step]:
        if not _is_list(operations):
            raise ArgumentTypeError(
                f"{place} must be a list of operations, not {operations!r:.60}.",
                argument=self.argument,
                hint='For example [["popularity_contest"] ["limit_layers" 20]].',
            )
        return [self.step(item, f"{place}[{i}]") for i, item in enumerate(operations)]

    def step(self, operation: object, place: str) -> Step:
        name, *arguments = operation if _is_list(operation) and operation else [None]
        if not isinstance(name, str):
            self.refuse(
                place,
                f"must be a list that begins with the name of an operation, not {operation!r:.60}",
                'For example ["limit_layers" 20].',
            )
        if name not in OPERATIONS:
            close = nearest(name, OPERATIONS, count=1)
            known = f"The operations are {', '.join(OPERATIONS)}."
            hint = f"Did you mean {close[0]}?" if close else known
            self.refuse(place, f"names an operation that does not exist: {name!r}", hint)
        made: Callable[..., Step] = getattr(self, f"_{name}")
        takes = OPERATIONS[name]
        if len(arguments) != len(takes):
            shown = " ".join([f'["{name}"', *takes]) + "]"
            self.refuse(
                place,
                f"gives {name} {len(arguments)} argument{'s' * (len(arguments) != 1)}",
                f"It is written {shown}.",
            )
        return made(place, *arguments)

    # ---- what operations are given ------------------------------------------------------------

    def _count(self, value: object, place: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            self.refuse(place, f"must be a whole number from 1, not {value!r:.60}")
        return value

    def _items(self, value: object, place: str) -> list[_Item]:
        return [
            self._item(item, f"{place}[{i}]" if _is_list(value) else place)
            for i, item in enumerate(_listed(value))
        ]

    def _item(self, value: object, place: str) -> _Item:
        if not isinstance(value, str | Package | os.PathLike):
            self.refuse(
                place,
                f"must be a package or a path, not {value!r:.60}",
                'For example pkgs.python3, "/nix/store/...-python3", or a Debian package\'s name.',
            )
        return str(os.fspath(value)) if isinstance(value, os.PathLike) else value

    def _name(self, value: object, place: str) -> str:
        if value not in op.PARTS:
            close = nearest(str(value), op.PARTS, count=1)
            hint = f"Did you mean {close[0]}?" if close else "Parts: main, common, rest."
            self.refuse(place, f"is not the name of a part: {value!r:.60}", hint)
        return str(value)

    def _graph(self, value: Value, place: str, name: str) -> Graph:
        if not isinstance(value, Graph):
            hint = f'For each graph of a list: ["map" ["{name}" ...]].'
            if isinstance(value, dict):
                hint = f'For one of the parts: ["over" "{next(iter(value))}" ["{name}" ...]].'
            fact = f"takes one graph, and {_kind(value)} comes to it"
            self.refuse(place, f"({name}) {fact}", hint)
        return value

    def _list(self, value: Value, place: str, name: str) -> list[Value]:
        if not isinstance(value, list):
            hint = 'Put ["flatten"] before it.'
            if isinstance(value, Graph):
                hint = 'Put ["popularity_contest"] or ["split_every" n] before it.'
            self.refuse(place, f"({name}) takes a list, and {_kind(value)} comes to it", hint)
        return value

    def _parts(self, value: Value, place: str, name: str) -> dict[str, Value]:
        if not isinstance(value, dict):
            self.refuse(
                place,
                f"({name}) takes parts, and {_kind(value)} comes to it",
                "split_paths, subcomponent_in and subcomponent_out make parts.",
            )
        return value

    # ---- the operations -----------------------------------------------------------------------

    def _popularity_contest(self, place: str) -> Step:
        return lambda value, nodes: op.popularity_contest(
            self._graph(value, place, "popularity_contest"), nodes
        )

    def _limit_layers(self, place: str, count: object) -> Step:
        n = self._count(count, f"{place}[1]")
        return lambda value, _: op.limit_layers(self._list(value, place, "limit_layers"), n)

    def _split_every(self, place: str, count: object) -> Step:
        n = self._count(count, f"{place}[1]")
        return lambda value, _: op.split_every(self._graph(value, place, "split_every"), n)

    def _remove_paths(self, place: str, paths: object) -> Step:
        items = self._items(paths, f"{place}[1]")
        return lambda value, nodes: op.remove_paths(
            self._graph(value, place, "remove_paths"), _found(items, nodes)
        )

    def _reverse(self, place: str) -> Step:
        return lambda value, _: self._list(value, place, "reverse")[::-1]

    def _flatten(self, place: str) -> Step:  # noqa: ARG002 - takes what comes
        return lambda value, _: list(op.flatten(value))

    def _subcomponent_in(self, place: str, paths: object) -> Step:
        items = self._items(paths, f"{place}[1]")
        return lambda value, nodes: op.subcomponent(
            self._graph(value, place, "subcomponent_in"), _found(items, nodes), dependents=True
        )

    def _subcomponent_out(self, place: str, paths: object) -> Step:
        items = self._items(paths, f"{place}[1]")
        return lambda value, nodes: op.subcomponent(
            self._graph(value, place, "subcomponent_out"), _found(items, nodes), dependents=False
        )

    def _split_paths(self, place: str, paths: object) -> Step:
        place_of_paths = f"{place}[1]"
        chosen: list[_Item] = []
        parents: list[_Item] = []
        for i, item in enumerate(_listed(paths)):
            here = f"{place_of_paths}[{i}]" if _is_list(paths) else place_of_paths
            if not isinstance(item, Mapping):
                chosen.append(self._item(item, here))
            elif set(item) == {"children_of"}:
                parents += self._items(item["children_of"], f"{here}.children_of")
            else:
                self.refuse(
                    here, f"must be a set with children_of alone, not {dict(item)!r:.60}",
                    "For example { children_of = [ pkgs.python3 ]; }.",
                )  # fmt: skip

        def split(value: Value, nodes: Nodes) -> Value:
            graph = self._graph(value, place, "split_paths")
            starts = [n for n in _found(chosen, nodes) if n in graph.edges]
            for n in _found(parents, nodes):
                starts += graph.edges.get(n, ())
            return op.split_paths(graph, starts)

        return split

    def _over(self, place: str, part: object, operation: object) -> Step:
        name = self._name(part, f"{place}[1]")
        step = self.step(operation, f"{place}[2]")

        def over(value: Value, nodes: Nodes) -> Value:
            parts = self._parts(value, place, "over")
            return {n: step(v, nodes) if n == name else v for n, v in parts.items()}

        return over

    def _map(self, place: str, operation: object) -> Step:
        step = self.step(operation, f"{place}[1]")
        return lambda value, nodes: [step(v, nodes) for v in self._list(value, place, "map")]

    def _pipe(self, place: str, operations: object) -> Step:
        steps = self.steps(operations, f"{place}[1]")

        def pipe(value: Value, nodes: Nodes) -> Value:
            for step in steps:
                value = step(value, nodes)
            return value

        return pipe

    def _reorder(self, place: str, names: object) -> Step:
        order = [self._name(n, f"{place}[1][{i}]") for i, n in enumerate(_listed(names))]
        return lambda value, _: op.reorder(self._parts(value, place, "reorder"), order)


OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "popularity_contest": (),
    "limit_layers": ("count",),
    "split_every": ("count",),
    "remove_paths": ("paths",),
    "reverse": (),
    "flatten": (),
    "subcomponent_in": ("paths",),
    "subcomponent_out": ("paths",),
    "split_paths": ("paths",),
    "over": ('"part"', "operation"),
    "map": ("operation",),
    "pipe": ("[operations]",),
    "reorder": ("[parts]",),
}
"""The operations and what stands after their names. `_Reading` has a method for each."""


def _found(items: Sequence[_Item], nodes: Nodes) -> list[int]:
    return [n for item in items for n in nodes.find(item)]


def _is_list(value: object) -> TypeGuard[list[object] | tuple[object, ...]]:
    return isinstance(value, list | tuple)


def _listed(value: object) -> Iterator[object]:
    """The items of a list; anything else is the list of itself."""
    if _is_list(value):
        yield from value
    else:
        yield value


def _kind(value: Value) -> str:
    if isinstance(value, Graph):
        return "one graph"
    return f"parts ({', '.join(value)})" if isinstance(value, dict) else "a list"


def _open_without_waiting(path: str, flags: int) -> int:
    """Open as usual, but never wait for a writer: a path may be that of a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


pipeline_plan = Pipeline([["popularity_contest"]])
"""The planner ``pipeline`` by itself; the limit comes after what it says."""
