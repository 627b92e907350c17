"""`history_of` and `history_table`."""

from __future__ import annotations

import datetime as dt
from typing import Any

from nbdock.concurrency import run
from nbdock.errors import ArgumentTypeError
from nbdock.images import closure as closure_of
from nbdock.packages import ChangeHistory, Closure, Progress, changelog_history

__all__ = ["history_of", "to_date"]


def history_of(x: Any, *, progress: Progress | None = None) -> ChangeHistory:
    """When packages changed."""
    if isinstance(x, ChangeHistory):
        return x
    closure = x if isinstance(x, Closure) else run(closure_of(x))
    return run(changelog_history(closure.packages, progress=progress))


def to_date(value: object, *, argument: str) -> dt.date:
    """A day."""
    if isinstance(value, dt.datetime):
        return value.date()
    if isinstance(value, dt.date):
        return value
    try:
        return dt.date.fromisoformat(str(value))
    except ValueError:
        raise ArgumentTypeError(
            f"{argument} must be a day such as 2025-03-01, not {value!r:.40}.", argument=argument
        ) from None
