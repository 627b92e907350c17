"""What goes into an image: arguments, contents, layers, configuration."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from support.entries import file, folder, symlink
from support.machines import as_other_user

import nbdock
from nbdock.errors import (
    ArgumentError,
    ArgumentTypeError,
    CommandError,
    ContentError,
    LayerLimitError,
    MissingArgumentError,
    UnknownArgumentError,
    UnsafePathError,
)
from nbdock.filetree import Entry, EntryKind
from nbdock.images import Image
from nbdock.images.commands import run_commands
from nbdock.packages import Package

Look = Callable[[Image], dict[str, Entry]]


async def layered(name: str = "it", **arguments: object) -> Image:
    return await nbdock.build_layered_image(name, **arguments)  # type: ignore[arg-type]


async def single(name: str = "it", **arguments: object) -> Image:
    return await nbdock.build_image(name, **arguments)  # type: ignore[arg-type]


class Made(Package):
    """A package with any entries, which counts how often it is read."""

    def __init__(self, name: str, entries: list[Entry], root: str = "/") -> None:
        self.name, self.version, self.root = name, "1", root
        self._entries = entries
        self.read = 0

    @property
    def key(self) -> str:
        return f"made:{self.name}:{self._entries!r}"

    @property
    def size_bytes(self) -> int:
        return sum(e.size_bytes for e in self._entries)

    def entries(self) -> Iterator[Entry]:
        self.read += 1
        return iter(self._entries)


# Names, tags, times


async def test_the_tag_is_a_hash_of_all_that_went_in() -> None:
    one = await layered(contents=nbdock.text_file("a", "1"))
    assert re.fullmatch("[0-9abcdfghijklmnpqrsvwxyz]{32}", one.tag)
    assert (await layered(contents=nbdock.text_file("a", "1"))).tag == one.tag
    others = [
        await layered(contents=nbdock.text_file("a", "2")),
        await layered(contents=nbdock.text_file("a", "1"), config={"User": "1"}),
        await layered(contents=nbdock.text_file("a", "1"), created="2020-01-01T00:00:00Z"),
        await layered("that", contents=nbdock.text_file("a", "1")),
    ]
    assert len({image.tag for image in (one, *others)}) == 5


async def test_names_are_lowered_and_may_have_a_registry() -> None:
    image = await single("Registry.example:5000/Team/Redis", tag="1.0")
    assert image.reference == "registry.example:5000/team/redis:1.0"


@pytest.mark.parametrize(
    "name", ["", "a b", "-a", "a:tag", "a//b", "a@sha256:" + "0" * 64, 7, None]
)
async def test_what_is_no_name_is_refused(name: object) -> None:
    with pytest.raises(ArgumentTypeError) as caught:
        await single(name)  # type: ignore[arg-type]
    assert caught.value.argument == "name"


async def test_what_is_no_tag_is_refused() -> None:
    with pytest.raises(ArgumentTypeError, match="tag"):
        await single(tag="a b")


async def test_created_is_one_second_past_the_epoch_unless_said() -> None:
    assert (await single()).config.created == "1970-01-01T00:00:01Z"
    assert (await single(created="2024-02-29")).config.created == "2024-02-29T00:00:00Z"
    moment = datetime(2024, 1, 1, 3, tzinfo=UTC)
    assert (await single(created=moment)).config.created == "2024-01-01T03:00:00Z"
    now = await layered(created="now")
    made = datetime.fromisoformat(now.config.created or "")
    assert abs(datetime.now(UTC) - made) < timedelta(minutes=5)


@pytest.mark.parametrize("created", ["yesterday", "2024-13-01", 5, datetime(2024, 1, 1)])  # noqa: DTZ001
async def test_what_is_no_date_is_refused(created: object) -> None:
    with pytest.raises(ArgumentTypeError, match="created"):
        await single(created=created)


# Arguments


@pytest.mark.parametrize(
    ("given", "nearest"),
    [("contens", "contents"), ("maxlayers", "max_layers"), ("fromImage", "from_image")],
)
async def test_an_unknown_argument_names_the_nearest(given: str, nearest: str) -> None:
    with pytest.raises(UnknownArgumentError) as caught:
        await layered(**{given: 1})
    assert nearest in (caught.value.hint or "")


async def test_a_missing_name_is_said() -> None:
    with pytest.raises(MissingArgumentError, match="name"):
        await nbdock.build_image()  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"contents": 3}, "contents"),
        ({"contents": [None, {}]}, "contents"),
        ({"config": "Cmd"}, "config"),
        ({"config": {"Cmd": "ls"}}, "config.Cmd"),
        ({"architecture": "amd65"}, "architecture"),
        ({"extra_commands": ["ls"]}, "extra_commands"),
        ({"uid": -1}, "uid"),
        ({"uid": "0"}, "uid"),
        ({"uid": True}, "uid"),
        ({"compressor": "xz"}, "compressor"),
        ({"from_image": 3}, "from_image"),
    ],
)
async def test_a_wrong_type_is_refused_by_name(arguments: dict[str, object], argument: str) -> None:
    with pytest.raises(ArgumentTypeError) as caught:
        await single(**arguments)
    assert caught.value.argument == argument
    assert "object at 0x" not in str(caught.value)


async def test_contents_and_copy_to_root_are_one_argument() -> None:
    with pytest.raises(ArgumentError, match="copy_to_root"):
        await single(contents=[], copy_to_root=[])


async def test_build_args_tell_what_an_image_was_built_with() -> None:
    motd = nbdock.text_file("etc/motd", "x")
    image = await single(tag="1", contents=motd, config={"User": "7"})
    assert image.build_args["contents"] is motd
    assert image.build_args["config"] == {"User": "7"}
    assert "from_image" not in image.build_args
    with pytest.raises(TypeError):
        image.build_args["name"] = "other"  # type: ignore[index]


# Layers


async def test_popular_packages_have_layers_of_their_own_and_the_top_one_is_last() -> None:
    packages = [nbdock.text_file(f"f{i}", str(i)) for i in range(5)]
    image = await layered(contents=packages)
    assert [layer.contents for layer in image.layers] == [
        ("f0",), ("f1",), ("f2",), ("f3",), ("f4",), (),
    ]  # fmt: skip
    few = await layered(contents=packages, max_layers=3)
    assert [layer.contents for layer in few.layers] == [("f0",), ("f1", "f2", "f3", "f4"), ()]


async def test_contents_in_any_order_give_the_same_image() -> None:
    packages = [nbdock.text_file(f"f{i}", str(i)) for i in range(6)]
    assert (await layered(contents=packages)).digest == (
        await layered(contents=[packages[3], [packages[0], *packages]])
    ).digest


@pytest.mark.parametrize("count", [0, 1, 126, -5])
async def test_the_layer_limit(count: int) -> None:
    with pytest.raises(LayerLimitError, match="125"):
        await layered(max_layers=count)


async def test_the_layers_of_the_base_count() -> None:
    base = await layered("base", contents=[nbdock.text_file(f"f{i}", "") for i in range(4)])
    on = await layered(from_image=base, max_layers=7, contents=nbdock.text_file("g", ""))
    assert len(on.layers) == 7
    with pytest.raises(LayerLimitError, match="base"):
        await layered(from_image=base, max_layers=6, contents=nbdock.text_file("g", ""))


async def test_a_known_layer_is_not_read_again() -> None:
    package = Made("p", [file("a")])
    first = await layered(contents=package)
    second = await layered(contents=package, config={"User": "1"})
    assert package.read == 1
    assert first.layers[0] == second.layers[0]


async def test_a_layer_whose_blob_is_gone_is_made_again() -> None:
    package = Made("p", [file("a")])
    image = await layered(contents=package)
    image.store.delete(image.layers[0].diff_id)
    again = await layered(contents=package)
    assert package.read == 2
    assert again.store.has(again.layers[0].diff_id)


async def test_store_packages_are_linked_from_the_root(files: Look) -> None:
    root = "/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-hello"
    entries = [
        folder(""),
        folder("bin"),
        file("bin/hello", uid=7, mtime=99),
        symlink("lib", "bin"),
    ]
    image = await layered(contents=Made("hello", entries, root))
    found = files(image)
    assert {path for path in found if path.startswith("nix")} == {
        "nix", "nix/store", root[1:], f"{root[1:]}/bin", f"{root[1:]}/bin/hello", f"{root[1:]}/lib",
    }  # fmt: skip
    assert (found[f"{root[1:]}/bin/hello"].uid, found[f"{root[1:]}/bin/hello"].mtime) == (0, 1)
    assert found["bin"].kind is EntryKind.DIRECTORY
    assert found["bin/hello"].linkname.decode() == f"{root}/bin/hello"
    assert found["lib"].linkname.decode() == "bin"


async def test_store_layers_have_the_bytes_that_tarfile_streams(tmp_path: Path) -> None:
    root = "/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-hello"
    package = Made("hello", [folder(""), file("f", "data")], root)
    image = await layered(contents=package)
    names = ["/nix/", "/nix/store/", f"{root}/", f"{root}/f"]
    with (
        (tmp_path / "oracle.tar").open("wb") as out,
        tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as oracle,
    ):
        for name in names:
            info = tarfile.TarInfo(name.rstrip("/"))
            info.uname = info.gname = "root"
            info.mtime = 1
            if name.endswith("/"):
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                oracle.addfile(info)
            else:
                info.size = 4
                with (tmp_path / "data").open("wb") as data:
                    data.write(b"data")
                with (tmp_path / "data").open("rb") as data:
                    oracle.addfile(info, data)
    blob = image.store.path_of(image.layers[0].diff_id)
    assert blob.read_bytes() == (tmp_path / "oracle.tar").read_bytes()


async def test_mtime_and_owner_reach_store_files(files: Look) -> None:
    package = Made("p", [folder(""), file("f")], "/nix/store/" + "a" * 32 + "-p")
    image = await layered(
        contents=package, mtime="2020-01-01T00:00:00Z", uid=3, gid=4, uname="u", gname="g"
    )
    entry = files(image)["nix/store/" + "a" * 32 + "-p/f"]
    assert (entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname) == (
        1577836800, 3, 4, "u", "g",
    )  # fmt: skip


async def test_without_store_paths_only_the_links_are_there(files: Look) -> None:
    package = Made("p", [folder(""), file("f")], "/nix/store/" + "a" * 32 + "-p")
    image = await layered(contents=package, include_store_paths=False)
    assert set(files(image)) == {"f"}


async def test_interpolated_packages_of_config_are_in_the_image(files: Look) -> None:
    from nbdock.nixlang import evaluate

    root = "/nix/store/" + "a" * 32 + "-hello"
    hello = Made("hello", [folder(""), file("hello")], root)
    config = evaluate('{ Cmd = [ "${hello}/hello" ]; }', {"hello": hello}).value
    image = await layered(config=config)
    assert f"{root[1:]}/hello" in files(image)
    assert "hello" not in files(image)
    assert image.config.config.cmd == (f"{root}/hello",)


# On a base


async def test_env_is_inherited_and_the_rest_is_not() -> None:
    base = await single("base", config={"Env": ["A=1", "B=1"], "User": "7", "Cmd": ["x"]})
    for build in (single, layered):
        on = await build(from_image=base, config={"Env": ["B=2", "C=3"]})
        assert on.config.config.env == ("A=1", "B=2", "C=3")
        assert not on.config.config.user
        assert on.config.config.cmd is None


async def test_only_what_the_base_has_not_is_added(files: Look) -> None:
    base = await single("base", contents=Made("b", [
        folder("etc", mode=0o700), file("etc/same", "s"), file("etc/other", "1"),
        file("etc/mode", "m"), symlink("l", "etc/same"), folder("empty"),
    ]))  # fmt: skip
    on = await single(from_image=base, contents=Made("c", [
        folder("etc"), file("etc/same", "s"), file("etc/other", "2"),
        file("etc/mode", "m", mode=0o600), symlink("l", "etc/same"), folder("empty"),
        file("new", "n"),
    ]))  # fmt: skip
    top = {e.path.decode(): e for e in on.layer_entries(len(on.layers) - 1)}
    assert set(top) == {"etc", "etc/other", "etc/mode", "new"}
    assert top["etc"].mode == 0o700  # as the base has it


async def test_nothing_new_gives_an_empty_layer() -> None:
    base = await single("base", contents=nbdock.text_file("a", "1"))
    on = await single(from_image=base, contents=nbdock.text_file("a", "1"))
    assert list(on.layer_entries(1)) == []


async def test_contents_go_through_the_links_of_the_base(files: Look) -> None:
    base = await layered("base", contents=Made("b", [
        folder("usr"), folder("usr/bin"), file("usr/bin/sh"), symlink("bin", "usr/bin"),
        folder("run"), folder("var"), symlink("var/run", "/run"),
    ]))  # fmt: skip
    script = nbdock.script("hello", "echo hello")
    pid = Made("p", [folder("var"), folder("var/run"), file("var/run/pid")])
    for build in (single, layered):
        image = await build(from_image=base, contents=[script, pid])
        found = files(image)
        assert found["bin"].kind is EntryKind.SYMLINK
        assert found["var/run"].kind is EntryKind.SYMLINK
        assert found["usr/bin/hello"].mode == 0o755
        assert "run/pid" in found
        assert "bin/hello" not in found


async def test_the_base_may_have_no_history() -> None:
    base = await single("base", contents=nbdock.text_file("a", "1"))
    bare = dataclasses.replace(base.config, history=())
    data = bare.to_bytes()
    store = base.store
    manifest = dataclasses.replace(base.manifest, config=bare.descriptor())
    store.add(data)
    store.add(manifest.to_bytes())
    image = Image(store, manifest.descriptor(), "bare", "1")
    on = await single(from_image=image, contents=nbdock.text_file("b", "1"))
    assert len([h for h in on.config.history if not h.empty_layer]) == len(on.layers) == 2


async def test_a_base_of_another_store_is_brought_over(tmp_path: Path) -> None:
    from nbdock.content import BlobStore

    base = await single(
        "base", contents=nbdock.text_file("a", "1"), store=BlobStore(tmp_path / "o")
    )
    on = await single(from_image=base, contents=nbdock.text_file("b", "1"))
    assert on.store.has(base.layers[0].diff_id)


# copyToRoot and its links


async def test_dirlinks_become_directories_unless_they_are_kept(files: Look) -> None:
    links = [symlink("alias", "real"), symlink("up", ".")]
    package = Made("p", [folder("real"), file("real/f"), *links])
    other = Made("q", [folder("alias"), file("alias/g")])
    expanded = files(await single(copy_to_root=package))
    assert expanded["alias"].kind is EntryKind.DIRECTORY
    assert "alias/f" in expanded
    assert expanded["up"].kind is EntryKind.SYMLINK
    kept = files(await single(copy_to_root=[package, other], keep_contents_dirlinks=True))
    assert kept["alias"].kind is EntryKind.SYMLINK
    assert "real/g" in kept


async def test_a_store_package_is_copied_to_the_root_and_stands_in_the_store_too(
    files: Look,
) -> None:
    root = "nix/store/" + "a" * 32 + "-p"
    package = Made("p", [folder(""), file("f", "x", uid=3, mtime=9)], f"/{root}")
    found = files(await single(copy_to_root=package))
    assert set(found) == {"f", "nix", "nix/store", root, f"{root}/f"}
    assert (found["f"].uid, found["f"].mtime) == (3, 315532800)
    assert found[f"{root}/f"].read() == b"x"
    owned = files(await single(copy_to_root=package, uid=5, gid=6))
    assert (owned["f"].uid, owned["f"].gid, owned[f"{root}/f"].uid) == (5, 6, 0)


async def test_a_file_is_read_as_a_container_sees_it() -> None:
    base = await layered("base", contents=Made("b", [
        folder("usr"), folder("usr/bin"), file("usr/bin/sh", "old"), symlink("bin", "usr/bin"),
    ]))  # fmt: skip
    on = await single(from_image=base, contents=Made("c", [folder("bin"), file("bin/sh", "new")]))
    assert await base.file("/bin/sh") == b"old"
    assert await on.file("bin/sh") == await on.file("/usr/bin/sh") == b"new"
    with pytest.raises(ContentError, match="no file"):
        await on.file("/bin")


async def test_uid_and_gid_reach_what_is_copied(files: Look) -> None:
    found = files(await single(contents=nbdock.text_file("a", "1"), uid=5, gid=6))
    assert (found["a"].uid, found["a"].gid) == (5, 6)


# extraCommands


async def test_commands_run_in_the_layer(files: Look) -> None:
    entries = [
        file("a", uid=7, mode=0o4755),
        file("gone"),
        file("changed", "x"),
        folder("d", uid=9),
    ]
    image = await single(
        contents=Made("p", entries),
        extra_commands="""
        test "$(env | cut -d= -f1 | sort | tr '\\n' ' ')" = "LC_ALL PATH PWD SHLVL _ "
        mkdir -p srv/{one,two}
        echo new > srv/one/f
        rm gone
        echo more >> changed
        ln -s one srv/link
        chmod 700 srv/two
        """,
    )
    found = files(image)
    assert set(found) == {
        "a", "changed", "d", "srv", "srv/one", "srv/one/f", "srv/two", "srv/link",
    }  # fmt: skip
    assert (found["a"].uid, found["a"].mode) == (7, 0o4755)
    assert found["changed"].read() == b"xmore\n"
    assert (found["srv/one/f"].mode, found["srv/one/f"].mtime) == (0o644, 315532800)
    assert found["srv/two"].mode == 0o700
    assert found["d"].uid == 9


async def test_commands_of_a_layered_image_see_only_the_top_layer(files: Look) -> None:
    image = await layered(
        contents=nbdock.text_file("etc/motd", "x"),
        extra_commands="test ! -e etc; mkdir data; touch data/.keep",
    )
    assert "data/.keep" in files(image)
    assert [e.path for e in image.layer_entries(1)] == [b"data", b"data/.keep"]


async def test_a_failing_command_shows_its_last_lines_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nbdock_home: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "t"))
    (tmp_path / "t").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    said: list[str] = []
    commands = "mkdir -m 0 shut; echo one; printf two >&2; exit 7"
    with pytest.raises(CommandError) as caught:
        await single(extra_commands=commands, on_log=said.append)
    assert said == ["one", "two"]
    assert caught.value.exit_code == 7
    assert caught.value.output == "one\ntwo"
    assert "two" in str(caught.value)
    assert not list((tmp_path / "t").iterdir())
    assert not list((nbdock_home / "tmp").iterdir())


async def test_commands_that_leave_processes_behind_lose_them(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    image = await single(extra_commands=f"sleep 1000 >/dev/null 2>&1 & echo $! > {pid}; touch a")
    left = int(pid.read_text())
    deadline = time.monotonic() + 240  # it was killed; how soon it is gone is the kernel's matter
    while psutil.pid_exists(left) and psutil.Process(left).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
    assert [e.path for e in image.layer_entries(0)] == [b"a"]


async def test_a_hardlink_survives_what_commands_do_to_its_target(files: Look) -> None:
    target = file("a", "data", uid=3)
    hard = Entry(b"b", EntryKind.HARDLINK, linkname=b"a", target=target)
    both = await single(contents=Made("p", [target, hard]), extra_commands="true")
    assert files(both)["b"].kind is EntryKind.HARDLINK
    alone = await single(contents=Made("p", [target, hard]), extra_commands="rm a")
    assert files(alone)["b"].read() == b"data"
    assert files(alone)["b"].uid == 3


async def test_commands_cannot_be_led_outside_by_links_in_contents(
    tmp_path: Path, files: Look
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    with pytest.raises(UnsafePathError):
        async with run_commands([symlink("out", str(outside)), file("out/x")], "true"):
            pass
    image = await single(
        contents=[Made("p", [symlink("out", str(outside))]), Made("q", [file("out/x")])],
        extra_commands="echo y > out/y",
    )
    assert {"out/x", "out/y"} < set(files(image))
    assert not list(outside.iterdir())


# Interruption


async def test_a_cancelled_build_leaves_nothing_half_written(nbdock_home: Path) -> None:
    contents = [nbdock.text_file(f"f{i}", f"{i}" * (4 << 20)) for i in range(12)]
    loop = asyncio.get_running_loop()
    task: asyncio.Task[Image]

    def cancel_when_writing(what: str, done: int, total: int) -> None:
        if what == "Writing layers" and done:
            loop.call_soon_threadsafe(task.cancel)

    task = asyncio.ensure_future(layered(contents=contents, progress=cancel_when_writing))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not list((nbdock_home / "tmp").iterdir())
    blobs = list((nbdock_home / "blobs" / "sha256").iterdir())
    assert len(blobs) < len(contents)
    for blob in blobs:
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    assert len((await layered(contents=contents)).layers) == 13


# Reproducibility

BUILD = """
import asyncio, os, sys
import nbdock
async def main():
    base = await nbdock.build_layered_image("base", contents=[
        nbdock.directory("site", name="site"), nbdock.text_file("etc/\\u00fc", "\\u00e9"),
        nbdock.script("run", "echo run")], config={"Env": ["A=1"]})
    image = await nbdock.build_image("on", from_image=base,
        contents=nbdock.directory("site", name="again"),
        extra_commands="mkdir -p x/{b,a}; date > x/b/f; : > x/b/f")
    for name in ("o.tar", "o.tar.gz", "o.tar.zst", "o.oci.tar"):
        print((await image.save(os.path.join(sys.argv[1], name))))
    print(base.digest, image.digest)
