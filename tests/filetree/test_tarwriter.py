"""The tar writer against its oracle, tarfile: the same bytes for every kind of entry."""

import io
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdock import settings
from nbdock.errors import ArchiveError, SizeMismatchError
from nbdock.filetree import (
    BytesContent,
    Entry,
    EntryKind,
    FileContent,
    TarPolicy,
    TarWriter,
    scan_directory,
    tar_bytes,
    write_tar,
)

TYPES = {
    EntryKind.FILE: tarfile.REGTYPE,
    EntryKind.DIRECTORY: tarfile.DIRTYPE,
    EntryKind.SYMLINK: tarfile.SYMTYPE,
    EntryKind.HARDLINK: tarfile.LNKTYPE,
    EntryKind.CHARACTER_DEVICE: tarfile.CHRTYPE,
    EntryKind.BLOCK_DEVICE: tarfile.BLKTYPE,
    EntryKind.FIFO: tarfile.FIFOTYPE,
}


def text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def tarinfo(entry: Entry, prefix: bytes = b"") -> tarfile.TarInfo:
    info = tarfile.TarInfo(text(prefix + entry.path))
    info.type = TYPES[entry.kind]
    info.mode, info.uid, info.gid = entry.mode, entry.uid, entry.gid
    info.mtime, info.uname, info.gname = entry.mtime, entry.uname, entry.gname
    info.size = entry.size_bytes
    link = prefix + entry.linkname if entry.kind is EntryKind.HARDLINK else entry.linkname
    info.linkname = text(link)
    info.devmajor, info.devminor = entry.device_major, entry.device_minor
    info.pax_headers = {
        f"SCHILY.xattr.{key}": text(value) for key, value in sorted(entry.xattrs.items())
    }
    return info


def oracle(entries: Iterable[Entry], prefix: bytes = b"") -> bytes:
    output = io.BytesIO()
    with tarfile.open(
        fileobj=output, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8",
        errors="surrogateescape",
    ) as tar:  # fmt: skip
        for entry in entries:
            body = io.BytesIO(entry.read()) if entry.content is not None else None
            tar.addfile(tarinfo(entry, prefix), body)
    return output.getvalue()


def header_oracle(entry: Entry) -> bytes:
    return tarinfo(entry).tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


part = st.one_of(
    st.binary(min_size=1, max_size=20),
    st.text(min_size=1, max_size=40).map(lambda t: t.encode("utf-8", "surrogatepass")),
    st.text("abc.-_ ", min_size=1, max_size=120).map(str.encode),
).map(lambda b: b.replace(b"\0", b"0").replace(b"/", b"_"))
part = part.map(lambda b: b"x" if b in (b".", b"..") else b)
path = st.lists(part, min_size=1, max_size=4).map(b"/".join)
owner = st.one_of(st.sampled_from([0, 1000, 8**7 - 1, 8**7, -1]), st.integers(-(2**40), 2**40))
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
mtime = st.one_of(
    st.sampled_from([0, 1, -1, 8**11 - 1, 8**11, 0.0, 1.0, -0.3, 0.5, 1.5, 8.0**11 - 0.5, 1e300]),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
)
xattrs = st.one_of(
    st.just({}),
    st.dictionaries(
        st.text(
            st.characters(codec="utf-8", exclude_characters="=\0"), min_size=1, max_size=20
        ).map("user.".__add__),
        st.one_of(st.binary(max_size=30), st.binary(min_size=80, max_size=1200)),
        max_size=3,
    ),
)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    kind = draw(st.sampled_from(EntryKind))
    data = draw(st.binary(max_size=1500)) if kind is EntryKind.FILE else b""
    device = kind in (EntryKind.CHARACTER_DEVICE, EntryKind.BLOCK_DEVICE)
    number = st.integers(0, 8**7 - 1) if device else st.just(0)
    return Entry(
        draw(path), kind, mode=draw(st.integers(0, 0o7777)), uid=draw(owner), gid=draw(owner),
        size_bytes=len(data), mtime=draw(mtime), uname=draw(names), gname=draw(names),
        linkname=draw(path) if kind in (EntryKind.SYMLINK, EntryKind.HARDLINK) else b"",
        device_major=draw(number), device_minor=draw(number), xattrs=draw(xattrs),
        content=BytesContent(data) if kind is EntryKind.FILE else None,
    )  # fmt: skip


@given(st.lists(entries(), max_size=6), st.sampled_from([b"", b"./", b"/nix/store/x-y/", b"pre"]))
def test_same_bytes_as_tarfile(tree: list[Entry], prefix: bytes) -> None:
    assert tar_bytes(tree, prefix=prefix) == oracle(tree, prefix)


