"""Layers of store paths have the bytes that nixpkgs gives them, so that images share them.

The oracle is Python's `tarfile`, which nixpkgs' streamer uses too, on paths that real Nix built.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import pytest
from support.nix import Nix, NixCache

import nbdock
from nbdock.filetree import Entry
from nbdock.images import Image
from nbdock.packages import Package
from nbdock.packages.nix import LocalStore

TREES = """
  odd = pkgs.runCommand "odd" { } ''
    long=$(printf '%0120d' 0)
    mkdir -p $out/a $out/a-b $out/empty/er $out/$long/$long $out/.hidden "$out/with space"
    echo x >$out/a/b; echo x >$out/a.b; echo x >$out/a-b/c; echo x >$out/a/B; echo x >$out/Z
    echo x >$out/$(printf '%0255d' 1); echo x >$out/$long/$long/$long
    echo run >$out/run; chmod 755 $out/run; echo run >$out/same; chmod 755 $out/same
    mkdir $out/hard; ln $out/run $out/hard/one; ln $out/run $out/hard/two
    ln -s run $out/link; ln -s nowhere $out/dangling; ln -s a $out/to-directory
    ln -s /$(printf '%0200d' 0) $out/long-target; ln -s $(printf '\\377') $out/odd-target
    echo x >$out/$(printf 'caf\\303\\251'); echo x >$out/$(printf 'bad\\377name')
    echo x >$out/$(printf '\\360\\237\\220\\213'); echo x >"$out/two
    lines"
    : >$out/nothing; head -c 511 /dev/zero >$out/511; head -c 512 /dev/zero >$out/512
    head -c 3000000 /dev/urandom >$out/big
  '';
  file = pkgs.runCommand "file" { } "echo alone >$out";
  program = pkgs.runCommand "program" { } "echo alone >$out; chmod +x $out";
  link = pkgs.runCommand "link" { inherit odd; } "ln -s $odd/a $out";
"""


class Streamer:
    """What nixpkgs' streamer makes of store paths."""

    def __init__(self, nix: Nix, mtime: int, uid: int, gid: int, uname: str, gname: str) -> None:
        self.nix = nix
        self.said = {"mtime": mtime, "uid": uid, "gid": gid, "uname": uname, "gname": gname}

    def layer(self, paths: Sequence[str]) -> str:
        """The diff ID of a layer."""
        digest = hashlib.sha256()

        class Out:
            def write(self, data: bytes) -> int:
                digest.update(data)
                return len(data)

        with tarfile.open(fileobj=Out(), mode="w|") as archive:  # type: ignore[call-overload]
            for name in ("/nix", "/nix/store"):
                directory = tarfile.TarInfo(name)
                directory.type, directory.mode = tarfile.DIRTYPE, 0o755
                self.add(archive, directory)
            for path in paths:
                for member in self.members(Path(path)):
                    self.add_file(archive, member)
        return f"sha256:{digest.hexdigest()}"

    def members(self, path: Path) -> list[Path]:
        """A store path and what is below it, sorted as paths."""
        place = self.nix.path(str(path))
        below: list[Path] = []
        if place.is_dir() and not place.is_symlink():
            for parent, directories, files in os.walk(place):
                below += [Path(parent, name) for name in (*directories, *files)]
        return sorted([path, *(path / one.relative_to(place) for one in below)])

    def add_file(self, archive: tarfile.TarFile, path: Path) -> None:
        place = self.nix.path(str(path))
        facts = place.lstat()
        info = tarfile.TarInfo(str(path))
        info.mode = stat.S_IMODE(facts.st_mode)
        if stat.S_ISLNK(facts.st_mode):
            info.type, info.linkname = tarfile.SYMTYPE, os.readlink(place)
        elif stat.S_ISDIR(facts.st_mode):
            info.type = tarfile.DIRTYPE
        else:
            info.size = facts.st_size
            with place.open("rb") as file:
                return self.add(archive, info, file)
        return self.add(archive, info)

    def add(
        self, archive: tarfile.TarFile, info: tarfile.TarInfo, file: IO[bytes] | None = None
    ) -> None:
        for name, value in self.said.items():
            setattr(info, name, value)
        archive.addfile(info, file)


@pytest.fixture
def store(nix: Nix) -> LocalStore:
    return LocalStore(f"local?root={nix.root}")


def built(nix: Nix, name: str) -> str:
    """One of the trees, its equal files hardlinked by Nix as it does in optimised stores."""
    expression = f"let pkgs = import <nixpkgs> {{ }}; {TREES} in {name}"
    options = ("--option", "auto-optimise-store", "true")
    return nix.run("nix-build", "--no-out-link", *options, "-E", expression).strip()


def partition(image: Image) -> list[list[str]]:
    assert image.plan is not None
    return [[package.root for package in layer] for layer in image.plan.layers]


POLICIES: list[dict[str, Any]] = [
    {},
    {"mtime": "2023-04-05T06:07:08Z"},
    {"uid": 1000, "gid": 100, "uname": "user", "gname": "users"},
    {"uid": 3_000_000, "uname": "jörg", "gname": "g" * 32, "mtime": "2100-01-01T00:00:00Z"},
]


