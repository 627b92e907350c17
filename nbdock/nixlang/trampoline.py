"""Recursion without Python's stack: generators that yield the generator whose result they need.

A cell may nest as deeply as it likes; a recursive Python function would end in a RecursionError
(or need the interpreter's limit changed for everybody). `run` keeps the stack in a list.

    >>> def total(values):
    ...     return values[0] + (yield total(values[1:])) if values else 0
    >>> run(total(list(range(2000))))
    1999000
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

__all__ = ["Steps", "run"]

Steps = Generator[Any, Any, Any]
"""A computation in steps: yields computations whose results it is sent, and returns its own."""


def run(start: Steps, tick: Callable[[int], None] | None = None) -> Any:
    """Run a computation to its result; `tick` is told the depth before each step and may raise."""
    stack = [start]
    value: Any = None
    error: Exception | None = None
    while stack:
        try:
            if error is None:
                child = stack[-1].send(value)
            else:
                thrown, error = error, None
                child = stack[-1].throw(thrown)
            value = None
            if tick is not None:
                tick(len(stack))
            stack.append(child)
        except StopIteration as stop:
            stack.pop()
            value = stop.value
        except Exception as raised:
            stack.pop()
            # The frames are of no use to anybody, and there may be thousands.
            error = raised.with_traceback(None)
            value = None
    if error is not None:
        raise error
    return value
