"""Image archives written with `tarfile` and `json` alone, owing nothing to nbdock.

The fixtures are checked with these, and code that reads images has a second opinion in them.

    write_docker_archive(path, name="plain:1", layers=[layer({"bin/hello": b"..."})])
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def layer(files: Mapping[str, bytes | str], *, mode: int = 0o755) -> bytes:
    """Make a layer: bytes are a file's content, text is a symbolic link's target."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        directories = sorted({str(p) for name in files for p in Path(name).parents} - {"."})
        for name in directories:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.mode = mode
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
                archive.addfile(entry)
            else:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def busybox_layer() -> bytes:
    """Make a layer in which ``/bin/sh`` and the usual commands work: Debian's static busybox."""
    program = shutil.which("busybox") or "/bin/busybox"
    applets = ("cat", "echo", "env", "id", "ls", "mkdir", "pwd", "sh", "stat")
    links: dict[str, bytes | str] = {f"bin/{name}": "busybox" for name in applets}
    return layer({**links, "bin/busybox": Path(program).read_bytes()})


def write_docker_archive(
    path: str | os.PathLike[str],
    *,
    name: str,
    layers: Iterable[bytes],
    config: Mapping[str, Any] | None = None,
) -> Path:
    """Write what ``docker load`` reads: layers, a configuration, and ``manifest.json``."""
    blobs = list(layers)
    digests = [hashlib.sha256(blob).hexdigest() for blob in blobs]
    configuration = json.dumps(
        {
            "architecture": os.uname()
            .machine.replace("x86_64", "amd64")
            .replace("aarch64", "arm64"),
            "os": "linux",
            "created": "1970-01-01T00:00:01Z",
            "config": dict(config or {}),
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{d}" for d in digests]},
        }
    ).encode()
    config_name = f"{hashlib.sha256(configuration).hexdigest()}.json"
    names = [f"{digest}/layer.tar" for digest in digests]
    members = dict(zip(names, blobs, strict=True))
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": names}]
    members[config_name] = configuration
    members["manifest.json"] = json.dumps(manifest).encode()
    with tarfile.open(path, "w") as archive:
        for member, content in members.items():
            entry = tarfile.TarInfo(member)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return Path(path)
