"""Binary caches that lie, break off or are gone: a clear error, and a store as it was before."""

from __future__ import annotations

import asyncio
import errno
import lzma
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from support.faulty_server import (
    FaultyServer,
    answer,
    chunked,
    content,
    endless,
    redirect,
    reset_after,
    short,
    silent,
    slow,
)
from support.nix import NixCache
from support.nix_lies import (
    COMPRESS,
    HandmadeCache,
    directory_node,
    file_node,
    files_of,
    nar_of,
    nar_of_file,
)

from nbdock.content import BlobStore, LayerCache
from nbdock.errors import (
    ArchiveError,
    ArgumentTypeError,
    BinaryCacheError,
    BlobNotFoundError,
    CodecError,
    ConnectionFailedError,
    DigestMismatchError,
    HttpStatusError,
    NbdockError,
    PackageNotFoundError,
    SignatureError,
    SizeMismatchError,
    StorageFullError,
    TransportError,
    TruncatedArchiveError,
    UnsafePathError,
)
from nbdock.oci import Digest
from nbdock.packages import Closure, realise, resolve_closure
from nbdock.packages.nix import StorePath, fixed_path, format_hash, source_path
from nbdock.packages.nix.cache import fetching
from nbdock.packages.nix.cache.binarycache import BinaryCache, CacheInfo
from nbdock.packages.nix.cache.fetching import nar_path
from nbdock.packages.nix.cache.package_set import CachePackageSet

HELLO = nar_of_file(b"hello" * 50_000)


@pytest.fixture
def home(nbdock_home: Path) -> Path:
    # As after any earlier use: the layout of the image store, and its database.
    with LayerCache(BlobStore.default()) as memory:
        memory.remember("test", "1", b"1")
    return nbdock_home


@pytest.fixture
def lies(tmp_path: Path) -> HandmadeCache:
    return HandmadeCache(tmp_path / "cache")


@pytest.fixture
async def server(lies: HandmadeCache) -> AsyncIterator[FaultyServer]:
    async with FaultyServer() as server:
        server.serve_directory(lies.directory)
        yield server


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBDOCK_RETRIES", "1")
    monkeypatch.setenv("NBDOCK_SILENCE_TIMEOUT_S", "0.5")


def opened(cache: object, lies: HandmadeCache, **options: object) -> CachePackageSet:
    return CachePackageSet(cache, trusted_keys=[lies.public_key], **options)  # type: ignore[arg-type]


async def bring(packages: CachePackageSet, *paths: StorePath) -> Closure:
    closure = await resolve_closure([packages[path] for path in paths])
    await packages.fetch(closure.packages)
    return closure


# What a good cache gives


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("how", ["http", "directory", "file", "no FileHash"])
async def test_every_compression(
    home: Path, lies: HandmadeCache, server: FaultyServer, compression: str, how: str
) -> None:
    silent_one = {"FileHash": None, "FileSize": None} if how == "no FileHash" else {}
    path = lies.add("hello-1.0", HELLO, compression=compression, **silent_one)
    place = {"directory": lies.directory, "file": f"file://{lies.directory}"}
    packages = opened(place.get(how, server.url("")), lies)
    before = files_of(home)
    closure = await bring(packages, path)
    (entry,) = closure.packages[0].entries()
    assert entry.read() == b"hello" * 50_000
    (new,) = files_of(home).keys() - before.keys()
    assert new == f"blobs/sha256/{Digest.sha256(HELLO).hex}"


async def test_a_path_is_fetched_once(
    home: Path, lies: HandmadeCache, server: FaultyServer
) -> None:
    path = lies.add("hello-1.0", HELLO, compression="xz")
    told: list[tuple[str, int, int]] = []
    packages = [opened(server.url(""), lies) for _ in range(3)]
    (package,) = await realise([packages[0][path]])
    await packages[0].fetch([package], progress=lambda *line: told.append(line))
    size = lies.nar(path).stat().st_size
    assert told[-1] == ("Fetching packages", size, size)
    first = server.paths()
    await asyncio.gather(*(bring(one, path) for one in packages))
    assert server.paths() == first  # not even the narinfo is asked for again


