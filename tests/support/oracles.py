"""Other people's tools, asked what they make of nbdock's images.

skopeo("inspect", f"docker-archive:{path}")
tree = unpack(path, tmp_path)          # skopeo to an OCI layout, umoci to a root file system
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TIMEOUT_S = 240.0


def call(program: str, *arguments: str | os.PathLike[str]) -> str:
    """Call a program that must succeed; what it wrote to standard output."""
    done = subprocess.run(
        [program, *(os.fspath(a) for a in arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        shown = " ".join([program, *map(str, arguments)])
        raise AssertionError(f"{shown} ended with {done.returncode}:\n{done.stderr}{done.stdout}")
    return done.stdout


def skopeo(*arguments: str | os.PathLike[str]) -> str:
    """``skopeo --insecure-policy``: an archive of our own has no signature to demand."""
    return call("skopeo", "--insecure-policy", *arguments)


def umoci(*arguments: str | os.PathLike[str]) -> str:
    """``umoci``, on an OCI layout."""
    return call("umoci", *arguments)


@contextlib.contextmanager
def without_gzip(archive: str | os.PathLike[str]) -> Iterator[str]:
    """Give the path of the same archive, decompressed if it is a .gz.

    The pgzip library in Debian 12's skopeo and podman loses the first MiB of every gzip archive
    larger than that, whoever made it (containers/podman issue 15944; klauspost/pgzip 50 mends it).
    """
    path = os.fspath(archive)
    if not path.endswith("gz"):
        yield path
        return
    with tempfile.NamedTemporaryFile(suffix=".tar") as plain:
        with gzip.open(path) as compressed:
            shutil.copyfileobj(compressed, plain)
        plain.flush()
        yield plain.name


def inspect(source: str) -> dict[str, Any]:
    """What skopeo reads of an image, such as ``docker-archive:x.tar`` or ``oci:dir:tag``."""
    found: dict[str, Any] = json.loads(skopeo("inspect", source))
    return found


def to_oci(archive: str | os.PathLike[str], layout: Path, *, kind: str = "docker-archive") -> str:
    """Copy an archive to an OCI layout with skopeo; ``layout:tag`` as umoci takes it."""
    with without_gzip(archive) as plain:
        skopeo("copy", f"{kind}:{plain}", f"oci:{layout}:image")
    return f"{layout}:image"


def unpack(
    archive: str | os.PathLike[str], directory: Path, *, kind: str = "docker-archive"
) -> Path:
    """Flatten an image with umoci; the root of its file system.

    As root the owners, modes and devices are the image's; else they are the user's.
    """
    image = to_oci(archive, directory / "layout", kind=kind)
    bundle = directory / "bundle"
    umoci("unpack", *(() if os.geteuid() == 0 else ("--rootless",)), "--image", image, bundle)
    return bundle / "rootfs"
