"""All packages of all sources, as one index: signed, fetched once, looked up lazily.

`load_index` asks each source for its Release file (see `releasestore`), fetches the package indexes
that it lists and that are not here yet, and maps them into memory. With nothing changed that is a
few milliseconds and no request.

    index = await load_index(host_sources(), architecture="amd64")
    index.candidates("redis-server")      # every version that any source has
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
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
from nbdock.packages.apt.access import local_path, open_transport
from nbdock.packages.apt.indexfile import IndexFile, build_index, parse_stanza
from nbdock.packages.apt.preferences import Origin, Pins
from nbdock.packages.apt.record import PackageRecord
from nbdock.packages.apt.release import ListedFile, Release
from nbdock.packages.apt.releasestore import apt_home, load_release, write_atomically
from nbdock.packages.apt.sources import AptSources, Source
from nbdock.packages.apt.tally import Tally
from nbdock.packages.package import Progress
from nbdock.transport import Transport

__all__ = ["AptIndex", "load_index"]

_log = logging.getLogger("nbdock.apt")
# Best first: the smallest that is read without help from outside.
_SUFFIXES = {".xz": "xz", ".zst": "zstd", ".gz": "gzip", ".bz2": "bzip2", "": "none"}
_NOTHING_SHA256 = hashlib.sha256(b"").hexdigest()


@dataclasses.dataclass(frozen=True)
class _Part:
    """One package index of one source."""

    file: IndexFile
    base_url: str
    origin: Origin
    priority: int


class AptIndex:
    """Every package of the sources, for one architecture (and ``all``).

    Attributes
    ----------
    architecture
        Debian's name of it.
    fingerprint
        Identifies exactly these signed lists (and pins): equal fingerprints, equal answers.
    """

    def __init__(
        self, parts: Sequence[_Part], pins: Pins, *, architecture: str, fingerprint: str
    ) -> None:
        self.architecture = architecture
        self.fingerprint = fingerprint
        self._parts = tuple(parts)
        self._pins = pins
        self._candidates: dict[str, tuple[PackageRecord, ...]] = {}
        self._providers: dict[str, tuple[PackageRecord, ...]] = {}
        self._parsed: dict[tuple[int, bytes], PackageRecord] = {}

    def __repr__(self) -> str:
        return f"<AptIndex {self.architecture}: {len(self._parts)} lists>"

    @functools.cached_property
    def _names(self) -> list[str]:
        if len(self._parts) == 1:
            return self._parts[0].file.names
        # Sorted runs are merged in linear time.
        merged = [name for part in self._parts for name in part.file.names]
        merged.sort()
        return list(dict.fromkeys(merged))

    def names(self) -> Sequence[str]:
        """The names of all packages, sorted; not the virtual ones."""
        return self._names

    def candidates(self, name: str) -> tuple[PackageRecord, ...]:
        """Every version of a package, in the order of the sources; none if there is no such one.

        A version that several sources have stands once, with the highest of its priorities.
        """
        found = self._candidates.get(name)
        if found is None:
            found = self._candidates[name] = self._records("named", name)
        return found

    def providers(self, virtual: str) -> tuple[PackageRecord, ...]:
        """Every package whose ``Provides`` names `virtual`, in the order of the sources."""
        found = self._providers.get(virtual)
        if found is None:
            found = self._providers[virtual] = self._records("providing", virtual)
        return found

    def records(self) -> Iterator[PackageRecord]:
        """All records of all packages, by name."""
        for name in self._names:
            yield from self.candidates(name)

    def _records(self, lookup: str, name: str) -> tuple[PackageRecord, ...]:
        found: dict[tuple[str, str, str, str], tuple[PackageRecord, list[_Part]]] = {}
        for number, part in enumerate(self._parts):
            for stanza in getattr(part.file, lookup)(name):
                record = self._record(number, part, stanza)
                key = (record.name, record.version, record.architecture, record.sha256)
                found.setdefault(key, (record, []))[1].append(part)
        return tuple(self._pinned(record, parts) for record, parts in found.values())

    def _record(self, number: int, part: _Part, stanza: bytes) -> PackageRecord:
        # A package is the same object as candidate and as provider.
        key = (number, stanza)
        record = self._parsed.get(key)
        if record is None:
            record = parse_stanza(stanza, part.base_url, part.priority)
            self._parsed[key] = record
        return record

    def _pinned(self, record: PackageRecord, parts: Sequence[_Part]) -> PackageRecord:
        priority = max(part.priority for part in parts)
        if self._pins.has_specific():
            origins = [part.origin for part in parts]
            own = self._pins.for_package(record.name, record.source, record.version, origins)
            priority = priority if own is None else own
        if priority == record.pin_priority:
            return record
        return dataclasses.replace(record, pin_priority=priority)


async def load_index(
    sources: AptSources,
    *,
    architecture: str | None = None,
    refresh: bool = False,
    progress: Progress | None = None,
) -> AptIndex:
    """The index of all packages that `sources` have.

    Parameters
    ----------
    architecture
        Debian's name of it; default: this machine's.
    refresh
        Ask every source whether it changed. Without it a source that was asked in the last
        `settings.apt_index_max_age_s` seconds is believed.
    progress
        Told while package lists are fetched.

    Raises
    ------
    SignatureError, OutdatedSourceError
        A source cannot be believed.
    SourceConfigurationError
        A source cannot be used, or none has packages for the architecture.
    TransportError, ContentError
        A source cannot be fetched, or does not give what it announced.
    """
    wanted = architecture or sources.native_architecture
    usable = [source for source in sources.sources if source.for_architecture(wanted)]
    if not usable:
        raise _nothing(wanted, sources)
    pins = Pins(sources.pins, default_release=sources.configuration.text("APT::Default-Release"))
    async with open_transport(sources.configuration) as transport:
        loader = _Loader(sources, transport, wanted, pins, progress)
        loaded = await gather_limited(
            [functools.partial(loader.load, source, refresh=refresh) for source in usable],
            settings.current().connections,
        )
    marks = [f"{wanted}", repr(sources.pins), sources.configuration.text("APT::Default-Release")]
    marks += [mark for mark, _parts in loaded]
    parts = [part for _mark, found in loaded for part in found]
    if not loader.seen:
        raise _nothing(wanted, sources)
    fingerprint = hashlib.sha256("\n".join(marks).encode()).hexdigest()
    return AptIndex(parts, pins, architecture=wanted, fingerprint=fingerprint)


def _nothing(architecture: str, sources: AptSources) -> SourceConfigurationError:
    return SourceConfigurationError(
        f"None of {len(sources.sources)} package sources has packages for {architecture}.",
        path=sources.sources[0].path if sources.sources else "",
        hint="Check the architecture's name (amd64, arm64, ...) and what the sources offer.",
    )


class _Loader:
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

    async def load(self, source: Source, *, refresh: bool) -> tuple[str, list[_Part]]:
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

    async def _parts(self, source: Source, release: Release | None) -> tuple[str, list[_Part]]:
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
            parts.append(_Part(file, source.uri, origin, self._pins.for_origin(origin)))
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
            try:
                await in_worker(self._build, compressed, _SUFFIXES[suffix], whole, digest)
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
                    progress=tally.part(),
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
