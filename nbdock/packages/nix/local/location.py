"""Where a Nix store is: what Nix itself makes of the environment and of a store's URI.

>>> StoreLocation.parse("local?root=/mnt/nixos")
StoreLocation(store_dir='/nix/store', state_dir='/mnt/nixos/nix/var/nix',
              real_dir='/mnt/nixos/nix/store', uri='local?root=/mnt/nixos')
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl

from nbdock.errors import ArgumentTypeError, UnavailableError
from nbdock.packages.nix.storepath import STORE_DIR, StorePath

__all__ = ["StoreLocation", "nix_settings"]

_STATE_DIR = "/nix/var/nix"
_INCLUDES_DEEP = 10


@dataclasses.dataclass(frozen=True, slots=True)
class StoreLocation:
    """Where a store is.

    Attributes
    ----------
    store_dir
        The directory that its store paths begin with.
    state_dir
        The directory of its database and profiles.
    real_dir
        The directory that its store paths are really in. Another one than `store_dir` for a store
        in a directory of its own, whose paths are right only for who has it as root.
    uri
        What Nix calls it; empty for the one that Nix uses anyway.
    """

    store_dir: str = STORE_DIR
    state_dir: str = _STATE_DIR
    real_dir: str = STORE_DIR
    uri: str = ""

    @property
    def database(self) -> str:
        """The file of its database."""
        return f"{self.state_dir}/db/db.sqlite"

    def real_path(self, path: StorePath) -> str:
        """Where a store path is on this machine."""
        return f"{self.real_dir}/{path.base_name}"

    @classmethod
    def default(cls, environment: Mapping[str, str] = os.environ) -> StoreLocation:
        """The store that the commands of Nix use with this environment.

        Raises
        ------
        UnavailableError
            That store is on another machine.
        """
        uri = nix_settings(environment).get("store") or environment.get("NIX_REMOTE", "")
        return dataclasses.replace(cls.parse(uri, environment), uri="")

    @classmethod
    def parse(cls, uri: str, environment: Mapping[str, str] = os.environ) -> StoreLocation:
        """The store of a URI: ``local``, ``daemon``, ``local?root=/mnt``, or the root directory.

        Raises
        ------
        UnavailableError
            It is not on this machine.
        ArgumentTypeError
            It is nothing that Nix understands.
        """
        kind, _, query = uri.partition("?")
        given = dict(parse_qsl(query))
        if kind.startswith(("/", "./", "../")):
            kind, given["root"] = "local", kind
        scheme = kind.partition(":")[0]
        if scheme in ("ssh", "ssh-ng", "http", "https", "s3", "file"):
            raise UnavailableError(
                f"The Nix store {kind!r} is not a store on this machine.",
                argument="store",
                hint="nixpkgs(cache=...) takes packages from a binary cache.",
            )
        if kind not in ("", "auto", "local", "local://", "daemon") and scheme != "unix":
            raise ArgumentTypeError(
                f"{uri!r} is not the URI of a Nix store.",
                argument="store",
                hint='For example "local", "daemon", "local?root=/mnt", or "/mnt".',
            )
        store_dir = given.get("store") or environment.get("NIX_STORE_DIR") or STORE_DIR
        state_dir = environment.get("NIX_STATE_DIR") or _STATE_DIR
        root = given.get("root", "")
        if not root and kind in ("", "auto") and not given:
            root = _home_of_unprivileged(state_dir, environment)
        if root:
            root = os.path.abspath(root)
            state_dir, real_dir = f"{root}/nix/var/nix", f"{root}/nix/store"
        else:
            real_dir = store_dir
        return cls(
            store_dir=store_dir.rstrip("/"),
            state_dir=given.get("state", state_dir),
            real_dir=given.get("real", real_dir).rstrip("/"),
            uri=uri,
        )


def nix_settings(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The settings in the files that configure Nix, in the order in which Nix reads them."""
    found: dict[str, str] = {}
    system = environment.get("NIX_CONF_DIR") or "/etc/nix"
    for file in (f"{system}/nix.conf", *reversed(_user_files(environment))):
        found.update(_settings_of_file(file, _INCLUDES_DEEP))
    found.update(_settings_of_text(environment.get("NIX_CONFIG", ""), "/", _INCLUDES_DEEP))
    return found


def _user_files(environment: Mapping[str, str]) -> list[str]:
    if listed := environment.get("NIX_USER_CONF_FILES"):
        return listed.split(":")
    home = environment.get("HOME", "")
    places = [environment.get("XDG_CONFIG_HOME") or f"{home}/.config"]
    places += (environment.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")
    return [f"{place}/nix/nix.conf" for place in places]


def _settings_of_file(path: str, deep: int) -> dict[str, str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    except (OSError, ValueError):
        return {}
    return _settings_of_text(text, os.path.dirname(path), deep)


def _settings_of_text(text: str, directory: str, deep: int) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in _lines(text):
        if name in ("include", "!include"):
            if deep:
                found.update(_settings_of_file(os.path.join(directory, value), deep - 1))
        else:
            found[name] = value
    return found


def _lines(text: str) -> Iterator[tuple[str, str]]:
    for line in text.split("\n"):
        words = line.partition("#")[0].split()
        if len(words) == 2 and words[0] in ("include", "!include"):
            yield words[0], words[1]
        elif len(words) >= 2 and words[1] == "=":
            yield words[0], " ".join(words[2:])


def _home_of_unprivileged(state_dir: str, environment: Mapping[str, str]) -> str:
    """The root of the store that Nix gives a user who is not root where there is no ``/nix``."""
    moved = environment.get("NIX_STORE_DIR") or environment.get("NIX_STATE_DIR")
    if moved or os.getuid() == 0 or os.path.exists(state_dir):
        return ""
    data = environment.get("XDG_DATA_HOME") or f"{environment.get('HOME', '')}/.local/share"
    return f"{data}/nix/root"
