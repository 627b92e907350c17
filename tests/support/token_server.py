"""A token server for docker-registry: signs what it is asked for, by the distribution's rules.

    with token_server(tmp_path, users={"me": "secret"}) as tokens:
        with docker_registry(tmp_path, config=tokens.registry_config()) as registry:
            ...
    tokens.requests[0].scopes

Anybody gets tokens for pulling from ``public/...``; users get everything. A user's identity token
is ``identity-of-<user>``.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from support.certificates import Authority

__all__ = ["TokenRequest", "TokenServer", "token_server"]

ISSUER = "nbdock-tests"
SERVICE = "nbdock-registry"


@dataclasses.dataclass(frozen=True)
class TokenRequest:
    method: str
    user: str
    """Who asked; empty: anybody."""
    scopes: tuple[str, ...]
    form: Mapping[str, str]
    authorization: str


class TokenServer:
    """`lifetime_s` and `allowed` may be changed while it runs."""

    def __init__(self, directory: Path, users: Mapping[str, str]) -> None:
        self.users = dict(users)
        self.requests: list[TokenRequest] = []
        self.lifetime_s: int | None = 300
        self.url = ""
        authority = Authority(directory / "token-authority")
        cert, key = authority.issue("tokens.test")
        self.cert_file = authority.ca_file
        self._chain = x509.load_pem_x509_certificate(cert.read_bytes())
        loaded = serialization.load_pem_private_key(key.read_bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        self._key = loaded

    def registry_config(self) -> dict[str, Any]:
        return {
            "auth": {
                "token": {
                    "realm": f"{self.url}/token",
                    "service": SERVICE,
                    "issuer": ISSUER,
                    "rootcertbundle": str(self.cert_file),
                }
            }
        }

    def signed(self, user: str, scopes: tuple[str, ...]) -> str:
        """A token for scopes, as far as `user` may have them."""
        now = int(time.time())
        access = []
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            wanted = actions.split(",")
            if not user:
                wanted = [a for a in wanted if a == "pull" and name.startswith("public/")]
            access.append({"type": kind, "name": name, "actions": wanted})
        chain = base64.b64encode(self._chain.public_bytes(serialization.Encoding.DER)).decode()
        header = {"typ": "JWT", "alg": "ES256", "x5c": [chain]}
        claims = {
            "iss": ISSUER, "sub": user, "aud": SERVICE, "iat": now, "nbf": now - 10,
            "exp": now + (self.lifetime_s or 60), "jti": str(len(self.requests)), "access": access,
        }  # fmt: skip
        text = f"{_b64(json.dumps(header).encode())}.{_b64(json.dumps(claims).encode())}"
        r, s = decode_dss_signature(self._key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def answer(self, request: TokenRequest) -> tuple[int, dict[str, Any]]:
        if request.method == "POST":
            user = request.form.get("refresh_token", "").removeprefix("identity-of-")
            if request.form.get("grant_type") != "refresh_token" or user not in self.users:
                return 401, {"error": "invalid_grant"}
            return 200, self._document("access_token", user, request.scopes)
        if request.authorization:
            basic = base64.b64decode(request.authorization.removeprefix("Basic ")).decode()
            user, _, password = basic.partition(":")
            if self.users.get(user) != password:
                return 401, {"details": "incorrect username or password"}
        return 200, self._document("token", request.user, request.scopes)

    def _document(self, field: str, user: str, scopes: tuple[str, ...]) -> dict[str, Any]:
        document: dict[str, Any] = {field: self.signed(user, scopes)}
        if self.lifetime_s is not None:
            document["expires_in"] = self.lifetime_s
        return document


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextlib.contextmanager
def token_server(directory: Path, users: Mapping[str, str]) -> Iterator[TokenServer]:
    """Run one on a free loopback port."""
    server = TokenServer(directory, users)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._serve(urlsplit(self.path).query, {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            self._serve("&".join(f"scope={s}" for s in form.get("scope", "").split()), form)

        def _serve(self, query: str, form: Mapping[str, str]) -> None:
            authorization = self.headers.get("Authorization", "")
            user = ""
            if authorization.startswith("Basic "):
                user = base64.b64decode(authorization[6:]).decode().partition(":")[0]
            scopes = tuple(parse_qs(query).get("scope", ()))
            request = TokenRequest(self.command, user, scopes, form, authorization)
            server.requests.append(request)
            status, document = server.answer(request)
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        server.url = f"http://127.0.0.1:{running.server_address[1]}"
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            running.shutdown()
            thread.join()
