"""TLS, plain http, mirrors, proxies, and what servers say beside their answers."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from support.certificates import Authority
from support.fake_registry import PASSWORD, USER, WithAuthority, guarded, image_of
from support.faulty_server import (
    Answer,
    Behaviour,
    FaultyServer,
    Request,
    answer,
    content,
    redirect,
    reset_after,
    short,
)
from support.registry import OCI_MANIFEST, Registry

from nbdock import settings
from nbdock.content import BlobStore
from nbdock.errors import (
    ArgumentTypeError,
    ConnectionFailedError,
    ManifestNotFoundError,
    RegistryError,
    TransportError,
    UntrustedCertificateError,
)
from nbdock.oci import Digest, Reference
from nbdock.registry import Credentials, RegistryClient
from nbdock.registry.host import api_address
from nbdock.registry.mirrors import Mirror, mirrors_of
from nbdock.registry.trust import Trust
from nbdock.transport import basic_authorization

# TLS


async def test_an_authority_of_ones_own(
    tls_registry: WithAuthority, configured: Callable[..., None], store: BlobStore
) -> None:
    reference = Reference.parse(f"{tls_registry.registry.host}/tls/app:1")
    async with RegistryClient() as client:
        with pytest.raises(UntrustedCertificateError, match="ca_file"):
            await client.manifest(reference)
    ca_file = tls_registry.authority.ca_file
    async with RegistryClient(ca_file=ca_file) as client:
        manifest = (await client.manifest(reference)).manifest
        await client.pull_blob(reference, manifest.layers[0], store)
    configured(ca_file=ca_file)
    async with RegistryClient() as client:
        await client.manifest(reference)


@pytest.mark.parametrize("how", [{"insecure": True}, {"tls_verify": False}])
async def test_without_verification(tls_registry: WithAuthority, how: dict[str, bool]) -> None:
    reference = Reference.parse(f"{tls_registry.registry.host}/tls/app:1")
    async with RegistryClient(**how) as client:
        await client.manifest(reference)


async def test_insecure_registries_by_setting(
    tls_registry: WithAuthority, configured: Callable[..., None]
) -> None:
    host = tls_registry.registry.host
    configured(registry_insecure=[host])
    async with RegistryClient() as client:
        await client.manifest(Reference.parse(f"{host}/tls/app:1"))
    assert not Trust.of(host, insecure=False).allow_http
    assert Trust.of(host, insecure=False).verify


async def test_directories_of_certificates(
    tls_registry: WithAuthority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    host = tls_registry.registry.host
    folder = tmp_path / "containers/certs.d" / host
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_bytes(tls_registry.authority.ca_file.read_bytes())
    async with RegistryClient() as client:
        await client.manifest(Reference.parse(f"{host}/tls/app:1"))
    cert, key = tls_registry.authority.issue("client.test")
    (folder / "me.cert").write_bytes(cert.read_bytes())
    (folder / "me.key").write_bytes(key.read_bytes())
    async with RegistryClient() as client:
        await client.manifest(Reference.parse(f"{host}/tls/app:1"))
    (folder / "ca.crt").write_text("nonsense")
    async with RegistryClient() as client:
        with pytest.raises(TransportError, match=r"ca\.crt cannot be read"):
            await client.manifest(Reference.parse(f"{host}/tls/app:1"))


async def test_a_ca_file_that_is_none(tls_registry: WithAuthority, tmp_path: Path) -> None:
    reference = Reference.parse(f"{tls_registry.registry.host}/tls/app:1")
    async with RegistryClient(ca_file=tmp_path / "none.pem") as client:
        with pytest.raises(TransportError, match=r"none\.pem"):
            await client.manifest(reference)


async def test_the_name_must_be_the_certificates(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with FaultyServer(tls=authority.server_context("other.test")) as server:
        image = image_of(server, b"x")
        async with RegistryClient(ca_file=authority.ca_file) as client:
            with pytest.raises(UntrustedCertificateError):
                await client.manifest(image.reference)
        assert server.requests == []


# http or https


def allows_http(registry: str, **how: bool) -> bool:
    return Trust.of(registry, **how).allow_http


def test_who_may_do_without_tls(configured: Callable[..., None]) -> None:
    assert allows_http("localhost:5000")
    assert allows_http("127.9.9.9")
    assert allows_http("[::1]:5000")
    for registry in ("docker.io", "10.0.0.1:5000", "localhost.example", "registry.lan"):
        assert not allows_http(registry)
        assert allows_http(registry, tls_verify=False)
        assert allows_http(registry, insecure=True)
    assert not allows_http("localhost", insecure=False)
    configured(registry_insecure=["registry.lan"])
    assert allows_http("registry.lan")
    assert not allows_http("registry.lan:5000")


async def test_http_only_where_it_is_allowed(fake: FaultyServer) -> None:
    image = image_of(fake, b"x")
    async with RegistryClient(insecure=False) as client:
        with pytest.raises(ConnectionFailedError):
            await client.manifest(image.reference)
    assert fake.requests == []
    async with RegistryClient() as client:
        await client.manifest(image.reference)


@pytest.mark.parametrize("first", [reset_after(b"", 0), short(b"x", 0), answer(503)])
async def test_a_server_that_is_ill_when_it_is_asked_what_it_speaks(
    fake: FaultyServer, first: Behaviour
) -> None:
    image = image_of(fake, b"x")
    fake.script("/v2/", first, first, answer(200))
    async with RegistryClient() as client:
        await client.manifest(image.reference)


async def test_what_servers_of_https_answer_to_http(fake: FaultyServer) -> None:
    image = image_of(fake, b"x")
    fake.script("/v2/", answer(400))
    async with RegistryClient() as client:
        with pytest.raises(ConnectionFailedError):
            await client.manifest(image.reference)
    assert fake.paths() == ["/v2/"]


async def test_https_on_this_machine(tls_registry: WithAuthority) -> None:
    port = tls_registry.registry.host.rpartition(":")[2]
    ca_file = tls_registry.authority.ca_file
    for host in ("127.0.0.1", "localhost"):
        async with RegistryClient(ca_file=ca_file) as client:
            await client.manifest(Reference.parse(f"{host}:{port}/tls/app:1"))


async def test_nobody_there() -> None:
    async with RegistryClient() as client:
        with pytest.raises(ConnectionFailedError, match="cannot be reached") as caught:
            await client.manifest(Reference.parse("127.0.0.1:1/a"))
        # By another way than that of the retries, which would be waited for in vain.
        assert caught.value.hint == "Is the registry running?"
        with pytest.raises(ConnectionFailedError):
            await client.manifest(Reference.parse("nowhere.invalid/a"))


async def test_many_at_once_ask_once(fake: FaultyServer, store: BlobStore) -> None:
    image = image_of(fake, *(b"%d" % n for n in range(20)))
    async with RegistryClient() as client:
        await asyncio.gather(
            *(client.pull_blob(image.reference, d, store) for d in image.manifest.layers)
        )
    assert fake.paths().count("/v2/") == 1


def test_the_name_of_docker_hub() -> None:
    assert api_address("docker.io") == "registry-1.docker.io"
    assert api_address("ghcr.io") == "ghcr.io"


# Mirrors


def test_what_mirrors_are_called() -> None:
    lines = ["docker.io=one.example", "quay.io=two.example", "docker.io = http://[::1]:5000/a/b/"]
    assert mirrors_of("docker.io", lines) == (
        Mirror("one.example"), Mirror("[::1]:5000", "a/b", is_http=True),
    )  # fmt: skip
    assert Mirror.parse("x.example/hub").repository("library/redis") == "hub/library/redis"
    for bad in ("", "ftp://x", "x/UPPER", "u:p@x", "x y", "http://", "x/../y"):
        with pytest.raises(ArgumentTypeError, match="mirror"):
            Mirror.parse(bad)
    with pytest.raises(ArgumentTypeError, match="registry=mirror"):
        mirrors_of("docker.io", ["one.example"])


@pytest.mark.parametrize("wrong", ["docker.io", "=one.example", "docker.io= "])
def test_mirrors_that_say_of_nothing(wrong: str) -> None:
    with pytest.raises(ArgumentTypeError, match="registry=mirror"):
        settings.configure(registry_mirrors=[wrong])
    assert settings.current().registry_mirrors == ()


async def test_what_a_mirror_lacks_when_the_registry_is_out_of_reach(fake: FaultyServer) -> None:
    body = b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}'
    fake.script("/v2/team/app/manifests/1", answer(404, body))
    mirrors = {"127.0.0.1:1": [f"127.0.0.1:{fake.port}"]}
    async with RegistryClient(mirrors=mirrors, credentials=Credentials.none()) as client:
        with pytest.raises(ManifestNotFoundError, match="in the mirror of") as caught:
            await client.manifest(Reference.parse("127.0.0.1:1/team/app:1"))
    assert caught.value.codes == ("MANIFEST_UNKNOWN",)
    assert "could not be asked" in str(caught.value.hint)


@pytest.mark.parametrize("by_setting", [True, False])
async def test_mirrors_are_asked_first(
    fake: FaultyServer, store: BlobStore, configured: Callable[..., None], by_setting: bool
) -> None:
    image = image_of(fake, b"x", repository="hub/library/redis")
    place = f"http://127.0.0.1:{fake.port}/hub"
    if by_setting:
        configured(registry_mirrors=[f"docker.io={place}"])
    mirrors = None if by_setting else {"docker.io": [place]}
    reference = Reference.parse("redis:1")
    async with RegistryClient(mirrors=mirrors) as client:
        found = await client.manifest(reference)
        assert found.reference == reference.with_digest(Digest.of(image.data))
        await client.pull_blob(reference, image.layer, store)
    assert store.has(image.layer.digest)


@pytest.mark.parametrize(
    "fault",
    [answer(404), answer(401, headers={"WWW-Authenticate": "Basic"}), answer(403), answer(503),
     short(b"x", 0), answer(200, b"nonsense"), redirect("http://169.254.169.254/"),
     answer(200, b"{}", {"Docker-Content-Digest": f"sha256:{'0' * 64}"})],
)  # fmt: skip
async def test_a_mirror_that_fails(fake: FaultyServer, store: BlobStore, fault: Behaviour) -> None:
    image = image_of(fake, b"x" * 1000)
    async with FaultyServer() as mirror:
        mirror.script(image.manifest_path, fault)
        mirror.script(image.blob_paths[0], fault)
        mirrors = {image.reference.registry: ["127.0.0.1:1", f"127.0.0.1:{mirror.port}"]}
        async with RegistryClient(mirrors=mirrors, credentials=Credentials.none()) as client:
            assert (await client.manifest(image.reference)).data == image.data
            await client.pull_blob(image.reference, image.layer, store)
        assert image.manifest_path in mirror.paths()
    assert store.has(image.layer.digest)


async def test_a_mirror_with_other_bytes_under_a_digest(fake: FaultyServer) -> None:
    image = image_of(fake, b"x")
    reference = image.reference.with_digest(Digest.of(image.data))
    async with FaultyServer() as mirror:
        other = image_of(mirror, b"evil")
        mirror.script(
            f"/v2/a/b/manifests/{reference.digest}",
            answer(200, other.data, {"Content-Type": OCI_MANIFEST}),
        )
        mirrors = {image.reference.registry: [f"127.0.0.1:{mirror.port}"]}
        async with RegistryClient(mirrors=mirrors) as client:
            assert (await client.manifest(reference)).data == image.data


async def test_logins_of_mirrors(fake: FaultyServer, tmp_path: Path) -> None:
    """A login that was given is for the registry; a mirror gets its own, from the files."""
    image = image_of(fake, b"x", guard=guarded("Basic", basic_authorization(USER, PASSWORD)))
    async with FaultyServer() as mirror:
        seen: list[str | None] = []

        async def refuse(request: Request, out: Answer) -> None:
            seen.append(request.headers.get("authorization"))
            await answer(401, headers={"WWW-Authenticate": "Basic"})(request, out)

        mirror.script(image.manifest_path, refuse)
        place = f"127.0.0.1:{mirror.port}"
        mirrors = {image.reference.registry: [place]}
        given = Credentials(USER, PASSWORD)
        async with RegistryClient(mirrors=mirrors, credentials=given) as client:
            await client.manifest(image.reference)
        assert seen == [None]
        seen.clear()
        file = tmp_path / "config.json"
        entries = {
            place: {"username": "m", "password": "1"},
            image.reference.registry: {"username": USER, "password": PASSWORD},
        }
        file.write_text(json.dumps({"auths": entries}))
        files = Credentials(files=[file])
        async with RegistryClient(mirrors=mirrors, credentials=files) as client:
            await client.manifest(image.reference)
        assert seen == [None, basic_authorization("m", "1")]


async def test_pushes_go_to_the_registry_itself(fake: FaultyServer, registry: Registry) -> None:
    reference = Reference.parse(f"{registry.host}/trust/app:1")
    image = image_of(fake, b"x")
    mirrors = {registry.host: [f"127.0.0.1:{fake.port}"]}
    async with RegistryClient(mirrors=mirrors) as client:
        assert not await client.has_blob(reference, image.layer.digest)
    assert fake.requests == []


# Proxies


async def test_proxies(fake: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with FaultyServer() as proxy:
        far = image_of(fake, b"x")
        target = "http://registry.example:5000/v2"
        proxy.script(f"{target}/", answer(200))
        proxy.script(
            f"{target}/a/b/manifests/1", answer(200, far.data, {"Content-Type": OCI_MANIFEST})
        )
        monkeypatch.setenv("http_proxy", proxy.url(""))
        async with RegistryClient(insecure=True) as client:
            found = await client.manifest(Reference.parse("registry.example:5000/a/b:1"))
            assert found.data == far.data
            # What is on this machine is not asked for elsewhere.
            await client.manifest(far.reference)
        assert len(proxy.requests) == 2
        monkeypatch.setenv("no_proxy", "registry.example")
        async with RegistryClient(insecure=True) as client:
            with pytest.raises(ConnectionFailedError):
                await client.manifest(Reference.parse("registry.example:5000/a/b:1"))
        assert len(proxy.requests) == 2


async def test_what_is_judged_through_a_proxy(
    fake: FaultyServer, monkeypatch: pytest.MonkeyPatch, store: BlobStore
) -> None:
    """Names are the proxy's to resolve; what a URL says by itself is judged all the same."""
    async with FaultyServer() as proxy:
        image = image_of(fake, b"x")
        base = "http://registry.example:5000/v2"
        proxy.script(f"{base}/", answer(200))
        monkeypatch.setenv("http_proxy", proxy.url(""))
        reference = Reference.parse("registry.example:5000/a/b:1")
        for place in ("http://127.0.0.1:1/", "http://localhost/", "http://169.254.169.254/"):
            proxy.script(f"{base}/a/b/blobs/{image.layer.digest}", redirect(place))
            async with RegistryClient(insecure=True) as client:
                with pytest.raises(RegistryError, match="leads to"):
                    await client.pull_blob(reference, image.layer, store)
        proxy.script(f"{base}/a/b/blobs/{image.layer.digest}", redirect("http://cdn.example/x"))
        proxy.script("http://cdn.example/x", content(b"x"))
        async with RegistryClient(insecure=True) as client:
            await client.pull_blob(reference, image.layer, store)
    assert fake.requests == []


