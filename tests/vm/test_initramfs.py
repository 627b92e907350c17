"""The initramfs, its programs and its archive: cpio, ldd and tar are the oracles."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.apt_archive import Archive
from support.entries import file

from nbdock.errors import ArchiveError, GuestPartError
from nbdock.filetree import BytesContent, Entry, EntryKind
from nbdock.packages import apt
from nbdock.vm import build_initramfs, host_kernel, host_programs, package_programs, programs
from nbdock.vm.cpio import cpio_bytes
from nbdock.vm.elf import Linkage, linkage
from nbdock.vm.programs import guest_programs


def unpacked(archive: bytes, folder: Path) -> None:
    folder.mkdir()
    subprocess.run(
        ["busybox", "cpio", "-i", "-m", "--quiet"], input=archive, cwd=folder, check=True
    )


def test_cpio_unpacks_every_kind(tmp_path: Path) -> None:
    entries = [
        Entry(b"bin", EntryKind.DIRECTORY, 0o751),
        file(b"bin/tool", b"x" * 4099, mode=0o4755, uid=7, gid=8, mtime=1_000_000_000),
        Entry("bin/Ünï \n".encode(), EntryKind.SYMLINK, 0o777, linkname=b"tool"),
        Entry(b"fifo", EntryKind.FIFO, 0o622),
        Entry(b"null", EntryKind.CHARACTER_DEVICE, 0o666, device_major=1, device_minor=3),
        Entry(b"disk", EntryKind.BLOCK_DEVICE, 0o660, device_major=259, device_minor=70000),
        file(b"empty"),
    ]
    archive = cpio_bytes(entries)
    assert len(archive) % 512 == 0
    assert archive == cpio_bytes(entries)
    unpacked(archive, tmp_path / "tree")
    tree = tmp_path / "tree"
    for entry in entries:
        facts = os.lstat(os.path.join(os.fsencode(tree), entry.path))
        if entry.kind is not EntryKind.SYMLINK:
            assert stat.S_IMODE(facts.st_mode) == entry.mode, entry.path
        if entry.kind is EntryKind.FILE:
            assert (facts.st_uid, facts.st_gid) == (entry.uid, entry.gid)
    assert (tree / "bin/tool").read_bytes() == b"x" * 4099
    assert (tree / "bin/tool").stat().st_mtime == 1_000_000_000
    assert os.readlink(tree / "bin/Ünï \n") == "tool"
    null, disk = (tree / "null").stat(), (tree / "disk").stat()
    assert stat.S_ISCHR(null.st_mode)
    assert (os.major(null.st_rdev), os.minor(null.st_rdev)) == (1, 3)
    assert stat.S_ISBLK(disk.st_mode)
    assert (os.major(disk.st_rdev), os.minor(disk.st_rdev)) == (259, 70000)


@given(
    st.dictionaries(
        st.binary(min_size=1, max_size=300).map(lambda name: name.hex().encode()[:255]),
        st.binary(max_size=20), max_size=8,
    )
)  # fmt: skip
@settings(max_examples=30)
def test_cpio_lists_as_busybox_does(files: dict[bytes, bytes]) -> None:
    archive = cpio_bytes(file(path, data) for path, data in files.items())
    done = subprocess.run(
        ["busybox", "cpio", "-t", "--quiet"], input=archive, check=True, capture_output=True
    )
    assert done.stdout.split() == list(files)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (Entry(b"a", EntryKind.HARDLINK, linkname=b"b"), "is a hardlink"),
        (file(b"a", uid=1 << 32), "not of 32 bits"),
        (file(b"a", mtime=-1), "not of 32 bits"),
        (Entry(b"a", EntryKind.FILE, size_bytes=2, content=BytesContent(b"abc")), "as long as"),
        (Entry(b"a", EntryKind.FILE, size_bytes=2), "as long as"),
    ],
)
def test_cpio_refuses_what_it_cannot_hold(entry: Entry, why: str) -> None:
    with pytest.raises(ArchiveError, match=why):
        cpio_bytes([entry])


# How programs are linked


def test_linkage_is_what_ldd_says() -> None:
    for path in ("/bin/tar", "/bin/bash", sys.executable):
        done = subprocess.run(["ldd", path], check=True, capture_output=True, text=True)
        listed = {line.split()[0] for line in done.stdout.splitlines()}
        found = linkage(Path(path).read_bytes())
        assert found.interpreter in listed
        assert set(found.needed) <= listed
    assert linkage(Path("/bin/busybox").read_bytes()) == Linkage("", ())


@given(data=st.binary(max_size=300))
@example(b"\x7fELF\x02")
def test_what_is_no_program_is_refused(data: bytes) -> None:
    with pytest.raises(GuestPartError, match="x is not a program"):
        linkage(data, "x")
    with contextlib.suppress(GuestPartError):
        linkage(b"\x7fELF\x02\x01" + data)


def test_a_program_cut_anywhere_does_no_harm() -> None:
    tar = Path("/bin/tar").read_bytes()
    for end in range(0, len(tar), len(tar) // 100):
        with contextlib.suppress(GuestPartError):
            linkage(tar[:end])


# The programs


def contents(entries: Iterable[Entry]) -> dict[bytes, bytes]:
    return {entry.path: entry.read() for entry in entries}


def laid_out(entries: Iterable[Entry], folder: Path) -> Path:
    for path, data in contents(entries).items():
        place = folder / os.fsdecode(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        place.chmod(0o755)
    return folder


def test_tar_runs_with_nothing_but_what_comes_along(tmp_path: Path) -> None:
    place = laid_out(host_programs(), tmp_path / "guest") / "nbdock/tools"
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_text("x")
    os.setxattr(tmp_path / "tree/file", "user.note", b"kept")
    done = subprocess.run(
        [place / "ld.so", "--library-path", place, "--inhibit-cache", place / "tar", "--xattrs",
         "--xattrs-include=*", "--format=posix", "-C", tmp_path / "tree", "-cf", "-", "file"],
        check=True, capture_output=True, env={},
    )  # fmt: skip
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        assert archive.getmember("file").pax_headers["SCHILY.xattr.user.note"] == "kept"


async def test_programs_out_of_packages(nbdock_home: Path, tmp_path: Path) -> None:
    """This machine's files as packages: the result is the same."""
    host = contents(host_programs())
    place = "usr/lib/x86_64-linux-gnu"
    libraries = {
        f"{place}/{os.path.basename(os.fsdecode(path))}": data
        for path, data in host.items() if b".so." in path
    }  # fmt: skip
    interpreter = os.path.basename(linkage(host[b"nbdock/tools/tar"]).interpreter)
    archive = Archive(tmp_path / "archive")
    archive.add("busybox-static", "1", files={"bin/busybox": host[b"nbdock/tools/bin/busybox"]})
    archive.add(
        "libs", "1",
        files={**libraries, f"{place}/{interpreter}": host[b"nbdock/tools/ld.so"],
               f"{place}/gconv/libc.so.6": b"another", "usr/share/libc.so.6": b"another"},
    )  # fmt: skip
    for package, path in (
        ("tar", "bin/tar"), ("bash", "bin/bash"), ("coreutils", "usr/sbin/chroot"),
    ):  # fmt: skip
        data = host[f"nbdock/tools/{os.path.basename(path)}".encode()]
        archive.add(package, "1", files={path: data}, Depends="libs")
    archive.publish()
    source = apt(f"file:{archive.root}", suite="stable", architecture="amd64", trusted=True)
    assert contents(await package_programs(source)) == host


