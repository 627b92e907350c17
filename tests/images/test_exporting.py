"""`export_image` against a model of a few lines, umoci, Docker's export, and tarfile."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import io
import itertools
import os
import random
import stat
import tarfile
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import oracles
from support.components import require
from support.engine import Engine
from support.plain_images import busybox_layer, layer, write_docker_archive

import nbdock
from nbdock.errors import (
    ArchiveError,
    ArgumentTypeError,
    ContentError,
    EngineError,
    ImageNotFoundError,
    MissingArgumentError,
    UnknownArgumentError,
)
from nbdock.images import Image

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")
"""``cap_net_bind_service=ep`` as the kernel keeps it."""


@dataclasses.dataclass(eq=False)
class Item:
    """One thing of a layer: what `tarfile` needs to write it."""

    path: str
    kind: bytes = tarfile.REGTYPE
    data: bytes = b""
    link: str = ""
    mode: int = 0o644
    owner: int = 0
    mtime: int = 1_000_000
    xattrs: dict[str, bytes] = dataclasses.field(default_factory=dict)

    def info(self) -> tarfile.TarInfo:
        info = tarfile.TarInfo(self.path)
        info.type, info.linkname, info.mode, info.mtime = (
            self.kind,
            self.link,
            self.mode,
            self.mtime,
        )
        info.uid = info.gid = self.owner
        info.size = len(self.data)
        info.devmajor, info.devminor = (1, 3) if self.kind == tarfile.CHRTYPE else (0, 0)
        info.pax_headers = {
            f"SCHILY.xattr.{name}": value.decode("utf-8", "surrogateescape")
            for name, value in self.xattrs.items()
        }
        return info


def tar(items: Iterable[Item]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for item in items:
            archive.addfile(item.info(), io.BytesIO(item.data))
    return buffer.getvalue()


async def image_of(
    tmp_path: Path, layers: Iterable[Iterable[Item]], *, name: str = "in.tar"
) -> Image:
    path = write_docker_archive(tmp_path / name, name="x:1", layers=map(tar, layers))
    return await nbdock.load_image(path)


async def exported(image: Image, path: Path) -> Path:
    rootfs = await nbdock.export_image(image)
    return await rootfs.save(path)


@dataclasses.dataclass(frozen=True)
class Seen:
    """One thing of a flat tree, as any tool shows it. Second names share `names`."""

    kind: bytes
    mode: int
    owner: tuple[int, int]
    mtime: int
    data: bytes
    link: str
    device: tuple[int, int]
    names: frozenset[str]
    xattrs: tuple[tuple[str, bytes], ...]


def read(path: Path) -> dict[str, Seen]:
    """A tar as `tarfile` reads it."""
    found: dict[str, tarfile.TarInfo] = {}
    data: dict[str, bytes] = {}
    names: dict[str, set[str]] = {}
    first: dict[str, str] = {}
    with tarfile.open(path) as archive:
        for info in archive:
            name = os.path.normpath(info.name)
            assert name not in found
            target = os.path.normpath(info.linkname) if info.islnk() else name
            assert target in first or not info.islnk(), "a hardlink before its file"
            first[name] = first.get(target, name)
            names.setdefault(first[name], set()).add(name)
            found[name] = info
            if info.isreg():
                data[name] = archive.extractfile(info).read()  # type: ignore[union-attr]
    seen = {}
    for name in found:
        info = found[first[name]]
        seen[name] = Seen(
            info.type, info.mode & 0o7777, (info.uid, info.gid), int(info.mtime),
            data.get(first[name], b""),
            info.linkname if info.issym() else "", (info.devmajor, info.devminor),
            frozenset(names[first[name]]),
            tuple(sorted((k.removeprefix("SCHILY.xattr."), v.encode("utf-8", "surrogateescape"))
                  for k, v in info.pax_headers.items() if k.startswith("SCHILY.xattr."))),
        )  # fmt: skip
    return seen


def look(root: Path) -> dict[str, Seen]:
    """A directory of the host as `lstat` shows it."""
    kinds = {
        stat.S_IFREG: tarfile.REGTYPE, stat.S_IFDIR: tarfile.DIRTYPE, stat.S_IFLNK: tarfile.SYMTYPE,
        stat.S_IFIFO: tarfile.FIFOTYPE, stat.S_IFCHR: tarfile.CHRTYPE,
    }  # fmt: skip
    facts = {str(p.relative_to(root)): p.lstat() for p in [root, *root.rglob("*")]}
    names: dict[int, set[str]] = {}
    for name, fact in facts.items():
        names.setdefault(fact.st_ino, set()).add(name)
    seen = {}
    for name, fact in facts.items():
        kind = kinds[stat.S_IFMT(fact.st_mode)]
        place = root / name
        device = fact.st_rdev if kind == tarfile.CHRTYPE else 0
        seen[name] = Seen(
            kind, stat.S_IMODE(fact.st_mode), (fact.st_uid, fact.st_gid), int(fact.st_mtime),
            place.read_bytes() if kind == tarfile.REGTYPE else b"",
            os.readlink(place) if kind == tarfile.SYMTYPE else "",
            (os.major(device), os.minor(device)), frozenset(names[fact.st_ino]),
            tuple((n, os.getxattr(place, n, follow_symlinks=False))
                  for n in sorted(os.listxattr(place, follow_symlinks=False))),
        )  # fmt: skip
    return seen


def comparable(
    tree: dict[str, Seen], *, below: str = "", directory_times: bool = True
) -> dict[str, Seen]:
    """What every tool must agree on: not the mode of a symlink or the number of its names."""
    result = {}
    for name, one in tree.items():
        if not name.startswith(below) or name == ".":
            continue
        if one.kind in (tarfile.SYMTYPE, tarfile.DIRTYPE):
            one = dataclasses.replace(one, names=frozenset())
        if one.kind == tarfile.SYMTYPE:
            one = dataclasses.replace(one, mode=0o777)
        if one.kind == tarfile.DIRTYPE and not directory_times:
            one = dataclasses.replace(one, mtime=0)
        result[name] = one
    return result


# --- Random stacks of layers, and what they mean in a few lines ---

NAMES = ("a", "b", "c")
numbers = itertools.count()
KINDS = (
    tarfile.REGTYPE, tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE,
    tarfile.LNKTYPE, tarfile.LNKTYPE,
)  # fmt: skip


class Model:
    """Layers applied to a dict; a second name is the same object."""

    def __init__(self) -> None:
        self.tree: dict[str, Item] = {}

    def remove(self, path: str, *, itself: bool = True) -> None:
        below = f"{path}/" if path else ""
        for known in list(self.tree):
            if (itself and known == path) or known.startswith(below):
                del self.tree[known]

    def put(self, item: Item) -> None:
        one = self.tree[item.link] if item.kind == tarfile.LNKTYPE else item
        for parent in reversed(Path(item.path).parents[:-1]):
            above = self.tree.get(str(parent))
            if above is None or above.kind != tarfile.DIRTYPE:
                self.tree[str(parent)] = Item(str(parent), tarfile.DIRTYPE, mode=0o755, mtime=0)
        both = (one, self.tree.get(item.path, one))
        if any(x.kind != tarfile.DIRTYPE for x in both):
            self.remove(item.path)
        self.tree[item.path] = one

    def seen(self) -> dict[str, Seen]:
        names: dict[int, set[str]] = {}
        for path, item in self.tree.items():
            names.setdefault(id(item), set()).add(path)
        return {
            path: Seen(item.kind, item.mode, (item.owner, item.owner), item.mtime, item.data,
                       item.link, (0, 0), frozenset(names[id(item)]),
                       tuple(sorted(item.xattrs.items())))
            for path, item in self.tree.items()
        }  # fmt: skip


def random_layers(
    choose: random.Random, *, base: Item | None = None, as_tools_do: bool = False
) -> tuple[list[list[Item]], Model]:
    """A few layers, and the tree they make.

    `as_tools_do` leaves out what Docker and umoci disagree about or refuse: parents that no layer
    names, and hardlinks to a file of a lower layer.
    """
    model, layers = Model(), []
    below = f"{base.path}/" if base else ""
    if base:
        model.put(base)
    for number in range(choose.randint(1, 4)):
        whiteouts: dict[str, str] = {}
        for _ in range(choose.randint(0, 3) if number else 0):
            path = below + "/".join(choose.choice(NAMES) for _ in range(choose.randint(1, 3)))
            parent, _, name = path.rpartition("/")
            above = model.tree.get(parent)
            if parent and (above is None or above.kind != tarfile.DIRTYPE):
                continue
            opaque = choose.random() < 0.3
            hides = ".wh..wh..opq" if opaque else f".wh.{name}"
            whiteouts[f"{parent}/{hides}" if parent else hides] = "" if opaque else path
            model.remove(parent if opaque else path, itself=not opaque)
        items: list[Item] = [base] if base and not number else []
        for _ in range(choose.randint(0, 8)):
            path = below + "/".join(choose.choice(NAMES) for _ in range(choose.randint(1, 3)))
            if as_tools_do and any(
                p and f"{path}/".startswith(f"{p}/") for p in whiteouts.values()
            ):
                continue
            item = random_item(choose, path, model, items, as_tools_do=as_tools_do)
            if item is not None:
                items.append(item)
                model.put(item)
        if as_tools_do:
            whiteouts = {w: p for w, p in whiteouts.items() if str(Path(w).parent) in model.tree}
            items = named_parents(model, [*whiteouts, *(i.path for i in items)], items)
        layers.append([*map(Item, whiteouts), *items])
    return layers, model


def named_parents(model: Model, paths: Iterable[str], items: list[Item]) -> list[Item]:
    """The items, after the directories that they and whiteouts are in."""
    parents = {str(above) for path in paths for above in Path(path).parents} - {"."}
    missing = sorted(parents - {i.path for i in items})
    return [*(dataclasses.replace(model.tree[path], path=path) for path in missing), *items]


def random_item(
    choose: random.Random, path: str, model: Model, own: list[Item], *, as_tools_do: bool
) -> Item | None:
    # A layer names a path once, and nothing below what is no directory in it.
    for item in own:
        inside = path.startswith(item.path + "/") and item.kind != tarfile.DIRTYPE
        if item.path == path or inside or item.path.startswith(path + "/"):
            return None
    item = Item(
        path, choose.choice(KINDS), mode=choose.choice((0o644, 0o4755, 0o1777, 0o600)),
        owner=choose.choice((0, 1000, 3_000_000)), mtime=choose.randint(1, 2**31),
    )  # fmt: skip
    if item.kind == tarfile.REGTYPE:
        item.data = bytes([choose.randrange(256)]) * choose.choice((0, 1, 511, 512, 513, 9000))
        if choose.random() < 0.2:
            item.xattrs = {"security.capability": CAPABILITY}
    elif item.kind == tarfile.SYMTYPE:
        item.link, item.mode = choose.choice(("a", "../b", "/etc", "nowhere/x")), 0o777
    elif item.kind == tarfile.LNKTYPE:
        here = {i.path for i in own}
        targets = [
            p for p, i in model.tree.items()
            if i.kind in (tarfile.REGTYPE, tarfile.FIFOTYPE)
            and not f"{path}/".startswith(f"{p}/") and not p.startswith(f"{path}/")
            and (p in here or not as_tools_do)
        ]  # fmt: skip
        if not targets:
            return None
        item.link = choose.choice(targets)
        target = model.tree[item.link]
        item.mode, item.owner, item.mtime = target.mode, target.owner, target.mtime
        item.xattrs = target.xattrs
    return item


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(choose=st.randoms(use_true_random=False))
def test_it_is_what_a_model_says(choose: random.Random, tmp_path: Path) -> None:
    layers, model = random_layers(choose)
    # Whiteouts mean lower layers, wherever they stand.
    last = choose.random() < 0.5
    ordered = [sorted(items, key=lambda i: (".wh." in i.path) is last) for items in layers]

    async def export() -> Path:
        # A new file each time: one rewritten within a clock tick looks like the one before.
        image = await image_of(tmp_path, ordered, name=f"{next(numbers)}.tar")
        return await exported(image, tmp_path / "out.tar")

    found = read(nbdock.concurrency.run(export()))
    assert comparable(found) == comparable(model.seen())


def many_stacks() -> tuple[list[list[Item]], dict[str, Seen]]:
    """Random stacks side by side in one image, so that slow tools are asked once."""
    choose = random.Random(7)
    layers: list[list[Item]] = [[] for _ in range(4)]
    expected: dict[str, Seen] = {}
    for number in range(100):
        base = Item(f"case{number}", tarfile.DIRTYPE, mode=0o751)
        stack, model = random_layers(choose, base=base, as_tools_do=True)
        for at, items in enumerate(stack):
            layers[at] += items
        expected |= model.seen()
    return layers, expected


async def test_it_is_what_umoci_unpacks(tmp_path: Path) -> None:
    require("umoci", root=True)
    layers, _ = many_stacks()
    layers[0] += [
        Item("null", tarfile.CHRTYPE, mode=0o666), Item("pipe", tarfile.FIFOTYPE),
        Item("empty", tarfile.DIRTYPE, mode=0o2770, owner=12, mtime=77),
        Item("with-attributes", xattrs={"user.note": b"hi"}, data=b"x"),
        Item("one", data=b"kept"),
    ]  # fmt: skip
    # Two names over three layers, the first of which is replaced, then gone.
    layers[1].append(Item("two", tarfile.LNKTYPE, link="one"))
    layers[2].append(Item("one", data=b"another"))
    layers[2].append(Item("three", tarfile.LNKTYPE, link="two"))
    layers[3].append(Item(".wh.two"))
    image = await image_of(tmp_path, layers)
    ours = read(await exported(image, tmp_path / "out.tar"))
    # umoci gives some directories that it removed something from the time of day.
    theirs = comparable(look(oracles.unpack(tmp_path / "in.tar", tmp_path)), directory_times=False)
    ours = comparable(ours, directory_times=False)
    assert ours == theirs
    assert ours["null"].device == (1, 3)
    assert ours["with-attributes"].xattrs == (("user.note", b"hi"),)
    assert (ours["three"].data, "two" in ours, ours["one"].data) == (b"kept", False, b"another")


ACCESS = bytes.fromhex(
    "0200000001000600ffffffff02000400e803000004000400ffffffff10000400ffffffff20000400ffffffff"
)
"""``u::rw-,u:1000:r--,g::r--,m::r--,o::r--`` as the kernel keeps it."""


def every_kind() -> list[list[Item]]:
    """Layers with one of everything, written by tools that say too much and too little."""
    named = Item("all/named", data=b"x", owner=70_000, mode=0o6755)
    return [
        [
            Item("all", tarfile.DIRTYPE, mode=0o2751, owner=5, mtime=77), named,
            Item("all/null", tarfile.CHRTYPE, mode=0o666), Item("all/pipe", tarfile.FIFOTYPE),
            Item("all/attributes", xattrs={"user.note": b"\xff\0=", "trusted.mine": b"1"}),
            Item("all/capable", data=b"c", xattrs={"security.capability": CAPABILITY}),
            Item("all/old", tarfile.SYMTYPE, link="../nowhere", mode=0o644),
            Item("all/\udcff\n ünï", data=b"name"), Item("all/" + "n" * 255, data=b"long"),
            Item("all/" + "/".join(["d" * 100] * 5) + "/f", data=b"deep"),
            Item("all/long-link", tarfile.SYMTYPE, link="l" * 300, mode=0o777),
            Item("all/sticky", tarfile.DIRTYPE, mode=0o1777),
            Item("all/folder", tarfile.DIRTYPE, mode=0o700, owner=8, mtime=99),
            Item("all/folder/gone", data=b"1"), Item("all/folder/deep/kept", data=b"2"),
            Item("all/folder/deep", tarfile.DIRTYPE, mode=0o711), Item("all/file", data=b"3"),
            Item("all/opaque", tarfile.DIRTYPE), Item("all/opaque/a"), Item("all/opaque/b"),
            Item("all/one", data=b"kept"), Item("all/two", tarfile.LNKTYPE, link="all/one"),
            Item("all/three", tarfile.LNKTYPE, link="all/one"),
            Item("all/symlink-again", tarfile.LNKTYPE, link="all/old", mode=0o777),
        ],
        # Directories that nobody names stay what they are; in the place of a file, they are new.
        [Item("all/folder/deep/more"), Item("all/folder/.wh.gone"), Item("all/file/inside")],
        [Item(".", tarfile.DIRTYPE, mode=0o711, owner=3, mtime=5), Item("all/opaque/.wh..wh..opq"),
         Item("all/opaque", tarfile.DIRTYPE, mode=0o750), Item("all/opaque/c", data=b"c")],
        [Item("all/access", xattrs={"system.posix_acl_access": ACCESS, "user.x": b"y"})],
        # The first of three names is another file now, and of the others one is gone.
        [Item("all/one", data=b"another"), Item("all/.wh.two")],
        [Item("all/old", tarfile.DIRTYPE, mode=0o755), Item("all/old/x"), Item("all/.wh.pipe")],
        # What never was is removed, where something is and where nothing is.
        [Item("all/.wh.never"), Item("all/new", tarfile.DIRTYPE), Item("all/new/.wh.never")],
        [Item("dev", tarfile.DIRTYPE), Item("dev/own"), Item("proc/own"), Item("sys/own/x")],
    ]  # fmt: skip


async def test_a_virtual_machine_makes_the_same_bytes(nbdock_home: Path, tmp_path: Path) -> None:
    """Its kernel overlays 24 layers with everything in them; nobody can tell it from the tar."""
    layers, _ = many_stacks()
    for item in itertools.chain(*layers):
        # Neither GNU tar nor squashfs keep that two names are one FIFO.
        if item.kind == tarfile.FIFOTYPE:
            item.kind = tarfile.REGTYPE
    layers += every_kind()
    layers += [[Item(f"layer{n}", data=bytes([n])), Item("each", data=bytes([n]))]
               for n in range(24 - len(layers))]  # fmt: skip
    assert len(layers) == 24
    image = await image_of(tmp_path, layers)
    direct = await exported(image, tmp_path / "direct.tar")
    heard: list[str] = []
    rootfs = await nbdock.export_image(
        image, in_vm=True, disk_size=64, progress=lambda what, *_: heard.append(what)
    )
    # What the guest sent is kept as long as it is read, and has no name.
    assert os.listdir(nbdock_home / "vm/tmp") == []
    path = await rootfs.save(tmp_path / "vm.tar")
    if path.read_bytes() != direct.read_bytes():
        assert read(path) == read(direct)
        pytest.fail("the same entries in other bytes")
    assert (rootfs.name, len(rootfs.tree) > 500) == ("x", True)
    assert (await nbdock.export_image(image)).tree.keys() == rootfs.tree.keys()
    assert rootfs.tree[b"all/named"].read() == b"x"
    del rootfs
    assert "Starting a virtual machine" in heard


@pytest.mark.engine
async def test_docker_exports_the_same(docker_engine: Engine, tmp_path: Path) -> None:
    """The original loaded, created and exported; and our tar imported and exported again."""
    layers, expected = many_stacks()
    image = await image_of(tmp_path, layers)
    path = await exported(image, tmp_path / "out.tar")
    ours = comparable(read(path), below="case")
    docker_engine.load(tmp_path / "in.tar")
    assert docker_engine("import", path, "flat:1").stdout.startswith("sha256:")
    for name in ("x:1", "flat:1"):
        container = docker_engine("create", name, "/x").stdout.strip()
        docker_engine("export", "-o", tmp_path / "theirs.tar", container)
        docker_engine("rm", container)
        assert comparable(read(tmp_path / "theirs.tar"), below="case") == ours
    assert ours == comparable(expected, below="case")


@pytest.mark.engine
async def test_what_lies_below_a_symlink_of_a_lower_layer(
    docker_engine: Engine, tmp_path: Path
) -> None:
    """As on overlays, a directory takes the place of the link, named by its layer or not."""
    image = await image_of(
        tmp_path,
        [
            [Item("usr/lib", tarfile.DIRTYPE, mode=0o755), Item("usr/lib/a", data=b"a"),
             Item("lib", tarfile.SYMTYPE, link="usr/lib"),
             Item("lib64", tarfile.SYMTYPE, link="usr/lib")],
            [Item("lib/b", data=b"b"), Item("lib64", tarfile.DIRTYPE, mode=0o700)],
        ],
    )  # fmt: skip
    ours = read(await exported(image, tmp_path / "out.tar"))
    assert (ours["lib"].kind, ours["lib/b"].data) == (tarfile.DIRTYPE, b"b")
    assert (ours["lib64"].kind, ours["lib64"].mode) == (tarfile.DIRTYPE, 0o700)
    assert "lib/a" not in ours
    assert "usr/lib/b" not in ours
    if docker_engine("info", "--format", "{{.Driver}}").stdout.strip() == "overlay2":
        docker_engine.load(tmp_path / "in.tar")
        container = docker_engine("create", "x:1", "/x").stdout.strip()
        docker_engine("export", "-o", tmp_path / "theirs.tar", container)
        theirs = read(tmp_path / "theirs.tar")
        assert {p: one.kind for p, one in ours.items()}.items() <= {
            **{p: one.kind for p, one in theirs.items()}, ".": tarfile.DIRTYPE
        }.items()  # fmt: skip
        assert "usr/lib/b" not in theirs


@pytest.mark.engine
@pytest.mark.parametrize("which", ["docker_engine", "podman_engine"])
async def test_an_engine_imports_it(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    engine: Engine = request.getfixturevalue(which)
    shell = write_docker_archive(tmp_path / "sh.tar", name="sh:1", layers=[busybox_layer()])
    rootfs = await nbdock.export_image(shell, name="Flat")
    made = await rootfs.load(engine.url)
    assert engine("image", "inspect", "--format", "{{.Id}}", "flat").stdout.strip() in (
        made, made.removeprefix("sha256:"),
    )  # fmt: skip
    assert engine.run("flat", "/bin/echo", "hi") == "hi\n"
    await rootfs.load(engine.url, reference="other:2")
    assert engine.run("other:2", "/bin/echo", "hi") == "hi\n"
    assert list((rootfs.image.store.home / "tmp").iterdir()) == []
    with pytest.raises(EngineError, match="A b"):
        await rootfs.load(engine.url, reference="A b")


async def test_every_kind_survives_with_names_of_any_bytes(tmp_path: Path) -> None:
    odd = "caf\udce9 \n" + "x" * 90
    items = [
        Item("dev", tarfile.DIRTYPE, mode=0o755),
        Item("dev/null", tarfile.CHRTYPE, mode=0o666),
        Item(f"{odd}/{odd}", data=b"y" * 100_000, mode=0o6755, owner=4_000_000_000, mtime=2**33),
        Item("z", tarfile.LNKTYPE, link=f"{odd}/{odd}"),
    ]
    found = read(await exported(await image_of(tmp_path, [items]), tmp_path / "out.tar"))
    held = found[f"{odd}/{odd}"]
    assert (held.data, held.mode, held.mtime) == (b"y" * 100_000, 0o6755, 2**33)
    assert held.owner == (4_000_000_000, 4_000_000_000)
    assert found["z"] == held
    assert (found["dev/null"].kind, found["dev/null"].device) == (tarfile.CHRTYPE, (1, 3))


async def test_the_same_image_gives_the_same_bytes(tmp_path: Path) -> None:
    """And names below ``./``, as dockerTools' own exportImage has them."""
    image = await image_of(tmp_path, [[Item("b"), Item("a", tarfile.DIRTYPE)], [Item("a/c")]])
    one = await exported(image, tmp_path / "1.tar")
    two = await exported(image, tmp_path / "2.tar")
    assert one.read_bytes() == two.read_bytes()
    with tarfile.open(one) as archive:
        assert [info.name for info in archive] == [".", "./a", "./a/c", "./b"]
        assert {(info.uname, info.gname) for info in archive} == {("", "")}