async def test_at_the_same_time_it_is_fetched_once(
    home: Path, lies: HandmadeCache, server: FaultyServer
) -> None:
    path = lies.add("hello-1.0", HELLO, compression="none")
    url = f"/nar/{path.hash_part}.nar"
    server.script(url, content(HELLO))
    packages = [opened(server.url(""), lies) for _ in range(5)]
    await asyncio.gather(*(bring(one, path) for one in packages))
    assert server.paths().count(url) == 1


async def test_a_closure_is_asked_for_in_parallel_and_not_too_much(
    home: Path, lies: HandmadeCache, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBDOCK_NIX_LOOKUPS", "5")
    leaves = [lies.add(f"leaf-{n}", nar_of_file(b"%d" % n)) for n in range(40)]
    middle = [lies.add(f"middle-{n}", HELLO, references=leaves[n::4]) for n in range(4)]
    # Cycles do not occur in stores, but nothing must hang on one.
    root = lies.path("root-1")
    lies.add("root-1", HELLO, references=[*middle, root])
    closure = await resolve_closure([opened(server.url(""), lies)[root]])
    assert len(closure.packages) == 45
    assert 1 < server.connections_most <= 5
    assert len(server.paths()) == len(set(server.paths())) == 46


async def test_a_reference_to_itself_is_not_one_of_the_closure(
    home: Path, lies: HandmadeCache
) -> None:
    path = lies.path("self-1")
    lies.add("self-1", HELLO, references=[path])
    closure = await bring(opened(lies.directory, lies), path)
    (package,) = closure.packages
    assert closure.references[package.key] == ()
    assert package.info.references == (path,)  # type: ignore[attr-defined]


# Lies


def wrong_nar_hash(lies: HandmadeCache) -> StorePath:
    return lies.add("liar", HELLO, compression="xz", NarHash=format_hash(Digest.sha256(b"other")))


def wrong_nar(lies: HandmadeCache) -> StorePath:
    file = lzma.compress(HELLO.replace(b"hellohello", b"hello, you"))
    return lies.add("liar", HELLO, compression="xz", file=file)


def wrong_file_hash(lies: HandmadeCache) -> StorePath:
    return lies.add("liar", HELLO, compression="xz", FileHash=format_hash(Digest.sha256(b"")))


def wrong_file_size(lies: HandmadeCache) -> StorePath:
    return lies.add("liar", HELLO, compression="xz", FileSize=17)


def too_large(lies: HandmadeCache) -> StorePath:
    return lies.add("liar", HELLO, compression="xz", NarSize=len(HELLO) - 8)


def too_small(lies: HandmadeCache) -> StorePath:
    return lies.add("liar", HELLO, compression="xz", NarSize=len(HELLO) + 8)


def bomb(lies: HandmadeCache) -> StorePath:
    file = lzma.compress(nar_of_file(bytes(8 << 20)), preset=0)
    return lies.add("liar", HELLO, compression="xz", file=file)


def truncated_xz(lies: HandmadeCache) -> StorePath:
    return lies.add("liar", HELLO, compression="xz", file=lzma.compress(HELLO)[:-30])


def truncated_nar(lies: HandmadeCache) -> StorePath:
    return lies.add("liar", HELLO[:-16], compression="xz")


def other_codec(lies: HandmadeCache) -> StorePath:
    return lies.add("liar", HELLO, compression="zstd", file=lzma.compress(HELLO))


def unknown_codec(lies: HandmadeCache) -> StorePath:
    return lies.add("liar", HELLO, Compression="br\x1b[2J", FileHash=None, FileSize=None)


def no_nar(lies: HandmadeCache) -> StorePath:
    path = lies.add("liar", HELLO)
    lies.nar(path).unlink()
    return path


def escapes(lies: HandmadeCache) -> StorePath:
    return lies.add("liar", nar_of(directory_node([(b"..", file_node(b"x"))])))


def escapes_with_slash(lies: HandmadeCache) -> StorePath:
    return lies.add(
        "liar", nar_of(directory_node([(b"a/../../x", file_node(b"x"))])), compression="xz"
    )


def absolute(lies: HandmadeCache) -> StorePath:
    return lies.add("liar", nar_of(directory_node([(b"/etc/passwd", file_node(b"x"))])))


def unsorted(lies: HandmadeCache) -> StorePath:
    return lies.add(
        "liar", nar_of(directory_node([(b"b", file_node(b"")), (b"a", file_node(b""))]))
    )


def no_archive(lies: HandmadeCache) -> StorePath:
    return lies.add("liar", b"#!/bin/sh\necho This is no NAR.\n")


def something_after_the_end(lies: HandmadeCache) -> StorePath:
    return lies.add("liar", HELLO + bytes(8))


def unsigned(lies: HandmadeCache) -> StorePath:
    return lies.add("liar", HELLO, sign=False)


def wrongly_signed(lies: HandmadeCache) -> StorePath:
    return lies.add("liar", HELLO, Sig=lies.signature(
        {"StorePath": "/nix/store/x", "NarHash": "sha256:0", "NarSize": 1}, []))  # fmt: skip


def for_another_path(lies: HandmadeCache) -> StorePath:
    good, path = lies.add("good", HELLO), lies.path("liar")
    shutil.copy(lies.narinfo(good), lies.narinfo(path))
    return path


def huge_narinfo(lies: HandmadeCache) -> StorePath:
    path = lies.add("liar", HELLO)
    with lies.narinfo(path).open("a") as file:
        file.write("Sig: " + "A" * (2 << 20) + "\n")
    return path


def web_page(lies: HandmadeCache) -> StorePath:
    path = lies.path("liar")
    lies.narinfo(path).write_text("<!doctype html><title>Please log in</title>\n")
    return path


def missing_reference(lies: HandmadeCache) -> StorePath:
    return lies.add("liar", HELLO, references=[lies.path("gone-1.0")])


def unknown_path(lies: HandmadeCache) -> StorePath:
    return lies.path("liar")


LIES: dict[Callable[[HandmadeCache], StorePath], tuple[type[NbdockError], str]] = {
    wrong_nar_hash: (DigestMismatchError, "has the hash sha256:.*, not sha256:.* as announced"),
    wrong_nar: (DigestMismatchError, "has the hash"),
    wrong_file_hash: (DigestMismatchError, "not e3b0c442.* as announced"),
    wrong_file_size: (SizeMismatchError, "not 17 as announced"),
    too_large: (CodecError, "more than the .* bytes expected"),
    too_small: (SizeMismatchError, "bytes"),
    bomb: (CodecError, "more than the .* bytes expected"),
    truncated_xz: (TruncatedArchiveError, "ends"),
    truncated_nar: (TruncatedArchiveError, "ends"),
    other_codec: (CodecError, "zstd"),
    unknown_codec: (BinaryCacheError, "describes .* wrongly|compressed with"),
    no_nar: (PackageNotFoundError, "does not have its NAR"),
    escapes: (UnsafePathError, "not the name of a file"),
    escapes_with_slash: (UnsafePathError, "not the name of a file"),
    absolute: (UnsafePathError, "not the name of a file"),
    unsorted: (ArchiveError, "must be sorted"),
    no_archive: (ArchiveError, "NAR"),
    something_after_the_end: (ArchiveError, "after"),
    unsigned: (SignatureError, "it is not signed"),
    wrongly_signed: (SignatureError, "not what the key liar-1 signed"),
    for_another_path: (BinaryCacheError, "it is about '/nix/store/.*-good'"),
    huge_narinfo: (TransportError, "longer than 1,048,576 bytes"),
    web_page: (BinaryCacheError, "which is no field"),
    missing_reference: (PackageNotFoundError, "gone-1.0.*, which /nix/store/.*-liar needs"),
    unknown_path: (PackageNotFoundError, "No binary cache has"),
}


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
@pytest.mark.parametrize("how", ["http", "directory"])
async def test_lies_leave_nothing(
    home: Path,
    lies: HandmadeCache,
    server: FaultyServer,
    impatient: None,
    how: str,
    lie: Callable[[HandmadeCache], StorePath],
) -> None:
    path = lie(lies)
    # What does not matter for a directory: there the NAR itself is looked at.
    harmless = how == "directory" and lie in (wrong_file_hash, wrong_file_size)
    expected, words = LIES[lie]
    if how == "directory" and lie is huge_narinfo:
        expected = BinaryCacheError
    packages = opened(server.url("") if how == "http" else lies.directory, lies)
    before = files_of(home)
    if harmless:
        await bring(packages, path)
        return
    for _ in range(2):  # what was refused once is refused again
        with pytest.raises(expected, match=words) as caught:
            await bring(packages, path)
        assert files_of(home) == before
        assert "-liar" in str(caught.value) or path.hash_part in str(caught.value)
        assert "\x1b" not in str(caught.value)
    # A cache that has become honest in the meantime is believed.
    lies.add("liar", HELLO, compression="xz")
    lies.add("gone-1.0", HELLO)
    closure = await bring(opened(server.url("") if how == "http" else lies.directory, lies), path)
    assert closure[closure.roots[0]].size_bytes == len(HELLO)


async def test_a_lie_among_others_leaves_the_others(home: Path, lies: HandmadeCache) -> None:
    good = [lies.add(f"good-{n}", nar_of_file(b"%d" % n)) for n in range(5)]
    bad = wrong_nar(lies)
    packages = opened(lies.directory, lies)
    every = await realise([packages[path] for path in (*good, bad)])
    with pytest.raises(DigestMismatchError):
        await packages.fetch(every)
    assert nar_path(every[-1].info) is None  # type: ignore[attr-defined]
    with pytest.raises(BlobNotFoundError, match="is not here"):
        every[-1].entries()
    assert not [name for name in files_of(home) if name.startswith(("tmp/", "downloads/"))]


async def test_too_large_for_the_setting(
    home: Path, lies: HandmadeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = lies.add("large", HELLO)
    monkeypatch.setenv("NBDOCK_NIX_NAR_LIMIT_BYTES", "1000")
    with pytest.raises(BinaryCacheError, match="more than 1,000") as caught:
        await bring(opened(lies.directory, lies), path)
    assert "nix_nar_limit_bytes" in str(caught.value)


async def test_a_closure_without_an_end(
    home: Path, lies: HandmadeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBDOCK_NIX_CLOSURE_LIMIT", "3")
    chain = [lies.add("link-0", HELLO)]
    for n in range(1, 5):
        chain.append(lies.add(f"link-{n}", HELLO, references=chain[-1:]))
    with pytest.raises(BinaryCacheError, match="more than 3 store paths"):
        await bring(opened(lies.directory, lies), chain[-1])
    assert len((await bring(opened(lies.directory, lies), chain[2])).packages) == 3


async def test_content_that_vouches_for_itself(home: Path, lies: HandmadeCache) -> None:
    digest = Digest.sha256(HELLO)
    path = source_path("source", digest)
    lies.add(path, HELLO, sign=False, CA=f"fixed:r:{format_hash(digest)}")
    await bring(opened(lies.directory, lies), path)


async def test_forged_content_that_claims_to_vouch_for_itself(
    home: Path, lies: HandmadeCache
) -> None:
    """The path is right for the CA field; the NAR is another one, with its own hash and size."""
    digest = Digest.sha256(b"what was meant")
    path = fixed_path("source", digest)
    lies.add(path, nar_of_file(b"evil"), sign=False, CA=f"fixed:{format_hash(digest)}")
    before = files_of(home)
    with pytest.raises(DigestMismatchError, match="is named after content"):
        await bring(opened(lies.directory, lies), path)
    assert files_of(home) == before
    lies.add(path, nar_of_file(b"what was meant"), sign=False, CA=f"fixed:{format_hash(digest)}")
    await bring(opened(lies.directory, lies), path)


@pytest.mark.parametrize("together", [True, False])
async def test_content_of_one_path_does_not_vouch_for_another(
    home: Path, lies: HandmadeCache, together: bool
) -> None:
    """The NAR is here, or comes, for a path that it is right for: so only its hash is known."""
    evil = nar_of_file(b"evil")
    digest, meant = Digest.sha256(evil), Digest.sha256(b"what was meant")
    right, wrong = source_path("right", digest), fixed_path("wrong", meant)
    lies.add(right, evil, sign=False, CA=f"fixed:r:{format_hash(digest)}")
    lies.add(wrong, evil, sign=False, CA=f"fixed:{format_hash(meant)}")
    packages = opened(lies.directory, lies)
    if not together:
        await bring(packages, right)
    for _ in range(2):
        with pytest.raises(DigestMismatchError, match="-wrong is named after content"):
            await bring(packages, *([right] if together else []), wrong)
    await bring(packages, right)
    # What was checked once is not read again.
    lies.add(wrong, nar_of_file(b"what was meant"), sign=False, CA=f"fixed:{format_hash(meant)}")
    packages = opened(lies.directory, lies)
    closure = await bring(packages, wrong)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetching, "check_content", None)
        await packages.fetch(closure.packages)


# Connections


async def test_a_transfer_that_breaks_off_is_taken_up(
    home: Path, lies: HandmadeCache, server: FaultyServer
) -> None:
    path = lies.add("hello-1.0", HELLO, compression="none")
    url = f"/nar/{path.hash_part}.nar"
    server.script(
        url, answer(503), reset_after(HELLO, 100_000, etag='"1"'), content(HELLO, etag='"1"')
    )
    await bring(opened(server.url(""), lies), path)
    assert server.requests[-1].headers["range"] == "bytes=100000-"


async def test_a_later_process_takes_it_up(
    home: Path, lies: HandmadeCache, server: FaultyServer, impatient: None
) -> None:
    path = lies.add("hello-1.0", HELLO, compression="none")
    url = f"/nar/{path.hash_part}.nar"
    server.script(url, short(HELLO, 100_000))
    packages = opened(server.url(""), lies)
    with pytest.raises(ConnectionFailedError):
        await bring(packages, path)
    (part,) = [name for name in files_of(home) if name.startswith("downloads/")]
    assert part.endswith(".part")
    server.script(url, content(HELLO))
    await bring(packages, path)
    assert server.requests[-1].headers["range"].startswith("bytes=")
    assert not [name for name in files_of(home) if name.startswith("downloads/")]


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (answer(500), HttpStatusError),
        (answer(503), HttpStatusError),
        (answer(401), HttpStatusError),
        (silent(), ConnectionFailedError),
        (silent(b"x", announced=5), ConnectionFailedError),
        (short(b"StorePath: /nix", 5), ConnectionFailedError),
        (endless(), TransportError),
        (redirect("ftp://example.org/"), TransportError),
    ],
    ids=["500", "503", "401", "silent", "silent in it", "short", "endless", "redirect"],
)
@pytest.mark.parametrize("what", ["narinfo", "nar", "nix-cache-info"])
async def test_servers_that_break(
    home: Path, lies: HandmadeCache, server: FaultyServer, impatient: None,
    what: str, behaviour: object, error: type[NbdockError],
) -> None:  # fmt: skip
    path = lies.add("hello-1.0", HELLO, compression="xz")
    url = {"narinfo": f"/{path.hash_part}.narinfo", "nar": f"/nar/{path.hash_part}.nar"}
    before = files_of(home)
    server.script(url.get(what, f"/{what}"), behaviour)  # type: ignore[arg-type]
    expected = (error, SizeMismatchError) if what == "nar" else error
    with pytest.raises(expected):  # type: ignore[arg-type]
        await bring(opened(server.url(""), lies), path)
    after = files_of(home)
    assert {n: s for n, s in after.items() if not n.endswith(".part")} == before


