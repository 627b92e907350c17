"""Downloads from a server that fails in every way a network does.

Each test runs over httpx's connections, over nbdock's own, and over those with TLS.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from support.certificates import Authority
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
    slow,
)
from support.guards import Anywhere

from nbdock import settings
from nbdock.errors import (
    ConnectionFailedError,
    DigestMismatchError,
    HttpStatusError,
    SizeMismatchError,
    StorageFullError,
)
from nbdock.transport import Transport

DATA = random.Random(1).randbytes(3 << 20)
SHA256 = hashlib.sha256(DATA).hexdigest()


async def at_once(seconds: float) -> None:
    await asyncio.sleep(0)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(params=["httpx", "sockets", "TLS"])
def connections(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def short_silence() -> Iterator[None]:
    settings.configure(silence_timeout_s=0.2)
    yield
    settings.configure(silence_timeout_s=None)


@pytest.fixture
async def server(connections: str, authority: Authority) -> AsyncIterator[FaultyServer]:
    tls = authority.server_context("127.0.0.1") if connections == "TLS" else None
    async with FaultyServer(tls=tls) as running:
        yield running


@pytest.fixture
async def transport(connections: str, authority: Authority) -> AsyncIterator[Transport]:
    guard = None if connections == "httpx" else Anywhere()
    async with Transport(guard=guard, ca_file=authority.ca_file, _sleep=at_once) as running:
        yield running


@pytest.fixture
def goal(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "goal"


def nothing_left(goal: Path) -> bool:
    return not goal.parent.exists() or not os.listdir(goal.parent)


async def test_whole(server: FaultyServer, transport: Transport, goal: Path) -> None:
    seen: list[tuple[int, int]] = []
    server.script("/a", content(DATA))
    done = await transport.download(
        server.url("/a"), goal, sha256=SHA256, size_bytes=len(DATA),
        progress=lambda *now: seen.append(now),
    )  # fmt: skip
    assert goal.read_bytes() == DATA
    assert (done.digest.hex, done.size_bytes, done.resumed_bytes) == (SHA256, len(DATA), 0)
    assert seen[-1] == (len(DATA), len(DATA))
    assert seen == sorted(seen)
    assert os.listdir(goal.parent) == ["goal"]


@pytest.mark.parametrize("behaviour", [chunked(DATA[:5000]), slow(DATA[:500]), content(b"")])
async def test_without_announcements(
    server: FaultyServer, transport: Transport, goal: Path, behaviour
) -> None:
    server.script("/a", behaviour)
    done = await transport.download(server.url("/a"), goal)
    assert DATA.startswith(goal.read_bytes())
    assert done.size_bytes == goal.stat().st_size


async def test_breaks_are_taken_up_where_they_were(
    server: FaultyServer, transport: Transport, goal: Path
) -> None:
    server.script(
        "/a",
        answer(503),
        reset_after(DATA, 1 << 20, etag='"x"'),
        answer(500),
        short(DATA, 1000, etag='"x"'),
        content(DATA, etag='"x"'),
    )
    await transport.download(server.url("/a"), goal, sha256=SHA256, size_bytes=len(DATA))
    assert goal.read_bytes() == DATA
    asked = [request.headers.get("range") for request in server.requests]
    assert asked[:2] == [None, None]
    starts = [int(text[6:-1]) for text in asked[2:] if text]
    assert len(starts) == 3
    assert 0 < starts[0] == starts[1] < starts[2] == starts[0] + 1000
    assert server.requests[-1].headers["if-range"] == '"x"'


async def test_a_changed_file_is_fetched_whole(
    server: FaultyServer, transport: Transport, goal: Path
) -> None:
    new = DATA[::-1]
    server.script("/a", short(DATA, 70_000, etag='"old"'), content(new, etag='"new"'))
    done = await transport.download(server.url("/a"), goal)
    assert goal.read_bytes() == new
    assert done.digest.hex == hashlib.sha256(new).hexdigest()


async def test_weak_etags_prove_nothing(
    server: FaultyServer, transport: Transport, goal: Path
) -> None:
    server.script("/a", short(DATA, 70_000, etag='W/"x"'), content(DATA))
    await transport.download(server.url("/a"), goal, sha256=SHA256)
    assert "if-range" not in server.requests[1].headers


async def test_a_server_without_ranges(
    server: FaultyServer, transport: Transport, goal: Path
) -> None:
    server.script("/a", short(DATA, 70_000), content(DATA, ranges=False))
    await transport.download(server.url("/a"), goal, sha256=SHA256)
    assert goal.read_bytes() == DATA


@pytest.mark.parametrize("place", ["bytes 0-9/10", "bytes 5-2/3", "nonsense", "bytes 1-2/*"])
async def test_a_wrong_range_starts_anew(
    server: FaultyServer, transport: Transport, goal: Path, place: str
) -> None:
    server.script(
        "/a",
        short(DATA, 70_000),
        answer(206, b"0123456789", {"Content-Range": place}),
        content(DATA),
    )
    await transport.download(server.url("/a"), goal, sha256=SHA256)
    assert goal.read_bytes() == DATA


async def test_a_killed_process_s_part_is_taken_up(
    server: FaultyServer, transport: Transport, goal: Path
) -> None:
    goal.parent.mkdir()
    part = goal.with_name("goal.part")
    part.write_bytes(DATA[: 2 << 20])
    server.script("/a", content(DATA))
    done = await transport.download(server.url("/a"), goal, sha256=SHA256, size_bytes=len(DATA))
    assert done.resumed_bytes == 2 << 20
    assert server.requests[0].headers["range"] == f"bytes={2 << 20}-"
    assert goal.read_bytes() == DATA
    assert not part.exists()


async def test_a_complete_part_needs_no_request(
    server: FaultyServer, transport: Transport, goal: Path
) -> None:
    goal.parent.mkdir()
    goal.with_name("goal.part").write_bytes(DATA)
    await transport.download(server.url("/a"), goal, sha256=SHA256, size_bytes=len(DATA))
    assert server.requests == []


@pytest.mark.parametrize("junk", [b"x" * 100_000, DATA + b"more"])
async def test_a_spoilt_part_is_dropped_and_fetched_once_more(
    server: FaultyServer, transport: Transport, goal: Path, junk: bytes
) -> None:
    goal.parent.mkdir()
    goal.with_name("goal.part").write_bytes(junk)
    server.script("/a", content(DATA))
    await transport.download(server.url("/a"), goal, sha256=SHA256, size_bytes=len(DATA))
    assert goal.read_bytes() == DATA


@pytest.mark.parametrize("junk", [b"x" * 100_000, DATA + b"more", DATA])
async def test_a_part_of_unknown_size(
    server: FaultyServer, transport: Transport, goal: Path, junk: bytes
) -> None:
    goal.parent.mkdir()
    goal.with_name("goal.part").write_bytes(junk)
    server.script("/a", content(DATA))
    await transport.download(server.url("/a"), goal, sha256=SHA256)
    assert goal.read_bytes() == DATA


async def test_without_a_digest_a_part_is_not_trusted(
    server: FaultyServer, transport: Transport, goal: Path
) -> None:
    goal.parent.mkdir()
    goal.with_name("goal.part").write_bytes(b"x" * 1000)
    server.script("/a", content(DATA))
    await transport.download(server.url("/a"), goal)
    assert goal.read_bytes() == DATA


async def test_a_wrong_digest_leaves_nothing(
    server: FaultyServer, transport: Transport, goal: Path
) -> None:
    server.script("/a", content(b"x" + DATA[1:]))
    with pytest.raises(DigestMismatchError) as caught:
        await transport.download(server.url("/a"), goal, sha256=SHA256, size_bytes=len(DATA))
    assert caught.value.digest == f"sha256:{SHA256}"
    assert nothing_left(goal)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "behaviour",
    [
        content(DATA[:-1]),
        content(DATA + b"x"),
        chunked(DATA[:-1]),
        chunked(DATA * 2),
        endless(),
    ],
)
async def test_a_wrong_size_leaves_nothing(
    server: FaultyServer, transport: Transport, goal: Path, behaviour
) -> None:
    server.script("/a", behaviour)
    with pytest.raises(SizeMismatchError):
        await transport.download(server.url("/a"), goal, sha256=SHA256, size_bytes=len(DATA))
    assert nothing_left(goal)


async def test_giving_up_keeps_what_has_arrived(
    server: FaultyServer, transport: Transport, goal: Path
) -> None:
    server.script("/a", short(DATA, 1000))
    with pytest.raises(ConnectionFailedError, match="broke off"):
        await transport.download(server.url("/a"), goal, sha256=SHA256)
    tries = settings.current().retries + 1
    assert len(server.requests) == tries
    assert goal.with_name("goal.part").read_bytes() == DATA[: 1000 * tries]
    assert not goal.exists()


async def test_progress_is_not_counted_as_failure(
    server: FaultyServer, transport: Transport, goal: Path
) -> None:
    big = DATA * 4
    server.script("/a", short(big, (1 << 20) + 5))
    await transport.download(server.url("/a"), goal, sha256=hashlib.sha256(big).hexdigest())
    assert len(server.requests) == 12
    assert goal.read_bytes() == big


@pytest.mark.parametrize("count", [500, 1 << 19])
async def test_silence_is_a_break(
    short_silence: None, server: FaultyServer, transport: Transport, goal: Path, count: int
) -> None:
    server.script("/a", silent(), silent(DATA[:count], announced=len(DATA)), content(DATA))
    await transport.download(server.url("/a"), goal, sha256=SHA256)
    assert goal.read_bytes() == DATA
    assert server.requests[2].headers["range"] == f"bytes={count}-"


@pytest.mark.parametrize("first", [0, 1, 65_000, 65_536, 1 << 20])
async def test_a_head_and_the_first_bytes_in_one_packet(
    server: FaultyServer, transport: Transport, goal: Path, first: int
) -> None:
    async def behave(request: Request, out: Answer) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(DATA)}\r\n\r\n".encode()
        await out.send(head + DATA[:first])
        await asyncio.sleep(0)
        await out.send(DATA[first:])

    server.script("/a", behave)
    for _ in range(3):
        done = await transport.download(server.url("/a"), goal, sha256=SHA256)
        assert done.size_bytes == len(DATA)
        goal.unlink()


@pytest.mark.parametrize("first", [0, 1, 65_536])
async def test_a_connection_serves_one_download_after_the_other(
    server: FaultyServer, transport: Transport, goal: Path, first: int
) -> None:
    bodies = [DATA, b"", b"small", DATA[: 1 << 20], DATA[:first]]
    for number, body in enumerate(bodies):
        server.script(f"/{number}", content(body))
    for number, body in enumerate(bodies * 2):
        await transport.download(server.url(f"/{number % len(bodies)}"), goal)
        assert goal.read_bytes() == body
    assert server.connections_made == 1


@pytest.mark.parametrize("connections", ["sockets", "TLS"], indirect=True)
@pytest.mark.parametrize("body", [DATA, DATA[:1000]])
async def test_what_follows_a_body_is_not_taken_for_an_answer(
    server: FaultyServer, transport: Transport, goal: Path, body: bytes
) -> None:
    """A server, or who sits between, that answers what was not asked yet."""

    async def behave(request: Request, out: Answer) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        await out.send(head + body + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")

    server.script("/a", behave)
    server.script("/b", content(b"good"))
    for _ in range(3):
        await transport.download(server.url("/a"), goal)
        assert goal.read_bytes() == body
        await transport.download(server.url("/b"), goal)
        assert goal.read_bytes() == b"good"


async def test_a_server_that_hangs_up_after_each_body(
    server: FaultyServer, transport: Transport, goal: Path
) -> None:
    async def behave(request: Request, out: Answer) -> None:
        await out.head(200, {"Content-Length": len(DATA), "Connection": "close"})
        await out.send(DATA)
        out.hang_up()

    server.script("/a", behave)
    for _ in range(3):
        await transport.download(server.url("/a"), goal, sha256=SHA256)
    assert (server.connections_made, len(server.requests)) == (3, 3)


async def test_our_own_connections_are_not_read_through_httpx(
    connections: str, server: FaultyServer, transport: Transport
) -> None:
    """That would be the same but slower; another version of httpx or h11 may bring it about."""
    server.script("/a", content(DATA))
    async with transport.stream("GET", server.url("/a")) as response:
        assert response.is_pourable == (connections != "httpx")


async def test_a_length_means_nothing_in_chunks(
    server: FaultyServer, transport: Transport, goal: Path
) -> None:
    async def behave(request: Request, out: Answer) -> None:
        await out.head(200, {"Content-Length": len(DATA), "Transfer-Encoding": "chunked"})
        for at in range(0, len(DATA), 1 << 20):
            await out.send(b"%x\r\n%s\r\n" % (1 << 20, DATA[at : at + (1 << 20)]))
        await out.send(b"0\r\n\r\n")

    server.script("/a", behave)
    await transport.download(server.url("/a"), goal, sha256=SHA256)
    assert goal.read_bytes() == DATA


async def test_not_there(server: FaultyServer, transport: Transport, goal: Path) -> None:
    with pytest.raises(HttpStatusError) as caught:
        await transport.download(server.url("/a?token=SECRET"), goal, sha256=SHA256)
    assert caught.value.status == 404
    assert "SECRET" not in str(caught.value)
    assert nothing_left(goal)
    assert len(server.requests) == 1


async def test_cancelling_keeps_the_part_and_closes_the_file(
    server: FaultyServer, transport: Transport, goal: Path
) -> None:
    arrived = asyncio.Event()
    server.script("/a", silent(DATA[: 1 << 20], announced=len(DATA)))
    task = asyncio.ensure_future(
        transport.download(
            server.url("/a"),
            goal,
            sha256=SHA256,
            progress=lambda done, _: arrived.set() if done == 1 << 20 else None,
        )
    )
    await asyncio.wait_for(arrived.wait(), 240)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert goal.with_name("goal.part").read_bytes() == DATA[: 1 << 20]
    paths = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    descriptors = {os.readlink(path) for path in paths if os.path.lexists(path)}
    assert not any("goal" in target for target in descriptors)


async def test_two_at_once_do_not_share_a_file(
    server: FaultyServer, transport: Transport, goal: Path
) -> None:
    server.script("/a", slow(DATA[:2_000]))
    sha256 = hashlib.sha256(DATA[:2_000]).hexdigest()
    await asyncio.gather(
        *(transport.download(server.url("/a"), goal, sha256=sha256) for _ in range(4))
    )
    assert goal.read_bytes() == DATA[:2_000]
    assert os.listdir(goal.parent) == ["goal"]


async def test_a_part_that_is_a_link_is_not_followed(
    server: FaultyServer, transport: Transport, goal: Path
) -> None:
    goal.parent.mkdir()
    victim = goal.with_name("victim")
    victim.write_bytes(b"precious")
    goal.with_name("goal.part").symlink_to(victim)
    server.script("/a", content(DATA))
    with pytest.raises(OSError, match="symbolic"):
        await transport.download(server.url("/a"), goal, sha256=SHA256)
    assert victim.read_bytes() == b"precious"


async def test_a_full_disk_is_told_and_cleaned(
    server: FaultyServer, transport: Transport, goal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def full(fd: int, data: memoryview) -> int:
        target = os.readlink(f"/proc/self/fd/{fd}")
        if target.endswith("goal.part") and os.fstat(fd).st_size >= 1 << 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data)

    monkeypatch.setattr(os, "write", full)
    server.script("/a", content(DATA))
    with pytest.raises(StorageFullError, match="goal"):
        await transport.download(server.url("/a"), goal, sha256=SHA256)
    assert nothing_left(goal)


async def test_memory_stays_small(server: FaultyServer, transport: Transport, goal: Path) -> None:
    import tracemalloc

    big = bytes(32 << 20)
    server.script("/a", chunked(big))
    tracemalloc.start()
    await transport.download(server.url("/a"), goal)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 << 20
