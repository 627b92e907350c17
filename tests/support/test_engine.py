"""The engines and tools the other tests lean on, each checked with an image owing nothing to us."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import psutil
import pytest
from support import engine as engines
from support import oracles
from support.components import require
from support.engine import Engine
from support.plain_images import busybox_layer, layer, write_docker_archive


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_docker_archive(
        tmp_path_factory.mktemp("plain") / "plain.tar",
        name="plain:1",
        layers=[busybox_layer(), layer({"greeting": b"hello\n"}, mode=0o640)],
        config={"Cmd": ["/bin/cat", "/greeting"], "Env": ["PATH=/bin"]},
    )


@pytest.mark.engine
def test_docker_loads_and_runs(docker_engine: Engine, archive: Path) -> None:
    assert docker_engine.load(archive) == ["plain:1"]
    assert docker_engine.run("plain:1") == "hello\n"
    assert docker_engine.run("plain:1", "/bin/sh", "-c", "echo $((6 * 7))") == "42\n"


@pytest.mark.engine
def test_docker_saves_what_skopeo_reads(
    docker_engine: Engine, archive: Path, tmp_path: Path
) -> None:
    docker_engine.load(archive)
    docker_engine("save", "-o", tmp_path / "saved.tar", "plain:1")
    found = oracles.inspect(f"docker-archive:{tmp_path / 'saved.tar'}")
    assert found["Layers"] == oracles.inspect(f"docker-archive:{archive}")["Layers"]


@pytest.mark.engine
def test_podman_loads_and_runs(podman_engine: Engine, archive: Path) -> None:
    assert podman_engine.load(archive) == ["localhost/plain:1"]
    assert podman_engine.run("localhost/plain:1") == "hello\n"


@pytest.mark.engine
def test_both_load_a_compressed_archive(
    docker_engine: Engine, podman_engine: Engine, archive: Path, tmp_path: Path
) -> None:
    compressed = tmp_path / "plain.tar.gz"
    compressed.write_bytes(gzip.compress(archive.read_bytes()))
    assert docker_engine.load(compressed) == ["plain:1"]
    assert podman_engine.load(compressed) == ["localhost/plain:1"]
    assert (oracles.unpack(compressed, tmp_path) / "greeting").exists()


@pytest.mark.engine
def test_docker_client_reaches_podmans_socket(podman_engine: Engine, archive: Path) -> None:
    environment = {**podman_engine.environment, "DOCKER_CONFIG": str(podman_engine.directory)}
    require("docker")
    client = Engine(
        "docker on podman", podman_engine.directory, podman_engine.socket,
        ("docker", "-H", podman_engine.url), environment,
    )  # fmt: skip
    assert client.load(archive) == ["localhost/plain:1"]
    assert json.loads(client("image", "inspect", "localhost/plain:1").stdout)


def test_umoci_unpacks_what_skopeo_copied(archive: Path, tmp_path: Path) -> None:
    root = oracles.unpack(archive, tmp_path)
    assert (root / "greeting").read_bytes() == b"hello\n"
    assert (root / "greeting").stat().st_mode & 0o7777 == 0o640
    assert os.readlink(root / "bin/sh") == "busybox"


@pytest.mark.engine
@pytest.mark.parametrize("start", [engines.docker_engine, engines.podman_engine])
def test_an_engine_leaves_nothing_behind(start, archive: Path) -> None:
    with start() as engine:
        [name] = engine.load(archive)
        # As a failed test may leave it: running, and deaf to being told to stop.
        engine("run", "--detach", "--network", "none", name, "/bin/busybox", "sleep", "600")
        directory = str(engine.directory)
    assert not Path(directory).exists()
    assert directory not in Path("/proc/self/mountinfo").read_text()
    left = [
        p
        for p in psutil.process_iter(["cmdline"])
        if directory in " ".join(p.info["cmdline"] or ())
    ]
    assert left == []


@pytest.mark.engine
def test_an_engine_is_stopped_when_the_test_fails() -> None:
    directories = []

    def failing() -> None:
        with engines.docker_engine() as engine:
            directories.append(engine.directory)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert not directories[0].exists()
