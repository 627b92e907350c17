"""The names that a cell may use: the notebook's own first, then nbdock's.

contents = [ apt.redis-server (script "hello" "echo hi") ];
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from nbdock import packages
from nbdock.errors import UnavailableError
from nbdock.images import build_image, build_layered_image, build_nix_shell_image
from nbdock.packages import PackageSet, apt, directory, script, text_file

__all__ = ["BUILDERS", "CellNames", "default_apt"]

BUILDERS: Mapping[str, Callable[..., Any]] = {
    "buildImage": build_image,
    "buildLayeredImage": build_layered_image,
    "buildNixShellImage": build_nix_shell_image,
}
"""The build functions by dockerTools' names."""

_NOT_YET = {
    "pkgs": "Packages of nixpkgs are not in this version of nbdock. For Debian's packages write "
    "apt, for example apt.redis-server.",
}

_HELPERS = {
    "shadowSetup": "shadow_setup",
    "fakeNss": "fake_nss",
    "binSh": "bin_sh",
    "usrBinEnv": "usr_bin_env",
    "caCertificates": "ca_certificates",
}

_default_apt: PackageSet | None = None


def default_apt() -> PackageSet:
    """The package sources of this machine: one set, so that its index is loaded once."""
    global _default_apt
    if _default_apt is None:
        _default_apt = apt()
    return _default_apt


def _text_file(path: str) -> Callable[[str], object]:
    return lambda text: text_file(path, text)


def _script(name: str) -> Callable[[str], object]:
    return lambda text: script(name, text)


def _builtin(name: str) -> object:
    """Nbdock's own value of a name; functions of two arguments are curried, as Nix has them."""
    if name == "apt":
        return default_apt()
    if name in _NOT_YET:
        raise UnavailableError(f"{name} is not available.", hint=_NOT_YET[name])
    if name in _HELPERS:
        return getattr(packages, _HELPERS[name])
    functions: dict[str, object] = {
        "directory": directory,
        "textFile": _text_file,
        "script": _script,
    }
    return functions[name]


class CellNames(Mapping[str, object]):
    """Free names of a cell, looked up in a notebook's namespace and then among nbdock's own."""

    def __init__(self, namespace: Mapping[str, object]) -> None:
        self._namespace = namespace

    def __getitem__(self, name: str) -> object:
        if name in self._namespace:
            return self._namespace[name]
        return _builtin(name)

    def defined(self) -> tuple[str, ...]:
        """The names that have a value."""
        public = (name for name in self._namespace if not name.startswith("_"))
        own = ("apt", "directory", "textFile", "script", *_HELPERS)
        return tuple(dict.fromkeys([*public, *own]))

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self.defined(), *_NOT_YET]))

    def __len__(self) -> int:
        return len(list(iter(self)))
