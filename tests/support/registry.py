"""A real registry (Debian's docker-registry) on a free loopback port, as a test needs it.

    with docker_registry(tmp_path) as registry:     # config=login_config(...), tls_config(...), ...
        registry.push("team/app", "1", layers=[b"...", b"..."])
        f"{registry.host}/team/app:1"

The images that `push` makes owe nothing to nbdock: `http.client`, `json` and `gzip` make them.
Cost: a registry starts in 50 ms.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import http.client
import itertools
import json
import re
import ssl
import subprocess
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from support.certificates import Authority
from support.components import require
from support.oracles import skopeo
from support.plain_images import layer

__all__ = [
    "NO_DELETION",
    "READ_ONLY",
    "PushedImage",
    "Registry",
    "docker_registry",
    "login_config",
    "tls_config",
]

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"

STOP_DEADLINE_S = 10.0
LOG_DEADLINE_S = 60.0

_last = itertools.count()


@dataclasses.dataclass(frozen=True)
class PushedImage:
    """What `Registry.push` put there: digests as text, and the bytes behind them."""

    name: str
    digest: str
    manifest: bytes
    config: bytes
    layers: tuple[bytes, ...]
    """As they are stored: gzip."""

    @property
    def descriptor(self) -> dict[str, Any]:
        return {"mediaType": OCI_MANIFEST, "digest": self.digest, "size": len(self.manifest)}


class _Log:
    """What a registry has written so far, and a condition to wait for more."""

    def __init__(self) -> None:
        self.lines: list[str] = [""]
        self.changed = threading.Condition()


@dataclasses.dataclass(frozen=True)
class Registry:
    """A running registry.

    Attributes
    ----------
    host
        As in a reference: ``127.0.0.1:40123``.
    scheme
        ``http`` or ``https``.
    storage
        Where it keeps its files.
    login
        The user and password that are asked for, if any.
    ca_file
        The authority that signed its certificate, if it has one.
    """

    host: str
    scheme: str
    storage: Path
    log: _Log = dataclasses.field(repr=False)
    login: tuple[str, str] | None = None
    ca_file: Path | None = None

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}"

    def request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send a request, with the basic login if there is one; status, headers and body."""
        address = urlsplit(target)
        connection: http.client.HTTPConnection
        if self.scheme == "https":
            context = ssl.create_default_context(cafile=str(self.ca_file))
            connection = http.client.HTTPSConnection(self.host, context=context, timeout=30)
        else:
            connection = http.client.HTTPConnection(self.host, timeout=30)
        own = dict(headers or {})
        if self.login is not None:
            own["Authorization"] = "Basic " + b64encode(":".join(self.login).encode()).decode()
        path = address.path + (f"?{address.query}" if address.query else "")
        with contextlib.closing(connection):
            connection.request(method, path, body, own)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()

    def put_blob(self, repository: str, data: bytes) -> str:
        """Upload a blob; its digest."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        status, headers, body = self.request("POST", f"/v2/{repository}/blobs/uploads/")
        assert status == 202, body
        place = headers["location"]
        place += f"{'&' if '?' in place else '?'}digest={digest}"
        status, _, body = self.request("PUT", place, data)
        assert status == 201, body
        return digest

    def put_manifest(self, repository: str, name: str, data: bytes, media_type: str) -> str:
        """Upload a manifest under a tag or its digest; its digest."""
        status, headers, body = self.request(
            "PUT", f"/v2/{repository}/manifests/{name}", data, {"Content-Type": media_type}
        )
        assert status == 201, body
        return headers["docker-content-digest"]

    def has_blob(self, repository: str, digest: str) -> bool:
        return self.request("HEAD", f"/v2/{repository}/blobs/{digest}")[0] == 200

    def push(
        self,
        repository: str,
        tag: str,
        *,
        layers: Sequence[bytes] | None = None,
        architecture: str = "amd64",
        variant: str = "",
    ) -> PushedImage:
        """Make an image of some layers (uncompressed tars) and put it there."""
        tars = [layer({"hello": b"hello " * 100})] if layers is None else layers
        packed = tuple(gzip.compress(tar, 1, mtime=0) for tar in tars)
        config = {
            "architecture": architecture,
            **({"variant": variant} if variant else {}),
            "os": "linux",
            "config": {},
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(tar).hexdigest()}" for tar in tars],
            },
        }
        config_data = json.dumps(config).encode()
        described = [
            {
                "mediaType": OCI_LAYER_GZIP,
                "digest": self.put_blob(repository, data),
                "size": len(data),
            }
            for data in packed
        ]
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {
                "mediaType": OCI_CONFIG,
                "digest": self.put_blob(repository, config_data),
                "size": len(config_data),
            },
            "layers": described,
        }
        data = json.dumps(manifest, indent=1).encode()
        digest = self.put_manifest(repository, tag, data, OCI_MANIFEST)
        name = f"{self.host}/{repository}:{tag}"
        return PushedImage(name, digest, data, config_data, packed)

    def push_index(self, repository: str, tag: str, images: Mapping[str, PushedImage]) -> str:
        """Put an index of images by platform (``linux/arm64``) there; its digest."""
        manifests = []
        for name, image in images.items():
            system, architecture, *variant = name.split("/")
            place = {"os": system, "architecture": architecture}
            if variant:
                place["variant"] = variant[0]
            manifests.append({**image.descriptor, "platform": place})
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
        return self.put_manifest(repository, tag, json.dumps(index).encode(), OCI_INDEX)

    def copy_in(self, source: str, repository: str, tag: str) -> str:
        """Let skopeo put an image there (``docker-archive:x.tar``); its reference."""
        login = ["--dest-creds", ":".join(self.login)] if self.login else []
        skopeo(
            "copy", "--dest-tls-verify=false", *login, source,
            f"docker://{self.host}/{repository}:{tag}",
        )  # fmt: skip
        return f"{self.host}/{repository}:{tag}"

    @property
    def requests(self) -> list[str]:
        """Lines of its access log so far, such as ``GET /v2/a/blobs/sha256:... HTTP/1.1" 200``."""
        # It writes them after it has answered: wait for that of a last request.
        last = f"/v2/last/{next(_last)}/tags/list"
        self.request("GET", last)
        with self.log.changed:
            assert self.log.changed.wait_for(lambda: last in self.log.lines[-1], LOG_DEADLINE_S)
            return [line for line in self.log.lines if "/v2/last/" not in line]

    def count(self, pattern: str) -> int:
        """How many requests so far match a regular expression."""
        return sum(re.search(pattern, line) is not None for line in self.requests)


