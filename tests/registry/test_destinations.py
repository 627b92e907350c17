"""Where registries may lead: each way of leading to a forbidden place, and each kind of place.

A registry "in the world" is one on loopback that the test says is in the world: the judge is the
real one for every other address.
"""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.certificates import Authority
from support.fake_registry import PASSWORD, USER, FakeImage, guarded, image_of
from support.faulty_server import FaultyServer, answer, content, redirect

from nbdock.content import BlobStore
from nbdock.errors import (
    AuthenticationError,
    ConnectionFailedError,
    NbdockError,
    RegistryError,
    TransportError,
    UnsafeDestinationError,
)
from nbdock.oci import Descriptor, MediaType, Reference
from nbdock.registry import Credentials, RegistryClient
from nbdock.registry.destinations import Destinations, Zone, is_this_machine, zone_of
from nbdock.transport import Transport, basic_authorization

MINE = Credentials(USER, PASSWORD)
MINE_BASIC = basic_authorization(USER, PASSWORD)

INSIDE = {
    "127.0.0.1": Zone.THIS_MACHINE, "127.255.255.254": Zone.THIS_MACHINE, "::1": Zone.THIS_MACHINE,
    "::ffff:127.0.0.1": Zone.THIS_MACHINE, "::127.0.0.1": Zone.THIS_MACHINE,
    "64:ff9b::7f00:1": Zone.THIS_MACHINE, "2002:7f00:1::": Zone.THIS_MACHINE,
    "10.0.0.1": Zone.PRIVATE, "172.31.0.1": Zone.PRIVATE, "192.168.1.1": Zone.PRIVATE,
    "100.64.0.1": Zone.PRIVATE, "fc00::1": Zone.PRIVATE, "fd12:3456::1": Zone.PRIVATE,
    "::ffff:10.0.0.1": Zone.PRIVATE, "64:ff9b::a00:1": Zone.PRIVATE,
    "2002:c0a8:101::1": Zone.PRIVATE,
    "169.254.169.254": Zone.FORBIDDEN, "fe80::1": Zone.FORBIDDEN, "fe80::1%eth0": Zone.FORBIDDEN,
    "fd00:ec2::254": Zone.FORBIDDEN, "100.100.100.200": Zone.FORBIDDEN, "0.0.0.0": Zone.FORBIDDEN,
    "0.1.2.3": Zone.FORBIDDEN, "::": Zone.FORBIDDEN, "224.0.0.1": Zone.FORBIDDEN,
    "ff02::1": Zone.FORBIDDEN, "240.0.0.1": Zone.FORBIDDEN, "255.255.255.255": Zone.FORBIDDEN,
    "::ffff:169.254.169.254": Zone.FORBIDDEN, "64:ff9b::a9fe:a9fe": Zone.FORBIDDEN,
    "2001:db8::1": Zone.FORBIDDEN, "192.0.2.1": Zone.FORBIDDEN,
}  # fmt: skip
OUTSIDE = ("8.8.8.8", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "2002:808:808::1")


@pytest.mark.parametrize(("address", "zone"), INSIDE.items())
def test_zones_inside(address: str, zone: Zone) -> None:
    assert zone_of(address) is zone


@pytest.mark.parametrize("address", OUTSIDE)
def test_the_world(address: str) -> None:
    assert zone_of(address) is Zone.WORLD


@given(st.ip_addresses())
def test_every_address_is_somewhere(address: Any) -> None:
    zone = zone_of(str(address))
    if address.is_loopback or address.is_link_local or address.is_multicast:
        assert zone is not Zone.WORLD


@pytest.mark.parametrize(
    ("name", "expected"),
    [("localhost", True), ("LOCALHOST:5000", True), ("a.localhost", True), ("127.0.0.1:1", True),
     ("[::1]:5000", True), ("127.1", True), ("2130706433", True), ("0x7f000001", True),
     ("localhost.example", False), ("127.0.0.1.example", False), ("10.0.0.1", False),
     ("docker.io", False), ("0.0.0.0:5000", False), ("[::2]", False)],
)  # fmt: skip
def test_names_of_this_machine(name: str, expected: bool) -> None:
    assert is_this_machine(name) is expected


# What one registry may name


def judge(home: str, table: dict[str, Sequence[str]], **more: Any) -> Destinations:
    async def resolve(host: str, port: int) -> Sequence[str]:
        if host not in table:
            raise socket.gaierror("no such name")
        return table[host]

    return Destinations(home, resolve=resolve, **more)


