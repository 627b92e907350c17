"""httpx, imported when it is first needed, and without its command line.

    from nbdock.transport.http import httpx

httpx's package imports its own command-line program with it wherever click and rich are installed,
as they are beside most notebooks. That takes longer than all the rest of httpx, and is paid by
whoever pulls an image in a new process: a pull that finds everything in place takes a third less
without it.
"""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["httpx"]


def _import_without_command_line() -> None:
    modules: dict[str, Any] = sys.modules
    # None is Python's own way to say that there is no such module; httpx is prepared for that.
    modules["httpx._main"] = None
    try:
        import httpx  # noqa: F401
    finally:
        del modules["httpx._main"]


if "httpx" not in sys.modules:
    _import_without_command_line()

import httpx  # noqa: E402
