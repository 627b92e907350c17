"""Manifests, blobs and tags from a real registry, and from one that fails."""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import json
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.fake_registry import image_of
from support.faulty_server import (
    Answer,
    FaultyServer,
    Request,
    answer,
    chunked,
    content,
    endless,
    reset_after,
    short,
    silent,
)
from support.plain_images import layer, write_docker_archive
from support.registry import OCI_INDEX, OCI_MANIFEST, Registry

from nbdock.content import BlobStore
from nbdock.errors import (
    ConnectionFailedError,
    ContentError,
    DigestMismatchError,
    InvalidManifestError,
    ManifestNotFoundError,
    NbdockError,
    PlatformNotFoundError,
    RegistryError,
    SizeMismatchError,
    TransportError,
    UnsupportedManifestError,
)
from nbdock.oci import Descriptor, Digest, Index, Manifest, MediaType, Platform, Reference
from nbdock.registry import RegistryClient

DATA = random.Random(1).randbytes(3 << 20)


def arriving(store: BlobStore) -> list[str]:
    folder = store.home / "arriving"
    return os.listdir(folder) if folder.exists() else []


async def test_an_image_of_skopeo(registry: Registry, store: BlobStore, tmp_path: Path) -> None:
    tars = [layer({"a": DATA}), layer({"b": b"b"})]
    archive = write_docker_archive(tmp_path / "x.tar", name="x:1", layers=tars)
    reference = Reference.parse(registry.copy_in(f"docker-archive:{archive}", "pull/skopeo", "1"))
    async with RegistryClient() as client:
        fetched = await client.manifest(reference)
        assert isinstance(fetched.manifest, Manifest)
        assert fetched.reference == reference.with_digest(Digest.of(fetched.data))
        for descriptor in fetched.manifest.layers:
            seen: list[tuple[int, int]] = []
            await client.pull_blob(
                reference, descriptor, store, progress=lambda *now, seen=seen: seen.append(now)
            )
            assert seen == sorted(seen)
            assert seen[-1] == (descriptor.size_bytes, descriptor.size_bytes)
        config = await client.blob_bytes(reference, fetched.manifest.config)
    assert [gzip.decompress(store.read(d.digest)) for d in fetched.manifest.layers] == tars
    assert json.loads(config)["rootfs"]["diff_ids"][1] == str(Digest.of(tars[1]))
    assert list(store.verify()) == []
    assert arriving(store) == []
    modes = {store.path_of(d.digest).stat().st_mode & 0o777 for d in fetched.manifest.layers}
    assert modes == {0o444}


async def test_what_is_there_is_not_fetched(registry: Registry, store: BlobStore) -> None:
    image = registry.push("pull/there", "1", layers=[b"one", b"two"])
    reference = Reference.parse(image.name)
    async with RegistryClient() as client:
        manifest = (await client.manifest(reference)).manifest
        for _ in range(2):
            await asyncio.gather(
                *(client.pull_blob(reference, d, store) for d in manifest.layers * 3)
            )
    assert registry.count("GET .*pull/there/blobs") == 2


# Platforms


async def test_platforms(registry: Registry) -> None:
    names = ("linux/amd64", "linux/arm64", "linux/arm/v6", "linux/arm64/v8", "windows/amd64")
    images = {
        name: registry.push("pull/many", f"t{n}", layers=[name.encode()])
        for n, name in enumerate(names)
    }
    digest = registry.push_index("pull/many", "all", images)
    reference = Reference.parse(f"{registry.host}/pull/many:all")
    async with RegistryClient() as client:
        whole = await client.manifest(reference)
        assert isinstance(whole.manifest, Index)
        assert (str(whole.descriptor.digest), whole.index) == (digest, None)
        for asked, name in {
            "linux/amd64": "linux/amd64", "x86_64": "linux/amd64", "aarch64": "linux/arm64",
            "linux/arm64/v8": "linux/arm64", "linux/arm/v7": "linux/arm/v6",
            "linux/arm/v6": "linux/arm/v6", "windows/x86_64": "windows/amd64",
        }.items():  # fmt: skip
            found = await client.manifest(reference, platform=Platform.parse(asked))
            assert str(found.descriptor.digest) == images[name].digest
            assert found.reference.digest == found.descriptor.digest
            assert found.descriptor.platform is not None
            assert found.index is not None
            assert str(found.index.descriptor.digest) == digest
        for asked in ("linux/arm/v5", "s390x", "freebsd/amd64"):
            with pytest.raises(PlatformNotFoundError, match="linux/arm64") as caught:
                await client.manifest(reference, platform=Platform.parse(asked))
            assert caught.value.available == (
                "linux/amd64", "linux/arm64/v8", "linux/arm/v6", "windows/amd64",
            )  # fmt: skip