async def test_a_body_without_an_end_or_a_size(
    home: Path, lies: HandmadeCache, server: FaultyServer
) -> None:
    path = lies.add("hello-1.0", HELLO, compression="xz", FileHash=None, FileSize=None)
    server.script(f"/nar/{path.hash_part}.nar", endless())
    before = files_of(home)
    with pytest.raises(SizeMismatchError, match="The compressed NAR has more than"):
        await bring(opened(server.url(""), lies), path)
    assert files_of(home) == before


async def test_slow_and_chunked(home: Path, lies: HandmadeCache, server: FaultyServer) -> None:
    small = nar_of_file(b"small")
    path = lies.add("slow-1", small)
    other = lies.add("chunked-1", HELLO, compression="xz")
    server.script(f"/{path.hash_part}.narinfo", slow(lies.narinfo(path).read_bytes()))
    server.script(f"/nar/{path.hash_part}.nar", slow(small))
    server.script(f"/{other.hash_part}.narinfo", chunked(lies.narinfo(other).read_bytes(), piece=7))
    server.script(f"/nar/{other.hash_part}.nar", chunked(lies.nar(other).read_bytes(), piece=99))
    assert len((await bring(opened(server.url(""), lies), path, other)).packages) == 2


async def test_nobody_there(home: Path, lies: HandmadeCache, impatient: None) -> None:
    with pytest.raises(ConnectionFailedError):
        await bring(opened("http://127.0.0.1:1", lies), lies.path("x"))


