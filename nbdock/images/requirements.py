"""What images need of the machine: an engine to load them into, programs for their commands."""

from __future__ import annotations

import os
import shutil
import socket
from typing import Final

from nbdock.errors import EngineError
from nbdock.images.engine import find_engine
from nbdock.requirements import Finding, Requirement, State, install_command

__all__ = ["REQUIREMENTS"]

_ANSWER_S: Final = 0.5


def _look_for_engine() -> Finding:
    try:
        path = find_engine()
    except EngineError as error:
        found = error.message.partition(";")[0].rstrip(".")
        return Finding(State.ABSENT, found, _start_engine())
    try:
        with socket.socket(socket.AF_UNIX) as there:
            there.settimeout(_ANSWER_S)
            there.connect(path)
    except PermissionError:
        return Finding(
            State.ABSENT, f"{path} is not for this user", 'sudo usermod -aG docker "$USER"'
        )
    except OSError as error:
        reason = error.strerror or "no answer"
        return Finding(State.ABSENT, f"{path} does not answer ({reason})", _start_engine())
    return Finding(State.OK, path)


def _start_engine() -> str:
    # It stands where a user's PATH does not lead.
    if shutil.which("dockerd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"):
        return "sudo systemctl start docker"
    if shutil.which("podman"):
        return "systemctl --user start podman.socket"
    return install_command("podman")


def _look_for_bash() -> Finding:
    if path := shutil.which("bash"):
        return Finding(State.OK, path)
    return Finding(State.ABSENT, "scripts run in /bin/sh", install_command("bash"))


def _look_for_unshare() -> Finding:
    if path := shutil.which("unshare"):
        return Finding(State.OK, path)
    return Finding(State.ABSENT, "no program unshare", install_command("util-linux"))


REQUIREMENTS: Final[tuple[Requirement, ...]] = (
    Requirement("engine", "load, %%... --load, images of an engine", _look_for_engine),
    Requirement("bash", "extraCommands written for it", _look_for_bash),
    Requirement("unshare", "extraCommands that use packages of a Nix store", _look_for_unshare),
)