def put_manifest(server: FaultyServer, name: str, data: bytes, media_type: str) -> str:
    headers = {"Content-Type": media_type}
    digest = str(Digest.of(data))
    for place in (name, digest):
        server.script(f"/v2/a/b/manifests/{place}", answer(200, data, headers))
    return digest


def index_of(*manifests: dict[str, Any]) -> bytes:
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(manifests)}
    return json.dumps(document).encode()


async def test_an_only_image_without_a_platform(fake: FaultyServer) -> None:
    image = image_of(fake, b"x")
    put_manifest(fake, "all", index_of(image.manifest.descriptor().to_json()), OCI_INDEX)
    async with RegistryClient() as client:
        reference = image.reference.with_tag("all")
        found = await client.manifest(reference, platform=Platform.parse("s390x"))
    assert found.data == image.data


async def test_indexes_of_indexes(fake: FaultyServer) -> None:
    image = image_of(fake, b"x")
    place = {"os": "linux", "architecture": "amd64"}
    digest, kind, size = str(Digest.of(image.data)), OCI_MANIFEST, len(image.data)
    for depth in range(1, 7):
        data = index_of({"mediaType": kind, "digest": digest, "size": size, "platform": place})
        digest, kind, size = put_manifest(fake, f"d{depth}", data, OCI_INDEX), OCI_INDEX, len(data)
    async with RegistryClient() as client:
        platform = Platform.parse("linux/amd64")
        for tag in ("d1", "d3"):
            found = await client.manifest(image.reference.with_tag(tag), platform=platform)
            assert found.data == image.data
        with pytest.raises(InvalidManifestError, match="deep"):
            await client.manifest(image.reference.with_tag("d6"), platform=platform)


@pytest.mark.parametrize(
    ("change", "error"),
    [({"size": 3}, SizeMismatchError), ({"mediaType": OCI_INDEX}, InvalidManifestError),
     ({"digest": f"sha256:{'0' * 64}"}, RegistryError)],
)  # fmt: skip
async def test_an_index_that_lies(
    fake: FaultyServer, change: dict[str, Any], error: type[NbdockError]
) -> None:
    image = image_of(fake, b"x")
    place = {"platform": {"os": "linux", "architecture": "amd64"}}
    entry = {**image.manifest.descriptor().to_json(), **place, **change}
    put_manifest(fake, "all", index_of(entry), OCI_INDEX)
    async with RegistryClient() as client:
        with pytest.raises(error):
            await client.manifest(
                image.reference.with_tag("all"), platform=Platform.parse("linux/amd64")
            )


# Manifests that are wrong


async def test_unknown_ones(registry: Registry) -> None:
    registry.push("pull/unknown", "1.26.2")
    registry.push("pull/unknown", "latest")
    async with RegistryClient() as client:
        with pytest.raises(ManifestNotFoundError, match=r"1\.26\.2") as caught:
            await client.manifest(Reference.parse(f"{registry.host}/pull/unknown:1.26.3"))
        assert (caught.value.status, caught.value.codes) == (404, ("MANIFEST_UNKNOWN",))
        for name in (f"pull/unknown@sha256:{'0' * 64}", "pull/nowhere", "pull/nowhere:1"):
            with pytest.raises(ManifestNotFoundError):
                await client.manifest(Reference.parse(f"{registry.host}/{name}"))
        with pytest.raises(ManifestNotFoundError, match="pull/nowhere"):
            await client.tags(Reference.parse(f"{registry.host}/pull/nowhere"))
        with pytest.raises(RegistryError, match="404"):
            await client.blob_bytes(
                Reference.parse(f"{registry.host}/pull/unknown"),
                Descriptor(MediaType.OCI_CONFIG, Digest.of(b"?"), 1),
            )


SCHEMA1 = {"schemaVersion": 1, "name": "a", "tag": "1", "fsLayers": [], "history": []}


