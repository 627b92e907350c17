"""What names mean: versions as Nix compares them, and a channel's list that is kept and asked."""

from __future__ import annotations

import asyncio
import bz2
import contextlib
import gzip
import json
import lzma
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from support.faulty_server import FaultyServer, answer, content, endless, redirect
from support.nix import Nix, NixCache
from support.nix_lies import HandmadeCache, nar_of_file

from nbdock.errors import (
    ArgumentTypeError,
    ConnectionFailedError,
    InvalidStorePathError,
    PackageNotFoundError,
    SourceConfigurationError,
    TransportError,
)
from nbdock.packages import realise, resolve_closure
from nbdock.packages.nix import StorePath, split_name
from nbdock.packages.nix.cache.channel import Channel
from nbdock.packages.nix.cache.channellist import StorePathList
from nbdock.packages.nix.cache.channelnames import choices
from nbdock.packages.nix.cache.package_set import CachePackageSet, host_system
from nbdock.packages.nix.cache.system import header_system
from nbdock.packages.nix.cache.versions import version_key

pytestmark = pytest.mark.usefixtures("nbdock_home")

DIGITS = "0123456789abcdfghijklmnpqrsvwxyz"


def path_of(name: str, system: str = "x") -> str:
    seeded = random.Random(f"{name} {system}")
    return f"/nix/store/{''.join(seeded.choices(DIGITS, k=32))}-{name}"


def listed(*names: str) -> StorePathList:
    return StorePathList.of_text("\n".join(map(path_of, names)).encode(), place="here")


# Versions


def test_versions_are_compared_as_nix_does(nix: Nix, tmp_path: Path) -> None:
    atoms = ["1", "2", "10", "0", "01", "pre", "rc", "a", "b", "", "alpha", "2147483647",
             "2147483648", "99999999999", "p", "_", "+", "é"]  # fmt: skip
    seeded = random.Random(1)

    def version() -> str:
        words = seeded.choices(atoms, k=seeded.randint(0, 5))
        return "".join(word + seeded.choice(["", ".", "-", "..", ".-"]) for word in words)

    pairs = [(version(), version()) for _ in range(3000)]
    (tmp_path / "pairs.json").write_text(json.dumps(pairs))
    said = nix.run(
        "nix-instantiate", "--eval", "--json", "--strict", "-E",
        f"map (p: builtins.compareVersions (builtins.elemAt p 0) (builtins.elemAt p 1)) "
        f"(builtins.fromJSON (builtins.readFile {tmp_path}/pairs.json))",
    )  # fmt: skip
    ours = [(version_key(a) > version_key(b)) - (version_key(a) < version_key(b)) for a, b in pairs]
    assert ours == json.loads(said)


# Lists


def test_of_thousands_of_names_each_is_found() -> None:
    seeded = random.Random(2)
    words = ["lib", "a", "a-b", "a+b", "python3.11", "x_y", "Z", "gtk", "q"]
    names = {
        f"{seeded.choice(words)}{seeded.randint(0, 300)}{seeded.choice(['', '-tool', '-doc-x'])}"
        f"{seeded.choice(['', f'-{seeded.randint(0, 9)}.1', '-1.0-dev'])}"
        for _ in range(3000)
    }
    found = listed(*names)
    assert len(found) == len(names)
    by_name: dict[str, set[str]] = {}
    for name in names:
        by_name.setdefault(split_name(name)[0], set()).add(path_of(name))
    assert found.package_names == sorted(by_name)
    for name, paths in by_name.items():
        assert {str(path) for path in found.named(name)} == paths
    for name in ("", "lib", "zzz", "a-", "\xff", "A"):
        assert {str(p) for p in found.named(name)} == by_name.get(name, set())


@pytest.mark.parametrize(
    "text",
    [
        b"<!doctype html>\n<title>404</title>",
        path_of("x").encode() + b"\n/nix/store/short-x\n",
        path_of("x").encode() + b"/bin/x\n",
        path_of("x").replace("/nix", "/gnu").encode(),
        path_of("x").encode() + b"\n\xff\xfe\x1b[2J\n",
        path_of("x" * 212).encode(),
        b"a" * 100_000,
    ],
)
def test_what_is_no_list(text: bytes) -> None:
    with pytest.raises(SourceConfigurationError, match="is no list of store paths") as caught:
        StorePathList.of_text(text, place="here")
    assert len(str(caught.value)) < 500
    assert "\x1b" not in str(caught.value)


