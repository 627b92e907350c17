"""Store packages in images, judged by the tools that nixpkgs uses: lndir, rsync, and Nix itself.

The tools run in Nix's sandbox, where store paths lead where they lead in an image.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from support.components import require
from support.nix import Nix

import nbdock
from nbdock.errors import ArgumentError, ArgumentTypeError, CommandError, UnavailableError
from nbdock.filetree import Entry, EntryKind
from nbdock.images import Image
from nbdock.nixlang import evaluate
from nbdock.packages import Package, StorePackage
from nbdock.packages.nix import LocalStore

Look = Callable[[Image], dict[str, Entry]]

TREES = """
  first = pkgs.runCommand "first" { } ''
    mkdir -p $out/bin $out/lib/deep/er $out/etc/CVS $out/.git $out/share/empty $out/clash
    mkdir "$out/od d"
    echo a >$out/bin/tool; chmod +x $out/bin/tool
    echo library >$out/lib/deep/er/lib.so.1
    ln -s lib.so.1 $out/lib/deep/er/lib.so
    ln -s lib $out/lib64
    ln -s ../lib/deep $out/bin/libraries
    ln -s $out/lib $out/absolute
    ln -s nowhere $out/dangling
    ln -s loop $out/loop
    echo x >$out/etc/CVS/Entries; echo x >$out/.git/HEAD; echo x >$out/.hidden
    echo backup >$out/bin/tool~; mkdir $out/old~; echo x >$out/old~/f
    echo x >"$out/od d/$(printf 'caf\\303\\251')"; echo x >$out/$(printf 'bad\\377name')
    echo first >$out/both; echo x >$out/clash/inside; echo file >$out/was-file
    ln -s lib $out/linked
  '';
  second = pkgs.runCommand "second" { inherit first; } ''
    mkdir -p $out/bin $out/lib/deep $out/was-file $out/linked $out/share
    echo the-second >$out/both; echo x >$out/was-file/inside; echo x >$out/linked/more
    echo x >$out/lib/deep/other; echo b >$out/bin/other
    ln -s $first/lib/deep $out/share/deep
    ln -s $first/bin/tool $out/bin/first-tool
    ln -s $first $out/all
  '';
  clashing = pkgs.runCommand "clashing" { } "mkdir $out; echo x >$out/clash";
  link = pkgs.runCommand "link" { inherit second; } "ln -s $second/share $out";
  chain = pkgs.runCommand "chain" { inherit link; } "ln -s $link $out";
  circular = pkgs.runCommand "circular" { } ''
    mkdir -p $out/a; ln -s . $out/a/here; ln -s .. $out/a/up
  '';
  file = pkgs.writeText "file" "x";
"""

JOIN = "mkdir $out; for one in $paths; do lndir -silent $one $out; done"
COPY = """
  mkdir $out
  for one in $paths; do rsync -aFLAG --chmod=u+w --ignore-times $one/ $out/; done
