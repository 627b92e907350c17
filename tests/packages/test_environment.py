"""dockerTools' helpers as packages: what they hold, and where they come from."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from support.apt_archive import Archive, Signer
from support.components import require
from support.nix import NixCache

import nbdock
from nbdock.errors import ArgumentTypeError, PackageNotFoundError, UnknownArgumentError
from nbdock.filetree import Entry, EntryKind
from nbdock.nixlang import read_arguments
from nbdock.packages import Closure, Package, PackageSet, Progress, realise, resolve_closure
from nbdock.packages.nix.cache.package_set import CachePackageSet

CERTIFICATES = "usr/share/ca-certificates/mozilla"


class StorePackage(Package):
    """A package of the set below: a place in a store, known once it is realised."""

    version = ""

    def __init__(self, name: str, package_set: PackageSet, root: str) -> None:
        self.name, self.package_set, self.root = name, package_set, root

    @property
    def key(self) -> str:
        return f"{self.name}:{self.root}"

    @property
    def size_bytes(self) -> int:
        return 1

    def entries(self) -> Iterator[Entry]:
        yield Entry(b"", EntryKind.DIRECTORY)


class SmallNixpkgs(PackageSet):
    """A set that knows its packages' places when it has realised them, and who was asked for."""

    distribution = "nixpkgs"

    def __init__(self, *names: str, place: str = "aaaa") -> None:
        self.names = names
        self.place = place
        self.asked: list[str] = []

    def __getitem__(self, name: str) -> Package:
        self.asked.append(name)
        if name not in self.names:
            raise PackageNotFoundError(f"There is no {name}.", package=name)
        return StorePackage(name, self, "/not/known/yet")

    def __dir__(self) -> list[str]:
        return list(self.names)

    async def realise(
        self, packages: Sequence[Package], *, progress: Progress | None = None
    ) -> Sequence[Package]:
        return [StorePackage(p.name, self, f"/nix/store/{self.place}-{p.name}") for p in packages]

    async def closure(self, packages: Sequence[Package]) -> Closure:
        return Closure(tuple(packages), {p.key: () for p in packages}, ())

    async def fetch(self, packages: Iterable[Package], *, progress: Progress | None = None) -> None:
        pass


NIXPKGS = ("bashInteractive", "coreutils", "cacert", "hello", "shadow")


@pytest.fixture(scope="module")
def signer() -> Iterator[Signer]:
    with Signer() as signer:
        yield signer


@pytest.fixture
def apt(tmp_path: Path, signer: Signer, nbdock_home: Path) -> nbdock.packages.AptPackageSet:
    """A small archive with what the helpers come from, and curl."""
    archive = Archive(tmp_path / "archive", signer)
    for name in ("curl", "dash", "coreutils", "passwd"):
        archive.add(name, "1.0", files={f"usr/bin/{name}": b"#!/bin/true\n"})
    archive.add(
        "ca-certificates",
        "20230311",
        depends="openssl",  # which is nowhere: the bundle does not need it
        files={
            f"{CERTIFICATES}/b.crt": b"second\n",
            f"{CERTIFICATES}/a.crt": b"first, without an end",
            f"{CERTIFICATES}/Z.crt": b"capitals come first\n",
            f"{CERTIFICATES}/README": b"not a certificate\n",
            "usr/sbin/update-ca-certificates": b"#!/bin/sh\n",
        },
    )
    archive.publish("stable")
    key = signer.export(tmp_path / "key.gpg")
    return nbdock.apt(archive.root.as_uri(), suite="stable", architecture="amd64", keyring=key)


def content(package: Package) -> dict[str, str]:
    """The files and links of a package: what is in them, or where they lead."""
    return {
        entry.path.decode(): (
            f"-> {entry.linkname.decode()}"
            if entry.kind is EntryKind.SYMLINK
            else entry.read().decode()
        )
        for entry in package.entries()
        if entry.kind is not EntryKind.DIRECTORY
    }


# Names of users and groups