async def test_contents_take_no_memory(tmp_path: Path) -> None:
    """A gigabyte would take what these 96 MB take."""
    size = 96 << 20
    (tmp_path / "host").mkdir()
    with (tmp_path / "host/big").open("wb") as file:
        file.truncate(size)
    image = await nbdock.build_image("big", contents=nbdock.directory(tmp_path / "host"))
    tracemalloc.start()
    try:
        path = await exported(image, tmp_path / "out.tar")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20
    assert path.stat().st_size > size


async def test_an_archive_and_which_of_its_images(tmp_path: Path) -> None:
    path = write_docker_archive(tmp_path / "a.tar", name="one:1", layers=[layer({"a": b"1"})])
    rootfs = await nbdock.export_image(path, from_image_name="one", from_image_tag="1")
    assert rootfs.tree[b"a"].read() == b"1"
    assert repr(rootfs) == "<RootFilesystem one: 2 entries, 1 bytes>"
    with pytest.raises(ImageNotFoundError, match="two"):
        await nbdock.export_image(path, from_image_name="two")


@pytest.mark.parametrize(
    ("name", "expected"),
    [(None, "x.tar"), ("flat", "flat.tar"), ("flat.tar", "flat.tar"), ("r.io/a/b", "b.tar")],
)
async def test_what_the_file_is_called(
    name: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = await image_of(tmp_path, [[Item("a")]])
    monkeypatch.chdir(tmp_path)
    rootfs = await nbdock.export_image(image, name=name)
    assert await rootfs.save() == tmp_path / expected


async def test_arguments_are_checked(tmp_path: Path) -> None:
    image = await image_of(tmp_path, [[Item("a")]])
    with pytest.raises(UnknownArgumentError) as unknown:
        await nbdock.export_image(image, fromImageTag="1")  # type: ignore[call-arg]
    assert "from_image_tag" in str(unknown.value)
    with pytest.raises(MissingArgumentError, match="from_image"):
        await nbdock.export_image()  # type: ignore[call-arg]
    with pytest.raises(ArgumentTypeError, match="No image is given"):
        await nbdock.export_image(None)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="name"):
        await nbdock.export_image(image, name="a/..")
    with pytest.raises(ArgumentTypeError, match="disk_size"):
        await nbdock.export_image(image, disk_size="1")  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="in_vm"):
        await nbdock.export_image(image, in_vm="yes")  # type: ignore[arg-type]