"""


@pytest.fixture
def store(nix: Nix) -> LocalStore:
    return LocalStore(f"local?root={nix.root}")


class Trees:
    """The trees above as packages, and what the tools of nixpkgs make of them."""

    def __init__(self, nix: Nix, store: LocalStore) -> None:
        self.nix, self.store = nix, store

    def build(self, expression: str) -> str:
        return self.nix.build_expression(f"let {TREES} in {expression}")

    def __getitem__(self, name: str) -> StorePackage:
        return self.store[self.build(name)]

    def made(self, commands: str, *names: str) -> dict[bytes, tuple[object, ...]]:
        """What a derivation makes of some trees."""
        paths = " ".join(names)
        text = f"pkgs.runCommand \"made\" {{ paths = [ {paths} ]; }} ''{commands}''"
        top = os.fsencode(self.nix.path(self.build(text)))
        found: dict[bytes, tuple[object, ...]] = {}
        for parent, directories, files in os.walk(top):
            for name in (*directories, *files):
                place = parent + b"/" + name
                mode = os.lstat(place).st_mode
                fact: tuple[object, ...] = ("directory",)
                if stat.S_ISLNK(mode):
                    fact = ("link", os.readlink(place))
                elif stat.S_ISREG(mode):
                    fact = ("file", bool(mode & 0o100), Path(os.fsdecode(place)).read_bytes())
                found[place[len(top) + 1 :]] = fact
        return found


@pytest.fixture
def trees(nix: Nix, store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> Trees:
    """The trees, in the store that this notebook has its packages from."""
    monkeypatch.setattr("nbdock.packages.default_nixpkgs", lambda: store)
    return Trees(nix, store)


def facts(entries: dict[str, Entry]) -> dict[bytes, tuple[object, ...]]:
    """The entries outside of the store, as `Trees.made` has them."""
    found: dict[bytes, tuple[object, ...]] = {}
    for entry in entries.values():
        if entry.path == b"nix" or entry.path.startswith(b"nix/"):
            continue
        if entry.kind is EntryKind.DIRECTORY:
            found[entry.path] = ("directory",)
        elif entry.kind is EntryKind.SYMLINK:
            found[entry.path] = ("link", entry.linkname)
        else:
            found[entry.path] = ("file", bool(entry.mode & 0o100), entry.read())
    return found


# Root symlinks


@pytest.mark.parametrize(
    "names",
    [("first",), ("first", "second"), ("second", "first"), ("clashing", "first"), ("link",),
     ("circular", "chain", "link"), ("second", "chain", "clashing", "first")],
)  # fmt: skip
async def test_root_links_are_those_of_lndir(
    names: tuple[str, ...], trees: Trees, files: Look
) -> None:
    require("lndir")
    image = await nbdock.build_layered_image("it", contents=[trees[name] for name in names])
    top = {e.path.decode("utf-8", "surrogateescape"): e for e in image.layer_entries(-1)}
    assert facts(top) == trees.made(JOIN, *names)
    owners = {(e.uid, e.gid, e.uname, e.gname, e.mtime) for e in top.values()}
    assert owners == {(0, 0, "root", "root", 315532800)}
    modes = {(e.kind, e.mode) for e in top.values()}
    assert modes <= {(EntryKind.DIRECTORY, 0o755), (EntryKind.SYMLINK, 0o777)}
    assert list(top) == sorted(top, key=os.fsencode)


async def test_times_and_owners_of_store_files_do_not_reach_the_links(trees: Trees) -> None:
    plain = await nbdock.build_layered_image("it", contents=trees["first"])
    other = await nbdock.build_layered_image(
        "it", contents=trees["first"], mtime="2020-01-01T00:00:00Z", uid=1000, gid=1000,
        uname="user", gname="users", created="2021-01-01T00:00:00Z",
    )  # fmt: skip
    assert plain.layers[-1].diff_id == other.layers[-1].diff_id
    assert plain.layers[0].diff_id != other.layers[0].diff_id
    owners = {(e.uid, e.gid, e.uname, e.gname, e.mtime) for e in other.layer_entries(0)}
    assert owners == {(1000, 1000, "user", "users", 1577836800)}


async def test_store_path_symlink_is_not_dereferenced(trees: Trees, files: Look) -> None:
    link = trees["link"]
    found = files(await nbdock.build_layered_image("it", contents=link))
    assert found[link.root[1:]].kind is EntryKind.SYMLINK
    assert found[link.root[1:]].linkname.decode() == f"{trees['second'].root}/share"
    assert f"{trees['first'].root[1:]}/bin/tool" in found


async def test_a_store_path_that_is_a_file_has_nothing_to_link(trees: Trees) -> None:
    for build in (nbdock.build_image, nbdock.build_layered_image):
        with pytest.raises(ArgumentTypeError, match="not a directory") as caught:
            await build("it", contents=trees["file"])
        assert caught.value.argument == "contents"
    # In a configuration it is as good as any.
    image = await nbdock.build_layered_image("it", config={"Cmd": ["cat", trees["file"].root]})
    assert await image.file(trees["file"].root) == b"x"


# Copies


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize(
    "names",
    [("first",), ("first", "second"), ("clashing", "second"), ("link",), ("chain", "first")],
)
async def test_what_is_copied_to_the_root_is_what_rsync_copies(
    names: tuple[str, ...], keep: bool, trees: Trees, files: Look
) -> None:
    require("rsync")
    image = await nbdock.build_image(
        "it", copy_to_root=[trees[name] for name in names], keep_contents_dirlinks=keep
    )
    expected = trees.made(COPY.replace("FLAG", "K" if keep else "k"), *names)
    assert facts(files(image)) == expected


async def test_a_file_where_a_directory_is_full_is_refused(trees: Trees) -> None:
    with pytest.raises(AssertionError, match="could not make way"):
        trees.made(COPY.replace("FLAG", "k"), "second", "first")
    with pytest.raises(ArgumentTypeError, match="was-file") as caught:
        await nbdock.build_image("it", copy_to_root=[trees["second"], trees["first"]])
    assert caught.value.argument == "copy_to_root"


async def test_links_that_multiply_are_refused(
    nix: Nix, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thirty directories with two links each to the next would be copied 2**30 times."""
    bomb = nix.build_expression(
        """pkgs.runCommand "bomb" { } ''
             for n in $(seq 30); do
               mkdir -p $out/$n; ln -s ../$((n + 1)) $out/$n/a; ln -s ../$((n + 1)) $out/$n/b
             done
             mkdir $out/31
           ''"""
    )
    monkeypatch.setenv("NBDOCK_CONTENTS_ENTRIES_LIMIT", "1000")
    with pytest.raises(ArgumentTypeError, match="more than 1000 files"):
        await nbdock.build_image("it", copy_to_root=store[bomb])
    await nbdock.build_image("it", copy_to_root=store[bomb], keep_contents_dirlinks=True)


