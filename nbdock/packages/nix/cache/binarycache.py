"""A binary cache of Nix: store paths that somebody built, behind a URL or in a directory.

A cache has a file ``nix-cache-info``, a narinfo for each store path, and the NARs. Any server of
plain files will do; so does a directory, such as ``nix copy --to file:///srv/cache`` fills.

>>> BinaryCache.parse("https://me:secret@cache.example.org/team/?priority=10")
<BinaryCache https://cache.example.org/team>
>>> BinaryCache.parse("/srv/cache").directory
'/srv/cache'
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import netrc
import os
import re
from collections.abc import Mapping
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

from nbdock import settings
from nbdock.concurrency import in_worker
from nbdock.errors import ArgumentTypeError, BinaryCacheError, HttpStatusError
from nbdock.packages.nix.cache.narinfo import NarInfo, parse_narinfo
from nbdock.packages.nix.storepath import STORE_DIR, StorePath
from nbdock.transport import Transport, basic_authorization, redacted

__all__ = ["BinaryCache", "CacheInfo", "open_transport"]

_log = logging.getLogger("nbdock.nix")

_INFO_LIMIT_BYTES = 1 << 16
_PRIORITY = 50  # what Nix assumes of a cache that does not say
# Answers that mean "not here": some stores refuse instead of saying that a file is missing.
_ABSENT = frozenset({403, 404, 410})


@dataclasses.dataclass(frozen=True, slots=True)
class CacheInfo:
    """What a cache says of itself: its ``nix-cache-info``.

    Attributes
    ----------
    store_dir
        The directory of the store that its paths are for.
    priority
        Which of several caches is asked first: the one with the least.
    """

    store_dir: str = STORE_DIR
    priority: int = _PRIORITY

    @classmethod
    def parse(cls, text: bytes, *, cache: str) -> CacheInfo:
        """The values in a ``nix-cache-info``.

        Raises
        ------
        BinaryCacheError
            It is something else.
        """
        fields: dict[str, str] = {}
        for line in text.decode("ascii", "replace").splitlines():
            name, colon, value = line.partition(":")
            if colon:
                fields.setdefault(name.strip(), value.strip())
        store_dir, priority = fields.get("StoreDir", ""), fields.get("Priority", str(_PRIORITY))
        if not store_dir.startswith("/") or not re.fullmatch(r"-?[0-9]{1,9}", priority):
            raise BinaryCacheError(
                f"{cache} is no binary cache: its nix-cache-info is something else.",
                cache=cache,
                hint="Check the address: nix-cache-info stands directly below it.",
            )
        return cls(store_dir.rstrip("/"), int(priority))


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class BinaryCache:
    """Where a cache is.

    Attributes
    ----------
    url
        Its URL without a slash at the end, with a login if one is in it; empty for a directory.
    directory
        Its path if it is a directory here; else empty.
    priority
        What the caller said (``?priority=10``), which wins over what the cache says.
    """

    url: str
    directory: str = ""
    priority: int | None = None

    @classmethod
    def parse(cls, text: str | os.PathLike[str]) -> BinaryCache:
        """The cache at a URL (https, http, file) or path.

        Raises
        ------
        ArgumentTypeError
            It is neither.
        """
        text = os.fspath(text).strip()
        if "://" not in text:
            if not text:
                raise ArgumentTypeError("A binary cache has an empty address.", argument="cache")
            return cls("", os.path.abspath(os.path.expanduser(text)))
        parts = urlsplit(text)
        said = parse_qs(parts.query)
        number = said.get("priority", [""])[0]
        priority = int(number) if re.fullmatch(r"-?[0-9]{1,9}", number) else None
        if parts.scheme == "file" and parts.netloc in {"", "localhost"}:
            return cls("", os.path.abspath(unquote(parts.path)), priority)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ArgumentTypeError(
                f"{redacted(text)!r} is no binary cache that nbdock can read.",
                argument="cache",
                hint="Give an https, http or file URL, or the path of a directory.",
            )
        return cls(urlunsplit(parts._replace(query="", fragment="")).rstrip("/"), "", priority)

    @property
    def shown(self) -> str:
        """Its address for people, without a login."""
        return self.directory or redacted(self.url)

    @property
    def key(self) -> str:
        """What tells its narinfos from other caches' where they are remembered."""
        return hashlib.sha256(self.shown.encode("utf-8", "surrogateescape")).hexdigest()[:16]

    def __repr__(self) -> str:
        return f"<BinaryCache {self.shown}>"

    async def info(self, transport: Transport) -> CacheInfo:
        """What it says of itself.

        Raises
        ------
        BinaryCacheError
            It is no binary cache, or for another store directory than ours.
        TransportError
            It cannot be reached.
        """
        text = await self._file(transport, "nix-cache-info", _INFO_LIMIT_BYTES)
        if text is None:
            raise BinaryCacheError(
                f"{self.shown} is no binary cache: it has no nix-cache-info.",
                cache=self.shown,
                hint="Check the address: nix-cache-info stands directly below it.",
            )
        return CacheInfo.parse(text, cache=self.shown)

    async def narinfo_text(self, transport: Transport, path: StorePath) -> bytes | None:
        """What it says of a store path, unread; None if it does not have it."""
        limit = settings.current().nix_narinfo_limit_bytes
        return await self._file(transport, f"{path.hash_part}.narinfo", limit)

    def read_narinfo(self, text: bytes, path: StorePath) -> NarInfo:
        """See `parse_narinfo`."""
        return parse_narinfo(text, path, cache=self.shown)

    def nar_address(self, narinfo: NarInfo) -> str:
        """The URL of a NAR, or for a directory its path."""
        if self.directory:
            return os.path.join(self.directory, unquote(narinfo.url.partition("?")[0]))
        return f"{self.url}/{narinfo.url}"

    async def _file(self, transport: Transport, name: str, limit_bytes: int) -> bytes | None:
        if self.directory:
            return await in_worker(self._local_file, name, limit_bytes)
        url = f"{self.url}/{name}"
        try:
            return await transport.get_bytes(url, limit_bytes=limit_bytes)
        except HttpStatusError as error:
            if error.status in _ABSENT:
                return None
            raise

    def _local_file(self, name: str, limit_bytes: int) -> bytes | None:
        path = os.path.join(self.directory, name)
        try:
            with open(path, "rb") as file:
                data = file.read(limit_bytes + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise BinaryCacheError(
                f"{path} cannot be read: {error.strerror}.", cache=self.shown
            ) from error
        if len(data) > limit_bytes:
            raise BinaryCacheError(
                f"{path} is longer than {limit_bytes:,} bytes.", cache=self.shown
            )
        return data


def open_transport(*, connections: int | None = None) -> Transport:
    """A `Transport` that knows the logins of ``~/.netrc`` and of Nix's own netrc file."""
    logins: dict[str, tuple[str, str]] | None = None

    def authorize(url: str) -> str | None:
        nonlocal logins
        if logins is None:
            logins = _logins(os.environ)
        login = logins.get((urlsplit(url).hostname or "").lower())
        return basic_authorization(*login) if login else None

    return Transport(authorize=authorize, connections=connections)


def _logins(environment: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """User and password by host: the caller's own file before Nix's (``netrc-file``)."""
    found: dict[str, tuple[str, str]] = {}
    own = environment.get("NETRC") or os.path.expanduser("~/.netrc")
    for path in (own, os.path.join(environment.get("NIX_CONF_DIR", "/etc/nix"), "netrc")):
        try:
            hosts = netrc.netrc(path).hosts
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, netrc.NetrcParseError, UnicodeDecodeError) as error:
            _log.warning("The logins in %s cannot be read: %s", path, error)
            continue
        for host, (login, _account, password) in hosts.items():
            if host != "default":
                found.setdefault(host.lower(), (login or "", password or ""))
    return found
