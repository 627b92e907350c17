"""Requests: retries, redirects, credentials, proxies, certificates, conditions."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from email.utils import formatdate
from pathlib import Path

import httpx
import pytest
from support.faulty_server import (
    FaultyServer,
    answer,
    content,
    endless,
    redirect,
    reset_after,
    short,
    silent,
)
from support.guards import Anywhere

from nbdock import settings
from nbdock.errors import (
    ConnectionFailedError,
    HttpStatusError,
    TransportError,
    UntrustedCertificateError,
)
from nbdock.transport import Transport, basic_authorization

PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer() as running:
        yield running


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture(params=["httpx", "sockets"])
async def transport(slept: list[float], request: pytest.FixtureRequest) -> AsyncIterator[Transport]:
    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    guard = Anywhere() if request.param == "sockets" else None
    async with Transport(guard=guard, _sleep=sleep) as running:
        yield running


async def test_retry_after_is_obeyed(
    server: FaultyServer, transport: Transport, slept: list[float]
) -> None:
    server.script(
        "/",
        answer(429, headers={"Retry-After": "7"}),
        answer(503, headers={"Retry-After": formatdate(usegmt=True)}),
        answer(503),
        answer(200, b"ok"),
    )
    assert await transport.get_bytes(server.url("/"), limit_bytes=10) == b"ok"
    assert 6.5 < slept[0] <= 7
    assert all(seconds < 3 for seconds in slept[1:])


async def test_asking_to_wait_too_long_is_an_error(
    server: FaultyServer, transport: Transport, slept: list[float]
) -> None:
    server.script("/", answer(429, headers={"Retry-After": "86400"}))
    with pytest.raises(HttpStatusError, match="86400") as caught:
        await transport.get_bytes(server.url("/"), limit_bytes=10)
    assert caught.value.status == 429
    assert slept == []


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_giving_up(server: FaultyServer, transport: Transport, status: int) -> None:
    server.script("/", answer(status))
    with pytest.raises(HttpStatusError) as caught:
        await transport.get_bytes(server.url("/"), limit_bytes=10)
    assert caught.value.status == status
    assert len(server.requests) == settings.current().retries + 1


async def test_a_broken_body_is_fetched_again(server: FaultyServer, transport: Transport) -> None:
    server.script("/", reset_after(b"x" * 99, 5), short(b"x" * 99, 5), content(b"x" * 99))
    assert await transport.get_bytes(server.url("/"), limit_bytes=100) == b"x" * 99


@pytest.mark.parametrize("behaviour", [content(b"x" * 101), endless(b"x" * 60)])
async def test_too_long(server: FaultyServer, transport: Transport, behaviour) -> None:
    server.script("/", behaviour)
    with pytest.raises(TransportError, match="longer than 100 bytes"):
        await transport.get_bytes(server.url("/"), limit_bytes=100)


async def test_a_post_is_not_sent_twice(server: FaultyServer, transport: Transport) -> None:
    server.script("/", short(b"x" * 99, 0), content(b"ok"))

    async def post(body):
        async with transport.stream("POST", server.url("/"), content=body) as response:
            return await response.read(100)

    with pytest.raises(ConnectionFailedError):
        await post(b"once")

    async def pieces() -> AsyncIterator[bytes]:
        yield b"pie"
        yield b"ces"

    server.script("/p", answer(503))
    async with transport.stream("PUT", server.url("/p"), content=pieces()) as response:
        assert response.status == 503
    assert len(server.requests) == 2


async def test_every_status_is_the_callers_to_judge(
    server: FaultyServer, transport: Transport
) -> None:
    server.script("/", answer(401, b"who?", {"WWW-Authenticate": "Bearer realm=x"}))
    async with transport.stream("GET", server.url("/")) as response:
        assert response.status == 401
        assert response.headers["Www-Authenticate"] == "Bearer realm=x"
        assert await response.read(10) == b"who?"


async def test_conditions(server: FaultyServer, transport: Transport) -> None:
    date = "Sat, 21 Nov 2026 00:00:00 GMT"
    server.script("/", content(b"x", etag='"1"', last_modified=date))
    first = await transport.fetch(server.url("/"), limit_bytes=10)
    assert first is not None
    assert (first.body, first.etag, first.last_modified) == (b"x", '"1"', date)
    for marks in ({"etag": '"1"'}, {"last_modified": date}):
        assert await transport.fetch(server.url("/"), limit_bytes=10, **marks) is None
    assert await transport.fetch(server.url("/"), limit_bytes=10, etag='"0"') is not None


async def test_credentials_stay_at_home(server: FaultyServer) -> None:
    async with FaultyServer(name="localhost") as other, Transport() as transport:
        server.script("/", redirect(server.url("/same")))
        server.script("/same", redirect(other.url("/other").replace("//", "//eve:x@")))
        other.script("/other", redirect(server.url("/back")))
        server.script("/back", content(b"ok"))
        url = server.url("/").replace("//", "//me:SECRET@")
        assert await transport.get_bytes(url, limit_bytes=10) == b"ok"
        mine = basic_authorization("me", "SECRET")
        assert [r.headers.get("authorization") for r in server.requests] == [mine] * 3
        assert "authorization" not in other.requests[0].headers
        assert "SECRET" not in str(other.requests)


async def test_authorize_is_asked_for_every_target(server: FaultyServer) -> None:
    async with FaultyServer(name="localhost") as other:
        table = {server.port: "Bearer one", other.port: None}
        async with Transport(authorize=lambda url: table[httpx.URL(url).port]) as transport:
            server.script("/", redirect(other.url("/")))
            other.script("/", content(b"ok"))
            await transport.get_bytes(server.url("/"), limit_bytes=10)
            given = {"authorization": "Basic mine"}
            await transport.get_bytes(server.url("/"), limit_bytes=10, headers=given)
    assert [r.headers.get("authorization") for r in server.requests] == ["Bearer one", "Basic mine"]
    assert not any("authorization" in r.headers for r in other.requests)


async def test_errors_hold_no_credentials(server: FaultyServer, transport: Transport) -> None:
    for path in ("/404", "/loop", "/short"):
        server.script("/loop", redirect("/loop"))
        server.script("/short", short(b"xx", 1))
        url = server.url(f"{path}?sig=SECRET").replace("//", "//me:SECRET@")
        server.script(f"{path}?sig=SECRET", *server._scripts.get(path, [answer(404)]))
        with pytest.raises(TransportError) as caught:
            await transport.get_bytes(url, limit_bytes=10)
        assert "SECRET" not in str(caught.value) + caught.value.url


async def test_redirects_are_bounded(server: FaultyServer, transport: Transport) -> None:
    server.script("/", redirect("/"))
    with pytest.raises(TransportError, match="redirects more than"):
        await transport.get_bytes(server.url("/"), limit_bytes=10)
    assert len(server.requests) == settings.current().redirect_limit + 1


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://h/x", "http://", "//:1"])
async def test_redirects_to_elsewhere(
    server: FaultyServer, transport: Transport, target: str
) -> None:
    server.script("/", redirect(target))
    with pytest.raises(TransportError):
        await transport.get_bytes(server.url("/"), limit_bytes=10)


async def test_from_https_never_to_http() -> None:
    def answers(request: httpx.Request) -> httpx.Response:
        assert request.url.scheme == "https"
        return httpx.Response(302, headers={"Location": "http://example.test/"})

    async with Transport(_handler=httpx.MockTransport(answers)) as transport:
        with pytest.raises(TransportError, match="https to http"):
            await transport.get_bytes("https://example.test/", limit_bytes=10)


async def test_see_other_becomes_a_get(server: FaultyServer, transport: Transport) -> None:
    server.script("/", redirect("/done", 303))
    server.script("/done", content(b"ok"))
    async with transport.stream("POST", server.url("/"), content=b"form") as response:
        assert await response.read(10) == b"ok"
    assert [r.method for r in server.requests] == ["POST", "GET"]
    assert server.requests[1].body == b""


async def test_proxies(server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with FaultyServer() as proxy:
        server.script("/", content(b"direct"))
        far = "http://far.test/x"
        proxy.script(far, content(b"proxied"))
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        async with Transport(
            proxies={"http://": proxy.url(""), "http://127.0.0.1": None}
        ) as transport:
            assert await transport.get_bytes(far, limit_bytes=10) == b"proxied"
            assert await transport.get_bytes(server.url("/"), limit_bytes=10) == b"direct"
        monkeypatch.setenv("http_proxy", proxy.url(""))
        async with Transport() as transport:
            assert await transport.get_bytes(far, limit_bytes=10) == b"proxied"


async def test_a_proxy_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "nonsense://x")
    async with Transport() as transport:
        with pytest.raises(TransportError, match="proxy"):
            await transport.get_bytes("http://127.0.0.1:1/", limit_bytes=10)


async def test_an_own_authority(tmp_path: Path) -> None:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-keyout", key, "-out", cert, "-subj", "/CN=x",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    async with FaultyServer(tls=context) as server:
        server.script("/", content(b"ok"))
        async with Transport() as transport:
            with pytest.raises(UntrustedCertificateError, match="not trusted"):
                await transport.get_bytes(server.url("/"), limit_bytes=10)
        async with Transport(ca_file=cert) as transport:
            assert await transport.get_bytes(server.url("/"), limit_bytes=10) == b"ok"
    async with Transport(ca_file=tmp_path / "none.pem") as transport:
        with pytest.raises(TransportError, match=r"none\.pem"):
            await transport.get_bytes("https://127.0.0.1/", limit_bytes=10)


async def test_nobody_there(transport: Transport) -> None:
    with pytest.raises(ConnectionFailedError, match="cannot be reached"):
        await transport.get_bytes("http://127.0.0.1:1/", limit_bytes=10)


async def test_connections_are_limited(server: FaultyServer) -> None:
    settings.configure(connections=2)
    try:
        server.script("/", content(b"x"))
        async with Transport() as transport:
            await asyncio.gather(
                *(transport.get_bytes(server.url("/"), limit_bytes=1) for _ in range(20))
            )
    finally:
        settings.configure(connections=None)
    assert server.connections_most <= 2


async def test_who_asks_for_the_head_alone_keeps_the_connection(
    transport: Transport, server: FaultyServer
) -> None:
    server.script("/", answer(200, headers={"Content-Length": "7"}))
    for _ in range(3):
        async with transport.stream("HEAD", server.url("/")) as response:
            assert response.announced_bytes == 7
    assert server.connections_made == 1


async def test_cancelled_while_waiting(server: FaultyServer) -> None:
    server.script("/", silent())
    async with Transport() as transport:
        task = asyncio.ensure_future(transport.get_bytes(server.url("/"), limit_bytes=1))
        while not server.requests:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_outside_its_block() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await Transport().get_bytes("http://127.0.0.1/", limit_bytes=1)