def test_an_empty_list() -> None:
    with pytest.raises(SourceConfigurationError, match="empty list"):
        StorePathList.of_text(b"\n\n", place="here")


def test_lines_of_other_systems_and_slashes() -> None:
    text = f"{path_of('x')}\r\n{path_of('y')}/\n\n{path_of('x')}\n".encode()
    assert StorePathList.of_text(text, place="here").package_names == ["x", "y"]


# Names

NAMES = (
    "hello-2.10", "hello-2.12.1", "hello-2.12.1-man", "hello-2.9", "hello-world-1.0",
    "nss-cacert-3.92", "nss-cacert-3.92-unbundled", "bash-5.2-p15", "bash-5.2-p15-man",
    "bash-interactive-5.2-p15", "bash-interactive-5.2-p15-doc", "glibc-2.37-8",
    "glibc-2.37-8-bin", "glibc-2.37-8-getent", "openssl-3.0.9", "openssl-3.0.9-bin",
    "openssl-3.0.9-dev", "openssl-1.1.1u", "openssl-1.1.1u-bin", "nodejs-18.16.1",
    "nodejs-20.3.1", "nodejs-20.3.1-libv8", "python3-3.10.12", "python3-3.11.4",
    "python3-3.12.0b1", "python3.10-requests-2.31.0", "python3.11-requests-2.31.0",
    "python3.11-requests-2.31.0-dist", "python3.11-pyyaml-6.0", "python3.11-ruamel-yaml-0.17",
    "python3.10-only-here-1.0", "python3.12-newest-1", "perl5.36.0-JSON-4.10", "gcc-12.3.0",
    "gcc-12.3.0-lib", "gcc-wrapper-12.3.0", "gcc-wrapper-12.3.0-man", "gcc-wrapper-13.1.0",
    "php-with-extensions-8.2.8", "php-with-extensions-8.1.21", "iana-etc-20230316",
    "libX11-1.8.6", "bind-9.18.16", "bind-9.18.16-dnsutils", "bind-9.18.16-lib", "only-1.0-dev",
    "only-1.0-man", "fake-nss", "hello-static-x86_64-unknown-linux-musl-2.12.1", "apache-httpd-2.4",
    "vimplugin-nerdtree-2023", "emacs-magit-3", "ruby3.1-rake-13.0", "tool-1.0pre3", "tool-1.0-rc1",
    "lua5.2-cjson-2.1", "go-1.20.5", "go-1.19.10",
)  # fmt: skip


@pytest.mark.parametrize(
    ("attribute", "name"),
    [
        ("hello", "hello-2.12.1"),
        ("hello.man", "hello-2.12.1-man"),
        ("hello.out", "hello-2.12.1"),
        ("cacert", "nss-cacert-3.92"),
        ("nss-cacert", "nss-cacert-3.92"),
        ("cacert.unbundled", "nss-cacert-3.92-unbundled"),
        ("bash", "bash-5.2-p15"),
        ("bashInteractive", "bash-interactive-5.2-p15"),
        ("bashInteractive.doc", "bash-interactive-5.2-p15-doc"),
        ("glibc", "glibc-2.37-8"),
        ("glibc.bin", "glibc-2.37-8-bin"),
        ("getent", "glibc-2.37-8-getent"),
        ("openssl", "openssl-3.0.9-bin"),
        ("openssl.out", "openssl-3.0.9"),
        ("openssl.dev", "openssl-3.0.9-dev"),
        ("openssl_1_1", "openssl-1.1.1u-bin"),
        ("nodejs", "nodejs-20.3.1"),
        ("nodejs_18", "nodejs-18.16.1"),
        ("nodejs-18", "nodejs-18.16.1"),
        ("python3", "python3-3.11.4"),
        ("python311", "python3-3.11.4"),
        ("python310", "python3-3.10.12"),
        ("python3Packages.requests", "python3.11-requests-2.31.0"),
        ("python3.pkgs.requests", "python3.11-requests-2.31.0"),
        ("python310Packages.requests", "python3.10-requests-2.31.0"),
        ("python3Packages.requests.dist", "python3.11-requests-2.31.0-dist"),
        ("python3Packages.PyYAML", "python3.11-pyyaml-6.0"),
        ("python3Packages.ruamel_yaml", "python3.11-ruamel-yaml-0.17"),
        ('python3Packages."only-here"', "python3.10-only-here-1.0"),
        ("perlPackages.JSON", "perl5.36.0-JSON-4.10"),
        ("luaPackages.cjson", "lua5.2-cjson-2.1"),
        ("lua52Packages.cjson", "lua5.2-cjson-2.1"),
        ("rubyPackages_3_1.rake", "ruby3.1-rake-13.0"),
        ("gcc", "gcc-wrapper-13.1.0"),
        ("gcc12", "gcc-wrapper-12.3.0"),
        ("stdenv.cc.cc.lib", "gcc-12.3.0-lib"),
        ("php", "php-with-extensions-8.2.8"),
        ("php81", "php-with-extensions-8.1.21"),
        ("go_1_19", "go-1.19.10"),
        ("iana-etc", "iana-etc-20230316"),
        ("iana_etc", "iana-etc-20230316"),
        ("xorg.libX11", "libX11-1.8.6"),
        ("bind", "bind-9.18.16"),
        ("dnsutils", "bind-9.18.16-dnsutils"),
        ("fakeNss", "fake-nss"),
        ("fake-nss", "fake-nss"),
        ("only.dev", "only-1.0-dev"),
        ("pkgsStatic.hello", "hello-static-x86_64-unknown-linux-musl-2.12.1"),
        ("apacheHttpd", "apache-httpd-2.4"),
        ("vimPlugins.nerdtree", "vimplugin-nerdtree-2023"),
        ("emacsPackages.magit", "emacs-magit-3"),
        ("tool", "tool-1.0-rc1"),
    ],
)
async def test_names(tmp_path: Path, attribute: str, name: str) -> None:
    (tmp_path / "list").write_text("".join(f"{path_of(n)}\n" for n in NAMES))
    packages = CachePackageSet("/nowhere", channel=tmp_path / "list")
    await packages.load()
    assert str(packages[attribute]) == path_of(name)


