"""Versions of packages that were seen, one after the other: in images, in lists, in a DataFrame.

    seen = versions_of_images(images)
    seen.rows[0]            # Version(package='curl', source='curl', version='8.5.0', ...)
    seen.history()          # what of it were changes

The first image or list says what there was; what differs in the next changed.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from nbdock.concurrency import run
from nbdock.errors import ArgumentError, ArgumentTypeError
from nbdock.images import Image
from nbdock.oci import Digest
from nbdock.packages import ChangeHistory, Progress, channel_versions
from nbdock.tables.packages import packages_of
from nbdock.tables.records import FoundPackage

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "SeenVersions",
    "Version",
    "midnight",
    "versions_of_frame",
    "versions_of_images",
    "versions_of_lists",
]


@dataclasses.dataclass(frozen=True, slots=True)
class Version:
    """A version of a package, and when and where it was first seen."""

    package: str
    source: str
    version: str
    date: dt.datetime
    origin: str


@dataclasses.dataclass(frozen=True)
class SeenVersions:
    """Versions, and the time in which changes would have been seen (`end` is the day after)."""

    rows: Sequence[Version]
    start: dt.date
    end: dt.date

    def history(self) -> ChangeHistory:
        """When packages changed in that time."""
        days: dict[str, set[dt.date]] = {}
        for row in self.rows:
            found = days.setdefault(row.package, set())
            if self.start <= row.date.date() < self.end:
                found.add(row.date.date())
        changes = {name: tuple(sorted(found)) for name, found in days.items()}
        sources = {row.package: row.source for row in self.rows}
        return ChangeHistory(changes, sources, self.start, self.end)


@dataclasses.dataclass(frozen=True)
class _Snapshot:
    """What there was at one time: for each package its source, version, and what tells it apart."""

    date: dt.datetime
    origin: str
    packages: Mapping[str, tuple[str, str, object]]


def midnight(day: dt.date) -> dt.datetime:
    """The moment at which a day begins, in UTC."""
    return dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)


def versions_of_images(
    images: Sequence[tuple[dt.date | None, Image]], *, progress: Progress | None = None
) -> SeenVersions:
    """What package records and store paths say of images, in the order of their days.

    Raises
    ------
    ArgumentError
        An image has no day, and was made before 1980 or before the one before it.
    """
    known: dict[tuple[Digest, ...], Mapping[str, tuple[str, str, object]]] = {}
    snapshots: list[_Snapshot] = []
    for number, (day, image) in enumerate(images):
        layers = tuple(layer.diff_id for layer in image.layers)
        if layers not in known:
            known[layers] = _packages_in(image)
        date = midnight(day) if day is not None else image.config.created_at
        last = snapshots[-1].date if snapshots else None
        if date is None or date.year < 1980 or (last is not None and date < last):
            told = (
                "does not say when it was made" if date is None else f"was made on {date:%Y-%m-%d}"
            )
            raise ArgumentError(
                f"{image} {told}, which is no place in the order of the images.",
                argument="x",
                hint='Give the days: {"2025-03-01": image, "2025-04-01": another}.',
            )
        snapshots.append(_Snapshot(date, str(image), known[layers]))
        if progress is not None:
            progress("Reading packages", number + 1, len(images))
    return _seen(snapshots)


def _packages_in(image: Image) -> dict[str, tuple[str, str, object]]:
    found: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    for package in packages_of(image)[0].packages:
        told = package.told if isinstance(package, FoundPackage) else None
        source = (told.source if told else getattr(package, "source", "")) or package.name
        known = found.setdefault(package.name, (source, []))
        known[1].append((package.version, package.root))
    return {
        name: (source, ", ".join(sorted({version for version, _ in places})), sorted(places))
        for name, (source, places) in found.items()
    }


def versions_of_lists(
    lists: Sequence[tuple[dt.date, str]], *, progress: Progress | None = None
) -> SeenVersions:
    """What lists of store paths say, in the order of their days."""
    snapshots = []
    for number, (day, place) in enumerate(lists):
        found = run(channel_versions(place))
        packages = {name: (name, each.version, each.hash_parts) for name, each in found.items()}
        snapshots.append(_Snapshot(midnight(day), place, packages))
        if progress is not None:
            progress("Reading lists", number + 1, len(lists))
    return _seen(snapshots)


def _seen(snapshots: Sequence[_Snapshot]) -> SeenVersions:
    rows = []
    before: dict[str, object] = {}
    for snapshot in snapshots:
        for name, (source, version, identity) in sorted(snapshot.packages.items()):
            if name not in before or before[name] != identity:
                rows.append(Version(name, source, version, snapshot.date, snapshot.origin))
            before[name] = identity
    days = [snapshot.date.date() for snapshot in snapshots]
    # Of the first image nobody knows what was before it.
    return SeenVersions(rows, days[0] + dt.timedelta(days=1), days[-1] + dt.timedelta(days=1))


def versions_of_frame(
    frame: pd.DataFrame, *, start: dt.date | None = None, end: dt.date | None = None
) -> SeenVersions:
    """The rows of a DataFrame, with the columns ``package`` and ``date`` at least.

    Raises
    ------
    ArgumentTypeError
        A column is missing, or its dates are none.
    """
    import pandas as pd

    missing = [name for name in ("package", "date") if name not in frame.columns]
    if missing:
        raise ArgumentTypeError(
            f"The DataFrame has no column {missing[0]!r}.",
            argument="x",
            hint="A history has the columns package and date, and may have version and source.",
        )
    try:
        dates = pd.to_datetime(frame["date"], utc=True)
    except (ValueError, TypeError) as error:
        raise ArgumentTypeError(
            f"The column date holds no dates: {error}.", argument="x"
        ) from error
    if dates.isna().any():
        raise ArgumentTypeError(
            f"There is no date in row {int(dates.isna().to_numpy().argmax())}.", argument="x"
        )
    rows = []
    texts = {
        name: frame[name].fillna("").astype("str") if name in frame else None
        for name in ("version", "source", "origin")
    }
    names = frame["package"].astype("str")
    for place, (name, date) in enumerate(zip(names, dates, strict=True)):
        version, source, origin = (
            "" if column is None else str(column.iloc[place]) for column in texts.values()
        )
        rows.append(Version(name, source or name, version, date.to_pydatetime(), origin))
    days = [row.date.date() for row in rows]
    today = dt.datetime.now(dt.UTC).date()
    first = start or min(days, default=today)
    last = end or max(days, default=today) + dt.timedelta(days=1)
    return SeenVersions(rows, first, max(first, last))