WORLD, PRIVATE, HERE = "8.8.8.8", "10.0.0.1", "127.0.0.1"


@pytest.mark.parametrize(
    ("home", "target", "is_allowed"),
    [
        (WORLD, WORLD, True), (WORLD, PRIVATE, False), (WORLD, HERE, False),
        (PRIVATE, WORLD, True), (PRIVATE, PRIVATE, True), (PRIVATE, HERE, False),
        (HERE, WORLD, True), (HERE, PRIVATE, True), (HERE, HERE, True),
        (WORLD, "169.254.169.254", False), (PRIVATE, "169.254.169.254", False),
        (HERE, "169.254.169.254", False), (HERE, "0.0.0.0", False), (HERE, "fe80::1", False),
        ("169.254.1.1", PRIVATE, True), ("169.254.1.1", HERE, False),
    ],
)  # fmt: skip
async def test_no_further_inside(home: str, target: str, is_allowed: bool) -> None:
    places = judge("home.example", {"home.example": [home], "t.example": [target]})
    assert await places.addresses("home.example", 443) == [home]
    if is_allowed:
        assert await places.addresses("t.example", 443) == [target]
    else:
        with pytest.raises(UnsafeDestinationError, match=r"leads to t\.example"):
            await places.addresses("t.example", 443)


async def test_one_bad_address_of_several_is_enough() -> None:
    places = judge("home.example", {"home.example": [WORLD], "t.example": [WORLD, HERE]})
    await places.addresses("home.example", 443)
    with pytest.raises(UnsafeDestinationError):
        await places.addresses("t.example", 443)


async def test_nothing_is_inside_before_the_registry_was_seen() -> None:
    places = judge("home.example", {"t.example": [PRIVATE]})
    with pytest.raises(UnsafeDestinationError):
        await places.addresses("t.example", 443)


async def test_a_registry_that_moves_inside() -> None:
    table: dict[str, Sequence[str]] = {"home.example": [WORLD], "t.example": [HERE]}
    places = judge("home.example", table)
    await places.addresses("home.example", 443)
    table["home.example"] = [HERE]
    with pytest.raises(UnsafeDestinationError):
        await places.addresses("home.example", 443)
    with pytest.raises(UnsafeDestinationError):
        await places.addresses("t.example", 443)
    table["home.example"] = ["1.1.1.1"]
    assert await places.addresses("home.example", 443) == ["1.1.1.1"]


async def test_trusted_hosts() -> None:
    places = judge("home.example", {"t.example": [PRIVATE]}, trusted=["T.example"])
    assert await places.addresses("t.example", 443) == [PRIVATE]
    places.check("https://t.example/")


@pytest.mark.parametrize(
    "url",
    ["https://127.0.0.1/", "https://localhost/", "https://LOCALHOST./", "https://x.localhost/",
     "https://[::1]/", "https://2130706433/", "https://0x7f.1/", "https://0177.0.0.1/",
     "https://10.1/", "https://169.254.169.254/latest/", "https://[::ffff:10.0.0.1]/",
     "https://0.0.0.0/", "https://0/"],
)  # fmt: skip
def test_what_urls_say_by_themselves(url: str) -> None:
    with pytest.raises(UnsafeDestinationError):
        Destinations("home.example").check(url)
    with pytest.raises(UnsafeDestinationError):
        Destinations("home.example").check_secret(url, "https://home.example")


@pytest.mark.parametrize(
    ("home", "url", "is_allowed"),
    [
        ("https://home.example", "https://home.example/token", True),
        ("https://home.example", "https://auth.example/token", True),
        ("https://home.example", "http://home.example/token", False),
        ("https://home.example", "http://auth.example/token", False),
        ("http://home.example", "http://home.example:81/token", True),
        ("http://home.example", "http://auth.example/token", False),
        ("http://home.example", "https://auth.example/token", True),
        ("http://127.0.0.1:5000", "http://127.0.0.2:5001/token", True),
        ("http://localhost:5000", "http://auth.example/token", True),
        ("https://home.example", "https://u:p@auth.example/token", False),
        ("https://home.example", "https://home.example@evil.example/", False),
        ("https://home.example", "ftp://home.example/", False),
        ("https://home.example", "//home.example/", False),
        ("https://home.example", "token", False),
        ("https://home.example", "", False),
        ("https://home.example", "file:///etc/passwd", False),
        ("https://home.example", "https://", False),
        ("https://home.example", "https://[", False),
    ],
)
def test_where_secrets_may_go(home: str, url: str, is_allowed: bool) -> None:
    places = Destinations(home.partition("://")[2].split(":")[0])
    if is_allowed:
        places.check_secret(url, home)
    else:
        with pytest.raises(UnsafeDestinationError):
            places.check_secret(url, home)


