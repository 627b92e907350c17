"""When packages changed, and from that how likely each is to change before the next rebuild.

What makes people pull a layer again is a change of a package in it. A `ChangeHistory` holds when
changes were seen; `rates` turns them into a probability for every package, `rebuilds` into the
changes that an image rebuilt every week would have met:

    >>> import datetime as dt
    >>> history = ChangeHistory(
    ...     changes={"curl": (dt.date(2025, 3, 5), dt.date(2025, 3, 20)), "tzdata": ()},
    ...     sources={},
    ...     start=dt.date(2025, 3, 1),
    ...     end=dt.date(2025, 3, 29),
    ... )
    >>> [sorted(changed) for changed in history.rebuilds(every_days=7)]
    [['curl'], [], ['curl'], []]
    >>> rates = history.rates(every_days=7)
    >>> 0 < rates["tzdata"] < rates["curl"] < 1
    True
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections.abc import Iterable, Mapping

from nbdock.errors import ArgumentError

__all__ = ["ChangeHistory"]

HALF_LIFE_DAYS = 365.0
"""After how long a change says half as much about the future. A package that is prepared for a
release is uploaded often, and hardly ever once it is in one."""

PRIOR_CHANGES = 0.5
"""How much what is expected of a source counts, beside what was seen of it. Changes."""

# These two are not yet chosen by a rule that never saw what came after March 2025. Two rules on
# what was known before it alone: the likelihood of 606 sources' changes in each of its last four
# quarters hardly tells half-lives of 180 to 365 days apart, and is best with 0.1 of a prior
# change (636 nats; 657 with 0.5); the bytes that 16 images' layers pulled in its last year tell
# 0.1, 0.25 and 0.5 hardly apart (1.091, 1.092, 1.096 times the ideal at 10 and 20 layers). After
# it, 0.1 pulls up to 8% more than 0.5 in benchmarks/replay.py, where postgresql at 10 layers then
# misses its target (0.73 of the best published planner, not 0.70).

_MOST = 0.99
"""The greatest chance that anything is given to change before the next rebuild."""


@dataclasses.dataclass(frozen=True)
class ChangeHistory:
    """When packages changed. Packages of one source change together.

    Attributes
    ----------
    changes
        The days on which each package came in another version, ascending, by the package's name.
        Every package that was watched is here, also one that never changed.
    sources
        The name of the source that each package is built from; a package that is not here is
        its own.
    start, end
        The time in which changes would have been seen: from the first day on, up to and without
        the last.
    exposure
        How likely sources were held to change before `start`, in relation to each other; 1 for
        those that are not here.
    """

    changes: Mapping[str, tuple[dt.date, ...]]
    sources: Mapping[str, str]
    start: dt.date
    end: dt.date
    exposure: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise ArgumentError(
                f"A history ends after it starts, and not on {self.end} after {self.start}.",
                argument="end",
            )

    def __repr__(self) -> str:
        count = sum(map(len, self.changes.values()))
        packages = f"{len(self.changes)} packages" if len(self.changes) != 1 else "1 package"
        return f"<ChangeHistory of {packages}: {count} changes, {self.start} to {self.end}>"

    def until(self, date: dt.date) -> ChangeHistory:
        """What was known on the morning of a day: the changes before it."""
        return self._between(self.start, max(self.start, min(self.end, date)))

    def since(self, date: dt.date) -> ChangeHistory:
        """The changes from a day on."""
        return self._between(min(self.end, max(self.start, date)), self.end)

    def _between(self, start: dt.date, end: dt.date) -> ChangeHistory:
        changes = {
            name: tuple(day for day in days if start <= day < end)
            for name, days in self.changes.items()
        }
        return dataclasses.replace(self, changes=changes, start=start, end=end)

    def source_of(self, name: str) -> str:
        """The source of a package; the package itself if none is known."""
        return self.sources.get(name, name)

    def rebuilds(self, every_days: int = 7) -> list[frozenset[str]]:
        """What changed in each rebuild of an image that is rebuilt every so many days.

        Returns
        -------
        list of frozenset of str
            For each rebuild the names of the packages that changed since the one before, also if
            there are none. The first rebuild is `every_days` after `start`, the last not before
            `end`.
        """
        found: list[set[str]] = [set() for _ in range(self._count(every_days))]
        for name, days in self.changes.items():
            for day in days:
                if self.start <= day < self.end:
                    found[(day - self.start).days // every_days].add(name)
        return [frozenset(names) for names in found]

    def rates(self, every_days: int = 7, *, names: Iterable[str] = ()) -> Mapping[str, float]:
        """How likely each package is to change before the next rebuild.

        The share of rebuilds in which its source changed, a recent one counting more than an old
        one (`HALF_LIFE_DAYS`), drawn towards what sources of its exposure did on average, as if
        that had been seen until half a change (`PRIOR_CHANGES`). So what never changed while it
        was watched may still change, and what changed once by chance is not taken for restless.

        Parameters
        ----------
        every_days
            Days from one rebuild to the next.
        names
            Packages that are to have a rate also if nothing is known of them: that of an unknown
            source.

        Returns
        -------
        Mapping of str to float
            Probabilities, above 0 and below 1, by the package's name. Packages of one source have
            the same.
        """
        by_source, unknown = self._rates(every_days)
        found = {name: by_source[self.source_of(name)] for name in self.changes}
        for name in names:
            found.setdefault(name, by_source.get(self.source_of(name), unknown))
        return found

    def _rates(self, every_days: int) -> tuple[Mapping[str, float], float]:
        """The rates of the sources, and that of one of which nothing is known."""
        count = self._count(every_days)
        fading = 0.5 ** (every_days / HALF_LIFE_DAYS)
        weights = [fading ** (count - 1 - i) for i in range(count)]
        watched = sum(weights)
        rebuilds: dict[str, set[int]] = {}
        for name, days in self.changes.items():
            rebuilds.setdefault(self.source_of(name), set()).update(
                (day - self.start).days // every_days
                for day in days
                if self.start <= day < self.end
            )
        seen = {source: math.fsum(weights[i] for i in at) for source, at in rebuilds.items()}
        exposures = {source: self.exposure.get(source, 1.0) for source in seen}
        # Half a change more than there was: a rate of zero would promise that nothing ever changes.
        mean = (math.fsum(seen.values()) + PRIOR_CHANGES) / (
            max(watched, 1.0) * max(math.fsum(exposures.values()), 1.0)
        )
        rates = {
            source: _rate(changed, watched, mean * exposures[source])
            for source, changed in seen.items()
        }
        return rates, _rate(0.0, 0.0, mean)

    def _count(self, every_days: int) -> int:
        if every_days < 1:
            raise ArgumentError(
                f"Rebuilds are at least a day apart, not {every_days}.", argument="every_days"
            )
        return -(-(self.end - self.start).days // every_days)


def _rate(changed: float, watched: float, expected: float) -> float:
    """The mean of a gamma distribution: what was expected, and then what was seen."""
    rate = (changed + PRIOR_CHANGES) / (watched + PRIOR_CHANGES / expected)
    return min(rate, _MOST)