def test_fake_nss_is_nixpkgs_text() -> None:
    assert content(nbdock.fake_nss) == {
        "etc/group": "root:x:0:\nnobody:x:65534:\n",
        "etc/nsswitch.conf": "hosts: files dns\n",
        "etc/passwd": "root:x:0:0:root user:/var/empty:/bin/sh\n"
        "nobody:x:65534:65534:nobody:/var/empty:/bin/sh\n",
    }
    assert [e.path for e in nbdock.fake_nss.entries() if e.kind is EntryKind.DIRECTORY] == [
        b"etc", b"var", b"var/empty",
    ]  # fmt: skip
    assert all((e.uid, e.gid, e.mtime, e.uname) == (0, 0, 1, "root")
               for e in nbdock.fake_nss.entries())  # fmt: skip


def test_lines_are_added_between_root_and_nobody() -> None:
    nss = nbdock.fake_nss.override(extra_passwd_lines=["redis:x:999:999::/data:/bin/sh"])
    nss = nss.override(extra_group_lines=["redis:x:999:"])
    assert content(nss)["etc/passwd"].splitlines()[1] == "redis:x:999:999::/data:/bin/sh"
    assert content(nss)["etc/group"] == "root:x:0:\nredis:x:999:\nnobody:x:65534:\n"
    assert nss.key != nbdock.fake_nss.key
    assert nss.override(extra_passwd_lines=[], extra_group_lines=[]).key == nbdock.fake_nss.key


def test_a_cell_overrides_in_nixpkgs_words() -> None:
    hello = SmallNixpkgs("hello")["hello"]
    cell = read_arguments(
        'contents = [ (fakeNss.override { extraPasswdLines = [ "a:x:1:1::/:${hello}/bin" ]; }) ];',
        {"fakeNss": nbdock.fake_nss, "hello": hello},
    )
    (nss,) = cell.arguments["contents"]
    assert content(nss)["etc/passwd"].splitlines()[1] == "a:x:1:1::/:/not/known/yet/bin"
    assert nss.needs == (hello,)


@pytest.mark.parametrize("lines", ["a:x:1:1::/:/bin/sh", [1], {"a": "b"}])
def test_lines_that_are_no_list_of_texts_are_refused(lines: object) -> None:
    with pytest.raises(ArgumentTypeError, match="extra_passwd_lines"):
        nbdock.fake_nss.override(extra_passwd_lines=lines)  # type: ignore[arg-type]


def test_an_argument_that_override_does_not_have_is_refused() -> None:
    with pytest.raises(UnknownArgumentError) as caught:
        nbdock.fake_nss.override(extraPasswdLine=["a"])  # type: ignore[call-arg]
    assert caught.value.hint == "Did you mean extra_passwd_lines?"


# Where helpers come from


async def test_from_nixpkgs_they_are_links_into_the_store() -> None:
    pkgs = SmallNixpkgs(*NIXPKGS)
    helpers = [nbdock.bin_sh, nbdock.usr_bin_env, nbdock.ca_certificates]
    hello, *settled = await realise([pkgs["hello"], *helpers])
    assert [content(p) for p in settled] == [
        {"bin/sh": "-> /nix/store/aaaa-bashInteractive/bin/bash"},
        {"usr/bin/env": "-> /nix/store/aaaa-coreutils/bin/env"},
        dict.fromkeys(
            (
                "etc/pki/tls/certs/ca-bundle.crt",
                "etc/ssl/certs/ca-bundle.crt",
                "etc/ssl/certs/ca-certificates.crt",
            ),
            "-> /nix/store/aaaa-cacert/etc/ssl/certs/ca-bundle.crt",
        ),
    ]
    closure = await resolve_closure([hello, *settled])
    roots = {package.root for package in closure.packages}
    assert {f"/nix/store/aaaa-{n}" for n in NIXPKGS if n != "shadow"} < roots
    # The links change with what they lead to, and so do their keys.
    (other,) = await realise([nbdock.bin_sh.override(packages=SmallNixpkgs(*NIXPKGS, place="b"))])
    assert other.key != settled[0].key
    assert other.name == settled[0].name == "bin-sh"