async def test_a_link_to_a_directory_that_it_is_in_stays_a_link(trees: Trees, files: Look) -> None:
    """Rsync follows it forty times and fails."""
    found = files(await nbdock.build_image("it", copy_to_root=trees["circular"]))
    assert found["a/here"].kind is found["a/up"].kind is EntryKind.SYMLINK


async def test_bare_directories_are_copied_and_linked_to_nothing(
    tmp_path: Path, trees: Trees, files: Look
) -> None:
    (tmp_path / "test-dummy").mkdir()
    (tmp_path / "test-dummy/hello.txt").write_text("Hello there!\n")
    for build in (nbdock.build_image, nbdock.build_layered_image):
        image = await build("it", contents=[trees["second"], str(tmp_path / "test-dummy")])
        assert await image.file("/hello.txt") == b"Hello there!\n"


# What else is in the store


async def test_the_store_has_the_closure_and_everyone_may_enter(
    nix: Nix, trees: Trees, files: Look
) -> None:
    second = trees["second"]
    expected = {path.removeprefix("/nix/store/") for path in nix.closure(second.root)}
    for build in (nbdock.build_image, nbdock.build_layered_image):
        found = files(await build("it", contents=second, uid=1000, gid=1000))
        assert {p.split("/")[2] for p in found if p.startswith("nix/store/")} == expected
        assert found["nix"].mode == found["nix/store"].mode == 0o755
        modes = {e.mode for p, e in found.items() if p.startswith("nix/store/")}
        assert modes == {0o555, 0o444, 0o777}


async def test_uid_and_gid_of_build_image_are_for_what_is_copied(trees: Trees, files: Look) -> None:
    image = await nbdock.build_image(
        "it", copy_to_root=trees["first"], uid=1000, gid=1001, extra_commands="mkdir data"
    )
    for path, entry in files(image).items():
        inside = path == "nix" or path.startswith("nix/")
        assert (entry.uid, entry.gid) == ((0, 0) if inside else (1000, 1001)), path
        assert entry.mtime == 315532800, path


