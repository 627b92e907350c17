"""The files in which Docker and Podman keep logins: ``config.json`` and ``auth.json``.

Both are one JSON object. ``auths`` has logins by place: a registry, or (Podman's) a part of one
such as ``quay.io/team``; the longest that fits wins. ``credHelpers`` names a helper program by
place, ``credsStore`` one for every registry.

Docker writes places as URLs, and Docker Hub's as the URL of an API that is long gone:

    >>> place_of("https://index.docker.io/v1/"), place_of("https://ghcr.io"), place_of("quay.io/a")
    ('docker.io', 'ghcr.io', 'quay.io/a')
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import os
from collections.abc import Iterator, Mapping

from nbdock.errors import InvalidManifestError
from nbdock.oci import load_json

__all__ = ["DOCKER_HUB", "AuthFile", "Found", "Login", "place_of", "places_for", "read_auth_file"]

DOCKER_HUB = "docker.io"
HUB_KEY = "https://index.docker.io/v1/"
_HUB_NAMES = ("docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")
_FILE_LIMIT_BYTES = 4 << 20
_IDENTITY_USER = "<token>"


@dataclasses.dataclass(frozen=True, slots=True)
class Login:
    """Who to be at a registry.

    Attributes
    ----------
    user, password
        For basic authentication, at the registry or its token server.
    identity_token
        To be exchanged for tokens (OAuth 2's refresh token) instead of a password.
    registry_token
        A token to use as it is.
    source
        Where it comes from, for errors.
    """

    user: str = ""
    password: str = dataclasses.field(default="", repr=False)
    identity_token: str = dataclasses.field(default="", repr=False)
    registry_token: str = dataclasses.field(default="", repr=False)
    source: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """The result of looking for a login: one or none, and what did not work on the way."""

    login: Login | None
    problems: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class AuthFile:
    """What one file says; empty if it is not there."""

    path: str
    logins: Mapping[str, Login] = dataclasses.field(default_factory=dict)
    helpers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Names of helpers by place, and the place as the file writes it."""
    store: str = ""
    problem: str = ""

    def login_for(self, registry: str, repository: str) -> Login | None:
        """The login that stands in the file."""
        return next(
            (self.logins[p] for p in places_for(registry, repository) if p in self.logins), None
        )

    def helper_for(self, registry: str, repository: str) -> tuple[str, str] | None:
        """The name of the helper to ask, and the server to ask it about."""
        for place in places_for(registry, repository):
            if place in self.helpers:
                return self.helpers[place], _server(place)
        return (self.store, _server(registry)) if self.store else None


def place_of(key: str) -> str:
    """What a key of ``auths`` stands for: a registry, perhaps with the beginning of a path."""
    place = key.strip()
    has_scheme = "://" in place
    if has_scheme:
        place = place.partition("://")[2]
    host, _, path = place.partition("/")
    path = path.strip("/")
    host = host.lower()
    if host in _HUB_NAMES:
        host = DOCKER_HUB
    # The versions of Docker's API, which it writes behind a registry's name.
    if path in {"v1", "v2"}:
        path = ""
    return f"{host}/{path}" if path else host


def places_for(registry: str, repository: str) -> Iterator[str]:
    """What a login for a repository may stand under, the most particular first.

    >>> list(places_for("quay.io", "a/b"))
    ['quay.io/a/b', 'quay.io/a', 'quay.io']
    """
    place = f"{place_of(registry)}/{repository}".rstrip("/")
    while place:
        yield place
        place = place.rpartition("/")[0]


def _server(place: str) -> str:
    """What a helper calls a registry."""
    return HUB_KEY if place == DOCKER_HUB else place


def read_auth_file(path: str) -> AuthFile:
    """Read a file; what is wrong with it stands in `problem`."""
    try:
        # Not to wait for a pipe's writer.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            data = file.read(_FILE_LIMIT_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return AuthFile(path)
    except OSError as error:
        return AuthFile(path, problem=f"{path} cannot be read ({error.strerror}).")
    if len(data) > _FILE_LIMIT_BYTES:
        return AuthFile(path, problem=f"{path} is too large to be a file of logins.")
    try:
        return _parsed(path, data) if data.strip() else AuthFile(path)
    except InvalidManifestError as error:
        return AuthFile(path, problem=f"{error.message.rstrip('.')}.")


def _parsed(path: str, data: bytes) -> AuthFile:
    fields = load_json(data, f"a file of logins ({path})").fields()
    auths, helpers = fields.get("auths"), fields.get("credHelpers")
    logins: dict[str, Login] = {}
    problem = ""
    for key, node in auths.items() if auths else ():
        entry = node.value or {}
        try:
            login = _login({k: v for k, v in entry.items() if isinstance(v, str)}, path)
        except AttributeError:
            problem = f"The login for {key} in {path} is no object."
            continue
        except ValueError as error:
            problem = f"The login for {key} in {path} {error}."
            continue
        if login is not None:
            # Of two keys for one place the plain one counts, else the first.
            place = place_of(key)
            if place not in logins or key == place:
                logins[place] = login
    return AuthFile(
        path,
        logins,
        {place_of(key): node.string() for key, node in (helpers.items() if helpers else ())},
        fields.text("credsStore"),
        problem,
    )


def _login(entry: Mapping[str, str], path: str) -> Login | None:
    """The login of an entry of ``auths``; None if it is empty, as beside a ``credsStore``."""
    user, password = entry.get("username", ""), entry.get("password", "")
    if entry.get("auth"):
        try:
            text = base64.b64decode(entry["auth"], validate=True).decode()
        except (binascii.Error, ValueError):
            raise ValueError("is not base64") from None
        user, colon, password = text.partition(":")
        if not colon:
            raise ValueError("has no colon between user and password")
        password = password.rstrip("\0")
    identity = entry.get("identitytoken", "")
    if user == _IDENTITY_USER and not identity:
        identity, password = password, ""
    token = entry.get("registrytoken", "")
    if not (user or identity or token):
        return None
    return Login(user, password, identity, token, source=path)
