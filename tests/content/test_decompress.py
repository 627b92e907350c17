"""Reading compressed streams: against the tools that write them, and against hostile ones."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from nbdock.content import codec_named, codec_of_name, detect, open_decompressed
from nbdock.errors import ArchiveError, ArgumentTypeError, CodecError, TruncatedArchiveError


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(data)


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "zstd": zstd,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
}
CODECS = sorted(COMPRESS)
TOOLS = {"gzip": "gzip", "zstd": "zstd", "xz": "xz", "bzip2": "bzip2"}


def prose(size: int, seed: int = 1) -> bytes:
    chosen = random.Random(seed)
    words = [chosen.randbytes(chosen.randint(2, 9)) for _ in range(500)]
    return b"".join(chosen.choices(words, k=size // 5))[:size]


def read_all(data: bytes, codec: str | None = None) -> bytes:
    with open_decompressed(io.BytesIO(data), codec=codec) as stream:
        return stream.read()


@pytest.mark.parametrize("codec", CODECS)
def test_the_codec_is_seen_by_its_first_bytes(codec: str) -> None:
    data = prose(300_000)
    with open_decompressed(io.BytesIO(COMPRESS[codec](data))) as stream:
        assert stream.codec == codec
        assert stream.read() == data
    assert detect(COMPRESS[codec](b"")[:6]) == codec


@pytest.mark.parametrize("data", [b"", b"\x1f", b"a tar", b"BZh is text", b"(\xb5/", bytes(100)])
def test_anything_else_is_passed_on(data: bytes) -> None:
    with open_decompressed(io.BytesIO(data)) as stream:
        assert stream.codec == "none"
        assert stream.read() == data


def test_names_of_codecs() -> None:
    assert [codec_named(name) for name in ("gz", "GZIP", "zst", "none", "xz", "bz2")] == [
        "gzip", "gzip", "zstd", "none", "xz", "bzip2",
    ]  # fmt: skip
    assert codec_of_name("/a/b/redis.tar.gz") == "gzip"
    assert codec_of_name(Path("control.tar.zst")) == "zstd"
    assert codec_of_name("data.tar") == codec_of_name("zst") == codec_of_name("x.deb") == "none"
    with pytest.raises(ArgumentTypeError, match="There is no compression 'gzp'") as error:
        codec_named("gzp")
    assert error.value.hint == "Did you mean gzip?"


@pytest.mark.parametrize("codec", CODECS)
@settings(max_examples=30)
@given(
    sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=5),
    cuts=st.lists(st.integers(1, 4000), min_size=1, max_size=20),
    reads=st.lists(st.integers(0, 5000), min_size=1, max_size=20),
)
def test_members_frames_and_streams_are_read_whole_however_cut(
    codec: str, sizes: list[int], cuts: list[int], reads: list[int]
) -> None:
    members = [prose(size, seed) for seed, size in enumerate(sizes)]
    compressed = b"".join(COMPRESS[codec](member) for member in members)

    def pieces():
        position, turn = 0, 0
        while position < len(compressed):
            yield compressed[position : position + cuts[turn % len(cuts)]]
            position += cuts[turn % len(cuts)]
            turn += 1

    got = b""
    with open_decompressed(pieces(), codec=codec) as stream:
        for size in reads:
            part = stream.read(size)
            got += part
            assert len(part) == size or not stream.read(1)
            assert stream.tell() == len(got)
        buffer = bytearray(777)
        while count := stream.readinto(buffer):
            got += buffer[:count]
    assert got == b"".join(members)


@pytest.mark.parametrize("codec", CODECS)
def test_what_the_tools_write_is_read(codec: str, tmp_path: Path) -> None:
    data = prose(1_500_000)
    (tmp_path / "data").write_bytes(data)
    for level in ("-1", "-9"):
        made = subprocess.run(
            [TOOLS[codec], level, "-c", tmp_path / "data"], capture_output=True, check=True
        ).stdout
        assert read_all(made) == data
        assert read_all(made + made) == data + data


def test_a_gzip_header_with_every_field() -> None:
    data = b"content"
    body = zlib.compressobj(9, zlib.DEFLATED, -15)
    deflated = body.compress(data) + body.flush()
    head = b"\x1f\x8b\x08\x1e" + bytes(6) + struct.pack("<H", 5) + b"extra" + b"name\0comment\0"
    head += struct.pack("<H", zlib.crc32(head) & 0xFFFF)
    made = head + deflated + struct.pack("<II", zlib.crc32(data), len(data))
    assert read_all(made) == data
    for end in range(len(made)):
        with pytest.raises(TruncatedArchiveError):
            read_all(made[:end], "gzip")


@pytest.mark.parametrize("padding", [1, 2, 511, 200_000])
def test_zero_padding_after_gzip_is_ignored(padding: int, caplog: pytest.LogCaptureFixture) -> None:
    made = gzip.compress(b"one") + bytes(padding)
    assert read_all(made) == b"one"
    assert not caplog.text
    # As gzip itself, a member after the padding is read too.
    again = made + gzip.compress(b"two")
    told = subprocess.run(["gzip", "-dc"], input=again, capture_output=True, check=False)
    assert told.stdout in {b"one", b"onetwo"}
    assert read_all(again) == b"onetwo"


@pytest.mark.parametrize("codec", ["gzip", "bzip2"])
@pytest.mark.parametrize("garbage", [b"\x1f", b"B", b"garbage", b"\0\0x" + bytes(70_000)])
def test_garbage_after_the_end_is_ignored_with_a_warning(
    codec: str, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    made = COMPRESS[codec](b"content") + garbage
    told = subprocess.run([TOOLS[codec], "-dc"], input=made, capture_output=True, check=False)
    assert told.stdout == b"content"
    assert read_all(made) == b"content"
    assert "Ignored bytes" in caplog.text


@pytest.mark.parametrize("codec", ["xz", "zstd"])
def test_garbage_after_the_end_is_refused(codec: str) -> None:
    made = COMPRESS[codec](b"content") + b"garbage!!"
    told = subprocess.run([TOOLS[codec], "-dc"], input=made, capture_output=True, check=False)
    assert told.returncode != 0
    with pytest.raises(CodecError):
        read_all(made)


def test_xz_padding_between_streams() -> None:
    made = lzma.compress(b"one") + bytes(4) + lzma.compress(b"two") + bytes(8)
    assert subprocess.run(["xz", "-dc"], input=made, capture_output=True, check=True).stdout == (
        read_all(made)
    )


def test_zstd_frames_to_skip() -> None:
    skip = struct.pack("<II", 0x184D2A53, 100_000) + bytes(100_000)
    empty = struct.pack("<II", 0x184D2A50, 0)
    made = empty + skip + zstd(b"one") + skip + empty + zstd(b"two") + skip
    assert read_all(made) == b"onetwo"
    with pytest.raises(TruncatedArchiveError):
        read_all(made[:-1])


@pytest.mark.parametrize("flags", [{}, {"write_content_size": False}, {"write_checksum": True}])
@pytest.mark.parametrize("size", [0, 1, 255, 256, 65_535, 70_000, 400_000])
def test_zstd_headers_of_every_size(size: int, flags: dict[str, bool]) -> None:
    data = prose(size) if size else b""
    made = zstandard.ZstdCompressor(level=1, **flags).compress(data)
    assert read_all(made, "zstd") == data
    assert read_all(made + made, "zstd") == data * 2
    ends = range(len(made)) if len(made) < 300 else (*range(30), *range(len(made) - 30, len(made)))
    for end in ends:
        with pytest.raises(TruncatedArchiveError):
            read_all(made[:end], "zstd")


@pytest.mark.parametrize("codec", CODECS)
def test_truncated_at_every_byte(codec: str) -> None:
    one, two = COMPRESS[codec](prose(600)), COMPRESS[codec](b"two" * 50)
    for end in range(len(one)):
        with pytest.raises(TruncatedArchiveError) as error:
            read_all(one[:end], codec)
        assert error.value.offset == end
    for end in range(len(one) + 1, len(one + two)):
        if codec in {"gzip", "bzip2"} and end - len(one) < 3:
            continue  # too short to be told from garbage
        with pytest.raises(ArchiveError):
            read_all((one + two)[:end], codec)


@pytest.mark.parametrize("codec", CODECS)
def test_a_large_stream_truncated_anywhere(codec: str) -> None:
    made = COMPRESS[codec](prose(1_300_000))
    chosen = random.Random(7)
    for end in [len(made) - 1, *(chosen.randrange(1, len(made)) for _ in range(8))]:
        with pytest.raises(TruncatedArchiveError):
            read_all(made[:end], codec)


@pytest.mark.parametrize("codec", CODECS)
def test_a_flipped_bit_never_gives_other_content(codec: str) -> None:
    data = prose(5000)
    made = COMPRESS[codec](data)
    chosen = random.Random(3)
    refused = 0
    for _ in range(300):
        place = chosen.randrange(len(made) * 8)
        broken = bytearray(made)
        broken[place // 8] ^= 1 << place % 8
        try:
            # Flips in a header's time or name change nothing, and are allowed to pass.
            assert read_all(bytes(broken), codec) in {data, b""}
        except ArchiveError:
            refused += 1
    assert refused > 250


def told_by_zlib(data: bytes) -> bytes | None:
    """What Python's zlib finds in a gzip file, by the rules of gzip; None for an error."""
    found = []
    while True:
        member = zlib.decompressobj(wbits=31)
        try:
            found.append(member.decompress(data))
        except zlib.error:
            return None
        if not member.eof:
            return None
        data = member.unused_data.lstrip(b"\0")
        if not data.startswith(b"\x1f\x8b"):
            return b"".join(found)