@pytest.mark.parametrize(
    ("attribute", "words"),
    [
        ("helo", "Did you mean hello"),
        ("hello.dev", "has the outputs out, man"),
        ("only", "has the outputs dev, man"),
        ("python3Packages.reqests", "Did you mean requests"),
        ("python27Packages.requests", "A store path always works"),
        ("nodejs_99", "Did you mean nodejs"),
        ("pkgsCross.aarch64-multiplatform.hello", "cannot tell the packages of pkgsCross"),
        ("pkgsMusl.hello", "cannot tell the packages of pkgsMusl"),
        ("writeText", "A store path always works"),
        ("x" * 10_000, "has no package"),
        ("é", "has no package"),
    ],
)
def test_names_that_mean_nothing(attribute: str, words: str) -> None:
    with pytest.raises(PackageNotFoundError, match=words) as caught:
        choices(listed(*NAMES), tuple(attribute.split(".")))
    assert "always works" in str(caught.value)


LISTED = listed(*NAMES)


@settings(deadline=None)
@given(st.lists(st.text(max_size=12), min_size=1, max_size=4))
def test_any_name_is_found_or_not(attribute: list[str]) -> None:
    with contextlib.suppress(PackageNotFoundError):
        assert choices(LISTED, tuple(attribute))[0].paths


