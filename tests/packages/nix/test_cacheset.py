"""Packages of a binary cache that real Nix wrote and signed, as Nix itself has them."""

from __future__ import annotations

import hashlib
import io
import json

import pytest
from support.nix import Nix, NixCache

import nbdock
from nbdock.errors import ArgumentError, BlobNotFoundError
from nbdock.packages import Package, realise, resolve_closure
from nbdock.packages.nix import parse_hash, write_nar
from nbdock.packages.nix.cache.package_set import CachePackageSet

pytestmark = pytest.mark.usefixtures("nbdock_home")


def packages_of(cache: NixCache) -> CachePackageSet:
    return CachePackageSet(
        cache.url, channel=cache.channel_url, trusted_keys=[cache.public_key]
    )  # fmt: skip


def nar_of(package: Package) -> bytes:
    nar = io.BytesIO()
    write_nar(package.entries(), nar.write)
    return nar.getvalue()


async def test_closures_are_those_of_nix(nix: Nix, nix_cache: NixCache) -> None:
    said = json.loads(nix.run("nix", "path-info", "--json", *nix_cache.store_paths))
    references = {facts["path"]: set(facts["references"]) for facts in said}
    packages = packages_of(nix_cache)
    for attribute in ("hello", "redis", "oddities.deep", "python3Packages.requests"):
        path = nix.build(attribute)
        closure = await resolve_closure([packages[path]])
        assert sorted(p.root for p in closure.packages) == nix.closure(path)
        assert closure[closure.roots[0]].root == path
        for package in closure.packages:
            roots = {closure[key].root for key in closure.references[package.key]}
            assert roots == references[package.root] - {package.root}


async def test_entries_are_what_nix_has(nix: Nix, nix_cache: NixCache) -> None:
    said = json.loads(nix.run("nix", "path-info", "--json", *nix_cache.store_paths))
    hashes = {facts["path"]: parse_hash(facts["narHash"]) for facts in said}
    packages = packages_of(nix_cache)
    every = await realise([packages[path] for path in nix_cache.store_paths])
    await packages.fetch(every)
    assert len(every) == len(hashes) > 50
    for package in every:
        nar = nar_of(package)
        assert hashlib.sha256(nar).hexdigest() == hashes[package.root].hex
        assert package.size_bytes == len(nar)
        if package.root.endswith(("-hello-2.10", "-greeting.txt", "-hello-link", "-modes-0.1")):
            place = str(nix.path(package.root))
            assert nar == nix.run_bytes("nix-store", "--dump", place)


async def test_keys_are_those_of_a_local_store(nix: Nix, nix_cache: NixCache) -> None:
    """A layer that was made from a store on this machine is known when the cache has the path."""
    from nbdock.packages.nix.local.store import LocalStore

    path = nix.build("hello")
    (package,) = await realise([packages_of(nix_cache)[path]])
    local = LocalStore(nix.environment["NIX_REMOTE"])[path]
    assert package.key == local.key
    assert package.sort_key == local.sort_key
    assert package == local


async def test_what_is_not_fetched_and_what_is_not_ours(nix_cache: NixCache) -> None:
    packages, others = packages_of(nix_cache), packages_of(nix_cache)
    await packages.load()
    named = packages.hello
    with pytest.raises(BlobNotFoundError, match="Nothing is known"):
        named.entries()
    (package,) = await realise([packages[named.root]])
    assert package.package_set is packages
    assert (await realise([package]))[0] is package
    with pytest.raises(BlobNotFoundError, match="is not here"):
        package.entries()
    with pytest.raises(ArgumentError, match="is not of this package set"):
        await others.closure([package])


async def test_an_image(nix_cache: NixCache) -> None:
    packages = packages_of(nix_cache)
    await packages.load()
    image = await nbdock.build_layered_image("hello", contents=[packages.hello])
    again = await nbdock.build_layered_image("hello", contents=[packages_of(nix_cache).hello])
    assert image.digest == again.digest
    assert len(image.manifest.layers) >= 3
