"""Images on a `FaultyServer`: what a registry is to a client, as far as a script goes.

image = image_of(server, b"a layer", b"another")
server.script(image.blob_paths[0], reset_after(b"a layer", 3), ...)
await client.pull_blob(image.reference, image.layer, store)
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence

from support.certificates import Authority
from support.faulty_server import Answer, Behaviour, FaultyServer, Request, answer, content
from support.registry import OCI_CONFIG, OCI_MANIFEST, Registry
from support.token_server import TokenServer

from nbdock.oci import Descriptor, Digest, Manifest, MediaType, Reference

__all__ = ["PASSWORD", "USER", "FakeImage", "WithAuthority", "WithTokens", "guarded", "image_of"]

USER, PASSWORD = "me", "SECRET:with colon"


@dataclasses.dataclass(frozen=True)
class WithTokens:
    registry: Registry
    tokens: TokenServer


@dataclasses.dataclass(frozen=True)
class WithAuthority:
    registry: Registry
    authority: Authority


@dataclasses.dataclass(frozen=True)
class FakeImage:
    """An image on a `FaultyServer`; its paths are there to be scripted otherwise."""

    reference: Reference
    manifest: Manifest
    data: bytes
    blobs: Mapping[str, bytes]
    manifest_path: str
    blob_paths: tuple[str, ...]

    @property
    def layer(self) -> Descriptor:
        return self.manifest.layers[0]


def image_of(
    server: FaultyServer,
    *layers: bytes,
    repository: str = "a/b",
    guard: Callable[[Behaviour], Behaviour] = lambda behaviour: behaviour,
    name: str = "127.0.0.1",
    tars: Sequence[bytes] | None = None,
    media_type: str = MediaType.OCI_LAYER_GZIP,
) -> FakeImage:
    """Put an image on a server; `guard` wraps every answer.

    `tars` are what the configuration says that the layers hold, which then are of `media_type`.
    """
    if tars is None:
        tars, media_type = layers, MediaType.OCI_LAYER
    diff_ids = [str(Digest.of(data)) for data in tars]
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    ).encode()
    manifest = Manifest(
        Descriptor.of(config, OCI_CONFIG),
        tuple(Descriptor.of(data, media_type) for data in layers),
    )
    data = manifest.to_bytes()
    base = f"/v2/{repository}"
    headers = {"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": str(Digest.of(data))}
    for place in ("1", str(Digest.of(data))):
        server.script(f"{base}/manifests/{place}", guard(answer(200, data, headers)))
    blobs = {f"{base}/blobs/{Digest.of(blob)}": blob for blob in (config, *layers)}
    for path, blob in blobs.items():
        server.script(path, guard(content(blob, etag=f'"{path[-8:]}"')))
    reference = Reference(f"{name}:{server.port}", repository, "1")
    paths = tuple(f"{base}/blobs/{layer.digest}" for layer in manifest.layers)
    return FakeImage(reference, manifest, data, blobs, f"{base}/manifests/1", paths)


def guarded(challenge: str, *accepted: str) -> Callable[[Behaviour], Behaviour]:
    """Wraps answers so that they need one of these ``Authorization`` headers."""

    def wrap(behaviour: Behaviour) -> Behaviour:
        async def behave(request: Request, out: Answer) -> None:
            if request.headers.get("authorization") in accepted:
                await behaviour(request, out)
            else:
                refusal = {"errors": [{"code": "UNAUTHORIZED", "message": "login first"}]}
                headers = {"WWW-Authenticate": challenge}
                await answer(401, json.dumps(refusal).encode(), headers)(request, out)

        return behave

    return wrap
