"""A small registry for the lesson on registries: all of it in memory, on loopback.

A registry keeps blobs (layers and configurations: bytes, found by their SHA-256) and manifests
(small documents that name blobs, found by their SHA-256 or by a tag). The protocol is that of the
OCI's distribution specification. HEAD asks whether something is there, and GET fetches it. A blob
is sent by a POST, which opens an upload, and a PUT, which closes it; a large one by PATCHes between
them. A manifest is sent by one PUT.

    registry = TinyRegistry()
    registry.host         # "localhost:5050"
    registry.log()        # the requests since the last time, a line for each
    registry.blobs        # {"sha256:...": b"..."}, to look at and to tamper with
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PORT = 5050
PIECE_BYTES = 1 << 16


def digest_of(data: bytes) -> str:
    """What a registry finds bytes by."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Request:
    """A request that was answered. `received` and `sent` are bytes, headers not counted."""

    method: str
    path: str
    status: int
    received: int
    sent: int = 0

    def __str__(self) -> str:
        path = re.sub(r"(sha256(?::|%3A)\w{8})\w+", r"\1…", self.path)
        return f"{self.method:5} {path:60} {self.status} {self.received:11,} {self.sent:11,}"


class Requests(list[Request]):
    """Requests, shown as a line for each, with digests cut short."""

    def __repr__(self) -> str:
        title = f"{'':5} {'':60} {'':3} {'received':>11} {'sent':>11}"
        return "\n".join([title, *map(str, self)])


class TinyRegistry:
    """A registry that runs until the kernel ends.

    Attributes
    ----------
    host
        Its name in references. Its port is 5050, or another if that is taken.
    blobs
        Bytes by their digest.
    links
        Which repository has which blob: (repository, digest).
    manifests
        (media type, bytes) by (repository, tag) and by (repository, digest).
    bytes_per_s
        How fast it sends; None is as fast as it can. Bytes per second.
    """

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.links: set[tuple[str, str]] = set()
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.bytes_per_s: float | None = None
        self.uploads: dict[str, bytes] = {}
        self.numbers = itertools.count(1)
        self.requests = Requests()
        handler = type("Handler", (Handler,), {"registry": self})
        try:
            server = ThreadingHTTPServer(("127.0.0.1", PORT), handler)
        except OSError:
            server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.host = f"localhost:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def log(self) -> Requests:
        """The requests since this was last called."""
        requests, self.requests = self.requests, Requests()
        return requests

    def __repr__(self) -> str:
        return f"<TinyRegistry at {self.host}: {len(self.blobs)} blobs>"


class Handler(BaseHTTPRequestHandler):
    """One connection; a method for each kind of request."""

    registry: TinyRegistry
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    received = b""

    def do_GET(self) -> None:
        registry, path = self.registry, urlsplit(self.path).path
        name, kind, key = re.match(r"/v2/(?:(.+)/(\w+)/([^/]+)$)?|", path).groups()
        if kind == "manifests" and (name, key) in registry.manifests:
            media_type, data = registry.manifests[name, key]
            self.answer(200, data, Content_Type=media_type, Docker_Content_Digest=digest_of(data))
        elif kind == "blobs" and (name, key) in registry.links:
            data = registry.blobs[key]
            start = int(re.search(r"\d+", self.headers["Range"] or "bytes=0-")[0])
            part = {"Content_Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
            status = 206 if start else 200
            self.answer(status, data[start:], Docker_Content_Digest=key, **part)
        elif kind == "tags":
            tags = sorted(key for of, key in registry.manifests if of == name and ":" not in key)
            self.answer(200, json.dumps({"name": name, "tags": tags}).encode())
        else:
            self.answer(200 if path == "/v2/" else 404)

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        url = urlsplit(self.path)
        name, mounted = url.path.split("/")[2:-3], parse_qs(url.query).get("mount", [""])[0]
        if mounted in self.registry.blobs:  # another repository has it: it need not be sent
            self.registry.links.add(("/".join(name), mounted))
            self.answer(201, Location=url.path.replace("uploads/", mounted))
        else:
            number = str(next(self.registry.numbers))
            self.registry.uploads[number] = b""
            self.answer(202, Location=url.path + number)

    def do_PATCH(self) -> None:
        number = self.path.rpartition("/")[2]
        self.registry.uploads[number] += self.read()
        end = len(self.registry.uploads[number]) - 1
        self.answer(202, Location=self.path, Range=f"0-{end}")

    def do_PUT(self) -> None:
        registry, data, url = self.registry, self.read(), urlsplit(self.path)
        name, kind, key = re.match("/v2/(.+)/(manifests|blobs/uploads)/(.+)", url.path).groups()
        if kind == "manifests":
            digest = wanted = digest_of(data)
            for each in (key, digest):
                registry.manifests[name, each] = (self.headers["Content-Type"], data)
        else:
            data = registry.uploads.pop(key) + data
            digest, wanted = digest_of(data), parse_qs(url.query)["digest"][0]
            registry.blobs[digest] = data
            registry.links.add((name, digest))
        # A blob that became another on its way is not what the upload was for.
        status = 201 if digest == wanted else 400
        self.answer(status, Location=url.path, Docker_Content_Digest=digest)

    def read(self) -> bytes:
        """The body of the request: in one piece or, as some clients have it, in chunks."""
        if self.headers["Transfer-Encoding"] != "chunked":
            self.received = self.rfile.read(int(self.headers["Content-Length"] or 0))
            return self.received
        self.received = b""
        while size := int(self.rfile.readline(), 16):
            self.received += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return self.received

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        # Noted first, so that whoever has the answer finds it in the log.
        request = Request(self.command, self.path, status, len(self.received))
        self.registry.requests.append(request)
        self.received = b""
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        for start in range(0, 0 if self.command == "HEAD" else len(body), PIECE_BYTES):
            piece = body[start : start + PIECE_BYTES]
            request.sent += len(piece)
            try:
                self.wfile.write(piece)
            except ConnectionError:  # whoever asked has gone
                self.close_connection = True
                return
            if self.registry.bytes_per_s:
                time.sleep(PIECE_BYTES / self.registry.bytes_per_s)

    def log_message(self, *_: object) -> None:
        """Say nothing in the notebook: there is `TinyRegistry.log`."""
