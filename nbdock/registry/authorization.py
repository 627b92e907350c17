"""The ``Authorization`` of one registry's requests: none, a login, or tokens from its token server.

A registry that wants more than it got answers 401 with a challenge. What it asks for is then
remembered for the registry, so that only the first request of an operation is refused:

- *basic*: the login is sent to the registry itself.
- *bearer*: the realm, a URL, gives a token for some scopes, to the login or to anybody. A token is
  kept until it expires; by the specification it lives for 60 seconds if nothing else is said, and
  never for less.

The realm is the registry's choice, so it is judged before anything is sent there (see
`nbdock.registry.destinations`), and a redirect takes neither login nor identity token along.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
import time
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from nbdock.errors import (
    AuthenticationError,
    ConnectionFailedError,
    InvalidManifestError,
    RegistryError,
)
from nbdock.oci import load_json
from nbdock.registry.answers import refusal
from nbdock.registry.authfiles import Found
from nbdock.registry.challenges import Challenge, parse
from nbdock.registry.credentials import Credentials
from nbdock.registry.destinations import Destinations
from nbdock.registry.scopes import Access
from nbdock.transport import Transport, basic_authorization, redacted

__all__ = ["Authorization"]

_CLIENT_ID = "nbdock"
_LIFE_S = 60.0
_LONGEST_S = 24 * 3600.0
_TOKEN = re.compile(r"[\x21-\x7e]+")
_SCOPE = re.compile(r"[a-z]+(?:\([a-z]+\))?:[\x21\x23-\x5b\x5d-\x7e]{1,300}:[a-z*,]{1,100}")
_SCOPES_LIMIT = 20
_MARGIN_S = 5.0


@dataclasses.dataclass(slots=True)
class _Token:
    text: str = dataclasses.field(repr=False)
    expires_s: float
    uses: int = 0


class Authorization:
    """What one registry, or one mirror of it, is authorized with.

    Parameters
    ----------
    registry
        Its name, as in a reference.
    transport
        What token servers are asked with.
    destinations
        Judges where they are.
    base
        Gives the URL of the registry's root.
    clock_s
        Seconds; a test gives its own.
    """

    def __init__(
        self,
        registry: str,
        *,
        credentials: Credentials,
        transport: Transport,
        destinations: Destinations,
        base: Callable[[], str],
        is_mirror: bool = False,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registry = registry
        self._credentials = credentials
        self._transport = transport
        self._destinations = destinations
        self._base = base
        self._is_mirror = is_mirror
        self._clock_s = clock_s
        self._challenge: Challenge | None = None
        self._tokens: dict[Access, _Token] = {}
        self._more_scopes: dict[Access, frozenset[str]] = {}
        self._locks: dict[Access, asyncio.Lock] = {}
        self._logins: dict[str, Found] = {}

    async def header(self, access: Access) -> str | None:
        """The header for requests that need `access`; None before there was a challenge.

        Raises
        ------
        AuthenticationError
            The token server wants a login, or refuses it.
        UnsafeDestinationError
            The token server is at a place that the registry has no business with.
        RegistryError, TransportError
            The token server fails.
        """
        challenge = self._challenge
        if challenge is None:
            return None
        if challenge.scheme == "basic":
            login = (await self._login(access)).login
            # An identity token is no password.
            return basic_authorization(login.user, login.password) if login and login.user else None
        # One request for a token, however many blobs wait for it.
        async with self._locks.setdefault(access, asyncio.Lock()):
            token = self._tokens.get(access)
            if token is None or token.expires_s <= self._clock_s():
                token = self._tokens[access] = await self._fetch(challenge, access)
            token.uses += 1
            return f"Bearer {token.text}"

    async def challenged(self, challenge: str, access: Access, used: str | None) -> bool:
        """Take in a refusal's ``WWW-Authenticate``; whether it makes sense to ask again."""
        found = _best(parse(challenge))
        is_news = used is None
        if found is not None:
            is_news = is_news or self._challenge is None or found.scheme != self._challenge.scheme
            self._challenge = found
            is_news = self._wants_more(found, access) or is_news
        if self._challenge is None:
            return False
        if self._challenge.scheme == "basic":
            login = (await self._login(access)).login
            return is_news and login is not None and bool(login.user)
        token = self._tokens.get(access)
        if token is not None and used == f"Bearer {token.text}":
            # Refused at its first use, a new one would be refused as well.
            is_news = is_news or token.uses > 1
            del self._tokens[access]
        elif token is not None:
            # Another task got a new one meanwhile.
            is_news = True
        return is_news

    def _wants_more(self, challenge: Challenge, access: Access) -> bool:
        """Note the scopes that a token lacked, by the server's word; whether they are new."""
        if challenge.parameters.get("error") != "insufficient_scope":
            return False
        wanted = [
            s for s in challenge.parameters.get("scope", "").split(" ") if _SCOPE.fullmatch(s)
        ]
        more = frozenset(wanted[:_SCOPES_LIMIT]) - access.scopes
        is_new = not more <= self._more_scopes.get(access, frozenset())
        self._more_scopes[access] = more
        return is_new

    def login_hint(self, access: Access) -> str:
        """Which login was used, or why there was none, as a sentence for errors."""
        found = self._logins.get(access.repository)
        if found is None:
            return "The repository may not exist, or need a login."
        if found.login is not None:
            user = f" of {found.login.user!r}" if found.login.user else ""
            return f"The login{user} from {found.login.source} was used."
        hint = f"There is no login for {self.registry}: docker login {self.registry}, or "
        hint += "podman login, makes one. Without one, a repository that does not exist is "
        hint += "refused like this too."
        return " ".join([*found.problems, hint])

    async def _login(self, access: Access) -> Found:
        found = await self._credentials.find(
            self.registry, access.repository, is_mirror=self._is_mirror
        )
        self._logins[access.repository] = found
        return found

    async def _fetch(self, challenge: Challenge, access: Access) -> _Token:
        """Ask the token server."""
        login = (await self._login(access)).login
        if login is not None and login.registry_token:
            return _Token(_checked(login.registry_token, self.registry), float("inf"))
        realm = challenge.parameters.get("realm", "")
        self._destinations.check_secret(realm, self._base())
        scopes = sorted(access.scopes | self._more_scopes.get(access, frozenset()))
        service = challenge.parameters.get("service", "")
        if login is not None and login.identity_token:
            form = {
                "grant_type": "refresh_token",
                "service": service,
                "client_id": _CLIENT_ID,
                "scope": " ".join(scopes),
                "refresh_token": login.identity_token,
            }
            body = await self._ask("POST", realm, access, urlencode(form).encode())
        else:
            asked = [("service", service)] if service else []
            asked += [("scope", scope) for scope in scopes]
            headers = {}
            if login is not None:
                asked.append(("account", login.user))
                headers["Authorization"] = basic_authorization(login.user, login.password)
            body = await self._ask("GET", _with_query(realm, asked), access, None, headers)
        return self._parsed(body, redacted(realm))

    async def _ask(
        self, method: str, url: str, access: Access, form: bytes | None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:  # fmt: skip
        """A token server's answer."""
        transport, limit_bytes = self._transport, self._transport.limits.registry_token_limit_bytes
        own = dict(headers or {})
        if form is not None:
            own["Content-Type"] = "application/x-www-form-urlencoded"
        attempts = transport.attempts(url)
        while True:
            try:
                # A redirected form would take the identity token to another host.
                async with transport.stream(
                    method, url, headers=own, content=form, attempts=attempts, follow=form is None
                ) as response:
                    if response.status != 200:
                        what = f"a token for {self.registry}"
                        raise await refusal(
                            response, what, kind=AuthenticationError, login=self.login_hint(access)
                        )
                    return await response.read(limit_bytes)
            except ConnectionFailedError as error:
                # Asking for a token twice gives two tokens and does nothing else.
                attempts.broke(error)

    def _parsed(self, body: bytes, shown: str) -> _Token:
        try:
            fields = load_json(body, "the answer of a token server").fields()
            # An empty one and null count as absent.
            text = fields.text("token") or fields.text("access_token")
            life = fields.get("expires_in")
            life_s = _seconds(life.value) if life else _LIFE_S
        except InvalidManifestError as error:
            # Not quoted, and no cause: it may hold a token.
            raise RegistryError(
                f"{shown} did not answer with a token: at {error.path}, it is not what the "
                "specification says.",
                url=shown,
            ) from None
        if not text:
            raise RegistryError(f"{shown} answered without a token.", url=shown)
        return _Token(_checked(text, shown), self._clock_s() + life_s - _MARGIN_S)


def _best(challenges: tuple[Challenge, ...]) -> Challenge | None:
    """The challenge to answer: a token's if there is one, for it can do less than a login."""
    for scheme in ("bearer", "basic"):
        for challenge in challenges:
            if challenge.scheme == scheme and (
                scheme == "basic" or "realm" in challenge.parameters
            ):
                return challenge
    return None


def _seconds(value: object) -> float:
    """How long a token lives; servers write it as a number or as its text."""
    try:
        return min(max(float(str(value)), _LIFE_S), _LONGEST_S)
    except ValueError:
        return _LIFE_S


def _checked(token: str, source: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise RegistryError(
            f"The token from {source} has characters that a header cannot hold.", url=source
        )
    return token


def _with_query(url: str, asked: list[tuple[str, str]]) -> str:
    """`url` with more in its query; what stands there already stays, but the specification's."""
    parts = urlsplit(url)
    own = [(k, v) for k, v in parse_qsl(parts.query, keep_blank_values=True)
           if k not in {"scope", "service", "account"}]  # fmt: skip
    return urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(own + asked), ""))