# Through a whole client


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    authority = Authority(tmp_path / "authority")
    context = authority.server_context("registry.test", "auth.test", "cdn.test", "evil.test")
    async with (
        FaultyServer(tls=context, name="registry.test") as registry,
        FaultyServer(tls=context, name="evil.test") as inner,
    ):
        yield World(registry, inner, authority)


class World:
    """A registry in the world, and a service where it has no business: both with TLS.

    ``registry.test``, ``auth.test`` and ``cdn.test`` are in the world; ``evil.test`` is on this
    machine; ``moving.test`` is in the world when asked for the first time.
    """

    def __init__(self, registry: FaultyServer, inner: FaultyServer, authority: Authority) -> None:
        self.registry = registry
        self.inner = inner
        self.authority = authority
        self.lookups: list[str] = []
        self.image = image_of(registry, b"data", name="registry.test")

    def client(self, **more: Any) -> RegistryClient:
        return RegistryClient(
            **{"credentials": MINE, "ca_file": self.authority.ca_file, "_places": self.places}
            | more
        )

    def places(self, home: str) -> Destinations:
        # The address stands for one in the world where the name is one of those.
        at = {"127.0.0.1": Zone.WORLD, "127.0.0.2": Zone.THIS_MACHINE}

        async def resolve(host: str, port: int) -> Sequence[str]:
            self.lookups.append(host)
            if host in ("registry.test", "auth.test", "cdn.test"):
                return ["127.0.0.1"]
            if host == "moving.test" and self.lookups.count(host) == 1:
                return ["127.0.0.1"]
            return ["127.0.0.2"]

        def zone(address: str) -> Zone:
            return at[address] if address in at else zone_of(address)

        return Destinations(home, resolve=resolve, zone=zone)


BAD_PLACES = (
    "https://evil.test:{port}/x", "https://127.0.0.1:{port}/x", "https://localhost:{port}/x",
    "https://[::1]:{port}/x", "https://169.254.169.254/latest/meta-data", "https://10.0.0.1/x",
    "https://2130706433:{port}/x", "https://[::ffff:127.0.0.1]:{port}/x",
)  # fmt: skip


@pytest.mark.parametrize("place", [*BAD_PLACES, "http://auth.test:{port}/x"])
async def test_realms(world: World, place: str) -> None:
    realm = place.format(port=world.inner.port)
    world.registry.script(
        world.image.manifest_path, guarded(f'Bearer realm="{realm}"', "Bearer t")(content(b""))
    )
    async with world.client() as client:
        with pytest.raises(UnsafeDestinationError, match="Nothing was sent") as caught:
            await client.manifest(world.image.reference)
    assert PASSWORD not in str(caught.value)
    assert world.inner.requests == []
    assert world.inner.connections_most == 0


async def test_a_realm_in_the_world(world: World) -> None:
    realm = world.registry.url("/token", name="auth.test")
    image = image_of(
        world.registry, b"x", name="registry.test",
        guard=guarded(f'Bearer realm="{realm}"', "Bearer t"),
    )  # fmt: skip
    query = "scope=repository%3Aa%2Fb%3Apull&account=me"
    world.registry.script(f"/token?{query}", answer(200, b'{"token": "t"}'))
    async with world.client() as client:
        await client.manifest(image.reference)


async def test_a_realm_that_redirects_inside(world: World) -> None:
    """The bypass of a check that is made of the realm alone."""
    realm = world.registry.url("/token", name="auth.test")
    image = image_of(
        world.registry, b"x", name="registry.test",
        guard=guarded(f'Bearer realm="{realm}"', "Bearer t"),
    )  # fmt: skip
    query = "scope=repository%3Aa%2Fb%3Apull&account=me"
    for place in BAD_PLACES:
        target = place.format(port=world.inner.port)
        world.registry.script(f"/token?{query}", redirect(target, 307))
        async with world.client() as client:
            with pytest.raises(UnsafeDestinationError):
                await client.manifest(image.reference)
    assert world.inner.connections_most == 0


