"""Arithmetic and comparison of plain values, with Nix's rules and 64-bit integers."""

from __future__ import annotations

import math
import operator as python
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

from nbdock.nixlang.values import Fault, capital, describe

__all__ = ["arithmetic", "float_text", "less", "number"]

_LIMIT = 1 << 63
_FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "+": python.add, "-": python.sub, "*": python.mul,
}  # fmt: skip


def is_number(value: Any) -> bool:
    """Whether it is an integer or a float; a boolean is neither."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def number(value: Any, what: str) -> Any:
    """The value, if it is a number."""
    if not is_number(value):
        hint = "A number stands without quotes." if isinstance(value, str) else None
        raise Fault(f"{what} must be a number, not {describe(value)}", hint)
    return value


def arithmetic(symbol: str, left: Any, right: Any) -> int | float:
    """`left symbol right`: integers stay integers, and must fit in 64 bits."""
    number(left, f"The left side of `{symbol}`")
    number(right, f"The right side of `{symbol}`")
    integral = isinstance(left, int) and isinstance(right, int)
    if symbol == "/":
        if right == 0:
            raise Fault("Division by zero")
        if not integral:
            return float(left) / float(right)
        quotient = abs(left) // abs(right)
        result = quotient if (left < 0) == (right < 0) else -quotient
    else:
        try:
            result = _FUNCTIONS[symbol](left, right)
        except OverflowError:
            raise Fault("The result is too large for a number") from None
    if integral and not -_LIMIT <= result < _LIMIT:
        raise Fault(
            f"The result of `{symbol}` does not fit in 64 bits", "Calculate with floats (`1.0`)."
        )
    return result  # type: ignore[no-any-return]


def less(left: Any, right: Any) -> bool:
    """`left < right` for two numbers, two strings, or two paths."""
    if is_number(left) and is_number(right):
        return bool(left < right)
    if isinstance(left, str) and isinstance(right, str):
        # As bytes, like Nix: the order of code points, wherever the cell runs.
        return str.__lt__(left, right)
    if isinstance(left, PurePath) and isinstance(right, PurePath):
        return str(left) < str(right)
    raise Fault(f"{capital(describe(left))} cannot be compared with {describe(right)}")


def float_text(value: float) -> str:
    """A float as `toString` writes it: six digits after the point."""
    if math.isfinite(value):
        return f"{value:f}"
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