# Beside the answers


async def test_warnings(fake: FaultyServer, caplog: pytest.LogCaptureFixture) -> None:
    image = image_of(fake, b"x")
    said = [
        '299 - "old image"', '299 - "old image", 299 x "quote \\" and \\x1b[31m"',
        '199 - "not this"', "299 - unquoted", '299 - "' + "x" * 2000 + '"', "\x01",
    ]  # fmt: skip
    behaviours = [
        answer(200, image.data, {"Content-Type": OCI_MANIFEST, "Warning": text}) for text in said
    ]
    fake.script(image.manifest_path, *behaviours)
    with caplog.at_level(logging.WARNING, "nbdock.registry"):
        async with RegistryClient() as client:
            for _ in range(5):
                await client.manifest(image.reference)
            assert client.warnings == ("old image", 'quote " and x1b[31m')
    assert [r.getMessage().count("old image") for r in caplog.records] == [1, 0]


async def test_headers_without_end(fake: FaultyServer, configured: Callable[..., None]) -> None:
    image = image_of(fake, b"x")
    for count in (90, 2000):
        headers = {f"X-{n}": "x" * 1000 for n in range(count)}
        fake.script(image.manifest_path, answer(200, image.data, headers))
        async with RegistryClient() as client:
            with pytest.raises((RegistryError, TransportError)):
                await client.manifest(image.reference)
