"""What a reference stands for, without fetching it."""

from __future__ import annotations

import pytest
from support.fake_registry import image_of
from support.faulty_server import Answer, Behaviour, FaultyServer, Request, answer
from support.registry import OCI_MANIFEST, Registry

from nbdock.content import BlobStore
from nbdock.errors import ManifestNotFoundError
from nbdock.oci import Descriptor, Digest, Reference
from nbdock.registry import RegistryClient


async def describe(name: str) -> Descriptor:
    async with RegistryClient() as client:
        return await client.describe(Reference.parse(name))


async def test_a_registry_is_asked_for_headers_only(registry: Registry) -> None:
    pushed = registry.push("describe/app", "1")
    index = registry.push_index("describe/app", "all", {"linux/amd64": pushed})
    before = len(registry.requests)
    found = await describe(f"{registry.host}/describe/app:1")
    assert found == Descriptor(OCI_MANIFEST, Digest.parse(pushed.digest), len(pushed.manifest))
    assert await describe(f"{registry.host}/describe/app@{pushed.digest}") == found
    assert str((await describe(f"{registry.host}/describe/app:all")).digest) == index
    asked = [line for line in registry.requests[before:] if "/manifests/" in line]
    assert len(asked) == 3
    assert all(line.startswith("HEAD ") for line in asked)


async def test_what_is_not_there(registry: Registry) -> None:
    registry.push("describe/missing", "1.1")
    with pytest.raises(ManifestNotFoundError, match=r"Did you mean 1\.1"):
        await describe(f"{registry.host}/describe/missing:1.2")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Docker-Content-Digest": "sha256:12"},
        {"Docker-Content-Digest": f"sha256:{'a' * 64}", "Content-Type": "text/html"},
        {"Docker-Content-Digest": f"md5:{'a' * 32}"},
    ],
)
async def test_a_registry_that_does_not_say(headers: dict[str, str]) -> None:
    data = b'{"schemaVersion": 2, "mediaType": "%s", "manifests": []}' % (
        b"application/vnd.oci.image.index.v1+json"
    )
    kind = "application/vnd.oci.image.index.v1+json"
    async with FaultyServer() as server:
        server.script("/v2/", answer(200))
        server.script(
            "/v2/a/manifests/1",
            answer(200, headers={"Content-Type": kind, **headers}),
            answer(200, data, headers={"Content-Type": kind}),
        )
        found = await describe(f"127.0.0.1:{server.port}/a:1")
        assert found == Descriptor(kind, Digest.of(data), len(data))
        asked = [r.method for r in server.requests if "manifests" in r.path]
        assert asked == ["HEAD", "GET"]


async def test_a_registry_that_does_not_answer_head() -> None:
    data = b'{"schemaVersion": 2, "manifests": []}'
    kind = "application/vnd.oci.image.index.v1+json"
    async with FaultyServer() as server:
        server.script("/v2/", answer(200))
        server.script(
            "/v2/a/manifests/1", answer(405), answer(200, data, headers={"Content-Type": kind})
        )
        found = await describe(f"127.0.0.1:{server.port}/a:1")
        assert found.digest == Digest.of(data)


async def test_what_a_mirror_said_is_not_lost(registry: Registry) -> None:
    registry.push("describe/mirrored", "1")
    mirrors = {"127.0.0.1:1": [f"http://{registry.host}/describe"]}
    async with RegistryClient(mirrors=mirrors) as client:
        found = await client.describe(Reference.parse("127.0.0.1:1/mirrored:1"))
        assert found.media_type == OCI_MANIFEST
        with pytest.raises(ManifestNotFoundError, match="in the mirror of") as caught:
            await client.describe(Reference.parse("127.0.0.1:1/mirrored:2"))
    assert "127.0.0.1:1 itself could not be asked" in str(caught.value)


@pytest.mark.parametrize(
    "head",
    [
        answer(404), answer(405), answer(400), answer(403),
        answer(200, headers={"Content-Type": OCI_MANIFEST}),
        # Of something that is not here, and of something of another size.
        answer(200, headers={"Content-Type": OCI_MANIFEST, "Content-Length": 3,
                             "Docker-Content-Digest": f"sha256:{'a' * 64}"}),
        answer(200, headers={"Content-Type": OCI_MANIFEST, "Content-Length": 3,
                             "Docker-Content-Digest": str(Digest.of(b"{}"))}),
    ],
)  # fmt: skip
async def test_what_may_be_there_is_fetched_if_it_is_not_clear(
    head: Behaviour, store: BlobStore, fake: FaultyServer
) -> None:
    image = image_of(fake, b"x")
    good = answer(200, image.data, {"Content-Type": OCI_MANIFEST})
    store.add(b"{}")

    async def behave(request: Request, out: Answer) -> None:
        await (head if request.method == "HEAD" else good)(request, out)

    fake.script(image.manifest_path, behave)
    async with RegistryClient() as client:
        found = await client.manifest(image.reference, store=store, may_be_there=True)
    assert found.data == image.data
    methods = [r.method for r in fake.requests if r.path == image.manifest_path]
    assert methods.count("GET") == 1
    assert methods[-1] == "GET"


async def test_what_is_there_costs_one_head(store: BlobStore, fake: FaultyServer) -> None:
    image = image_of(fake, b"x")
    async with RegistryClient() as client:
        for _ in range(3):
            found = await client.manifest(image.reference, store=store, may_be_there=True)
            assert (found.data, found.reference.tag) == (image.data, "1")
        # Damaged since: fetched again.
        path = store.path_of(found.descriptor.digest)
        path.chmod(0o600)
        path.write_bytes(b"x" * path.stat().st_size)
        assert (await client.manifest(image.reference, store=store, may_be_there=True)) == found
    asked = [(r.method, r.path.rpartition("/")[2][:6]) for r in fake.requests[1:]]
    assert asked == [
        ("HEAD", "1"), ("GET", "1"), ("HEAD", "1"), ("HEAD", "1"), ("HEAD", "1"), ("GET", "sha256")
    ]  # fmt: skip