@pytest.mark.parametrize(
    "media_type",
    ["application/vnd.docker.distribution.manifest.v1+prettyjws; charset=utf-8",
     "application/vnd.docker.distribution.manifest.v1+json", "application/json", "text/plain"],
)  # fmt: skip
async def test_schema_1(fake: FaultyServer, media_type: str) -> None:
    put_manifest(fake, "1", json.dumps(SCHEMA1).encode(), media_type)
    async with RegistryClient() as client:
        with pytest.raises(UnsupportedManifestError, match="schema 1"):
            await client.manifest(Reference(f"127.0.0.1:{fake.port}", "a/b", "1"))
    assert "vnd.oci.image.index.v1+json" in fake.requests[-1].headers["accept"]


async def test_wrong_digests(fake: FaultyServer) -> None:
    image = image_of(fake, b"x")
    other = Digest.of(b"?")
    fake.script(f"/v2/a/b/manifests/{other}", answer(200, image.data))
    said = {"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": str(other)}
    fake.script("/v2/a/b/manifests/announced", answer(200, image.data, said))
    async with RegistryClient() as client:
        for reference in (
            image.reference.with_digest(other), image.reference.with_tag("announced"),
        ):  # fmt: skip
            with pytest.raises(DigestMismatchError, match=str(other)):
                await client.manifest(reference)
        said["Docker-Content-Digest"] = "nonsense"
        fake.script("/v2/a/b/manifests/announced", answer(200, image.data, said))
        await client.manifest(image.reference.with_tag("announced"))
        longer = str(Digest.of(image.data, algorithm="sha512"))
        said["Docker-Content-Digest"] = longer
        fake.script("/v2/a/b/manifests/announced", answer(200, image.data, said))
        found = await client.manifest(image.reference.with_tag("announced"))
        assert str(found.descriptor.digest) == longer


async def test_a_document_of_two_kinds(fake: FaultyServer) -> None:
    """CVE-2021-41190."""
    image = image_of(fake, b"x")
    both = {**json.loads(image.data), "manifests": []}
    put_manifest(fake, "both", json.dumps(both).encode(), OCI_MANIFEST)
    put_manifest(fake, "other", image.data, OCI_INDEX)
    put_manifest(fake, "page", b"<html>", "text/html")
    async with RegistryClient() as client:
        for tag in ("both", "other", "page"):
            with pytest.raises(InvalidManifestError):
                await client.manifest(image.reference.with_tag(tag))


@pytest.mark.parametrize(
    "behaviour", [answer(200, b"x" * 100_001), chunked(b"x" * 100_001), endless()]
)
async def test_a_manifest_without_end(
    fake: FaultyServer, configured: Callable[..., None], behaviour: Any
) -> None:
    configured(registry_manifest_limit_bytes=100_000)
    fake.script("/v2/a/b/manifests/1", behaviour)
    async with RegistryClient() as client:
        with pytest.raises(TransportError, match="longer than 100,000 bytes"):
            await client.manifest(Reference(f"127.0.0.1:{fake.port}", "a/b", "1"))


async def test_a_manifest_that_breaks_off(fake: FaultyServer) -> None:
    image = image_of(fake, b"x")
    good = answer(200, image.data, {"Content-Type": OCI_MANIFEST})
    fake.script(
        image.manifest_path, short(image.data, 9), answer(502), reset_after(image.data, 9), good
    )
    async with RegistryClient() as client:
        assert (await client.manifest(image.reference)).data == image.data


@pytest.mark.parametrize(
    "body",
    [b"", b"nonsense", b"[]", b'{"errors": 1}', b'{"errors": [1]}', b'{"errors": [{"code": 1}]}',
     b'{"errors": [{"code": "\\u001b[31m", "message": "\\u001b[2Jgone\\nand lost"}]}', b"\xff" * 99,
     b'{"errors": [{"message": "' + b"x" * 100_000 + b'"}]}', b"[" * 60_000],
)  # fmt: skip
async def test_refusals_of_every_form(fake: FaultyServer, body: bytes) -> None:
    fake.script("/v2/a/b/manifests/1", answer(418, body))
    async with RegistryClient() as client:
        with pytest.raises(RegistryError) as caught:
            await client.manifest(Reference(f"127.0.0.1:{fake.port}", "a/b", "1"))
    assert caught.value.status == 418
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 600


# Small blobs


