"""Tables of images as other tools write them: each archive gives the same entries."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from support import oracles, plain_images
from support.layers import directory, file, symlink, tar, whiteout

import nbdock
from nbdock.errors import NbdockError

BASE = tar([directory("etc"), file("etc/motd", b"hello"), file("etc/gone", b"1" * 50)])
TOP = tar([file("etc/motd", b"hello!"), whiteout("etc/gone"), symlink("link", "etc/motd")])
LAYERS = [BASE, TOP]
GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
SEEN = {"/etc", "/etc/motd", "/link"}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def configuration(layers: Sequence[bytes] = LAYERS) -> bytes:
    return json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(d)}" for d in layers]},
        }
    ).encode()


def write(path: Path, members: Mapping[str, bytes], links: Mapping[str, str] = {}) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, target in links.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return path


def docker_manifest(config: str, layers: list[str]) -> bytes:
    return json.dumps([{"Config": config, "RepoTags": ["x:1"], "Layers": layers}]).encode()


def descriptor(data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
    return {
        "mediaType": media_type, "digest": f"sha256:{sha256(data)}", "size": len(data), **more
    }  # fmt: skip


def oci_members(
    blobs: Sequence[bytes],
    layer_type: str,
    *,
    layers: Sequence[bytes] = LAYERS,
    nested: bool = False,
) -> dict[str, bytes]:
    """An OCI layout; `nested` with an index of the image and its attestation, as BuildKit does."""
    config = configuration(layers)
    oci = "application/vnd.oci.image"
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": f"{oci}.manifest.v1+json",
            "config": descriptor(config, f"{oci}.config.v1+json"),
            "layers": [descriptor(blob, layer_type) for blob in blobs],
        }
    ).encode()
    found = [config, manifest, *blobs]
    platform = {"architecture": "amd64", "os": "linux"}
    top = descriptor(manifest, f"{oci}.manifest.v1+json", platform=platform)
    if nested:
        statement = b'{"_type": "https://in-toto.io/Statement/v0.1"}'
        rootfs = {"type": "layers", "diff_ids": [f"sha256:{sha256(statement)}"]}
        unknown = {"architecture": "unknown", "os": "unknown"}
        empty = json.dumps({**unknown, "config": {}, "rootfs": rootfs}).encode()
        attestation = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": f"{oci}.manifest.v1+json",
                "config": descriptor(empty, f"{oci}.config.v1+json"),
                "layers": [descriptor(statement, "application/vnd.in-toto+json")],
            }
        ).encode()
        notes = {"vnd.docker.reference.type": "attestation-manifest",
                 "vnd.docker.reference.digest": f"sha256:{sha256(manifest)}"}  # fmt: skip
        other = descriptor(
            attestation, f"{oci}.manifest.v1+json", platform=unknown, annotations=notes
        )
        index = json.dumps(
            {"schemaVersion": 2, "mediaType": f"{oci}.index.v1+json", "manifests": [top, other]}
        ).encode()
        found += [statement, empty, attestation, index]
        top = descriptor(index, f"{oci}.index.v1+json")
    names = {"org.opencontainers.image.ref.name": "1", "io.containerd.image.name": "x:1"}
    top["annotations"] = names
    return {
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [top]}).encode(),
        **{f"blobs/sha256/{sha256(data)}": data for data in found},
    }


def docker_24(path: Path) -> Path:
    ids = [sha256(b"id" + data) for data in LAYERS]
    members = {f"{i}/layer.tar": data for i, data in zip(ids, LAYERS, strict=True)}
    members |= {f"{i}/VERSION": b"1.0" for i in ids} | {f"{i}/json": b"{}" for i in ids}
    config = configuration()
    name = f"{sha256(config)}.json"
    manifest = docker_manifest(name, [f"{i}/layer.tar" for i in ids])
    return write(path, {**members, name: config, "manifest.json": manifest, "repositories": b"{}"})


def docker_25(path: Path) -> Path:
    members = oci_members(LAYERS, "application/vnd.oci.image.layer.v1.tar")
    blobs = [f"blobs/sha256/{sha256(data)}" for data in LAYERS]
    config = f"blobs/sha256/{sha256(configuration())}"
    return write(path, {**members, "manifest.json": docker_manifest(config, blobs)})


def docker_containerd_store(path: Path) -> Path:
    members = oci_members([gzip.compress(d, mtime=0) for d in LAYERS],
                          GZIP, nested=True)  # fmt: skip
    blobs = [f"blobs/sha256/{sha256(gzip.compress(data, mtime=0))}" for data in LAYERS]
    config = f"blobs/sha256/{sha256(configuration())}"
    return write(path, {**members, "manifest.json": docker_manifest(config, blobs)})


def buildkit(path: Path) -> Path:
    return write(
        path,
        oci_members(
            [gzip.compress(data, mtime=0) for data in LAYERS],
            GZIP,
            nested=True,
        ),
    )


def kaniko(path: Path) -> Path:
    config = configuration()
    blobs = [gzip.compress(data, mtime=0) for data in LAYERS]
    names = [f"{sha256(blob)}.tar.gz" for blob in blobs]
    members = {f"sha256:{sha256(config)}": config, **dict(zip(names, blobs, strict=True))}
    manifest = docker_manifest(f"sha256:{sha256(config)}", names)
    return write(path, {**members, "manifest.json": manifest})


def podman_links(path: Path) -> Path:
    """Podman's docker-archive: layers at the top, and the old names as symlinks to them."""
    config = configuration()
    names = [f"{sha256(data)}.tar" for data in LAYERS]
    old = [f"{sha256(b'id' + data)}/layer.tar" for data in LAYERS]
    links = {link: f"../{name}" for link, name in zip(old, names, strict=True)}
    members = {f"{sha256(config)}.json": config, **dict(zip(names, LAYERS, strict=True))}
    manifest = docker_manifest(f"{sha256(config)}.json", list(links))
    return write(path, {**members, "manifest.json": manifest}, links)


