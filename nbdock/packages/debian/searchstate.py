"""What a search has taken so far, why, and what is still open.

Taking a package takes everything that then has only one way, and notices when there is none. Each
package carries the bits of the choices that it is there for, so that a dead end knows which
choices led to it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from nbdock.packages.debian.catalogue import Node, Requirement
from nbdock.packages.debian.relations import Relation

__all__ = ["Dead", "Need", "State"]


@dataclasses.dataclass(frozen=True, slots=True)
class Need:
    """A requirement that waits, and whose it is."""

    node: Node
    requirement: Requirement


@dataclasses.dataclass(slots=True)
class Dead:
    """Why a set of choices has no way on.

    `choices` are the bits of the choices that had a part in it; `chain` leads to the cause.
    """

    choices: int
    chain: tuple[str, ...]


class State:
    """What has been taken so far, why, and what is still open."""

    def __init__(self) -> None:
        self.taken: dict[str, Node] = {}
        self.choices: dict[Node, int] = {}  # bits of the choices that made it needed
        self.needed_by: dict[Node, Need | None] = {}
        self.nodes: set[Node] = set()
        self.present: dict[str, list[Node]] = {}  # by name and by provided name
        self.negatives: dict[str, list[tuple[Node, Relation]]] = {}
        self.open: list[Need] = []
        # What the cheapest option of a choice cost when it was last weighed. Taking more makes
        # options cheaper, never dearer, so an old figure is a bound from above.
        self.costs: dict[tuple[Node, ...], int] = {}

    def copy(self) -> State:
        """Return a state that can go on by itself."""
        new = State()
        new.taken = self.taken.copy()
        new.choices = self.choices.copy()
        new.needed_by = self.needed_by.copy()
        new.nodes = self.nodes.copy()
        new.present = {k: v.copy() for k, v in self.present.items()}
        new.negatives = {k: v.copy() for k, v in self.negatives.items()}
        new.open = self.open.copy()
        new.costs = self.costs.copy()
        return new

    def chain_to(self, node: Node) -> tuple[str, ...]:
        """From what was asked for to a taken node."""
        chain = [str(node)]
        need = self.needed_by.get(node)
        while need is not None:
            chain.append(str(need.node))
            need = self.needed_by.get(need.node)
        return tuple(reversed(chain))

    def obstacle(self, node: Node) -> Node | None:
        """A taken package that a node cannot be together with."""
        same = self.taken.get(node.name)
        if same is not None:
            return None if same is node else same
        for relation in node.negatives:
            for other in self.present.get(relation.name, ()):
                if other.name != node.name and other.meets(relation):
                    return other
        for name in (node.name, *node.provided):
            for other, relation in self.negatives.get(name, ()):
                if other.name != node.name and node.meets(relation):
                    return other
        return None

    def _take(self, node: Node, choices: int, need: Need | None) -> None:
        self.taken[node.name] = node
        self.nodes.add(node)
        self.choices[node] = choices
        self.needed_by[node] = need
        for name in dict.fromkeys((node.name, *node.provided)):
            self.present.setdefault(name, []).append(node)
        for relation in node.negatives:
            self.negatives.setdefault(relation.name, []).append((node, relation))
        self.open.extend(Need(node, requirement) for requirement in node.requirements)

    def add(self, nodes: Sequence[Node], choices: int, need: Need | None) -> Dead | None:
        """Take nodes and everything that then has only one way; what is dead says why."""
        todo: list[tuple[Node, int, Need | None]] = [(node, choices, need) for node in nodes]
        while True:
            for new, bits, why in todo:
                if new in self.nodes:
                    continue
                other = self.obstacle(new)
                if other is not None:
                    before = self.chain_to(why.node) if why else ()
                    return Dead(
                        bits | self.choices[other],
                        (*before, f"{new}: conflicts with {other}{self._for_whom(other)}"),
                    )
                self._take(new, bits, why)
            todo = []
            still_open = []
            for waiting in self.open:
                options = waiting.requirement.options
                if not self.nodes.isdisjoint(options):
                    continue
                bits = self.choices[waiting.node]
                if len(options) != 1:
                    options, others = self.possible(options)
                    for obstacle in others:
                        bits |= self.choices[obstacle]
                if not waiting.requirement.hard:
                    if options:
                        still_open.append(waiting)
                elif len(options) == 1:
                    todo.append((options[0], bits, waiting))
                elif options:
                    still_open.append(waiting)
                else:
                    return Dead(bits, self._why_unmet(waiting))
            self.open = still_open
            if not todo:
                return None

    def possible(self, options: Sequence[Node]) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
        """The options that conflict with nothing taken, and what the others conflict with."""
        left, obstacles = [], []
        for option in options:
            other = self.obstacle(option)
            if other is None:
                left.append(option)
            else:
                obstacles.append(other)
        return tuple(left), tuple(obstacles)

    def _for_whom(self, node: Node) -> str:
        chain = self.chain_to(node)
        return f" (needed by {' -> '.join(chain[:-1])})" if len(chain) > 1 else ""

    def _why_unmet(self, need: Need) -> tuple[str, ...]:
        requirement = need.requirement
        if requirement.options:
            _, others = self.possible(requirement.options)
            reason = "; ".join(
                f"{o} conflicts with {other}{self._for_whom(other)}"
                for o, other in zip(requirement.options, others, strict=True)
            )
        else:
            reason = need.node.catalogue.why_unmet(requirement.alternatives)
        return (*self.chain_to(need.node), f"{requirement}: {reason}")
