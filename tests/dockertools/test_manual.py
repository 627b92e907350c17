"""Every example of the dockerTools manual, verbatim, with packages that a real Nix built.

Each runs with the local Nix, and without any Nix against a signed binary cache; Docker loads and
runs the images. What runs as root in a virtual machine says today that there is none.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from support.engine import Engine
from support.nix import Nix, NixCache
from support.workshop import Workshop, load, wait_for_log

import nbdock
from nbdock import concurrency
from nbdock.filetree import EntryKind
from nbdock.images import Image
from nbdock.packages import PackageSet

MANUAL = Path(__file__).parent.parent / "nixlang/manual"


def example(name: str) -> str:
    return (MANUAL / f"{name}.nix").read_text("utf-8")


def cell(text: str) -> str:
    """An example as a cell: under the magic of the function that it calls."""
    function = re.match(r"(?:pkgs\.dockerTools\.)?(\w+)", text)
    assert function is not None
    return f"%%{function[1]}\n{text}"


@pytest.fixture(params=["local Nix", "binary cache"])
def pkgs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> PackageSet:
    """What a cell calls `pkgs`, for someone with Nix and for someone without it."""
    if request.param == "local Nix":
        request.getfixturevalue("local_nix")
        return nbdock.nixpkgs()
    cache: NixCache = request.getfixturevalue("nix_cache")
    return nbdock.nixpkgs(
        cache=cache.url, channel=cache.channel_url, trusted_keys=[cache.public_key]
    )


@pytest.fixture
def cells(shell: InteractiveShell, pkgs: PackageSet) -> Workshop:
    return Workshop(shell, {"pkgs": pkgs}, {})


@pytest.fixture
def hello(nix: Nix) -> str:
    return nix.build("hello")


def entries_of(image: Image) -> dict[str, Any]:
    return {
        entry.path.decode(): entry
        for position in range(len(image.layers))
        for entry in image.layer_entries(position)
    }


def test_build_image_redis(cells: Workshop, docker_engine: Engine) -> None:
    base = cells.cell('%%buildImage\nname = "base"; contents = pkgs.bash;')
    image = cells.cell(cell(example("build_image")), someBaseImage=base)
    assert len(image.layers) == len(base.layers) + 1
    assert "data" in entries_of(image)  # runAsRoot made it, not Docker for the volume
    reference = load(image, docker_engine)
    assert reference == "redis:latest"
    server = docker_engine("run", "-d", "--network", "none", reference).stdout.strip()
    try:
        wait_for_log(docker_engine, server, "Ready to accept connections")
        ping = docker_engine("exec", server, "/bin/redis-cli", "ping").stdout
        kept = docker_engine("exec", server, "/bin/redis-cli", "config", "get", "dir").stdout
    finally:
        docker_engine("rm", "--force", "--volumes", server)
    assert ping == "PONG\n"
    assert kept.split() == ["dir", "/data"]


def test_build_image_created_now(cells: Workshop, docker_engine: Engine) -> None:
    image = cells.cell(cell(example("build_image_created")))
    reference = load(image, docker_engine)
    shown = docker_engine("images", "--format", "{{.Repository}} {{.Tag}} {{.CreatedSince}}").stdout
    (line,) = [line for line in shown.splitlines() if line.startswith("hello latest ")]
    assert re.search(r"seconds? ago|About a minute ago", line)
    assert docker_engine.run(reference) == "Hello, world!\n"


def test_build_layered_image_has_symlinks(
    cells: Workshop, docker_engine: Engine, hello: str, nix: Nix
) -> None:
    image = cells.cell(cell(example("build_layered_image")))
    entries = entries_of(image)
    for path in ("bin/hello", "share/info/hello.info", "share/locale/bg/LC_MESSAGES/hello.mo"):
        assert entries[path].linkname == f"{hello}/{path}".encode()
    # All of them, and nothing else.
    tree = nix.path(hello)
    files = {str(path.relative_to(tree)) for path in tree.rglob("*") if not path.is_dir()}
    links = {
        p
        for p, e in entries.items()
        if not p.startswith("nix/") and e.kind is not EntryKind.DIRECTORY
    }
    assert links == files
    reference = load(image, docker_engine)
    assert docker_engine.run(reference, "/bin/hello") == "Hello, world!\n"
    (record,) = json.loads(docker_engine("image", "inspect", reference).stdout)
    assert record["RepoTags"] == [f"hello:{image.tag}"]
    assert record["Created"] == "1970-01-01T00:00:01Z"


def test_build_layered_image_includes_what_config_refers_to(
    cells: Workshop, docker_engine: Engine, hello: str, nix: Nix
) -> None:
    image = cells.cell(cell(example("build_layered_image_config")))
    stored = {p for p in entries_of(image) if re.fullmatch("nix/store/[^/]+", p)}
    assert {f"/{path}" for path in stored} == set(nix.closure(hello))
    assert docker_engine.run(load(image, docker_engine)) == "Hello, world!\n"


def test_export_image(cells: Workshop, docker_engine: Engine, tmp_path: Path) -> None:
    layered = cells.cell(cell(example("build_layered_image")))
    exported = cells.cell(cell(example("export_image")), someLayeredImage=layered)
    assert exported.name == layered.name
    archive = concurrency.run(exported.save(tmp_path / "flat.tar"))
    identity = docker_engine("import", archive).stdout.strip()
    assert docker_engine.run(identity, "/bin/hello") == "Hello, world!\n"


def test_shadow_setup(cells: Workshop) -> None:
    entries = entries_of(cells.cell(cell(example("shadow_setup"))))
    users = entries["etc/passwd"].read().decode().splitlines()
    (user,) = [line.split(":") for line in users if line.startswith("redis:")]
    assert f"redis:x:{user[3]}:" in entries["etc/group"].read().decode()
    data = entries["data"]
    assert (data.uid, data.gid) == (int(user[2]), int(user[3])) != (0, 0)
    # Root's shell is the script's, so it is in the image; the tools that it used are not.
    assert users[0].endswith("/bin/bash")
    assert users[0].rpartition(":")[2].strip("/") in entries
    assert not [path for path in entries if "shadow" in path.partition("nix/store/")[2]]
