"""What nbdock writes to Python's log, and who sees it when nobody has asked for it."""

from __future__ import annotations

import asyncio
import http.server
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

import nbdock
from nbdock.transport import Transport

TOLD = """
import logging, nbdock
from nbdock.showing import show_warnings
log = logging.getLogger("nbdock.some.room")
log.warning("one")
show_warnings(); show_warnings()
log.warning("two"); log.info("not shown")
logging.basicConfig(format="root: %(message)s")
log.warning("three")
"""


def test_a_library_is_silent_and_a_program_shows_warnings_once() -> None:
    done = subprocess.run([sys.executable, "-c", TOLD], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "nbdock: two\nroot: three\n")


@pytest.fixture
def server() -> Iterator[str]:
    """A host that redirects the one path to the other."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/a"):
                self.send_response(307)
                self.send_header("Location", "/b?signature=secret2")
            else:
                self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_requests_without_what_is_secret(server: str, caplog: pytest.LogCaptureFixture) -> None:
    async def ask() -> None:
        async with Transport() as transport:
            await transport.get_bytes(f"http://me:secret1@{server}/a?token=secret3", limit_bytes=99)

    with caplog.at_level(logging.DEBUG, "nbdock"):
        asyncio.run(ask())
    own = [record.getMessage() for record in caplog.records if record.name.startswith("nbdock")]
    assert [message.partition(",")[0] for message in own] == [
        f"GET http://{server}/a?…: 307",
        f"GET http://{server}/b?…: 200",
    ]
    assert "secret" not in "".join(own)


@pytest.mark.usefixtures("nbdock_home")
def test_what_is_built_and_what_the_cache_had(caplog: pytest.LogCaptureFixture) -> None:
    def build() -> list[tuple[int, str]]:
        caplog.clear()
        motd = nbdock.text_file("etc/motd", "hello")
        asyncio.run(nbdock.build_layered_image("motd", tag="1", contents=motd))
        return [(record.levelno, record.getMessage()) for record in caplog.records]

    with caplog.at_level(logging.DEBUG, "nbdock"):
        first, second = build(), build()
    assert (logging.DEBUG, "0 of 1 layers are in the cache") in first
    assert (logging.DEBUG, "1 of 1 layers are in the cache") in second
    assert any(level == logging.INFO and "Built motd:1: 2 layers" in text for level, text in second)