@pytest.mark.parametrize("size", [0, 1, 8**11 - 1, 8**11, 2**40, 10**25])
def test_header_of_a_big_file(size: int) -> None:
    """Sizes of 8 GiB and more: their headers, without the 8 GiB."""
    from nbdock.filetree.tarheader import HeaderEncoder

    entry = Entry(b"big", EntryKind.FILE, size_bytes=size)
    assert HeaderEncoder().encode(b"big", entry) == header_oracle(entry)


@pytest.mark.parametrize("length", [*range(96, 104), 154, 155, 156, 255, 256, 257, 4000])
@pytest.mark.parametrize("kind", [EntryKind.FILE, EntryKind.DIRECTORY, EntryKind.SYMLINK])
def test_long_names(length: int, kind: EntryKind) -> None:
    for name in (b"n" * length, (b"d/" * length)[:length].rstrip(b"/"), b"\xc3\xa9" * length):
        link = name if kind is EntryKind.SYMLINK else b""
        entry = Entry(name, kind, linkname=link)
        assert tar_bytes([entry]) == oracle([entry])


def test_pax_record_lengths_around_powers_of_ten() -> None:
    for length in (*range(60, 110), *range(950, 1010), *range(9960, 10010)):
        entry = Entry(b"x", EntryKind.FIFO, xattrs={"user.a": b"v" * length})
        assert tar_bytes([entry]) == oracle([entry])


def test_the_root_is_written_under_the_prefix() -> None:
    root = Entry(b"", EntryKind.DIRECTORY, mode=0o755)
    script = Entry(b"", EntryKind.FILE)

    def name(entry: Entry, prefix: bytes) -> bytes:
        return tar_bytes([entry], prefix=prefix)[:100].rstrip(b"\0")

    assert name(root, b"") == b"./"
    assert name(root, b"./") == b"./"
    assert name(root, b"/") == b"/"
    assert name(root, b"nix/store/x/") == b"nix/store/x/"
    assert name(root, b"nix/store/x") == b"nix/store/x/"
    assert name(script, b"nix/store/x/") == b"nix/store/x"
    with pytest.raises(ArchiveError, match="must be a directory"):
        name(script, b"")


@given(st.lists(entries(), max_size=4))
def test_policy_speaks_for_all_entries(tree: list[Entry]) -> None:
    policy = TarPolicy(mtime=1, uid=2, gid=3, uname="root", gname="wheel")
    expected = io.BytesIO()
    with tarfile.open(
        fileobj=expected, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8"
    ) as tar:
        for entry in tree:
            info = tarinfo(entry)
            info.mtime, info.uid, info.gid, info.uname, info.gname = 1, 2, 3, "root", "wheel"
            tar.addfile(info, io.BytesIO(entry.read()) if entry.content is not None else None)
    assert tar_bytes(tree, policy=policy) == expected.getvalue()


