"""Choosing as APT chooses: depth first, the maintainer's first alternative first.

``apt-get install`` marks what was asked for and protects it, then walks its dependencies in the
order of the fields. A dependency that only one package can meet is protected at once, with all that
follows from it, and whatever conflicts with something protected is never considered again; where
there is a choice, the first option whose own dependencies can be marked wins. This module follows
that walk from an empty system, so that it ends with the set that APT's internal solver prints
(APT 2.1 to 2.9; the tests compare). What APT repairs afterwards by scoring packages is not
followed: if the walk ends with something broken, it says so and the caller searches.

The walk is recursive and deep, so its steps are generators and `_run` keeps their stack.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import TypeAlias

from nbdock.packages.debian.catalogue import Catalogue, Node, Requirement
from nbdock.packages.debian.relations import Relation

__all__ = ["choose_as_apt"]

_Step: TypeAlias = "Generator[_Step, bool, bool]"


def _run(step: _Step) -> bool:
    """Run a step and all the steps it waits for, without using Python's stack."""
    stack = [step]
    answer: bool | None = None
    while stack:
        try:
            waits_for = stack[-1].send(answer) if answer is not None else next(stack[-1])
        except StopIteration as stop:
            stack.pop()
            answer = bool(stop.value)
        else:
            stack.append(waits_for)
            answer = None
    return bool(answer)


class _Walk:
    """The state of APT's walk: what is marked, what is protected, what is out of the question."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.marked: set[Node] = set()
        self.protected: set[Node] = set()
        self.discarded: set[Node] = set()

    def is_met(self, requirement: Requirement) -> bool:
        return not self.marked.isdisjoint(requirement.options)

    def clashes(self, node: Node, relation: Relation) -> list[Node]:
        """What a Conflicts or Breaks of a node is aimed at, itself aside."""
        return [n for n in self.catalogue.matching(relation) if n.name != node.name]

    def is_broken(self, node: Node) -> bool:
        """Say whether a marked package lacks something or conflicts with what is marked."""
        if not all(self.is_met(r) for r in node.requirements):
            return True
        return any(
            other in self.marked for relation in node.negatives
            for other in self.clashes(node, relation)
        )  # fmt: skip

    def _discard(self, node: Node) -> None:
        self.discarded.add(node)
        self.marked.discard(node)

    def _may_be_satisfiable(self, node: Node) -> bool:
        """Say whether each hard requirement has an option left; give the package up if not."""
        for requirement in node.requirements:
            if requirement.hard and all(o in self.discarded for o in requirement.options):
                if node not in self.protected:
                    self._discard(node)
                return False
        return True

    def _clear_conflicts(self, node: Node, *, asked: bool) -> bool:
        """Rule out what a package conflicts with; say whether that was possible."""
        protected = node in self.protected
        possible = True
        for relation in node.negatives:
            targets = self.clashes(node, relation)
            if not protected and self.marked.isdisjoint(targets):
                continue
            for other in targets:
                if other in self.discarded:
                    continue
                if other in self.marked and other in self.protected:
                    possible = False
                    if not protected and not asked:
                        return False
                    continue
                self.marked.discard(other)
                if protected:
                    self._discard(other)
                    self.protected.add(other)
        return possible

    def _solutions(self, requirement: Requirement) -> list[Node]:
        return [
            o
            for o in requirement.options
            if o not in self.discarded and (o in self.marked or o not in self.protected)
        ]

    def mark(self, node: Node, *, follow: bool = True, asked: bool = False) -> _Step:
        """Mark a package, and with `follow` what it needs; the answer is whether that worked.

        `asked`: it stands in the request itself.
        """
        if node in self.discarded:
            return False
        protected = node in self.protected
        if protected and node not in self.marked and not asked:
            return False
        if not protected and node in self.marked and not self.is_broken(node):
            return True
        if follow and not self._may_be_satisfiable(node):
            return False
        if asked:
            self.marked.add(node)
        gives_up_early = not protected and not asked
        failed = False
        if follow:
            needs = [r for r in node.requirements if protected or not self.is_met(r)]
            if not self._clear_conflicts(node, asked=asked):
                if gives_up_early:
                    return False
                failed = True
        self.marked.add(node)
        if not follow:
            return not failed
        # While its dependencies are walked, nothing may push it out.
        self.protected.add(node)
        met = yield self._mark_needs(needs, protected=protected, asked=asked)
        if not protected:
            self.protected.discard(node)
        if not met and gives_up_early:
            self._discard(node)
            return False
        return met and not failed

    def _mark_needs(self, needs: Sequence[Requirement], *, protected: bool, asked: bool) -> _Step:
        possible = True
        for need in needs:
            if self.is_met(need):
                if protected and need.hard:
                    solutions = self._solutions(need)
                    if len(solutions) == 1 and solutions[0] not in self.protected:
                        self.protected.add(solutions[0])
                        if not (yield self.mark(solutions[0])):
                            possible = False
                continue
            solutions = self._solutions(need)
            found = False
            for option in solutions:
                if option in self.discarded:
                    continue
                if protected and need.hard and len(solutions) == 1:
                    if not (yield self.mark(option, follow=False)):
                        continue
                    self.protected.add(option)
                if (yield self.mark(option)):
                    found = True
                    break
            if not found and need.hard:
                possible = False
                if not protected and not asked:
                    break
        return possible


def choose_as_apt(catalogue: Catalogue, roots: Iterable[Node]) -> set[Node] | None:
    """Choose as ``apt-get install`` of the roots does on an empty system.

    Parameters
    ----------
    catalogue
        Made without ``every_version``.
    roots
        What is asked for, in an order that does not depend on the caller's.

    Returns
    -------
    set of Node or None
        The roots with all that APT marks; None if the walk ends with something broken.
    """
    walk = _Walk(catalogue)
    asked = list(roots)
    for node in asked:
        _run(walk.mark(node, follow=False, asked=True))
    walk.protected.update(asked)
    for node in asked:
        if walk.is_broken(node):
            _run(walk.mark(node, asked=True))
    chosen = _still_needed(walk.marked, asked)
    if not chosen.issuperset(asked):
        return None
    for node in chosen:
        for requirement in node.requirements:
            if requirement.hard and chosen.isdisjoint(requirement.options):
                return None
        for relation in node.negatives:
            if not chosen.isdisjoint(walk.clashes(node, relation)):
                return None
    return chosen


def _still_needed(marked: set[Node], roots: Iterable[Node]) -> set[Node]:
    """What is left when what nothing marked needs any more is taken away, as autoremove does.

    A walk that gave something up leaves behind what it had marked on the way; only what is
    Essential stays although nothing needs it.
    """
    needed = {r for r in roots if r in marked}
    needed |= {m for m in marked if m.catalogue.is_essential(m.name)}
    todo = list(needed)
    while todo:
        for requirement in todo.pop().requirements:
            for option in requirement.options:
                if option in marked and option not in needed:
                    needed.add(option)
                    todo.append(option)
    return needed
