"""Images in and out of a running Docker or Podman engine, through its socket.

Podman's service speaks Docker's API, so one code serves both.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import stat
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nbdock import settings
from nbdock.concurrency import in_worker
from nbdock.errors import (
    ConnectionFailedError,
    EngineError,
    HttpStatusError,
    ImageNotFoundError,
)
from nbdock.images.archive import archive_pieces, archive_size_bytes, in_order
from nbdock.images.saving import docker_archive_members
from nbdock.packages import Progress

if TYPE_CHECKING:
    from nbdock.images.image import Image

__all__ = ["export_from_engine", "find_engine", "import_into_engine", "load_into_engine"]

_START = "Start Docker, or Podman's service with `systemctl --user start podman.socket`; "
_HINT = _START + 'or name the socket: engine="unix:///path/to/socket".'


def find_engine(engine: str | None = None) -> str:
    """The path of an engine's socket.

    Parameters
    ----------
    engine
        A path or ``unix://`` address; by default ``DOCKER_HOST``, then ``CONTAINER_HOST``, then
        the places where Docker and Podman put their sockets.

    Raises
    ------
    EngineError
        No socket there, or an address that is no Unix socket.
    """
    asked = engine or os.environ.get("DOCKER_HOST") or os.environ.get("CONTAINER_HOST")
    if asked:
        scheme, separator, path = asked.partition("://")
        if separator and scheme != "unix":
            raise EngineError(
                f"The engine {asked!r} is not on a Unix socket.",
                socket=asked,
                hint="Save the image with image.save(...) and load it there; or name a socket "
                'on this machine: engine="unix:///var/run/docker.sock".',
            )
        path = path if separator else asked
        if not _is_socket(path):
            raise EngineError(f"There is no engine's socket at {path!r}.", socket=path, hint=_HINT)
        return path
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    places = (
        "/var/run/docker.sock",
        f"{runtime}/docker.sock",
        f"{runtime}/podman/podman.sock",
        "/run/podman/podman.sock",
    )
    for place in places:
        if _is_socket(place):
            return place
    raise EngineError(
        f"No Docker or Podman engine found; looked at {', '.join(places)}.", hint=_HINT
    )


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


async def load_into_engine(
    images: Sequence[Image],
    engine: str | None = None,
    *,
    progress: Progress | None = None,
) -> list[str]:
    """Load images into an engine (see `Image.load`); what it calls them now."""
    from nbdock.transport import UnixSocket

    socket = find_engine(engine)
    members = await docker_archive_members(images)
    what = " and ".join(map(str, images))
    total = archive_size_bytes(members)

    async def body() -> AsyncIterator[bytes]:
        done = 0
        async for piece in in_order(archive_pieces(images[0].store, members)):
            done += len(piece)
            if progress:
                progress(f"Loading {what}", done, total)
            yield piece

    try:
        answer = await UnixSocket(socket).post("/images/load?quiet=1", body())
    except (ConnectionFailedError, HttpStatusError) as error:
        raise EngineError(
            f"The engine did not take {what}: {_reason(error)}", socket=socket
        ) from error
    names: list[str] = []
    for line in answer.splitlines():
        message = json.loads(line) if line.strip() else {}
        if "error" in message:
            raise EngineError(f"The engine did not take {what}: {message['error']}", socket=socket)
        names.append(str(message.get("stream", "")).strip())
    # Docker says them line by line, Podman with commas between.
    loaded = [n.partition(":")[2].split(",") for n in names if n.startswith("Loaded image")]
    return [name.strip() for line in loaded for name in line] or [str(image) for image in images]


async def import_into_engine(path: Path, reference: str, engine: str | None = None) -> str:
    """Make an image of a tar of a root file system, as ``docker import`` does; its ID."""
    from urllib.parse import urlencode

    from nbdock.transport import UnixSocket

    socket = find_engine(engine)
    target = "/images/create?" + urlencode({"fromSrc": "-", "repo": reference})
    try:
        with await in_worker(open, path, "rb") as file:
            pieces = iter(functools.partial(file.read, settings.current().io_buffer_bytes), b"")
            answer = await UnixSocket(socket).post(target, in_order(pieces))
    except (ConnectionFailedError, HttpStatusError) as error:
        raise EngineError(
            f"The engine did not take {reference}: {_reason(error)}", socket=socket
        ) from error
    made = reference
    for line in answer.splitlines():
        message = json.loads(line) if line.strip() else {}
        if "error" in message:
            raise EngineError(
                f"The engine did not take {reference}: {message['error']}", socket=socket
            )
        made = str(message.get("status") or made).strip()
    return made


def _reason(error: ConnectionFailedError | HttpStatusError) -> str:
    if isinstance(error, ConnectionFailedError):
        return error.message
    try:
        return str(json.loads(error.message)["message"])
    except (ValueError, KeyError, TypeError):
        return error.message


def _write_all(file: int, piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[os.write(file, rest) :]


async def export_from_engine(name: str, engine: str | None, file: int) -> None:
    """Write an engine's image to an open file, as ``docker save`` gives it.

    Raises
    ------
    ImageNotFoundError
        The engine has no such image.
    EngineError
        No engine answers.
    """
    from urllib.parse import quote

    from nbdock.transport import UnixSocket

    socket = find_engine(engine)
    try:
        async with UnixSocket(socket).stream(f"/images/{quote(name)}/get") as pieces:
            async for piece in pieces:
                await in_worker(_write_all, file, piece)
    except HttpStatusError as error:
        if error.status == 404:
            raise ImageNotFoundError(
                f"The engine at {socket} has no image {name!r}.",
                hint="`docker images` lists what it has.",
            ) from error
        raise EngineError(f"The engine did not give {name!r}: {_reason(error)}", socket=socket) \
            from error  # fmt: skip
    except ConnectionFailedError as error:
        raise EngineError(error.message, socket=socket) from error
    except asyncio.CancelledError:
        os.ftruncate(file, 0)
        raise
