"""What refers to an image: lists that the registry does not keep, and mirrors that have some."""

from __future__ import annotations

import dataclasses

import pytest
from support.faulty_server import Answer, Behaviour, FaultyServer, Request, answer
from support.registry import OCI_INDEX, Registry

from nbdock.content import BlobStore
from nbdock.errors import ConnectionFailedError, RegistryError, RepositoryNotFoundError
from nbdock.oci import EMPTY_DESCRIPTOR, Descriptor, Digest, Index, Manifest, MediaType, Reference
from nbdock.registry import RegistryClient
from nbdock.registry.referrers import fallback_tag

SUBJECT = Descriptor.of(b"image", MediaType.OCI_MANIFEST)
TAG = fallback_tag(SUBJECT.digest)


def referrer(kind: str) -> Manifest:
    return Manifest(
        EMPTY_DESCRIPTOR, (EMPTY_DESCRIPTOR,), artifact_type=kind, subject=SUBJECT
    )  # fmt: skip


def described(document: Manifest) -> Descriptor:
    return dataclasses.replace(document.descriptor(), artifact_type=document.artifact_type)


class Manifests:
    """A registry without the referrers API that keeps manifests; others may write between."""

    def __init__(self, server: FaultyServer) -> None:
        self.place = Reference(f"127.0.0.1:{server.port}", "a/b")
        self.kept: dict[str, bytes] = {}
        self.others: list[Descriptor] = []
        self.puts = 0
        server._behaviour = self.behaviour  # type: ignore[method-assign]

    def behaviour(self, request: Request) -> Behaviour:
        name = request.path.rpartition("/")[2]
        if request.path == "/v2/":
            return answer(200)
        if request.method == "PUT":
            return self.put
        if name not in self.kept or "/manifests/" not in request.path:
            return answer(404)
        if request.method == "DELETE":
            del self.kept[name]
            return answer(202)
        kind = OCI_INDEX if name == TAG else MediaType.OCI_MANIFEST
        return answer(200, self.kept[name], {"Content-Type": kind})

    async def put(self, request: Request, out: Answer) -> None:
        name = request.path.rpartition("/")[2]
        if name != TAG:
            self.kept[name] = request.body
        else:
            self.puts += 1
            # Somebody else read before this was written, and writes after it.
            before = self.listed
            self.kept[name] = request.body
            if self.others:
                self.keep(*before, self.others.pop())
        await answer(201)(request, out)

    @property
    def listed(self) -> tuple[Descriptor, ...]:
        return Index.parse(self.kept[TAG], OCI_INDEX).manifests if TAG in self.kept else ()

    def keep(self, *listed: Descriptor) -> None:
        self.kept[TAG] = Index(listed).to_bytes()

    def add(self, document: Manifest) -> Reference:
        data = document.to_bytes()
        self.kept[str(Digest.of(data))] = data
        return self.place.with_digest(Digest.of(data))


@pytest.fixture
def manifests(fake: FaultyServer) -> Manifests:
    return Manifests(fake)


async def push(client: RegistryClient, place: Reference, document: Manifest) -> None:
    await client.push_manifest(place, document.to_bytes(), document.media_type)


async def test_others_may_add_at_the_same_time(manifests: Manifests) -> None:
    mine, *others = (referrer(f"application/{n}") for n in range(4))
    manifests.others = [described(document) for document in others]
    async with RegistryClient() as client:
        await push(client, manifests.place, mine)
    assert set(manifests.listed) == {described(d) for d in (mine, *others)}
    assert manifests.puts == 4


async def test_who_changes_it_for_ever_is_told_of(manifests: Manifests) -> None:
    manifests.others = [described(referrer(f"application/{n}")) for n in range(100)]
    async with RegistryClient() as client:
        with pytest.raises(RegistryError, match="keeps changing"):
            await push(client, manifests.place, referrer("application/mine"))


async def test_what_is_deleted_is_no_longer_listed(manifests: Manifests) -> None:
    one, two = (referrer(f"application/{n}") for n in (1, 2))
    gone = manifests.add(one)
    manifests.add(two)
    manifests.keep(described(one), described(two))
    other = described(referrer("application/3"))
    manifests.others = [other]
    async with RegistryClient() as client:
        await client.delete_manifest(gone)
    assert str(gone.digest) not in manifests.kept
    assert manifests.listed == (described(two), other)


