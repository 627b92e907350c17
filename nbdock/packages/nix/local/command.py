"""Runs the commands of the Nix that is installed here: found, awaited, ended with who waits for it.

said = await run_nix("nix-instantiate", "--version")
said.output
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import re
import shutil
import signal
from collections import deque
from collections.abc import Callable

from nbdock.concurrency import gather_all
from nbdock.errors import UnavailableError

__all__ = ["NixOutcome", "find_nix", "run_nix"]

_PLACES = (
    "~/.nix-profile/bin",
    "~/.local/state/nix/profile/bin",
    "/run/current-system/sw/bin",
    "/nix/var/nix/profiles/default/bin",
)
"""Where the commands are besides PATH, which a notebook's server may not have from a shell."""

_LINES_KEPT = 200
_LINE_LIMIT_BYTES = 64 << 10
_PATIENCE_S = 5.0
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclasses.dataclass(frozen=True, slots=True)
class NixOutcome:
    """How a command ended.

    Attributes
    ----------
    exit_code
        0 if it did what it should.
    output
        All of its standard output.
    messages
        The last lines of its standard error: Nix's own, and those of what it builds.
    """

    exit_code: int
    output: str
    messages: tuple[str, ...]


def find_nix(program: str = "nix-instantiate") -> str | None:
    """The path of one of Nix's commands; None where there is none."""
    places = [os.environ.get("PATH", os.defpath), *map(os.path.expanduser, _PLACES)]
    return shutil.which(program, path=os.pathsep.join(places))


async def run_nix(
    program: str,
    *arguments: str,
    text: str = "",
    on_message: Callable[[str], None] | None = None,
) -> NixOutcome:
    """Run a command of Nix, which uses the store, the sources and the settings of this process.

    Guarantees: nothing passes through a shell; when this ends, however it does, so have the command
    and what it was building.

    Parameters
    ----------
    text
        What it reads from its standard input.
    on_message
        Called with each line of its standard error.

    Raises
    ------
    UnavailableError
        There is no such command on this machine.
    """
    path = find_nix(program)
    if path is None:
        raise UnavailableError(
            f"There is no {program} on this machine.",
            hint="Install Nix, or take packages from a binary cache: nixpkgs(channel=...).",
        )
    process = await asyncio.create_subprocess_exec(
        path, *arguments, start_new_session=True, stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        return await _outcome(process, text.encode(), on_message)
    finally:
        await _end(process)


async def _outcome(
    process: asyncio.subprocess.Process, text: bytes, on_message: Callable[[str], None] | None
) -> NixOutcome:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    # Nix reads what it is given to the end before it says anything.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(text)
        await process.stdin.drain()
        process.stdin.close()
        await process.stdin.wait_closed()
    output, messages = await gather_all(
        process.stdout.read(), _messages(process.stderr, on_message)
    )
    exit_code = await process.wait()
    return NixOutcome(exit_code, output.decode(errors="replace"), messages)


async def _messages(
    stream: asyncio.StreamReader, on_message: Callable[[str], None] | None
) -> tuple[str, ...]:
    kept: deque[str] = deque(maxlen=_LINES_KEPT)
    rest = b""
    while True:
        piece = await stream.read(1 << 16)
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > _LINE_LIMIT_BYTES or (rest and not piece):
            lines.append(rest)
            rest = b""
        for line in lines:
            message = _COLOURS.sub("", line[:_LINE_LIMIT_BYTES].decode(errors="replace")).rstrip()
            kept.append(message)
            if on_message is not None and message:
                on_message(message)
        if not piece:
            return tuple(kept)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Have a command that is still running end: it first stops what it was building."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), _PATIENCE_S)
    except (TimeoutError, asyncio.CancelledError):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
