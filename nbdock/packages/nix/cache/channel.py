"""A channel of nixpkgs: the list of store paths that it publishes, brought here and kept.

The list is kept sorted in ``<home>/nix/``, with what is needed to ask whether it changed. It is
believed for `settings.nix_channel_max_age_s`; then the server is asked (one conditional request).
When it cannot be reached, the old list is used, with a warning in the log. Nobody signs the list:
it says only which store paths are meant, and each of those is vouched for by itself.

    listed = await Channel("https://channels.nixos.org/nixos-unstable").load()
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import re
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

from nbdock import settings
from nbdock.concurrency import in_worker
from nbdock.content import open_decompressed
from nbdock.errors import (
    ArchiveError,
    ArgumentTypeError,
    ConnectionFailedError,
    ContentError,
    HttpStatusError,
    SourceConfigurationError,
)
from nbdock.packages.atomically import write_atomically
from nbdock.packages.nix.cache.binarycache import open_transport
from nbdock.packages.nix.cache.channellist import StorePathList
from nbdock.packages.nix.storepath import STORE_DIR
from nbdock.packages.package import Progress
from nbdock.transport import redacted

__all__ = ["Channel"]

_log = logging.getLogger("nbdock.nix")

_VERSION = 1
_NAME = "store-paths.xz"
_PUBLIC = re.compile(r"(nixos|nixpkgs)-[A-Za-z0-9.-]+")
_IS_LIST = re.compile(r".*(store-paths[^/]*|\.(xz|zst|gz|bz2|txt|list))")


@dataclasses.dataclass(frozen=True, slots=True)
class _State:
    """What is known of a channel's list, which stands after this in the file."""

    data: bytes
    stamp: str
    etag: str
    last_modified: str
    checked_s: float

    def to_bytes(self) -> bytes:
        facts = [_VERSION, self.stamp, self.etag, self.last_modified, self.checked_s]
        return json.dumps(facts).encode() + b"\n" + self.data

    @classmethod
    def read(cls, path: str) -> _State | None:
        try:
            head, _, data = Path(path).read_bytes().partition(b"\n")
            version, stamp, etag, last_modified, checked_s = json.loads(head)
            # A power cut may have taken the end.
            if version == _VERSION and data.endswith(b"\n"):
                return cls(data, str(stamp), str(etag), str(last_modified), float(checked_s))
        except (OSError, ValueError, TypeError):
            pass  # absent, damaged or of another version: as if nothing had been seen yet
        return None


