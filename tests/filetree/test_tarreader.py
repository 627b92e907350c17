"""The tar reader against archives by tarfile, GNU tar and bsdtar's conventions."""

import base64
import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nbdock.errors import ArchiveError, UnsafePathError
from nbdock.filetree import (
    BytesContent,
    Entry,
    EntryKind,
    read_tar,
    tar_bytes,
    write_tar,
)

KINDS = {
    tarfile.REGTYPE: EntryKind.FILE,
    tarfile.AREGTYPE: EntryKind.FILE,
    tarfile.CONTTYPE: EntryKind.FILE,
    tarfile.DIRTYPE: EntryKind.DIRECTORY,
    tarfile.SYMTYPE: EntryKind.SYMLINK,
    tarfile.LNKTYPE: EntryKind.HARDLINK,
    tarfile.CHRTYPE: EntryKind.CHARACTER_DEVICE,
    tarfile.BLKTYPE: EntryKind.BLOCK_DEVICE,
    tarfile.FIFOTYPE: EntryKind.FIFO,
}

part = st.one_of(
    st.binary(min_size=1, max_size=12),
    st.text("abé.-_ \n\\", min_size=1, max_size=130).map(str.encode),
).map(lambda b: b.replace(b"\0", b"0").replace(b"/", b"_"))
part = part.map(lambda b: b"x" if b in (b".", b"..") else b)
path = st.lists(part, min_size=1, max_size=4).map(b"/".join)
small = st.one_of(st.integers(0, 8**7 - 1), st.sampled_from([8**7, 2**31, 2**40]))


@st.composite
def members(draw: st.DrawFn) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(os.fsdecode(draw(path)))
    info.type = draw(st.sampled_from(sorted(KINDS)))
    info.mode = draw(st.integers(0, 0o7777))
    info.uid, info.gid = draw(small), draw(small)
    info.mtime = draw(st.one_of(st.integers(0, 2**40), st.integers(-(2**35), -1)))
    info.uname, info.gname = draw(st.text("ab0é", max_size=15)), draw(st.text("xy", max_size=31))
    if info.type in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        info.linkname = os.fsdecode(draw(path))
        assume(info.linkname != info.name)
    if info.type in (tarfile.CHRTYPE, tarfile.BLKTYPE):
        info.devmajor, info.devminor = draw(st.integers(0, 2**20)), draw(st.integers(0, 2**20))
    data = draw(st.binary(max_size=1200)) if KINDS[info.type] is EntryKind.FILE else b""
    info.size = len(data)
    return info, data


def archive(
    inputs: list[tuple[tarfile.TarInfo, bytes]], dialect: int, pax: dict[str, str] | None = None
) -> bytes:
    output = io.BytesIO()
    with tarfile.open(
        fileobj=output, mode="w", format=dialect, encoding="utf-8", errors="surrogateescape",
        pax_headers=pax,
    ) as tar:  # fmt: skip
        for info, data in inputs:
            tar.addfile(info, io.BytesIO(data))
    return output.getvalue()


@given(
    st.lists(members(), max_size=6, unique_by=lambda m: m[0].name),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
    st.sampled_from([1, 7, 512, 10_000, 1 << 20]),
)
def test_reads_what_tarfile_wrote(
    inputs: list[tuple[tarfile.TarInfo, bytes]], dialect: int, piece: int
) -> None:
    names = {info.name for info, _ in inputs if info.type == tarfile.DIRTYPE}
    for info, _ in inputs:
        # A link to a directory is an error of its own.
        assume(info.type != tarfile.LNKTYPE or info.linkname not in names)
    data = archive(inputs, dialect)
    pieces = (data[at : at + piece] for at in range(0, len(data), piece))
    found = 0
    for entry, (info, body) in zip(read_tar(pieces), inputs, strict=True):
        found += 1
        assert os.fsdecode(entry.path) == info.name
        assert entry.kind is KINDS[info.type]
        assert (entry.mode, entry.uid, entry.gid) == (info.mode, info.uid, info.gid)
        assert entry.mtime == info.mtime
        assert type(entry.mtime) is int
        assert (entry.uname, entry.gname) == (info.uname, info.gname)
        assert os.fsdecode(entry.linkname) == info.linkname
        if info.type in (tarfile.CHRTYPE, tarfile.BLKTYPE):
            assert (entry.device_major, entry.device_minor) == (info.devmajor, info.devminor)
        if entry.kind is EntryKind.FILE:
            assert entry.size_bytes == len(body)
            assert entry.read() == body
        else:
            assert entry.content is None
    assert found == len(inputs)


