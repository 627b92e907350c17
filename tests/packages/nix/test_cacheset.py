"""Packages of a binary cache that real Nix wrote and signed, as Nix itself has them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from support.nix import Nix, NixCache

from nbdock.packages import realise, resolve_closure
from nbdock.packages.nix import write_nar
from nbdock.packages.nix.cacheset import CachePackageSet

pytestmark = pytest.mark.usefixtures("nbdock_home")


def packages_of(cache: NixCache, **options: object) -> CachePackageSet:
    chosen = {"channel": cache.channel_url, "trusted_keys": [cache.public_key], **options}
    return CachePackageSet(cache.url, **chosen)  # type: ignore[arg-type]


def nar_of(package: object) -> bytes:
    nar = io.BytesIO()
    write_nar(package.entries(), nar.write)  # type: ignore[attr-defined]
    return nar.getvalue()


async def test_closures_are_those_of_nix(nix: Nix, nix_cache: NixCache) -> None:
    packages = packages_of(nix_cache)
    for attribute in ("hello", "redis", "oddities.deep", "python3Packages.requests"):
        path = nix.build(attribute)
        closure = await resolve_closure([packages[path]])
        assert sorted(p.root for p in closure.packages) == nix.closure(path)
        for package in closure.packages:
            said = nix.run("nix-store", "--query", "--references", package.root).split()
            roots = {closure[key].root for key in closure.references[package.key]}
            assert roots == set(said) - {package.root}


async def test_entries_are_what_nix_dumps(nix: Nix, nix_cache: NixCache) -> None:
    packages = packages_of(nix_cache)
    every = await realise([packages[path] for path in nix_cache.store_paths])
    await packages.fetch(every)
    for package in every:
        assert nar_of(package) == nix.run_bytes("nix-store", "--dump", str(nix.path(package.root)))


ATTRIBUTES = (
    "acl", "attr", "bash", "bashInteractive", "busybox", "pkgsStatic.busybox", "cacert",
    "coreutils", "glibc", "gmp", "hello", "iana-etc", "libselinux", "ncurses", "ncurses.dev",
    "ncurses.man", "nginx", "openssl", "openssl.out", "openssl.man", "pcre2",
    "python3Packages.charset-normalizer", "python3Packages.requests", "redis", "shadow",
    "stdenv.cc.cc.lib", "zlib", "zlib.dev", "zlib.static",
)  # fmt: skip


async def test_names_mean_what_they_mean_to_nix(nix: Nix, nix_cache: NixCache) -> None:
    packages = packages_of(nix_cache)
    await packages.load()
    found = {attribute: str(packages[attribute]) for attribute in ATTRIBUTES}
    assert found == dict(zip(ATTRIBUTES, nix.build_all(*ATTRIBUTES), strict=True))
