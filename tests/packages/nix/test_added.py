"""Files of this machine as store packages: at Nix's paths, read once, never with other content."""

from __future__ import annotations

import asyncio
import io
import os
import random
import socket
import stat
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import trees
from support.nix import Nix

import nbdock
from nbdock.content import BlobStore
from nbdock.errors import ArchiveError, ArgumentTypeError, PackageError, PackageNotFoundError
from nbdock.filetree import Entry, EntryKind
from nbdock.nixlang import read_arguments
from nbdock.oci import Digest
from nbdock.packages import (
    Package,
    StorePackage,
    directory,
    realise,
    resolve_closure,
    script,
    store_path,
    text_file,
)
from nbdock.packages.nix import content_addressed_path, nar_hash, write_nar
from nbdock.packages.nix.added import AddedPackage

pytestmark = pytest.mark.usefixtures("nbdock_home")


@pytest.fixture
def app(tmp_path: Path) -> Path:
    root = tmp_path / "app-1.0"
    (root / "bin").mkdir(parents=True)
    (root / "bin/run").write_text("#!/bin/sh\n")
    (root / "bin/run").chmod(0o755)
    (root / "text").write_text("text")
    (root / "link").symlink_to("text")
    return root


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The files whose content was read since, at their full paths."""
    from nbdock.packages.nix import hosttree

    found: list[bytes] = []
    original = hosttree._SteadyContent.chunks

    def chunks(self: hosttree._SteadyContent) -> Iterator[memoryview]:
        found.append(self.path)
        return original(self)

    monkeypatch.setattr(hosttree._SteadyContent, "chunks", chunks)
    return found


def nar_of(package: Package) -> bytes:
    out = io.BytesIO()
    write_nar(package.entries(), out.write)
    return out.getvalue()


def test_what_it_is(app: Path) -> None:
    package = store_path(app)
    assert isinstance(package, StorePackage)
    assert (package.name, package.version) == ("app", "1.0")
    assert str(package) == package.root == str(package.store_path)
    assert str(package).startswith("/nix/store/")
    assert str(package).endswith("-app-1.0")
    nar = nar_of(package)
    info = package.info
    assert (info.nar_hash, info.nar_size_bytes) == (Digest.sha256(nar), len(nar))
    assert package.size_bytes == len(nar)
    assert package.key == f"nix:{package}:{info.nar_hash}"
    assert content_addressed_path("app-1.0", info.content_address) == info.path
    assert info.references == ()
    found = {e.path: (e.kind, e.mode, e.uid, e.gid, e.mtime) for e in package.entries()}
    assert found == {
        b"": (EntryKind.DIRECTORY, 0o555, 0, 0, 1),
        b"bin": (EntryKind.DIRECTORY, 0o555, 0, 0, 1),
        b"bin/run": (EntryKind.FILE, 0o555, 0, 0, 1),
        b"link": (EntryKind.SYMLINK, 0o777, 0, 0, 1),
        b"text": (EntryKind.FILE, 0o444, 0, 0, 1),
    }


def test_the_path_is_that_of_nix_store_add(nix: Nix, tmp_path: Path) -> None:
    rng = random.Random(7)
    added = []
    for seed in range(2000, 2100):
        place = tmp_path / f"{seed}{trees.random_name(rng)}"[:150]
        trees.write_random(place, seed)
        added.append(place)
    told = nix.run("nix-store", "--add", *added).split()
    assert [str(store_path(place)) for place in added] == told
    for place, path in zip(added, told, strict=True):
        if stat.S_ISDIR(place.lstat().st_mode):
            assert str(directory(place, store=True)) == path
    renamed = store_path(added[0], name="other")
    assert str(renamed).endswith("-other")
    assert str(renamed) != told[0]


def test_a_directory_in_the_store_is_followed_and_named_as_it_was_called(app: Path) -> None:
    link = app.parent / "current"
    link.symlink_to(app.name)
    assert str(directory(link, store=True, name="app-1.0")) == str(store_path(app))
    assert directory(link, store=True).name == "current"
    kinds = [e.kind for e in store_path(link).entries()]
    assert kinds == [EntryKind.SYMLINK]
    with pytest.raises(ArgumentTypeError, match="not a directory"):
        directory(app / "text", store=True)


def test_what_is_ignored_is_not_hashed(app: Path) -> None:
    plain = str(store_path(app))
    (app / ".git").mkdir()
    (app / ".git/config").write_text("x")
    (app / "bin/cache.pyc").write_text("x")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(app / ".git/socket"))
    ignore = [".git", "*.pyc"]
    assert str(store_path(app, ignore=ignore)) == plain
    assert str(directory(app, ignore=ignore, store=True)) == plain
    with pytest.raises(ArchiveError, match=r"socket.*no store can hold") as caught:
        str(store_path(app))
    assert "ignore=['socket']" in str(caught.value)
    os.mkfifo(app / "pipe")
    with pytest.raises(ArchiveError, match=r"pipe.*fifo"):
        str(store_path(app, ignore=ignore))


def test_content_is_read_once(app: Path, reads: list[bytes]) -> None:
    first = str(store_path(app))
    assert len(reads) == 2
    reads.clear()
    again = store_path(app)
    assert str(again) == str(again.current()) == first
    assert not reads
    # Another name, and the same place under another one.
    assert str(store_path(app, name="x")) != first
    assert not reads
    list(again.entries())
    assert not reads
    (app / "text").write_text("TEXT")
    assert str(store_path(app)) != first
    assert len(reads) == 2
    (app / "text").write_text("text")
    assert str(store_path(app)) == first


def test_what_is_ignored_does_not_make_it_be_read_again(app: Path, reads: list[bytes]) -> None:
    (app / "log").write_text("")
    first = str(store_path(app, ignore=["log", "*.tmp"]))
    reads.clear()
    (app / "log").write_text("more")
    (app / "bin/a.tmp").write_text("")
    assert str(store_path(app, ignore=["log", "*.tmp"])) == first
    assert not reads


def test_a_file_written_again_at_once_is_not_taken_for_known(app: Path) -> None:
    seen = set()
    for number in range(30):
        (app / "text").write_text(f"{number:04}")
        seen.add(str(store_path(app)))
    assert len(seen) == 30


def test_content_that_changes_after_it_was_hashed_is_an_error(app: Path) -> None:
    package = store_path(app)
    first = str(package)
    # Touched, or written anew: still the same.
    os.utime(app / "text", (5, 5))
    (app / "text").write_text("text")
    assert Digest.sha256(nar_of(package)) == package.info.nar_hash  # type: ignore[attr-defined]
    (app / "text").write_text("TEXT")
    with pytest.raises(ArchiveError, match="has changed since it was given the path") as caught:
        list(package.entries())
    assert first in str(caught.value)
    assert str(package) == first
    assert str(package.current()) != first


@pytest.mark.parametrize(
    "change",
    [
        lambda app: (app / "text").write_text("TEXT"),
        lambda app: (app / "text").write_text("longer than it was"),
        lambda app: (app / "text").write_text(""),
        lambda app: (app / "text").unlink(),
        lambda app: ((app / "text").unlink(), (app / "text").symlink_to("/etc/passwd")),
        lambda app: ((app / "link").unlink(), (app / "link").symlink_to("/etc/passwd")),
        lambda app: (app / "link").unlink(),
    ],
)
def test_content_that_changes_while_it_is_read_is_an_error(
    app: Path, change: Callable[[Path], object]
) -> None:
    package = store_path(app)
    str(package)
    entries: list[Entry] = []
    with pytest.raises(ArchiveError):
        for entry in package.entries():
            entries.append(entry)
            if entry.path == b"bin/run":
                change(app)
        for entry in entries:
            if entry.content is not None:
                entry.read()


async def test_a_build_hashes_in_a_worker_thread(
    app: Path, reads: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = set()
    from nbdock.packages.nix import added

    original = added.write_nar

    def watched(entries: Iterator[Entry], sink: Callable[[bytes | memoryview], object]) -> int:
        threads.add(threading.current_thread())
        return original(entries, sink)

    monkeypatch.setattr(added, "write_nar", watched)
    told: list[tuple[str, int, int]] = []
    others = [store_path(app / "text"), text_file("etc/motd", "hi"), store_path(app)]
    packages = [store_path(app), *others]
    found = await realise(packages, progress=lambda *args: told.append(args))
    assert found == tuple(packages)
    assert len(threads) >= 1
    assert threading.current_thread() not in threads
    # The same tree twice is read once.
    assert sorted(reads) == sorted(os.fsencode(app / p) for p in ("bin/run", "text", "text"))
    assert told[-1][0] == "Hashing files"
    closure = await resolve_closure(packages)
    assert len(closure) == 3
    assert closure.references[packages[0].key] == ()
    reads.clear()
    assert [p.key for p in await realise([p.current() for p in packages])] == [
        p.key for p in packages
    ]
    assert not reads


async def test_a_cancelled_build_stops_hashing(tmp_path: Path) -> None:
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(64 << 30)
    package = store_path(big)
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(
        realise([package], progress=lambda *_: loop.call_soon_threadsafe(begun.set))
    )
    await asyncio.wait_for(begun.wait(), 240)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 240)
    assert isinstance(package, AddedPackage)
    assert not package.is_hashed


def test_it_works_without_a_place_to_remember(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = str(store_path(app))
    monkeypatch.setenv("NBDOCK_HOME", "/proc/no-such-place")
    assert str(store_path(app)) == expected


def test_a_damaged_memory_is_not_believed(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nbdock.content import LayerCache

    expected = str(store_path(app))
    for lie in (b"", b"abc 1", b"0" * 64, b"0" * 64 + b" x", b"\xff"):
        monkeypatch.setattr(
            LayerCache, "recall_many", lambda self, kind, keys, lie=lie: dict.fromkeys(keys, lie)
        )
        assert str(store_path(app)) == expected


@pytest.mark.parametrize(
    ("call", "argument", "said"),
    [
        (lambda app: store_path(app / "nowhere"), "path", "No such file"),
        (lambda app: store_path("a\0b"), "path", "NUL"),
        (lambda app: store_path(5), "path", "by its path"),
        (lambda app: store_path(app, name="a b"), "name", 'name="a-b"'),
        (lambda app: store_path(app, name=""), "name", 'name="source"'),
        (lambda app: store_path(app, name=5), "name", "cannot be the name"),
        (lambda app: store_path("/"), "name", "cannot be the name"),
        (lambda app: store_path(app, ignore=".git"), "ignore", "list of patterns"),
        (lambda app: directory(app, store=True, root="/srv"), "root", "cannot be chosen"),
        (lambda app: directory(app, store=True, owner="keep"), "owner", "cannot be chosen"),
        (lambda app: directory(app, store=True, uid=0), "uid", "cannot be chosen"),
        (lambda app: directory(app, store=True, gid=5), "gid", "cannot be chosen"),
        (lambda app: directory(app, store=True, modes="keep"), "modes", "cannot be chosen"),
        (lambda app: directory(app, store=True, mtime="keep"), "mtime", "cannot be chosen"),
        (lambda app: script("a", "", needs="bash"), "needs", "list of packages"),
    ],
)
def test_errors_name_the_argument(
    app: Path, call: Callable[[Path], object], argument: str, said: str
) -> None:
    with pytest.raises(ArgumentTypeError) as caught:
        call(app)
    assert caught.value.argument == argument
    assert said in str(caught.value)


def test_the_name_of_a_file_that_no_store_path_has_is_advised_against(tmp_path: Path) -> None:
    place = tmp_path / "my notes (é).txt"
    place.write_text("x")
    with pytest.raises(ArgumentTypeError, match=r'name="my-notes-\.txt"'):
        store_path(place)
    assert str(store_path(place, name="my-notes-.txt")).endswith("-my-notes-.txt")


async def test_a_store_path_is_that_package_with_all_it_needs(
    local_nix: Nix, monkeypatch: pytest.MonkeyPatch
) -> None:
    hello = local_nix.build("hello")
    for path in (hello, f"{hello}/", Path(hello)):
        package = store_path(path)
        assert isinstance(package, StorePackage)
        assert str(package) == hello
    closure = await resolve_closure([store_path(hello)])
    assert sorted(map(str, closure.packages)) == local_nix.closure(hello)
    # Nix without a nixpkgs has its store all the same.
    monkeypatch.setenv("NIX_PATH", "")
    assert str(store_path(hello)) == hello


async def test_a_store_path_that_nobody_has(local_nix: Nix) -> None:
    nowhere = f"/nix/store/{'0' * 32}-nowhere-1.0"
    with pytest.raises(PackageError, match="nowhere-1"):
        await realise([store_path(nowhere)])


def test_there_are_no_added_packages_by_name(app: Path) -> None:
    package_set = store_path(app).package_set
    assert package_set is not None
    assert dir(package_set) == []
    with pytest.raises(PackageNotFoundError, match="store_path"):
        package_set["app"]


def in_cell(cell: str, **names: object) -> Package:
    def curried(function: Callable[..., Package]) -> Callable[[str], object]:
        return lambda first: lambda second: function(first, second)

    names |= {"script": curried(script), "textFile": curried(text_file)}
    package = read_arguments(f"it = {cell};", names).arguments["it"]
    assert isinstance(package, Package)
    return package


async def test_what_a_cell_puts_into_a_text_gets_into_the_image(app: Path) -> None:
    added = store_path(app)
    tool = script("tool", "echo tool")
    package = in_cell('script "start" "exec ${app}/bin/run ${tool}/bin/tool"', app=added, tool=tool)
    assert package.needs == (added, tool)
    *_, program = package.entries()
    assert program.read().decode() == f"#!/bin/sh\nexec {added}/bin/run /bin/tool"
    closure = await resolve_closure([package])
    assert set(closure.packages) == {package, added, tool}
    assert closure.references[package.key] == tuple(sorted([added.key, tool.key]))
    motd = in_cell('textFile "etc/motd" ("see " + app + " and ${app}")', app=added)
    assert motd.needs == (added,)
    # An f-string forgets, and the two must not be taken for one package.
    forgetful = script("start", f"exec {added}/bin/run {tool}/bin/tool")
    assert forgetful.needs == ()
    assert forgetful.key != package.key
    assert len(await resolve_closure([forgetful, package])) == 4
    named = script("start", f"exec {added}/bin/run", interpreter="/bin/sh", needs=[added, added])
    assert named.needs == (added,)


def test_texts_in_the_store(app: Path, nix: Nix, tmp_path: Path) -> None:
    package = script("hello", "echo hi\n", store=True)
    assert isinstance(package, StorePackage)
    (tmp_path / "hello/bin").mkdir(parents=True)
    (tmp_path / "hello/bin/hello").write_text("#!/bin/sh\necho hi\n")
    (tmp_path / "hello/bin/hello").chmod(0o700)
    (tmp_path / "motd/etc").mkdir(parents=True)
    (tmp_path / "motd/etc/motd").write_text("hi")
    motd = text_file("etc/motd", "hi", store=True)
    told = nix.run("nix-store", "--add", tmp_path / "hello", tmp_path / "motd").split()
    assert [str(package), str(motd)] == told
    assert package.info.nar_hash == nar_hash(package.entries())[0]
    assert [e.path for e in package.entries()] == [b"", b"bin", b"bin/hello"]
    with pytest.raises(ArgumentTypeError, match="name of a store path"):
        text_file("etc/two words", "", store=True)


async def test_texts_in_the_store_refer_to_what_they_hold(app: Path) -> None:
    added, other = store_path(app), store_path(app / "text")
    package = script("start", f"exec {added}/bin/run", needs=[other, added], store=True)
    assert isinstance(package, StorePackage)
    info = package.info
    assert [str(path) for path in info.references] == [str(added)]
    assert info.path == content_addressed_path(
        "start", info.content_address, references=info.references
    )
    above = script("above", f"exec {package}/bin/start", needs=[package], store=True)
    closure = await resolve_closure([above])
    assert set(closure.packages) == {above, package, added, other}
    assert closure.references[above.key] == (package.key,)


async def test_an_image_of_added_files_is_built_and_built_again(
    app: Path, reads: list[bytes], tmp_path: Path
) -> None:
    added = store_path(app)
    start = script("start", f"exec {added}/bin/run", needs=[added])
    image = await nbdock.build_layered_image(name="app", contents=[start, added])
    place = str(added).lstrip("/")
    names = {}
    store = BlobStore.default()
    for layer in image.layers:
        with store.open(layer.diff_id) as blob, tarfile.open(fileobj=blob) as archive:
            names |= {m.name.lstrip("./"): m for m in archive}
    assert names[f"{place}/bin/run"].mode == 0o555
    assert names["bin/start"].mode & 0o111
    reads.clear()
    again = await nbdock.build_layered_image(name="app", contents=[start, added])
    assert again.digest == image.digest
    assert not reads
    (app / "text").write_text("TEXT")
    with pytest.raises(ArchiveError, match="has changed since"):
        # The script holds the path of what is no more.
        await nbdock.build_layered_image(name="app", contents=[start], store=BlobStore(tmp_path))