floats = st.floats(allow_nan=False, allow_infinity=False)
xattrs = st.dictionaries(
    st.text(st.characters(codec="utf-8", exclude_characters="=\0"), min_size=1, max_size=20),
    st.binary(max_size=60), max_size=3,
)  # fmt: skip


@given(
    st.lists(
        st.builds(
            lambda path, mtime, xattrs, data: Entry(
                path, EntryKind.FILE, mtime=mtime, xattrs=xattrs, size_bytes=len(data),
                content=BytesContent(data),
            ),
            path, st.one_of(st.integers(-(10**30), 10**30), floats), xattrs,
            st.binary(max_size=600),
        ),
        max_size=5,
    )
)  # fmt: skip
def test_what_is_written_is_read(tree: list[Entry]) -> None:
    data = tar_bytes(tree, prefix=b"./")
    read = list(read_tar([data]))
    for got, put in zip(read, tree, strict=True):
        assert (got.path, got.mtime, got.xattrs) == (put.path, put.mtime, put.xattrs)
        assert repr(got.mtime) == repr(put.mtime) or got.mtime == put.mtime
    # And again from the entries of a stream.
    assert b"".join(rewritten(read_tar([data]))) == data


def rewritten(entries: Iterator[Entry]) -> list[bytes]:
    pieces: list[bytes] = []
    write_tar(entries, lambda piece: pieces.append(bytes(piece)), prefix=b"./")
    return pieces


def test_old_v7_directories_and_files() -> None:
    block = bytearray(512)
    block[:4] = b"dir/"
    block[100:107] = b"0000755"
    block[124:135] = b"00000000000"
    block[136:147] = b"00000000001"
    data = bytes(summed(block))
    block[:4] = b"file"
    block[124:135] = b"        3 \0"
    data += summed(block) + b"abc".ljust(512, b"\0") + bytes(1024)
    directory, file = read_tar([data])
    assert (directory.path, directory.kind, directory.mode) == (b"dir", EntryKind.DIRECTORY, 0o755)
    assert (file.path, file.kind, file.size_bytes) == (b"file", EntryKind.FILE, 3)


def summed(block: bytearray) -> bytes:
    block[148:156] = b" " * 8
    block[148:155] = b"%06o\0" % sum(block)
    return bytes(block)


def test_checksum_of_signed_bytes() -> None:
    block = bytearray(512)
    block[:6] = b"\xff\xfe\xfd\x80ab"
    block[148:156] = b" " * 8
    total = sum(block)
    block[148:155] = b"%06o\0" % total
    assert next(read_tar([bytes(block) + bytes(1024)])).path == b"\xff\xfe\xfd\x80ab"
    block[148:155] = b"%06o\0" % (total - 4 * 256)
    assert next(read_tar([bytes(block) + bytes(1024)])).path == b"\xff\xfe\xfd\x80ab"
    block[148:155] = b"%06o\0" % (total - 3 * 256)
    with pytest.raises(ArchiveError, match="checksum"):
        next(read_tar([bytes(block) + bytes(1024)]))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--format=v7"], ["--format=oldgnu"], ["--format=gnu"], ["--format=ustar"],
        ["--format=posix"], ["--format=posix", "--xattrs"],
    ],
)  # fmt: skip
def test_gnu_tar(tmp_path: Path, arguments: list[str]) -> None:
    tree = tmp_path / "tree"
    (tree / "d").mkdir(parents=True)
    (tree / "d" / "f").write_bytes(b"content")
    (tree / "d" / "l").symlink_to("../x")
    (tree / "d" / "h").hardlink_to(tree / "d" / "f")
    if arguments != ["--format=v7"]:
        os.mkfifo(tree / "p")
        (tree / ("n" * 90) / ("m" * 90)).mkdir(parents=True)
    if "--xattrs" in arguments:
        os.setxattr(tree / "d" / "f", "user.nbdock", b"a\0\xff\n=b")
    output = subprocess.run(
        ["tar", "--sort=name", *arguments, "-C", str(tree), "-c", "."],
        check=True, capture_output=True,
    ).stdout  # fmt: skip
    for source in ([output], io.BytesIO(output)):
        found = {entry.path: entry for entry in read_tar(source)}
        assert found[b"d/l"].linkname == b"../x"
        assert found[b"d/h"].linkname == b"d/f"
        assert found[b"d/h"].target is found[b"d/f"]
        assert found[b"d/f"].size_bytes == 7
        assert found[b""].kind is EntryKind.DIRECTORY
        if "--xattrs" in arguments:
            assert found[b"d/f"].xattrs == {"user.nbdock": b"a\0\xff\n=b"}
        if "v7" not in arguments[0]:
            assert found[b"p"].kind is EntryKind.FIFO
            assert b"n" * 90 + b"/" + b"m" * 90 in found