def estargz_tar(data: bytes) -> bytes:
    """A layer with a landmark and the table of contents behind its own entries."""
    toc = json.dumps({"version": 1, "entries": []}).encode()
    entries = data.rstrip(b"\0")
    end = tar([file(".no.prefetch.landmark", b"\xf0"), file("stargz.index.json", toc)])
    return entries + bytes(-len(entries) % 512) + end


def estargz_blob(data: bytes) -> bytes:
    """Many gzip members, and an empty one as the footer."""
    pieces = [data[at : at + 1024] for at in range(0, len(data), 1024)]
    return b"".join(gzip.compress(piece, mtime=0) for piece in (*pieces, b""))


MAKERS: dict[str, Callable[[Path], Path]] = {
    "docker before 25": docker_24, "docker from 25": docker_25,
    "docker with containerd's store": docker_containerd_store, "buildkit": buildkit,
    "kaniko": kaniko, "podman": podman_links,
}  # fmt: skip


@pytest.mark.parametrize("name", MAKERS)
def test_archives_of_other_tools(nbdock_home, tmp_path, name) -> None:
    path = MAKERS[name](tmp_path / "image.tar")
    table = nbdock.file_table(path)
    assert set(table[table.visible].path) == SEEN
    assert table.layer.nunique() == 2
    assert nbdock.waste_table(path).size_bytes.tolist() == [50, 5]
    assert len(nbdock.layer_table(path)) == 2
    with gzip.open(tmp_path / "image.tar.gz", "wb") as packed:
        packed.write(path.read_bytes())
    assert set(nbdock.file_table(tmp_path / "image.tar.gz").path) == set(table.path)


def test_estargz_layers(nbdock_home, tmp_path) -> None:
    tars = [estargz_tar(data) for data in LAYERS]
    members = oci_members([estargz_blob(data) for data in tars], GZIP, layers=tars)
    table = nbdock.file_table(write(tmp_path / "x.oci.tar", members))
    extra = {"/.no.prefetch.landmark", "/stargz.index.json"}
    assert set(table[table.visible].path) == SEEN | extra


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_archives_that_podman_writes(nbdock_home, tmp_path, podman_engine, form) -> None:
    plain = plain_images.write_docker_archive(tmp_path / "x.tar", name="tables:1", layers=LAYERS)
    podman_engine.load(plain)
    saved = tmp_path / "saved.tar"
    podman_engine("save", "--format", form, "-o", saved, "tables:1")
    table = nbdock.file_table(saved)
    assert set(table[table.visible].path) == SEEN


def test_archives_that_docker_and_skopeo_write(nbdock_home, tmp_path, docker_engine) -> None:
    plain = plain_images.write_docker_archive(tmp_path / "x.tar", name="tables:2", layers=LAYERS)
    docker_engine.load(plain)
    saved = tmp_path / "saved.tar"
    docker_engine("save", "-o", saved, "tables:2")
    assert set(nbdock.file_table(saved).query("visible").path) == SEEN
    oracles.skopeo("copy", f"docker-archive:{plain}", f"oci:{tmp_path}/layout:1")
    assert set(nbdock.file_table(tmp_path / "layout").query("visible").path) == SEEN


def _without(path: Path, name: str) -> None:
    with tarfile.open(path) as archive:
        members = {m.name: archive.extractfile(m).read() for m in archive if m.isreg()}
    members = {key: data for key, data in members.items() if name not in key}
    write(path, members)


BREAKS: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:3000]),
    "noise": lambda path: path.write_bytes(b"\x17" * 5000),
    "empty": lambda path: path.write_bytes(b""),
    "a layer is missing": lambda path: _without(path, sha256(TOP)),
    "the configuration is missing": lambda path: _without(path, sha256(configuration())),
    "another layer": lambda path: path.write_bytes(path.read_bytes().replace(b"hello!", b"HELLO!")),
}


@pytest.mark.parametrize("what", BREAKS)
def test_a_broken_archive_is_one_clear_error(nbdock_home, tmp_path, what) -> None:
    path = docker_25(tmp_path / "image.tar")
    BREAKS[what](path)
    with pytest.raises(NbdockError) as caught:
        nbdock.file_table(path)
    assert len(str(caught.value)) > 20
    assert not (nbdock_home / "tables").exists()
    assert not list((nbdock_home / "tmp").iterdir())