async def test_the_address_that_was_judged_is_the_one_that_is_used(world: World) -> None:
    """A name server that answers otherwise the second time."""
    realm = world.inner.url("/token", name="moving.test")
    image = image_of(
        world.registry, b"x", name="registry.test",
        guard=guarded(f'Bearer realm="{realm}"', "Bearer t"),
    )  # fmt: skip
    async with world.client() as client:
        # It is asked once, and the connection goes there: not trusted, for it has no certificate.
        with pytest.raises(TransportError):
            await client.manifest(image.reference)
        assert world.lookups.count("moving.test") == 1
        with pytest.raises(UnsafeDestinationError):
            await client.manifest(image.reference)


@pytest.mark.parametrize("place", BAD_PLACES)
async def test_redirects_of_blobs(world: World, store: BlobStore, place: str) -> None:
    target = place.format(port=world.inner.port)
    world.registry.script(world.image.blob_paths[0], redirect(target, 307))
    async with world.client() as client:
        with pytest.raises(UnsafeDestinationError):
            await client.pull_blob(world.image.reference, world.image.layer, store)
    assert world.inner.connections_most == 0


async def test_a_redirect_into_the_world(world: World, store: BlobStore) -> None:
    away = world.registry.url("/blob", name="cdn.test")
    image = image_of(
        world.registry, b"data", name="registry.test", guard=guarded("Basic", "Basic x")
    )
    with_login = guarded("Basic realm=x", MINE_BASIC)
    world.registry.script(image.blob_paths[0], with_login(redirect(away, 307)))
    world.registry.script("/blob", content(b"data"))
    async with world.client() as client:
        await client.pull_blob(image.reference, image.layer, store)
    last = world.registry.requests[-1]
    assert last.path == "/blob"
    assert last.headers["host"] == f"cdn.test:{world.registry.port}"
    assert "authorization" not in last.headers


@pytest.mark.parametrize(
    "place", [*BAD_PLACES, "http://cdn.test/x", "ftp://x/", "https://u:p@cdn.test/"]
)
async def test_upload_locations(world: World, store: BlobStore, place: str) -> None:
    location = place.format(port=world.inner.port)
    store.add(b"data")
    base = f"/v2/{world.image.reference.repository}/blobs/uploads/"
    world.registry.script(world.image.blob_paths[0], answer(404))
    world.registry.script(base, answer(202, b"", {"Location": location}))
    async with world.client() as client:
        with pytest.raises(UnsafeDestinationError):
            await client.push_blob(world.image.reference, world.image.layer, store)
    assert world.inner.connections_most == 0


async def test_an_upload_in_the_world_gets_no_login(world: World, store: BlobStore) -> None:
    image, server = world.image, world.registry
    store.add(b"data")
    with_login = guarded("Basic realm=x", MINE_BASIC)
    place = server.url("/put?state=1", name="cdn.test")
    server.script(image.blob_paths[0], with_login(answer(404)))
    server.script("/v2/a/b/blobs/uploads/", with_login(answer(202, b"", {"Location": place})))
    server.script(f"/put?state=1&digest={image.layer.digest}", answer(201))
    async with world.client() as client:
        await client.push_blob(image.reference, image.layer, store)
    last = server.requests[-1]
    assert (last.method, last.body) == ("PUT", b"data")
    assert "authorization" not in last.headers


async def test_an_upload_that_wants_a_login_elsewhere(world: World, store: BlobStore) -> None:
    server = world.registry
    store.add(b"data")
    place = server.url("/put", name="cdn.test")
    server.script(world.image.blob_paths[0], answer(404))
    server.script("/v2/a/b/blobs/uploads/", answer(202, b"", {"Location": place}))
    server.script(
        f"/put?digest={world.image.layer.digest}", guarded("Basic realm=x", MINE_BASIC)(answer(201))
    )
    async with world.client() as client:
        with pytest.raises(AuthenticationError):
            await client.push_blob(world.image.reference, world.image.layer, store)
    assert not any("authorization" in request.headers for request in server.requests)


# Foreign layers (CVE-2020-15157)


