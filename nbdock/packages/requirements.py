"""What package sets need of the machine: its package sources, its Nix."""

from __future__ import annotations

from typing import Final

from nbdock.packages.debian.sources import host_sources
from nbdock.packages.nix.local.command import find_nix
from nbdock.packages.nix.opening import why_not_local
from nbdock.requirements import Finding, Requirement, State, install_command

__all__ = ["REQUIREMENTS", "apt_finding"]


def apt_finding() -> Finding:
    """Whether this machine has APT sources.

    Raises
    ------
    SourceConfigurationError
        It has none, or they cannot be understood.
    """
    found = host_sources()
    suites = " ".join(dict.fromkeys(source.suite for source in found.sources))
    return Finding(State.OK, f"{suites} for {found.native_architecture}")


def _look_for_nix() -> Finding:
    obstacle = why_not_local()
    if not obstacle:
        return Finding(State.OK, str(find_nix()))
    fix = ""
    if find_nix() is None:
        fix = install_command("nix-bin", dnf="nix", pacman="nix", apk="nix")
    elif "NIX_PATH" in obstacle:
        fix = "export NIX_PATH=nixpkgs=/path/to/nixpkgs"
    return Finding(State.ABSENT, obstacle, fix)


REQUIREMENTS: Final[tuple[Requirement, ...]] = (
    Requirement("APT sources", "apt, as long as it is given no mirror", apt_finding),
    Requirement(
        "Nix", "buildNixShellImage; pkgs, which else come from a binary cache", _look_for_nix
    ),
)
