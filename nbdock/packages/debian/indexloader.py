"""Bringing package indexes here: which files a source has, in which form, and where they are kept.

An index is kept in ``<home>/apt/indexes/`` under the digest that its source signed, so that it is
fetched, decompressed and read once however many sources share it; the one it replaces is removed.
What is fetched lies in ``<home>/apt/incoming/`` until it was read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import logging
import os
from pathlib import Path
from urllib.parse import urlsplit

from nbdock import settings
from nbdock.concurrency import gather_limited, in_worker
from nbdock.content import open_decompressed
from nbdock.errors import (
    DigestMismatchError,
    HttpStatusError,
    SizeMismatchError,
    SourceConfigurationError,
    nearest,
)
from nbdock.packages.atomically import write_atomically
from nbdock.packages.debian.access import local_path
from nbdock.packages.debian.indexfile import IndexFile, build_index
from nbdock.packages.debian.preferences import Origin, Pins
from nbdock.packages.debian.release import ListedFile, Release
from nbdock.packages.debian.releasestore import apt_home, load_release
from nbdock.packages.debian.sources import AptSources, Source
from nbdock.packages.package import Progress
from nbdock.packages.tally import Tally
from nbdock.transport import Transport

__all__ = ["IndexLoader", "IndexPart"]

_log = logging.getLogger("nbdock.apt")
# Best first: the smallest that is read without help from outside.
_SUFFIXES = {".xz": "xz", ".zst": "zstd", ".gz": "gzip", ".bz2": "bzip2", "": "none"}


@dataclasses.dataclass(frozen=True)
class IndexPart:
    """One package index of one source, and when that source was made (seconds since the epoch)."""

    file: IndexFile
    base_url: str
    origin: Origin
    priority: int
    made_s: float | None = None


class IndexLoader:
    """Brings the indexes of sources here."""

    def __init__(
        self, sources: AptSources, transport: Transport, architecture: str, pins: Pins,
        progress: Progress | None,
    ) -> None:  # fmt: skip
        self._sources = sources
        self._transport = transport
        self._architecture = architecture
        self._pins = pins
        self._progress = progress
        self.seen = 0

    async def load(self, source: Source, *, refresh: bool) -> tuple[str, list[IndexPart]]:
        """The parts of one source, and what identifies them."""
        release = await load_release(source, self._sources, self._transport, refresh=refresh)
        try:
            return await self._parts(source, release)
        except (DigestMismatchError, SizeMismatchError, HttpStatusError) as error:
            is_gone = not isinstance(error, HttpStatusError) or error.status in {403, 404, 410}
            if refresh or not is_gone or local_path(source.uri):
                raise
        # What we believed is no longer there: the archive has moved on since we asked.
        release = await load_release(source, self._sources, self._transport, refresh=True)
        return await self._parts(source, release)

    async def _parts(self, source: Source, release: Release | None) -> tuple[str, list[IndexPart]]:
        paths = self._paths(source, release)
        marks = [source.release_url, release.text_sha256 if release else "", *paths]
        found = await gather_limited(
            [functools.partial(self._file, source, release, path) for path in paths],
            settings.current().connections,
        )
        parts = []
        for path, opened in zip(paths, found, strict=True):
            if opened is None:
                continue
            digest, file = opened
            self.seen += 1
            if release is None:
                marks.append(digest)
            if file is None:
                continue
            component = "" if source.is_flat else path.split("/binary-")[0]
            site = urlsplit(source.uri).hostname or ""
            facts = release or Release({}, {}, "")
            origin = facts.origin(component, self._architecture, site)
            priority = self._pins.for_origin(origin)
            parts.append(IndexPart(file, source.uri, origin, priority, facts.date_s))
        return "\n".join(marks), parts

    def _paths(self, source: Source, release: Release | None) -> list[str]:
        paths = list(source.packages_paths(self._architecture))
        if release is None or source.is_flat:
            return paths
        if "all" in release.words("architectures") and "Packages" not in release.words(
            "no-support-for-architecture-all"
        ):
            paths += source.packages_paths("all")
        listed = [path for path in paths if any(path + s in release.digests for s in _SUFFIXES)]
        for component in source.components:
            if any(path.startswith(f"{component}/") for path in listed):
                continue
            offered = sorted({p.split("/binary-")[0] for p in release.digests if "/binary-" in p})
            close = nearest(component, offered)
            what = (
                f"{source.uri} {source.suite} has no component {component} for {self._architecture}"
            )
            if source.path or component in offered:
                _log.warning("%s (%s)", what, source.place)
                continue
            raise SourceConfigurationError(
                f"{what}.",
                hint=f"Did you mean {close[0]}?" if close else f"It has {', '.join(offered)}.",
            )
        return listed

    async def _file(
        self, source: Source, release: Release | None, path: str
    ) -> tuple[str, IndexFile | None] | None:
        """The digest of one index, and the index; None if the source has none."""
        if release is None:
            return await self._unlisted(source, path)
        whole = release.digests.get(path)
        if whole is not None and not whole.size_bytes:
            return whole.sha256, None
        choices = [s for s in _SUFFIXES if path + s in release.digests]
        if not choices:
            return None
        digest = (whole or release.digests[path + choices[0]]).sha256
        opened = await in_worker(self._opened, digest)
        if opened is not None:
            return digest, opened
        for suffix in choices:
            listed = release.digests[path + suffix]
            fetched = await self._fetch(source, release, path + suffix, listed)
            if fetched is None:
                continue
            compressed, is_ours = fetched
            if self._progress is not None:
                self._progress(f"reading package list {source.suite}", 0, 0)
            try:
                await in_worker(self._build, compressed, _SUFFIXES[suffix], whole, digest)
            except FileNotFoundError:
                # Another load of the same index has removed the file: then it has read it.
                opened = await in_worker(self._opened, digest)
                if opened is None:
                    raise
                return digest, opened
            finally:
                if is_ours:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(compressed)
            await in_worker(self._forget_old, source, path, digest)
            return digest, await in_worker(IndexFile, self._index_path(digest))
        raise HttpStatusError(
            f"{source.release_url}{path} is announced, but not there.",
            status=404,
            url=source.release_url + path,
            hint="The mirror is incomplete or being updated; try again later.",
        )

    async def _fetch(
        self, source: Source, release: Release, path: str, listed: ListedFile
    ) -> tuple[str, bool] | None:
        """Where the file lies now, and whether we put it there; None if it is not to be had."""
        url = source.release_url + path
        local = local_path(url)
        if local is not None:
            return (local, False) if await in_worker(_is_the_file, local, listed) else None
        urls = [url]
        if source.by_hash == "force" or (release.by_hash and source.by_hash not in {"no", "false"}):
            folder = url.rpartition("/")[0]
            urls.insert(0, f"{folder}/by-hash/SHA256/{listed.sha256}")
        destination = os.path.join(apt_home(), "incoming", listed.sha256)
        what = f"fetching package list {source.suite}"
        tally = Tally(what, self._progress, total_bytes=listed.size_bytes)
        for place in urls:
            try:
                await self._transport.download(
                    place,
                    destination,
                    sha256=listed.sha256,
                    size_bytes=listed.size_bytes,
                    progress=tally.part(os.path.basename(path), listed.size_bytes),
                )
            except HttpStatusError as error:
                if error.status in {403, 404, 410}:
                    continue
                raise
            return destination, True
        return None

    async def _unlisted(self, source: Source, path: str) -> tuple[str, IndexFile | None] | None:
        """The index of a trusted source without a Release file: whatever lies there."""
        limit = settings.current().apt_index_limit_bytes
        for suffix, codec in _SUFFIXES.items():
            url = source.release_url + path + suffix
            local = local_path(url)
            if local is None:
                compressed = os.path.join(apt_home(), "incoming", _key(url))
                try:
                    body = await self._transport.get_bytes(url, limit_bytes=limit)
                except HttpStatusError as error:
                    if error.status in {403, 404, 410}:
                        continue
                    raise
                await in_worker(write_atomically, compressed, body)
            elif os.path.isfile(local):
                compressed = local
            else:
                continue
            text = await in_worker(_decompressed, compressed, codec, limit)
            digest = hashlib.sha256(text).hexdigest()
            opened = await in_worker(self._opened, digest)
            if opened is None and text:
                await in_worker(build_index, text, self._index_path(digest), self._architecture)
                await in_worker(self._forget_old, source, path, digest)
                opened = await in_worker(IndexFile, self._index_path(digest))
            return digest, opened
        raise SourceConfigurationError(
            f"{source.release_url} has no Packages file.", path=source.path, line=source.line
        )

    def _index_path(self, digest: str) -> str:
        return os.path.join(apt_home(), "indexes", f"{digest}-{self._architecture}.index")

    def _opened(self, digest: str) -> IndexFile | None:
        try:
            return IndexFile(self._index_path(digest))
        except (OSError, ValueError):
            return None

    def _build(self, compressed: str, codec: str, whole: ListedFile | None, digest: str) -> None:
        limit = settings.current().apt_index_limit_bytes
        limit = min(limit, whole.size_bytes) if whole else limit
        text = _decompressed(compressed, codec, limit)
        if whole is not None:
            actual = hashlib.sha256(text).hexdigest()
            if actual != whole.sha256:
                raise DigestMismatchError(
                    f"A package list has the SHA-256 {actual} after decompression, not "
                    f"{whole.sha256} as signed.",
                    digest=f"sha256:{whole.sha256}",
                    actual=f"sha256:{actual}",
                    path=compressed,
                    hint="The archive is damaged; it was not used.",
                )
        build_index(text, self._index_path(digest), self._architecture)

    def _forget_old(self, source: Source, path: str, digest: str) -> None:
        """Remove the index that this one replaces: each is some fifty megabytes."""
        current = os.path.basename(self._index_path(digest))
        key = _key(f"{source.release_url}{path}\0{self._architecture}")
        pointer = os.path.join(apt_home(), "indexes", f"{key}.current")
        try:
            before = Path(pointer).read_text(encoding="utf-8")
        except (OSError, ValueError):
            before = ""
        if before == current:
            return
        if before.endswith(".index") and "/" not in before:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(apt_home(), "indexes", before))
        write_atomically(pointer, current.encode())


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _is_the_file(path: str, listed: ListedFile) -> bool:
    """Whether a local file is the one that was announced; False if there is none.

    Raises
    ------
    DigestMismatchError, SizeMismatchError
        There is another one.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115 (closed below)
    except FileNotFoundError:
        return False
    with file:
        size = os.fstat(file.fileno()).st_size
        if size != listed.size_bytes:
            raise SizeMismatchError(
                f"{path} has {size:,} bytes, not {listed.size_bytes:,} as announced.",
                expected_bytes=listed.size_bytes,
                actual_bytes=size,
                path=path,
            )
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != listed.sha256:
        raise DigestMismatchError(
            f"{path} has the SHA-256 {actual}, not {listed.sha256} as announced.",
            digest=f"sha256:{listed.sha256}",
            actual=f"sha256:{actual}",
            path=path,
            hint="The archive is damaged or half updated; it was not used.",
        )
    return True


def _decompressed(path: str, codec: str, limit_bytes: int) -> bytes:
    with open_decompressed(path, codec=codec, limit_bytes=limit_bytes) as stream:
        return b"".join(iter(lambda: stream.read(1 << 20), b""))