@contextlib.contextmanager
def docker_registry(
    directory: Path,
    *,
    config: Mapping[str, Any] | None = None,
    scheme: str = "http",
    login: tuple[str, str] | None = None,
    ca_file: Path | None = None,
    name: str = "127.0.0.1",
) -> Iterator[Registry]:
    """Run a registry with its storage in `directory`; the functions below make `config`.

    Parameters
    ----------
    config
        Sections of its configuration beside or instead of the usual ones.
    name
        The name of this machine that `Registry.host` has.
    """
    require("docker-registry")
    storage = directory / "storage"
    storage.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "info", "accesslog": {"disabled": False}},
        "storage": {
            "filesystem": {"rootdirectory": str(storage)},
            "delete": {"enabled": True},
            "maintenance": {"uploadpurging": {"enabled": False}},
        },
        "http": {"addr": "127.0.0.1:0", "secret": "test", "http2": {"disabled": True}},
    }
    for section, values in (config or {}).items():
        document[section] = {**document.get(section, {}), **values}
    file = directory / "config.yml"
    # JSON is YAML.
    file.write_text(json.dumps(document))
    process = subprocess.Popen(
        ["docker-registry", "serve", str(file)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    log = _Log()
    reader: threading.Thread | None = None
    assert process.stdout is not None
    try:
        said = []
        for line in process.stdout:
            said.append(line.decode(errors="replace"))
            if found := re.search(r'listening on [^"]*?:(\d+)', said[-1]):
                break
        else:
            raise AssertionError(f"the registry did not start:\n{''.join(said)}")
        reader = threading.Thread(target=_read, args=(process.stdout, log), daemon=True)
        reader.start()
        yield Registry(f"{name}:{found[1]}", scheme, storage, log, login, ca_file)
    finally:
        process.terminate()
        try:
            process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if reader is not None:
            reader.join(STOP_DEADLINE_S)
        process.stdout.close()


def tls_config(authority: Authority, *names: str) -> dict[str, Any]:
    """A certificate for these names; give `docker_registry` the scheme and the ca_file as well."""
    cert, key = authority.issue(*names)
    return {"http": {"tls": {"certificate": str(cert), "key": str(key)}}}


def login_config(directory: Path, user: str, password: str) -> dict[str, Any]:
    """One user; give `docker_registry` the login as well."""
    file = directory / "htpasswd"
    # bcrypt, the only kind that the registry takes; Perl is on every Debian and Ubuntu.
    salt = "$2y$05$" + "abcdefghijklmnopqrstuO"
    done = subprocess.run(
        ["perl", "-e", "print crypt($ARGV[0], $ARGV[1])", password, salt],
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    assert done.stdout.startswith("$2y$")
    file.write_text(f"{user}:{done.stdout}\n")
    return {"auth": {"htpasswd": {"realm": "basic-realm", "path": str(file)}}}


READ_ONLY: dict[str, Any] = {"storage": {"maintenance": {"readonly": {"enabled": True}}}}
"""Nothing can be pushed or deleted."""

NO_DELETION: dict[str, Any] = {"storage": {"delete": {"enabled": False}}}


def _read(lines: Any, log: _Log) -> None:
    with contextlib.suppress(ValueError):
        for line in lines:
            text = line.decode(errors="replace")
            if found := re.search(r'"((?:GET|HEAD|PUT|POST|PATCH|DELETE) [^"]*" \d+)', text):
                with log.changed:
                    log.lines.append(found[1])
                    log.changed.notify_all()
