"""One progress line for many transfers at a time, and a part of it for each.

>>> lines = []
>>> tally = Tally("Fetching packages", lambda *line: lines.append(line), total_bytes=30)
>>> first, second = tally.part("libc6", 10), tally.part("redis", 20)
>>> first(10, 10); second(5, 20); second(20, 20)
>>> lines[-1]
('Fetching packages', 30, 30)
"""

from __future__ import annotations

from nbdock.packages.package import Progress
from nbdock.progress import Part, part_of

__all__ = ["TalliedPart", "Tally"]


class Tally:
    """Adds up what transfers report and passes it on."""

    def __init__(self, what: str, progress: Progress | None, *, total_bytes: int) -> None:
        self._what = what
        self._progress = progress
        self._total_bytes = total_bytes
        self._done_bytes = 0
        self.add(0)

    def expect(self, more_bytes: int) -> None:
        """Count on more than was known at first."""
        self._total_bytes += more_bytes

    def part(self, label: str, total_bytes: int = 0) -> TalliedPart:
        """What one transfer reports to, and what is shown of it."""
        return TalliedPart(self, part_of(self._progress, self._what, label, total_bytes))

    def add(self, more_bytes: int) -> None:
        """Count so many bytes more as done."""
        self._done_bytes += more_bytes
        if self._progress is not None:
            self._progress(self._what, self._done_bytes, self._total_bytes)


class TalliedPart:
    """One transfer of a `Tally`: a function of bytes that it has, and bytes that it will have."""

    def __init__(self, tally: Tally, part: Part) -> None:
        self._tally = tally
        self._part = part

    def __call__(self, done_bytes: int, total_bytes: int) -> None:
        """Take note of progress."""
        more_bytes = done_bytes - self._part.done_bytes
        self._part(done_bytes, total_bytes)
        self._tally.add(more_bytes)

    def end(self, how: str) -> None:
        """Take note that nothing is to be done, and why: ``exists already``, ``mounted``."""
        self._part.end(how)
