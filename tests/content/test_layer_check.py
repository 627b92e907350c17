"""What a layer's blob holds, found out from its bytes as they come."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import threading
import tracemalloc
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st

from nbdock import settings
from nbdock.content import BlobStore, LayerCache, LayerCheck
from nbdock.errors import ArchiveError, CodecError, DigestMismatchError, TruncatedArchiveError
from nbdock.oci import Digest


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=False).compress(data)


COMPRESS = {
    "none": bytes,
    "gzip": gzip.compress,
    "zstd": zstd,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
}
REAL = ("gzip", "zstd", "xz", "bzip2")


def prose(size_bytes: int, seed: int = 1) -> bytes:
    words = [b"layer", b"diff", b"of", b"the", b"a", b"\n"]
    return b" ".join(random.Random(seed).choices(words, k=size_bytes // 2))[:size_bytes]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> BlobStore:
    return BlobStore(tmp_path_factory.mktemp("store"))


def fed(store: BlobStore, blob: bytes, tar: bytes, cuts: list[int]) -> LayerCheck:
    check = LayerCheck(LayerCache(store), Digest.of(blob), Digest.of(tar))
    buffer = bytearray()
    position, turn = 0, 0
    while position < len(blob):
        buffer[:] = blob[position : position + cuts[turn % len(cuts)]]
        check.update(memoryview(buffer).toreadonly())
        # As a buffer that is used again.
        buffer = bytearray(b"\xee" * len(buffer))
        position += len(buffer)
        turn += 1
    return check


@pytest.mark.parametrize("codec", COMPRESS)
@trying(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=4),
    cuts=st.lists(st.integers(1, 4000), min_size=1, max_size=20),
)
def test_however_the_bytes_come(
    store: BlobStore, codec: str, sizes: list[int], cuts: list[int]
) -> None:
    members = [prose(size, seed) for seed, size in enumerate(sizes)]
    blob = b"".join(COMPRESS[codec](member) for member in members)
    tar = b"".join(members)
    fed(store, blob, tar, cuts).finish()
    assert LayerCache(store).diff_ids([Digest.of(blob)]) == {Digest.of(blob): Digest.of(tar)}


@pytest.mark.parametrize("codec", COMPRESS)
def test_large_pieces(store: BlobStore, codec: str) -> None:
    # The last ends where the decoders' pieces of output do.
    for tar in (random.Random(2).randbytes(1_500_000), prose(3_000_000), bytes(4 << 20)):
        blob = COMPRESS[codec](tar)
        for cut in (1000, 65536, 256 << 10, 5 << 20):
            fed(store, blob, tar, [cut]).finish()


@pytest.mark.parametrize("codec", COMPRESS)
def test_another_tar(store: BlobStore, codec: str) -> None:
    blob = COMPRESS[codec](prose(10_000))
    with pytest.raises(DigestMismatchError, match="the image's configuration says") as caught:
        fed(store, blob, b"another", [4096]).finish()
    message = str(caught.value)
    for digest in (Digest.of(blob), Digest.of(prose(10_000)), Digest.of(b"another")):
        assert str(digest) in message
    assert not LayerCache(store).diff_ids([Digest.of(blob)])


@pytest.mark.parametrize("codec", REAL)
def test_truncated_anywhere(store: BlobStore, codec: str) -> None:
    tar = prose(600)
    blob = COMPRESS[codec](tar)
    for end in range(6, len(blob)):
        with pytest.raises(TruncatedArchiveError, match=str(Digest.of(blob[:end]))):
            fed(store, blob[:end], tar, [7]).finish()


@pytest.mark.parametrize("codec", REAL)
def test_damaged(store: BlobStore, codec: str) -> None:
    tar = prose(100_000)
    blob = bytearray(COMPRESS[codec](tar))
    blob[len(blob) // 2 :] = b"\xff" * (len(blob) - len(blob) // 2)
    check = fed(store, bytes(blob), tar, [1000])
    # Damage stays: what comes after it is not looked at.
    check.update(memoryview(COMPRESS[codec](tar)))
    with pytest.raises(ArchiveError, match="does not unpack"):
        check.finish()


def test_padding_and_garbage_after_gzip(store: BlobStore) -> None:
    tar = prose(1000)
    fed(store, gzip.compress(tar) + bytes(70_000), tar, [100]).finish()
    fed(store, gzip.compress(tar) + b"garbage" * 20_000, tar, [100]).finish()


def test_begun_anew(store: BlobStore) -> None:
    tar = prose(10_000)
    blob = gzip.compress(tar)
    check = fed(store, b"something else", tar, [5])
    check.restart()
    check.update(memoryview(blob))
    check.finish()


@pytest.mark.parametrize("codec", REAL)
def test_a_bomb(store: BlobStore, codec: str) -> None:
    unit = COMPRESS[codec](bytes(16 << 20))
    check = LayerCheck(LayerCache(store), Digest.of(unit), Digest.of(b""))
    settings.configure(layer_contents_limit_bytes=100 << 20, decompression_ratio_limit=1e9)
    tracemalloc.start()
    try:
        for _ in range(100):
            check.update(memoryview(unit))
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
        with pytest.raises(CodecError, match="more than the 104857600 bytes"):
            check.finish()
    finally:
        tracemalloc.stop()
        settings.configure(layer_contents_limit_bytes=None, decompression_ratio_limit=None)


def test_in_the_store_once(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    tar = prose(3_000_000)
    blob = store.add(gzip.compress(tar))
    never, stopped = threading.Event(), threading.Event()
    stopped.set()
    with LayerCache(store) as cache:
        check = LayerCheck(cache, blob, Digest.of(tar))
        check.read(store, never)
        check.read(store, stopped)
        store.delete(blob)
        check.read(store, never)
        with pytest.raises(DigestMismatchError):
            LayerCheck(cache, store.add(gzip.compress(b"x")), Digest.of(tar)).read(store, never)
