"""Images of Debian packages in real engines: built, loaded, run, saved, built upon.

Packages come from the machine's own sources; what one test downloads, the others find.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support import oracles
from support.engine import Engine
from support.machines import as_other_user

import nbdock
from nbdock.errors import EngineError, ImageNotFoundError
from nbdock.images import Image

KEPT_SUFFIXES = ("_proxy", "_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "_CA_BUNDLE")


@dataclasses.dataclass(frozen=True)
class Case:
    """A package, how its image is run, and what a container then says."""

    package: str
    config: Mapping[str, Any]
    says: str


CASES = {
    "redis": Case(
        "redis-server",
        {
            "Cmd": ["/usr/bin/redis-server", "--version"],
            "WorkingDir": "/data",
            "Volumes": {"/data": {}},
        },
        "Redis server v=",
    ),
    "python": Case("python3", {"Cmd": ["/usr/bin/python3", "-c", "print(6 * 7)"]}, "42"),
}


@pytest.fixture(autouse=True)
def _home(apt_home: Path) -> None:
    """A store of its own for every test; downloads are shared."""


async def built(name: str) -> Image:
    case = CASES[name]
    package = await _package(case.package)
    return await nbdock.build_layered_image(name, tag="1", contents=[package], config=case.config)


async def _package(name: str) -> nbdock.Package:
    sources = nbdock.apt()
    await sources.load()
    return sources[name]


@pytest.mark.engine
@pytest.mark.parametrize("name", CASES)
async def test_docker_loads_and_runs_it(name: str, docker_engine: Engine, tmp_path: Path) -> None:
    image = await built(name)
    archive = await image.save(tmp_path / "i.tar.gz")
    assert docker_engine.load(archive) == [f"{name}:1"]
    assert CASES[name].says in docker_engine.run(f"{name}:1")
    # Under the ID that nbdock knows it by: nothing was changed on the way.
    seen = docker_engine("image", "inspect", "--format", "{{.Id}}", f"{name}:1").stdout.strip()
    assert seen == str(image.id)


@pytest.mark.engine
@pytest.mark.parametrize("name", CASES)
async def test_podman_loads_and_runs_it(name: str, podman_engine: Engine, tmp_path: Path) -> None:
    image = await built(name)
    archive = await image.save(tmp_path / "i.tar")
    assert [n.removeprefix("localhost/") for n in podman_engine.load(archive)] == [f"{name}:1"]
    assert CASES[name].says in podman_engine.run(f"{name}:1")


@pytest.mark.parametrize("name", CASES)
async def test_skopeo_copies_and_umoci_unpacks_it(name: str, tmp_path: Path) -> None:
    image = await built(name)
    archive = await image.save(tmp_path / "i.tar")
    root = oracles.unpack(archive, tmp_path)
    program = str(CASES[name].config["Cmd"][0]).lstrip("/")
    assert (root / program).exists()
    assert os.readlink(root / "bin") == "usr/bin"
    assert (root / "var/lib/dpkg/status.d" / CASES[name].package).is_file()


BUILD = """
import asyncio, sys, nbdock
async def main():
    sources = nbdock.apt()
    await sources.load()
    image = await nbdock.build_layered_image("redis", contents=[sources["redis-server"]],
        config={"Cmd": ["/usr/bin/redis-server"]})
    print(image, await image.save(sys.argv[1]))