def foreign(image: FakeImage, *urls: str) -> Descriptor:
    return Descriptor(
        MediaType.OCI_FOREIGN_LAYER, image.layer.digest, image.layer.size_bytes, urls=urls
    )


async def test_foreign_layers_are_fetched_only_if_wanted(
    world: World, store: BlobStore, configured: Callable[..., None]
) -> None:
    image, server = world.image, world.registry
    layer = foreign(image, server.url("/gone", name="cdn.test"), server.url("/f", name="cdn.test"))
    with_login = guarded("Basic realm=x", MINE_BASIC)
    server.script(image.blob_paths[0], with_login(answer(404)))
    server.script("/f", content(b"data"))
    async with world.client() as client:
        with pytest.raises(RegistryError, match="registry_foreign_layers"):
            await client.pull_blob(image.reference, layer, store)
    assert "/f" not in server.paths()
    configured(registry_foreign_layers=True)
    async with world.client() as client:
        await client.pull_blob(image.reference, layer, store)
    assert "authorization" not in server.requests[-1].headers
    assert store.read(layer.digest) == b"data"


@pytest.mark.parametrize("place", [*BAD_PLACES, "http://cdn.test/x", "file:///etc/passwd"])
async def test_places_of_foreign_layers(
    world: World, store: BlobStore, configured: Callable[..., None], place: str
) -> None:
    configured(registry_foreign_layers=True)
    world.registry.script(world.image.blob_paths[0], answer(404))
    layer = foreign(world.image, place.format(port=world.inner.port))
    async with world.client() as client:
        with pytest.raises(UnsafeDestinationError):
            await client.pull_blob(world.image.reference, layer, store)
    assert world.inner.connections_most == 0


async def test_foreign_layers_that_want_a_login(
    world: World, store: BlobStore, configured: Callable[..., None]
) -> None:
    configured(registry_foreign_layers=True)
    server = world.registry
    server.script(world.image.blob_paths[0], answer(404))
    server.script("/f", guarded("Basic realm=x", MINE_BASIC)(content(b"data")))
    for name in ("cdn.test", "registry.test"):
        layer = foreign(world.image, server.url("/f", name=name))
        async with world.client() as client:
            with pytest.raises(NbdockError, match="401"):
                await client.pull_blob(world.image.reference, layer, store)
    assert not any("authorization" in request.headers for request in server.requests)


async def test_pages_elsewhere(world: World) -> None:
    page = json.dumps({"name": "a/b", "tags": ["1"]}).encode()
    for target in (world.inner.url("/x"), "//evil.test/x", "http://registry.test/x", "https://["):
        link = {"Link": f'<{target}>; rel="next"'}
        world.registry.script("/v2/a/b/tags/list?n=1000", answer(200, page, link))
        async with world.client() as client:
            with pytest.raises(UnsafeDestinationError):
                await client.tags(world.image.reference)
    assert world.inner.connections_most == 0


# The guard itself


async def test_a_name_that_cannot_be_resolved() -> None:
    guard = judge("home.example", {})
    async with Transport(guard=guard) as transport:
        attempts = transport.attempts("http://home.example/", retries=0)
        with pytest.raises(ConnectionFailedError, match="cannot be resolved"):
            async with transport.stream("GET", "http://home.example/", attempts=attempts):
                pass


async def test_the_next_address_is_tried(fake: FaultyServer) -> None:
    fake.script("/", content(b"ok"))
    guard = judge("home.example", {"home.example": ["127.0.0.2", "127.0.0.1"]})
    url = f"http://home.example:{fake.port}/"
    async with Transport(guard=guard) as transport:
        assert await transport.get_bytes(url, limit_bytes=9) == b"ok"
    assert fake.requests[0].headers["host"] == f"home.example:{fake.port}"


def test_a_httpx_that_cannot_be_guarded_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    from nbdock.transport.guarded import guard_connections

    client = httpx.AsyncClient(transport=httpx.MockTransport(lambda request: httpx.Response(200)))
    with pytest.raises(RuntimeError, match="guarded"):
        guard_connections(client, Destinations("home.example"))


def test_references_are_no_way_around() -> None:
    """Digests and repositories become parts of URLs: CVE-2024-3727."""
    for text in (
        "h.example/a/../b:1",
        "h.example/a@sha256:../../x",
        "h.example/a?x:1",
        "h.example/a#b",
    ):
        with pytest.raises(NbdockError):
            Reference.parse(text)