def test_programs_that_will_not_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    host = contents(host_programs())
    busybox, tar = host[b"nbdock/tools/bin/busybox"], host[b"nbdock/tools/tar"]
    chroot = host[b"nbdock/tools/chroot"]

    def entries(*found: bytes) -> None:
        parts = dict(zip(("busybox", "tar", "chroot"), found, strict=True))
        programs._entries(parts.get, lambda name: None, "This machine")

    with pytest.raises(GuestPartError, match="busybox here is not static"):
        entries(tar, tar, chroot)
    with pytest.raises(GuestPartError, match="has a tar that cannot do what guests need"):
        entries(busybox, busybox, chroot)
    with pytest.raises(GuestPartError, match="has a chroot that cannot do what guests need"):
        entries(busybox, tar, busybox.replace(b"userspec", b""))
    with pytest.raises(GuestPartError, match=r"library /lib64/ld-.* is not there"):
        entries(busybox, tar, chroot)
    with pytest.raises(GuestPartError, match="is not a program"):
        entries(b"#!/bin/sh", tar, chroot)
    monkeypatch.setattr(programs, "_file", lambda path: None)
    with pytest.raises(GuestPartError, match="This machine has no busybox") as caught:
        host_programs()
    assert "apt-get install busybox-static" in str(caught.value)


async def test_this_machine_comes_first() -> None:
    assert contents(await guest_programs()) == contents(host_programs())


# The whole


def test_the_same_parts_give_the_same_bytes(nbdock_home: Path, tmp_path: Path) -> None:
    kernel = host_kernel()
    before = os.umask(0o077)
    try:
        first = build_initramfs(kernel, host_programs(), agent=b"#!/bin/sh\n")
    finally:
        os.umask(before)
    facts = os.stat(first.path)
    assert stat.S_IMODE(facts.st_mode) == 0o444
    second = build_initramfs(kernel, host_programs(), agent=b"#!/bin/sh\n")
    assert (second, os.stat(second.path).st_mtime_ns) == (first, facts.st_mtime_ns)
    other = build_initramfs(kernel, host_programs())
    assert other.sha256 != first.sha256
    unpacked(Path(first.path).read_bytes(), tmp_path / "tree")
    tree = tmp_path / "tree"
    assert (tree / "nbdock/agent").read_bytes() == b"#!/bin/sh\n"
    assert os.access(tree / "init", os.X_OK)
    order = [name.split("-")[1] for name in sorted(os.listdir(tree / "nbdock/modules"))]
    assert order == [f"{module.name}.ko" for module in kernel.modules()]
    assert os.listdir(tree / "nbdock/late") == ["00-virtio_rng.ko"]
    assert os.listdir(nbdock_home / "vm/tmp") == []
    shown = subprocess.run(
        [tree / "nbdock/tools/bin/busybox", "--list"], check=True, capture_output=True
    )
    applets = {p.name for p in (tree / "nbdock/tools/bin").iterdir() if p.is_symlink()}
    assert applets <= set(shown.stdout.decode().split())
