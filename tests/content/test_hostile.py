"""What happens to a store: full disks, killed writers, two processes at once, strange places."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nbdock.content import BlobStore, LayerCache, LayerRecord
from nbdock.content.temporary import sweep
from nbdock.errors import ContentError, StorageFullError
from nbdock.oci import Descriptor, Digest, MediaType

MIB = 1 << 20


def assert_whole(store: BlobStore) -> None:
    """Nothing half-written anywhere: every blob verifies, no temporary file, a valid index."""
    assert list(store.verify()) == []
    assert os.listdir(store.home / "tmp") == []
    for image in store.images():
        assert store.has(image.descriptor.digest, image.descriptor.size_bytes)
    json.loads((store.home / "index.json").read_bytes())


@contextlib.contextmanager
def mounted(place: Path, options: str) -> Iterator[Path]:
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@contextlib.contextmanager
def little_room(tmp_path: Path) -> Iterator[Path]:
    """A directory in which a file of four megabytes does not fit."""
    if os.getuid() == 0:
        with mounted(tmp_path / "small", "size=3m") as place:
            yield place / "home"
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 * MIB, hard))
    try:
        yield tmp_path / "home"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def read_only(home: Path) -> Iterator[None]:
    """`home`, which exists, may not be written meanwhile."""
    if os.getuid() == 0:
        subprocess.run(["mount", "--bind", home, home], check=True)
        subprocess.run(["mount", "-o", "remount,ro,bind", home], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", "-l", home], check=True)
        return
    places = [home, *(place for place in home.rglob("*") if place.is_dir())]
    for place in places:
        place.chmod(0o555)
    try:
        yield
    finally:
        for place in places:
            place.chmod(0o755)


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    with little_room(tmp_path) as home:
        store = BlobStore(home)
        small = store.add(b"small")
        with store.writer() as blob, pytest.raises(StorageFullError) as full:
            for _ in range(5):
                blob.write(os.urandom(MIB))
        assert "NBDOCK_HOME" in str(full.value)
        assert isinstance(full.value.__cause__, OSError)
        assert_whole(store)
        assert [digest for digest, _ in store.blobs()] == [small]
        # The space is free again at once.
        with store.writer() as blob:
            blob.write(os.urandom(MIB))
            blob.commit()
        assert_whole(store)


def test_a_disk_filled_to_the_last_byte(tmp_path: Path) -> None:
    with little_room(tmp_path) as home:
        store = BlobStore(home)
        descriptor = Descriptor(MediaType.OCI_MANIFEST, store.add(b"{}"), 2)
        store.set_image("first", descriptor)
        filler = home.parent / "filler"
        with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        if os.getuid() == 0:
            for action in (
                lambda: store.add(b"x" * 5000),
                lambda: store.set_image("second", descriptor),
                lambda: BlobStore(home.parent / "other").add(b"x" * 5000),
            ):
                with pytest.raises(StorageFullError):
                    action()
        with LayerCache(store) as cache:
            cache.put("key", LayerRecord(descriptor.digest, 2, 1))
            assert cache.get("key") in {None, LayerRecord(descriptor.digest, 2, 1)}
        filler.unlink()
        assert store.get_image("first") == descriptor
        assert_whole(store)
        store.set_image("second", descriptor)
        assert next(image.name for image in store.images()) == "first"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("call", ["write", "rename", "fsync", "fchmod", "open"])
def test_any_system_call_may_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    store = BlobStore(tmp_path)
    descriptor = Descriptor(MediaType.OCI_MANIFEST, store.add(b"{}"), 2)

    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    expected = ContentError if code == errno.EIO else StorageFullError
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(expected) as error:
            store.add(b"document")
        with pytest.raises(expected):
            store.set_image("name", descriptor)
    assert isinstance(error.value.__cause__, OSError)
    assert store.images() == ()
    assert [digest for digest, _ in store.blobs()] == [descriptor.digest]
    assert_whole(store)


def test_writes_that_the_kernel_takes_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = BlobStore(tmp_path)
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data)[:70_001]))
    data = os.urandom(MIB)
    with store.writer() as blob:
        blob.write(data)
        digest, _ = blob.commit()
    monkeypatch.undo()
    with store.open(digest) as file:
        assert file.read() == data


def test_a_read_only_home_serves_reading(tmp_path: Path) -> None:
    home = tmp_path / "home"
    store = BlobStore(home)
    digest = store.add(b"{}")
    descriptor = Descriptor(MediaType.OCI_MANIFEST, digest, 2)
    store.set_image("name", descriptor)
    with LayerCache(store) as cache:
        cache.put("key", LayerRecord(digest, 2, 1))
    with read_only(home):
        store = BlobStore(home)
        assert store.read(digest) == b"{}"
        assert store.get_image("name") == descriptor
        store.add(b"{}")
        store.set_image("name", descriptor)
        for action in (
            lambda: store.add(b"new"),
            lambda: store.set_image("other", descriptor),
            lambda: store.delete(digest),
        ):
            with pytest.raises(ContentError, match="not writable") as error:
                action()
            assert "NBDOCK_HOME" in str(error.value)
        with LayerCache(store) as cache:
            cache.put("new", LayerRecord(digest, 2, 1))
            assert cache.get("new") is None
        with pytest.raises(ContentError, match="not writable"):
            BlobStore(home / "below")
    assert_whole(store)


def test_a_home_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for home in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ContentError, match="is a file where a directory should be") as error:
            BlobStore(home)
        assert "NBDOCK_HOME" in str(error.value)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"imageLayoutVersion":"2.0.0"}', b"\xff"])
def test_a_home_that_is_some_other_layout(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "oci-layout").write_bytes(text)
    with pytest.raises(ContentError, match="not that of an image layout"):
        BlobStore(tmp_path)
    assert (tmp_path / "oci-layout").read_bytes() == text


ODD = ["with blank", "new\nline", "p%20?#x", "ünï/cödé", "quote'\"$(x)", "\udcff\udc80", ":memory:",
       "-dash", "x" * 200]  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_homes_with_odd_names(tmp_path: Path, name: str) -> None:
    store = BlobStore(tmp_path / name)
    digest = store.add(b"{}")
    store.set_image("name", Descriptor(MediaType.OCI_MANIFEST, digest, 2))
    with LayerCache(store) as cache:
        cache.put("key", LayerRecord(digest, 2, 1))
    again = BlobStore(tmp_path / name)
    assert [image.name for image in again.images()] == ["name"]
    with LayerCache(again) as cache:
        assert cache.get("key") == LayerRecord(digest, 2, 1)
    assert sorted(path.name for path in again.home.iterdir() if path.is_dir()) == ["blobs", "tmp"]
    assert_whole(again)


def test_a_relative_home_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = BlobStore("here")
    monkeypatch.chdir("/")
    assert store.read(store.add(b"x")) == b"x"
    assert store.home == tmp_path / "here"


def test_umask_does_not_matter(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        store = BlobStore(tmp_path / "home")
        path = store.path_of(store.add(b"x"))
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o444
    assert (store.home / "index.json").stat().st_mode & 0o777 == 0o644


WRITER = """
import os, sys
from nbdock.content import BlobStore
from nbdock.oci import Descriptor, MediaType
store = BlobStore(sys.argv[1])
own = sys.argv[2]
sys.stdin.read(1)
for turn in range(200):
    with store.writer() as blob:
        for part in range(3):
            blob.write((b"%d/%d " % (turn, part)) * 12_000)
        digest, size_bytes = blob.commit()
    descriptor = Descriptor(MediaType.OCI_LAYER, digest, size_bytes)
    store.set_image(f"shared:{turn % 5}", descriptor)
    store.set_image(f"{own}:{turn % 20}", descriptor)
    assert store.get_image(f"{own}:{turn % 20}") == descriptor
    if turn % 50 == 0:
        BlobStore(sys.argv[1])  # sweeps while the others write