async def test_small_blobs_are_verified(fake: FaultyServer) -> None:
    image = image_of(fake, b"x")
    config = image.manifest.config
    path = f"/v2/a/b/blobs/{config.digest}"
    good = image.blobs[path]
    async with RegistryClient() as client:
        fake.script(path, short(good, 5), answer(503), content(good))
        assert await client.blob_bytes(image.reference, config) == good
        fake.script(path, content(b"y" * len(good)))
        with pytest.raises(DigestMismatchError):
            await client.blob_bytes(image.reference, config)
        for wrong in (good + b" ", good[:-1], b""):
            fake.script(path, content(wrong))
            with pytest.raises((SizeMismatchError, TransportError)):
                await client.blob_bytes(image.reference, config)
        with pytest.raises(SizeMismatchError, match="json_limit_bytes"):
            await client.blob_bytes(image.reference, config, limit_bytes=10)
        within = dataclasses.replace(config, data=good)
        before = len(fake.requests)
        assert await client.blob_bytes(image.reference, within) == good
        assert len(fake.requests) == before


# Blobs on their way to the store


async def test_breaks_are_taken_up(fake: FaultyServer, store: BlobStore) -> None:
    image = image_of(fake, DATA)
    fake.script(
        image.blob_paths[0],
        answer(429, headers={"Retry-After": "0"}),
        reset_after(DATA, 1 << 20, etag='"x"'),
        answer(500),
        short(DATA, 1000, etag='"x"'),
        content(DATA, etag='"x"'),
    )
    async with RegistryClient() as client:
        await client.pull_blob(image.reference, image.layer, store)
    starts = [int(r.headers["range"][6:-1]) for r in fake.requests if "range" in r.headers]
    assert len(starts) == 3
    assert 0 < starts[0] == starts[1] < starts[2] == starts[0] + 1000
    assert store.read(image.layer.digest) == DATA


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (content(DATA[:-1]), SizeMismatchError),
        (content(DATA + b"x"), SizeMismatchError),
        (chunked(DATA + b"x"), SizeMismatchError),
        (endless(), SizeMismatchError),
        (content(DATA[:-1] + b"x"), DigestMismatchError),
        (chunked(DATA[:-1] + b"x"), DigestMismatchError),
        (answer(404), RegistryError),
        (answer(503), TransportError),
        (answer(429, headers={"Retry-After": "86400"}), TransportError),
        (short(DATA, 0), ConnectionFailedError),
        (answer(206, DATA), ConnectionFailedError),
    ],
)
async def test_nothing_wrong_gets_into_the_store(
    fake: FaultyServer, store: BlobStore, behaviour: Any, error: type[NbdockError]
) -> None:
    image = image_of(fake, DATA)
    fake.script(image.blob_paths[0], behaviour)
    async with RegistryClient() as client:
        with pytest.raises(error):
            await client.pull_blob(image.reference, image.layer, store)
        assert list(store.blobs()) == []
        assert arriving(store) == []
        fake.script(image.blob_paths[0], content(DATA))
        await client.pull_blob(image.reference, image.layer, store)
    assert list(store.verify()) == []


async def test_a_server_without_ranges(fake: FaultyServer, store: BlobStore) -> None:
    image = image_of(fake, DATA)
    fake.script(image.blob_paths[0], reset_after(DATA, 1 << 20), content(DATA, ranges=False))
    async with RegistryClient() as client:
        await client.pull_blob(image.reference, image.layer, store)
    assert store.read(image.layer.digest) == DATA


async def test_silence(
    fake: FaultyServer, store: BlobStore, configured: Callable[..., None]
) -> None:
    configured(silence_timeout_s=0.3, retries=1)
    image = image_of(fake, DATA)
    fake.script(image.blob_paths[0], silent(DATA[:1000], announced=len(DATA)))
    async with RegistryClient() as client:
        with pytest.raises(ConnectionFailedError, match="silent"):
            await client.pull_blob(image.reference, image.layer, store)
    assert list(store.blobs()) == []


async def test_what_was_cancelled_is_taken_up_later(fake: FaultyServer, store: BlobStore) -> None:
    image = image_of(fake, DATA)
    fake.script(
        image.blob_paths[0], silent(DATA[: 2 << 20], announced=len(DATA)), content(DATA, etag='"x"')
    )
    arrived = asyncio.Event()

    def progress(count: int, total: int) -> None:
        if count >= 2 << 20:
            arrived.set()

    async with RegistryClient() as client:
        task = asyncio.ensure_future(
            client.pull_blob(image.reference, image.layer, store, progress=progress)
        )
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert arriving(store) == [f"sha256-{image.layer.digest.hex}.part"]
    async with RegistryClient() as client:
        await client.pull_blob(image.reference, image.layer, store)
    assert fake.requests[-1].headers["range"] == f"bytes={2 << 20}-"
    assert store.read(image.layer.digest) == DATA
    assert arriving(store) == []


