"""Archives that lie, break off, or want out: only the errors of the tree may come of them."""

import contextlib
import io
import tarfile
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdock.errors import ArchiveError, NbdockError, TruncatedArchiveError, UnsafePathError
from nbdock.filetree import BytesContent, Entry, EntryKind, overlay, read_tar, tar_bytes


def consume(data: bytes | list[bytes], **arguments: int) -> list[tuple[bytes, int]]:
    """Read all entries and contents, in pieces, and check that sizes are kept."""
    found = []
    arguments.setdefault("content_limit_bytes", 4 << 20)
    pieces = [data] if isinstance(data, bytes) else data
    for entry in read_tar(pieces, **arguments):  # type: ignore[arg-type]
        length = 0
        if entry.content is not None:
            length = sum(map(len, entry.content.chunks()))
            assert length == entry.size_bytes
        assert not entry.path.startswith(b"/")
        assert b".." not in entry.path.split(b"/")
        assert b"\0" not in entry.path + entry.linkname
        found.append((entry.path, length))
    return found


def archive(*members: tarfile.TarInfo | bytes) -> bytes:
    parts = []
    for member in members:
        if isinstance(member, bytes):
            parts.append(member + bytes(-len(member) % 512))
        else:
            parts.append(member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
    return b"".join(parts) + bytes(1024)


def info(name: str, type: bytes = tarfile.REGTYPE, **attributes: object) -> tarfile.TarInfo:  # noqa: A002
    made = tarfile.TarInfo(name)
    made.type = type
    for key, value in attributes.items():
        setattr(made, key, value)
    return made


def summed(block: bytearray) -> bytes:
    block[148:156] = b" " * 8
    block[148:155] = b"%06o\0" % sum(block)
    return bytes(block)


def rich_archive() -> bytes:
    """Every kind of header, in one archive."""
    names = b"n" * 150
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.GNU_FORMAT) as tar:
        long = info("l" * 300)
        long.size = 700
        tar.addfile(long, io.BytesIO(b"x" * 700))
        tar.addfile(info("k", tarfile.SYMTYPE, linkname="t" * 200))
    gnu = output.getvalue().rstrip(b"\0")
    gnu += bytes(-len(gnu) % 512)
    pax = tar_bytes(
        [
            Entry(b"d", EntryKind.DIRECTORY),
            Entry(
                names, EntryKind.FILE, mtime=1.5, size_bytes=1000,
                content=BytesContent(b"c" * 1000), xattrs={"user.a": b"\xff" * 600},
            ),
            Entry(b"h", EntryKind.HARDLINK, linkname=names),
            Entry(b"c", EntryKind.CHARACTER_DEVICE, device_major=1, device_minor=3),
        ]
    )  # fmt: skip
    sparse = info("s", size=5)
    sparse.pax_headers = {
        "GNU.sparse.size": "1000", "GNU.sparse.map": "10,2,900,3", "GNU.sparse.name": "sparse",
    }  # fmt: skip
    stored = b"2\n10\n2\n900\n3\n".ljust(512, b"\0") + b"abcde"
    newer = info("GNUSparseFile.0/s", size=len(stored))
    newer.pax_headers = {
        "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1000",
        "GNU.sparse.name": "newer",
    }  # fmt: skip
    glob = tarfile.TarInfo.create_pax_global_header({"uname": "root"})
    return gnu + glob + archive(sparse, b"abcde", newer, stored, gnu_sparse()[:-1024])[:-1024] + pax


def gnu_sparse(
    entries: tuple[tuple[int, int], ...] = ((0, 3), (600, 2)), size: int = 5, real: int = 1000,
) -> bytes:  # fmt: skip
    block = bytearray(info("old", b"S", size=size).tobuf(tarfile.GNU_FORMAT))
    for n, (offset, length) in enumerate(entries):
        block[386 + 24 * n : 410 + 24 * n] = b"%011o\0%011o\0" % (offset, length)
    block[483:495] = b"%011o\0" % real
    return summed(block) + b"abcde".ljust(512, b"\0") + bytes(1024)


RICH = rich_archive()


def test_the_rich_archive_is_sound() -> None:
    found = dict(consume(RICH))
    assert found[b"sparse"] == found[b"newer"] == found[b"old"] == 1000
    assert found[b"n" * 150] == 1000
    assert found[b"l" * 300] == 700
    assert len(found) == 9


