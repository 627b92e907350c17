"""Layers as disks: what unsquashfs unpacks, and what becomes of those that lie or are stopped."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
import tarfile
import time
from collections.abc import Iterable
from pathlib import Path

import psutil
import pytest
from support.components import require
from support.entries import file, folder

from nbdock.errors import ArchiveError, LayerDiskError, StorageFullError
from nbdock.filetree import Entry, EntryKind, overlay, tar_bytes
from nbdock.oci import Digest
from nbdock.vm import DiskFormat, LayerDisk, layer_disk

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")


LAYER = [
    folder(b"etc", 0o750, uid=5, gid=6, mtime=1_000_000_000),
    file(b"etc/twice", b"first"),
    file(b"etc/.wh.gone"),
    file(
        b"etc/twice", b"second", mode=0o4755, uid=70000, gid=8, mtime=1_000_000_001,
        # Names that this machine has as well, for others.
        uname="root", gname="root",
    ),
    Entry(b"etc/alias", EntryKind.HARDLINK, linkname=b"etc/twice"),
    Entry("etc/Ünï \n".encode(), EntryKind.SYMLINK, 0o777, linkname=b"../nowhere"),
    file(b"new/.wh..wh..opq"),
    file(b"new/file", b"x" * 100_000),
    folder(b"new", 0o700, uid=9, uname="daemon", gname="daemon"),
    file(b".wh.replaced"),
    folder(b"replaced", 0o711),
    file(b"implied/deep/.wh.name"),
    file(b".wh..wh.plnk/1.2"),
    Entry(b"fifo", EntryKind.FIFO, 0o622),
    Entry(b"disk", EntryKind.BLOCK_DEVICE, 0o660, device_major=8, device_minor=1),
    file(b"ping", b"p", mode=0o755, xattrs={
        "security.capability": CAPABILITY, "user.note": b"\xff\0", "trusted.overlay.redirect": b"/",
    }),
]  # fmt: skip


async def disk_of(entries: Iterable[Entry], scratch: Path) -> LayerDisk:
    data = tar_bytes(entries)
    tar = scratch / "layer.tar"
    tar.write_bytes(data)
    return await layer_disk(Digest.of(data), tar)


def programs(scratch: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let only these be installed."""
    monkeypatch.setattr(
        shutil, "which", lambda name, path: f"/usr/bin/{name}" if name in names else None
    )


def check(tree: Path) -> None:
    """That a tree is `LAYER` as an overlay file system wants it."""
    facts = {p.relative_to(tree).as_posix(): p.lstat() for p in tree.rglob("*")}
    assert sorted(facts) == [
        "disk", "etc", "etc/alias", "etc/gone", "etc/twice", "etc/Ünï \n", "fifo", "implied",
        "implied/deep", "implied/deep/name", "new", "new/file", "ping", "replaced",
    ]  # fmt: skip
    for gone in ("etc/gone", "implied/deep/name"):
        assert stat.S_ISCHR(facts[gone].st_mode)
        assert facts[gone].st_rdev == 0
    for path, mode, uid, gid in (
        ("etc", 0o40750, 5, 6), ("etc/twice", 0o104755, 70000, 8), ("new", 0o40700, 9, 0),
        ("implied", 0o40755, 0, 0), ("fifo", 0o10622, 0, 0), ("disk", 0o60660, 0, 0),
    ):  # fmt: skip
        assert (facts[path].st_mode, facts[path].st_uid, facts[path].st_gid) == (mode, uid, gid)
    assert facts["etc"].st_mtime == 1_000_000_000
    assert facts["implied"].st_mtime == 0
    assert stat.S_IMODE(tree.stat().st_mode) == 0o755
    assert facts["disk"].st_rdev == os.makedev(8, 1)
    assert facts["etc/alias"].st_ino == facts["etc/twice"].st_ino
    assert (tree / "etc/alias").read_bytes() == b"second"
    assert (tree / "new/file").read_bytes() == b"x" * 100_000
    assert os.readlink(tree / "etc/Ünï \n") == "../nowhere"
    xattrs = {
        path: {name: os.getxattr(tree / path, name) for name in os.listxattr(tree / path)}
        for path in ("ping", "new", "replaced", "etc")
    }
    assert xattrs == {
        "ping": {"security.capability": CAPABILITY, "user.note": b"\xff\0"},
        "new": {"trusted.overlay.opaque": b"y"},
        "replaced": {"trusted.overlay.opaque": b"y"},
        "etc": {},
    }