PULL = """
import asyncio, sys
from nbdock.content import BlobStore
from nbdock.oci import Descriptor, Digest, MediaType, Reference
from nbdock.registry import RegistryClient

async def main(name, digest, size, store):
    layer = Descriptor(MediaType.OCI_LAYER, Digest.parse(digest), int(size))
    async with RegistryClient() as client:
        await client.pull_blob(Reference.parse(name), layer, BlobStore(store))

asyncio.run(main(*sys.argv[1:]))
"""


def pull_elsewhere(image: Any, store: BlobStore) -> list[str]:
    return [
        sys.executable, "-c", PULL, str(image.reference), str(image.layer.digest),
        str(image.layer.size_bytes), str(store.home),
    ]  # fmt: skip


async def test_a_killed_process_leaves_its_part(fake: FaultyServer, store: BlobStore) -> None:
    image = image_of(fake, DATA)
    sent = asyncio.Event()

    async def stuck(request: Request, out: Answer) -> None:
        await out.head(200, {"Content-Length": len(DATA)})
        await out.send(DATA[: 2 << 20])
        sent.set()
        await asyncio.Event().wait()

    fake.script(image.blob_paths[0], stuck, content(DATA))
    process = await asyncio.create_subprocess_exec(*pull_elsewhere(image, store))
    await sent.wait()
    part = store.home / "arriving" / f"sha256-{image.layer.digest.hex}.part"
    while not part.exists() or part.stat().st_size < 1 << 20:
        await asyncio.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    size = part.stat().st_size
    assert list(store.blobs()) == []
    async with RegistryClient() as client:
        await client.pull_blob(image.reference, image.layer, store)
    assert fake.requests[-1].headers["range"] == f"bytes={size}-"
    assert store.read(image.layer.digest) == DATA
    assert arriving(store) == []


async def test_a_part_that_was_damaged(fake: FaultyServer, store: BlobStore) -> None:
    image = image_of(fake, DATA)
    folder = store.home / "arriving"
    folder.mkdir()
    place = folder / f"sha256-{image.layer.digest.hex}"
    for name, wrong in {
        ".part": b"x" * 1000, "": DATA[:-1] + b"x",
    }.items():  # fmt: skip
        (folder / f"{place.name}{name}").write_bytes(wrong)
        async with RegistryClient() as client:
            await client.pull_blob(image.reference, image.layer, store)
        assert store.read(image.layer.digest) == DATA
        assert arriving(store) == []
        store.delete(image.layer.digest)


async def test_a_whole_blob_that_had_no_name_yet(fake: FaultyServer, store: BlobStore) -> None:
    """Its process died after the last byte: nothing is asked for, and all of it verified."""
    image = image_of(fake, DATA)
    (store.home / "arriving").mkdir()
    (store.home / "arriving" / f"sha256-{image.layer.digest.hex}").write_bytes(DATA)
    async with RegistryClient() as client:
        await client.pull_blob(image.reference, image.layer, store)
    assert image.blob_paths[0] not in fake.paths()
    assert store.read(image.layer.digest) == DATA


async def test_each_blob_once_for_two_processes(fake: FaultyServer, store: BlobStore) -> None:
    image = image_of(fake, DATA)
    begun, both = asyncio.Event(), asyncio.Event()

    async def waits(request: Request, out: Answer) -> None:
        begun.set()
        await both.wait()
        await content(DATA)(request, out)

    fake.script(image.blob_paths[0], waits)
    async with RegistryClient() as client:
        first = asyncio.ensure_future(client.pull_blob(image.reference, image.layer, store))
        await begun.wait()
        others = [
            await asyncio.create_subprocess_exec(*pull_elsewhere(image, store)) for _ in range(2)
        ]
        tasks = [
            asyncio.ensure_future(client.pull_blob(image.reference, image.layer, store))
            for _ in range(5)
        ]
        both.set()
        await asyncio.gather(first, *tasks)
        assert [await process.wait() for process in others] == [0, 0]
    assert fake.paths().count(image.blob_paths[0]) == 1
    assert list(store.verify()) == []
    assert arriving(store) == []


async def test_if_one_fails_the_next_takes_it_up(fake: FaultyServer, store: BlobStore) -> None:
    image = image_of(fake, DATA)
    fake.script(image.blob_paths[0], answer(403), content(DATA))
    async with RegistryClient() as client:
        results = await asyncio.gather(
            *(client.pull_blob(image.reference, image.layer, store) for _ in range(4)),
            return_exceptions=True,
        )
    assert sorted(isinstance(result, NbdockError) for result in results) == [False] * 3 + [True]