def test_truncation_at_every_block_and_beside_it() -> None:
    whole = len(RICH.rstrip(b"\0")) // 512 * 512 + 512
    cuts = {at + beside for at in range(0, whole + 1, 512) for beside in (-1, 0, 1, 17, 300)}
    for cut in sorted(cuts):
        if 0 <= cut < whole:
            with pytest.raises(TruncatedArchiveError) as caught:
                consume(RICH[:cut])
            assert caught.value.offset is not None
            assert caught.value.offset <= cut
    # One block of zeros is an end.
    assert len(consume(RICH[: whole + 512])) == 9


def test_truncated_files(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The same by random access, where contents are passed over and not read."""
    file = tmp_path_factory.mktemp("cut") / "cut.tar"
    whole = len(RICH.rstrip(b"\0")) // 512 * 512 + 512
    for cut in range(0, whole, 256):
        file.write_bytes(RICH[:cut])
        with pytest.raises(TruncatedArchiveError):
            list(read_tar(file))
    file.write_bytes(RICH)
    entries = list(read_tar(file))
    file.write_bytes(RICH[:512])
    (long,) = (entry for entry in entries if entry.size_bytes == 700)
    with pytest.raises(TruncatedArchiveError):
        long.read()
    file.unlink()
    with pytest.raises(ArchiveError):
        long.read()
    with pytest.raises(ArchiveError):
        list(read_tar(file))


@pytest.mark.parametrize(
    "name",
    [
        "..", "../x", "a/../../x", "a/..", "/..", "/../etc/passwd", "./../x", ".//../x", "a/../b",
        "../", "a/./../..", "x" * 200 + "/../y",
    ],
)  # fmt: skip
def test_names_that_lead_outside(name: str) -> None:
    for member in (
        info(name), info(name, tarfile.DIRTYPE), info(name, tarfile.SYMTYPE, linkname="x"),
        info("f", tarfile.LNKTYPE, linkname=name),
    ):  # fmt: skip
        with pytest.raises(UnsafePathError) as caught:
            consume(archive(member))
        assert caught.value.path.rstrip(b"/") == name.rstrip("/").encode()
        assert caught.value.offset is not None


def test_names_of_no_use() -> None:
    record = b"14 path=a\0bcd\n"
    for data in (
        archive(info("")),
        archive(info("l", tarfile.SYMTYPE, linkname="")),
        archive(info("l", tarfile.LNKTYPE, linkname="")),
        archive(info("l", tarfile.LNKTYPE, linkname="./l")),
        archive(info("x", tarfile.XHDTYPE, size=len(record)), record, info("f")),
        archive(info(".")),
    ):
        with pytest.raises(UnsafePathError):
            consume(data)


def test_a_hardlink_to_a_directory() -> None:
    with pytest.raises(ArchiveError, match="directory"):
        consume(archive(info("d", tarfile.DIRTYPE), info("l", tarfile.LNKTYPE, linkname="d")))


def test_symlinked_parents_stay_names() -> None:
    """A file below a symlink to / is a file below a directory of that name."""
    data = archive(
        info("evil", tarfile.SYMTYPE, linkname="/"), info("evil/etc", tarfile.DIRTYPE),
        info("evil/etc/passwd"), info("up", tarfile.SYMTYPE, linkname="../.."), info("up/x"),
    )  # fmt: skip
    tree = overlay([list(read_tar([data]))])
    assert tree[b"evil"].kind is tree[b"up"].kind is EntryKind.DIRECTORY
    assert tree[b"evil/etc/passwd"].kind is EntryKind.FILE
    assert list(tree) == [b"", b"evil", b"evil/etc", b"evil/etc/passwd", b"up", b"up/x"]


def pax(payload: bytes, size: int | None = None) -> bytes:
    header = info("./PaxHeader", tarfile.XHDTYPE, size=len(payload) if size is None else size)
    return archive(header, payload, info("f"))


@pytest.mark.parametrize(
    "payload",
    [
        b"9 a=b\n", b"5 a=b\n", b"100 a=b\n", b"0 a=b\n", b"6 a=bc", b"6 =bc\n", b"6 abc\n",
        b"a=b\n", b" a=b\n", b"-6 a=b\n", b"+6 a=b\n", b"6\ta=b\n", b"6 a=b\n\0x", b"06a=b\n",
        b"9" * 30 + b" a=b\n", b"9" * 1_000_000 + b" a=b\n", b"\xb26 a=b\n", b"4 a=\n", b"2 \n",
        b"14 size=-1024\n", b"13 size=1e10\n", b"12 size=0x4\n", b"13 mtime=nan\n",
        b"13 mtime=inf\n", b"15 mtime=1e9999\n", b"12 uid=1_00\n", b"11 uid= 10\n",
        b"11 uid=1.5\n", b"9 gid=\xb2\n",
        b"31 LIBARCHIVE.xattr.user.a=A===\n"[:-1] + b"\n",
        b"17 SCHILY.xattr.=\n"[:-1] + b"\n",
    ],
)  # fmt: skip
def test_pax_records_that_lie(payload: bytes) -> None:
    with pytest.raises(ArchiveError):
        consume(pax(payload))


@pytest.mark.parametrize("key", ["size", "uid", "gid", "mtime", "GNU.sparse.size"])
def test_numbers_of_a_million_digits(key: str) -> None:
    value = "1" * 1_000_000
    record = f" {key}={value}\n"
    record = f"{len(record) + 7}{record}"
    assert len(record) == int(record.split(" ")[0])
    with pytest.raises(ArchiveError):
        consume(pax(record.encode()))


def test_headers_that_flood_memory() -> None:
    record = b"%d comment=" % 600_000
    record += b"x" * (600_000 - len(record) - 1) + b"\n"
    header = archive(info("x", tarfile.XHDTYPE, size=len(record)), record)[:-1024]
    assert consume(header + archive(info("f"))) == [(b"f", 0)]
    with pytest.raises(ArchiveError, match="600000"):
        consume(header * 2 + archive(info("f")))
    with pytest.raises(ArchiveError, match="allowed"):
        consume(header + archive(info("f")), header_limit_bytes=1000)
    with pytest.raises(ArchiveError, match="announces 8589934591 bytes"):
        consume(pax(b"6 a=b\n", 8**11 - 1))
    with pytest.raises(ArchiveError, match="announces"):
        consume(archive(info("@", b"L", size=2 << 20), bytes(2 << 20), info("f")))
    # Global headers do not add up either.
    flood = b"".join(
        tarfile.TarInfo.create_pax_global_header({f"k{n}": "v" * 200_000}) for n in range(6)
    )
    with pytest.raises(ArchiveError, match="too long"):
        consume(flood + archive(info("f")))


def test_too_many_entries_and_too_many_bytes() -> None:
    data = archive(*(info(str(n)) for n in range(11)))
    assert len(consume(data, entry_limit=11)) == 11
    with pytest.raises(ArchiveError, match="more than 10 entries"):
        consume(data, entry_limit=10)
    same = archive(*(info("f") for n in range(11)))
    with pytest.raises(ArchiveError, match="more than 10 entries"):
        consume(same, entry_limit=10)
    empty = tarfile.TarInfo.create_pax_global_header({"comment": "x"}) * 40
    with pytest.raises(ArchiveError, match="more than 10 entries"):
        consume(empty + archive(info("f")), entry_limit=10)
    big = archive(info("f", size=1000), bytes(1000))
    assert consume(big, content_limit_bytes=1000)
    with pytest.raises(ArchiveError, match="more than 999 bytes"):
        consume(big, content_limit_bytes=999)
    with pytest.raises(ArchiveError, match="bytes"):
        consume(gnu_sparse(((0, 5),), real=8**11 - 1))


@pytest.mark.parametrize(
    "segments",
    [
        ((0, 3), (2, 2)), ((600, 2), (0, 3)), ((0, 3), (999, 2)), ((0, 3), (1001, 2)), ((0, 4),),
        ((0, 6),), ((0, 3), (8**10, 2)),
    ],
)  # fmt: skip
def test_sparse_maps_that_lie(segments: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(ArchiveError, match=r"map|sparse"):
        consume(gnu_sparse(segments))
    text = ",".join(f"{offset},{length}" for offset, length in segments)
    member = info("s", size=5)
    member.pax_headers = {"GNU.sparse.size": "1000", "GNU.sparse.map": text}
    with pytest.raises(ArchiveError, match=r"map|sparse"):
        consume(archive(member, b"abcde"))


@pytest.mark.parametrize(
    "headers",
    [
        {"GNU.sparse.map": "1,2,3", "GNU.sparse.size": "9"},
        {"GNU.sparse.map": "a,b", "GNU.sparse.size": "9"},
        {"GNU.sparse.map": "-1,5", "GNU.sparse.size": "9"},
        {"GNU.sparse.major": "2", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9"},
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"},
        {"GNU.sparse.offset": "1", "GNU.sparse.size": "9"},
        {"GNU.sparse.numbytes": "1", "GNU.sparse.size": "9"},
    ],
)
def test_sparse_records_that_lie(headers: dict[str, str]) -> None:
    member = info("s", size=5)
    member.pax_headers = headers
    with pytest.raises(ArchiveError):
        consume(archive(member, b"abcde"))


@pytest.mark.parametrize(
    "stored",
    [
        b"2\n10\n2\n900\n3\n", b"x\n", b"1\n-1\n5\n", b"999999999999\n", b"1000000\n", b"",
        b"9" * 600, b"1\n0\n",
    ],
)  # fmt: skip
def test_stored_sparse_maps_that_lie(stored: bytes) -> None:
    body = stored.ljust(512, b"\0") + b"abcd"
    member = info("s", size=len(body))
    member.pax_headers = {
        "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1000",
    }  # fmt: skip
    with pytest.raises(ArchiveError):
        consume(archive(member, body))


def test_a_sparse_map_longer_than_its_file() -> None:
    body = b"0\n".ljust(512, b"\0")
    member = info("s", size=100)
    member.pax_headers = {
        "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "0",
    }  # fmt: skip
    with pytest.raises(ArchiveError):
        consume(archive(member, body))


def test_a_sparse_map_without_end() -> None:
    block = bytearray(info("old", b"S", size=0).tobuf(tarfile.GNU_FORMAT))
    block[482] = 1
    more = (b"%011o\0%011o\0" % (0, 0) * 21).ljust(504, b"\0") + b"\1" + bytes(7)

    def endless() -> Iterator[bytes]:
        yield summed(block)
        while True:
            yield more

    with pytest.raises(ArchiveError, match="more than"):
        next(read_tar(endless()))


@pytest.mark.parametrize("field", [(100, 108), (108, 116), (116, 124), (124, 136), (136, 148)])
@pytest.mark.parametrize(
    "value", [b"9", b"x", b"-1", b"+1", b"0o7", b"1_0", b"1 2", b"\xb2", b"\x7f"]
)
def test_numbers_that_are_none(field: tuple[int, int], value: bytes) -> None:
    block = bytearray(info("f").tobuf())
    block[slice(*field)] = value.ljust(field[1] - field[0], b"\0")
    with pytest.raises(ArchiveError):
        consume(summed(block) + bytes(1024))


def test_a_size_below_zero() -> None:
    block = bytearray(info("f").tobuf())
    block[124:136] = b"\xff" * 12
    with pytest.raises(ArchiveError, match="below 0"):
        consume(summed(block) + bytes(1024))


def test_checksums_and_ends() -> None:
    data = bytearray(archive(info("f")))
    data[0] ^= 1
    with pytest.raises(ArchiveError, match="checksum"):
        consume(bytes(data))
    with pytest.raises(ArchiveError, match="checksum"):
        consume(b"\x1f\x8b" + bytes(600))
    one = info("f").tobuf()
    with pytest.raises(ArchiveError, match="goes on"):
        consume(one + bytes(512) + one + bytes(1024))
    announced = archive(info("x", tarfile.XHDTYPE, size=6), b"6 a=b\n")
    with pytest.raises(TruncatedArchiveError, match="announces"):
        consume(announced)


@given(
    st.lists(
        st.tuples(st.integers(0, len(RICH) - 1), st.binary(min_size=1, max_size=12)), max_size=5
    ),
    st.booleans(),
    st.one_of(st.none(), st.integers(0, len(RICH))),
    st.sampled_from([100, 512, 1 << 20]),
)
def test_mutated_archives_raise_only_our_errors(
    edits: list[tuple[int, bytes]], repair: bool, cut: int | None, piece: int
) -> None:
    data = bytearray(RICH)
    for at, value in edits:
        data[at : at + len(value)] = value[: len(data) - at]
        if repair:
            # A right checksum lets the mutation through to the fields.
            start = at // 512 * 512
            block = data[start : start + 512]
            if len(block) == 512:
                data[start : start + 512] = summed(block)
    whole = bytes(data[:cut])
    pieces = [whole[at : at + piece] for at in range(0, len(whole), piece)]
    with contextlib.suppress(NbdockError):
        consume(pieces)


@given(st.binary(max_size=3000))
def test_noise_raises_only_our_errors(data: bytes) -> None:
    with contextlib.suppress(NbdockError):
        consume(data)


@given(st.binary(max_size=400))
def test_noise_in_pax_records_raises_only_our_errors(payload: bytes) -> None:
    with contextlib.suppress(NbdockError):
        consume(pax(payload))
