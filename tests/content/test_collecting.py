"""Blobs that nothing refers to: found, removed, and never one that somebody is at work with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdock import settings
from nbdock.content import BlobStore, LayerCache, LayerRecord, collect, unused_blobs
from nbdock.errors import ContentError
from nbdock.oci import Descriptor, Digest, MediaType

DAY_S = 24 * 3600.0


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "home")


def age(store: BlobStore, *digests: Digest, days: float = 30) -> None:
    then = time.time() - days * DAY_S
    for digest in digests or [blob.digest for blob in store.blobs()]:
        os.utime(store.path_of(digest), (then, then))


def document(store: BlobStore, **fields: object) -> Descriptor:
    data = json.dumps(fields).encode()
    return Descriptor(MediaType.OCI_MANIFEST, store.add(data), len(data))


def image_of(store: BlobStore, *layers: bytes) -> tuple[Descriptor, set[Digest]]:
    """An image without a name; its manifest and all its digests."""
    digests = [store.add(layer) for layer in layers]
    config = document(store, rootfs={"diff_ids": [str(d) for d in digests]}, salt=layers[0].hex())
    manifest = document(
        store,
        config={"digest": str(config.digest)},
        layers=[{"digest": str(d)} for d in digests],
    )
    return manifest, {manifest.digest, config.digest, *digests}


def test_what_images_refer_to_stays_and_the_rest_goes(store: BlobStore) -> None:
    named, kept = image_of(store, b"one", b"two")
    store.set_image("app:1", named)
    child, also_kept = image_of(store, b"three")
    index = document(store, manifests=[{"digest": str(child.digest)}])
    store.set_image("all:1", index)
    _, gone = image_of(store, b"four", b"five")
    age(store)
    found = unused_blobs(store)
    assert {blob.digest for blob in found} == gone
    assert [b.digest for b in found] == sorted((b.digest for b in found), key=str)
    assert {b.digest: b.size_bytes for b in found} == {d: store.size_of(d) for d in gone}
    age(store)  # which `size_of` did not need, but who knows
    assert {blob.digest for blob in collect(store)} == gone
    assert {blob.digest for blob in store.blobs()} == kept | also_kept | {index.digest}
    assert collect(store) == ()


def test_what_was_used_lately_stays_with_what_it_refers_to(store: BlobStore) -> None:
    manifest, every = image_of(store, b"one", b"two")
    lonely = store.add(b"a layer of the cache")
    age(store)
    assert {b.digest for b in unused_blobs(store)} == every | {lonely}
    # A notebook still has the image, whose name went to another: it reads the manifest.
    store.read(manifest.digest)
    assert {b.digest for b in unused_blobs(store)} == {lonely}
    # A build finds the layer that it made before.
    assert store.has(lonely)
    assert unused_blobs(store) == ()
    assert store.path_of(lonely).stat().st_mtime > time.time() - DAY_S


def test_for_how_long(store: BlobStore) -> None:
    digests = [store.add(b"%d" % n) for n in range(4)]
    for days, digest in enumerate(digests):
        age(store, digest, days=days)
    assert {b.digest for b in unused_blobs(store)} == set(digests[1:])
    assert {b.digest for b in unused_blobs(store, unused_s=1.5 * DAY_S)} == set(digests[2:])
    settings.configure(prune_grace_s=2.5 * DAY_S)
    try:
        assert {b.digest for b in unused_blobs(store)} == set(digests[3:])
    finally:
        settings.configure(prune_grace_s=None)


def test_what_other_tools_wrote_stays(store: BlobStore) -> None:
    manifest, every = image_of(store, b"theirs")
    path = store.home / "index.json"
    document = json.loads(path.read_bytes())
    document["manifests"].append({"digest": str(manifest.digest), "mediaType": "x", "size": 1})
    path.write_text(json.dumps(document))
    (store.home / "blobs/sha256/notes.txt").write_text("mine")
    (store.home / "blobs/README").write_text("mine")
    age(store)
    os.utime(store.home / "blobs/sha256/notes.txt", (0, 0))
    assert collect(store) == ()
    assert all(store.has(digest) for digest in every)
    assert (store.home / "blobs/sha256/notes.txt").exists()


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"manifests": 3}'])
def test_with_a_damaged_index_nothing_is_removed(store: BlobStore, damage: bytes) -> None:
    _, every = image_of(store, b"one")
    age(store)
    (store.home / "index.json").write_bytes(damage)
    with pytest.raises(ContentError, match="is damaged"):
        collect(store)
    assert all(store.has(digest) for digest in every)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda part: st.lists(part) | st.dictionaries(st.sampled_from(["digest", "a"]), part),
    )
)
def test_documents_of_any_form(document: object) -> None:
    from nbdock.content.collecting import _digests_in

    text = json.dumps(document)
    for digest in _digests_in(document):
        assert json.dumps(digest) in text


def test_rows_of_blobs_that_are_gone(store: BlobStore) -> None:
    kept, gone = store.add(b"kept"), store.add(b"gone")
    with LayerCache(store) as cache:
        for digest in (kept, gone):
            cache.put(digest.hex, LayerRecord(digest, 4, 1))
            blob = Descriptor(MediaType.OCI_LAYER_GZIP, digest, 4)
            cache.put_compressed(digest, "gzip", blob)
        store.delete(gone)
        assert cache.forget_missing() == 2
        assert cache.forget_missing() == 0
        assert cache.get(kept.hex) is not None
        assert cache.compressed(kept, "gzip") is not None


COLLECT_FOR_EVER = """
import sys
from nbdock.content import BlobStore, collect
store = BlobStore(sys.argv[1])
print("started", flush=True)
while True:
    collect(store)
"""


def collecting(store: BlobStore) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", COLLECT_FOR_EVER, store.home], stdout=subprocess.PIPE
    )


def test_who_finds_a_blob_has_it(store: BlobStore) -> None:
    """A process builds from what is there, while another removes what is not used."""
    with collecting(store) as other:
        assert other.stdout is not None
        other.stdout.readline()
        found = 0
        for number in range(60):
            layer = store.add(b"layer %d" % number)
            age(store, layer)
            if number % 3:
                # Whoever comes first: it is there for good, or it is made again.
                found += store.has(layer)
            layer = layer if store.has(layer) else store.add(b"layer %d" % number)
            manifest = document(store, layers=[{"digest": str(layer)}])
            store.set_image("app:1", manifest)
            # Named now, so that nobody's looking at the layer is needed.
            age(store, layer, manifest.digest)
            assert store.path_of(layer).exists()
            assert store.read(manifest.digest)
        assert other.poll() is None
        other.kill()
    assert found
    assert list(store.verify()) == []


def test_collecting_that_is_killed(store: BlobStore) -> None:
    named, kept = image_of(store, b"one", b"two")
    store.set_image("app:1", named)
    folder = store.home / "blobs" / "sha256"
    for number in range(1000):
        data = b"unused %d" % number
        (folder / Digest.of(data).hex).write_bytes(data)
    age(store)
    whole = len(os.listdir(folder))
    with collecting(store) as other:
        while len(os.listdir(folder)) == whole:
            assert other.poll() is None
        other.send_signal(signal.SIGKILL)
    # The lock went with the process, and each blob is there or is not.
    assert list(store.verify()) == []
    store.set_image("app:2", named)
    age(store)
    collect(store)
    assert {blob.digest for blob in store.blobs()} == kept