async def test_what_was_never_listed_costs_no_writing(manifests: Manifests) -> None:
    gone = manifests.add(referrer("application/x"))
    no_referrer = manifests.add(Manifest(EMPTY_DESCRIPTOR, ()))
    manifests.kept["broken"] = b"{"
    broken = manifests.place.with_digest(Digest.of(b"other bytes"))
    manifests.kept[str(broken.digest)] = b"{"
    async with RegistryClient() as client:
        for reference in (gone, no_referrer, broken):
            await client.delete_manifest(reference)
    assert manifests.puts == 0
    assert list(manifests.kept) == ["broken"]


async def test_a_registry_that_keeps_the_list(fake: FaultyServer, manifests: Manifests) -> None:
    gone = manifests.add(referrer("application/x"))
    inner = manifests.behaviour

    def with_list(request: Request) -> Behaviour:
        if "/referrers/" in request.path:
            return answer(200, Index().to_bytes(), {"Content-Type": OCI_INDEX})
        return inner(request)

    fake._behaviour = with_list  # type: ignore[method-assign]
    manifests.keep(described(referrer("application/x")))
    async with RegistryClient() as client:
        await client.delete_manifest(gone)
    assert manifests.puts == 0


async def test_deletion_at_a_real_registry(registry: Registry, store: BlobStore) -> None:
    place = Reference.parse(f"{registry.host}/referrers/deleted")
    registry.push("referrers/deleted", "1")
    store.add(b"{}")
    documents = [referrer(f"application/{n}") for n in range(2)]
    async with RegistryClient() as client:
        await client.push_blob(place, EMPTY_DESCRIPTOR, store)
        for document in documents:
            await push(client, place, document)
        subject = place.with_digest(SUBJECT.digest)
        assert len((await client.referrers(subject)).manifests) == 2
        await client.delete_manifest(place.with_digest(Digest.of(documents[0].to_bytes())))
        (left,) = (await client.referrers(subject)).manifests
    assert left.artifact_type == "application/1"


class TestMirrors:
    """Lists come from mirrors as manifests do."""

    async def test_tags(self, registry: Registry, fake: FaultyServer) -> None:
        registry.push("mirrored/tags", "1")
        mirrors = {f"127.0.0.1:{fake.port}": [f"http://{registry.host}/mirrored"]}
        async with RegistryClient(mirrors=mirrors) as client:
            assert await client.tags(Reference(f"127.0.0.1:{fake.port}", "tags")) == ("1",)
            assert fake.requests == []
            fake.script("/v2/", answer(200))
            fake.script("/v2/other/tags/list?n=1000", answer(200, b'{"tags": ["own"]}'))
            # A mirror that does not have the repository.
            assert await client.tags(Reference(f"127.0.0.1:{fake.port}", "other")) == ("own",)
            with pytest.raises(RepositoryNotFoundError) as caught:
                await client.tags(Reference(f"127.0.0.1:{fake.port}", "neither"))
        assert f"Its mirror {registry.host} said: " in str(caught.value.hint)

    async def test_referrers(self, fake: FaultyServer) -> None:
        async with FaultyServer() as mirror:
            known = described(referrer("application/x"))
            path = f"/v2/a/b/referrers/{SUBJECT.digest}"
            kind = {"Content-Type": OCI_INDEX}
            mirror.script("/v2/", answer(200))
            mirror.script(
                path, answer(200, Index((known,)).to_bytes(), kind),
                answer(200, Index().to_bytes(), kind), answer(404),
            )  # fmt: skip
            fake.script("/v2/", answer(200))
            own = described(referrer("application/y"))
            fake.script(path, answer(200, Index((own,)).to_bytes(), kind))
            reference = Reference(f"127.0.0.1:{fake.port}", "a/b", digest=SUBJECT.digest)
            mirrors = {reference.registry: [f"http://127.0.0.1:{mirror.port}"]}
            async with RegistryClient(mirrors=mirrors) as client:
                assert (await client.referrers(reference)).manifests == (known,)
                assert fake.requests == []
                # That there is nothing, such as a signature, is not for a mirror to say.
                for _ in range(2):
                    assert (await client.referrers(reference)).manifests == (own,)
            mirrors = {"127.0.0.1:1": [f"http://127.0.0.1:{mirror.port}"]}
            async with RegistryClient(mirrors=mirrors) as client:
                with pytest.raises(ConnectionFailedError, match="nothing that refers to"):
                    await client.referrers(Reference("127.0.0.1:1", "a/b", digest=SUBJECT.digest))