async def test_among_debians_packages_they_are_debians(apt: nbdock.packages.AptPackageSet) -> None:
    await apt.load()
    helpers = [nbdock.bin_sh, nbdock.usr_bin_env, nbdock.ca_certificates]
    closure = await resolve_closure([*helpers, apt["curl"]])
    assert [p.name for p in closure.packages] == [
        "ca-certificates-bundle", "coreutils", "curl", "dash",
    ]  # fmt: skip
    assert all(p.root == "/" for p in closure.packages)
    # The same set, not another one that would have to be loaded.
    assert {id(p.package_set) for p in closure.packages if p.name in ("dash", "curl")} == {id(apt)}


async def test_the_rest_of_the_image_decides(apt: nbdock.packages.AptPackageSet,
                                             monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    await apt.load()
    pkgs, default = SmallNixpkgs(*NIXPKGS), SmallNixpkgs(*NIXPKGS, place="default")
    monkeypatch.setattr("nbdock.packages.default_nixpkgs", lambda: default, raising=False)

    async def source(*others: Package) -> str:
        return content((await realise([*others, nbdock.usr_bin_env]))[-1])["usr/bin/env"]

    assert await source() == "-> /nix/store/default-coreutils/bin/env"
    assert await source(nbdock.fake_nss) == "-> /nix/store/default-coreutils/bin/env"
    assert await source(pkgs["hello"]) == "-> /nix/store/aaaa-coreutils/bin/env"
    assert await source(apt["curl"], pkgs["hello"]) == "-> /nix/store/aaaa-coreutils/bin/env"
    (chosen,) = await realise([nbdock.usr_bin_env.override(packages=apt)])
    assert chosen == apt["coreutils"]
    # What was settled before does not decide for others, but what it was made of does.
    bundle = (await realise([apt["curl"], nbdock.ca_certificates]))[-1]
    assert (await realise([bundle, nbdock.bin_sh]))[-1] == apt["dash"]


async def test_names_of_a_channels_list_are_tried_too() -> None:
    pkgs = SmallNixpkgs("nss-cacert")
    (certificates,) = await realise([nbdock.ca_certificates.override(packages=pkgs)])
    assert "-> /nix/store/aaaa-nss-cacert/etc" in content(certificates)[
        "etc/ssl/certs/ca-bundle.crt"
    ]  # fmt: skip
    assert pkgs.asked == ["cacert", "nss-cacert"]


async def test_a_nixpkgs_without_it_says_what_else_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    empty = SmallNixpkgs()
    monkeypatch.setattr("nbdock.packages.default_nixpkgs", lambda: empty, raising=False)
    with pytest.raises(PackageNotFoundError, match="no cacert") as caught:
        await realise([nbdock.ca_certificates])
    assert caught.value.hint
    assert "override { packages = apt; }" in caught.value.hint


def test_override_takes_a_package_set() -> None:
    with pytest.raises(ArgumentTypeError, match="package set"):
        nbdock.bin_sh.override(packages="apt")  # type: ignore[arg-type]


def test_making_the_values_reads_and_imports_nothing() -> None:
    code = """if True:
        import sys, nbdock
        print(nbdock.bin_sh, nbdock.usr_bin_env, nbdock.ca_certificates, nbdock.fake_nss)
        for name in ("httpx", "tree_sitter", "networkx", "nbdock.packages.debian.index"):
            assert name not in sys.modules, name
    """
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PATH": ""})


# The bundle of Debian's certificates


async def test_the_bundle_is_made_of_the_package(apt: nbdock.packages.AptPackageSet) -> None:
    await apt.load()
    closure = await resolve_closure([nbdock.ca_certificates.override(packages=apt)])
    (bundle,) = closure.packages
    assert bundle.package_set is not None
    await bundle.package_set.fetch(closure.packages)
    files = content(bundle)
    assert files.pop("etc/ssl/certs/ca-certificates.crt") == (
        "capitals come first\nfirst, without an end\nsecond\n"
    )
    assert files == {
        "etc/pki/tls/certs/ca-bundle.crt": "-> /etc/ssl/certs/ca-certificates.crt",
        "etc/ssl/certs/ca-bundle.crt": "-> /etc/ssl/certs/ca-certificates.crt",
        "usr/lib/ssl/cert.pem": "-> /etc/ssl/certs/ca-certificates.crt",
    }


async def test_a_package_without_certificates_is_an_error(
    tmp_path: Path, signer: Signer, nbdock_home: Path
) -> None:
    archive = Archive(tmp_path / "archive", signer)
    archive.add("ca-certificates", "1", files={"usr/share/doc/x": b"x"})
    archive.publish("stable")
    key = signer.export(tmp_path / "key.gpg")
    apt = nbdock.apt(archive.root.as_uri(), suite="stable", architecture="amd64", keyring=key)
    await apt.load()
    (bundle,) = await realise([nbdock.ca_certificates.override(packages=apt)])
    assert bundle.package_set is not None
    await bundle.package_set.fetch([bundle])
    with pytest.raises(nbdock.errors.PackageError, match="holds no certificates"):
        list(bundle.entries())


async def test_the_bundle_is_the_one_that_debian_makes(tmp_path: Path, apt_home: Path) -> None:
    require("update-ca-certificates", "openssl")
    apt = nbdock.apt()
    await apt.load()
    (bundle,) = await realise([nbdock.ca_certificates.override(packages=apt)])
    assert bundle.package_set is not None
    await bundle.package_set.fetch([bundle])
    place = tmp_path / "etc"
    for name in ("certs", "local", "hooks"):
        (place / name).mkdir(parents=True)
    unpacked = tmp_path / "unpacked"
    for entry in apt["ca-certificates"].entries():
        if entry.kind is EntryKind.FILE:
            path = unpacked / entry.path.decode()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(entry.read())
    certificates = unpacked / "usr/share/ca-certificates"
    names = sorted(str(p.relative_to(certificates)) for p in certificates.rglob("*.crt"))
    (place / "conf").write_text("".join(f"{name}\n" for name in names))
    subprocess.run(
        ["update-ca-certificates", "--certsconf", place / "conf", "--certsdir", certificates,
         "--localcertsdir", place / "local", "--etccertsdir", place / "certs",
         "--hooksdir", place / "hooks"],
        check=True, capture_output=True,
    )  # fmt: skip
    made = (place / "certs/ca-certificates.crt").read_text()
    assert made.count("BEGIN CERTIFICATE") > 100
    assert content(bundle)["etc/ssl/certs/ca-certificates.crt"] == made


async def test_helpers_from_a_binary_cache(nix_cache: NixCache, nbdock_home: Path) -> None:
    """Where nothing knows attributes: a channel's list has packages under their own names."""
    pkgs = CachePackageSet(
        nix_cache.url, channel=nix_cache.channel_url, trusted_keys=[nix_cache.public_key]
    )
    helpers = [nbdock.bin_sh, nbdock.usr_bin_env, nbdock.ca_certificates]
    settled = await realise([helper.override(packages=pkgs) for helper in helpers])
    links = {name: link for package in settled for name, link in content(package).items()}
    names = {name: link.rpartition("/nix/store/")[2][33:] for name, link in links.items()}
    assert names["bin/sh"].startswith("bash-interactive-5")
    assert names["bin/sh"].endswith("/bin/bash")
    assert names["usr/bin/env"].startswith("coreutils-")
    assert names["etc/ssl/certs/ca-certificates.crt"].startswith("nss-cacert-3.92/etc/ssl")
    closure = await resolve_closure([nbdock.bin_sh.override(packages=pkgs)])
    assert any(package.name == "glibc" for package in closure.packages)
