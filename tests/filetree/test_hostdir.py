"""Directories of the host: what is listed, in which order, and what changes the fingerprint."""

import io
import os
import random
import socket
import stat
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.components import require

from nbdock.errors import ArchiveError, SizeMismatchError
from nbdock.filetree import (
    DirectoryListing,
    EntryKind,
    Walk,
    fingerprint_directory,
    list_directory,
    read_tar,
    scan_directory,
    tar_bytes,
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "f").write_bytes(b"hello")
    (root / "a-").write_bytes(b"")
    (root / "a.d").mkdir()
    (root / "a.d" / "x").write_bytes(b"x")
    os.mkdir(bytes(root) + b"/\xff\n")
    (root / "link").symlink_to("../outside")
    (root / "loop").symlink_to(".")
    (root / "hard").hardlink_to(root / "a" / "f")
    os.mkfifo(root / "pipe", 0o640)
    (root / "setuid").write_bytes(b"#!")
    (root / "setuid").chmod(0o4755)
    return root


def test_order_and_facts(tree: Path) -> None:
    os.utime(tree / "a-", ns=(1, 12_345_678_901))
    entries = list(scan_directory(tree.as_posix()))
    assert [e.path for e in entries] == [
        b"", b"a", b"a/b", b"a/f", b"a-", b"a.d", b"a.d/x", b"hard", b"link", b"loop", b"pipe",
        b"setuid", b"\xff\n",
    ]  # fmt: skip
    found = {e.path: e for e in entries}
    assert found[b"hard"].kind is EntryKind.FILE
    assert found[b"hard"].read() == found[b"a/f"].read() == b"hello"
    assert found[b"link"].linkname == b"../outside"
    assert found[b"loop"].kind is EntryKind.SYMLINK
    assert (found[b"pipe"].kind, found[b"pipe"].mode) == (EntryKind.FIFO, 0o640)
    assert found[b"setuid"].mode == 0o4755
    assert found[b"a-"].mtime == 12
    assert type(found[b"a-"].mtime) is int
    for entry in entries:
        status = os.lstat(os.path.join(bytes(tree), entry.path))
        assert entry.mode == stat.S_IMODE(status.st_mode)
        assert (entry.uid, entry.gid, entry.uname, entry.gname) == (
            status.st_uid, status.st_gid, "", "",
        )  # fmt: skip


def test_same_archive_as_gnu_tar(tree: Path) -> None:
    """By way of the reader, since GNU tar writes another dialect."""
    output = subprocess.run(
        [
            "tar", "--sort=name", "--hard-dereference", "--numeric-owner", "--format=gnu", "-C",
            str(tree), "-c", ".",
        ],
        check=True, capture_output=True, env={**os.environ, "LC_ALL": "C"},
    ).stdout  # fmt: skip
    theirs = {e.path: (e, e.content and e.read()) for e in read_tar(io.BytesIO(output))}
    mine = tar_bytes(scan_directory(str(tree)), prefix=b"./")
    with tarfile.open(fileobj=io.BytesIO(mine)) as tar:
        assert len(tar.getnames()) == len(theirs)
    for entry in read_tar(io.BytesIO(mine)):
        other, data = theirs[entry.path]
        for name in ("kind", "mode", "uid", "gid", "size_bytes", "mtime", "linkname"):
            assert getattr(entry, name) == getattr(other, name)
        assert (entry.content and entry.read()) == data


def test_devices_and_capabilities(tmp_path: Path) -> None:
    require("setcap", root=True)
    os.mknod(tmp_path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 300))
    os.mknod(tmp_path / "disk", stat.S_IFBLK | 0o600, os.makedev(8, 1))
    program = tmp_path / "program"
    program.write_bytes(b"x")
    program.chmod(0o755)
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    os.setxattr(program, "security.capability", capability)
    os.setxattr(program, "user.other", b"1")
    found = {e.path: e for e in scan_directory(str(tmp_path))}
    assert (found[b"null"].device_major, found[b"null"].device_minor) == (1, 300)
    assert found[b"disk"].kind is EntryKind.BLOCK_DEVICE
    assert found[b"program"].xattrs == {"security.capability": capability}
    found = {e.path: e for e in scan_directory(str(tmp_path), xattrs=["user.other"])}
    assert found[b"program"].xattrs == {"user.other": b"1"}
    assert not dict(next(iter(scan_directory(str(program), xattrs=()))).xattrs)


def test_sockets_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        listing = list_directory(str(tmp_path))
        assert listing.skipped == (b"s",)
        assert [e.path for e in listing.entries()] == [b""]
        with pytest.raises(ArchiveError, match="socket"):
            list(scan_directory(str(tmp_path / "s")))


def test_a_root_that_is_no_directory(tree: Path) -> None:
    (file,) = scan_directory(str(tree / "a" / "f"))
    assert (file.path, file.read()) == (b"", b"hello")
    (link,) = scan_directory(str(tree / "link"))
    assert (link.path, link.kind) == (b"", EntryKind.SYMLINK)
    (tree / "to-a").symlink_to("a")
    assert [e.path for e in scan_directory(str(tree / "to-a") + "/")] == [b"", b"b", b"f"]


