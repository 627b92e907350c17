"""Pulls in processes of their own, which die in the middle by ``SIGKILL``.

    async with Pulls() as pulls:
        status = await pulls.run(name, home, die_at_bytes=100_000)   # -9, or 0 if it was done first
        status = await pulls.run(name, home, die_at_event=17)

When a process dies is decided by what it has done: by the progress it was told of, or by how many
operations on files of its store it has begun. The processes are forked from one that has imported
everything already, so one costs little more than its pull.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, Self

__all__ = ["Pulls"]

_FILE_EVENTS = frozenset({"open", "os.rename", "os.remove", "os.chmod", "os.mkdir", "fcntl.flock"})
_DEADLINE_S = 60.0


class Pulls:
    """Runs pulls, each in a new process; several at a time if they are awaited so."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._ended: dict[int, asyncio.Future[int]] = {}

    async def __aenter__(self) -> Self:
        self._server = await asyncio.create_subprocess_exec(
            sys.executable, __file__,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self._reader = asyncio.ensure_future(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        await self._server.wait()
        await self._reader

    async def _read(self) -> None:
        assert self._server.stdout is not None
        async for line in self._server.stdout:
            number, status = map(int, line.split())
            self._ended.pop(number).set_result(status)

    async def run(self, name: str, home: Path, **die_at: int) -> int:
        """Pull into the store at `home`; the process's exit code.

        It dies at `die_at_bytes` of progress, or at the `die_at_event`-th operation on a file.
        """
        assert self._server.stdin is not None
        number = next(self._numbers)
        self._ended[number] = ended = asyncio.get_running_loop().create_future()
        order = {"number": number, "name": name, "home": os.fspath(home), **die_at}
        self._server.stdin.write(json.dumps(order).encode() + b"\n")
        return await asyncio.wait_for(ended, _DEADLINE_S)


def _serve() -> None:
    """Fork a process for every line; told (number, exit code) by another, which waits for it."""
    import nbdock.images.pulling  # noqa: F401

    asyncio.run(_warm_up())
    os.fsync = lambda fd: None  # type: ignore[assignment]  # the power does not fail in a test
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        if os.fork():
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        order = json.loads(line)
        number = order.pop("number")
        child = os.fork()
        if not child:
            with contextlib.suppress(BaseException):
                _pull(**order)
                os._exit(0)
            os._exit(1)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.write(1, f"{number} {status}\n".encode())
        os._exit(0)


async def _warm_up() -> None:
    """Import what a request needs, and read the certificate authorities, without a thread."""
    from nbdock.errors import ConnectionFailedError
    from nbdock.transport import Transport

    nobody = "http://127.0.0.1:1/"
    async with Transport() as transport:
        with contextlib.suppress(ConnectionFailedError):
            attempts = transport.attempts(nobody, retries=0)
            async with transport.stream("GET", nobody, attempts=attempts):
                pass


def _pull(
    name: str, home: str, die_at_bytes: int | None = None, die_at_event: int | None = None
) -> None:
    import nbdock
    from nbdock.content import BlobStore

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def progress(what: str, done: int, total: int) -> None:
        if die_at_bytes is not None and done >= die_at_bytes:
            die()

    begun = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal begun
        if event in _FILE_EVENTS and (event == "fcntl.flock" or str(arguments[0]).startswith(home)):
            begun += 1
            if begun == die_at_event:
                die()

    store = BlobStore(home)
    if die_at_event is not None:
        sys.addaudithook(watch)
    asyncio.run(nbdock.pull_image(name, store=store, progress=progress))


if __name__ == "__main__":
    _serve()