@given(
    st.lists(st.binary(max_size=3000) | st.builds(prose, st.integers(0, 70_000)), max_size=3),
    st.sampled_from([0, 1, 6, 9]),
    st.integers(1, 70_000),
    st.none() | st.floats(0, 1),
    st.none() | st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)),
    st.binary(max_size=20),
)
@settings(max_examples=150, deadline=None)
def test_gzip_is_read_as_zlib_reads_it(
    contents: list[bytes], level: int, piece_bytes: int, cut: float | None,
    changed: tuple[float, int] | None, end: bytes,
) -> None:  # fmt: skip
    data = b"".join(gzip.compress(content, level, mtime=0) for content in [b"first", *contents])
    data = bytearray(data if cut is None else data[: int(cut * len(data))])
    if changed is not None and data:
        data[int(changed[0] * len(data))] ^= changed[1]
    data += end
    pieces = [bytes(data[at : at + piece_bytes]) for at in range(0, len(data), piece_bytes)]
    expected = told_by_zlib(bytes(data))
    try:
        with open_decompressed(pieces, codec="gzip") as stream:
            found = stream.read()
    except ArchiveError:
        found = None
    assert found == expected


@pytest.mark.parametrize("codec", CODECS)
def test_what_is_not_the_named_codec_is_refused(codec: str) -> None:
    with pytest.raises(CodecError) as error:
        read_all(b"certainly not compressed", codec)
    assert codec in str(error.value)


