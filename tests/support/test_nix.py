"""The private Nix: its programs run from its store alone, and its cache is one Nix accepts."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.nix import Nix, NixCache


def in_store(nix: Nix, *command: str) -> str:
    """Run a program where there is nothing but the store."""
    chroot = shutil.which("chroot") or "chroot"
    done = subprocess.run(
        [chroot, nix.root, *command], env={}, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize(
    ("attribute", "command", "says"),
    [
        ("hello", "bin/hello", "Hello, world!"),
        ("bash", "bin/sh --version", "GNU bash"),
        ("coreutils", "bin/ls --version", "ls (GNU coreutils)"),
        ("redis", "bin/redis-server --version", "Redis server"),
        ("busybox", "bin/echo here", "here"),
        ("openssl", "bin/openssl version", "OpenSSL"),
    ],
)
def test_programs_run_from_the_store_alone(
    nix: Nix, attribute: str, command: str, says: str
) -> None:
    assert in_store(nix, *f"{nix.build(attribute)}/{command}".split()).startswith(says)


def test_packages_are_named_as_in_nixpkgs(nix: Nix) -> None:
    hello = nix.build("hello")
    assert hello.endswith("-hello-2.10")
    assert nix.path(hello).joinpath("share/info/hello.info").is_file()
    assert nix.path(hello).joinpath("share/locale/bg/LC_MESSAGES/hello.mo").is_file()
    assert nix.build("openssl").endswith("-bin")
    assert nix.build("ncurses.dev").endswith("-dev")


def test_what_a_store_may_hold(nix: Nix) -> None:
    assert nix.path(nix.build("oddities.file")).is_file()
    assert os.readlink(nix.path(nix.build("oddities.symlink"))) == nix.build("hello")
    itself = nix.build("oddities.self")
    assert nix.run("nix-store", "--query", "--references", itself).split() == [itself]
    deep = nix.build("oddities.deep")
    assert len(nix.closure(deep)) == 22


def test_the_machines_own_store_is_left_alone(nix: Nix) -> None:
    assert not Path(nix.build("hello")).exists()


def test_the_cache_is_one_that_nix_accepts(nix: Nix, nix_cache: NixCache, tmp_path: Path) -> None:
    hello = nix.build("hello")
    assert hello in nix_cache.store_paths
    copied = tmp_path / "other"
    options = ("--option", "trusted-public-keys", nix_cache.public_key)
    nix.run("nix", "copy", *options, "--from", nix_cache.url, "--to", f"local?root={copied}", hello)
    assert (copied / hello[1:] / "bin/hello").is_file()
    kinds = {f.suffix for f in (nix_cache.directory / "nar").iterdir()}
    assert kinds == {".nar", ".xz", ".zst", ".bz2"}