class Channel:
    """Where a channel's list comes from.

    Parameters
    ----------
    source
        The URL of a channel, which has ``store-paths.xz`` in it, or the name of one of the public
        channels; the URL of such a list; or the path of one, or of a directory with one.
        Compressed (xz, zstd, gzip, bzip2) or not.

    Examples
    --------
    >>> Channel("nixos-23.11").place
    'https://channels.nixos.org/nixos-23.11/store-paths.xz'
    >>> Channel("/srv/my-paths.txt").place
    '/srv/my-paths.txt'
    """

    def __init__(self, source: str | os.PathLike[str], *, store_dir: str = STORE_DIR) -> None:
        text = os.fspath(source).strip()
        if _PUBLIC.fullmatch(text) and not os.path.exists(text):
            text = f"https://channels.nixos.org/{text}"
        self.store_dir = store_dir
        self.is_local = "://" not in text or text.startswith("file://")
        if self.is_local:
            path = unquote(urlsplit(text).path) if "://" in text else os.path.expanduser(text)
            self.url = os.path.abspath(path) if text else ""
            if os.path.isdir(self.url):
                self.url = os.path.join(self.url, _NAME)
        else:
            self.url = text if _IS_LIST.fullmatch(urlsplit(text).path) else ""
            self.url = self.url or f"{text.rstrip('/')}/{_NAME}"
        if not text or not (self.is_local or self.url.startswith(("https://", "http://"))):
            raise ArgumentTypeError(
                f"{redacted(text)!r} is no channel.",
                argument="channel",
                hint="Give the URL of a channel such as https://channels.nixos.org/nixos-unstable, "
                "or the URL or path of a list of store paths.",
            )

    @property
    def place(self) -> str:
        """The list's URL, without a login, or its path."""
        return self.url if self.is_local else redacted(self.url)

    def __repr__(self) -> str:
        return f"<Channel {self.place}>"

    async def load(
        self, *, refresh: bool = False, progress: Progress | None = None
    ) -> StorePathList:
        """The list.

        Parameters
        ----------
        refresh
            Ask the server even if its last answer is young.
        progress
            Told ("Fetching the list of packages", 0, 0) if it has to be fetched.

        Raises
        ------
        SourceConfigurationError
            There is no list, or it is something else.
        TransportError
            It cannot be fetched, and none was before.
        """
        key = hashlib.sha256(f"{self.place}\0{self.store_dir}".encode()).hexdigest()[:32]
        path = os.path.join(settings.current().home, "nix", f"{key}.paths")
        state = await in_worker(_State.read, path)
        if self.is_local:
            state = await in_worker(self._read_local, path, state)
        else:
            age_s = time.time() - state.checked_s if state else 0.0
            is_young = 0 <= age_s < settings.current().nix_channel_max_age_s
            if state is None or refresh or not is_young:
                try:
                    state = await self._ask(path, state, progress)
                except (ConnectionFailedError, HttpStatusError) as error:
                    if state is None or refresh:
                        raise
                    _log.warning("%s cannot be asked; using the old list. %s", self.place, error)
        return StorePathList(state.data, store_dir=self.store_dir)

    def _read_local(self, path: str, state: _State | None) -> _State:
        try:
            with open(self.url, "rb") as file:
                facts = os.fstat(file.fileno())
                stamp = f"{facts.st_dev} {facts.st_ino} {facts.st_size} {facts.st_mtime_ns}"
                if state is not None and state.stamp == stamp:
                    return state
                body = file.read(settings.current().nix_channel_limit_bytes + 1)
        except OSError as error:
            raise SourceConfigurationError(
                f"The channel's list {self.url} cannot be read: {error.strerror}.",
                path=self.url,
                hint="A list of store paths is a file with one on each line.",
            ) from error
        return self._kept(path, _State(self._parsed(body), stamp, "", "", time.time()))

    async def _ask(self, path: str, state: _State | None, progress: Progress | None) -> _State:
        if progress is not None:
            progress("Fetching the list of packages", 0, 0)
        async with open_transport() as transport:
            try:
                fetched = await transport.fetch(
                    self.url,
                    limit_bytes=settings.current().nix_channel_limit_bytes,
                    etag=state.etag if state else "",
                    last_modified=state.last_modified if state else "",
                )
            except HttpStatusError as error:
                if error.status not in {403, 404, 410}:
                    raise
                raise SourceConfigurationError(
                    f"There is no list of store paths at {self.place}.",
                    path=self.place,
                    hint="Give the URL of a channel such as "
                    "https://channels.nixos.org/nixos-unstable, or of a list.",
                ) from error
        if fetched is None and state is not None:
            new = dataclasses.replace(state, checked_s=time.time())
        else:
            assert fetched is not None
            data = await in_worker(self._parsed, fetched.body)
            new = _State(data, "", fetched.etag, fetched.last_modified, time.time())
        return await in_worker(self._kept, path, new)

    def _parsed(self, body: bytes) -> bytes:
        limit = settings.current().nix_channel_limit_bytes
        try:
            with open_decompressed([body], limit_bytes=limit) as stream:
                text = stream.read()
        except ArchiveError as error:
            raise SourceConfigurationError(
                f"{self.place} is no list of store paths: {error.message}",
                path=self.place,
                hint="The longest list that is read is the setting nix_channel_limit_bytes.",
            ) from error
        return StorePathList.of_text(text, place=self.place, store_dir=self.store_dir).data

    def _kept(self, path: str, state: _State) -> _State:
        try:
            write_atomically(path, state.to_bytes())
        except ContentError as error:
            _log.warning("The list of packages cannot be kept: %s", error)
        return state