@pytest.mark.parametrize("codec", CODECS)
def test_an_error_is_not_an_end(codec: str) -> None:
    """A reader that asks again after an error must not be told that the stream is over."""
    broken = bytearray(COMPRESS[codec](prose(1_300_000)))
    broken[len(broken) // 2 :] = b"\xff" * (len(broken) - len(broken) // 2)
    with open_decompressed(io.BytesIO(bytes(broken)), codec=codec) as stream:
        for _ in range(30):
            with pytest.raises(ArchiveError):
                stream.read()
    with open_decompressed(io.BytesIO(COMPRESS[codec](bytes(3000))), limit_bytes=9) as stream:
        for _ in range(3):
            with pytest.raises(CodecError):
                stream.read(1)


@pytest.mark.parametrize("codec", CODECS)
def test_limits(codec: str) -> None:
    made = COMPRESS[codec](bytes(3_000_000))
    with open_decompressed(io.BytesIO(made), limit_bytes=3_000_000) as stream:
        assert len(stream.read()) == 3_000_000
    with (
        open_decompressed(io.BytesIO(made), limit_bytes=2_999_999) as stream,
        pytest.raises(CodecError, match="more than the 2999999 bytes"),
    ):
        stream.read()


BOMB = """
import resource, sys
from nbdock.content import open_decompressed
from nbdock.errors import CodecError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
keywords = {sys.argv[2]: float(sys.argv[3]) if "ratio" in sys.argv[2] else int(sys.argv[3])}
seen = 0
try:
    with open_decompressed(sys.argv[1], **keywords) as stream:
        for piece in stream.pieces():
            seen += len(piece)
except CodecError as error:
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(seen, grown)
"""


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(("limit", "value"), [("limit_bytes", 200 << 20), ("limit_ratio", 200)])
def test_ten_gigabytes_of_zeros_stop_at_the_limit(
    codec: str, limit: str, value: int, tmp_path: Path
) -> None:
    unit = 16 << 20
    small = COMPRESS[codec](bytes(unit))
    with open(tmp_path / "bomb", "wb") as bomb:
        bomb.writelines(small for _ in range((10 << 30) // unit))
    done = subprocess.run(
        [sys.executable, "-c", BOMB, tmp_path / "bomb", limit, str(value)],
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    seen, grown_kib = map(int, done.stdout.split())
    assert seen <= 200 << 20
    assert grown_kib < 40 << 10


def test_memory_that_a_stream_asks_for_is_limited() -> None:
    window = zstandard.ZstdCompressionParameters.from_level(1, window_log=28, enable_ldm=False)
    made = zstandard.ZstdCompressor(compression_params=window).compressobj()
    with pytest.raises(CodecError):
        read_all(made.compress(b"x" * 1000) + made.flush())
    huge = [{"id": lzma.FILTER_LZMA2, "preset": 1, "dict_size": 1 << 29}]
    with pytest.raises(CodecError):
        read_all(lzma.compress(b"x" * 1000, filters=huge))


def test_thousands_of_small_members() -> None:
    made = b"".join(gzip.compress(b"%d," % i, 1) for i in range(5000))
    assert read_all(made) == b"".join(b"%d," % i for i in range(5000))


def test_sources(tmp_path: Path) -> None:
    data = prose(100_000)
    path = tmp_path / "odd name\n%zst"
    path.write_bytes(zstd(data))
    with open_decompressed(path) as stream:
        assert stream.read() == data
    with open_decompressed(str(path)) as stream:
        assert b"".join(stream.pieces()) == data
        assert 0 < stream.compressed_bytes <= path.stat().st_size
    with open(path, "rb") as file:
        with open_decompressed(file) as stream:
            assert stream.read(10) == data[:10]
        assert not file.closed
    with open_decompressed(iter([memoryview(path.read_bytes()), b""])) as stream:
        assert stream.read() == data
    with pytest.raises(ValueError):
        stream.read()
    with pytest.raises(FileNotFoundError):
        open_decompressed(tmp_path / "absent")


def test_peak_memory_does_not_grow_with_one_big_piece() -> None:
    """An iterable may hand over everything at once; it must not be copied again and again."""
    made = gzip.compress(random.Random(5).randbytes(8 << 20), 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    with open_decompressed([made]) as stream:
        assert sum(map(len, stream.pieces())) == 8 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < 5