async def test_a_hardlink_to_nothing_is_refused(tmp_path: Path) -> None:
    image = await image_of(
        tmp_path, [[Item("a")], [Item(".wh.a"), Item("b", tarfile.LNKTYPE, link="a")]]
    )
    with pytest.raises(ArchiveError, match="hardlink"):
        await nbdock.export_image(image)


async def test_a_layer_cut_short_meanwhile_leaves_the_old_file(tmp_path: Path) -> None:
    image = await image_of(tmp_path, [[Item("a", data=b"x" * 5000)]])
    rootfs = await nbdock.export_image(image)
    place = tmp_path / "out.tar"
    place.write_bytes(b"before")
    blob = image.store.path_of(image.layers[0].diff_id)
    blob.chmod(0o600)
    os.truncate(blob, 1000)
    before = set(tmp_path.iterdir())
    with pytest.raises(ArchiveError):
        await rootfs.save(place)
    assert place.read_bytes() == b"before"
    assert set(tmp_path.iterdir()) == before
    with pytest.raises(ContentError, match="no directory"):
        await rootfs.save(tmp_path / "nowhere" / "out.tar")


async def test_cancelling_leaves_nothing(tmp_path: Path) -> None:
    image = await image_of(tmp_path, [[Item(f"{i}", data=bytes(1 << 20)) for i in range(8)]])
    rootfs = await nbdock.export_image(image)
    (tmp_path / "to").mkdir()
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()

    def stop_soon(what: str, done: int, total: int) -> None:
        assert 0 <= done <= total == 8 << 20
        loop.call_soon_threadsafe(task.cancel)

    with contextlib.suppress(asyncio.CancelledError):
        await rootfs.save(tmp_path / "to/out.tar", progress=stop_soon)
    task.uncancel()
    assert list((tmp_path / "to").iterdir()) == []