@pytest.fixture
def small_buffer(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("NBDOCK_IO_BUFFER_BYTES", str(16 << 10))
    return 16 << 10


def test_files_of_every_size_around_the_buffer(tmp_path: Path, small_buffer: int) -> None:
    assert settings.current().io_buffer_bytes == small_buffer
    tree = []
    sizes = {0, 1, 511, 512, 513, 100_000, 3 * small_buffer}
    for edge in (small_buffer // 2, small_buffer - 512, small_buffer, 2 * small_buffer):
        sizes.update(range(edge - 513, edge + 514, 171))
        sizes.update((edge - 1, edge, edge + 1))
    for size in sorted(sizes):
        file = tmp_path / str(size)
        file.write_bytes(os.urandom(size))
        contents = (FileContent(bytes(file), size), BytesContent(file.read_bytes()))
        tree += [
            Entry(b"f%d" % size, EntryKind.FILE, size_bytes=size, content=content)
            for content in contents
        ]
    pieces: list[int] = []
    collected = bytearray()

    def sink(piece: bytes | memoryview) -> None:
        pieces.append(len(piece))
        collected.extend(piece)

    length = write_tar(tree, sink)
    assert collected == oracle(tree)
    assert length == len(collected)
    # The pieces are nearly full buffers.
    assert max(pieces) <= max(sizes)
    assert len(pieces) < 2.5 * length / small_buffer


def test_trees_one_after_another() -> None:
    pieces: list[bytes] = []
    writer = TarWriter(lambda piece: pieces.append(bytes(piece)))
    one = [Entry(b"", EntryKind.DIRECTORY), Entry(b"a", EntryKind.FILE)]
    writer.write(one, prefix=b"x/")
    writer.write(one, prefix=b"y/")
    assert writer.size_bytes == 4 * 512
    assert writer.finish() == 10240
    assert (writer.entry_count, writer.file_count) == (4, 2)
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
        assert tar.getnames() == ["x", "x/a", "y", "y/a"]


@pytest.mark.parametrize(("trailing", "length"), [(0, 512), (512, 1536), (1024, 2048)])
def test_trailing(trailing: int, length: int) -> None:
    pieces: list[bytes] = []
    tree = [Entry(b"a", EntryKind.FIFO)]
    got = write_tar(tree, lambda piece: pieces.append(bytes(piece)), trailing=trailing)
    assert got == length == len(b"".join(pieces))
    assert b"".join(pieces) == oracle(tree)[:length]


class Pieces:
    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces

    def chunks(self) -> Iterable[bytes]:
        yield from self.pieces


@pytest.mark.parametrize("size", [0, 1, 10, 12, 16 << 10, 200_000])
def test_content_that_lies_about_its_size(tmp_path: Path, size: int) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"hello world")
    for content in (
        FileContent(bytes(file), size), BytesContent(b"hello world"), Pieces(b"hello", b" world"),
    ):  # fmt: skip
        entry = Entry(b"f", EntryKind.FILE, size_bytes=size, content=content)
        with pytest.raises(SizeMismatchError) as caught:
            tar_bytes([entry])
        assert caught.value.expected_bytes == size
        assert caught.value.actual_bytes != size
    entry = Entry(b"f", EntryKind.FILE, size_bytes=size, content=FileContent(bytes(file), size))
    with pytest.raises(SizeMismatchError):
        entry.read()


@pytest.mark.parametrize("size", [70_000, 1 << 20, 5 << 20])
def test_big_pieces_pass_through(size: int) -> None:
    data = os.urandom(size)
    seen: list[object] = []
    half = size // 2
    content = Pieces(data[:half], data[half:])
    entry = Entry(b"f", EntryKind.FILE, size_bytes=size, content=content)  # type: ignore[arg-type]
    collected = bytearray()

    def sink(piece: bytes | memoryview) -> None:
        seen.append(piece)
        collected.extend(piece)

    write_tar([entry], sink)
    assert collected == oracle([entry])
    if half >= 64 << 10:
        assert content.pieces[0] is not None
        assert any(piece is content.pieces[0] for piece in seen)


def test_what_no_header_holds() -> None:
    for entry in (
        Entry(b"nul\0", EntryKind.FIFO),
        Entry(b"l", EntryKind.SYMLINK, linkname=b"a\0b"),
        Entry(b"x", EntryKind.FIFO, xattrs={"user.a=b": b""}),
        Entry(b"x", EntryKind.FIFO, uname="\ud800"),
        Entry(b"x", EntryKind.FIFO, mtime=float("nan")),
        Entry(b"x", EntryKind.FIFO, mtime=float("inf")),
        Entry(b"x", EntryKind.BLOCK_DEVICE, device_major=8**7),
        Entry(b"x", EntryKind.CHARACTER_DEVICE, device_minor=-1),
        Entry(b"x", EntryKind.FILE, size_bytes=-1),
        Entry(b"x", EntryKind.FILE, size_bytes=5),
    ):
        with pytest.raises(ArchiveError):
            tar_bytes([entry])


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/etc/passwd")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path, error in (
        (tmp_path / "gone", ArchiveError), (link, ArchiveError), (tmp_path, ArchiveError),
        (fifo, SizeMismatchError),
    ):  # fmt: skip
        content = FileContent(bytes(path), 3)
        entry = Entry(b"f", EntryKind.FILE, size_bytes=3, content=content)
        with pytest.raises(error):
            tar_bytes([entry])
        with pytest.raises(error):
            entry.read()


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    import tracemalloc

    file = tmp_path / "big"
    with file.open("wb") as handle:
        handle.truncate(256 << 20)
    size = file.stat().st_size
    entry = Entry(b"f", EntryKind.FILE, size_bytes=size, content=FileContent(bytes(file), size))
    tracemalloc.start()
    try:
        length = write_tar([entry], len)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert length > size
    assert peak < 4 << 20


def test_writers_in_threads_do_not_meet(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    for n in range(200):
        (tmp_path / f"{n}").write_bytes(b"%d" % n * n)
    tree = list(scan_directory(str(tmp_path)))
    expected = tar_bytes(tree)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: tar_bytes(tree), range(8))) == {expected}
