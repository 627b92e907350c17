"""A registry in a thread whose one layer stops half-way, until it is told to go on.

with stalling_registry() as registry:
    ... pull f"{registry.host}/slow:1" somewhere else ...
    registry.stalled.wait(60)
    registry.go_on.set()
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import json
import random
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from support.plain_images import layer
from support.registry import OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST

__all__ = ["StallingRegistry", "stalling_registry"]


@dataclasses.dataclass(frozen=True)
class StallingRegistry:
    """Its address, and the two events."""

    host: str
    digest: str
    layer_bytes: int
    stalled: threading.Event = dataclasses.field(default_factory=threading.Event)
    go_on: threading.Event = dataclasses.field(default_factory=threading.Event)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@contextlib.contextmanager
def stalling_registry() -> Iterator[StallingRegistry]:
    """Run one on a free loopback port; its image is ``HOST/slow:1``, and always another."""
    tar = layer({"noise": random.randbytes(3_000_000)})
    packed = gzip.compress(tar, 1, mtime=0)
    config = json.dumps(
        {"architecture": "amd64", "os": "linux",
         "rootfs": {"type": "layers", "diff_ids": [_digest(tar)]}}
    ).encode()  # fmt: skip
    manifest = json.dumps(
        {
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": _digest(config), "size": len(config)},
            "layers": [
                {"mediaType": OCI_LAYER_GZIP, "digest": _digest(packed), "size": len(packed)}
            ],
        }
    ).encode()  # fmt: skip
    documents = {
        "/v2/": (b"{}", "application/json"),
        "/v2/slow/manifests/1": (manifest, OCI_MANIFEST),
        f"/v2/slow/manifests/{_digest(manifest)}": (manifest, OCI_MANIFEST),
        f"/v2/slow/blobs/{_digest(config)}": (config, "application/octet-stream"),
    }

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *said: object) -> None:
            pass

        def do_GET(self) -> None:
            data, kind = documents.get(self.path, (packed, "application/octet-stream"))
            begin = 0
            asked = self.headers.get("Range", "")
            if asked.startswith("bytes="):
                begin = int(asked.removeprefix("bytes=").partition("-")[0])
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
            else:
                self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data) - begin))
            if "/manifests/" in self.path:
                self.send_header("Docker-Content-Digest", _digest(manifest))
            self.end_headers()
            if self.command == "HEAD":
                return
            with contextlib.suppress(ConnectionError):
                if data is packed and not running.go_on.is_set():
                    half = len(data) // 2
                    self.wfile.write(data[begin:half])
                    running.stalled.set()
                    running.go_on.wait()
                    begin = max(begin, half)
                self.wfile.write(data[begin:])

        do_HEAD = do_GET  # noqa: N815 - http.server's name

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    running = StallingRegistry(f"127.0.0.1:{server.server_port}", _digest(manifest), len(packed))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield running
    finally:
        running.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()