async def test_what_the_base_has_is_neither_added_nor_fetched(
    nix: Nix, trees: Trees, files: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = trees["first"], trees["second"]
    # Owners differ, as they may: a store path is known by its content.
    base = await nbdock.build_layered_image("base", config={"Cmd": [first.root]}, uid=1000)
    fetched: list[str] = []
    fetch = LocalStore.fetch

    async def noted(self: LocalStore, packages: list[Package], **arguments: object) -> None:
        packages = list(packages)
        fetched.extend(p.name for p in packages)
        await fetch(self, packages)

    monkeypatch.setattr(LocalStore, "fetch", noted)
    on = await nbdock.build_image("on", from_image=base, config={"Cmd": [second.root]})
    top = {e.path.decode() for e in on.layer_entries(-1)}
    stored = {p.split("/")[2] for p in top if p.startswith("nix/store/")}
    assert stored == {second.root.removeprefix("/nix/store/")}
    assert set(fetched) == {"second"}
    assert set(files(on)) >= {first.root[1:], second.root[1:]}


async def test_a_path_that_the_base_has_in_part_is_completed(
    tmp_path: Path, trees: Trees, files: Look
) -> None:
    first = trees["first"]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/tool").write_text("a\n")
    (tmp_path / "bin/tool").chmod(0o755)
    partly = nbdock.directory(tmp_path, root=first.root)
    base = await nbdock.build_image("base", contents=partly)
    on = await nbdock.build_image("on", from_image=base, config={"Cmd": [first.root]})
    assert f"{first.root[1:]}/lib/deep/er/lib.so.1" in files(on)


async def test_without_store_paths_the_links_stay(trees: Trees, files: Look) -> None:
    image = await nbdock.build_layered_image(
        "it", contents=trees["first"], config={"Cmd": [trees["second"].root]},
        include_store_paths=False,
    )  # fmt: skip
    found = files(image)
    assert not any(path.startswith("nix") for path in found)
    assert found["bin/tool"].linkname.decode() == f"{trees['first'].root}/bin/tool"


# The configuration


async def test_store_paths_in_strings_of_the_configuration_are_included(
    trees: Trees, files: Look
) -> None:
    first, second = trees["first"], trees["second"]
    config = {
        "Cmd": ["sh", "-c", f"exec {second.root}/bin/other"],
        "Env": [f"PATH=/bin:{second.root}/bin"],
    }
    for build in (nbdock.build_image, nbdock.build_layered_image):
        # The set that is asked is that of the contents.
        found = files(await build("it", contents=trees["clashing"], config=config))
        assert {first.root[1:], second.root[1:]} < set(found)
        assert "bin/other" not in found


async def test_a_package_in_the_configuration_is_its_place(trees: Trees, files: Look) -> None:
    file = trees["file"]
    for build in (nbdock.build_image, nbdock.build_layered_image):
        image = await build("it", config={"Cmd": ["cat", file]})
        assert image.config.config.cmd == ("cat", file.root)
        assert file.root[1:] in files(image)
        with pytest.raises(ArgumentTypeError, match="Cmd"):
            await build("it", config={"Cmd": [nbdock.text_file("a", "b")]})


async def test_a_store_path_that_nobody_has_names_its_place(trees: Trees) -> None:
    lost = "/nix/store/" + "a" * 32 + "-lost"
    for config, place in (
        ({"Cmd": [f"{lost}/bin/x"]}, "config.Cmd"),
        ({"Labels": {"what": f"in {lost}."}}, "config.Labels.what"),
        ({"Volumes": {lost: {}}}, f"config.Volumes.{lost}"),
    ):
        with pytest.raises(ArgumentError) as caught:
            await nbdock.build_layered_image("it", contents=trees["first"], config=config)
        assert caught.value.message.startswith(place)
        assert lost in caught.value.message


async def test_the_base_may_have_what_the_configuration_names(trees: Trees) -> None:
    lost = "/nix/store/" + "a" * 32 + "-lost"
    base = await nbdock.build_image("base", contents=nbdock.text_file(f"{lost}/f", "x"))
    on = await nbdock.build_image("on", from_image=base, config={"Cmd": [f"{lost}/f"]})
    assert on.config.config.cmd == (f"{lost}/f",)


# Commands


async def commanded(text: str, build: Callable[..., object], **names: object) -> Image:
    """An image whose extraCommands are a string of a cell."""
    commands = evaluate(text, names).value
    return await build("it", extra_commands=commands)  # type: ignore[no-any-return, misc]


@pytest.mark.parametrize("build", [nbdock.build_image, nbdock.build_layered_image])
async def test_only_what_commands_leave_references_to_is_included(
    build: Callable[..., object], nix: Nix, trees: Trees, files: Look
) -> None:
    names = {"first": trees["first"], "second": trees["second"], "link": trees["link"]}
    used = await commanded(
        '"""test -n ${link} && touch used"""'.replace('"""', "''"), build, **names
    )
    assert set(files(used)) == {"used"}

    linked = files(await commanded('"ln -s ${second}/bin/other other"', build, **names))
    stored = {f"/{'/'.join(p.split('/')[:3])}" for p in linked if p.count("/") >= 2}
    assert stored == set(nix.closure(trees["second"].root))
    again = files(await commanded('"ln -s ${second}/bin/other other"', build, **names))
    assert set(again) == set(linked)

    # Across the pieces in which a file is read, and cut in the middle of something longer.
    hashed = trees["first"].info.path.hash_part
    text = f'"head -c 1048560 /dev/zero >f; printf 000{hashed}111 >>f # ${{first}}"'
    written = files(await commanded(text, build, **names))
    assert trees["first"].root[1:] in written


@pytest.mark.parametrize("build", [nbdock.build_image, nbdock.build_layered_image])
async def test_commands_find_the_packages_that_they_use(
    build: Callable[..., object], trees: Trees, files: Look
) -> None:
    """As in nixpkgs, though this machine's own /nix/store has none of them."""
    text = """''
      cp -r ${first}/bin ${first}/od* .
      cat ${link}/deep/er/lib.so >library; readlink -f ${second}/bin/first-tool >where
      test "$(env | cut -d= -f1 | sort | tr '\\n' ' ')" = "LC_ALL PATH PWD SHLVL _ "
      ! touch ${first}/new 2>/dev/null || test $(id -u) = 0
    ''"""
    names = {"first": trees["first"], "second": trees["second"], "link": trees["link"]}
    found = files(await commanded(text, build, **names))
    assert found["bin/tool"].read() == b"a\n"
    assert found["bin/tool"].mode == 0o555
    assert (found["bin/tool"].uid, found["bin/tool"].mtime) == (0, 315532800)
    assert found["library"].read() == b"library\n"
    tool = f"{trees['first'].root}/bin/tool"
    assert found["where"].read().decode() == f"{tool}\n"
    # What was written names the package, so it is in the image as well.
    assert tool[1:] in found
    assert trees["second"].root[1:] not in found


async def test_machines_without_namespaces_say_so(
    trees: Trees, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, nbdock_home: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    refusing = tmp_path / "bin/unshare"
    refusing.parent.mkdir()
    refusing.write_text("#!/bin/sh\necho unshare: Operation not permitted >&2; exit 1\n")
    refusing.chmod(0o755)
    first = trees["first"]
    for path, said in ((str(refusing.parent), "not permitted"), ("/nowhere", "no program")):
        with monkeypatch.context() as changed:
            changed.setenv("PATH", path)
            with pytest.raises(UnavailableError, match=said) as caught:
                await commanded('"cat ${first}/both"', nbdock.build_image, first=first)
        assert caught.value.argument == "extra_commands"
    assert [place.name for place in tmp_path.iterdir() if place.name.startswith("nbdock-")] == [
        nbdock_home.name
    ]


async def test_a_failing_command_leaves_nothing(trees: Trees, nbdock_home: Path) -> None:
    with pytest.raises(CommandError):
        await commanded('"exit 3 # ${first}"', nbdock.build_layered_image, first=trees["first"])
    assert not list((nbdock_home / "tmp").iterdir())


# The database of Nix


def lay_out(image: Image, place: Path) -> None:
    """The files of an image on disk, as root sees them."""
    from nbdock.images.tree import image_tree

    for path, entry in image_tree(image).items():
        where = os.fsencode(place) + b"/" + path
        if entry.kind is EntryKind.DIRECTORY:
            os.makedirs(where, exist_ok=True)
        elif entry.kind is EntryKind.SYMLINK:
            os.symlink(entry.linkname, where)
        else:
            with open(where, "wb") as file:
                file.writelines(entry.content.chunks() if entry.content else ())
                os.fchmod(file.fileno(), entry.mode)


@pytest.mark.parametrize("build", [nbdock.build_image, nbdock.build_layered_image])
async def test_nix_in_the_image_knows_its_store(
    build: Callable[..., object], nix: Nix, trees: Trees, tmp_path: Path
) -> None:
    first, second, chain = trees["first"], trees["second"], trees["chain"]
    image = await build(  # type: ignore[misc]
        "it", contents=[second, chain], config={"Cmd": [trees["file"].root]}, include_nix_db=True,
        extra_commands="test -f nix/var/nix/db/db.sqlite",
    )  # fmt: skip
    lay_out(image, tmp_path / "root")
    store = ("--store", f"local?root={tmp_path / 'root'}")
    nix.run("nix-store", *store, "--verify", "--check-contents")
    everything = nix.closure(second.root, chain.root, trees["file"].root)
    listed = nix.run("nix", "path-info", *store, "--all").split()
    assert sorted(listed) == everything
    needs = nix.run("nix-store", *store, "--query", "--requisites", chain.root).split()
    assert sorted(needs) == nix.closure(chain.root)
    assert first.root in needs
    assert (tmp_path / "root/nix/var/nix/gcroots/docker" / second.info.path.base_name).is_symlink()
    garbage = nix.run("nix-store", *store, "--gc", "--print-dead").split()
    assert garbage == [trees["file"].root]  # as in nixpkgs, only contents are rooted

    (victim,) = (tmp_path / "root/nix/store").glob("*-first")
    (victim / "both").chmod(0o644)
    (victim / "both").write_text("tampered")
    with pytest.raises(AssertionError, match="was modified"):
        nix.run("nix-store", *store, "--verify", "--check-contents")


# Arguments


async def test_what_nix_alone_uses_is_accepted_and_changes_nothing(trees: Trees) -> None:
    plain = await nbdock.build_layered_image("Registry-1.example/Team/It", contents=trees["first"])
    same = await nbdock.build_layered_image(
        "Registry-1.example/Team/It", contents=trees["first"], passthru={"tests": 1},
        meta={"description": "x"}, debug=True, compressor="zstd",
    )  # fmt: skip
    assert same.digest == plain.digest
    assert same.reference == plain.reference == f"registry-1.example/team/it:{plain.tag}"
    assert len(plain.tag) == 32
    assert same.build_args["meta"] == {"description": "x"}
    single = await nbdock.build_image("it", contents=trees["first"], meta={"a": 1})
    assert single.digest == (await nbdock.build_image("it", contents=trees["first"])).digest


@pytest.mark.parametrize("argument", ["include_nix_db", "include_store_paths"])
async def test_switches_are_true_or_false(argument: str) -> None:
    with pytest.raises(ArgumentTypeError, match="True or False") as caught:
        await nbdock.build_layered_image("it", **{argument: "yes"})  # type: ignore[arg-type]
    assert caught.value.argument == argument
