"""What registries need of the machine: files of logins. None is needed to pull what is public."""

from __future__ import annotations

import os
import shutil
from typing import Final

from nbdock.registry.authfiles import AuthFile, read_auth_file
from nbdock.registry.credentials import auth_paths
from nbdock.requirements import Finding, Requirement, State

__all__ = ["REQUIREMENTS"]

_LOGINS: Final = ("docker", "podman", "skopeo")


def _look_for_logins() -> Finding:
    """Read the files; no helper is asked, as it may have to ask its user."""
    files = [read_auth_file(path) for path in auth_paths(os.environ)]
    program = next((name for name in _LOGINS if shutil.which(name)), _LOGINS[0])
    fix = f"{program} login REGISTRY"
    for file in files:
        if file.problem:
            return Finding(State.ABSENT, file.problem.rstrip("."), fix)
        for helper in sorted({*file.helpers.values(), file.store} - {""}):
            if not shutil.which(_program(helper)):
                return Finding(
                    State.ABSENT, f"{file.path} names {_program(helper)}, which is not here", fix
                )
    found = [_told(file) for file in files if file.logins or file.helpers or file.store]
    if not found:
        return Finding(State.ABSENT, "no logins: registries are asked without one", fix)
    return Finding(State.OK, "; ".join(found))


def _told(file: AuthFile) -> str:
    places = sorted({*file.logins, *file.helpers})
    shown = ", ".join(places[:3]) + (f" and {len(places) - 3} more" if len(places) > 3 else "")
    if file.store:
        shown += f"{', ' if shown else ''}{_program(file.store)} for all"
    return f"{shown} ({file.path})"


def _program(helper: str) -> str:
    return f"docker-credential-{helper}"


REQUIREMENTS: Final[tuple[Requirement, ...]] = (
    Requirement("logins", "registries that ask for one", _look_for_logins),
)
