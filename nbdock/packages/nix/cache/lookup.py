"""Looking store paths up in binary caches: many at a time, the best cache first, all verified.

What a cache over HTTP said of a path is remembered (in ``nbdock.sqlite``), as it was said: a store
path's content is made once. With it stands which keys were trusted then; where others are, the
signature is checked again, and what no longer satisfies is asked for anew. That a cache does not
have a path is not remembered, since it may have it a minute later. Directories are read each time.

    lookup = CacheLookup(caches, TrustedKeys(...))
    found = await lookup.closure([path])
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence

from nbdock import settings
from nbdock.concurrency import gather_limited, in_worker
from nbdock.errors import (
    BinaryCacheError,
    NbdockError,
    PackageNotFoundError,
    SignatureError,
    TransportError,
)
from nbdock.packages.memory import recall, remember
from nbdock.packages.nix.cache.binarycache import BinaryCache, CacheInfo, open_transport
from nbdock.packages.nix.cache.narinfo import NarInfo
from nbdock.packages.nix.cache.signatures import TrustedKeys
from nbdock.packages.nix.storepackage import PathInfo
from nbdock.packages.nix.storepath import StorePath
from nbdock.packages.package import Progress
from nbdock.transport import Transport

__all__ = ["CacheLookup", "Located", "forget_narinfos"]

_log = logging.getLogger("nbdock.nix")

_NARINFOS = "nix-narinfo"
_INFOS = "nix-cache-info"


@dataclasses.dataclass(frozen=True, slots=True)
class Located:
    """A store path and the cache that has it.

    Attributes
    ----------
    narinfo
        What the cache says, verified as far as can be without the NAR.
    cache
        The cache.
    is_signed
        Whether a trusted key vouches for the NAR's hash. If not, the path itself does, and its
        content is checked against it when it comes.
    """

    narinfo: NarInfo
    cache: BinaryCache
    is_signed: bool

    @property
    def info(self) -> PathInfo:
        """What any store would say of the path."""
        return self.narinfo.info


class CacheLookup:
    """Some binary caches, asked together.

    Guarantees: only what is verified is returned; answers do not depend on the order in which they
    arrive; at most `settings.nix_lookups` requests at a time.

    Parameters
    ----------
    caches
        Asked by their priorities, and among equals in this order.
    keys
        Whose signatures count.
    store_dir
        The directory of the store; caches of another are refused.
    """

    def __init__(self, caches: Sequence[BinaryCache], keys: TrustedKeys, *, store_dir: str) -> None:
        self.caches = tuple(caches)
        self.keys = keys
        self.store_dir = store_dir
        self._mark = keys.mark.encode()
        self._known: dict[StorePath, Located] = {}
        self._ordered: tuple[BinaryCache, ...] = ()

    async def closure(
        self, paths: Iterable[StorePath], *, progress: Progress | None = None
    ) -> dict[StorePath, Located]:
        """The paths with all that they refer to, directly or not.

        Parameters
        ----------
        progress
            Told ("Looking up packages", paths found, 0) as it goes on.

        Raises
        ------
        PackageNotFoundError
            No cache has one of them; the message says what needs it.
        SignatureError, BinaryCacheError, TransportError
            See `find`.
        """
        limit = settings.current().nix_closure_limit
        found: dict[StorePath, Located] = {}
        needed_by: dict[StorePath, StorePath | None] = dict.fromkeys(paths)
        async with _Connections() as connections:
            while needed_by:
                try:
                    found.update(await self._find(needed_by, connections))
                except PackageNotFoundError as error:
                    _blame(error, needed_by)
                    raise
                if progress is not None:
                    progress("Looking up packages", len(found), 0)
                needed_by = {
                    reference: path
                    for path in needed_by
                    for reference in found[path].info.references
                    if reference not in found
                }
                if len(found) + len(needed_by) > limit:
                    raise BinaryCacheError(
                        f"A closure has more than {limit:,} store paths.",
                        hint="The longest is the setting nix_closure_limit.",
                    )
        return found

    async def find(self, paths: Iterable[StorePath]) -> dict[StorePath, Located]:
        """Where the paths are, and what is said of them.

        Raises
        ------
        PackageNotFoundError
            No cache has one of them.
        SignatureError
            A path is in a cache, but nobody who is trusted vouches for it.
        BinaryCacheError
            What a cache says cannot be true.
        TransportError
            A cache that might have had a path cannot be reached.
        """
        async with _Connections() as connections:
            return await self._find(paths, connections)

    async def _find(
        self, paths: Iterable[StorePath], connections: _Connections
    ) -> dict[StorePath, Located]:
        paths = list(dict.fromkeys(paths))
        unknown = [path for path in paths if path not in self._known]
        if unknown:
            self._known.update(await in_worker(self._remembered, unknown))
            unknown = [path for path in unknown if path not in self._known]
        if unknown:
            await self._ask(unknown, connections)
        return {path: self._known[path] for path in paths}

    # What was said before

    def _remembered(self, paths: Sequence[StorePath]) -> dict[StorePath, Located]:
        found: dict[StorePath, Located] = {}
        for cache in self._ordered or self.caches:
            keys = {} if cache.directory else {_key(cache, p): p for p in paths if p not in found}
            for key, text in recall(_NARINFOS, keys).items():
                mark, _, said = text.partition(b"\n")
                try:
                    found[keys[key]] = self._verified(cache, said, keys[key], mark=mark)
                except (BinaryCacheError, SignatureError):
                    # Another key is trusted now, or it was told to be forgotten: ask again.
                    continue
        return found

    def _verified(
        self, cache: BinaryCache, text: bytes, path: StorePath, *, mark: bytes = b""
    ) -> Located:
        narinfo = cache.read_narinfo(text, path)
        # Checking a signature takes twice as long as all the rest.
        is_signed = mark == self._mark or self.keys.vouch(narinfo.info, cache=cache.shown)
        return Located(narinfo, cache, is_signed)

    # Asking

    async def _ask(self, paths: Sequence[StorePath], connections: _Connections) -> None:
        """Ask the caches, one after the other for each path, for many paths at once."""
        heard: dict[str, bytes] = {}
        transports = await connections.open()
        if not connections.order:
            connections.order = await self._by_priority(transports[0], connections.down)
            self._ordered = connections.order
        try:
            await gather_limited(
                [
                    functools.partial(self._ask_for, path, transport, connections, heard)
                    for path, transport in zip(paths, itertools.cycle(transports), strict=False)
                ],
                connections.limit,
            )
        finally:
            # Also when one of them failed: the others need not be asked for again.
            if heard:
                await in_worker(remember, _NARINFOS, heard)

    async def _ask_for(
        self,
        path: StorePath,
        transport: Transport,
        connections: _Connections,
        heard: dict[str, bytes],
    ) -> None:
        failure: NbdockError | None = None
        for cache in connections.order:
            if cache in connections.down:
                failure = failure or connections.down[cache]
                continue
            try:
                text = await cache.narinfo_text(transport, path)
                if text is None:
                    continue
                self._known[path] = located = self._verified(cache, text, path)
            except (BinaryCacheError, SignatureError, TransportError) as error:
                failure = failure or error
                if isinstance(error, TransportError) and len(self.caches) > 1:
                    _log.warning("%s is not asked any more: %s", cache.shown, error)
                    connections.down[cache] = error
                continue
            if not cache.directory:
                heard[_key(cache, path)] = (self._mark if located.is_signed else b"") + b"\n" + text
            return
        if failure is not None:
            raise failure
        names = ", ".join(cache.shown for cache in self.caches) or "none are configured"
        raise PackageNotFoundError(
            f"No binary cache has {path} (asked: {names}).",
            package=str(path),
            hint="It was never built there, or has been deleted. Name a cache that has it: "
            "nixpkgs(cache=...).",
        )

    async def _by_priority(
        self, transport: Transport, down: dict[BinaryCache, TransportError]
    ) -> tuple[BinaryCache, ...]:
        order: dict[BinaryCache, int] = {}
        for cache in self.caches:
            try:
                info = await _cache_info(cache, transport)
            except TransportError as error:
                if len(self.caches) == 1:
                    raise
                _log.warning("%s is not asked: %s", cache.shown, error)
                down[cache] = error
                info = CacheInfo(self.store_dir)
            if info.store_dir != self.store_dir:
                raise BinaryCacheError(
                    f"The binary cache {cache.shown} is for the store {info.store_dir}, "
                    f"not {self.store_dir}.",
                    cache=cache.shown,
                    hint="Programs from it would look for their libraries there.",
                )
            order[cache] = info.priority if cache.priority is None else cache.priority
        return tuple(sorted(self.caches, key=lambda cache: order[cache]))


class _Connections(contextlib.AsyncExitStack):
    """The connections of one lookup, opened when there is something to ask.

    Attributes
    ----------
    order
        The caches, the best first.
    down
        Those that could not be reached, which are not asked again in this lookup.

    The connections are in several pools: in one of httpx's, what a request costs grows with the
    square of the connections (measured: 1.6 ms with 6 of them, 4.4 ms with 24).
    """

    _AT_MOST = 6

    def __init__(self) -> None:
        super().__init__()
        self.limit = settings.current().nix_lookups
        self.order: tuple[BinaryCache, ...] = ()
        self.down: dict[BinaryCache, TransportError] = {}
        self._transports: list[Transport] = []

    async def open(self) -> Sequence[Transport]:
        left = 0 if self._transports else self.limit
        while left > 0:
            transport = open_transport(connections=min(left, self._AT_MOST))
            self._transports.append(await self.enter_async_context(transport))
            left -= self._AT_MOST
        return self._transports


def _blame(error: PackageNotFoundError, needed_by: Mapping[StorePath, StorePath | None]) -> None:
    for path, parent in needed_by.items():
        if str(path) == error.package and parent is not None:
            error.message = f"{error.message.removesuffix('.')}, which {parent} needs."


async def _cache_info(cache: BinaryCache, transport: Transport) -> CacheInfo:
    """What a cache says of itself, asked for when what is remembered is old."""
    if cache.directory:
        return await cache.info(transport)
    known = (await in_worker(recall, _INFOS, [cache.key])).get(cache.key)
    old: CacheInfo | None = None
    try:
        if known is not None:
            said_s, *values = json.loads(known)
            old = CacheInfo(*values)
            if 0 <= time.time() - said_s < settings.current().nix_channel_max_age_s:
                return old
    except (ValueError, TypeError):
        pass  # another version wrote it
    try:
        info = await cache.info(transport)
    except TransportError as error:
        if old is None:
            raise
        _log.warning("%s cannot be asked; using what it said before. %s", cache.shown, error)
        return old
    text = json.dumps([time.time(), *dataclasses.astuple(info)])
    await in_worker(remember, _INFOS, {cache.key: text.encode()})
    return info


def forget_narinfos(located: Iterable[Located]) -> None:
    """Ask anew the next time: what was said of these did not come true."""
    remember(_NARINFOS, {_key(one.cache, one.info.path): b"" for one in located})


def _key(cache: BinaryCache, path: StorePath) -> str:
    return f"{cache.key}:{path.hash_part}"