"""


def test_processes_write_the_same_blobs_and_names_at_once(tmp_path: Path) -> None:
    running = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, tmp_path / "home", f"process-{number}"],
            stdin=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for number in range(3)
    ]  # fmt: skip
    for process in running:
        assert process.stdin is not None
        process.stdin.write(b"x")
        process.stdin.flush()
    for process in running:
        _, said = process.communicate(timeout=240)
        assert process.returncode == 0, said.decode()
    store = BlobStore(tmp_path / "home")
    assert len(list(store.blobs())) == 200
    names = {image.name for image in store.images()}
    assert len(names) == 3 * 20 + 5
    assert_whole(store)


VICTIM = """
import os, sys
from nbdock.content import BlobStore, LayerCache, LayerRecord
from nbdock.oci import Descriptor, MediaType
store = BlobStore(sys.argv[1])
cache = LayerCache(store)
print("ready", flush=True)
turn = 0
while True:
    turn += 1
    with store.writer() as blob:
        for _ in range(4):
            blob.write(os.urandom(100_000))
        digest, size_bytes = blob.commit()
    cache.put(f"{os.getpid()}/{turn}", LayerRecord(digest, size_bytes, 1))
    store.set_image(f"x:{turn % 20}", Descriptor(MediaType.OCI_LAYER, digest, size_bytes))
    print(turn, flush=True)
"""


def test_killed_writers_leave_nothing_half_written(tmp_path: Path) -> None:
    chosen = random.Random(11)
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", VICTIM, tmp_path / "home"], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        for _ in range(chosen.randint(1, 8)):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        store = BlobStore(tmp_path / "home")
        assert_whole(store)
        with LayerCache(store) as cache:
            found = cache.get_many(f"{process.pid}/{turn}" for turn in range(1, 9))
            for record in found.values():
                assert store.size_of(record.diff_id) == record.size_bytes == 400_000
            cache.remember("kind", "key", b"still writable")
            assert cache.recall("kind", "key") == b"still writable"
    assert store.images()


KILLED_IN_WRITE = """
import os, sys
from nbdock.content import BlobStore
with BlobStore(sys.argv[1]).writer() as blob:
    blob.write(bytes(300_000))
    print(os.listdir(sys.argv[1] + "/tmp"), flush=True)
    os.kill(os.getpid(), 9)
"""


def test_orphans_are_swept_and_living_files_are_not(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    subprocess.run([sys.executable, "-c", KILLED_IN_WRITE, tmp_path], check=False)
    assert len(os.listdir(tmp_path / "tmp")) == 1
    with store.writer() as blob:
        blob.write(b"x" * MIB)
        assert len(os.listdir(tmp_path / "tmp")) == 2
        BlobStore(tmp_path)
        assert len(os.listdir(tmp_path / "tmp")) == 1
        digest, _ = blob.commit()
    assert store.has(digest, MIB)
    assert_whole(store)


def test_sweeping_leaves_what_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    (tmp_path / "writing-directory").mkdir()
    (tmp_path / "writing-link").symlink_to(tmp_path / "precious")
    assert sweep(str(tmp_path)) == 0
    assert (tmp_path / "precious").read_text() == "x"


def test_a_symlink_in_place_of_a_blob_is_not_written_through(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "home")
    precious = tmp_path / "precious"
    precious.write_text("precious")
    target = store.path_of(Digest.of(b"new"))
    target.symlink_to(precious)
    store.add(b"new")
    assert precious.read_text() == "precious"
    assert not target.is_symlink()
    assert store.read(Digest.of(b"new")) == b"new"
