"""Where logins come from: given ones, and the files that Docker and Podman keep.

    Credentials.default()                                  # the files, as Podman and skopeo look
    Credentials("me", "secret", registry="ghcr.io")        # one login, for this registry only
    Credentials.none()                                     # none at all

The files, in the order in which they are asked; the first that has a login for a registry wins:

1. ``$REGISTRY_AUTH_FILE`` (then none of 2 and 3),
2. ``$XDG_RUNTIME_DIR/containers/auth.json``, else ``/run/containers/<uid>/auth.json``,
3. ``$XDG_CONFIG_HOME/containers/auth.json`` (default ``~/.config``),
4. ``$DOCKER_CONFIG/config.json`` (default ``~/.docker``).

Nothing is read, and no credential helper is run, before a registry asks for a login. A file or a
helper that does not work is no error by itself: the registry may do without a login. If it does
not, the error says what did not work.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from weakref import WeakKeyDictionary

from nbdock.concurrency import in_worker
from nbdock.registry.authfiles import AuthFile, Found, Login, read_auth_file
from nbdock.registry.helpers import ask_helper

__all__ = ["Credentials", "Login"]


class Credentials:
    """Logins for registries.

    Parameters
    ----------
    user, password
        A login. Without them: the files.
    registry
        The registry that the login is for, as in a reference. Default: any that a reference
        names, but no mirror of one.
    files
        Read these files only, the first first.
    """

    def __init__(
        self,
        user: str | None = None,
        password: str | None = None,
        *,
        registry: str | None = None,
        files: Iterable[str | os.PathLike[str]] | None = None,
    ) -> None:
        self._given: Login | None = None
        if user is not None:
            self._given = Login(user, password or "", source="the login that was given")
        self._registry = registry
        self._paths = None if files is None else tuple(os.fspath(file) for file in files)
        self._files: tuple[AuthFile, ...] | None = None
        self._found: dict[tuple[str, str], Found] = {}
        # A lock belongs to one event loop; a notebook has its own and nbdock's.
        self._looking: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = (
            WeakKeyDictionary()
        )

    @classmethod
    def default(cls) -> Credentials:
        """The files of this user."""
        return cls()

    @classmethod
    def none(cls) -> Credentials:
        """No logins: everything is asked for anonymously."""
        return cls(files=())

    def __repr__(self) -> str:
        # Never the password: representations end in notebooks.
        if self._given is not None:
            return f"<Credentials of {self._given.user!r} for {self._registry or 'any registry'}>"
        if self._paths is not None:
            return f"<Credentials from {', '.join(self._paths) or 'nowhere'}>"
        return "<Credentials from the files of Podman and Docker>"

    async def find(self, registry: str, repository: str, *, is_mirror: bool = False) -> Found:
        """The login for a repository, or why there is none.

        Parameters
        ----------
        registry, repository
            As in a reference: ``docker.io``, ``library/redis``.
        is_mirror
            Whether the registry is not the one that was named, but stands in for it.
        """
        if self._given is not None:
            if registry == self._registry or (self._registry is None and not is_mirror):
                return Found(self._given)
            return Found(None)
        # One after the other: helpers may ask their user.
        async with self._looking.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            key = registry, repository
            if key not in self._found:
                self._found[key] = await self._look(registry, repository)
            return self._found[key]

    async def _look(self, registry: str, repository: str) -> Found:
        if self._files is None:
            paths = auth_paths(os.environ) if self._paths is None else self._paths
            self._files = tuple(await in_worker(lambda: [read_auth_file(p) for p in paths]))
        problems: list[str] = []
        for file in self._files:
            if file.problem:
                problems.append(file.problem)
            helper = file.helper_for(registry, repository)
            if helper is not None:
                found = await ask_helper(*helper, source=file.path)
                if found.login is not None:
                    return found
                problems += found.problems
            login = file.login_for(registry, repository)
            if login is not None:
                return Found(login, tuple(problems))
        return Found(None, tuple(problems))


def auth_paths(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The files of a user with this environment, the first first."""
    home = environment.get("HOME") or os.path.expanduser("~")
    docker = environment.get("DOCKER_CONFIG") or os.path.join(home, ".docker")
    docker_file = os.path.join(docker, "config.json")
    named = environment.get("REGISTRY_AUTH_FILE")
    if named:
        return named, docker_file
    runtime = environment.get("XDG_RUNTIME_DIR") or f"/run/containers/{os.getuid()}"
    inner = "containers/auth.json"
    config = environment.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    # The default of Podman without XDG_RUNTIME_DIR has no "containers" of its own below it.
    first = os.path.join(runtime, inner if environment.get("XDG_RUNTIME_DIR") else "auth.json")
    return first, os.path.join(config, inner), docker_file
