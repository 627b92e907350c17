"""What Nix says on its standard error, for people: how far a build is, and why something failed.

>>> from nbdock.packages.nix.nixcommand import NixOutcome
>>> said = ("error: attribute 'helo' missing", "", "  at (string):1:1:")
>>> print(failure("Nix cannot evaluate helo", NixOutcome(1, "", said), ["helo"], build=False))
Nix cannot evaluate helo:
  error: attribute 'helo' missing
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from nbdock.errors import NixError
from nbdock.packages.nix.nixcommand import NixOutcome
from nbdock.packages.package import Progress

__all__ = ["BuildReport", "failure"]

_LINES_SHOWN = 25
_TO_DO = re.compile(r"(?:this|these (\d+)) (?:derivations?|paths?) will be (?:built|fetched)")
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
        self._progress(self._doing + log, min(self._begun, self._count), self._count)


def failure(what: str, outcome: NixOutcome, names: Sequence[str], *, build: bool) -> NixError:
    """The error with Nix's own words: the last error of an evaluation, all of a build."""
    lines = [line for line in outcome.messages if not line.startswith("warning: you did not")]
    errors = [i for i, line in enumerate(lines) if line.lstrip().startswith("error:")]
    start = (errors[0] if build else errors[-1]) if errors else max(0, len(lines) - _LINES_SHOWN)
    shown = lines[start : start + _LINES_SHOWN]
    if not build and "" in shown[1:]:
        shown = shown[: shown.index("", 1)]
    text = "\n".join(f"  {line.strip()}" for line in shown if line.strip()) or "  (it said nothing)"
    hint = None
    if "allowUnfree" in "".join(lines):
        hint = 'If you accept its license: nixpkgs(config={"allowUnfree": True}).'
    elif outcome.exit_code < 0:
        text += f"\n  (ended by signal {-outcome.exit_code})"
    return NixError(
        f"{what}:\n{text}", package=names[0] if names else "", output="\n".join(lines), hint=hint
    )
