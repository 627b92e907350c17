"""Which function a cell calls: known by its name, whether or not it exists.

`let ... in pkgs.dockerTools.buildImage { ... }` is a call of `buildImage` even where `pkgs` has no
`dockerTools`, or comes from an `import` that no cell can do.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from nbdock.nixlang import interop
from nbdock.nixlang.syntax import (
    Apply,
    Assert,
    Function,
    If,
    Let,
    Node,
    Select,
    Variable,
    With,
)
from nbdock.nixlang.trampoline import Steps
from nbdock.nixlang.values import AttributeSet, Environment, Thunk

if TYPE_CHECKING:
    from nbdock.nixlang.evaluation import Evaluator

__all__ = ["Call", "cell_value"]

_TOOLS = "dockerTools"


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """A call of a function by its name: not made, but read."""

    name: str
    head: Node
    argument_node: Node
    environment: Environment | None


def cell_value(
    evaluator: Evaluator, node: Node, environment: Environment | None, functions: frozenset[str]
) -> Steps:
    """The value of a cell, or the call that it is, of one of the named functions."""
    while True:
        if isinstance(node, Let):
            environment = evaluator.let_environment(node, environment)
            node = node.body
        elif isinstance(node, With):
            environment = evaluator.with_environment(node, environment)
            node = node.body
        elif isinstance(node, Assert):
            yield evaluator.check_assertion(node, environment)
            node = node.body
        elif isinstance(node, If):
            holds = yield evaluator.condition(node.condition, environment)
            node = node.consequence if holds else node.alternative
        elif isinstance(node, Function) and node.formals is not None:
            # A whole file, `{ pkgs ? import <nixpkgs> { } }: ...`: its arguments are names.
            environment = _formals_environment(evaluator, node, environment)
            node = node.body
        else:
            break
    if isinstance(node, Apply):
        name = _called(node.function, environment, functions)
        if name is not None:
            return Call(name, node.function, node.argument, environment)
    return (yield evaluator.evaluate(node, environment))


def _formals_environment(
    evaluator: Evaluator, node: Function, environment: Environment | None
) -> Environment:
    names: dict[str, Any] = {}
    inner = Environment(environment, names)
    for formal in node.formals or ():
        variable = Variable(formal.start, formal.start + len(formal.name), formal.name)
        given, _value = interop.find_name(evaluator.names, formal.name)
        if not given and formal.default is not None:
            names[formal.name] = evaluator.thunk(formal.default, inner)
        else:
            names[formal.name] = evaluator.thunk(variable, environment)
    if node.parameter is not None:
        names[node.parameter] = AttributeSet.of(dict(names))
    return inner


def _called(node: Node, environment: Environment | None, functions: frozenset[str]) -> str | None:
    """The name of the function that a node stands for, if it is one of those."""
    # `let inherit (pkgs.dockerTools) buildImage; in buildImage` is followed to where it leads.
    for _hop in range(10):
        if isinstance(node, Select) and node.default is None:
            name = node.path[-1].text
            if name not in functions:
                return None
            before = node.path[-2].text if len(node.path) > 1 else _last_name(node.subject)
            free = _binding(node.subject, environment) is None
            return name if before == _TOOLS or (free and _rooted(node.subject)) else None
        if not isinstance(node, Variable):
            return None
        bound = _binding(node, environment)
        if bound is None:
            return node.name if node.name in functions else None
        if not isinstance(bound, Thunk) or bound.node is None or bound.node is node:
            return None
        node = bound.node
    return None


def _last_name(node: Node) -> str | None:
    if isinstance(node, Select):
        return node.path[-1].text
    return node.name if isinstance(node, Variable) else None


def _rooted(node: Node) -> bool:
    return isinstance(node, Variable)


def _binding(node: Node, environment: Environment | None) -> Any:
    """What a variable is bound to in the cell; None if it is free."""
    while environment is not None and isinstance(node, Variable):
        if environment.scope is None and node.name in environment.names:
            return environment.names[node.name]
        environment = environment.outer
    return None
