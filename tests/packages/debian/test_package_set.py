"""APT's packages by name: lookup, completion, search, closures, and a real archive end to end."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest
from support.apt_archive import Archive, Signer
from support.apt_index import MemoryIndex

from nbdock import concurrency
from nbdock.errors import (
    ArgumentError,
    ArgumentTypeError,
    MissingArgumentError,
    NbdockError,
    PackageNotFoundError,
    SourceConfigurationError,
    UnknownArgumentError,
    UnresolvableError,
)
from nbdock.packages import AptPackage, AptPackageSet, apt, resolve_closure
from nbdock.packages.debian import package_set as package_set_module
from nbdock.packages.debian.package_set import LoadedIndex
from nbdock.packages.package import Progress

TEXT = """
Package: redis-server
Version: 5:7.0.15-1
Depends: redis-tools (= 5:7.0.15-1), libc6
Installed-Size: 183
Description: Persistent key-value database
 with a network interface

Package: redis-server
Version: 5:7.0.1-1
Depends: redis-tools

Package: redis-tools
Version: 5:7.0.15-1
Depends: libc6
Replaces: redis-server
Description: Client for the key-value database

Package: libc6
Description: C library

Package: g++
Description: Compiler

Package: python3.11
Description: Interpreter

Package: a-b

Package: a.b

Package: exim4-daemon-light
Provides: mail-transport-agent

