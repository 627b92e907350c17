"""What a .deb becomes: dpkg-deb's own tar is the oracle for its files, md5sum for its sums."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
import tracemalloc
from pathlib import Path

import pytest
from support.debs import CONTROL, ar, control_tar, deb, info, tar, write

from nbdock.errors import ArchiveError, UnsafePathError
from nbdock.filetree import Entry, EntryKind, write_tar
from nbdock.packages.debian.deb import deb_entries, deb_key

STATUS = b"var/lib/dpkg/status.d"


def paths(path: Path, *, merged_usr: bool = True) -> list[bytes]:
    return [entry.path for entry in deb_entries(path, merged_usr=merged_usr)]


def record(path: Path) -> dict[bytes, bytes]:
    return {
        entry.path.removeprefix(STATUS + b"/"): entry.read()
        for entry in deb_entries(path)
        if entry.path.startswith(STATUS + b"/")
    }


def as_tar(entries: object) -> tarfile.TarFile:
    out = io.BytesIO()
    write_tar(entries, out.write)  # type: ignore[arg-type]
    out.seek(0)
    return tarfile.open(fileobj=out)


def facts(archive: tarfile.TarFile) -> list[tuple[object, ...]]:
    return [
        (
            m.name.removeprefix("./"), m.type, m.mode, m.uid, m.gid, m.uname, m.gname, m.mtime,
            m.linkname.removeprefix("./") if m.islnk() else m.linkname,
            {k: v for k, v in m.pax_headers.items() if k.startswith("SCHILY.xattr.")},
            archive.extractfile(m).read() if m.isreg() else b"",  # type: ignore[union-attr]
        )
        for m in archive
    ]  # fmt: skip


@pytest.mark.parametrize("method", ["gzip", "xz", "zstd", "none"])
def test_the_files_are_those_of_dpkg_deb(method: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(CONTROL)
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "usr/bin/su").write_bytes(os.urandom(3 << 20))
    (tree / "usr/bin/su").chmod(0o4755)
    os.link(tree / "usr/bin/su", tree / "usr/bin/sg")
    (tree / "usr/bin/alias").symlink_to("su")
    (tree / "usr/share/empty").mkdir(parents=True)
    (tree / ("usr/share/" + "long/" * 30)).mkdir(parents=True)
    (tree / ("usr/share/" + "long/" * 30) / "Ünïcode").write_text("x")
    (tree / "var/mail").mkdir(parents=True)
    (tree / "var/mail").chmod(0o2775)
    if os.getuid() == 0:
        os.chown(tree / "var/mail", 0, 8)
    path = tmp_path / "hello.deb"
    subprocess.run(["dpkg-deb", f"-Z{method}", "-b", tree, path], check=True, capture_output=True)
    done = subprocess.run(["dpkg-deb", "--fsys-tarfile", path], check=True, capture_output=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        expected = [fact for fact in facts(archive) if fact[0] not in (".", "")]
    with as_tar(deb_entries(path)) as archive:
        found = [fact for fact in facts(archive) if "dpkg" not in str(fact[0])]
    names = {fact[0] for fact in expected}
    assert [fact for fact in found if fact[0] in names] == expected
    assert {fact[0] for fact in found} - names == {"var/lib"}


def test_owners_capabilities_and_times_are_kept(tmp_path: Path) -> None:
    capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
    ping = info("./usr/bin/ping", mode=0o755, uid=1000, gid=4, uname="me", gname="adm")
    ping.pax_headers = {
        "SCHILY.xattr.security.capability": capability.decode("utf-8", "surrogateescape")
    }
    device = info("./dev/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666)
    path = write(tmp_path, deb([(info("./dev/"), b""), (device, b""), (ping, b"x")]))
    found = {entry.path: entry for entry in deb_entries(path)}
    entry = found[b"usr/bin/ping"]
    assert (entry.uid, entry.gid, entry.uname, entry.gname) == (1000, 4, "me", "adm")
    assert entry.xattrs == {"security.capability": capability}
    assert entry.mtime == 1_600_000_000
    null = found[b"dev/null"]
    assert (null.kind, null.device_major, null.device_minor) == (EntryKind.CHARACTER_DEVICE, 1, 3)


def test_the_record_comes_last_and_is_what_the_control_archive_says(tmp_path: Path) -> None:
    sums = b"b1946ac92492d2347c6235b4d2611184  usr/hello\n"
    path = write(
        tmp_path,
        ar(("debian-binary", b"2.0\n"), ("control.tar", control_tar(md5sums=sums)),
           ("data.tar", tar([(info("./usr/"), b""), (info("./usr/hello"), b"hello\n")]))),
    )  # fmt: skip
    entries = list(deb_entries(path))
    assert [e.path for e in entries] == [
        b"usr", b"usr/hello", b"var", b"var/lib", b"var/lib/dpkg", STATUS,
        STATUS + b"/hello", STATUS + b"/hello.md5sums",
    ]  # fmt: skip
    assert record(path) == {b"hello": CONTROL.encode(), b"hello.md5sums": sums}
    for entry in entries:
        is_directory = entry.kind is EntryKind.DIRECTORY
        assert entry.mode == (0o755 if is_directory else 0o644)
        assert (entry.uid, entry.gid, entry.uname, entry.mtime) == (0, 0, "root", 1_600_000_000)


@pytest.mark.parametrize("merged_usr", [True, False])
def test_missing_sums_are_computed_whether_or_not_the_files_are_read(
    merged_usr: bool, tmp_path: Path
) -> None:
    large = os.urandom(3 << 20)
    files = [
        (info("./bin/"), b""),
        (info("./bin/a"), b"one"),
        (info("./bin/b", type=tarfile.LNKTYPE, linkname="./bin/a"), b""),
        (info("./bin/large"), large),
        (info("./bin/empty"), b""),
        (info("./bin/link", linkname="a"), b""),
    ]
    path = write(
        tmp_path,
        ar(("debian-binary", b"2.0\n"), ("control.tar", control_tar(md5sums=None)),
           ("data.tar", tar(files))),
    )  # fmt: skip
    known = {b"bin/a": b"one", b"bin/b": b"one", b"bin/large": large, b"bin/empty": b""}
    expected = b"".join(
        hashlib.md5(data).hexdigest().encode() + b"  " + name + b"\n"
        for name, data in known.items()
    )

    def sums(how: str) -> bytes:
        last = b""
        for entry in deb_entries(path, merged_usr=merged_usr):
            if how == "all" and entry.content:
                assert len(entry.read()) == entry.size_bytes
            elif how == "some" and entry.content:
                next(iter(entry.content.chunks()), None)
            if entry.path.endswith(b".md5sums"):
                last = b"".join(entry.content.chunks())  # type: ignore[union-attr]
        return last

    assert sums("all") == sums("none") == sums("some") == expected


@pytest.mark.parametrize(
    ("control", "stanza"),
    [
        (CONTROL.rstrip("\n"), CONTROL),
        ("\n\n" + CONTROL + "\n\n", CONTROL),
        (CONTROL + "Status: deinstall ok config-files\n continued\n", CONTROL),
        ("STATUS: x\n# a comment\n" + CONTROL, CONTROL),
        (CONTROL.replace("Package", "PACKAGE"), CONTROL.replace("Package", "PACKAGE")),
    ],
)
def test_stanzas(control: str, stanza: str, tmp_path: Path) -> None:
    path = write(
        tmp_path,
        ar(("debian-binary", b"2.0\n"), ("control.tar", control_tar(control)),
           ("data.tar", tar([]))),
    )  # fmt: skip
    assert record(path)[b"hello"] == stanza.encode()


@pytest.mark.parametrize(
    "control",
    [
        None,
        "",
        CONTROL + "\nPackage: another\nVersion: 1\n",
        CONTROL + " \nPackage: another\n",
        CONTROL.replace("hello", "../../etc/passwd"),
        CONTROL.replace("hello", "Hello"),
        CONTROL.replace("Package: hello", "Package:"),
        CONTROL.replace("Package: hello\n", ""),
        CONTROL.replace("Version: 2.10-3\n", ""),
        CONTROL + "no field\n",
    ],
)
def test_stanzas_that_are_refused(control: str | None, tmp_path: Path) -> None:
    path = write(
        tmp_path,
        ar(("debian-binary", b"2.0\n"), ("control.tar", control_tar(control)),
           ("data.tar", tar([]))),
    )  # fmt: skip
    with pytest.raises(ArchiveError, match=r"hello\.deb"):
        list(deb_entries(path))


def test_a_control_file_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBDOCK_DEB_CONTROL_LIMIT_BYTES", "100")
    with pytest.raises(ArchiveError, match="deb_control_limit_bytes"):
        list(deb_entries(write(tmp_path, deb())))


def test_merged_usr_and_the_directories_in_between(tmp_path: Path) -> None:
    files = [
        (info("./"), b""),
        (info("./bin/", mode=0o700), b""),
        (info("./bin/hello"), b""),
        (info("./usr/"), b""),
        (info("./usr/bin/"), b""),
        (info("./usr/share/doc/x"), b""),
    ]
    path = write(tmp_path, deb(files))
    assert paths(path)[:6] == [
        b"usr", b"usr/bin", b"usr/bin/hello", b"usr/share", b"usr/share/doc", b"usr/share/doc/x",
    ]  # fmt: skip
    assert paths(path, merged_usr=False)[:4] == [b"bin", b"bin/hello", b"usr", b"usr/bin"]


@pytest.mark.parametrize(
    "files",
    [
        [(info("./bin/x"), b"1"), (info("./usr/bin/x"), b"2")],
        [(info("./a"), b"1"), (info("./a"), b"1")],
        [(info("./a"), b"1"), (info("./a/"), b"")],
        [(info("./a/"), b""), (info("./a", linkname="b"), b"")],
        [(info("./a"), b"1"), (info("./a/b"), b"2")],
        [(info("./var/lib/dpkg/status.d/hello"), b"forged")],
        [(info("./var/lib/dpkg"), b"a file")],
    ],
)
def test_two_entries_at_one_place_are_refused(
    files: list[tuple[tarfile.TarInfo, bytes]], tmp_path: Path
) -> None:
    with pytest.raises(ArchiveError, match=r"hello\.deb: It has"):
        paths(write(tmp_path, deb(files)))


@pytest.mark.parametrize("name", ["../evil", "./usr/../../evil", "usr/.."])
def test_names_that_lead_outside_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UnsafePathError):
        paths(write(tmp_path, deb([(info(name), b"")])))


def test_entries_come_through_in_the_order_of_the_archive_and_equal_each_time(
    tmp_path: Path,
) -> None:
    files = [(info(f"./usr/{name}"), name.encode()) for name in "zcab"]
    path = write(tmp_path, deb(files))

    def read() -> list[tuple[Entry, bytes]]:
        return [
            (entry, entry.read()) if entry.content else (entry, b"") for entry in deb_entries(path)
        ]

    first = [(e.path, e.mode, e.mtime, d) for e, d in read()]
    assert first == [(e.path, e.mode, e.mtime, d) for e, d in read()]
    assert [path for path, *_ in first[1:5]] == [b"usr/z", b"usr/c", b"usr/a", b"usr/b"]


def test_a_large_file_takes_little_memory(tmp_path: Path) -> None:
    path = write(tmp_path, deb([(info("./usr/large"), bytes(32 << 20))]))
    tracemalloc.start()
    try:
        size = sum(
            len(piece)
            for entry in deb_entries(path)
            if entry.content
            for piece in entry.content.chunks()
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > 32 << 20
    assert peak < 16 << 20


def test_keys() -> None:
    assert len({deb_key("a"), deb_key("b"), deb_key("a", merged_usr=False)}) == 3
