"""The packages of a real store: the same trees, sizes and closures as Nix has them."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.nix import Nix

import nbdock
from nbdock.errors import (
    ArgumentError,
    ArgumentTypeError,
    InvalidStorePathError,
    NixError,
    PackageNotFoundError,
    UnavailableError,
)
from nbdock.filetree import EntryKind, Walk
from nbdock.packages import resolve_closure
from nbdock.packages.nix import LocalStore, StoreLocation, StorePath, write_nar
from nbdock.packages.nix.local import store as module
from nbdock.packages.nix.local.location import nix_settings

ODDITIES = ("file", "symlink", "self", "modes", "deep")


@pytest.fixture
def store(nix: Nix) -> LocalStore:
    return LocalStore(nix.environment["NIX_REMOTE"])


@pytest.fixture
def own_store(nix: Nix, tmp_path: Path) -> Iterator[LocalStore]:
    """A store with the oddities, for this test to damage."""
    root = tmp_path / "own"
    paths = nix.build_all(*(f"oddities.{name}" for name in ODDITIES))
    nix.run("nix", "copy", "--no-check-sigs", "--to", f"local?root={root}", *paths)
    yield LocalStore(f"local?root={root}")
    for place, names, _ in os.walk(root):
        for name in names:
            if not os.path.islink(os.path.join(place, name)):
                os.chmod(os.path.join(place, name), 0o755)


# Packages


async def test_closures_are_those_of_nix(nix: Nix, store: LocalStore) -> None:
    roots = nix.build_all("hello", "zlib.dev", *(f"oddities.{name}" for name in ODDITIES))
    packages = [store[root] for root in roots]
    closure = await store.closure(packages)
    assert sorted(map(str, closure.packages)) == nix.closure(*roots)
    assert list(closure.packages) == sorted(closure.packages, key=lambda p: p.sort_key)
    assert closure.roots == tuple(p.key for p in packages)
    sizes = nix.run("nix-store", "--query", "--size", *map(str, closure.packages)).split()
    assert [p.size_bytes for p in closure.packages] == [int(size) for size in sizes]
    assert closure.size_bytes == sum(map(int, sizes))
    for package in closure.packages:
        references = nix.run("nix-store", "--query", "--references", str(package)).split()
        assert sorted(str(closure[key]) for key in closure.references[package.key]) == sorted(
            {*references} - {str(package)}
        )
    # Whoever resolves several sets gets the same.
    together = await resolve_closure([*packages, nbdock.text_file("etc/motd", "hello")])
    assert {p.key for p in closure.packages} < {p.key for p in together.packages}
    assert len(together) == len(closure) + 1


@pytest.mark.parametrize(
    "attribute", ["hello", "zlib.dev", *(f"oddities.{name}" for name in ODDITIES)]
)
def test_entries_are_the_nar(nix: Nix, store: LocalStore, attribute: str) -> None:
    path = nix.build(attribute)
    package = store[path]
    written = bytearray()
    write_nar(package.entries(), written.extend)
    assert bytes(written) == nix.run_bytes("nix-store", "--dump", nix.path(path))
    assert len(written) == package.size_bytes
    entries = list(package.entries())
    assert entries[0].path == b""
    for entry in entries:
        modes = {EntryKind.FILE: (0o444, 0o555), EntryKind.DIRECTORY: (0o555,)}
        assert entry.mode in modes.get(entry.kind, (0o777,))
        assert (entry.mtime, entry.uid, entry.gid) == (1, 0, 0)


def test_trees_are_canonical_whatever_the_disk_says(own_store: LocalStore, nix: Nix) -> None:
    package = own_store[nix.build("oddities.modes")]
    before = [(e.path, e.mode, e.mtime) for e in package.entries()]
    for place, _, names in os.walk(package.path):
        os.chmod(place, 0o700)
        os.utime(place)
        for name in names:
            file = Path(place, name)
            if not file.is_symlink():
                file.chmod(file.stat().st_mode & 0o100 | 0o640)
    assert [(e.path, e.mode, e.mtime) for e in package.entries()] == before
    program = {e.path: e.mode for e in package.entries()}
    assert program[b"run"] == program[b"hardlink"] == 0o555
    assert program[b"secret"] == 0o444


def test_what_a_package_says_of_itself(nix: Nix, store: LocalStore) -> None:
    path = nix.build("zlib.dev")
    package = store[path]
    assert store[StorePath.parse(path)] == package == store[path + "/"]
    assert (package.name, package.root, str(package)) == ("zlib", path, path)
    assert package.version.endswith("-dev")
    assert package.key.startswith(f"nix:{path}:sha256:")
    assert repr(store) == f"<LocalStore /nix/store in {nix.root}/nix/store>"
    assert "closure" in dir(store)


def test_what_is_not_in_the_store(nix: Nix, store: LocalStore) -> None:
    missing = "/nix/store/" + "0" * 32 + "-hello-9"
    with pytest.raises(PackageNotFoundError, match="does not have") as caught:
        store[missing]
    assert f"nix-store --realise {missing}" in str(caught.value)
    inside = nix.build("hello") + "/bin/hello"
    with pytest.raises(InvalidStorePathError, match="inside") as inner:
        store[inside]
    assert nix.build("hello") in str(inner.value)
    for name in ("hello", "/etc/passwd", "/nix/store/../store/x", ""):
        with pytest.raises(InvalidStorePathError):
            store[name]
    with pytest.raises(ArgumentTypeError):
        store[7]  # type: ignore[index]


async def test_packages_of_another_set(nix: Nix, store: LocalStore, own_store: LocalStore) -> None:
    with pytest.raises(ArgumentError, match="not of this package set"):
        await store.closure([own_store[nix.build("oddities.self")]])
    with pytest.raises(ArgumentError, match="not of this package set"):
        await store.fetch([nbdock.text_file("a", "b")])


# A store that is not as its database says


async def test_a_path_that_is_gone(own_store: LocalStore, nix: Nix) -> None:
    package = own_store[nix.build("oddities.file")]
    await own_store.fetch([package])
    os.remove(package.path)
    with pytest.raises(NixError, match="cannot be read") as caught:
        await own_store.fetch([package])
    assert "run the cell again" in str(caught.value)
    with pytest.raises(NixError, match="No such file"):
        package.entries()


@pytest.mark.parametrize("damage", ["longer", "name", "program", "file", "socket", "fifo", "gone"])
def test_a_path_that_was_changed(own_store: LocalStore, nix: Nix, damage: str) -> None:
    package = own_store[nix.build("oddities.modes")]
    place = Path(package.path)
    place.chmod(0o755)
    if damage == "longer":
        (place / "secret").chmod(0o644)
        with (place / "secret").open("ab") as file:
            file.write(b"12345678")
    elif damage == "name":
        (place / "secret").rename(place / "a much longer name")
    elif damage == "program":
        (place / "secret").chmod(0o755)
    elif damage == "file":
        shutil.copyfile(place / "run", place / "more")
    elif damage == "socket":
        with contextlib.chdir(place), socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket")
    elif damage == "fifo":
        os.mkfifo(place / "fifo")
    else:
        (place / "secret").unlink()
    with pytest.raises(NixError, match=r"registered|neither") as caught:
        list(package.entries())
    assert package.path in str(caught.value)
    assert "--repair" in str(caught.value)


async def test_a_reference_that_is_not_valid(own_store: LocalStore, nix: Nix) -> None:
    package = own_store[nix.build("oddities.symlink")]
    with contextlib.closing(sqlite3.connect(own_store.location.database)) as db, db:
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute("DELETE FROM ValidPaths WHERE path = ?", (nix.build("hello"),))
    with pytest.raises(NixError, match="damaged"):
        await own_store.closure([package])


# Builds


async def test_a_warm_build_reads_no_tree(
    nbdock_home: Path, nix: Nix, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def build() -> nbdock.Image:
        hello = LocalStore(nix.environment["NIX_REMOTE"])[nix.build("hello")]
        config = {"Cmd": [f"{hello}/bin/hello"]}
        return await nbdock.build_layered_image("hello", contents=[hello], config=config)

    walked: list[bytes] = []
    walk = Walk.of
    monkeypatch.setattr(module.Walk, "of", lambda place: walked.append(place) or walk(place))
    cold = await build()
    assert {os.path.basename(place).decode()[33:] for place in walked} >= {"hello-2.10"}
    walked.clear()
    warm = await build()
    assert warm.digest == cold.digest
    assert walked == []


# Where a store is


@pytest.mark.parametrize(
    ("uri", "environment", "expected"),
    [
        ("local", {}, ("/nix/store", "/nix/var/nix", "/nix/store")),
        ("daemon", {}, ("/nix/store", "/nix/var/nix", "/nix/store")),
        ("unix:///run/nix", {}, ("/nix/store", "/nix/var/nix", "/nix/store")),
        ("local?root=/mnt", {}, ("/nix/store", "/mnt/nix/var/nix", "/mnt/nix/store")),
        ("/mnt", {}, ("/nix/store", "/mnt/nix/var/nix", "/mnt/nix/store")),
        ("local?root=/a%20b", {}, ("/nix/store", "/a b/nix/var/nix", "/a b/nix/store")),
        ("local?store=/s/&state=/v&real=/r/", {}, ("/s", "/v", "/r")),
        ("", {"NIX_STORE_DIR": "/s", "NIX_STATE_DIR": "/v"}, ("/s", "/v", "/s")),
        (
            "local?root=/mnt", {"NIX_STORE_DIR": "/s", "NIX_STATE_DIR": "/v"},
            ("/s", "/mnt/nix/var/nix", "/mnt/nix/store"),
        ),
    ],
)  # fmt: skip
def test_where_a_store_is(
    uri: str, environment: dict[str, str], expected: tuple[str, str, str]
) -> None:
    location = StoreLocation.parse(uri, environment)
    assert (location.store_dir, location.state_dir, location.real_dir) == expected


def test_a_store_of_somebody_without_rights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    monkeypatch.setattr(os.path, "exists", lambda path: path != "/nix/var/nix")
    location = StoreLocation.default({"HOME": "/home/me", "NIX_CONF_DIR": str(tmp_path)})
    assert location.real_dir == "/home/me/.local/share/nix/root/nix/store"
    assert location.store_dir == "/nix/store"
    location = StoreLocation.default({"XDG_DATA_HOME": "/data", "NIX_CONF_DIR": str(tmp_path)})
    assert location.state_dir == "/data/nix/root/nix/var/nix"


def test_a_store_that_the_configuration_names(tmp_path: Path) -> None:
    user = tmp_path / "user.conf"
    environment = {"NIX_CONF_DIR": str(tmp_path), "NIX_USER_CONF_FILES": str(user)}
    assert nix_settings(environment) == {}
    (tmp_path / "nix.conf").write_text(
        "# store = /no\nstore = /mnt # yes\ninclude more.conf\n!include none.conf\nbad line\n"
    )
    (tmp_path / "more.conf").write_text("include more.conf\nsandbox = false\nnix-path = a=b  c=d\n")
    assert nix_settings(environment) == {
        "store": "/mnt", "sandbox": "false", "nix-path": "a=b c=d",
    }  # fmt: skip
    assert StoreLocation.default(environment).real_dir == "/mnt/nix/store"
    assert StoreLocation.default(environment).uri == ""
    user.write_bytes(b"store = local?root=/\xff\n")
    assert StoreLocation.default({**environment, "NIX_REMOTE": "daemon"}).real_dir.startswith(
        "/\udcff"
    )
    environment["NIX_CONFIG"] = "store = auto"
    assert nix_settings(environment)["store"] == "auto"


def test_nix_uses_the_store_we_read(local_nix: Nix) -> None:
    path = local_nix.build("hello")
    assert LocalStore().location.real_dir == str(local_nix.root / "nix/store")
    assert LocalStore()[path].path == str(local_nix.path(path))


@pytest.mark.parametrize("uri", ["ssh://host", "https://cache.example.org", "s3://bucket"])
def test_stores_elsewhere(uri: str) -> None:
    with pytest.raises(UnavailableError, match="not a store on this machine"):
        LocalStore(uri)


@pytest.mark.parametrize("uri", ["what", "dummy://", "local:x"])
def test_no_stores(uri: str) -> None:
    with pytest.raises(ArgumentTypeError, match="not the URI"):
        LocalStore(uri)