Package: hopeless
Depends: nowhere
"""


@pytest.fixture(autouse=True)
def _home(nbdock_home: Path) -> None:
    pass


class Loader:
    """Loads an index, counting, and waiting where the test says so."""

    def __init__(self, index: LoadedIndex | None = None) -> None:
        self.index = index or MemoryIndex(TEXT)
        self.calls = self.cancelled = 0
        self.entered = threading.Event()
        self.let_go = threading.Event()
        self.let_go.set()
        self.fail_with: list[NbdockError] = []

    async def __call__(self, progress: Progress) -> LoadedIndex:
        self.calls += 1
        self.entered.set()
        progress("Loading lists", 1, 2)
        try:
            while not self.let_go.is_set():
                await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.fail_with:
            raise self.fail_with.pop()
        return self.index


@pytest.fixture
def loader() -> Loader:
    return Loader()


@pytest.fixture
def packages(loader: Loader) -> AptPackageSet:
    return AptPackageSet(loader, described="of a test")


def test_a_name_gives_a_package(packages: AptPackageSet) -> None:
    redis = packages["redis-server"]
    assert (redis.name, redis.version, redis.root, str(redis)) == (
        "redis-server", "5:7.0.15-1", "/", "",
    )  # fmt: skip
    assert redis.size_bytes == 183 * 1024
    assert redis.record.sha256 in redis.key
    assert redis.package_set is packages
    assert repr(redis) == "<AptPackage redis-server 5:7.0.15-1>"
    assert packages["redis-server:amd64"] is redis
    assert packages[" redis-server "] is redis
    assert "redis-server" in packages
    assert "redis" not in packages
    assert packages.architecture == "amd64"


def test_merged_usr_is_part_of_the_key(loader: Loader) -> None:
    split = AptPackageSet(loader, merged_usr=False)
    assert split["libc6"].key != AptPackageSet(loader)["libc6"].key


def test_an_exact_version(packages: AptPackageSet) -> None:
    assert packages["redis-server=5:7.0.1-1"].version == "5:7.0.1-1"
    assert packages["redis-server = 5:7.0.15-1"] is packages["redis-server"]
    with pytest.raises(PackageNotFoundError) as caught:
        packages["redis-server=6"]
    assert caught.value.hint == "Available: 5:7.0.15-1, 5:7.0.1-1."


def test_a_wrong_name_is_answered_with_near_ones(packages: AptPackageSet) -> None:
    with pytest.raises(PackageNotFoundError, match="'redis-sever' for amd64") as caught:
        packages["redis-sever"]
    assert caught.value.package == "redis-sever"
    assert "redis-server" in (caught.value.hint or "")
    with pytest.raises(PackageNotFoundError, match="exim4-daemon-light"):
        packages["mail-transport-agent"]
    with pytest.raises(ArgumentTypeError):
        packages[3]  # type: ignore[index]


@pytest.mark.parametrize(
    ("attribute", "name"),
    [
        ("redis_server", "redis-server"),
        ("g__", "g++"),
        ("python3_11", "python3.11"),
        ("libc6",) * 2,
    ],
)
def test_an_attribute_gives_a_package(packages: AptPackageSet, attribute: str, name: str) -> None:
    assert getattr(packages, attribute) is packages[name]


def test_an_attribute_that_is_no_package(packages: AptPackageSet) -> None:
    with pytest.raises(PackageNotFoundError, match=r"a-b or a\.b") as caught:
        _ = packages.a_b
    assert isinstance(caught.value, AttributeError)
    assert not hasattr(packages, "redis_sever")
    with pytest.raises(PackageNotFoundError) as missing:
        _ = packages.redis_sever
    assert "redis-server" in (missing.value.hint or "")


def test_probing_loads_nothing(packages: AptPackageSet, loader: Loader) -> None:
    """IPython, copy and friends look for many names that begin with an underscore."""
    for name in ("_repr_html_", "_ipython_display_", "__wrapped__", "_ipython_canary_method"):
        assert not hasattr(packages, name)
    assert repr(packages) == "<AptPackageSet of a test>"
    assert copy.copy(packages) is not packages
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        pickle.dumps(packages)
    assert loader.calls == 0


def test_completion(packages: AptPackageSet, loader: Loader) -> None:
    names = dir(packages)
    assert {"redis_server", "python3_11", "g__", "search", "closure"} <= set(names)
    assert "a_b" not in names
    assert "g++" in packages._ipython_key_completions_()
    assert sorted(packages) == packages._ipython_key_completions_()


def test_completion_without_sources_is_empty(loader: Loader) -> None:
    loader.fail_with = [SourceConfigurationError("none") for _ in range(3)]
    packages = AptPackageSet(loader)
    assert "search" in dir(packages)
    assert packages._ipython_key_completions_() == []
    with pytest.raises(SourceConfigurationError):
        packages["libc6"]
    assert packages["libc6"].name == "libc6"  # a later attempt may succeed


def test_search(packages: AptPackageSet) -> None:
    found = packages.search("redis*")
    assert [p.name for p in found] == ["redis-server", "redis-tools"]
    assert repr(found) == "<2 packages for 'redis*': redis-server, redis-tools>"
    assert found.to_records()[0] == {
        "name": "redis-server", "version": "5:7.0.15-1", "size_bytes": 183 * 1024,
        "description": "Persistent key-value database",
    }  # fmt: skip
    assert found[0] is packages["redis-server"]
    assert [p.name for p in found[1:]] == ["redis-tools"]
    assert [p.name for p in packages.search("DATABASE client")] == ["redis-tools"]
    assert repr(packages.search("nothing like it")) == "<0 packages for 'nothing like it'>"
    assert len(packages.search("*")) == 9
    assert "more>" in repr(packages.search("*"))
    with pytest.raises(ArgumentTypeError):
        packages.search(None)  # type: ignore[arg-type]


async def test_a_closure(packages: AptPackageSet) -> None:
    await packages.load()
    redis, tools, libc = (packages[n] for n in ("redis-server", "redis-tools", "libc6"))
    closure = await packages.closure([redis])
    assert closure.packages == (libc, redis, tools)
    assert closure.roots == (redis.key,)
    assert closure.references == {
        redis.key: tuple(sorted((tools.key, libc.key))), tools.key: (libc.key,), libc.key: (),
    }  # fmt: skip
    assert closure.overrides == ((tools.key, redis.key),)
    assert closure.graph.has_edge(redis, tools)
    together = await resolve_closure([redis, libc])
    assert together.roots == (redis.key, libc.key)
    # A request for an exact version stays exact.
    old = packages["redis-server=5:7.0.1-1"]
    assert (await packages.closure([old])).by_key[old.key].version == "5:7.0.1-1"


async def test_what_was_resolved_once_is_not_resolved_again(
    loader: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    resolve = package_set_module.resolve

    def counting(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        return resolve(*arguments, **options)

    monkeypatch.setattr(package_set_module, "resolve", counting)

    async def closure(index: MemoryIndex, **options: Any) -> tuple[Any, ...]:
        packages = AptPackageSet(Loader(index), **options)
        await packages.load()
        found = await packages.closure([packages["redis-server"]])
        return (found.packages, found.references, found.roots, found.overrides)

    first = await closure(MemoryIndex(TEXT))
    assert await closure(MemoryIndex(TEXT)) == first
    assert calls == 1
    await closure(MemoryIndex(TEXT, fingerprint="new"))
    await closure(MemoryIndex(TEXT), exclude=("libc6",))
    await closure(MemoryIndex(TEXT), alternatives="apt")
    assert calls == 4


async def test_a_home_that_cannot_be_written_costs_nothing_but_time(
    packages: AptPackageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("NBDOCK_HOME", str(tmp_path / "file" / "home"))
    await packages.load()
    assert len(await packages.closure([packages["redis-server"]])) == 3


async def test_what_cannot_be_resolved(packages: AptPackageSet) -> None:
    await packages.load()
    with pytest.raises(UnresolvableError, match="hopeless 1 -> nowhere: there is no nowhere"):
        await packages.closure([packages["hopeless"]])


async def test_packages_of_another_set_are_refused(packages: AptPackageSet) -> None:
    other = AptPackageSet(Loader())
    await other.load()
    with pytest.raises(ArgumentError, match="not of this package set"):
        await packages.closure([other["libc6"]])
    with pytest.raises(ArgumentError, match="not of this package set"):
        await packages.fetch([other["libc6"]])


# Loading


def test_many_threads_and_loops_load_once(packages: AptPackageSet, loader: Loader) -> None:
    loader.let_go.clear()
    found: list[object] = []
    threads = [
        threading.Thread(target=lambda: found.append(packages["libc6"])) for _ in range(4)
    ] + [
        threading.Thread(target=lambda: found.append(asyncio.run(packages.index())))
        for _ in range(4)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    assert loader.entered.wait(240)
    loader.let_go.set()
    for thread in threads:
        thread.join()
    assert loader.calls == 1
    assert len(found) == 8


async def test_a_lookup_that_blocks_its_loop_does_not_wait_for_itself(
    packages: AptPackageSet, loader: Loader
) -> None:
    """A build awaits the index on this loop; a cell then looks a name up, blocking it."""
    loader.let_go.clear()
    build = asyncio.create_task(packages.load())
    while not loader.entered.is_set():
        await asyncio.sleep(0.001)
    loader.let_go.set()
    assert packages["libc6"].name == "libc6"  # on this very thread
    await build
    assert loader.calls == 1


async def test_cancelling_the_last_who_waits_cancels_the_load(
    packages: AptPackageSet, loader: Loader
) -> None:
    loader.let_go.clear()
    waiting = [asyncio.create_task(packages.load()) for _ in range(2)]
    while not loader.entered.is_set():
        await asyncio.sleep(0.001)
    waiting[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    assert loader.cancelled == 0
    waiting[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[1]
    assert loader.cancelled == 1
    loader.let_go.set()
    await packages.load()
    assert loader.calls == 2


async def test_a_failed_load_is_tried_again(packages: AptPackageSet, loader: Loader) -> None:
    loader.fail_with = [SourceConfigurationError("broken")]
    with pytest.raises(SourceConfigurationError, match="broken"):
        await packages.load()
    await packages.load()
    assert loader.calls == 2


async def test_loading_tells_how_far_it_is(packages: AptPackageSet) -> None:
    told: list[tuple[str, int, int]] = []
    await packages.load(progress=lambda *words: told.append(words))
    assert told == [("Loading lists", 1, 2)]


# apt()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"miror": "x"}, UnknownArgumentError, "miror"),
        ({"mirror": "http://deb.example.org"}, MissingArgumentError, "without suite="),
        ({"mirror": "deb.example.org", "suite": "s"}, ArgumentTypeError, "URL"),
        ({"mirror": 3, "suite": "s"}, ArgumentTypeError, "mirror must be"),
        ({"mirror": "", "suite": "s"}, ArgumentTypeError, "mirror must be"),
        ({"suite": "stable"}, ArgumentError, "suite= without mirror="),
        ({"components": ["main"]}, ArgumentError, "components= without mirror="),
        ({"keyring": "/k"}, ArgumentError, "keyring= without mirror="),
        ({"trusted": True}, ArgumentError, "trusted= without mirror="),
        ({"alternatives": "biggest"}, ArgumentTypeError, "'smallest' or 'apt'"),
        ({"recommends": "yes"}, ArgumentTypeError, "recommends must be True or False"),
        ({"merged_usr": None}, ArgumentTypeError, "merged_usr must be"),
        ({"architecture": "AMD 64"}, ArgumentTypeError, "no architecture"),
        ({"exclude": 3}, ArgumentTypeError, "exclude must be names"),
        ({"exclude": ["perl", 3]}, ArgumentTypeError, "exclude must be names"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        apt(**arguments)


def test_unknown_arguments_are_answered_with_near_ones() -> None:
    with pytest.raises(UnknownArgumentError) as caught:
        apt(sweet="stable", mirror="http://deb.example.org")
    assert caught.value.argument == "sweet"
    with pytest.raises(UnknownArgumentError) as caught:
        apt(recommend=True)
    assert caught.value.hint == "Did you mean recommends?"


def test_opening_is_cheap_and_tells_no_password() -> None:
    with_password = apt("https://me:secret@deb.example.org/debian?key=1", suite="stable")
    assert repr(with_password) == "<AptPackageSet stable from https://deb.example.org/debian>"
    assert repr(apt()) == "<AptPackageSet of this machine's sources>"
    assert apt(exclude="perl").exclude == ("perl",)


async def test_a_real_archive_from_name_to_entries(tmp_path: Path) -> None:
    """Signed, listed by APT's own tools, and read from a folder."""
    with Signer() as signer:
        archive = Archive(tmp_path / "archive", signer)
        archive.add("app", "1.0", depends="libone (>= 1)")
        archive.add("libone", "2.0-1", architecture="all")
        archive.publish("stable")
        key = signer.export(tmp_path / "key.gpg")
    packages = apt(f"file:{tmp_path}/archive", suite="stable", architecture="amd64", keyring=key)
    app = await asyncio.to_thread(lambda: packages["app"])
    assert isinstance(app, AptPackage)
    closure = await packages.closure([app])
    assert [p.name for p in closure.packages] == ["app", "libone"]
    await packages.fetch(closure.packages)
    for package in closure.packages:
        paths = [entry.path for entry in package.entries()]
        assert f"var/lib/dpkg/status.d/{package.name}".encode() in paths
    # The same name on the loop of a notebook, and through the magics' thread.
    assert concurrency.run(packages.index()) is await packages.index()
