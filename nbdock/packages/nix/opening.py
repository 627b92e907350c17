"""`nixpkgs()`: from arguments to a package set, with the Nix that is here or without one.

>>> nixpkgs("nixpkgs#", system="aarch64-linux")
<NixPackageSet nixpkgs# for aarch64-linux>

Nothing runs and nothing is fetched before the first package is looked up.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Mapping

from nbdock import settings
from nbdock.calling import checked
from nbdock.errors import ArgumentError, UnavailableError
from nbdock.packages.nix.cache.package_set import CachePackageSet
from nbdock.packages.nix.local.command import find_nix
from nbdock.packages.nix.local.evaluation import NixPackageSet
from nbdock.packages.nix.local.location import StoreLocation, nix_settings
from nbdock.packages.package import PackageSet

__all__ = ["default_nixpkgs", "nixpkgs"]

_NOT_A_PATH = re.compile(r"https?:|channel:|flake:|git[+:]")

_lock = threading.Lock()
_opened: dict[object, PackageSet] = {}


@checked
def nixpkgs(
    source: str | os.PathLike[str] | None = None,
    *,
    cache: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None = None,
    channel: str | os.PathLike[str] | None = None,
    system: str | None = None,
    trusted_keys: str | Iterable[str] | None = None,
    config: Mapping[str, object] | None = None,
    refresh: bool = False,
) -> PackageSet:
    """Open the packages of nixpkgs.

    With Nix installed, its language evaluates them and its store has them. Without it, or if
    `cache` or `channel` is given, they come from a binary cache, over HTTP.

    Parameters
    ----------
    source
        What Nix takes them from: ``"<nixpkgs>"`` (the default), the path of a file or directory, a
        flake such as ``"nixpkgs#"`` or ``"github:NixOS/nixpkgs/nixos-unstable"``, or the URL of an
        archive.
    cache
        Without Nix: the binary caches, URLs or directories, in the order in which they are asked;
        by default the setting `nix_caches`, which is the public one.
    channel
        Without Nix: whose list of packages is used, a name (``"nixos-23.11"``), URL or directory.
    system
        What the packages are for, in Nix's words (``aarch64-linux``); by default this machine.
    trusted_keys
        Without Nix: the public keys (``name:base64``) of which one must have signed each package;
        by default that of the public cache.
    config
        With Nix: nixpkgs' own configuration, such as ``{"allowUnfree": True}``.
    refresh
        Without Nix: whether to ask for the list again even if that was done a short while ago.

    Returns
    -------
    PackageSet
        ``pkgs.hello``, ``pkgs["python3Packages.requests"]``, ``pkgs["/nix/store/..."]``.

    Raises
    ------
    UnavailableError
        A source is given, and there is no Nix to evaluate it.
    ArgumentError
        Arguments that do not exist, are wrong, or contradict each other.
    """
    of_nix = {"source": source, "config": config}
    of_cache = {"cache": cache, "channel": channel, "trusted_keys": trusted_keys}
    with_nix = [name for name, value in of_nix.items() if value is not None]
    without = [name for name, value in of_cache.items() if value is not None]
    if with_nix and without:
        raise ArgumentError(
            f"nixpkgs() was given {with_nix[0]}= and {without[0]}=: the one is for packages that "
            f"Nix evaluates, the other for those of a binary cache.",
            argument=without[0],
            hint="Give one of them.",
        )
    obstacle = "" if without else why_not_local(source)
    if not without and not obstacle:
        return NixPackageSet(source, system=system, config=config)
    if with_nix:
        raise UnavailableError(
            f"nixpkgs({with_nix[0]}=...) needs Nix, but {obstacle}.",
            argument=with_nix[0],
            hint="Without it, nixpkgs(channel=...) takes packages from a binary cache.",
        )
    return CachePackageSet(
        cache, channel=channel, system=system, trusted_keys=trusted_keys, refresh=refresh,
        note=obstacle,
    )  # fmt: skip


def default_nixpkgs() -> PackageSet:
    """What ``pkgs`` means in a cell: one set per process, as long as nothing changes around it."""
    names = ("PATH", "HOME", *(name for name in os.environ if name.startswith(("NIX_", "XDG_"))))
    around = (settings.current(), *((name, os.environ.get(name)) for name in sorted(names)))
    with _lock:
        if around not in _opened:
            _opened.clear()
            _opened[around] = nixpkgs()
        return _opened[around]


def why_not_local(source: object = None) -> str:
    """Why Nix cannot be used here, as a clause; the empty text if it can."""
    if find_nix() is None:
        return "Nix is not installed"
    try:
        StoreLocation.default()
    except UnavailableError:
        return "Nix's store is on another machine"
    except ArgumentError as error:
        return f"Nix's store cannot be found: {error.message.rstrip('.')}"
    if source is None and not _has_nixpkgs(os.environ):
        return "Nix's search path (NIX_PATH) has no <nixpkgs>"
    return ""


def _has_nixpkgs(environment: Mapping[str, str]) -> bool:
    """Whether Nix would find ``<nixpkgs>``, as far as can be told without running it."""
    listed = environment.get("NIX_PATH")
    if listed is None:
        listed = nix_settings(environment).get("nix-path", "").replace(" ", ":")
    if not listed:
        home = environment.get("HOME", "")
        state = environment.get("NIX_STATE_DIR") or "/nix/var/nix"
        data = environment.get("XDG_STATE_HOME") or f"{home}/.local/state"
        roots = f"{state}/profiles/per-user/root/channels"
        listed = f"{home}/.nix-defexpr/channels:{data}/nix/defexpr/channels:{roots}"
        listed += f":nixpkgs={roots}/nixpkgs"
    named = re.findall(r"(?:^|:)nixpkgs=([^:]*:?[^:]*)", listed)
    if any(_NOT_A_PATH.match(place) or os.path.exists(place.partition(":")[0]) for place in named):
        return True
    return any(os.path.exists(f"{place}/nixpkgs") for place in listed.split(":") if place)