asyncio.run(main())
"""


def test_two_builds_of_debian_packages_are_identical(tmp_path: Path, apt_home: Path) -> None:
    """On machines that differ in user, umask, locale, time zone, place and number of workers."""
    other = {"LC_ALL": "tr_TR.ISO-8859-9", "TZ": "Asia/Tokyo", "PYTHONUTF8": "0"}
    built = []
    for number, (command, umask, environment) in enumerate(
        [([], 0o022, {"NBDOCK_WORKERS": "1"}), (as_other_user(), 0o077, other)]
    ):
        place = tmp_path / f"machine-{number}"
        (place / "home").mkdir(parents=True)
        for name in ("apt", "downloads"):
            (place / "home" / name).symlink_to((apt_home / name).resolve())
        ran = subprocess.run(
            [*command, sys.executable, "-c", BUILD, str(place / "redis.tar")],
            cwd=place, umask=umask, check=False, capture_output=True, text=True,
            env={
                **{k: v for k, v in os.environ.items() if k.endswith(KEPT_SUFFIXES)},
                "PATH": os.environ["PATH"], "NBDOCK_HOME": str(place / "home"),
                "PYTHONHASHSEED": str(number), **environment,
            },
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        archive = (place / "redis.tar").read_bytes()
        built.append((ran.stdout.split()[0], hashlib.sha256(archive).hexdigest()))
    assert built[0] == built[1]


@pytest.mark.engine
async def test_an_image_is_put_into_an_engine_and_taken_out(
    docker_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = await nbdock.build_image(
        "there-and-back", tag="1", contents=nbdock.text_file("a", "1"), config={"Cmd": ["/x"]}
    )
    monkeypatch.setenv("DOCKER_HOST", f"unix://{docker_engine.socket}")
    assert await image.load() == "there-and-back:1"
    back = await nbdock.load_image("there-and-back:1")
    assert back.id == image.id
    with pytest.raises(ImageNotFoundError, match="nowhere"):
        await nbdock.load_image("nowhere:7")


@pytest.mark.engine
async def test_images_are_built_on_what_docker_and_podman_save(
    docker_engine: Engine, podman_engine: Engine, tmp_path: Path
) -> None:
    base = await built("python")
    for engine in (docker_engine, podman_engine):
        await base.load(str(engine.socket))
        saved = tmp_path / f"{engine.name}.tar"
        engine("save", "-o", str(saved), "python:1")
        for build in (nbdock.build_image, nbdock.build_layered_image):
            on: Image = await build(
                f"on-{engine.name}",
                tag="1",
                from_image=saved,
                contents=[nbdock.script("hello", "#!/usr/bin/python3\nprint('hello', 6 * 7)")],
                config={"Cmd": ["/bin/hello"]},
            )
            await on.load(str(engine.socket))
            assert engine.run(f"on-{engine.name}:1").strip() == "hello 42"


@pytest.mark.engine
async def test_what_the_base_has_is_not_added_again(docker_engine: Engine) -> None:
    base = await built("redis")
    sources = nbdock.apt()
    await sources.load()
    on = await nbdock.build_image(
        "redis-shell",
        tag="1",
        from_image=base,
        contents=[sources["dash"], sources["redis-tools"]],
        config={
            "Cmd": ["/bin/sh", "-c", "redis-cli --version; ls -d /bin/. >/dev/null || echo ok"]
        },
    )
    top = [e.path.decode() for e in on.layer_entries(len(on.layers) - 1)]
    assert "usr/bin/dash" in top
    assert not [path for path in top if "redis" in path or "libc.so" in path]
    await on.load(str(docker_engine.socket))
    assert "redis-cli" in docker_engine.run("redis-shell:1")


@pytest.mark.engine
async def test_owners_modes_and_capabilities_arrive(docker_engine: Engine, tmp_path: Path) -> None:
    sources = nbdock.apt()
    await sources.load()
    image = await nbdock.build_layered_image(
        "modes", tag="1", contents=[sources["busybox-static"], sources["passwd"]]
    )
    await image.load(str(docker_engine.socket))
    said = docker_engine.run(
        "modes:1", "/bin/busybox", "stat", "-c", "%a %u:%g", "/usr/bin/passwd", "/usr/bin/chage"
    )
    assert said.split() == ["4755", "0:0", "2755", "0:42"]


async def test_no_engine_is_said_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = await nbdock.build_image("x")
    with pytest.raises(EngineError, match="no engine's socket") as caught:
        await image.load(str(tmp_path / "none.sock"))
    assert "Start Docker" in (caught.value.hint or "")
    with pytest.raises(EngineError, match="not on a Unix socket"):
        await image.load("tcp://192.0.2.1:2375")
    monkeypatch.setenv("DOCKER_HOST", "ssh://someone@example.com")
    with pytest.raises(EngineError, match="not on a Unix socket"):
        await image.load()


@pytest.mark.engine
async def test_an_engine_that_refuses_is_quoted(docker_engine: Engine) -> None:
    image = await nbdock.build_image("x", tag="1")
    image.store.delete(image.layers[0].diff_id)
    with pytest.raises(nbdock.NbdockError):
        await image.load(str(docker_engine.socket))