@pytest.mark.parametrize("dialect", ["gnu", "0.0", "0.1", "1.0"])
@pytest.mark.parametrize("segments", [1, 3, 60])
@pytest.mark.parametrize("tail", [0, 100_000])
def test_sparse_files(tmp_path: Path, dialect: str, segments: int, tail: int) -> None:
    """GNU tar's four ways to write one, with maps of one block and of several."""
    file = tmp_path / "sparse"
    with file.open("wb") as handle:
        for n in range(segments):
            handle.seek(n * 64 << 10)
            handle.write(bytes([65 + n % 26]) * 4096)
        handle.truncate(((segments - 1) * 64 << 10) + 4096 + tail)
    options = (
        ["--format=gnu"] if dialect == "gnu" else ["--format=posix", f"--sparse-version={dialect}"]
    )
    stored = tmp_path / "sparse.tar"
    subprocess.run(
        ["tar", "-S", *options, "-C", str(tmp_path), "-cf", str(stored), "sparse"], check=True
    )
    data = stored.read_bytes()
    assert (segments == 1 and not tail) or len(data) < file.stat().st_size
    for source in (stored, io.BytesIO(data), [data]):
        entries = read_tar(source)
        entry = next(entries)
        assert (entry.path, entry.kind) == (b"sparse", EntryKind.FILE)
        assert entry.size_bytes == file.stat().st_size
        assert entry.read() == file.read_bytes()
        assert list(entries) == []


def test_a_sparse_file_with_only_a_hole(tmp_path: Path) -> None:
    file = tmp_path / "hole"
    with file.open("wb") as handle:
        handle.truncate(1 << 30)
    data = subprocess.run(
        ["tar", "-S", "--format=gnu", "-C", str(tmp_path), "-c", "hole"],
        check=True, capture_output=True,
    ).stdout  # fmt: skip
    entry = next(read_tar([data]))
    digest = hashlib.sha256()
    length = write_tar([entry], digest.update)
    assert length > 1 << 30


def test_pax_records_of_other_writers() -> None:
    value = b"\x01\0\xff"
    encoded = base64.b64encode(value).rstrip(b"=").decode()
    info = tarfile.TarInfo("f")
    info.pax_headers = {
        "LIBARCHIVE.xattr.user.a%20b%3D": encoded,
        "RHT.security.selinux": "system_u",
        "SCHILY.xattr.user.c": "v",
        "LIBARCHIVE.xattr.user.c": base64.b64encode(b"other").decode(),
        "SCHILY.xattr.user.empty": "",
        "comment": "nothing",
        "atime": "1.5",
    }
    (entry,) = read_tar([archive([(info, b"")], tarfile.PAX_FORMAT)])
    assert entry.xattrs == {
        "user.a b=": value, "security.selinux": b"system_u", "user.c": b"v", "user.empty": b"",
    }  # fmt: skip


def test_global_records_hold_until_they_change() -> None:
    one, two, three = tarfile.TarInfo("1"), tarfile.TarInfo("2"), tarfile.TarInfo("3")
    two.pax_headers = {"uid": "7"}
    glob = tarfile.TarInfo.create_pax_global_header
    data = glob({"uid": "5", "uname": "é", "comment": "x"})
    data += one.tobuf() + two.tobuf() + glob({"uname": "b"}) + three.tobuf() + bytes(1024)
    assert [(e.uid, e.uname) for e in read_tar([data])] == [(5, "é"), (7, "é"), (5, "b")]
    # An empty value takes a record back.
    data = glob({"uid": "5"}) + glob({"uid": ""}) + one.tobuf() + bytes(1024)
    assert next(read_tar([data])).uid == 0


@pytest.mark.parametrize("key", ["path", "linkpath", "size", "GNU.sparse.map"])
def test_global_records_that_name_entries_are_refused(key: str) -> None:
    data = tarfile.TarInfo.create_pax_global_header({key: "1"})
    with pytest.raises(ArchiveError, match="global"):
        list(read_tar([data + tarfile.TarInfo("f").tobuf() + bytes(1024)]))


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("/etc/x", b"etc/x"), ("./etc/x", b"etc/x"), ("././/etc///x", b"etc/x"),
        ("etc/./x", b"etc/x"), ("etc/x/.", b"etc/x"), (".hidden", b".hidden"),
        ("a/.hidden", b"a/.hidden"), ("..a", b"..a"), ("a/...", b"a/..."), ("a\nb", b"a\nb"),
        ("C:\\x", b"C:\\x"),
    ],
)  # fmt: skip
def test_names_are_normalised(name: str, path: bytes) -> None:
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.LNKTYPE, name
    data = archive([(tarfile.TarInfo(name), b""), (link, b"")], tarfile.PAX_FORMAT)
    file, hard = read_tar([data])
    assert file.path == hard.linkname == path
    assert hard.target is file


