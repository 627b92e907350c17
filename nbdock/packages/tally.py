"""One progress line for many transfers at a time.

>>> lines = []
>>> tally = Tally("Fetching packages", lambda *line: lines.append(line), total_bytes=30)
>>> first, second = tally.part(), tally.part()
>>> first(10, 10); second(5, 20); second(20, 20)
>>> lines[-1]
('Fetching packages', 30, 30)
"""

from __future__ import annotations

from collections.abc import Callable

from nbdock.packages.package import Progress

__all__ = ["Tally"]


class Tally:
    """Adds up what transfers report and passes it on."""

    def __init__(self, what: str, progress: Progress | None, *, total_bytes: int) -> None:
        self._what = what
        self._progress = progress
        self._total_bytes = total_bytes
        self._done_bytes = 0

    def expect(self, more_bytes: int) -> None:
        """Count on more than was known at first."""
        self._total_bytes += more_bytes

    def part(self) -> Callable[[int, int], None]:
        """What one transfer reports to: bytes it has, bytes it will have."""
        before = 0

        def report(done_bytes: int, _total_bytes: int) -> None:
            nonlocal before
            self._done_bytes += done_bytes - before
            before = done_bytes
            if self._progress is not None:
                self._progress(self._what, self._done_bytes, self._total_bytes)

        return report
