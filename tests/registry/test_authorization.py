"""Basic logins and tokens, at a real registry and at ones that do odd things."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from support.fake_registry import PASSWORD, USER, WithTokens, guarded, image_of
from support.faulty_server import (
    Answer,
    Behaviour,
    FaultyServer,
    Request,
    answer,
    content,
    endless,
    redirect,
    short,
)
from support.registry import Registry

from nbdock.content import BlobStore
from nbdock.errors import (
    AuthenticationError,
    ConnectionFailedError,
    NbdockError,
    RegistryError,
    TransportError,
)
from nbdock.oci import Digest, MediaType, Reference
from nbdock.registry import Credentials, RegistryClient
from nbdock.transport import basic_authorization

MINE = Credentials(USER, PASSWORD)
BASIC = basic_authorization(USER, PASSWORD)


def token(text: str, **more: Any) -> Behaviour:
    return answer(200, json.dumps({"token": text, **more}).encode())


def bearer(server: FaultyServer, path: str = "/token", **more: str) -> str:
    said = "".join(f',{name}="{value}"' for name, value in more.items())
    return f'Bearer realm="{server.url(path)}"{said}'


# A real registry


async def test_a_login(login_registry: Registry, store: BlobStore) -> None:
    image = login_registry.push("login/app", "1")
    reference = Reference.parse(image.name)
    async with RegistryClient(credentials=MINE) as client:
        fetched = await client.manifest(reference)
        for layer in fetched.manifest.layers:
            await client.pull_blob(reference, layer, store)
        assert await client.tags(reference) == ("1",)
    for credentials, hint in {
        Credentials.none(): "There is no login for",
        Credentials(USER, "wrong"): f"The login of {USER!r} from the login that was given was used",
        Credentials(USER, PASSWORD, registry="other.example"): "There is no login",
    }.items():
        async with RegistryClient(credentials=credentials) as client:
            with pytest.raises(AuthenticationError, match="401") as caught:
                await client.manifest(reference)
        assert hint in str(caught.value)
        assert caught.value.status == 401
        assert PASSWORD not in str(caught.value)


async def test_tokens(token_registry: WithTokens, store: BlobStore) -> None:
    host = token_registry.registry.host
    asked = token_registry.tokens.requests
    public = Reference.parse(f"{host}/public/app:1")
    private = Reference.parse(f"{host}/private/app:1")
    async with RegistryClient(credentials=Credentials.none()) as client:
        before = len(asked)
        fetched = await client.manifest(public)
        await asyncio.gather(
            *(client.pull_blob(public, layer, store) for layer in fetched.manifest.layers),
            client.blob_bytes(public, fetched.manifest.config),
            client.tags(public),
        )
        assert [r.scopes for r in asked[before:]] == [("repository:public/app:pull",)]
        with pytest.raises(AuthenticationError, match="There is no login") as caught:
            await client.manifest(private)
        assert "UNAUTHORIZED" in caught.value.codes
    async with RegistryClient(credentials=MINE) as client:
        before = len(asked)
        fetched = await client.manifest(private)
        blob = store.add(b"pushed")
        await client.push_blob(private, fetched.manifest.config, store)
        assert not await client.has_blob(private, blob)
        assert [r.scopes for r in asked[before:]] == [
            ("repository:private/app:pull",), ("repository:private/app:pull,push",),
        ]  # fmt: skip
        assert {r.user for r in asked[before:]} == {USER}
    async with RegistryClient(credentials=Credentials(USER, "wrong")) as client:
        with pytest.raises(AuthenticationError, match="incorrect username or password"):
            await client.manifest(private)


async def test_mounting_asks_for_both(token_registry: WithTokens, store: BlobStore) -> None:
    host = token_registry.registry.host
    source = Reference.parse(f"{host}/private/other:1")
    target = Reference.parse(f"{host}/private/new:1")
    async with RegistryClient(credentials=MINE) as client:
        layer = (await client.manifest(source)).manifest.layers[0]
        await client.pull_blob(source, layer, store)
        await client.push_blob(target, layer, store, mount_from=[source])
        assert await client.has_blob(target, layer.digest)
    assert token_registry.tokens.requests[-1].scopes == (
        "repository:private/new:pull,push", "repository:private/other:pull",
    )  # fmt: skip
    assert token_registry.registry.count(r"PATCH|PUT .*private/new/blobs") == 0


async def test_an_identity_token(token_registry: WithTokens, tmp_path) -> None:
    host = token_registry.registry.host
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"auths": {host: {"identitytoken": f"identity-of-{USER}"}}}))
    async with RegistryClient(credentials=Credentials(files=[file])) as client:
        await client.manifest(Reference.parse(f"{host}/private/app:1"))
    asked = token_registry.tokens.requests[-1]
    assert (asked.method, asked.authorization) == ("POST", "")
    assert asked.form["service"] == "nbdock-registry"
    assert asked.scopes == ("repository:private/app:pull",)
    file.write_text(json.dumps({"auths": {host: {"identitytoken": "SECRET-other"}}}))
    async with RegistryClient(credentials=Credentials(files=[file])) as client:
        with pytest.raises(AuthenticationError, match="invalid_grant") as caught:
            await client.manifest(Reference.parse(f"{host}/private/app:1"))
    assert "SECRET" not in str(caught.value)


# Tokens that end


async def test_a_token_is_kept_as_long_as_it_lives(fake: FaultyServer) -> None:
    image = image_of(fake, b"x", guard=guarded(bearer(fake), "Bearer t1", "Bearer t2"))
    fake.script("/token?scope=repository%3Aa%2Fb%3Apull", token("t1"), token("t2"))
    async with RegistryClient(credentials=Credentials.none()) as client:
        clock = [0.0]
        for _ in range(2):
            await client.manifest(image.reference)
            host = next(iter(client._hosts._open.values()))
            host._authorization._clock_s = lambda: clock[0]
        # The first token got its time from the real clock; from here on it is ours.
        host._authorization._tokens.clear()
        fake.script("/token?scope=repository%3Aa%2Fb%3Apull", token("t1"), token("t2"))
        for seconds, now in ((0.0, "t1"), (54.0, "t1"), (56.0, "t2")):
            clock[0] = seconds
            await client.manifest(image.reference)
            assert fake.requests[-1].headers["authorization"] == f"Bearer {now}"


@pytest.mark.parametrize(
    ("said", "life_s"),
    [(1, 60), (None, 60), (300, 300), ("300", 300), (3e9, 86400), ("soon", 60), (-5, 60), ([], 60)],
)
async def test_how_long_tokens_live(fake: FaultyServer, said: Any, life_s: float) -> None:
    image = image_of(fake, b"x", guard=guarded(bearer(fake), "Bearer t1"))
    fake.script("/token?scope=repository%3Aa%2Fb%3Apull", token("t1", expires_in=said))
    async with RegistryClient(credentials=Credentials.none()) as client:
        await client.manifest(image.reference)
        authorization = next(iter(client._hosts._open.values()))._authorization
        (kept,) = authorization._tokens.values()
        left_s = kept.expires_s - authorization._clock_s()
        assert life_s - 20 < left_s <= life_s


async def test_a_token_that_ends_in_the_middle_of_a_pull(
    fake: FaultyServer, store: BlobStore
) -> None:
    data = bytes(range(256)) * 8192
    image = image_of(fake, data)
    challenge = bearer(fake)
    good = content(data, etag='"x"')
    steps = [
        guarded(challenge, "Bearer t1")(short(data, 500_000, etag='"x"')),
        guarded(challenge, "Bearer t2")(good),
        guarded(challenge, "Bearer t2")(good),
    ]
    fake.script(image.blob_paths[0], guarded(challenge, "Bearer t1")(good), *steps)
    fake.script("/token?scope=repository%3Aa%2Fb%3Apull", token("t1"), token("t2"))
    async with RegistryClient(credentials=Credentials.none()) as client:
        await client.pull_blob(image.reference, image.layer, store)
    asked = [
        (r.headers.get("authorization"), r.headers.get("range"))
        for r in fake.requests
        if r.path == image.blob_paths[0]
    ]
    assert asked == [
        (None, None), ("Bearer t1", None),
        ("Bearer t1", "bytes=500000-"), ("Bearer t2", "bytes=500000-"),
    ]  # fmt: skip
    assert store.read(Digest.of(data)) == data


async def test_a_server_that_refuses_every_token(fake: FaultyServer) -> None:
    image = image_of(fake, b"x", guard=guarded(bearer(fake)))
    fake.script("/token?scope=repository%3Aa%2Fb%3Apull", token("t"))
    async with RegistryClient(credentials=Credentials.none()) as client:
        with pytest.raises(AuthenticationError, match="login first"):
            await client.manifest(image.reference)
    assert len(fake.requests) < 10


async def test_a_server_that_always_asks_for_more(fake: FaultyServer) -> None:
    count = 0

    async def more(request: Request, out: Answer) -> None:
        nonlocal count
        count += 1
        scope = f"repository:a/b:pull repository:other{count}/x:pull"
        challenge = bearer(fake, error="insufficient_scope", scope=scope)
        await answer(403 if count % 2 else 401, b"", {"WWW-Authenticate": challenge})(request, out)

    image = image_of(fake, b"x")
    fake.script(image.manifest_path, more)
    for n in range(1, 5):
        scopes = "&".join(
            f"scope=repository%3A{name}%3Apull" for name in sorted(["a%2Fb", f"other{n}%2Fx"])
        )
        fake.script(f"/token?{scopes}", token(f"t{n}"))
    async with RegistryClient(credentials=Credentials.none()) as client:
        with pytest.raises(AuthenticationError):
            await client.manifest(image.reference)
    assert count <= 3


@pytest.mark.parametrize("status", [401, 403])
async def test_insufficient_scope(fake: FaultyServer, status: int) -> None:
    scope = "repository:a/b:pull registry:catalog:*"
    image = image_of(fake, b"x")
    refusal = {"WWW-Authenticate": bearer(fake, error="insufficient_scope", scope=scope)}
    good = answer(200, image.data, {"Content-Type": MediaType.OCI_MANIFEST})
    first = guarded(bearer(fake), "Bearer little")(answer(status, b"", refusal))
    fake.script(image.manifest_path, first, first, guarded("", "Bearer more")(good))
    fake.script("/token?scope=repository%3Aa%2Fb%3Apull", token("little"))
    fake.script(
        "/token?scope=registry%3Acatalog%3A%2A&scope=repository%3Aa%2Fb%3Apull", token("more")
    )
    async with RegistryClient(credentials=Credentials.none()) as client:
        await client.manifest(image.reference)


async def test_what_a_token_server_is_asked(fake: FaultyServer) -> None:
    challenge = bearer(fake, "/t?own=1&scope=evil", service="a&b=")
    image = image_of(fake, b"x", guard=guarded(challenge, "Bearer t"))
    seen: list[Request] = []

    async def note(request: Request, out: Answer) -> None:
        seen.append(request)
        await token("t")(request, out)

    query = "own=1&service=a%26b%3D&scope=repository%3Aa%2Fb%3Apull&account=me"
    fake.script(f"/t?{query}", note)
    async with RegistryClient(credentials=MINE) as client:
        await client.manifest(image.reference)
    assert seen[0].headers["authorization"] == BASIC
    assert parse_qs(urlsplit(seen[0].path).query)["scope"] == ["repository:a/b:pull"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"token": 5}', b'{"token": ""}', b'{"access_token": null}',
     b"\xff",
     json.dumps({"token": "a\r\nX-Evil: 1"}).encode(), json.dumps({"token": "a b"}).encode(),
     json.dumps({"token": "\u2603"}).encode(), b'{"token":"a","token":"b"}',
     b'{"SECRET":' + b"[" * 100_000],
)  # fmt: skip
async def test_bad_answers_of_token_servers(fake: FaultyServer, body: bytes) -> None:
    image = image_of(fake, b"x", guard=guarded(bearer(fake), "Bearer t"))
    fake.script("/token?scope=repository%3Aa%2Fb%3Apull", answer(200, body))
    async with RegistryClient(credentials=Credentials.none()) as client:
        with pytest.raises(RegistryError) as caught:
            await client.manifest(image.reference)
    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_a_token_server_without_end(fake: FaultyServer, configured: Any) -> None:
    configured(registry_token_limit_bytes=100_000)
    image = image_of(fake, b"x", guard=guarded(bearer(fake), "Bearer t"))
    fake.script("/token?scope=repository%3Aa%2Fb%3Apull", endless())
    async with RegistryClient(credentials=Credentials.none()) as client:
        with pytest.raises(TransportError, match="longer than 100,000 bytes"):
            await client.manifest(image.reference)


async def test_a_token_server_that_is_ill(fake: FaultyServer) -> None:
    image = image_of(fake, b"x", guard=guarded(bearer(fake), "Bearer t"))
    path = "/token?scope=repository%3Aa%2Fb%3Apull"
    fake.script(path, answer(503), short(b"x" * 9, 3), answer(429), token("t"))
    async with RegistryClient(credentials=Credentials.none()) as client:
        await client.manifest(image.reference)
    fake.script(path, short(b"x" * 9, 3))
    async with RegistryClient(credentials=Credentials.none()) as client:
        with pytest.raises(ConnectionFailedError):
            await client.manifest(image.reference)


@pytest.mark.parametrize(
    "challenge",
    ["", "Negotiate", "Bearer", 'Bearer realm=""', 'Bearer realm="/token"', 'Bearer realm="x',
     'Bearer realm="ftp://h/"', 'Bearer realm="http://["', 'Bearer realm="https://a:99999999/"',
     "Basic", "\x01", "Bearer " * 1000, 'Bearer realm="http://evil\r\n"'],
)  # fmt: skip
async def test_bad_challenges(fake: FaultyServer, challenge: str) -> None:
    image = image_of(fake, b"x", guard=guarded(challenge.replace("\r\n", "")))
    async with RegistryClient(credentials=Credentials.none()) as client:
        with pytest.raises(NbdockError):
            await client.manifest(image.reference)
    assert len(fake.requests) < 10


async def test_many_blobs_share_one_token(fake: FaultyServer, store: BlobStore) -> None:
    layers = [b"%d" % n for n in range(20)]
    image = image_of(fake, *layers, guard=guarded(bearer(fake), "Bearer t"))
    fake.script("/token?scope=repository%3Aa%2Fb%3Apull", token("t"))
    async with RegistryClient(credentials=Credentials.none()) as client:
        await asyncio.gather(
            *(client.pull_blob(image.reference, d, store) for d in image.manifest.layers)
        )
    assert sum(path.startswith("/token") for path in fake.paths()) == 1


# Where credentials go


async def test_a_redirect_takes_no_login_along(fake: FaultyServer, store: BlobStore) -> None:
    async with FaultyServer(name="localhost") as other:
        image = image_of(fake, b"data", guard=guarded('Basic realm="x"', BASIC))
        away = other.url("/blob?signed=1")
        fake.script(image.blob_paths[0], guarded("Basic", BASIC)(redirect(away, 307)))
        # It asks for a login; that is not the registry's challenge, and not answered.
        wants = answer(401, b"", {"WWW-Authenticate": 'Basic realm="give me"'})
        other.script("/blob?signed=1", wants)
        async with RegistryClient(credentials=MINE) as client:
            with pytest.raises(AuthenticationError) as caught:
                await client.pull_blob(image.reference, image.layer, store)
            assert "signed" not in str(caught.value)
            other.script("/blob?signed=1", content(b"data"))
            await client.pull_blob(image.reference, image.layer, store)
    assert fake.requests[-1].headers["authorization"] == BASIC
    assert len(other.requests) == 2
    assert not any("authorization" in request.headers for request in other.requests)


async def test_a_challenge_of_a_redirects_target_is_not_the_registrys(
    fake: FaultyServer, store: BlobStore
) -> None:
    """It would name a token server of its own, and get the login for the registry."""
    async with FaultyServer(name="localhost") as other:
        image = image_of(fake, b"data", guard=guarded('Basic realm="x"', BASIC))
        fake.script(image.blob_paths[0], redirect(other.url("/blob"), 307))
        wants = {"WWW-Authenticate": bearer(other, "/steal")}
        other.script("/blob", answer(401, b"", wants), answer(403, b"", wants))
        for _ in range(2):
            async with RegistryClient(credentials=MINE) as client:
                with pytest.raises(AuthenticationError) as caught:
                    await client.pull_blob(image.reference, image.layer, store)
            # Whose login was used says nothing here.
            assert not caught.value.hint
        assert other.paths() == ["/blob", "/blob"]


async def test_a_token_does_not_go_to_redirects(fake: FaultyServer, store: BlobStore) -> None:
    async with FaultyServer(name="localhost") as other:
        with_token = guarded(bearer(fake), "Bearer t")
        image = image_of(fake, b"data", guard=with_token)
        fake.script("/token?scope=repository%3Aa%2Fb%3Apull&account=me", token("t"))
        fake.script(image.blob_paths[0], with_token(redirect(other.url("/blob"))))
        other.script("/blob", content(b"data"))
        async with RegistryClient(credentials=MINE) as client:
            await client.pull_blob(image.reference, image.layer, store)
        assert "authorization" not in other.requests[0].headers


async def test_a_redirected_token_server(fake: FaultyServer, tmp_path) -> None:
    async with FaultyServer(name="localhost") as other:
        image = image_of(fake, b"x", guard=guarded(bearer(fake), "Bearer t"))
        path = "/token?scope=repository%3Aa%2Fb%3Apull&account=me"
        fake.script(path, redirect(other.url("/t"), 307))
        other.script("/t", token("t"))
        async with RegistryClient(credentials=MINE) as client:
            await client.manifest(image.reference)
        assert "authorization" not in other.requests[0].headers
        # An identity token is in the body, which a 307 or 308 would take along.
        fake.script("/token", redirect(other.url("/t"), 307))
        file = tmp_path / "config.json"
        entry = {"identitytoken": "SECRET-identity"}
        file.write_text(json.dumps({"auths": {image.reference.registry: entry}}))
        async with RegistryClient(credentials=Credentials(files=[file])) as client:
            with pytest.raises(RegistryError, match="307") as caught:
                await client.manifest(image.reference)
        assert "SECRET" not in str(caught.value)
        assert len(other.requests) == 1