async def test_logins(
    home: Path, lies: HandmadeCache, server: FaultyServer, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path = lies.add("hello-1.0", HELLO)
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    await bring(opened(server.url(""), lies), path)
    assert {request.headers["authorization"] for request in server.requests} == {
        "Basic bWU6c2VjcmV0"
    }
    netrc.write_text("machine")
    server.requests.clear()
    other = lies.add("hello-2.0", HELLO)
    url = server.url("").replace("://", "://you:pass@")
    packages = opened(url, lies)
    assert "pass" not in repr(packages)
    await bring(packages, other)
    assert {request.headers["authorization"] for request in server.requests} == {
        "Basic eW91OnBhc3M="
    }


async def test_cancelling_leaves_nothing(
    home: Path, lies: HandmadeCache, server: FaultyServer
) -> None:
    path = lies.add("hello-1.0", HELLO, compression="none", FileHash=None, FileSize=None)
    before = files_of(home)
    half = len(HELLO) // 2
    server.script(f"/nar/{path.hash_part}.nar", silent(HELLO[:half], announced=len(HELLO)))
    arrived = asyncio.Event()

    def told(what: str, done: int, total: int) -> None:
        if what == "Fetching packages" and done:
            arrived.set()

    packages = opened(server.url(""), lies)
    found = await realise([packages[path]])
    task = asyncio.create_task(packages.fetch(found, progress=told))
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    kept = {n: s for n, s in files_of(home).items() if not n.endswith(".part")}
    assert kept == before


async def test_a_full_disk(
    home: Path, lies: HandmadeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = lies.add("hello-1.0", HELLO, compression="xz")
    packages = opened(lies.directory, lies)
    found = await realise([packages[path]])
    before = files_of(home)
    write = os.write

    def full(fd: int, data: object) -> int:
        if "/tmp/writing-" in os.readlink(f"/proc/self/fd/{fd}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StorageFullError):
        await packages.fetch(found)
    monkeypatch.undo()
    assert files_of(home) == before


# Several caches


async def test_the_best_cache_is_asked_first(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = HandmadeCache(tmp_path / "good", priority=10)
    other = HandmadeCache(tmp_path / "other", priority=50)
    both = good.add("both-1", nar_of_file(b"good"))
    other.add("both-1", nar_of_file(b"other"))
    alone = other.add("alone-1", nar_of_file(b"alone"), references=[both])
    keys = {"trusted_keys": f"{good.public_key} {other.public_key}"}
    packages = CachePackageSet([other.directory, good.directory], **keys)  # type: ignore[arg-type]
    closure = await bring(packages, alone)
    content = {p.name: next(p.entries()).read() for p in closure.packages}
    assert content == {"alone": b"alone", "both": b"good"}
    # What the caller says wins over what the cache says.
    packages = CachePackageSet(
        [f"file://{good.directory}?priority=90", other.directory], **keys  # type: ignore[arg-type]
    )  # fmt: skip
    closure = await bring(packages, both)
    assert next(closure.packages[0].entries()).read() == b"other"


async def test_where_one_lies_the_next_is_asked(home: Path, tmp_path: Path) -> None:
    liar = HandmadeCache(tmp_path / "liar", key_name="liar-1", priority=1)
    honest = HandmadeCache(tmp_path / "honest", key_name="honest-1", priority=2)
    path = liar.add("hello-1.0", nar_of_file(b"evil"))
    honest.add("hello-1.0", nar_of_file(b"good"))
    alone = liar.add("alone-1", nar_of_file(b"evil"))
    packages = CachePackageSet([liar.directory, honest.directory], trusted_keys=[honest.public_key])
    closure = await bring(packages, path)
    assert next(closure.packages[0].entries()).read() == b"good"
    with pytest.raises(SignatureError, match="signed by liar-1 only"):
        await bring(packages, alone)


async def test_where_one_is_gone_the_next_is_asked(
    home: Path, lies: HandmadeCache, impatient: None, caplog: pytest.LogCaptureFixture
) -> None:
    path = lies.add("hello-1.0", HELLO)
    packages = opened(["http://127.0.0.1:1", lies.directory], lies)
    await bring(packages, path)
    assert "http://127.0.0.1:1 is not asked" in caplog.text
    # But what only the other could have is not said to be nowhere.
    with pytest.raises(ConnectionFailedError):
        await bring(packages, lies.path("other-1"))


async def test_a_cache_that_is_back_is_asked_again(
    home: Path, lies: HandmadeCache, server: FaultyServer, tmp_path: Path, impatient: None
) -> None:
    other = HandmadeCache(tmp_path / "other", priority=90)
    here, there = other.add("here-1", HELLO), lies.add("there-1", HELLO)
    packages = CachePackageSet(
        [server.url(""), other.directory], trusted_keys=[lies.public_key, other.public_key]
    )
    server.script("/nix-cache-info", answer(500), answer(500), content(b"StoreDir: /nix/store\n"))
    await bring(packages, here)
    with pytest.raises(PackageNotFoundError):
        await bring(packages, lies.path("nowhere-1"))
    await bring(packages, there)


async def test_a_cache_of_another_store(home: Path, tmp_path: Path) -> None:
    other = HandmadeCache(tmp_path / "gnu", store_dir="/gnu/store")
    with pytest.raises(BinaryCacheError, match="is for the store /gnu/store"):
        await bring(opened(other.directory, other), StorePath("0" * 32, "x"))
    path = other.add("hello-1.0", HELLO)
    await bring(opened(other.directory, other, store_dir="/gnu/store"), path)


@pytest.mark.parametrize(
    "text", ["", "<!doctype html>", "StoreDir: x", "StoreDir: /a\nPriority: x"]
)
async def test_what_is_no_cache(home: Path, lies: HandmadeCache, text: str) -> None:
    (lies.directory / "nix-cache-info").write_text(text)
    with pytest.raises(BinaryCacheError, match="is no binary cache"):
        await bring(opened(lies.directory, lies), lies.path("x"))


async def test_a_directory_that_is_no_cache(
    home: Path, lies: HandmadeCache, tmp_path: Path
) -> None:
    with pytest.raises(BinaryCacheError, match="has no nix-cache-info"):
        await bring(opened(tmp_path / "nothing", lies), lies.path("x"))


def test_cache_info() -> None:
    text = b"StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\nOther: x\n"
    assert CacheInfo.parse(text, cache="x") == CacheInfo("/nix/store", 40)
    assert CacheInfo.parse(b"StoreDir: /a/", cache="x") == CacheInfo("/a", 50)


@pytest.mark.parametrize(
    "text", ["", " ", "s3://bucket", "ssh://host", "https://", "file://host/x"]
)
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(ArgumentTypeError):
        BinaryCache.parse(text)


# What is remembered


async def test_memory_is_not_trust(home: Path, lies: HandmadeCache, server: FaultyServer) -> None:
    path = lies.add("hello-1.0", HELLO)
    await bring(opened(server.url(""), lies), path)
    stranger = CachePackageSet(server.url(""), trusted_keys=["other-1:" + "A" * 43 + "="])
    with pytest.raises(SignatureError, match="signed by liar-1 only"):
        await bring(stranger, path)
    # Once the cache has the signature that is wanted, that it had none is not held against it.
    newer = HandmadeCache(lies.directory.parent / "newer", key_name="other-2")
    newer.add("hello-1.0", HELLO)
    shutil.copy(newer.narinfo(path), lies.narinfo(path))
    await bring(CachePackageSet(server.url(""), trusted_keys=[newer.public_key]), path)


async def test_without_a_cache_what_is_known_is_enough(
    home: Path, lies: HandmadeCache, impatient: None
) -> None:
    leaf = lies.add("leaf-1", nar_of_file(b"leaf"))
    path = lies.add("hello-1.0", HELLO, references=[leaf])
    async with FaultyServer() as server:
        server.serve_directory(lies.directory)
        url = server.url("")
        await bring(opened(url, lies), path)
    assert len((await bring(opened(url, lies), path)).packages) == 2


async def test_a_home_that_cannot_be_written(
    home: Path, lies: HandmadeCache, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Looking up needs no place to remember in."""
    path = lies.add("hello-1.0", HELLO)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NBDOCK_HOME", str(tmp_path / "file"))
    (found,) = await realise([opened(lies.directory, lies)[path]])
    assert found.size_bytes == len(HELLO)


# The real thing


async def test_faults_in_what_nix_wrote(home: Path, nix_cache: NixCache, tmp_path: Path) -> None:
    directory = tmp_path / "copy"
    shutil.copytree(nix_cache.directory, directory)
    packages = CachePackageSet(directory, trusted_keys=[nix_cache.public_key])
    hello = next(path for path in nix_cache.store_paths if path.endswith("-hello-2.10"))
    (found,) = await realise([packages[hello]])
    narinfo = found.located.narinfo  # type: ignore[attr-defined]
    nar = directory / narinfo.url
    whole = nar.read_bytes()
    before = files_of(home)
    for at in (0, 20, len(whole) // 2, len(whole) - 5):
        nar.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        with pytest.raises((ArchiveError, DigestMismatchError)):
            await packages.fetch([found])
        nar.write_bytes(whole[:at])
        with pytest.raises(ArchiveError):
            await packages.fetch([found])
        assert files_of(home) == before
    text = (directory / f"{found.info.path.hash_part}.narinfo").read_text()  # type: ignore[attr-defined]
    for fact in ("NarHash: sha256:", "NarSize: ", "References: "):
        line = next(line for line in text.splitlines() if line.startswith(fact))
        changed = line[:-1] + ("1" if line[-1] != "1" else "2")
        (directory / f"{found.info.path.hash_part}.narinfo").write_text(  # type: ignore[attr-defined]
            text.replace(line, changed)
        )
        liar = CachePackageSet(directory, trusted_keys=[nix_cache.public_key])
        with pytest.raises((SignatureError, BinaryCacheError)):
            await realise([liar[hello]])
    assert files_of(home) == before
