"""Pushing to a real registry, and to one that loses what it got."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from support.faulty_server import Answer, Behaviour, FaultyServer, Request, answer
from support.oracles import inspect, skopeo
from support.registry import (
    NO_DELETION,
    OCI_CONFIG,
    OCI_INDEX,
    READ_ONLY,
    Registry,
    docker_registry,
)

from nbdock.content import BlobStore
from nbdock.errors import (
    ArgumentTypeError,
    AuthenticationError,
    BlobNotFoundError,
    ConnectionFailedError,
    HttpStatusError,
    ManifestNotFoundError,
    NbdockError,
    RegistryError,
    SizeMismatchError,
    UploadError,
)
from nbdock.oci import EMPTY_DESCRIPTOR, Descriptor, Digest, Index, Manifest, MediaType, Reference
from nbdock.registry import RegistryClient

DATA = random.Random(1).randbytes(3 << 20)


def layer_in(store: BlobStore, data: bytes = DATA) -> Descriptor:
    store.add(data)
    return Descriptor.of(data, MediaType.OCI_LAYER)


def image_in(store: BlobStore, *layers: bytes) -> Manifest:
    diff_ids = [str(Digest.of(data)) for data in layers]
    document = {
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }  # fmt: skip
    config = json.dumps(document).encode()
    store.add(config)
    return Manifest(
        Descriptor.of(config, OCI_CONFIG), tuple(layer_in(store, data) for data in layers)
    )


async def push(client: RegistryClient, reference: Reference, manifest: Manifest, store: BlobStore):
    for descriptor in (manifest.config, *manifest.layers):
        await client.push_blob(reference, descriptor, store)
    return await client.push_manifest(reference, manifest.to_bytes(), manifest.media_type)


async def test_an_image_that_skopeo_reads(
    registry: Registry, store: BlobStore, tmp_path: Path
) -> None:
    manifest = image_in(store, DATA, b"", b"small")
    reference = Reference.parse(f"{registry.host}/push/app:1")
    async with RegistryClient() as client:
        seen: list[tuple[int, int]] = []
        await client.push_blob(
            reference, manifest.layers[0], store, progress=lambda *now: seen.append(now)
        )
        assert seen == sorted(seen)
        assert seen[-1] == (len(DATA), len(DATA))
        pushed = await push(client, reference, manifest, store)
        assert pushed == manifest.descriptor()
        fetched = await client.manifest(reference)
        assert fetched.data == manifest.to_bytes()
    found = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{reference}"))
    assert found["Digest"] == str(pushed.digest)
    skopeo(
        "copy", "--preserve-digests", "--src-tls-verify=false", f"docker://{reference}",
        f"oci:{tmp_path}/copy:1",
    )  # fmt: skip
    assert inspect(f"oci:{tmp_path}/copy:1")["Layers"] == [str(d.digest) for d in manifest.layers]
    # All of it was there the second time.
    assert registry.count("PUT .*push/app/blobs") == 4
    by_digest = reference.with_tag(None)
    async with RegistryClient() as client:
        other = dataclasses.replace(manifest, annotations={"a": "b"})
        pushed = await push(client, by_digest, other, store)
        assert (await client.manifest(by_digest.with_digest(pushed.digest))).manifest == other


async def test_an_index(registry: Registry, store: BlobStore) -> None:
    reference = Reference.parse(f"{registry.host}/push/index:1")
    manifest = image_in(store, b"x")
    async with RegistryClient() as client:
        pushed = await push(client, reference.with_tag(None), manifest, store)
        index = Index((pushed,))
        await client.push_manifest(reference, index.to_bytes(), index.media_type)
        assert (await client.manifest(reference)).manifest == index
        missing = Index((Descriptor(MediaType.OCI_MANIFEST, Digest.of(b"?"), 1),))
        with pytest.raises(UploadError, match="400"):
            await client.push_manifest(reference, missing.to_bytes(), missing.media_type)


async def test_chunks(
    registry: Registry, store: BlobStore, configured: Callable[..., None]
) -> None:
    layer = layer_in(store)
    configured(registry_chunk_bytes=1_000_000)
    reference = Reference.parse(f"{registry.host}/push/chunks:1")
    async with RegistryClient() as client:
        await client.push_blob(reference, layer, store)
        assert await client.has_blob(reference, layer.digest)
    assert registry.count("PATCH .*push/chunks") == 4
    assert registry.count("PUT .*push/chunks") == 1


async def test_mounts(registry: Registry, store: BlobStore) -> None:
    layer, other = layer_in(store), layer_in(store, b"not there")
    source = Reference.parse(f"{registry.host}/push/source:1")
    target = Reference.parse(f"{registry.host}/push/target:1")
    elsewhere = Reference.parse("elsewhere.example/push/source:1")
    nowhere = Reference.parse(f"{registry.host}/push/nowhere")
    async with RegistryClient() as client:
        await client.push_blob(source, layer, store)
        await client.push_blob(target, layer, store, mount_from=[elsewhere, target, source])
        assert await client.has_blob(target, layer.digest)
        assert registry.count("PUT .*push/target") == 0
        await client.push_blob(target, other, store, mount_from=[nowhere, source])
        assert await client.has_blob(target, other.digest)
    # A mount that failed began an upload, which was used.
    assert registry.count("POST .*push/target/blobs") == 2


async def test_what_the_store_does_not_have(registry: Registry, store: BlobStore) -> None:
    reference = Reference.parse(f"{registry.host}/push/lacking:1")
    layer = layer_in(store)
    async with RegistryClient() as client:
        with pytest.raises(BlobNotFoundError):
            await client.push_blob(reference, Descriptor.of(b"?", MediaType.OCI_LAYER), store)
        with pytest.raises(SizeMismatchError):
            await client.push_blob(reference, dataclasses.replace(layer, size_bytes=5), store)
        path = store.path_of(layer.digest)
        path.chmod(0o644)
        path.write_bytes(DATA[::-1])
        with pytest.raises(UploadError, match="digest"):
            await client.push_blob(reference, layer, store)
        assert not await client.has_blob(reference, layer.digest)


async def test_a_registry_that_is_only_read(store: BlobStore, tmp_path: Path) -> None:
    with docker_registry(tmp_path) as plain:
        plain.push("a/b", "1")
    with docker_registry(tmp_path, config=READ_ONLY) as running:
        reference = Reference.parse(f"{running.host}/a/b:1")
        layer = layer_in(store)
        async with RegistryClient() as client:
            fetched = await client.manifest(reference)
            for refused in (
                client.push_blob(reference, layer, store),
                client.push_manifest(
                    reference.with_tag("2"), fetched.data, fetched.manifest.media_type
                ),
                client.delete_manifest(fetched.reference),
            ):
                with pytest.raises(RegistryError) as caught:
                    await refused
                assert caught.value.status == 405


# Deletion


async def test_deletion(registry: Registry, tmp_path: Path) -> None:
    image = registry.push("push/deleted", "1")
    reference = Reference.parse(image.name)
    by_digest = reference.with_digest(Digest.parse(image.digest))
    layer = Digest.of(image.layers[0])
    async with RegistryClient() as client:
        with pytest.raises(RegistryError, match="give the digest"):
            await client.delete_manifest(reference)
        await client.delete_blob(reference, layer)
        assert not await client.has_blob(reference, layer)
        await client.delete_manifest(by_digest)
        with pytest.raises(ManifestNotFoundError):
            await client.delete_manifest(by_digest)
        with pytest.raises(RegistryError, match="404"):
            await client.delete_blob(reference, layer)
    with docker_registry(tmp_path, config=NO_DELETION) as other:
        image = other.push("a/b", "1")
        reference = Reference.parse(image.name)
        async with RegistryClient() as client:
            with pytest.raises(RegistryError, match="have to be allowed"):
                await client.delete_manifest(reference.with_digest(Digest.parse(image.digest)))


# Referrers


def referrer(subject: Descriptor, kind: str, **more: Any) -> Manifest:
    return Manifest(
        EMPTY_DESCRIPTOR, (EMPTY_DESCRIPTOR,), artifact_type=kind, subject=subject, **more
    )


async def test_referrers_of_a_registry_without_them(registry: Registry, store: BlobStore) -> None:
    reference = Reference.parse(f"{registry.host}/push/subject:1")
    manifest = image_in(store, b"x")
    store.add(b"{}")
    async with RegistryClient() as client:
        pushed = await push(client, reference, manifest, store)
        subject = reference.with_digest(pushed.digest)
        assert await client.referrers(subject) == Index()
        await client.push_blob(reference, EMPTY_DESCRIPTOR, store)
        kinds = ("application/x.sbom", "application/x.signature")
        documents = [referrer(pushed, kind, annotations={"is": kind}) for kind in kinds]
        for document in (*documents, documents[0]):
            await client.push_manifest(
                reference.with_tag(None), document.to_bytes(), document.media_type
            )
        found = (await client.referrers(subject)).manifests
        assert [d.digest for d in found] == [Digest.of(d.to_bytes()) for d in documents]
        assert [d.artifact_type for d in found] == list(kinds)
        assert found[0].annotations == {"is": kinds[0]}
        (one,) = (await client.referrers(subject, kinds[1])).manifests
        assert one.artifact_type == kinds[1]
        with pytest.raises(ArgumentTypeError, match="no digest"):
            await client.referrers(reference)


async def test_referrers_of_a_registry_with_them(fake: FaultyServer) -> None:
    digest = Digest.of(b"image")
    reference = Reference(f"127.0.0.1:{fake.port}", "a/b", digest=digest)
    entries = [
        dataclasses.replace(Descriptor.of(b"%d" % n, MediaType.OCI_MANIFEST), artifact_type=kind)
        for n, kind in enumerate(("a/x", "a/y", "a/x"))
    ]

    def page(*some: Descriptor, link: str = "") -> Behaviour:
        headers = {"Content-Type": OCI_INDEX, **({"Link": link} if link else {})}
        return answer(200, Index(some).to_bytes(), headers)

    base = f"/v2/a/b/referrers/{digest}"
    for query in ("", "?artifactType=a%2Fx"):
        link = f"<{base}?page=2>; rel=next"
        fake.script(base + query, page(*entries[:2], link=link))
    fake.script(f"{base}?page=2", page(entries[2]))
    async with RegistryClient() as client:
        assert (await client.referrers(reference)).manifests == tuple(entries)
        assert (await client.referrers(reference, "a/x")).manifests == (entries[0], entries[2])
        fake.script(f"{base}?page=2", page(link=f"<{base}>; rel=next"))
        with pytest.raises(RegistryError, match="no end"):
            await client.referrers(reference)
        fake.script(base, answer(200, b"<html>", {"Content-Type": "text/html"}))
        with pytest.raises(NbdockError):
            await client.referrers(reference)
        # With OCI-Subject, the registry keeps the list.
        document = referrer(entries[0], "a/x")
        name = f"/v2/a/b/manifests/{Digest.of(document.to_bytes())}"
        fake.script(name, answer(201, b"", {"OCI-Subject": str(entries[0].digest)}))
        before = len(fake.requests)
        await client.push_manifest(
            Reference(reference.registry, "a/b"), document.to_bytes(), document.media_type
        )
        assert len(fake.requests) == before + 1


# Faults


class Uploads:
    """The uploads of a registry on a `FaultyServer`; `faults` come before what it does properly."""

    def __init__(self, server: FaultyServer, *faults: Behaviour) -> None:
        self.server = server
        self.faults = list(faults)
        self.kept: dict[str, bytes] = {}
        self.session = 0
        self.got = bytearray()
        self.state = 0
        self.is_relative = True
        self.broken_at: int | None = None
        server._behaviour = self.behaviour  # type: ignore[method-assign]

    def behaviour(self, request: Request) -> Behaviour:
        if request.method in {"PATCH", "PUT"} and self.faults:
            return self.faults.pop(0)
        return self.answer

    def place(self) -> str:
        self.state += 1
        path = f"/uploads/{self.session}?state={self.state}"
        return path if self.is_relative else self.server.url(path)

    async def answer(self, request: Request, out: Answer) -> None:
        path = urlsplit(request.path)
        headers: dict[str, str | int] = {}
        status = 404
        if path.path == "/v2/":
            status = 200
        elif request.method == "HEAD":
            status = 200 if path.path.rpartition("/")[2] in self.kept else 404
        elif request.method == "POST":
            self.session += 1
            self.got = bytearray()
            status, headers = 202, {"Location": self.place()}
        elif path.path == f"/uploads/{self.session}":
            # Only the latest place is right.
            query = parse_qs(path.query)
            assert query["state"] == [str(self.state)]
            if request.method == "GET":
                status = 204
            elif request.method == "PATCH":
                start = int(request.headers["content-range"].partition("-")[0])
                if start != len(self.got):
                    status = 416
                else:
                    self.got += request.body
                    status = 202
            else:
                self.got += request.body
                digest = str(Digest.of(self.got))
                status = 201 if query["digest"] == [digest] else 400
                if status == 201:
                    self.kept[digest] = bytes(self.got)
            if status != 201:
                headers = {"Location": self.place(), "Range": f"0-{max(len(self.got) - 1, 0)}"}
        await answer(status, b"", headers)(request, out)


def gone(uploads: list[Uploads], keep: int | None = None) -> Behaviour:
    """Keeps some of what comes, forgets the session if None, and hangs up."""

    async def behave(request: Request, out: Answer) -> None:
        if keep is None:
            uploads[0].session += 1
        else:
            uploads[0].got += request.body[:keep]
        out.reset()

    return behave


@pytest.mark.parametrize("is_relative", [True, False])
@pytest.mark.parametrize("chunk_bytes", [1 << 20, 1 << 30])
@pytest.mark.parametrize(
    "faults",
    [
        [],
        ["reset"],
        ["keep", "keep"],
        ["forget"],
        [answer(503), answer(429, headers={"Retry-After": "0"})],
        [answer(416)],
        [answer(404, b'{"errors": [{"code": "BLOB_UPLOAD_UNKNOWN"}]}')],
        [answer(400, b'{"errors": [{"code": "BLOB_UPLOAD_INVALID"}]}')],
        ["keep", answer(500), "forget", answer(416)],
    ],
)
async def test_uploads_are_taken_up(
    fake: FaultyServer,
    store: BlobStore,
    configured: Callable[..., None],
    faults: list[Any],
    chunk_bytes: int,
    is_relative: bool,
) -> None:
    configured(registry_chunk_bytes=chunk_bytes)
    here: list[Uploads] = []
    kinds = {"reset": gone(here, 0), "keep": gone(here, 300_000), "forget": gone(here)}
    uploads = Uploads(fake, *(kinds[f] if isinstance(f, str) else f for f in faults))
    here.append(uploads)
    uploads.is_relative = is_relative
    layer = layer_in(store)
    async with RegistryClient() as client:
        await client.push_blob(Reference(f"127.0.0.1:{fake.port}", "a/b"), layer, store)
    assert uploads.kept == {str(layer.digest): DATA}
    if "keep" in faults:
        assert any(r.method == "GET" and r.path.startswith("/uploads") for r in fake.requests)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (answer(503), HttpStatusError),
        (answer(416), ConnectionFailedError),
        (answer(404), UploadError),
        (answer(400, b'{"errors": [{"code": "SIZE_INVALID", "message": "no"}]}'), UploadError),
        (answer(413), RegistryError),
        (
            answer(403, b'{"errors": [{"code": "DENIED"}]}'),
            AuthenticationError,
        ),
        (answer(429, headers={"Retry-After": "90000"}), HttpStatusError),
    ],
)
async def test_uploads_are_given_up(
    fake: FaultyServer, store: BlobStore, fault: Behaviour, error: type[NbdockError]
) -> None:
    uploads = Uploads(fake, *[fault] * 40)
    layer = layer_in(store)
    async with RegistryClient() as client:
        with pytest.raises(error) as caught:
            await client.push_blob(Reference(f"127.0.0.1:{fake.port}", "a/b"), layer, store)
    assert "state=" not in str(caught.value)
    assert len(fake.requests) < 30
    assert uploads.kept == {}


@pytest.mark.parametrize("location", ["", "http://[", "ftp://x/y", "\t"])
async def test_uploads_without_a_place(fake: FaultyServer, store: BlobStore, location: str) -> None:
    layer = layer_in(store, b"x")
    fake.script("/v2/a/b/blobs/uploads/", answer(202, b"", {"Location": location}))
    async with RegistryClient() as client:
        with pytest.raises(RegistryError):
            await client.push_blob(Reference(f"127.0.0.1:{fake.port}", "a/b"), layer, store)


@pytest.mark.parametrize("said", ["0-99999999", "bytes=0-99999999"])
async def test_a_registry_that_got_too_much(
    fake: FaultyServer, store: BlobStore, configured: Callable[..., None], said: str
) -> None:
    configured(registry_chunk_bytes=1 << 20)
    Uploads(fake, answer(202, b"", {"Range": said}))
    async with RegistryClient() as client:
        with pytest.raises(UploadError, match="100,000,000"):
            await client.push_blob(
                Reference(f"127.0.0.1:{fake.port}", "a/b"), layer_in(store), store
            )


async def test_a_registry_that_stands_still(
    fake: FaultyServer, store: BlobStore, configured: Callable[..., None]
) -> None:
    configured(registry_chunk_bytes=1 << 20)
    Uploads(fake, *[answer(202, b"", {"Range": "0-0"})] * 100)
    async with RegistryClient() as client:
        with pytest.raises(NbdockError):
            await client.push_blob(
                Reference(f"127.0.0.1:{fake.port}", "a/b"), layer_in(store), store
            )
    assert len(fake.requests) < 30


async def test_cancelled_pushes(fake: FaultyServer, store: BlobStore) -> None:
    begun = asyncio.Event()

    async def stuck(request: Request, out: Answer) -> None:
        begun.set()
        await asyncio.Event().wait()

    Uploads(fake, stuck)
    async with RegistryClient() as client:
        task = asyncio.ensure_future(
            client.push_blob(Reference(f"127.0.0.1:{fake.port}", "a/b"), layer_in(store), store)
        )
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_mounts_that_are_refused(fake: FaultyServer, store: BlobStore) -> None:
    uploads = Uploads(fake)
    proper = uploads.answer
    for status in (400, 401, 403, 404, 405, 500):

        async def refusing(request: Request, out: Answer, status: int = status) -> None:
            if "mount=" in request.path:
                await answer(status)(request, out)
            else:
                await proper(request, out)

        uploads.answer = refusing  # type: ignore[method-assign]
        data = b"%d" % status
        reference = Reference(f"127.0.0.1:{fake.port}", "a/b")
        async with RegistryClient() as client:
            source = Reference(reference.registry, "c/d")
            await client.push_blob(reference, layer_in(store, data), store, mount_from=[source])
        assert uploads.kept[str(Digest.of(data))] == data
    assert any(re.search(r"mount=sha256:[0-9a-f]{64}&from=c/d$", path) for path in fake.paths())


async def test_what_a_redirected_head_says(fake: FaultyServer, store: BlobStore) -> None:
    layer = layer_in(store, b"x")
    fake.script(
        f"/v2/a/b/blobs/{layer.digest}", answer(307, headers={"Location": "http://10.0.0.1/"})
    )
    async with RegistryClient() as client:
        await client.push_blob(Reference(f"127.0.0.1:{fake.port}", "a/b"), layer, store)
    assert [r.method for r in fake.requests] == ["GET", "HEAD"]


async def test_a_manifest_that_is_changed_on_its_way(fake: FaultyServer, store: BlobStore) -> None:
    manifest = image_in(store, b"x")
    said = {"Docker-Content-Digest": f"sha256:{'0' * 64}"}
    fake.script("/v2/a/b/manifests/1", answer(201, b"", said))
    reference = Reference(f"127.0.0.1:{fake.port}", "a/b", "1")
    async with RegistryClient() as client:
        with pytest.raises(UploadError, match="changes what is sent"):
            await client.push_manifest(reference, manifest.to_bytes(), manifest.media_type)
        fake.script("/v2/a/b/manifests/1", answer(503), answer(413))
        with pytest.raises(UploadError, match="so large"):
            await client.push_manifest(reference, manifest.to_bytes(), manifest.media_type)
        with pytest.raises(NbdockError):
            await client.push_manifest(reference, b"{}", manifest.media_type)
