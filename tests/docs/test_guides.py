"""The code of the how-to guides, run as a reader would: with real registries, archives and Nix.

Each guide runs in a process, a directory and a home of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from support.apt_archive import Archive, Signer
from support.certificates import Authority
from support.nix import Nix, NixCache
from support.registry import Registry, docker_registry, login_config, tls_config

GUIDES = Path(__file__).parents[2] / "docs" / "how-to"
RUNNER = Path(__file__).parents[1] / "support" / "guide.py"
LIMIT_S = 240
OCI = {"Accept": "application/vnd.oci.image.manifest.v1+json"}


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's home with nothing in it, nbdock's commands, and no one's settings."""
    for name in [*os.environ]:
        if name.startswith(("NBDOCK_", "XDG_", "DOCKER_", "REGISTRY_")) and name != "NBDOCK_HOME":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    (tmp_path / "home").mkdir()


def follow(
    guide: str,
    directory: Path,
    replaced: Mapping[str, str] | None = None,
    *,
    within: Sequence[str] = (),
) -> str:
    """Run a guide's code in a directory, by a command if one is given; what it printed."""
    changes = [f"{old}={new}" for old, new in (replaced or {}).items()]
    done = subprocess.run(
        [*within, sys.executable, str(RUNNER), str(GUIDES / f"{guide}.md"), *changes],
        cwd=directory, capture_output=True, text=True, timeout=LIMIT_S, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_ci(tmp_path: Path, apt_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_USER", "robot")
    monkeypatch.setenv("REGISTRY_PASSWORD", "secret")
    config = login_config(tmp_path, "robot", "secret")
    login = ("robot", "secret")
    with docker_registry(tmp_path / "registry", config=config, login=login) as registry:
        said = follow("ci", tmp_path, {"registry.example": registry.host})
        _, headers, _ = registry.request("HEAD", "/v2/team/hello/manifests/1", headers=OCI)
    assert headers["docker-content-digest"] in said


def test_private_registries(tmp_path: Path, nbdock_home: Path, registry: Registry) -> None:
    authority = Authority(tmp_path / "authority")
    (tmp_path / "ca.pem").write_bytes(authority.ca_file.read_bytes())
    config = tls_config(authority, "127.0.0.1") | login_config(tmp_path, "me", "secret")
    registry.push("hub/library/redis", "7")
    with docker_registry(
        tmp_path / "registry", config=config, scheme="https", login=("me", "secret"),
        ca_file=authority.ca_file,
    ) as private:  # fmt: skip
        follow(
            "private-registries", tmp_path,
            {"registry.lan:5000": private.host, "mirror.lan:5000": registry.host},
        )  # fmt: skip


def test_without_the_internet(
    tmp_path: Path, nbdock_home: Path, registry: Registry, nix_cache: NixCache
) -> None:
    (tmp_path / "app" / "bin").mkdir(parents=True)
    (tmp_path / "app" / "bin" / "app").write_text("#!/bin/sh\n")
    with Signer() as signer:
        archive = Archive(tmp_path / "mirror", signer)
        archive.add("hello", "1.0", files={"usr/bin/hello": b"#!/bin/sh\n"})
        archive.publish("stable")
        signer.export(tmp_path / "mirror.gpg")
    follow(
        "air-gapped", tmp_path,
        {"/srv/mirror": str(archive.root), "localhost:5000": registry.host,
         "/srv/cache": str(nix_cache.directory), "/srv/channel": str(nix_cache.channel_directory),
         "cache.example-1:KEY": nix_cache.public_key},
    )  # fmt: skip


def test_big_images(tmp_path: Path, nbdock_home: Path, registry: Registry) -> None:
    for name in ("weights", "code"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "data").write_bytes(os.urandom(1 << 20))
    follow("big-images", tmp_path, {"localhost:5000": registry.host})


def test_registries(tmp_path: Path, nbdock_home: Path, registry: Registry) -> None:
    for tag in ("6", "7", "8"):
        images = {
            f"linux/{name}": registry.push("hub/library/redis", f"{tag}-{name}", architecture=name)
            for name in ("amd64", "arm64")
        }
        registry.push_index("hub/library/redis", tag, images)
    registry.push("quay/team/app", "1", architecture="arm64")
    mirrors = f"docker.io=http://{registry.host}/hub quay.io=http://{registry.host}/quay"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("NBDOCK_REGISTRY_MIRRORS", mirrors)
        follow("registries", tmp_path, {"localhost:5000": registry.host})


def test_saving(tmp_path: Path, apt_home: Path) -> None:
    follow("saving", tmp_path)


def test_packages_of_nixpkgs(
    tmp_path: Path, nbdock_home: Path, local_nix: Nix, nix_cache: NixCache
) -> None:
    follow(
        "nix", tmp_path,
        {"https://cache.example/channel": nix_cache.channel_url, "cache.example-1:KEY":
         nix_cache.public_key, "https://cache.example": nix_cache.url},
    )  # fmt: skip


def test_root(tmp_path: Path, apt_home: Path) -> None:
    if shutil.which("qemu-system-x86_64") is None:
        pytest.skip("needs qemu-system-x86_64 (tests/install_components.sh installs it)")
    follow("root", tmp_path)


def test_without_root(tmp_path: Path, apt_home: Path) -> None:
    # In a namespace in which nobody is root: no capability, and no user but one's own.
    nobody = ("unshare", "--user") if os.geteuid() == 0 else ()
    follow("without-root", tmp_path, within=nobody)
