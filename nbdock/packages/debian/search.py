"""Choosing what takes the fewest bytes.

A closure is a fixed point first: whatever only one package can meet is taken, and that decides most
requirements. What is left has a choice. Each option is weighed by what it would add to what is
already taken, with all that it needs in turn; then the choice whose cheapest option is the dearest
is made, because that much is spent in any case and may settle other choices on the way. Nothing in
this depends on an order, so the same request gives the same set.

When choices turn out not to go together, the search goes back to the latest choice that had a part
in the conflict (conflict-directed backjumping), so that unrelated choices are not tried in vain.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from nbdock.errors import UnresolvableError
from nbdock.packages.debian.catalogue import Node, Requirement
from nbdock.packages.debian.searchstate import Need, State

__all__ = ["choose_by_search"]

ATTEMPTS = 4000
"""How many options are tried before a request counts as too tangled."""

_WEIGHING_DEPTH = 3


def _added(option: Node, have: set[Node], depth: int) -> set[Node]:
    """What an option would add to `have`: all that it needs, choices made cheaply in turn."""
    new = {option}
    todo = [option]
    named: list[Requirement] = []
    free: list[Requirement] = []
    while todo:
        for requirement in todo.pop().requirements:
            options = requirement.options
            if not requirement.hard or not options:
                continue
            if len(options) > 1:
                (named if len(requirement.meant) == 1 else free).append(requirement)
            elif options[0] not in have and options[0] not in new:
                new.add(options[0])
                todo.append(options[0])
        if not todo:
            # What a field names is taken, unless a stand-in for it is there anyway.
            for requirement in sorted(named, key=str):
                if _is_open(requirement, have, new):
                    new.add(requirement.meant[0])
                    todo.append(requirement.meant[0])
            named = []
    for requirement in sorted(free, key=str):
        if not _is_open(requirement, have, new):
            continue
        if depth == 0:
            new.add(min(requirement.meant, key=lambda n: (n.size_kib, n.sort_key)))
        else:
            both = have | new
            new |= min((_added(o, both, depth - 1) for o in requirement.meant), key=_weight)
    return new


def _is_open(requirement: Requirement, have: set[Node], new: set[Node]) -> bool:
    return have.isdisjoint(requirement.options) and new.isdisjoint(requirement.options)


def _weight(nodes: Iterable[Node]) -> tuple[int, list[tuple[object, ...]]]:
    """Orders what options add: by size, ties by names."""
    nodes = list(nodes)
    return (sum(n.size_kib for n in nodes), sorted(n.sort_key for n in nodes))


def _ranked(options: Iterable[Node], state: State) -> list[tuple[int, Node]]:
    """Options with what each adds (KiB), the cheapest first; ties by what they add, by name."""
    weighed = [(_weight(_added(o, state.nodes, _WEIGHING_DEPTH)), o) for o in options]
    weighed.sort(key=lambda pair: (pair[0], pair[1].sort_key))
    return [(weight[0], option) for weight, option in weighed]


def _cheapest_first(state: State) -> tuple[Need, list[Node]] | None:
    """The choice to make now, with its options, best first; None if nothing is open."""
    choices: dict[tuple[Node, ...], Need] = {}
    for need in sorted(state.open, key=_by_name):
        if not need.requirement.hard:
            break
        possible, _ = state.possible(need.requirement.options)
        meant = [o for o in need.requirement.meant if o in possible]
        if len(meant) == 1:
            return need, meant + [o for o in possible if o not in meant]
        choices.setdefault(tuple(sorted(meant or possible, key=lambda n: n.sort_key)), need)
    if not choices:
        return _first_soft(state)

    fresh: dict[tuple[Node, ...], list[Node]] = {}

    def bound(key: tuple[Node, ...]) -> tuple[float, list[tuple[object, ...]]]:
        return (-state.costs.get(key, float("inf")), [n.sort_key for n in key])

    # The dearest by the bounds; once its cost is fresh and it is still the dearest, it is it.
    while (key := min(choices, key=bound)) not in fresh:
        ranked = _ranked(key, state)
        state.costs[key] = ranked[0][0]
        fresh[key] = [option for _, option in ranked]
    possible, _ = state.possible(choices[key].requirement.options)
    return choices[key], fresh[key] + [o for o in possible if o not in key]


def _by_name(need: Need) -> tuple[bool, tuple[object, ...], str]:
    """Orders needs: Depends before Recommends, then by the package's name and the field."""
    return (not need.requirement.hard, need.node.sort_key, str(need.requirement))