async def test_old_parts_are_removed(
    fake: FaultyServer, store: BlobStore, configured: Callable[..., None]
) -> None:
    image = image_of(fake, b"x")
    folder = store.home / "arriving"
    folder.mkdir()
    for name, age_s in (("sha256-old.part", 1000), ("sha256-new.part", 10), ("dead.lock", 1000)):
        (folder / name).write_bytes(b"x")
        then = (folder / name).stat().st_mtime - age_s
        os.utime(folder / name, (then, then))
    configured(partial_blob_max_age_s=100.0)
    async with RegistryClient() as client:
        await client.pull_blob(image.reference, image.layer, store)
    assert arriving(store) == ["sha256-new.part"]


async def test_odd_blobs(fake: FaultyServer, store: BlobStore) -> None:
    image = image_of(fake, b"", b"data")
    empty, full = image.manifest.layers
    longer = dataclasses.replace(full, digest=Digest.of(b"data", algorithm="sha512"))
    fake.script(f"/v2/a/b/blobs/{longer.digest}", short(b"data", 2), content(b"data"))
    within = dataclasses.replace(Descriptor.of(b"within", MediaType.OCI_LAYER), data=b"within")
    async with RegistryClient() as client:
        for descriptor in (empty, longer, within):
            await client.pull_blob(image.reference, descriptor, store)
            assert store.has(descriptor.digest, descriptor.size_bytes)
        unknown = dataclasses.replace(full, digest=Digest("blake3", "0" * 64))
        with pytest.raises(NbdockError, match="blake3"):
            await client.pull_blob(image.reference, unknown, store)
    assert list(store.verify()) == []


async def test_a_store_that_cannot_be_written(fake: FaultyServer, store: BlobStore) -> None:
    image = image_of(fake, b"x")
    (store.home / "arriving").write_bytes(b"a file")
    async with RegistryClient() as client:
        with pytest.raises(ContentError):
            await client.pull_blob(image.reference, image.layer, store)


# Tags


async def test_tags_in_pages(fake: FaultyServer) -> None:
    def page(tags: Any, link: str = "") -> Any:
        body = json.dumps({"name": "a/b", "tags": tags}).encode()
        return answer(200, body, {"Link": link} if link else {})

    reference = Reference(f"127.0.0.1:{fake.port}", "a/b")
    fake.script("/v2/a/b/tags/list?n=1000", page(["1", "2"], '</v2/a/b/tags/list?p=2>; rel="next"'))
    second = f'<{fake.url("/x")}>; rel="first", <list?p=3>; title="a, b>"; rel=next'
    fake.script("/v2/a/b/tags/list?p=2", page(["2", "3"], second))
    fake.script("/v2/a/b/tags/list?p=3", page(["4", "not a tag", "-x", "5" * 129], "<x>; rel=prev"))
    async with RegistryClient() as client:
        assert await client.tags(reference) == ("1", "2", "3", "4")
        fake.script("/v2/a/b/tags/list?p=3", page(None))
        assert await client.tags(reference) == ("1", "2", "3")
        fake.script("/v2/a/b/tags/list?p=3", page([], '</v2/a/b/tags/list?n=1000>; rel="next"'))
        with pytest.raises(RegistryError, match="circle"):
            await client.tags(reference)
        fake.script("/v2/a/b/tags/list?p=3", page("x"))
        with pytest.raises(InvalidManifestError):
            await client.tags(reference)


async def test_tags_without_end(fake: FaultyServer, configured: Callable[..., None]) -> None:
    configured(registry_tags_limit=50)
    base = "/v2/a/b/tags/list"
    for n in range(100):
        body = json.dumps({"tags": []}).encode()
        link = {"Link": f"<{base}?n={1001 + n}>; rel=next"}
        fake.script(f"{base}?n={1000 + n}", answer(200, body, link))
    async with RegistryClient() as client:
        with pytest.raises(RegistryError, match="more than 50 tags"):
            await client.tags(Reference(f"127.0.0.1:{fake.port}", "a/b"))


async def test_tags_of_a_real_registry(registry: Registry) -> None:
    names = [f"v{n}" for n in range(30)]
    image = registry.push("pull/tags", names[0])
    for name in names[1:]:
        registry.put_manifest("pull/tags", name, image.manifest, OCI_MANIFEST)
    async with RegistryClient() as client:
        assert sorted(await client.tags(Reference.parse(image.name))) == sorted(names)