asyncio.run(main())
"""


def test_two_builds_on_differently_configured_machines_are_identical(tmp_path: Path) -> None:
    machines: list[tuple[list[str], int, dict[str, str]]] = [
        ([], 0o022, {"LC_ALL": "C", "TZ": "UTC", "PYTHONHASHSEED": "1", "NBDOCK_WORKERS": "1"}),
        (as_other_user(), 0o077, {
            "LC_ALL": "tr_TR.ISO-8859-9", "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "77",
            "PYTHONUTF8": "0", "NBDOCK_WORKERS": "5", "SHELL": "/bin/dash",
        }),
    ]  # fmt: skip
    results = []
    for number, (command, umask, environment) in enumerate(machines):
        place = tmp_path / f"machine-{number}" / ("d" * (number * 20 + 1))
        site = place / "site"
        # The files are made in another order, at another time, with another umask.
        names = ["b", "a/x", "a/\u00fc", "c"]
        before = os.umask(umask)
        for name in names if number else names[::-1]:
            (site / name).parent.mkdir(parents=True, exist_ok=True)
            (site / name).write_text(name)
        os.umask(before)
        (site / "c").chmod(0o755)
        (site / "l").symlink_to("b")
        (place / "out").mkdir()
        ran = subprocess.run(
            [*command, sys.executable, "-c", BUILD, str(place / "out")],
            cwd=place, umask=umask, check=False, capture_output=True, text=True,
            env={"PATH": os.environ["PATH"], "NBDOCK_HOME": str(place / "home"), **environment},
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        archives = {p.name: p.read_bytes() for p in sorted((place / "out").iterdir())}
        results.append((ran.stdout.splitlines()[-1], archives))
    (first, one), (second, two) = results
    assert first == second
    assert len(one) == 4
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []


async def test_the_configuration_is_what_the_specification_says() -> None:
    image = await layered(
        contents=nbdock.text_file("a", "1"),
        architecture="arm64",
        config={"Cmd": ["/x"], "Volumes": {"/data": {}}, "WorkingDir": "/data"},
    )
    document = json.loads(image.store.read(image.id))
    assert document["architecture"] == "arm64"
    assert document["os"] == "linux"
    assert document["config"] == {
        "Cmd": ["/x"], "Volumes": {"/data": {}}, "WorkingDir": "/data",
    }  # fmt: skip
    assert document["rootfs"] == {
        "type": "layers", "diff_ids": [str(layer.diff_id) for layer in image.layers],
    }  # fmt: skip
    assert len(document["history"]) == len(image.layers)