def _first_soft(state: State) -> tuple[Need, list[Node]] | None:
    """The first Recommends that is open, with its options, best first."""
    if not state.open:
        return None
    need = min(state.open, key=lambda n: n.node.sort_key)
    possible, _ = state.possible(need.requirement.options)
    meant = [o for o in need.requirement.meant if o in possible]
    if len(meant or possible) == 1:
        return need, [*(meant or possible)]
    return need, [option for _, option in _ranked(meant or possible, state)]


def _in_order(state: State) -> tuple[Need, list[Node]] | None:
    """The first open choice, Depends before Recommends, its options as APT ranks them."""
    if not state.open:
        return None
    need = min(state.open, key=_by_name)
    return need, list(state.possible(need.requirement.options)[0])


@dataclasses.dataclass(slots=True)
class _Choice:
    """A choice that was made, so that another option can be taken later."""

    state: State
    need: Need
    untried: Iterator[Node]
    bit: int
    base: int  # bits of the choices that made this one necessary
    blame: int  # bits of the earlier choices that its failures had to do with
    chain: tuple[str, ...] = ()


def choose_by_search(roots: Iterable[Node], *, smallest: bool = True) -> set[Node]:
    """Choose a closed, conflict-free set of packages.

    Parameters
    ----------
    roots
        What is asked for.
    smallest
        Whether choices go by bytes; otherwise they go by APT's order of the options.

    Raises
    ------
    UnresolvableError
        There is none, or it was not found in `ATTEMPTS` steps.
    """
    asked = sorted(roots, key=lambda n: n.sort_key)
    state = State()
    dead = state.add(asked, 0, None)
    if dead is not None:
        raise _unresolvable(asked, dead.chain)
    made: list[_Choice] = []
    attempts = 0
    next_choice = _cheapest_first if smallest else _in_order
    while (choice := next_choice(state)) is not None:
        need, options = choice
        base = state.choices[need.node]
        for option in need.requirement.options:
            obstacle = state.obstacle(option)
            if obstacle is not None:
                base |= state.choices[obstacle]
        made.append(_Choice(state, need, iter(options), 1 << len(made), base, base))
        while True:
            latest = made[-1]
            attempt = next(latest.untried, None)
            if attempt is None:
                if not latest.need.requirement.hard:
                    state = latest.state.copy()
                    state.open = [n for n in state.open if n is not latest.need]
                    break
                made.pop()
                while made and not latest.blame & made[-1].bit:
                    made.pop()
                if not made:
                    raise _unresolvable(asked, latest.chain)
                made[-1].blame |= latest.blame & ~made[-1].bit
                made[-1].chain = made[-1].chain or latest.chain
                continue
            attempts += 1
            if attempts > ATTEMPTS:
                raise _unresolvable(asked, latest.chain, tangled=True)
            trial = latest.state.copy()
            dead = trial.add([attempt], latest.base | latest.bit, latest.need)
            if dead is None:
                state = trial
                break
            latest.blame |= dead.choices & ~latest.bit
            latest.chain = latest.chain or dead.chain
            if not dead.choices & latest.bit and latest.need.requirement.hard:
                latest.untried = iter(())  # no option of this choice can help
    return _without_the_needless(state, asked)


def _unresolvable(
    asked: Sequence[Node], chain: tuple[str, ...], *, tangled: bool = False
) -> UnresolvableError:
    start = chain[0].partition(" ")[0] if chain else asked[0].name
    if tangled:
        return UnresolvableError(
            f"No way to install {start} was found in {ATTEMPTS} attempts; "
            f"the first one ended here: {' -> '.join(chain)}",
            package=start,
            chain=chain,
            hint="Name one of the alternatives yourself, or exclude= a package you do not need.",
        )
    return UnresolvableError(
        f"{start} cannot be installed: {' -> '.join(chain)}.",
        package=start,
        chain=chain,
        hint="Ask for other versions (name=version), add the package source that has what is "
        "missing, or leave a package out with exclude=.",
    )


def _without_the_needless(state: State, roots: Iterable[Node]) -> set[Node]:
    """What the roots need of what was taken: a later choice can make an earlier one superfluous."""
    needed: set[Node] = set()
    todo = list(roots)
    waiting: list[list[Node]] = []
    while todo:
        while todo:
            node = todo.pop()
            if node in needed:
                continue
            needed.add(node)
            for requirement in node.requirements:
                met_by = [o for o in requirement.options if o in state.nodes]
                if len(met_by) == 1:
                    todo.append(met_by[0])
                elif met_by:
                    waiting.append(met_by)
        waiting = [met_by for met_by in waiting if needed.isdisjoint(met_by)]
        if waiting:
            smallest = [min(m, key=lambda n: (n.size_kib, n.sort_key)) for m in waiting]
            todo.append(max(smallest, key=lambda n: (n.size_kib, n.sort_key)))
    return needed
