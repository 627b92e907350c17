"""The blob store: whole or not at all, under its digest, readable by other tools."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nbdock.settings
from nbdock.content import BlobStore
from nbdock.errors import (
    BlobNotFoundError,
    ContentError,
    DigestMismatchError,
    InvalidReferenceError,
    SizeMismatchError,
)
from nbdock.oci import Descriptor, Digest, MediaType, Platform


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "home")


def leftovers(store: BlobStore) -> list[str]:
    return os.listdir(store.home / "tmp")


def manifest(store: BlobStore, text: str = "{}") -> Descriptor:
    data = text.encode()
    return Descriptor(MediaType.OCI_MANIFEST, store.add(data), len(data))


def test_a_written_blob_stands_under_its_sha256(store: BlobStore) -> None:
    pieces = [b"a" * 10, b"b" * (3 << 20), b"", b"c" * (64 << 10), b"d"]
    with store.writer() as blob:
        for piece in pieces:
            assert blob.write(piece) == len(piece)
        digest, size_bytes = blob.commit()
    whole = b"".join(pieces)
    assert digest.hex == hashlib.sha256(whole).hexdigest()
    assert size_bytes == len(whole)
    path = store.home / "blobs" / "sha256" / digest.hex
    assert path == store.path_of(digest)
    assert path.read_bytes() == whole
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert store.has(digest)
    assert store.has(digest, len(whole))
    assert not store.has(digest, len(whole) - 1)
    assert leftovers(store) == []


@given(pieces=st.lists(st.binary(max_size=200_000), max_size=12))
def test_any_pieces_give_the_digest_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]
) -> None:
    store = BlobStore(tmp_path_factory.getbasetemp() / "pieces")
    with store.writer() as blob:
        for piece in pieces:
            buffer = bytearray(piece)
            blob.write(memoryview(buffer))
            buffer[:] = bytes(len(buffer))  # the writer must not look at it later
        digest, _ = blob.commit()
    assert digest == Digest.of(b"".join(pieces))
    with store.open(digest) as file:
        assert file.read() == b"".join(pieces)


def test_a_write_that_is_left_leaves_nothing(store: BlobStore) -> None:
    with pytest.raises(ZeroDivisionError), store.writer() as blob:
        blob.write(b"x" * (1 << 20))
        assert len(leftovers(store)) == 1
        raise ZeroDivisionError
    with store.writer() as blob:
        blob.write(b"y")
    assert leftovers(store) == []
    assert list(store.blobs()) == []
    with pytest.raises(ContentError):
        blob.write(b"z")
    with pytest.raises(ContentError):
        blob.commit()


def test_announced_digest_and_size_are_checked(store: BlobStore) -> None:
    wanted = Digest.of(b"hello")
    with store.writer() as blob, pytest.raises(DigestMismatchError) as mismatch:
        blob.write(b"hellO")
        blob.commit(wanted)
    assert mismatch.value.digest == str(wanted)
    assert mismatch.value.actual == str(Digest.of(b"hellO"))
    with store.writer() as blob, pytest.raises(SizeMismatchError) as size:
        blob.write(b"hello")
        blob.commit(wanted, expected_size_bytes=6)
    assert (size.value.expected_bytes, size.value.actual_bytes) == (6, 5)
    assert list(store.blobs()) == []
    assert leftovers(store) == []
    with store.writer() as blob:
        blob.write(b"hello")
        assert blob.commit(wanted, expected_size_bytes=5) == (wanted, 5)


def test_other_algorithms(store: BlobStore) -> None:
    digest = store.add(b"x", algorithm="sha512")
    assert store.read(digest) == b"x"
    assert (store.home / "blobs" / "sha512" / hashlib.sha512(b"x").hexdigest()).exists()


def test_add_is_idempotent_and_heals(store: BlobStore) -> None:
    digest = store.add(b"document")
    before = store.path_of(digest).stat().st_ino
    assert store.add(b"document") == digest
    assert store.path_of(digest).stat().st_ino == before
    store.path_of(digest).unlink()
    store.path_of(digest).write_bytes(b"dOcument")
    with pytest.raises(DigestMismatchError):
        store.read(digest)
    assert [bad.digest for bad in store.verify()] == [digest]
    store.add(b"document")
    assert store.read(digest) == b"document"
    assert list(store.verify()) == []


def test_read_is_for_documents(store: BlobStore) -> None:
    digest = store.add(b"x" * 100)
    assert store.read(digest, limit_bytes=100) == b"x" * 100
    with pytest.raises(SizeMismatchError):
        store.read(digest, limit_bytes=99)


def test_missing_blobs(store: BlobStore) -> None:
    absent = Digest.of(b"absent")
    assert not store.has(absent)
    assert not store.delete(absent)
    for call in (store.open, store.read, store.size_of):
        with pytest.raises(BlobNotFoundError) as error:
            call(absent)
        assert error.value.digest == str(absent)
    with open(os.devnull, "wb") as sink, pytest.raises(BlobNotFoundError):
        store.copy_blob_to(absent, sink.fileno())
    assert [bad.problem for bad in store.verify([absent])] == ["It is missing."]


def test_verify_finds_every_kind_of_damage(store: BlobStore) -> None:
    good, flipped, short = (store.add(bytes([c]) * 1000) for c in b"abc")
    for digest, data in ((flipped, b"b" * 999 + b"B"), (short, b"c" * 999)):
        store.path_of(digest).unlink()
        store.path_of(digest).write_bytes(data)
    (store.home / "blobs" / "sha256" / "stray").write_bytes(b"")
    (store.home / "blobs" / "md5").mkdir()
    (store.home / "blobs" / "md5" / "abcd").write_bytes(b"")
    bad = {entry.path.name for entry in store.verify()}
    assert bad == {flipped.hex, short.hex, "stray", "abcd"}
    assert list(store.verify([good])) == []


def test_delete(store: BlobStore) -> None:
    digest = store.add(b"x")
    with store.open(digest) as still:
        assert store.delete(digest)
        assert still.read() == b"x"
    assert not store.has(digest)


def test_copies_run_into_files_pipes_and_appended_files(store: BlobStore, tmp_path: Path) -> None:
    data = os.urandom((1 << 20) + 7)
    digest = store.add(data)
    with open(tmp_path / "archive", "wb") as archive:
        archive.write(b"head")
        archive.flush()
        assert store.copy_blob_to(digest, archive.fileno(), size_bytes=len(data)) == len(data)
        archive.seek(0, os.SEEK_END)
        archive.write(b"tail")
    assert (tmp_path / "archive").read_bytes() == b"head" + data + b"tail"
    # copy_file_range refuses a file opened for appending, and a pipe.
    with open(tmp_path / "appended", "ab") as appended:
        store.copy_blob_to(digest, appended.fileno())
    assert (tmp_path / "appended").read_bytes() == data
    reader, writer = os.pipe()
    got: list[bytes] = []
    with os.fdopen(reader, "rb") as source:
        thread = threading.Thread(target=lambda: got.append(source.read()))
        thread.start()
        store.copy_blob_to(digest, writer)
        os.close(writer)
        thread.join()
    assert got == [data]


def test_a_copy_of_a_damaged_blob_is_refused(store: BlobStore, tmp_path: Path) -> None:
    digest = store.add(b"x" * 10)
    with open(tmp_path / "out", "wb") as out, pytest.raises(SizeMismatchError):
        store.copy_blob_to(digest, out.fileno(), size_bytes=11)
    assert (tmp_path / "out").read_bytes() == b""


def test_image_names(store: BlobStore) -> None:
    first, second = manifest(store, '{"a":1}'), manifest(store, '{"a":2}')
    assert store.images() == ()
    assert store.get_image("redis:latest") is None
    store.set_image("redis:latest", first)
    store.set_image("localhost:5000/a/b:1", second)
    assert store.get_image("redis:latest") == first
    store.set_image("redis:latest", second)
    assert [(i.name, i.descriptor) for i in store.images()] == [
        ("redis:latest", second),
        ("localhost:5000/a/b:1", second),
    ]
    assert store.remove_image("redis:latest")
    assert not store.remove_image("redis:latest")
    assert store.get_image("redis:latest") is None
    assert store.get_image("localhost:5000/a/b:1") == second


def test_descriptors_come_back_as_they_were_set(store: BlobStore) -> None:
    plain = manifest(store)
    noted = Descriptor(
        plain.media_type, plain.digest, plain.size_bytes, annotations={"note": "ünï"}
    )
    store.set_image("a", noted)
    assert store.get_image("a") == noted
    full = Descriptor(
        plain.media_type, plain.digest, plain.size_bytes, annotations={"note": "x"},
        platform=Platform.parse("linux/arm64/v8"), urls=("https://example.org/a",), data=b"{}",
        artifact_type="a/b", extra={"com.example": {"deep": [1, {"x": None}]}},
    )  # fmt: skip
    store.set_image("full", full)
    assert store.get_image("full") == full
    before = (store.home / "index.json").stat().st_ino
    store.set_image("full", full)
    assert (store.home / "index.json").stat().st_ino == before


def test_setting_what_is_set_writes_nothing(store: BlobStore) -> None:
    descriptor = manifest(store)
    store.set_image("a", descriptor)
    before = (store.home / "index.json").stat()
    store.set_image("a", descriptor)
    after = (store.home / "index.json").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


@pytest.mark.parametrize("name", ["", " ", "a b", "a\nb", "a\0b", "\x7f"])
def test_names_that_no_tool_could_use(store: BlobStore, name: str) -> None:
    with pytest.raises(InvalidReferenceError):
        store.set_image(name, manifest(store))


def test_what_other_tools_wrote_survives(store: BlobStore) -> None:
    index = store.home / "index.json"
    foreign = [
        {"mediaType": "x/y", "digest": "sha256:" + "a" * 64, "size": 3, "weird": [1, {"b": None}]},
        {"annotations": {"org.opencontainers.image.ref.name": 5}},
        "not even an object",
        None,
    ]
    index.write_text(
        json.dumps({"schemaVersion": 2, "manifests": foreign, "annotations": {"k": "v"}, "z": 1})
    )
    descriptor = manifest(store)
    store.set_image("mine", descriptor)
    store.set_image("mine", manifest(store, "[]"))
    store.remove_image("mine")
    store.set_image("mine", descriptor)
    document = json.loads(index.read_bytes())
    assert document["manifests"][:4] == foreign
    assert document["annotations"] == {"k": "v"}
    assert document["z"] == 1
    assert [image.name for image in store.images()] == ["mine"]


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"null", b'{"manifests":3}', b"\xff\xfe", b"[" * 100_000]
)
def test_a_damaged_index_is_set_aside(
    store: BlobStore, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    descriptor = manifest(store)
    (store.home / "index.json").write_bytes(damage)
    assert store.images() == ()
    assert store.get_image("a") is None
    store.set_image("a", descriptor)
    assert store.get_image("a") == descriptor
    assert "damaged" in caplog.text
    (kept,) = store.home.glob("index.json.damaged-*")
    assert kept.read_bytes() == damage


def test_an_invalid_entry_does_not_hide_the_others(store: BlobStore) -> None:
    store.set_image("good", manifest(store))
    path = store.home / "index.json"
    document = json.loads(path.read_bytes())
    document["manifests"].append(
        {
            "mediaType": "a/b",
            "digest": "sha256:../../../etc/passwd",
            "size": -1,
            "annotations": {"org.opencontainers.image.ref.name": "evil"},
        }
    )
    path.write_text(json.dumps(document))
    assert [image.name for image in store.images()] == ["good"]


def test_skopeo_and_umoci_read_the_layout(store: BlobStore) -> None:
    layer = store.add(b"\0" * 10240)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [str(layer)]},
            "config": {},
        }
    ).encode()
    document = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MediaType.OCI_MANIFEST,
            "config": {
                "mediaType": MediaType.OCI_CONFIG,
                "digest": str(store.add(config)),
                "size": len(config),
            },
            "layers": [{"mediaType": MediaType.OCI_LAYER, "digest": str(layer), "size": 10240}],
        }
    ).encode()
    descriptor = Descriptor(MediaType.OCI_MANIFEST, store.add(document), len(document))
    store.set_image("redis:7.0", descriptor)
    store.set_image("other", descriptor)
    shown = subprocess.run(
        ["skopeo", "inspect", f"oci:{store.home}:redis:7.0"], capture_output=True, check=True
    )
    assert json.loads(shown.stdout)["Digest"] == str(descriptor.digest)
    listed = subprocess.run(
        ["umoci", "ls", "--layout", store.home], capture_output=True, check=True, text=True
    )
    assert sorted(listed.stdout.split()) == ["other", "redis:7.0"]
    # skopeo adds an image of its own; ours stay, and its image is one of ours from then on.
    subprocess.run(
        ["skopeo", "copy", "-q", f"oci:{store.home}:other", f"oci:{store.home}:copied"], check=True
    )
    assert {image.name for image in store.images()} == {"redis:7.0", "other", "copied"}
    store.set_image("other", descriptor)
    assert list(store.verify()) == []


def test_the_default_is_the_home_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBDOCK_HOME", str(tmp_path / "elsewhere"))
    assert BlobStore.default().home == nbdock.settings.current().home == tmp_path / "elsewhere"


def test_a_directory_removed_under_the_store_comes_back(store: BlobStore) -> None:
    (store.home / "tmp").rmdir()
    (store.home / "blobs" / "sha256").rmdir()
    assert store.read(store.add(b"x")) == b"x"