@pytest.mark.parametrize("policy", POLICIES, ids=["default", "mtime", "owner", "odd"])
async def test_each_store_layer_has_the_diff_id_of_nixpkgs(
    policy: dict[str, Any], nix: Nix, store: LocalStore
) -> None:
    odd = built(nix, "odd")
    assert nix.path(f"{odd}/same").stat().st_nlink > 3
    names = ["odd", "file", "program", "link"]
    contents = [*(built(nix, name) for name in names), *nix.build_all("hello", "coreutils")]
    oracle = Streamer(
        nix, {"": 1, "2023": 1680674828, "2100": 4102444800}[policy.get("mtime", "")[:4]],
        policy.get("uid", 0), policy.get("gid", 0),
        policy.get("uname", "root"), policy.get("gname", "root"),
    )  # fmt: skip
    for max_layers in (100, 5, 2):
        image = await nbdock.build_layered_image(
            "it", contents=store[odd], config={"Cmd": contents}, max_layers=max_layers, **policy
        )
        layers = partition(image)
        assert sorted(path for layer in layers for path in layer) == nix.closure(*contents)
        assert [str(layer.diff_id) for layer in image.layers[:-1]] == [
            oracle.layer(layer) for layer in layers
        ]


async def test_the_history_says_what_a_layer_holds_in_nixpkgs_words(
    nix: Nix, store: LocalStore
) -> None:
    image = await nbdock.build_layered_image("it", contents=store[nix.build("hello")])
    comments = [step.comment for step in image.config.history]
    assert comments[:-1] == [f"store paths: {layer}" for layer in partition(image)]
    assert {step.created for step in image.config.history} == {"1970-01-01T00:00:01Z"}


async def test_images_share_the_layers_of_the_same_packages(nix: Nix, store: LocalStore) -> None:
    hello, coreutils = (store[path] for path in nix.build_all("hello", "coreutils"))
    one = await nbdock.build_layered_image("one", contents=hello, config={"User": "1"})
    two = await nbdock.build_layered_image("two", contents=[coreutils, hello], max_layers=50)
    shared = {layer.diff_id for layer in one.layers} & {layer.diff_id for layer in two.layers}
    assert len(shared) == len(nix.closure(hello.root))


async def test_the_layers_of_the_base_are_its_own(nix: Nix, store: LocalStore) -> None:
    base = await nbdock.build_layered_image("base", contents=store[nix.build("hello")])
    on = await nbdock.build_layered_image(
        "on", from_image=base, contents=store[nix.build("coreutils")]
    )
    assert on.layers[: len(base.layers)] == base.layers


WARM = """
import sys
import nbdock
from nbdock.packages.nix import LocalStore

store = LocalStore("local?root=" + sys.argv[1])
LocalStore.fetch = None
type(store[sys.argv[2]]).entries = None
image = nbdock.concurrency.run(nbdock.build_layered_image(
    "it", contents=[store[path] for path in sys.argv[2:]], include_nix_db=True,
))
print(image.digest)
assert not {"networkx", "pandas", "httpx"} & set(sys.modules), sorted(sys.modules)
"""


async def test_a_warm_build_neither_lists_nor_reads_the_store(nix: Nix, store: LocalStore) -> None:
    paths = nix.build_all("hello", "coreutils")
    image = await nbdock.build_layered_image(
        "it", contents=[store[path] for path in paths], include_nix_db=True
    )
    again = subprocess.run(
        [sys.executable, "-c", WARM, nix.root, *paths], capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert again.stdout.strip() == str(image.digest)


class Passing(Package):
    """A package whose contents can be read only as they pass, as those of a compressed NAR."""

    def __init__(self, package: Package) -> None:
        self._package = package
        self.name, self.version, self.root = package.name, package.version, package.root
        self.package_set = None

    @property
    def key(self) -> str:
        return f"passing:{self._package.key}"

    @property
    def size_bytes(self) -> int:
        return self._package.size_bytes

    def entries(self) -> Any:
        last: list[Once] = []
        for entry in self._package.entries():
            if last:
                last.pop().over = True
            if entry.content is not None:
                last.append(Once(entry))
                entry = dataclasses.replace(entry, content=last[0])
            yield entry


class Once:
    def __init__(self, entry: Entry) -> None:
        self.entry, self.over = entry, False

    def chunks(self) -> Any:
        assert not self.over, "read too late"
        self.over = True
        assert self.entry.content is not None
        yield from self.entry.content.chunks()


async def test_contents_that_pass_only_once_give_the_same_image(
    nix: Nix, store: LocalStore
) -> None:
    odd = store[built(nix, "odd")]
    for build in (nbdock.build_layered_image, nbdock.build_image):
        plain = await build("it", contents=odd)
        passing = await build("it", contents=Passing(odd))
        assert [layer.diff_id for layer in plain.layers] == [
            layer.diff_id for layer in passing.layers
        ]


async def test_a_store_and_a_binary_cache_give_the_same_image(
    nix: Nix, nix_cache: NixCache, store: LocalStore
) -> None:
    cache = nbdock.nixpkgs(
        cache=nix_cache.url, channel=nix_cache.channel_url, trusted_keys=[nix_cache.public_key]
    )
    paths = nix.build_all("hello", "oddities.modes", "oddities.self")
    for build in (nbdock.build_layered_image, nbdock.build_image):
        digests = {
            (await build(
                "it", contents=[packages[path] for path in paths], include_nix_db=True,
                config={"Cmd": [nix.build("oddities.file")]}, architecture="amd64",
            )).digest
            for packages in (store, cache)
        }  # fmt: skip
        assert len(digests) == 1
