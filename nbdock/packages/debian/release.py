r"""The signed Release file: what a source vouches for, and whether to believe it still.

A `Release` is made only from bytes whose signature was checked (or whose source the user trusts
without one). It names every index with its SHA-256 and size; that is the whole chain of trust.
The checks of time are APT's: ``Valid-Until``, a ``Date`` in the future; and no ``Date`` older
than one that was seen before, so that nobody can bring back yesterday's bugs.

    >>> release = Release.parse(b"Suite: stable\nSHA256:\n " + b"0" * 64 + b" 12 main/x\n")
    >>> release.fields["suite"], release.digests["main/x"].size_bytes
    ('stable', 12)
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from nbdock.errors import OutdatedSourceError, SourceConfigurationError
from nbdock.packages.debian.configuration import AptConfiguration
from nbdock.packages.debian.preferences import Origin
from nbdock.packages.debian.sources import Source

__all__ = ["ListedFile", "Release", "check_dates"]

_FILE = re.compile(rb"^ +([0-9a-fA-F]{64}) +(\d{1,15}) +(\S+)[ \t]*\r?$", re.MULTILINE)
_FIELD = re.compile(rb"^([!-9;-~]+):[ \t]*(.*(?:\n[ \t].*)*)", re.MULTILINE)


@dataclasses.dataclass(frozen=True, slots=True)
class ListedFile:
    """A file as the Release file announces it."""

    sha256: str
    size_bytes: int


@dataclasses.dataclass(frozen=True)
class Release:
    """A Release file that was checked.

    Attributes
    ----------
    fields
        Its short fields; names in lower case.
    digests
        The files of its SHA256 list, by path below the Release file.
    text_sha256
        The identity of the signed text.
    """

    fields: Mapping[str, str]
    digests: Mapping[str, ListedFile]
    text_sha256: str

    @classmethod
    def parse(cls, text: bytes) -> Release:
        """Read the text of a Release file; whatever is not understood is left out."""
        fields: dict[str, str] = {}
        digests: dict[str, ListedFile] = {}
        for match in _FIELD.finditer(text):
            name = match[1].decode("latin-1").lower()
            if name == "sha256":
                for sha256, size, path in _FILE.findall(match[2]):
                    digests.setdefault(
                        path.decode("utf-8", "replace"),
                        ListedFile(sha256.decode().lower(), int(size)),
                    )
            elif name not in {"md5sum", "sha1", "sha512"}:
                fields.setdefault(name, match[2].decode("utf-8", "replace").strip())
        return cls(fields, digests, hashlib.sha256(text).hexdigest())

    def words(self, name: str) -> tuple[str, ...]:
        """A field that is a list of words."""
        return tuple(self.fields.get(name, "").split())

    @property
    def date_s(self) -> float | None:
        """When it was made; seconds since the epoch."""
        return _time_s(self.fields.get("date"))

    @property
    def valid_until_s(self) -> float | None:
        """Until when it is valid; seconds since the epoch."""
        return _time_s(self.fields.get("valid-until"))

    @property
    def by_hash(self) -> bool:
        """Whether indexes can be had under their digests."""
        return self.fields.get("acquire-by-hash", "").lower() == "yes"

    def origin(self, component: str, architecture: str, site: str) -> Origin:
        """How pins see an index of it."""
        letters = {"a": "suite", "n": "codename", "o": "origin", "l": "label", "v": "version"}
        found = {
            letter: self.fields[field] for letter, field in letters.items() if field in self.fields
        }
        found |= {"c": component, "b": architecture}
        priority = 500
        if self.fields.get("notautomatic", "").lower() == "yes":
            upgrades = self.fields.get("butautomaticupgrades", "").lower() == "yes"
            priority = 100 if upgrades else 1
        return Origin(found, site, priority)


def _time_s(text: str | None) -> float | None:
    if not text:
        return None
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def _shown(when_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(when_s))


def check_dates(
    release: Release,
    source: Source,
    configuration: AptConfiguration,
    *,
    now_s: float,
    seen_date_s: float | None = None,
) -> None:
    """Check what a Release file says about time against the clock and against what was seen.

    Parameters
    ----------
    now_s, seen_date_s
        The clock, and the newest ``Date`` seen of this source; seconds since the epoch.

    Raises
    ------
    OutdatedSourceError
        Expired, of the future, or older than one seen before.
    SourceConfigurationError
        It has no usable ``Date`` although its dates are to be checked.
    """
    what = f"{source.uri} {source.suite}"
    date_s = release.date_s
    if seen_date_s is not None and date_s is not None and date_s < seen_date_s:
        raise OutdatedSourceError(
            f"{what} is of {_shown(date_s)}, older than the {_shown(seen_date_s)} seen before.",
            hint="The mirror fell back, or someone replays old package lists. It was not used.",
        )
    checks_date = _chosen(source.check_date, configuration, "Acquire::Check-Date")
    if not checks_date:
        return
    future_s = source.date_max_future_s
    if future_s is None:
        future_s = configuration.number("Acquire::Max-FutureTime", 10)
    if date_s is not None and date_s > now_s + future_s:
        raise OutdatedSourceError(
            f"{what} is of {_shown(date_s)}, which is in the future.",
            hint="Check this machine's clock.",
        )
    if not _chosen(source.check_valid_until, configuration, "Acquire::Check-Valid-Until"):
        return
    until_s = _valid_until_s(release, source, configuration, date_s)
    if until_s is not None and until_s < now_s:
        raise OutdatedSourceError(
            f"{what} expired at {_shown(until_s)}.",
            hint="The mirror is no longer updated. For an archive of old releases, set "
            "Check-Valid-Until: no in its entry.",
        )


def _chosen(own: bool | None, configuration: AptConfiguration, name: str) -> bool:
    return own if own is not None else configuration.boolean(name, default=True)


def _valid_until_s(
    release: Release, source: Source, configuration: AptConfiguration, date_s: float | None
) -> float | None:
    label = release.fields.get("label", "")

    def limit(own: int | None, name: str) -> int:
        if own is not None:
            return own
        return configuration.number(f"{name}::{label}", configuration.number(name, 0))

    until_s = release.valid_until_s
    if "valid-until" in release.fields and until_s is None:
        raise SourceConfigurationError(
            f"{source.uri} {source.suite} has a Valid-Until that is no date: "
            f"{release.fields['valid-until']!r}."
        )
    if date_s is None:
        return until_s
    least_s = limit(source.valid_until_min_s, "Acquire::Min-ValidTime")
    most_s = limit(source.valid_until_max_s, "Acquire::Max-ValidTime")
    if most_s:
        until_s = date_s + most_s if until_s is None else min(until_s, date_s + most_s)
    if least_s and until_s is not None:
        until_s = max(until_s, date_s + least_s)
    return until_s