async def test_attributes_and_completion(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("".join(f"{path_of(n)}\n" for n in NAMES))
    packages = CachePackageSet("/nowhere", channel=tmp_path / "list", note="Nix is not installed")
    assert repr(packages) == f"<CachePackageSet /nowhere for {host_system()}; Nix is not installed>"
    await packages.load()
    assert str(packages.hello) == path_of("hello-2.12.1") == packages.hello.root
    assert packages.hello.name == packages.hello.pname == "hello"
    assert packages.hello.version == "2.12.1"
    assert str(packages.hello.man) == path_of("hello-2.12.1-man")
    assert str(packages.python3Packages.requests) == path_of("python3.11-requests-2.31.0")
    assert str(packages.python3Packages["requests"].dist).endswith("-dist")
    assert str(packages.python3.pkgs.requests) == path_of("python3.11-requests-2.31.0")
    assert str(packages.runtimeShell) == path_of("bash-5.2-p15") + "/bin/bash"
    assert packages.runtimeShell.root == path_of("bash-5.2-p15")
    assert packages.hello == packages["hello"]
    assert not hasattr(packages, "nothing_like_it")
    assert not hasattr(packages.hello, "nothing")
    assert not hasattr(packages, "_repr_html_")
    assert {"hello", "gcc"} <= set(dir(packages))
    assert "iana-etc" in packages._ipython_key_completions_()
    assert "requests" in dir(packages.python3Packages)
    assert "_package_set" not in dir(packages.python3Packages)
    assert dir(packages.xorg) == []  # which are its own, no name tells
    with pytest.raises(PackageNotFoundError, match="Nix is not installed"):
        packages["nothing"]
    with pytest.raises(ArgumentTypeError):
        packages[3]  # type: ignore[index]
    with pytest.raises(ArgumentTypeError):
        packages["a..b"]


async def test_a_store_path_needs_no_list() -> None:
    packages = CachePackageSet("/nowhere", channel="/nowhere/list")
    path = path_of("hello-2.10")
    assert str(packages[path]) == str(packages[f"{path}/"]) == path
    assert packages[StorePath.parse(path)].name == "hello"
    for text in (f"{path}/bin/hello", "/etc/passwd", "/nix/store/x", "/nix/store/../../etc"):
        with pytest.raises(InvalidStorePathError):
            packages[text]
    assert dir(packages)  # without a list, no names; but no error either
    with pytest.raises(SourceConfigurationError, match="cannot be read"):
        packages["hello"]


# The list, kept


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer() as server:
        yield server


def text_of(*names: str) -> bytes:
    return "".join(f"{path_of(name)}\n" for name in names).encode()


async def names_in(channel: Channel, **options: bool) -> list[str]:
    return (await channel.load(**options)).package_names  # type: ignore[arg-type]


async def test_a_list_is_kept_and_asked_about(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "/nixos-23.05/store-paths.xz"
    server.script(url, content(lzma.compress(text_of("a-1")), etag='"1"'))
    channel = Channel(server.url("/nixos-23.05/"))
    told: list[str] = []
    found = await channel.load(progress=lambda what, *_: told.append(what))
    assert found.package_names == ["a"]
    assert told == ["Fetching the list of packages"]
    assert await names_in(Channel(server.url("/nixos-23.05"))) == ["a"]
    assert server.paths() == [url]  # still young
    monkeypatch.setenv("NBDOCK_NIX_CHANNEL_MAX_AGE_S", "0.000001")
    assert await names_in(channel) == ["a"]
    assert server.requests[-1].headers["if-none-match"] == '"1"'
    server.script(url, content(lzma.compress(text_of("b-1")), etag='"2"'))
    assert await names_in(channel) == ["b"]
    assert len(server.requests) == 3


async def test_an_old_list_is_better_than_none(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NBDOCK_RETRIES", "1")
    monkeypatch.setenv("NBDOCK_NIX_CHANNEL_MAX_AGE_S", "0.000001")
    url = "/c/store-paths.xz"
    channel = Channel(server.url("/c"))
    server.script(url, answer(500))
    with pytest.raises(TransportError):
        await channel.load()
    server.script(url, content(lzma.compress(text_of("a-1"))), answer(500))
    assert await names_in(channel) == ["a"]
    assert await names_in(channel) == ["a"]
    assert "using the old list" in caplog.text
    with pytest.raises(TransportError):
        await channel.load(refresh=True)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>", "is no list"),
        (lzma.compress(b"<html>"), "is no list"),
        (lzma.compress(text_of("a-1"))[:-9], "is no list"),
        (lzma.compress(bytes(1 << 20)), "is no list"),
        (lzma.compress(b""), "empty list"),
    ],
    ids=["page", "compressed page", "truncated", "bomb", "empty"],
)
async def test_what_a_server_may_give_instead(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch, nbdock_home: Path,
    body: bytes, words: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("NBDOCK_NIX_CHANNEL_LIMIT_BYTES", "100000")
    server.script("/c/store-paths.xz", content(body))
    with pytest.raises(SourceConfigurationError, match=words):
        await Channel(server.url("/c")).load()
    assert not list(nbdock_home.glob("nix/*"))


async def test_servers_that_have_none(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBDOCK_RETRIES", "1")
    monkeypatch.setenv("NBDOCK_NIX_CHANNEL_LIMIT_BYTES", "100000")
    with pytest.raises(SourceConfigurationError, match="There is no list of store paths at"):
        await Channel(server.url("/c")).load()
    server.script("/c/store-paths.xz", endless())
    with pytest.raises(TransportError, match="longer than"):
        await Channel(server.url("/c")).load()
    with pytest.raises(ConnectionFailedError):
        await Channel("http://127.0.0.1:1/c").load()


async def test_a_channel_redirects_to_its_release(server: FaultyServer) -> None:
    server.script("/c/store-paths.xz", redirect(server.url("/releases/1/store-paths.xz")))
    server.script("/releases/1/store-paths.xz", content(lzma.compress(text_of("a-1"))))
    assert await names_in(Channel(server.url("/c"))) == ["a"]


async def test_lists_of_every_kind(server: FaultyServer, tmp_path: Path) -> None:
    text = text_of("a-1")
    kinds = {
        "paths": text, "paths.xz": lzma.compress(text), "paths.zst": zstandard.compress(text),
        "paths.gz": gzip.compress(text), "paths.bz2": bz2.compress(text),
    }  # fmt: skip
    for name, data in kinds.items():
        (tmp_path / name).write_bytes(data)
        assert await names_in(Channel(tmp_path / name)) == ["a"]
        assert await names_in(Channel(f"file://{tmp_path}/{name}")) == ["a"]
        if "." in name:
            server.script(f"/{name}", content(data))
            assert await names_in(Channel(server.url(f"/{name}"))) == ["a"]
    (tmp_path / "store-paths.xz").write_bytes(lzma.compress(text))
    assert await names_in(Channel(tmp_path)) == ["a"]
    # A file that changes is read again.
    (tmp_path / "paths").write_bytes(text_of("b-1", "c-1"))
    assert await names_in(Channel(tmp_path / "paths")) == ["b", "c"]


async def test_a_kept_list_that_is_damaged(tmp_path: Path, nbdock_home: Path) -> None:
    (tmp_path / "paths").write_bytes(text_of("a-1", "b-1"))
    assert await names_in(Channel(tmp_path / "paths")) == ["a", "b"]
    (kept,) = nbdock_home.glob("nix/*.paths")
    whole = kept.read_bytes()
    for damaged in (b"", whole[:20], whole[:-10], b"[99]\n", b"\xff" + whole):
        kept.write_bytes(damaged)
        assert await names_in(Channel(tmp_path / "paths")) == ["a", "b"]


@pytest.mark.parametrize("text", ["", " ", "ftp://host/x", "s3://bucket"])
def test_what_is_no_channel(text: str) -> None:
    with pytest.raises(ArgumentTypeError):
        Channel(text)


# Systems


def elf(machine: int, size: int = 100) -> bytes:
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00" + machine.to_bytes(2, "little")
    return nar_of_file(head.ljust(size, b"\0"))


X86_64, AARCH64 = 62, 183


def of_system(cache: HandmadeCache, name: str, system: str) -> StorePath:
    return StorePath.parse(path_of(name, system))


@pytest.fixture
def two_systems(tmp_path: Path) -> HandmadeCache:
    """hello for two systems; its own files say nothing, but its library's do."""
    cache = HandmadeCache(tmp_path / "cache")
    lines = []
    for system, machine in (("x86_64", X86_64), ("aarch64", AARCH64)):
        data = cache.add(of_system(cache, "data-1", system), nar_of_file(system.encode()))
        libc = cache.add(of_system(cache, "libc-2.37", system), elf(machine, 1000))
        hello = cache.add(
            of_system(cache, "hello-2.10", system), nar_of_file(b"#!" + bytes(5000)),
            references=[libc, data],
        )  # fmt: skip
        tool = cache.add(of_system(cache, "tool-1", system), elf(machine), references=[libc])
        lines += [hello, libc, data, tool]
    old = cache.add(of_system(cache, "tool-0.9", "x86_64"), elf(X86_64))
    new = cache.add(of_system(cache, "tool-2", "aarch64"), elf(AARCH64))
    more = cache.add(of_system(cache, "tool-2", "again"), elf(AARCH64, 2000))
    lines += [old, new, more]
    (tmp_path / "list").write_text("".join(f"{line}\n" for line in lines))
    return cache


@pytest.mark.parametrize("system", ["x86_64", "aarch64"])
async def test_of_several_systems_ours_is_taken(
    two_systems: HandmadeCache, tmp_path: Path, system: str
) -> None:
    packages = CachePackageSet(
        two_systems.directory, channel=tmp_path / "list", system=f"{system}-linux",
        trusted_keys=[two_systems.public_key],
    )  # fmt: skip
    await packages.load()
    closure = await resolve_closure([packages.hello, packages.libc])
    assert sorted(p.root for p in closure.packages) == sorted(
        path_of(name, system) for name in ("hello-2.10", "libc-2.37", "data-1")
    )
    assert packages.hello.root == path_of("hello-2.10", system)
    # The same without what was remembered, and asked for from plain code.
    again = CachePackageSet(
        two_systems.directory, channel=tmp_path / "list", system=f"{system}-linux",
        trusted_keys=[two_systems.public_key],
    )  # fmt: skip
    await again.load()
    assert await asyncio.to_thread(str, again.hello) == path_of("hello-2.10", system)


async def test_an_older_version_if_the_newest_is_for_another(
    two_systems: HandmadeCache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = [two_systems.public_key]
    ours = CachePackageSet(two_systems.directory, channel=tmp_path / "list",
                           system="x86_64-linux", trusted_keys=keys)  # fmt: skip
    await ours.load()
    (found,) = await realise([ours.tool])
    assert found.root == path_of("tool-1", "x86_64")
    assert "could be" not in caplog.text
    theirs = CachePackageSet(two_systems.directory, channel=tmp_path / "list",
                             system="aarch64-linux", trusted_keys=keys)  # fmt: skip
    await theirs.load()
    (found,) = await realise([theirs.tool])
    # Both of the newest are for that system: the larger one, and a word about it.
    assert found.root == path_of("tool-2", "again")
    assert "could be" in caplog.text
    none = CachePackageSet(two_systems.directory, channel=tmp_path / "list",
                           system="riscv64-linux", trusted_keys=keys)  # fmt: skip
    await none.load()
    with pytest.raises(PackageNotFoundError, match="only for aarch64-linux, x86_64-linux"):
        await realise([none.tool])


async def test_paths_that_are_gone_are_no_candidates(
    two_systems: HandmadeCache, tmp_path: Path
) -> None:
    two_systems.narinfo(of_system(two_systems, "tool-2", "again")).unlink()
    packages = CachePackageSet(two_systems.directory, channel=tmp_path / "list",
                               system="aarch64-linux",
                               trusted_keys=[two_systems.public_key])  # fmt: skip
    await packages.load()
    (found,) = await realise([packages.tool])
    assert found.root == path_of("tool-2", "aarch64")


async def test_a_single_candidate_that_is_gone_is_said_to_be(
    two_systems: HandmadeCache, tmp_path: Path
) -> None:
    """What is missing, and what needs it: not that the package is for another system."""
    lacking = two_systems.path("lacking-1")
    broken = two_systems.add("broken-1", nar_of_file(b""), references=[lacking])
    (tmp_path / "one").write_text(f"{broken}\n")
    packages = CachePackageSet(two_systems.directory, channel=tmp_path / "one",
                               trusted_keys=[two_systems.public_key])  # fmt: skip
    await packages.load()
    with pytest.raises(PackageNotFoundError, match=rf"has {lacking} .*, which {broken} needs"):
        await realise([packages.broken])


def test_headers(nix: Nix) -> None:
    program = nix.path(nix.build("hello")) / "bin/hello"
    assert header_system(program.read_bytes()[:20]) == host_system()
    assert header_system(b"#!/bin/sh\n" + bytes(20)) == ""
    assert header_system(b"\x7fELF") == ""
    assert header_system(bytes.fromhex("cffaedfe0c000001") + bytes(12)) == "aarch64-darwin"


# The real thing

ATTRIBUTES = (
    "acl", "attr", "bash", "bashInteractive", "busybox", "pkgsStatic.busybox", "cacert",
    "coreutils", "glibc", "gmp", "hello", "iana-etc", "libselinux", "ncurses", "ncurses.dev",
    "ncurses.man", "nginx", "openssl", "openssl.out", "openssl.man", "pcre2",
    "python3Packages.charset-normalizer", "python3Packages.requests", "redis", "shadow",
    "stdenv.cc.cc.lib", "zlib", "zlib.dev", "zlib.static",
)  # fmt: skip


async def test_names_mean_what_they_mean_to_nix(nix: Nix, nix_cache: NixCache) -> None:
    packages = CachePackageSet(nix_cache.url, channel=nix_cache.channel_url)
    await packages.load()
    found = {attribute: str(packages[attribute]) for attribute in ATTRIBUTES}
    assert found == dict(zip(ATTRIBUTES, nix.build_all(*ATTRIBUTES), strict=True))