@pytest.mark.parametrize("name", [".", "./", "/", "././"])
def test_the_root(name: str) -> None:
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE
    (entry,) = read_tar([archive([(info, b"")], tarfile.PAX_FORMAT)])
    assert entry.path == b""
    info.type = tarfile.FIFOTYPE
    with pytest.raises(UnsafePathError):
        list(read_tar([archive([(info, b"")], tarfile.PAX_FORMAT)]))


def test_hardlinks_are_bound_when_parsed() -> None:
    def link(name: str, to: str) -> tuple[tarfile.TarInfo, bytes]:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = tarfile.LNKTYPE, to
        return info, b""

    def file(name: str, data: bytes) -> tuple[tarfile.TarInfo, bytes]:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        return info, data

    first, two, three, second, four, missing, chain = read_tar(
        [archive(
            [
                file("a", b"1"), link("b", "a"), link("c", "./b"), file("a", b"22"),
                link("d", "a"), link("e", "later"), link("f", "e"),
            ],
            tarfile.PAX_FORMAT,
        )]
    )  # fmt: skip
    assert two.target is three.target is first
    assert four.target is second
    assert missing.target is None
    assert chain.target is None


def test_contents_of_a_stream_are_read_once_and_in_time() -> None:
    data = tar_bytes(
        [
            Entry(b"%d" % n, EntryKind.FILE, size_bytes=3, content=BytesContent(b"abc"))
            for n in range(3)
        ]
    )
    entries = read_tar(io.BytesIO(data))
    first = next(entries)
    assert first.read() == b"abc"
    with pytest.raises(ArchiveError, match="twice"):
        first.read()
    second = next(entries)
    assert second.content is not None
    pieces = iter(second.content.chunks())
    third = next(entries)
    with pytest.raises(ArchiveError, match="too late"):
        next(pieces)
    with pytest.raises(ArchiveError, match="too late"):
        second.read()
    assert third.read() == b"abc"
    assert list(entries) == []


def test_contents_of_a_file_are_read_at_any_time(tmp_path: Path) -> None:
    bodies = [os.urandom(size) for size in (0, 1, 511, 512, 513, 300_000)]
    data = tar_bytes(
        [
            Entry(b"%d" % n, EntryKind.FILE, size_bytes=len(body), content=BytesContent(body))
            for n, body in enumerate(bodies)
        ]
    )
    file = tmp_path / "a.tar"
    file.write_bytes(data)
    for source in (file, str(file), bytes(file)):
        entries = list(read_tar(source))
        for _ in range(2):
            assert [entry.read() for entry in reversed(entries)] == bodies[::-1]
    # A file object too, from where it stands.
    file.write_bytes(b"before" + data)
    with file.open("rb") as handle:
        handle.seek(6)
        entries = list(read_tar(handle, random_access=True))
        assert [entry.read() for entry in reversed(entries)] == bodies[::-1]


def test_the_end_is_read_to_the_last_byte() -> None:
    """A decompressor checks its sum only when it is asked for the end."""
    asked: list[int] = []

    def pieces() -> Iterator[bytes]:
        yield tar_bytes([Entry(b"a", EntryKind.FIFO)])
        asked.append(1)
        yield bytes(10240)
        asked.append(2)

    assert len(list(read_tar(pieces()))) == 1
    assert asked == [1, 2]


def test_volume_labels_and_unknown_types() -> None:
    label = tarfile.TarInfo("volume")
    label.type = b"V"
    odd = tarfile.TarInfo("odd")
    odd.type, odd.size = b"Q", 3
    file = tarfile.TarInfo("f")
    head = label.tobuf() + odd.tobuf() + b"abc".ljust(512, b"\0") + file.tobuf() + bytes(1024)
    assert [entry.path for entry in read_tar([head], unknown="skip")] == [b"f"]
    with pytest.raises(ArchiveError, match="'Q'"):
        list(read_tar([head]))
    assert [e.path for e in read_tar([label.tobuf() + file.tobuf() + bytes(1024)])] == [b"f"]


def test_an_archive_without_an_end() -> None:
    data = tarfile.TarInfo("f").tobuf()
    assert [entry.path for entry in read_tar([data], end_required=False)] == [b"f"]
    assert list(read_tar([], end_required=False)) == []