def test_errors_name_the_path(tree: Path) -> None:
    with pytest.raises(ArchiveError, match="missing"):
        scan_directory(str(tree / "missing"))
    entries = list(scan_directory(str(tree)))
    (tree / "link").unlink()
    listing = list_directory(str(tree))
    (tree / "loop").unlink()
    with pytest.raises(ArchiveError, match="loop"):
        list(listing.entries())
    (tree / "a" / "f").write_bytes(b"longer than before")
    with pytest.raises(SizeMismatchError, match="more"):
        tar_bytes(entries)
    (tree / "a" / "f").write_bytes(b"le")
    with pytest.raises(SizeMismatchError, match="fewer"):
        tar_bytes(entries)


def test_a_deep_tree(tmp_path: Path) -> None:
    path = bytes(tmp_path)
    for _ in range(1500):
        path += b"/d"
        os.mkdir(path)
    try:
        assert len(list(scan_directory(str(tmp_path)))) == 1501
    finally:
        # pytest, which removes old temporary directories, is not up to such a depth.
        while path != bytes(tmp_path):
            os.rmdir(path)
            path = os.path.dirname(path)


CHANGES: list[Callable[[Path], object]] = [
    lambda tree: (tree / "new").touch(),
    lambda tree: (tree / "a-").unlink(),
    lambda tree: (tree / "a-").rename(tree / "b-"),
    lambda tree: (tree / "a" / "f").write_bytes(b"HELLO"),
    lambda tree: (tree / "a" / "f").write_bytes(b"hello!"),
    lambda tree: (tree / "a" / "f").chmod(0o600),
    lambda tree: os.utime(tree / "a" / "f", ns=(1, 2)),
    lambda tree: ((tree / "link").unlink(), (tree / "link").symlink_to("../outsidE")),
    lambda tree: ((tree / "a" / "b").rmdir(), (tree / "a" / "b").touch()),
    lambda tree: os.setxattr(tree / "setuid", "user.x", b"1"),
    lambda tree: (tree / "a" / "b" / "c").mkdir(),
]


def until_clock_moves(tree: Path) -> None:
    """Wait until the clock that stamps files has passed what it stamped."""
    before = list_directory(str(tree))
    probe = tree.parent / "probe"
    newest = max(os.lstat(e.content.path).st_ctime_ns for e in before.entries() if e.content)  # type: ignore[attr-defined]
    while True:
        probe.write_bytes(b"x")
        if os.lstat(probe).st_ctime_ns > newest and time.time_ns() > newest + 30_000_000:
            return


@pytest.mark.parametrize("change", range(len(CHANGES)))
def test_fingerprint_tells_changes(tree: Path, change: int) -> None:
    until_clock_moves(tree)
    before = list_directory(str(tree))
    assert not before.racy
    again = list_directory(str(tree))
    assert again.fingerprint == before.fingerprint
    assert fingerprint_directory(str(tree)) == (before.fingerprint, before.size_bytes)
    CHANGES[change](tree)
    assert list_directory(str(tree)).fingerprint != before.fingerprint


def test_an_edit_that_hides_its_time_is_told(tree: Path) -> None:
    """Same size, same mtime: the time of change still gives it away."""
    until_clock_moves(tree)
    file = tree / "a" / "f"
    before, status = list_directory(str(tree)), file.stat()
    file.write_bytes(b"HELLO")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert list_directory(str(tree)).fingerprint != before.fingerprint


def test_fingerprint_does_not_depend_on_how_it_is_asked(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = list_directory(str(tree)).fingerprint
    monkeypatch.chdir(tree.parent)
    assert list_directory("tree").fingerprint == before
    assert list_directory(b"tree/").fingerprint == before
    (tree / "a" / "f").read_bytes()
    assert list_directory("tree").fingerprint == before
    # Another set of attributes gives other entries.
    assert list_directory("tree", xattrs=()).fingerprint != before


def test_fresh_changes_are_racy(tree: Path) -> None:
    (tree / "fresh").touch()
    assert list_directory(str(tree)).racy


@pytest.mark.parametrize(
    ("age_ns", "ctime_ns", "racy"),
    [
        (5_000_000, 1_000_000_001_234_567_890, True),
        (50_000_000, 1_000_000_001_234_567_890, False),
        (1_500_000_000, 1_000_000_001_000_000_000, True),
        (2_500_000_000, 1_000_000_001_000_000_000, False),
        (-5_000_000_000, 1_000_000_001_234_567_890, True),
    ],
)
def test_clock_granularity(age_ns: int, ctime_ns: int, racy: bool) -> None:
    """Times with a fraction come from a tick; whole seconds from a filesystem that has no more."""
    found = Walk(b"", (), ctime_ns + age_ns, ctime_ns, 0, 1, 0)
    assert DirectoryListing(b"/x", found=found).racy is racy


def test_listing_counts(tree: Path) -> None:
    listing = list_directory(str(tree))
    entries = list(listing.entries())
    assert listing.entry_count == len(entries) == 13
    assert listing.file_count == sum(e.kind is EntryKind.FILE for e in entries)
    assert listing.size_bytes == sum(e.size_bytes for e in entries) == 13
    assert "13 entries" in repr(listing)


def test_names_shuffled_on_disk_come_sorted(tmp_path: Path) -> None:
    names = [b"%d\xff" % n for n in range(300)]
    random.Random(1).shuffle(names)
    for name in names:
        os.mkdir(bytes(tmp_path) + b"/" + name)
    assert [e.path for e in scan_directory(str(tmp_path))][1:] == sorted(names)
