"""What a room of nbdock needs of the machine, as values that `nbdock.doctor` looks at.

    Requirement("squashfs tools", "layers in virtual machines", look_for_squashfs_tools)

Each room lists its own in a module `requirements`. To look must be quick, change nothing and may
fail: a look that raises is a row of the table, too.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib.util
import os
import shutil
from collections.abc import Callable

from nbdock.errors import NbdockError

__all__ = ["Finding", "Requirement", "State", "install_command", "packages_finding"]


class State(enum.Enum):
    """How it stands with a requirement."""

    OK = "ok"
    """It is there."""
    SLOWER = "slower"
    """It is not there, or not as it might be; what it is for works, more slowly."""
    ABSENT = "absent"
    """It is not there; what it is for does not work."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """What was found.

    Attributes
    ----------
    state
        How it stands.
    found
        What is there, or what is wrong: a few words.
    fix
        The one command, or line of Python, that changes it; empty where there is none.
    """

    state: State
    found: str
    fix: str = ""


@dataclasses.dataclass(frozen=True)
class Requirement:
    """Something that a machine may have.

    Attributes
    ----------
    part
        What it is called.
    needed_for
        What does not work without it, or not as quickly.
    look
        Finds out; blocking.
    is_needed
        Whether nothing works without it.
    """

    part: str
    needed_for: str
    look: Callable[[], Finding]
    is_needed: bool = False

    def finding(self) -> Finding:
        """What `look` finds; a failure of it is a finding as well."""
        try:
            return self.look()
        except NbdockError as error:
            return Finding(State.ABSENT, error.message, error.hint or "")
        except Exception as error:
            # Whatever is wrong with a machine, the other rows are worth reading.
            return Finding(State.ABSENT, f"cannot tell: {type(error).__name__}: {error}")


_MANAGERS = {
    "apt-get": "apt-get install {}",
    "dnf": "dnf install {}",
    "zypper": "zypper install {}",
    "pacman": "pacman -S {}",
    "apk": "apk add {}",
}


def install_command(debian: str, **others: str) -> str:
    """The command that installs a package of the system, for the package manager that is here.

    Parameters
    ----------
    debian
        Its name in Debian and Ubuntu.
    others
        Its name for the package managers ``dnf``, ``zypper``, ``pacman`` and ``apk``, where it is
        another.
    """
    manager = next((name for name in _MANAGERS if shutil.which(name)), "apt-get")
    command = _MANAGERS[manager].format(others.get(manager, debian))
    return command if os.geteuid() == 0 else f"sudo {command}"


def packages_finding(names: dict[str, str], extra: str = "") -> Finding:
    """How it stands with Python packages.

    Parameters
    ----------
    names
        Their names as they are installed, each with that of the module that it brings.
    extra
        The part of nbdock's own requirements that they belong to.
    """
    missing = [name for name, module in names.items() if not _has_module(module)]
    if missing:
        what = f'"nbdock[{extra}]"' if extra else "nbdock"
        return Finding(State.ABSENT, f"without {', '.join(missing)}", f"pip install {what}")
    return Finding(State.OK, ", ".join(f"{name} {_version(name)}".rstrip() for name in names))


def _has_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False  # the parent of a dotted name is missing, or is no package


def _version(name: str) -> str:
    # Imported here: every build imports this module, and only the doctor asks.
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
