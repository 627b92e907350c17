"""The container of a .deb: what dpkg-deb takes we take, what it refuses we refuse, and all of it
with an error of our own; no truncation and no lie gets through."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.debs import COMPRESS, CONTROL, ar, control_tar, deb, info, tar, write

from nbdock.errors import ArchiveError, CodecError, TruncatedArchiveError
from nbdock.packages.debian.deb import deb_entries

FILES = [(info("./"), b""), (info("./usr/"), b""), (info("./usr/hello"), b"hello, world\n" * 99)]
VERSION = ("debian-binary", b"2.0\n")
CONTROL_MEMBER = ("control.tar", control_tar())
DATA_MEMBER = ("data.tar", tar(FILES))


def read(path: Path) -> list[tuple[bytes, bytes]]:
    return [(entry.path, entry.read() if entry.content else b"") for entry in deb_entries(path)]


def is_taken(path: Path) -> bool:
    try:
        read(path)
    except ArchiveError:
        return False
    return True


@pytest.mark.parametrize("suffix", COMPRESS)
def test_every_compression_that_dpkg_knows(suffix: str, tmp_path: Path) -> None:
    found = dict(read(write(tmp_path, deb(FILES, suffix=suffix))))
    assert found[b"usr/hello"] == b"hello, world\n" * 99
    assert found[b"var/lib/dpkg/status.d/hello"] == CONTROL.encode()


@pytest.mark.parametrize(
    "members",
    [
        [VERSION, CONTROL_MEMBER, DATA_MEMBER],
        [("debian-binary", b"2.1\nmore\n"), CONTROL_MEMBER, DATA_MEMBER],
        [("debian-binary/", b"2.0\n"), ("control.tar/", CONTROL_MEMBER[1]), DATA_MEMBER],
        [VERSION, ("_odd", b"1"), CONTROL_MEMBER, ("_even", b"12"), DATA_MEMBER, ("later", b"")],
        [VERSION, CONTROL_MEMBER, DATA_MEMBER, DATA_MEMBER],
        [VERSION, ("unknown", b""), CONTROL_MEMBER, DATA_MEMBER],
        [VERSION, CONTROL_MEMBER, ("unknown", b""), DATA_MEMBER],
        [VERSION, DATA_MEMBER, CONTROL_MEMBER],
        [CONTROL_MEMBER, VERSION, DATA_MEMBER],
        [VERSION, CONTROL_MEMBER],
        [VERSION, DATA_MEMBER],
        [VERSION],
        [],
        [("debian-binary", b"3.0\n"), CONTROL_MEMBER, DATA_MEMBER],
        [("debian-binary", b"0.9\n"), CONTROL_MEMBER, DATA_MEMBER],
        [("debian-binary", b"2.0"), CONTROL_MEMBER, DATA_MEMBER],
        [("debian-binary", b""), CONTROL_MEMBER, DATA_MEMBER],
        [VERSION, CONTROL_MEMBER, ("data.tar.7z", b"")],
        [VERSION, CONTROL_MEMBER, ("data.tarx", DATA_MEMBER[1])],
        [VERSION, CONTROL_MEMBER, ("data.tar.xz", DATA_MEMBER[1])],
    ],
    ids=lambda members: " ".join(f"{name}={data[:3]!r}" for name, data in members)[:70],
)
def test_members_are_taken_or_refused_as_dpkg_deb_does(
    members: list[tuple[str, bytes]], tmp_path: Path
) -> None:
    path = write(tmp_path, ar(*members))
    done = subprocess.run(
        ["sh", "-c", 'dpkg-deb -I "$0" && dpkg-deb -c "$0"', path], capture_output=True, check=False
    )
    assert is_taken(path) == (done.returncode == 0), done.stderr


@pytest.mark.parametrize("suffix", [".xz", ".zst", ".gz"])
def test_a_truncation_at_any_byte_is_noticed(suffix: str, tmp_path: Path) -> None:
    whole = deb(FILES, suffix=suffix)
    path = tmp_path / "cut.deb"
    # The newline that makes an odd member even may be missing at the end, as in dpkg's eyes.
    padding = len(COMPRESS[suffix](tar(FILES))) % 2
    for length in range(len(whole) - padding):
        path.write_bytes(whole[:length])
        with pytest.raises(TruncatedArchiveError, match=r"cut\.deb"):
            read(path)


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("part", ["control.tar", "data.tar"])
def test_a_member_that_ends_before_its_content_is_noticed(
    part: str, suffix: str, tmp_path: Path
) -> None:
    compress = COMPRESS[suffix]
    whole = {"control.tar": compress(control_tar()), "data.tar": compress(tar(FILES))}
    path = tmp_path / "cut.deb"
    step = max(1, len(whole[part]) // 30)
    # A tar may end where an entry does: dpkg wants no end-of-archive blocks either.
    last = 3 * 512 if not suffix else len(whole[part])
    for length in range(0, last, step):
        members = {**whole, part: whole[part][:length]}
        path.write_bytes(ar(VERSION, *((n + suffix, d) for n, d in members.items())))
        with pytest.raises(ArchiveError, match=r"cut\.deb"):
            read(path)


@pytest.mark.parametrize("says", [0, 1, 10**9, 10**9 + 1])
@pytest.mark.parametrize("name", ["debian-binary", "control.tar.xz", "data.tar.xz"])
def test_sizes_that_lie(name: str, says: int, tmp_path: Path) -> None:
    members = [
        VERSION,
        ("control.tar.xz", COMPRESS[".xz"](control_tar())),
        ("data.tar.xz", COMPRESS[".xz"](tar(FILES))),
    ]
    path = write(tmp_path, ar(*members, size={name: says}))
    with pytest.raises(ArchiveError):
        read(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b"`\n", b"``", 1),
        lambda data: data.replace(b"4         `", b"-4        `", 1),
        lambda data: data.replace(b"4         `", b"4_0       `", 1),
        lambda data: data.replace(b"4         `", b" 4        `", 1),
        lambda data: data.replace(b"4         `", b"          `", 1),
        lambda data: b"!<thin>\n" + data[8:],
        lambda data: b"PK" + data,
        lambda data: b"0.939000\n" + data,
        lambda data: b"",
    ],
)
def test_broken_headers(change: Callable[[bytes], bytes], tmp_path: Path) -> None:
    with pytest.raises(ArchiveError):
        read(write(tmp_path, change(deb(FILES))))


@settings(max_examples=60)
@given(st.data())
def test_damage_gives_no_other_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = bytearray(deb(FILES, suffix=data.draw(st.sampled_from(list(COMPRESS)))))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    is_taken(write(tmp_path_factory.mktemp("damaged"), bytes(whole), "damaged.deb"))


def test_a_dictionary_that_takes_too_much_memory(tmp_path: Path) -> None:
    import lzma

    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30, "mode": lzma.MODE_FAST,
                "mf": lzma.MF_HC3, "depth": 1, "nice_len": 3}]  # fmt: skip
    # An encoder for such a dictionary takes gigabytes: a small one, with the header of the large.
    small = lzma.compress(tar(FILES), filters=[{**filters[0], "dict_size": 4096}])
    assert small[12:18].hex() == "020021010000"
    header = small[12:16] + bytes([36]) + small[17:20]
    import zlib

    large = small[:12] + header + zlib.crc32(header).to_bytes(4, "little") + small[24:]
    path = write(tmp_path, ar(VERSION, CONTROL_MEMBER, ("data.tar.xz", large)))
    with pytest.raises(CodecError, match=r"[Mm]emory"):
        read(path)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"missing\.deb"):
        read(tmp_path / "missing.deb")
    with pytest.raises(ArchiveError, match="folder"):
        (tmp_path / "folder").mkdir()
        read(tmp_path / "folder")


def test_the_file_is_closed(tmp_path: Path) -> None:
    path = write(tmp_path, deb(FILES))

    def is_open() -> bool:
        links = (os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd"))
        return any(os.path.realpath(link) == os.fspath(path) for link in links)

    read(path)
    assert not is_open()
    entries = deb_entries(path)
    next(entries)
    assert is_open()
    entries.close()  # type: ignore[attr-defined]
    assert not is_open()
