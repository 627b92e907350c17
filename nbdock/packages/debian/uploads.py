"""When Debian packages changed, by the changelogs in the packages themselves.

All packages of one source have its changelog, so only the smallest .deb of each is read, and
fetched if it is not here; what was found is kept under the digest of the .deb, so that it is read
once, ever:

    uploads = await read_uploads(closure.packages)
    history = uploads_history(closure.packages, uploads)
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import json
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence

from nbdock import settings
from nbdock.concurrency import gather_limited, in_thread, in_worker
from nbdock.content import BlobStore, LayerCache
from nbdock.errors import ContentError
from nbdock.packages.debian.changelog import Upload, deb_uploads
from nbdock.packages.debian.fetching import deb_path, fetch_debs
from nbdock.packages.debian.package_set import AptPackage
from nbdock.packages.history import ChangeHistory
from nbdock.packages.package import Package, Progress

__all__ = ["changelog_history", "read_uploads"]

_KIND = "deb-uploads"
_VERSION = 1
_LONGEST_DAYS = 3 * 365
"""How far back rates are looked for where no release says since when packages are as they are."""
_MOST_VULNERABILITIES = 20
"""What one upload may count: some list those of years. Count."""
_NOT_SENT = frozenset({"unreleased", "experimental"})


async def changelog_history(
    packages: Iterable[Package], *, fetch: bool = True, progress: Progress | None = None
) -> ChangeHistory:
    """When packages changed, as far as it shows in the versions that the package sources have.

    Parameters
    ----------
    packages
        Those that are no Debian packages are not in the history.
    fetch
        Whether packages are fetched for it. If not, it is made of what is here, quietly: one after
        the other, beside the workers. What is not here is not in the history.
    progress
        Told of packages that are fetched for it, and how many are read.

    Returns
    -------
    ChangeHistory
        It starts with the release that the package sources are of (before it, versions went to
        another), else three years back; it ends when the package sources were made. Versions that
        were never in the archive are left out.

    Raises
    ------
    ArchiveError, PackageError, TransportError
        A package that is needed cannot be fetched or read.
    """
    asked = [package for package in packages if isinstance(package, AptPackage)]
    uploads = await read_uploads(asked, fetch=fetch, progress=progress)
    indexes = [await each.index() for each in {p.package_set: None for p in asked}]
    codenames = frozenset(name for index in indexes for name in index.codenames)
    made_s = [index.made_s for index in indexes if index.made_s is not None]
    today = dt.datetime.now(dt.UTC).date()
    end = min(dt.datetime.fromtimestamp(max(made_s), dt.UTC).date(), today) if made_s else today
    return _history(asked, uploads, codenames, end + dt.timedelta(days=1))


def _history(
    packages: Sequence[AptPackage],
    uploads: Mapping[str, Sequence[Upload]],
    codenames: frozenset[str],
    end: dt.date,
) -> ChangeHistory:
    days: dict[str, tuple[dt.date, ...]] = {}
    released: set[dt.date] = set()
    elsewhere: set[dt.date] = set()
    for package in packages:
        if not uploads[package.key]:
            continue  # it says nothing, which is not that it never changed
        sent = [u for u in uploads[package.key] if u.suite.lower() not in _NOT_SENT]
        days[package.name] = tuple(sorted({u.date.date() for u in sent}))
        for upload in sent:
            is_release = upload.suite.partition("-")[0] in codenames
            (released if is_release else elsewhere).add(upload.date.date())
    start = end - dt.timedelta(days=_LONGEST_DAYS)
    if released:
        # What came after the last version that went elsewhere would have been seen.
        first = min(released)
        start = max((day for day in elsewhere if day < first), default=first)
    changes = {name: tuple(d for d in found if start < d < end) for name, found in days.items()}
    sources = {package.name: package.record.source for package in packages}
    exposure = {p.record.source: _exposure(uploads[p.key], start) for p in packages}
    return ChangeHistory(changes, sources, min(start + dt.timedelta(days=1), end), end, exposure)


def _exposure(uploads: Sequence[Upload], start: dt.date) -> float:
    """How likely a source is to change in a release, by the vulnerabilities it had before.

    Nothing else in a changelog says as much: where holes were found, more are. (Measured on 485
    sources of Debian 12, by what was likely of the changes in it after five different days.)
    """
    found = sum(
        min(upload.vulnerabilities, _MOST_VULNERABILITIES)
        for upload in uploads
        if upload.date.date() <= start
    )
    return math.sqrt(1 + found)


async def read_uploads(
    packages: Iterable[AptPackage], *, fetch: bool = True, progress: Progress | None = None
) -> Mapping[str, tuple[Upload, ...]]:
    """The entries of packages' changelogs by the packages' keys, newest first.

    Empty for a package whose source has none in any of these packages.

    Parameters
    ----------
    fetch, progress
        As for `changelog_history`.

    Raises
    ------
    ArchiveError, PackageError, TransportError
        A package that is needed cannot be fetched or read.
    """
    asked = list(packages)
    groups: dict[tuple[str, bool], list[AptPackage]] = {}
    for package in asked:
        # Only packages that were rebuilt have an entry of that in their changelog.
        is_rebuilt = "+b" in package.version
        groups.setdefault((package.record.source, is_rebuilt), []).append(package)
    for members in groups.values():
        members.sort(key=lambda p: (p.record.size_bytes, p.record.sha256))
    known = await in_worker(_recalled, asked)
    here = None if fetch else await in_thread(_here, asked)
    waiting = {
        name: tuple(
            p for p in members if p.record.sha256 not in known and (here is None or p.key in here)
        )
        for name, members in groups.items()
        if not any(known.get(p.record.sha256) for p in members)
    }
    # One package of each source at first; of the few that are without, the next.
    while waiting := {name: members for name, members in waiting.items() if members}:
        read = await _read([members[0] for members in waiting.values()], fetch, progress)
        known |= read
        waiting = {
            name: members[1:]
            for name, members in waiting.items()
            if not read[members[0].record.sha256]
        }
    found: dict[str, tuple[Upload, ...]] = {}
    for members in groups.values():
        of_source = (known.get(p.record.sha256, ()) for p in members)
        first = next(filter(None, of_source), ())
        found |= {package.key: first for package in members}
    return found


def _here(packages: Iterable[AptPackage]) -> set[str]:
    """The keys of packages whose .debs are here."""
    return {p.key for p in packages if deb_path(p.record).exists()}


async def _read(
    packages: Sequence[AptPackage], fetch: bool, progress: Progress | None
) -> dict[str, tuple[Upload, ...]]:
    """The changelogs of packages by the digests of their .debs; kept for the next time."""
    if fetch:
        await fetch_debs([p.record for p in packages], progress=progress)
    call = in_worker if fetch else in_thread
    done = 0

    async def one(package: AptPackage) -> tuple[Upload, ...]:
        nonlocal done
        uploads = await call(deb_uploads, deb_path(package.record), package.name)
        done += 1
        if progress is not None:
            progress("Reading changelogs", done, len(packages))
        return uploads

    limit = settings.current().workers if fetch else 1
    read = await gather_limited([functools.partial(one, p) for p in packages], limit)
    found = {p.record.sha256: uploads for p, uploads in zip(packages, read, strict=True)}
    await in_worker(_keep, found)
    return found


def _recalled(packages: Sequence[AptPackage]) -> dict[str, tuple[Upload, ...]]:
    try:
        with LayerCache(BlobStore.default()) as cache:
            kept = cache.recall_many(_KIND, [p.record.sha256 for p in packages])
    except ContentError:
        return {}
    found = {}
    for sha256, data in kept.items():
        uploads = _from_bytes(data)
        if uploads is not None:
            found[sha256] = uploads
    return found


def _keep(found: Mapping[str, tuple[Upload, ...]]) -> None:
    try:
        with LayerCache(BlobStore.default()) as cache:
            cache.remember_many(_KIND, {key: _to_bytes(value) for key, value in found.items()})
    except ContentError:
        # No place to remember in: they are read again next time.
        return


def _to_bytes(uploads: Sequence[Upload]) -> bytes:
    rows = [[*dataclasses.astuple(u)[:3], u.date.isoformat(), u.vulnerabilities] for u in uploads]
    return zlib.compress(json.dumps([_VERSION, rows]).encode())


def _from_bytes(data: bytes) -> tuple[Upload, ...] | None:
    """What `_to_bytes` kept; None for what is damaged or of another version."""
    try:
        version, rows = json.loads(zlib.decompress(data))
        if version != _VERSION:
            return None
        return tuple(
            Upload(source, text, suite, dt.datetime.fromisoformat(date), int(count))
            for source, text, suite, date, count in rows
        )
    except (zlib.error, ValueError, TypeError):
        return None
