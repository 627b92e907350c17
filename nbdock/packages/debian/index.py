"""All packages of all sources, as one index: signed, fetched once, looked up lazily.

`load_index` asks each source for its Release file (see `releasestore`), fetches the package indexes
that it lists and that are not here yet, and maps them into memory. With nothing changed that is a
few milliseconds and no request.

    index = await load_index(host_sources(), architecture="amd64")
    index.candidates("redis-server")      # every version that any source has
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import re
from collections.abc import Iterator, Sequence

from nbdock import settings
from nbdock.concurrency import gather_limited
from nbdock.errors import SourceConfigurationError
from nbdock.packages.debian.access import open_transport
from nbdock.packages.debian.indexfile import parse_stanza
from nbdock.packages.debian.indexloader import IndexLoader, IndexPart
from nbdock.packages.debian.preferences import Pins
from nbdock.packages.debian.record import PackageRecord
from nbdock.packages.debian.sources import AptSources
from nbdock.packages.package import Progress

__all__ = ["AptIndex", "load_index"]

_NAME_FIELD = re.compile(rb"^package:[ \t]*(\S+)", re.IGNORECASE | re.MULTILINE)


class AptIndex:
    """Every package of the sources, for one architecture (and ``all``).

    Attributes
    ----------
    architecture
        Debian's name of it.
    fingerprint
        Identifies exactly these signed lists (and pins): equal fingerprints, equal answers.
    codenames
        Of the releases that the sources are of: ``bookworm`` for ``bookworm-security`` too.
    made_s
        When the newest of the sources was made; seconds since the epoch, None if none says.
    """

    def __init__(
        self, parts: Sequence[IndexPart], pins: Pins, *, architecture: str, fingerprint: str
    ) -> None:
        self.architecture = architecture
        self.fingerprint = fingerprint
        self.codenames = frozenset(
            name for part in parts if (name := part.origin.release.get("n", "").partition("-")[0])
        )
        self.made_s = max((p.made_s for p in parts if p.made_s is not None), default=None)
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

    def mentioning(self, words: Sequence[str]) -> Iterator[str]:
        """Names of the packages whose stanzas have all these words somewhere, in any case.

        Looks at the text of the lists, so it takes a tenth of what parsing them would.
        """
        wanted = [word.lower().encode() for word in words]
        for part in self._parts:
            for stanza in part.file.stanzas():
                text = stanza.lower()
                if all(word in text for word in wanted):
                    found = _NAME_FIELD.search(stanza)
                    if found:
                        yield found[1].decode("utf-8", "replace")

    def _records(self, lookup: str, name: str) -> tuple[PackageRecord, ...]:
        found: dict[tuple[str, str, str, str], tuple[PackageRecord, list[IndexPart]]] = {}
        for number, part in enumerate(self._parts):
            for stanza in getattr(part.file, lookup)(name):
                record = self._record(number, part, stanza)
                key = (record.name, record.version, record.architecture, record.sha256)
                found.setdefault(key, (record, []))[1].append(part)
        return tuple(self._pinned(record, parts) for record, parts in found.values())

    def _record(self, number: int, part: IndexPart, stanza: bytes) -> PackageRecord:
        # A package is the same object as candidate and as provider.
        key = (number, stanza)
        record = self._parsed.get(key)
        if record is None:
            record = parse_stanza(stanza, part.base_url, part.priority)
            self._parsed[key] = record
        return record

    def _pinned(self, record: PackageRecord, parts: Sequence[IndexPart]) -> PackageRecord:
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
        loader = IndexLoader(sources, transport, wanted, pins, progress)
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
