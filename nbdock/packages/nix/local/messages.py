"""What Nix says on its standard error, for people: how far a build is, and why something failed.

>>> from nbdock.packages.nix.local.command import NixOutcome
>>> said = ("error: attribute 'helo' missing", "", "  at (string):1:1:")
>>> print(evaluation_failure("pkgs.helo", "helo", NixOutcome(1, "", said)))
Nix cannot evaluate pkgs.helo:
  error: attribute 'helo' missing
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from nbdock.errors import NixError
from nbdock.packages.nix.local.command import NixOutcome
from nbdock.packages.package import Progress

__all__ = ["BuildReport", "build_failure", "evaluation_failure"]

_LINES_SHOWN = 15
_TO_DO = re.compile(r"(?:this|these (\d+)) (?:derivations?|paths?) will be (?:built|fetched)")
_FAILED = re.compile(r"error: builder for '(/[^']*/[0-9a-z]{32}-([^']+)\.drv)' failed")
_PLACE = re.compile(r"\s+at /.+:\d+:\d+")
_ACTIVITY = re.compile(
    r"(building|copying path|downloading) '(?:[^']*/)?(?:[0-9a-z]{32}-)?([^'/]+)'"
)


class BuildReport:
    """Tells from what Nix says while it builds how far it is; called with each line."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._doing = ""
        self._begun = self._count = 0

    def __call__(self, line: str) -> None:
        """Take a line."""
        if to_do := _TO_DO.match(line):
            self._count += int(to_do[1] or 1)
            return
        log = ""
        if activity := _ACTIVITY.match(line):
            verb = "Building" if activity[1] == "building" else "Fetching"
            self._doing = f"{verb} {activity[2].removesuffix('.drv')}"
            self._begun += 1
        elif not self._doing or line.startswith("warning:"):
            return
        else:
            log = f": {line.strip()[:100]}"
        # What has begun is not done: a full bar would say that it is.
        done = max(0, self._begun - 1)
        self._progress(self._doing + log, min(done, self._count), self._count)


def evaluation_failure(shown: str, package: str, outcome: NixOutcome) -> NixError:
    """The error for an evaluation, with what Nix says last: the cause of all it says before."""
    lines = _lines(outcome)
    errors = [i for i, line in enumerate(lines) if line.lstrip().startswith("error:")]
    said = lines[errors[-1] :] if errors else lines[-_LINES_SHOWN:]
    place = next((line for line in said[1:] if _PLACE.match(line)), None)
    if "" in said[1:]:
        said = said[: said.index("", 1)]
    said = [line for line in said if not line.strip().startswith("(use '--show-trace'")]
    if place is not None and place not in said:
        said.append(place.rstrip().rstrip(":"))
    hint = None
    if any("allowUnfree" in line for line in lines):
        hint = 'If you accept its license: nixpkgs(config={"allowUnfree": True}).'
    return _failure(f"Nix cannot evaluate {shown}", said, package, outcome, hint)


def build_failure(asked: Sequence[str], outcome: NixOutcome) -> NixError:
    """The error for a build, with the end of the log of what failed."""
    lines = [line for line in _lines(outcome) if not (_TO_DO.match(line) or line[:2] == "  ")]
    errors = [i for i, line in enumerate(lines) if line.startswith("error:")]
    start = max(0, errors[0] - _LINES_SHOWN) if errors else -_LINES_SHOWN
    said = [line for line in lines[start:] if not _ACTIVITY.match(line)][: 2 * _LINES_SHOWN]
    failed = next((match for line in lines if (match := _FAILED.match(line))), None)
    names = [failed[2]] if failed else list(asked)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    what = f"Nix cannot build {', '.join(names[:3])}{more}"
    hint = f"The whole log: nix-store --read-log {failed[1]}" if failed else None
    return _failure(what, said, names[0], outcome, hint)


def _lines(outcome: NixOutcome) -> list[str]:
    return [line for line in outcome.messages if not line.startswith("warning: you did not")]


def _failure(
    what: str, said: Sequence[str], package: str, outcome: NixOutcome, hint: str | None = None
) -> NixError:
    shown = [f"  {line.strip()}" for line in said if line.strip()] or ["  (it said nothing)"]
    if outcome.exit_code < 0:
        shown.append(f"  (ended by signal {-outcome.exit_code})")
    return NixError(
        "\n".join([f"{what}:", *shown]), package=package, output="\n".join(outcome.messages),
        hint=hint,
    )  # fmt: skip
