"""Evaluating a cell: lazily, as data, in steps that are counted.

`Evaluator` walks the tree of one cell. Every method that may need the value of something else is a
computation for `trampoline.run`, so that the depth of a cell never meets Python's recursion limit.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nbdock import settings
from nbdock.errors import CellError, CellEvaluationError, NbdockError
from nbdock.nixlang import interop, undefined
from nbdock.nixlang.application import apply
from nbdock.nixlang.coercion import add, coerce, concatenate, equal, less_than
from nbdock.nixlang.operators import arithmetic, is_number
from nbdock.nixlang.places import Source
from nbdock.nixlang.scope import find, value_of_name
from nbdock.nixlang.syntax import (
    Apply,
    Assert,
    AttributeName,
    Binary,
    Function,
    HasAttribute,
    If,
    Let,
    ListNode,
    Literal,
    Node,
    PathNode,
    SearchPath,
    Select,
    SetNode,
    StringNode,
    Unary,
    Variable,
    With,
)
from nbdock.nixlang.trampoline import Steps, run
from nbdock.nixlang.values import (
    Attribute,
    AttributeSet,
    Environment,
    Fault,
    Lambda,
    Thunk,
    adopt,
    capital,
    describe,
)

__all__ = ["Evaluator"]


class Evaluator:
    """Evaluates the tree of one cell.

    Parameters
    ----------
    source
        The cell, for the places of errors.
    names
        What its free names are bound to.
    base_dir
        What relative paths are relative to.
    builtins
        The names that the language itself provides: always, and where nothing else is found.
    """

    def __init__(
        self,
        source: Source,
        names: interop.Names,
        base_dir: str | os.PathLike[str] | None,
        builtins: tuple[dict[str, Any], dict[str, Any]],
    ) -> None:
        self.source = source
        self.names = names
        self.base_dir = base_dir
        self.global_names, self.fallback_names = builtins
        chosen = settings.current()
        self.value_depth_limit = chosen.cell_value_depth_limit
        self._depth_limit = chosen.cell_depth_limit
        self._steps_limit = self._steps_left = chosen.cell_steps_limit
        self._characters_limit = self._characters_left = chosen.cell_string_limit_characters
        self._node: Node | None = None
        self.siblings: frozenset[str] = frozenset()
        self._methods: dict[type[Node], Callable[..., Steps]] = {
            Literal: self._literal,
            StringNode: self._string,
            PathNode: self._path,
            SearchPath: self._search_path,
            Variable: self._variable,
            Select: self._select,
            HasAttribute: self._has_attribute,
            SetNode: self._set,
            ListNode: self._list,
            Let: self._let,
            With: self._with,
            Assert: self._assert,
            If: self._if,
            Function: self._function,
            Apply: self._apply,
            Unary: self._unary,
            Binary: self._binary,
        }

    # Running and failing.

    def run(self, steps: Steps) -> Any:
        """The result of a computation; every error has a place in the cell."""
        try:
            return run(steps, self._tick)
        except Fault as fault:
            raise self.located(fault, fault.node or self._node) from fault.__cause__
        except NbdockError as error:
            if isinstance(error, CellError):
                raise
            raise self.located(error, self._node) from error

    def _tick(self, depth: int) -> None:
        self.spend(1)
        if depth > self._depth_limit:
            raise Fault(
                f"The cell nests more than {self._depth_limit:,} evaluations deep",
                "Does a function call itself without end? (setting cell_depth_limit)",
                self._node,
            )

    def spend(self, steps: int) -> None:
        """Count steps, for what is done without the trampoline."""
        self._steps_left -= steps
        if self._steps_left < 0:
            raise Fault(
                f"The cell takes more than {self._steps_limit:,} steps to evaluate",
                "Does it build something without end? (setting cell_steps_limit)",
                self._node,
            )

    def spend_characters(self, count: int) -> None:
        """Count the characters of a string that is made."""
        self._characters_left -= count
        if self._characters_left < 0:
            raise Fault(
                f"The cell makes more than {self._characters_limit:,} characters of text",
                "(setting cell_string_limit_characters)",
                self._node,
            )

    def located(self, error: Exception, node: Node | None) -> CellError:
        """An error with the place of a node."""
        if isinstance(error, CellError):
            return error
        line, column = self.source.line_and_column(node.start if node else 0)
        message = error.message if isinstance(error, Fault | NbdockError) else str(error)
        hint = error.hint if isinstance(error, Fault | NbdockError) else None
        return CellEvaluationError(
            message, source=self.source.text, line=line, column=column, hint=hint
        )

    # Values.

    def thunk(self, node: Node, environment: Environment | None) -> Thunk:
        """The value of a node, when it will be asked for."""
        if isinstance(node, Literal):
            return Thunk(None, node, node.value)
        return Thunk(lambda: self.evaluate(node, environment), node)

    def force(self, value: Any) -> Steps:
        """The value itself, of what may be a thunk."""
        if type(value) is not Thunk:
            return adopt(value)
        if value.start is None:
            return value.value
        if value.running:
            raise Fault(
                "The value needs itself: this recursion has no end",
                "Inside of `rec { }` and `let`, a name on the right side means the one being "
                "defined; `inherit name;` takes the one from outside.",
                value.node,
            )
        value.running = True
        try:
            value.value = yield value.start()
        finally:
            value.running = False
        value.start = None
        return value.value

    def evaluate(self, node: Node, environment: Environment | None) -> Steps:
        """The value of a node; its own parts may still be thunks."""
        return self._methods[type(node)](node, environment)

    def _located_steps(self, steps: Steps, node: Node) -> Steps:
        try:
            return (yield steps)
        except Fault as fault:
            raise self.located(fault, fault.node or node) from fault.__cause__

    def _literal(self, node: Literal, _environment: Environment | None) -> Steps:
        yield from ()
        return node.value

    def _string(self, node: StringNode, environment: Environment | None) -> Steps:
        return (yield self._interpolated(node.parts, environment))

    def _interpolated(
        self, parts: tuple[str | Node, ...], environment: Environment | None
    ) -> Steps:
        texts: list[str] = []
        for part in parts:
            if isinstance(part, str):
                texts.append(part)
                continue
            value = yield self.evaluate(part, environment)
            texts.append((yield self._located_steps(coerce(self, value), part)))
        return texts[0] if len(texts) == 1 else concatenate(self, texts)

    def _path(self, node: PathNode, environment: Environment | None) -> Steps:
        self._node = node
        text = yield self._interpolated(node.parts, environment)
        if "\0" in text:
            raise Fault("A path cannot hold a NUL character", None, node)
        try:
            if text.startswith("~"):
                return Path(os.path.normpath(Path.home() / text[2:]))
            base = Path.cwd() if self.base_dir is None else Path(self.base_dir)
        except (OSError, RuntimeError) as error:
            raise Fault(f"The path {text} leads nowhere: {error}", None, node) from error
        return Path(os.path.normpath(base.absolute() / text))

    def _search_path(self, node: SearchPath, _environment: Environment | None) -> Steps:
        yield from ()
        found, value = find(self, f"<{node.name}>", node)
        if found:
            return value
        raise Fault(
            f"There is no Nix search path here, so <{node.name}> leads nowhere",
            "Leave it out: package sets are names, such as `pkgs`.",
            node,
        )

    def _variable(self, node: Variable, environment: Environment | None) -> Steps:
        self._node = node
        return (yield value_of_name(self, node, environment))

    def _select(self, node: Select, environment: Environment | None) -> Steps:
        value = yield self.evaluate(node.subject, environment)
        for step in node.path:
            name = yield self._name(step, environment)
            self._node = step
            try:
                value = yield self.attribute(value, name, step)
            except Exception as error:
                if node.default is not None and interop.is_missing(error):
                    return (yield self.evaluate(node.default, environment))
                if isinstance(error, Fault | NbdockError) and not isinstance(error, CellError):
                    raise self.located(error, step) from (error.__cause__ or error)
                raise
        return value

    def _name(self, step: AttributeName, environment: Environment | None) -> Steps:
        if step.text is not None or step.node is None:
            return step.text
        value = yield self.evaluate(step.node, environment)
        if not isinstance(value, str):
            raise Fault(f"The name of an attribute must be a string, not {describe(value)}",
                        None, step)  # fmt: skip
        return str(value)

    def attribute(self, subject: Any, name: str, step: Node) -> Steps:
        """`subject.name`; raises `interop.Missing` if there is no such attribute."""
        if isinstance(subject, AttributeSet):
            attribute = subject.attributes.get(name)
            if attribute is None:
                raise interop.Missing(
                    f"The set has no attribute {name!r}",
                    interop.suggestion(name, subject.attributes)
                    or _listed(list(subject.attributes)),
                    step,
                )
            return (yield self.force(attribute.value))
        if describe(subject) in _PLAIN or isinstance(subject, Lambda):
            raise interop.Missing(
                f"{capital(describe(subject))} has no attributes, so not {name!r}", None, step
            )
        return interop.attribute_of(subject, name)

    def _has_attribute(self, node: HasAttribute, environment: Environment | None) -> Steps:
        value = yield self.evaluate(node.subject, environment)
        for step in node.path:
            name = yield self._name(step, environment)
            try:
                if isinstance(value, AttributeSet) and step is node.path[-1]:
                    return name in value.attributes
                value = yield self.attribute(value, name, step)
            except Exception as error:
                if interop.is_missing(error):
                    return False
                if isinstance(error, Fault | NbdockError) and not isinstance(error, CellError):
                    raise self.located(error, step) from error
                raise
        return True

    def _set(self, node: SetNode, environment: Environment | None) -> Steps:
        result = AttributeSet({})
        inner = Environment(environment, {}) if node.recursive else environment
        for name, entry in node.entries.items():
            thunk = self.thunk(entry.value, environment if entry.inherited else inner)
            result.attributes[name] = Attribute(thunk, entry.name_start, entry.name_end)
            if node.recursive and inner is not None:
                inner.names[name] = thunk
        for step, value in node.computed:
            name = yield self._name_or_null(step, inner)
            if name is None:
                continue
            if name in result.attributes:
                raise Fault(f"The attribute {name!r} is defined twice", None, step)
            result.attributes[name] = Attribute(self.thunk(value, inner), step.start, step.end)
        self.spend(len(node.entries))
        return result

    def _name_or_null(self, step: AttributeName, environment: Environment | None) -> Steps:
        if step.node is not None:
            value = yield self.evaluate(step.node, environment)
            if value is None:
                return None
            if not isinstance(value, str):
                raise Fault(f"The name of an attribute must be a string, not {describe(value)}",
                            None, step)  # fmt: skip
            return str(value)
        return step.text

    def _list(self, node: ListNode, environment: Environment | None) -> Steps:
        yield from ()
        self.spend(len(node.items))
        return [self.thunk(item, environment) for item in node.items]

    def _let(self, node: Let, environment: Environment | None) -> Steps:
        return (yield self.evaluate(node.body, self.let_environment(node, environment)))

    def let_environment(self, node: Let, environment: Environment | None) -> Environment:
        """The names in the body of a `let`."""
        inner = Environment(environment, {})
        for name, entry in node.bindings.entries.items():
            inner.names[name] = self.thunk(entry.value, environment if entry.inherited else inner)
        return inner

    def with_environment(self, node: With, environment: Environment | None) -> Environment:
        """The names in the body of a `with`."""
        return Environment(environment, {}, self.thunk(node.scope, environment))

    def _with(self, node: With, environment: Environment | None) -> Steps:
        return (yield self.evaluate(node.body, self.with_environment(node, environment)))

    def _assert(self, node: Assert, environment: Environment | None) -> Steps:
        yield self.check_assertion(node, environment)
        return (yield self.evaluate(node.body, environment))

    def check_assertion(self, node: Assert, environment: Environment | None) -> Steps:
        """Fail unless the condition of an `assert` holds."""
        if not (yield self.condition(node.condition, environment)):
            text = self.source.text[node.condition.start : node.condition.end]
            raise Fault(f"The assertion `{text}` does not hold", None, node)

    def _if(self, node: If, environment: Environment | None) -> Steps:
        holds = yield self.condition(node.condition, environment)
        return (yield self.evaluate(node.consequence if holds else node.alternative, environment))

    def condition(self, node: Node, environment: Environment | None) -> Steps:
        """The value of a node that must be a boolean."""
        value = yield self.evaluate(node, environment)
        if not isinstance(value, bool):
            raise Fault(f"A condition must be true or false, not {describe(value)}",
                        "Compare it: `x != null`, `x == \"\"`, `x != [ ]`.", node)  # fmt: skip
        return value

    def _function(self, node: Function, environment: Environment | None) -> Steps:
        yield from ()
        return Lambda(node, environment)  # type: ignore[arg-type]

    def _apply(self, node: Apply, environment: Environment | None) -> Steps:
        function = yield self.evaluate(node.function, environment)
        argument = self.thunk(node.argument, environment)
        self._node = node
        try:
            return (yield apply(self, function, argument))
        except Fault as fault:
            advice = undefined.call_advice(node, fault.hint)
            fault.hint = advice
            raise self.located(fault, fault.node or node) from fault.__cause__

    def _unary(self, node: Unary, environment: Environment | None) -> Steps:
        if node.operator == "!":
            return not (yield self.condition(node.operand, environment))
        value = yield self.evaluate(node.operand, environment)
        if not is_number(value):
            raise Fault(f"Only a number has a negative, not {describe(value)}", None, node)
        return arithmetic("-", 0, value) if isinstance(value, int) else 0.0 - value

    def _binary(self, node: Binary, environment: Environment | None) -> Steps:
        symbol = node.operator
        if symbol in ("&&", "||", "->"):
            left = yield self.condition(node.left, environment)
            if left == (symbol == "||"):
                return symbol != "&&"
            return (yield self.condition(node.right, environment))
        left = yield self.evaluate(node.left, environment)
        right = yield self.evaluate(node.right, environment)
        at = Node(node.operator_start, node.operator_start + len(symbol))
        self._node = node
        return (yield self._located_steps(self._operate(symbol, left, right), at))

    def _operate(self, symbol: str, left: Any, right: Any) -> Steps:
        if symbol == "+":
            return (yield add(self, left, right))
        if symbol in ("==", "!="):
            return (yield equal(self, left, right)) == (symbol == "==")
        if symbol in ("<", ">="):
            return (yield less_than(self, left, right)) == (symbol == "<")
        if symbol in (">", "<="):
            return (yield less_than(self, right, left)) == (symbol == ">")
        if symbol == "//":
            for side in (left, right):
                if not isinstance(side, AttributeSet):
                    raise Fault(f"`//` merges two sets; one of these is {describe(side)}",
                                "A comment begins with `#`." if side is None else None)  # fmt: skip
            self.spend(len(left.attributes) + len(right.attributes))
            return AttributeSet({**left.attributes, **right.attributes})
        if symbol == "++":
            for side in (left, right):
                if not isinstance(side, list):
                    raise Fault(f"`++` joins two lists; one of these is {describe(side)}",
                                "Put a single value in brackets: `[ x ]`.")  # fmt: skip
            self.spend(len(left) + len(right))
            return [*left, *right]
        return arithmetic(symbol, left, right)


_PLAIN = frozenset(
    ("a boolean", "an integer", "a float", "null", "a string", "a path", "a list", "a function")
)


def _listed(names: list[str]) -> str | None:
    if not names:
        return None
    return f"It has {', '.join(sorted(names)[:8])}{', ...' if len(names) > 8 else ''}."
