"""`nixpkgs()` opens what there is, at once, and says why it is that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.nix import Nix, NixCache

import nbdock
from nbdock import nixpkgs
from nbdock.errors import (
    ArgumentError,
    ConnectionFailedError,
    PackageNotFoundError,
    UnavailableError,
    UnknownArgumentError,
)
from nbdock.packages import default_nixpkgs, realise
from nbdock.packages.nix import NixPackageSet
from nbdock.packages.nix.cache.package_set import CachePackageSet


@pytest.fixture
def no_nix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without Nix."""
    monkeypatch.setattr("nbdock.packages.nix.opening.find_nix", lambda: None)


def test_with_nix(local_nix: Nix) -> None:
    packages = nixpkgs()
    assert type(packages) is NixPackageSet
    assert repr(packages) == "<NixPackageSet <nixpkgs>>"
    assert str(packages["hello"]) == local_nix.build("hello")
    for source in (local_nix.nixpkgs, "nixpkgs#", "<nixpkgs>"):
        assert type(nixpkgs(source)) is NixPackageSet
    configured = nixpkgs(system="aarch64-linux", config={"allowUnfree": True})
    assert repr(configured) == "<NixPackageSet <nixpkgs> for aarch64-linux>"


def test_without_nix(no_nix: None, local_nix: Nix) -> None:
    packages = nixpkgs(system="aarch64-linux")
    assert type(packages) is CachePackageSet
    assert repr(packages).endswith("for aarch64-linux; Nix is not installed>")
    for arguments in ({"source": "nixpkgs#"}, {"config": {}}):
        with pytest.raises(UnavailableError, match="needs Nix, but Nix is not installed") as caught:
            nixpkgs(**arguments)  # type: ignore[arg-type]
        assert "channel=" in str(caught.value)


async def test_with_a_cache(nix_cache: NixCache, local_nix: Nix, nbdock_home: Path) -> None:
    packages = nixpkgs(
        cache=nix_cache.url, channel=nix_cache.channel_url, trusted_keys=[nix_cache.public_key]
    )
    assert type(packages) is CachePackageSet
    assert repr(packages).endswith("-linux>")
    hello = await nbdock.concurrency.in_worker(packages.__getitem__, "hello")
    (realised,) = await realise([hello])
    assert str(realised) == local_nix.build("hello")


def test_with_nix_but_without_nixpkgs(
    local_nix: Nix, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NIX_PATH", "other=/tmp")
    packages = nixpkgs()
    assert type(packages) is CachePackageSet
    assert repr(packages).endswith("; Nix's search path (NIX_PATH) has no <nixpkgs>>")
    # A source needs no search path.
    assert type(nixpkgs(local_nix.nixpkgs)) is NixPackageSet


@pytest.mark.parametrize(
    ("path", "is_there"),
    [
        ("nixpkgs={nixpkgs}", True),
        ("a=/b:nixpkgs={nixpkgs}:c=/d", True),
        ("nixpkgs=/none", False),
        ("nixpkgs=/none:c=/d", False),
        ("nixpkgs=https://example.org/a.tar.gz:c=/d", True),
        ("nixpkgs=channel:nixos-unstable", True),
        ("nixpkgs=flake:nixpkgs", True),
        ("{parent}", True),
        ("/none:{parent}", True),
        ("/none", False),
    ],
)
def test_search_paths(
    local_nix: Nix, monkeypatch: pytest.MonkeyPatch, path: str, is_there: bool
) -> None:
    place = local_nix.nixpkgs
    monkeypatch.setenv("NIX_PATH", path.format(nixpkgs=place, parent=place.parent))
    assert (type(nixpkgs()) is NixPackageSet) == is_there


@pytest.mark.parametrize("place", ["home", "state", "root", "configured", "nowhere"])
def test_where_nix_looks_without_a_search_path(
    local_nix: Nix, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    monkeypatch.delenv("NIX_PATH")
    monkeypatch.setenv("NIX_CONF_DIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NIX_STATE_DIR", str(tmp_path / "var"))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    parents = {
        "home": ".nix-defexpr/channels", "state": ".local/state/nix/defexpr/channels",
        "root": "var/profiles/per-user/root/channels", "configured": "mine",
    }  # fmt: skip
    if place in parents:
        (tmp_path / parents[place] / "nixpkgs").mkdir(parents=True)
    if place == "configured":
        (tmp_path / "nix.conf").write_text(f"nix-path = a=/b nixpkgs={tmp_path}/mine/nixpkgs\n")
    assert (type(nixpkgs()) is NixPackageSet) == (place != "nowhere")


def test_a_store_elsewhere(local_nix: Nix, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIX_REMOTE", "ssh-ng://build.example.org")
    assert "Nix's store is on another machine" in repr(nixpkgs())
    with pytest.raises(UnavailableError, match="Nix's store is on another machine"):
        nixpkgs("nixpkgs#")
    monkeypatch.setenv("NIX_REMOTE", "what")
    assert "Nix's store cannot be found" in repr(nixpkgs())


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"sourc": "x"}, UnknownArgumentError, "Did you mean source"),
        ({"zzz": 1}, UnknownArgumentError, "trusted_keys"),
        ({"source": "nixpkgs#", "cache": "https://c"}, ArgumentError, "source= and cache="),
        ({"config": {}, "channel": "nixos-23.11"}, ArgumentError, "config= and channel="),
        ({"source": "/none"}, ArgumentError, "no file"),
        ({"cache": []}, ArgumentError, "no binary cache"),
    ],
)
def test_arguments(
    local_nix: Nix, arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        nixpkgs(**arguments)


def test_neither_is_possible(
    no_nix: None, local_nix: Nix, nbdock_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBDOCK_NIX_CHANNEL", "http://127.0.0.1:9/channel")
    monkeypatch.setenv("NBDOCK_RETRIES", "1")
    with pytest.raises(ConnectionFailedError) as caught:
        nixpkgs()["hello"]
    assert "Nix is not installed" in str(caught.value)


def test_a_name_that_the_list_has_not(
    no_nix: None, local_nix: Nix, nix_cache: NixCache, nbdock_home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("NBDOCK_NIX_CHANNEL", nix_cache.channel_url)
    packages = nixpkgs()
    with pytest.raises(PackageNotFoundError) as caught:
        packages["helo"]
    assert "hello" in str(caught.value)
    assert "Nix is not installed" in str(caught.value)


def test_the_default_is_one_set_until_something_changes(
    local_nix: Nix, monkeypatch: pytest.MonkeyPatch, nbdock_home: Path
) -> None:
    first = default_nixpkgs()
    assert default_nixpkgs() is first
    monkeypatch.setenv("NIX_PATH", f"nixpkgs={local_nix.nixpkgs}:a=b")
    second = default_nixpkgs()
    assert second is not first
    assert default_nixpkgs() is second
    monkeypatch.setattr("nbdock.packages.nix.opening.find_nix", lambda: None)
    monkeypatch.setenv("PATH", "/none")
    assert type(default_nixpkgs()) is CachePackageSet


def test_opening_runs_nothing_and_imports_little(local_nix: Nix) -> None:
    program = """
import sys
def watch(event, arguments):
    if event in ("subprocess.Popen", "os.posix_spawn", "os.fork", "socket.connect"):
        raise AssertionError(f"{event}: {arguments}")
sys.addaudithook(watch)
import nbdock
print(nbdock.nixpkgs(), nbdock.nixpkgs(channel="nixos-23.11"))
print([name for name in ("networkx", "pandas", "IPython") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("<NixPackageSet <nixpkgs>> <CachePackageSet ")
    assert done.stdout.splitlines()[-1] == "[]"
