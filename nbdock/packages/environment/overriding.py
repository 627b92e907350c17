"""``helper.override { ... }``, as nixpkgs has it: the same package, made with other arguments.

>>> from nbdock.packages.environment import fake_nss
>>> fake_nss.override(extraGroupLines=["wheel:x:10:"]).group_lines
('wheel:x:10:',)
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

from nbdock.errors import UnknownArgumentError, nearest

__all__ = ["overriding"]

P = ParamSpec("P")
R = TypeVar("R")


def overriding(method: Callable[P, R]) -> Callable[P, R]:
    """A method with keyword arguments that cells may call too, in dockerTools' spelling.

    Raises
    ------
    UnknownArgumentError
        When called: an argument that the method does not have; the hint names the nearest.
    """
    known = [
        name
        for name, parameter in inspect.signature(method).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    ]

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        given = {}
        for name, value in kwargs.items():
            spelled = re.sub("[A-Z]", lambda letter: "_" + letter[0].lower(), name)
            if spelled not in known:
                close = nearest(spelled, known, count=1)
                raise UnknownArgumentError(
                    f"override has no argument {name!r}.",
                    argument=name,
                    hint=f"Did you mean {close[0]}?" if close else f"It takes: {', '.join(known)}.",
                )
            given[spelled] = value
        return cast("Callable[..., R]", method)(*args, **given)

    # What `nbdock.nixlang.takes_keywords` does, without importing a parser for it.
    call.__dict__["nix_takes_keywords"] = True
    return call