@pytest.mark.parametrize("program", ["sqfstar", "tar2sqfs"])
async def test_a_squashfs_of_a_layer(
    program: str, nbdock_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(tmp_path, monkeypatch, program)
    disk = await disk_of(LAYER, tmp_path)
    assert disk.format is DiskFormat.SQUASHFS
    assert disk.size_bytes == os.path.getsize(disk.path)
    assert stat.S_IMODE(os.stat(disk.path).st_mode) == 0o444
    assert Path(disk.path).read_bytes()[:4] == b"hsqs"
    assert os.listdir(nbdock_home / "vm/tmp") == []
    subprocess.run(
        ["unsquashfs", "-quiet", "-no-progress", "-dest", tmp_path / "tree", disk.path],
        check=True, capture_output=True,
    )  # fmt: skip
    check(tmp_path / "tree")


async def test_the_same_layer_gives_the_same_disk_once(
    nbdock_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(tmp_path, monkeypatch, "tar2sqfs")  # sqfstar gives the root the time of the day
    layer = [*LAYER, folder(b"implied"), folder(b"implied/deep")]
    first = await disk_of(layer, tmp_path)
    data = Path(first.path).read_bytes()
    (tmp_path / "layer.tar").write_bytes(b"not read again")
    again = await layer_disk(Digest.of(tar_bytes(layer)), tmp_path / "layer.tar")
    assert again == first
    os.unlink(first.path)
    assert Path((await disk_of(layer, tmp_path)).path).read_bytes() == data


async def test_directories_that_a_layer_only_implies(nbdock_home: Path, tmp_path: Path) -> None:
    """They are what lower layers have, and the disk is another one over other layers."""
    layer = [file(b"etc/ssl/x"), file(b"gone/x"), file(b".wh.gone"), file(b"new/.wh.x")]
    (tmp_path / "layer.tar").write_bytes(tar_bytes(layer))
    digest = Digest.of(tar_bytes(layer))

    async def owners(*base: Entry) -> dict[str, str]:
        disk = await layer_disk(digest, tmp_path / "layer.tar", below=lambda: overlay([base]))
        assert disk == await layer_disk(
            digest, tmp_path / "layer.tar", below=lambda: overlay([base])
        )
        shown = subprocess.run(
            ["unsquashfs", "-lln", disk.path], check=True, capture_output=True, text=True
        ).stdout.splitlines()
        lines = [line.split() for line in shown if line.startswith("d")]
        return {line[-1].removeprefix("squashfs-root/"): f"{line[0]} {line[1]}" for line in lines}

    plain = "drwxr-xr-x 0/0"
    directories = {
        "squashfs-root": plain,
        "etc": plain,
        "etc/ssl": plain,
        "gone": plain,
        "new": plain,
    }
    assert await owners() == directories
    base = [folder(b"etc", 0o700, uid=7), folder(b"gone", 0o711), file(b"new")]
    assert await owners(*base) == {**directories, "etc": "drwx------ 7/0"}
    assert await owners() == directories
    assert len(os.listdir(nbdock_home / "vm/layers")) == 2


async def test_without_a_program_the_tar_is_the_disk(
    nbdock_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require(root=True)
    programs(tmp_path, monkeypatch)
    disk = await disk_of(LAYER, tmp_path)
    assert disk.format is DiskFormat.TAR
    assert disk.size_bytes % 512 == 0
    (tmp_path / "tree").mkdir()
    subprocess.run(
        ["tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-C", tmp_path / "tree",
         "-xpf", disk.path], check=True,
    )  # fmt: skip
    check(tmp_path / "tree")
    # And when a program is there later, the disk that is there is still the one.
    monkeypatch.undo()
    monkeypatch.setenv("NBDOCK_HOME", str(nbdock_home))
    assert await disk_of(LAYER, tmp_path) == disk


async def test_a_root_that_says_something(
    nbdock_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(tmp_path, monkeypatch, "tar2sqfs")
    root = folder(b"", 0o1711, uid=3, gid=4, mtime=1_000_000_000)
    disk = await disk_of([file(b".wh..wh..opq"), root, file(b"only")], tmp_path)
    assert disk.hides_all
    assert await disk_of([file(b".wh..wh..opq"), root, file(b"only")], tmp_path) == disk
    done = subprocess.run(
        ["unsquashfs", "-lln", disk.path], check=True, capture_output=True, text=True,
        env={**os.environ, "TZ": "UTC"},
    )  # fmt: skip
    first = done.stdout.splitlines()[0].split()
    assert first[:2] + first[3:] == ["drwx--x--t", "3/4", "2001-09-09", "01:46", "squashfs-root"]


async def test_an_empty_layer(nbdock_home: Path, tmp_path: Path) -> None:
    require("sqfstar")
    disk = await disk_of([], tmp_path)
    assert disk.format is DiskFormat.SQUASHFS
    assert not disk.hides_all


@pytest.mark.parametrize("keep", [0, 700, 5000])
async def test_a_layer_that_is_cut(keep: int, nbdock_home: Path, tmp_path: Path) -> None:
    data = tar_bytes(LAYER)[:keep]
    (tmp_path / "layer.tar").write_bytes(data)
    with pytest.raises(ArchiveError):
        await layer_disk(Digest.of(data), tmp_path / "layer.tar")
    assert not nbdock_home.exists()


async def test_a_layer_that_leads_outside(nbdock_home: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "layer.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("../../etc/passwd"))
    digest = Digest.of((tmp_path / "layer.tar").read_bytes())
    with pytest.raises(ArchiveError, match=r"\.\./\.\./etc/passwd"):
        await layer_disk(digest, tmp_path / "layer.tar")


def installed(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of that name that does something else."""
    program = folder / "sqfstar"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("script", "error", "says"),
    [
        ("echo unhappy >&2; exit 3", LayerDiskError, r"exit code 3\).\nIt said: unhappy"),
        ("cat >/dev/null; kill -SEGV $$", LayerDiskError, r"exit code -11"),
        ("cat >/dev/null; echo 'No space left on device' >&2; exit 1", StorageFullError, "full"),
    ],
)
async def test_a_program_that_fails(
    script: str, error: type[Exception], says: str, nbdock_home: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    installed(tmp_path, script, monkeypatch)
    with pytest.raises(error, match=says):
        await disk_of([*LAYER, file(b"large", bytes(1 << 20))], tmp_path)
    assert not os.listdir(nbdock_home / "vm/tmp")
    assert not os.listdir(nbdock_home / "vm/layers")


@pytest.mark.parametrize("script", ["cat >/dev/null; exec sleep 60", "exec sleep 60"])
async def test_cancelling_leaves_nothing(
    script: str, nbdock_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is fed, when that blocks, and while it is waited for."""
    installed(tmp_path, f"touch {tmp_path}/begun; {script}", monkeypatch)
    # Other tests of this worker may have left their engines and registries running for the next.
    before = psutil.Process().children()
    task = asyncio.create_task(disk_of([*LAYER, file(b"large", bytes(1 << 20))], tmp_path))
    while not (tmp_path / "begun").exists():
        await asyncio.sleep(0.01)
    start = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - start < 20
    assert not set(psutil.Process().children()) - set(before)
    assert not os.listdir(nbdock_home / "vm/tmp")


ACCESS = bytes.fromhex(
    "0200000001000600ffffffff02000400e803000004000400ffffffff10000400ffffffff20000400ffffffff"
)
"""``user::rw-,user:1000:r--,group::r--,mask::r--,other::r--`` as the kernel keeps it."""


@pytest.mark.parametrize("program", ["sqfstar", "tar2sqfs"])
async def test_what_squashfs_cannot_hold(
    program: str, nbdock_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(tmp_path, monkeypatch, program)
    times = [file(b"a", mtime=-5), file(b"b", mtime=1.75), file(b"c", mtime=1 << 40)]
    disk = await disk_of(times, tmp_path)
    assert disk.format is DiskFormat.SQUASHFS
    done = subprocess.run(
        ["unsquashfs", "-lln", disk.path], check=True, capture_output=True, text=True,
        env={**os.environ, "TZ": "UTC"},
    )  # fmt: skip
    shown = [line.split()[3:] for line in done.stdout.splitlines()[1:]]
    assert shown == [
        ["1970-01-01", "00:00", "squashfs-root/a"], ["1970-01-01", "00:00", "squashfs-root/b"],
        ["2106-02-07", "06:28", "squashfs-root/c"],
    ]  # fmt: skip
    disk = await disk_of([file(b"a", xattrs={"system.posix_acl_access": ACCESS})], tmp_path)
    assert disk.format is DiskFormat.TAR
