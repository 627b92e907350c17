"""The registries and mirrors that one operation talks to, each opened when it is first needed."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from nbdock import settings
from nbdock.errors import (
    DigestMismatchError,
    InvalidManifestError,
    RegistryError,
    SizeMismatchError,
    TransportError,
)
from nbdock.oci import Reference
from nbdock.registry.answers import Warnings, is_missing
from nbdock.registry.credentials import Credentials
from nbdock.registry.destinations import Destinations
from nbdock.registry.host import RegistryHost
from nbdock.registry.mirrors import Mirror, mirrors_of
from nbdock.registry.repository import Repository
from nbdock.registry.trust import Trust

__all__ = ["Hosts"]

T = TypeVar("T")

_log = logging.getLogger(__name__)
# What a mirror may do wrong without the pull failing for it.
_MIRROR_FAULTS = (
    RegistryError, TransportError, InvalidManifestError, DigestMismatchError, SizeMismatchError,
)  # fmt: skip


class MakeTrust(Protocol):
    """Gives what is believed of a registry."""

    def __call__(self, registry: str, *, insecure: bool | None = ...) -> Trust:
        """What to believe; `insecure` overrides what the caller said."""
        ...


class Hosts:
    """Opens registries by their names, and closes them all together."""

    def __init__(
        self,
        credentials: Credentials,
        trust: MakeTrust,
        *,
        mirrors: Mapping[str, Sequence[str]] | None,
        places: Callable[[str], Destinations] | None,
    ) -> None:
        self.warnings = Warnings()
        self._credentials = credentials
        self._trust = trust
        self._mirrors = mirrors
        self._places = places
        self._open: dict[tuple[str, bool], RegistryHost] = {}
        self._owned = contextlib.AsyncExitStack()

    async def close(self) -> None:
        """Close all connections."""
        self._open.clear()
        await self._owned.aclose()

    async def repository(self, reference: Reference) -> Repository:
        """A reference's repository in the registry itself."""
        host = await self._host(reference.registry)
        return Repository(host, reference.repository, reference.name)

    async def first(
        self, reference: Reference, ask: Callable[[Repository], Awaitable[T]],
        *, may_miss: bool = False,
    ) -> T:  # fmt: skip
        """Ask the mirrors, in their order, and the registry itself if none of them answers well.

        Parameters
        ----------
        may_miss
            Whether a mirror's word that there is no such thing counts where the registry itself
            cannot be asked.
        """
        said: list[str] = []
        unknown: RegistryError | None = None
        for mirror in self._mirrors_of(reference.registry):
            try:
                host = await self._host(mirror.registry, mirror)
                path = mirror.repository(reference.repository)
                return await ask(Repository(host, path, reference.name))
            except _MIRROR_FAULTS as error:
                _log.info("The mirror %s of %s: %s", mirror.registry, reference.registry, error)
                said.append(f"Its mirror {mirror.registry} said: {error.message}")
                if (
                    may_miss
                    and unknown is None
                    and isinstance(error, RegistryError)
                    and is_missing(error)
                ):
                    unknown = error
        try:
            return await ask(await self.repository(reference))
        except (RegistryError, TransportError) as error:
            if unknown is not None and isinstance(error, TransportError):
                # A network with a mirror is often one without a way to the registry.
                unknown.hint = f"{reference.registry} itself could not be asked: {error.message}"
                raise unknown from error
            error.hint = " ".join([*filter(None, [error.hint]), *said]) or None
            raise

    def _mirrors_of(self, registry: str) -> tuple[Mirror, ...]:
        if self._mirrors is None:
            return mirrors_of(registry, settings.current().registry_mirrors)
        return tuple(Mirror.parse(text) for text in self._mirrors.get(registry, ()))

    async def _host(self, name: str, mirror: Mirror | None = None) -> RegistryHost:
        # A registry is another one as a mirror: a login that was given is not for it.
        key = name, mirror is not None
        host = self._open.get(key)
        if host is None:
            is_http = mirror is not None and mirror.is_http
            host = self._open[key] = RegistryHost(
                name,
                credentials=self._credentials,
                trust=self._trust(name, insecure=True) if is_http else self._trust(name),
                warnings=self.warnings,
                is_mirror=mirror is not None,
                places=self._places,
            )
            await self._owned.enter_async_context(host)
        return host
